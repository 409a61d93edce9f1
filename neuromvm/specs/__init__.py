"""What a user writes in YAML, validated before anything is computed."""

from neuromvm.specs.data import (
    DataSpec,
    PositionGrid,
    RoiActivity,
    SpikeActivity,
    TimeGrid,
    TrialSpec,
)
from neuromvm.specs.experiment import (
    ExperimentSpec,
    ModelSpec,
    SampleSpec,
    SplitSpec,
    TrainingSpec,
)
from neuromvm.specs.files import load_data_spec, load_experiment_spec, to_yaml

__all__ = [
    "DataSpec",
    "ExperimentSpec",
    "ModelSpec",
    "PositionGrid",
    "RoiActivity",
    "SampleSpec",
    "SpikeActivity",
    "SplitSpec",
    "TimeGrid",
    "TrainingSpec",
    "TrialSpec",
    "load_data_spec",
    "load_experiment_spec",
    "to_yaml",
]
