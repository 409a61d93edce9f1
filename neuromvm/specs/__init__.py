"""Specs: settings that users write in YAML files, validated before any computation."""

from neuromvm.specs.data import DataSpec, LfpPowerActivity, PositionGrid, RoiActivity, SpikeActivity, TimeGrid, TrialSpec
from neuromvm.specs.experiment import DataChoice, ExperimentSpec, SharingSpec
from neuromvm.specs.files import load_data_spec, load_experiment_spec, to_yaml
from neuromvm.specs.model import ModelSpec
from neuromvm.specs.samples import SampleSpec, SplitSpec
from neuromvm.specs.training import TrainingSpec

__all__ = [
    "DataChoice",
    "DataSpec",
    "ExperimentSpec",
    "LfpPowerActivity",
    "ModelSpec",
    "PositionGrid",
    "RoiActivity",
    "SampleSpec",
    "SharingSpec",
    "SpikeActivity",
    "SplitSpec",
    "TimeGrid",
    "TrainingSpec",
    "TrialSpec",
    "load_data_spec",
    "load_experiment_spec",
    "to_yaml",
]
