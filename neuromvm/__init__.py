"""A latent space shared by several animals, from NWB files to decoded odors, with honest nulls and linear baselines.

Names are imported when first used, so that ``import neuromvm`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuromvm.data.describe import describe as describe
    from neuromvm.data.from_arrays import recordings_from_arrays as recordings_from_arrays
    from neuromvm.data.from_arrays import recordings_from_spike_times as recordings_from_spike_times
    from neuromvm.data.loaders import load_recordings as load_recordings
    from neuromvm.data.modalities import recordings_of_modalities as recordings_of_modalities
    from neuromvm.data.modalities import splits_by_label as splits_by_label
    from neuromvm.data.simulate.experiment import simulate as simulate
    from neuromvm.data.splits import few_trials as few_trials
    from neuromvm.data.splits import make_splits as make_splits
    from neuromvm.data.storage import open_recordings as open_recordings
    from neuromvm.data.storage import save_recordings as save_recordings
    from neuromvm.data.windows import make_samples as make_samples
    from neuromvm.data.windows import single_windows as single_windows
    from neuromvm.errors import NeuromvmError as NeuromvmError
    from neuromvm.folders.study import Study as Study
    from neuromvm.inference.fitted_stack import FittedStack as FittedStack
    from neuromvm.inference.imputation import impute as impute
    from neuromvm.networks import register_networks as register_networks
    from neuromvm.specs import DataSpec as DataSpec
    from neuromvm.specs import ExperimentSpec as ExperimentSpec
    from neuromvm.specs import ModelSpec as ModelSpec
    from neuromvm.specs import SampleSpec as SampleSpec
    from neuromvm.specs import SplitSpec as SplitSpec
    from neuromvm.specs import TrainingSpec as TrainingSpec
    from neuromvm.specs import load_data_spec as load_data_spec
    from neuromvm.specs import load_experiment_spec as load_experiment_spec
    from neuromvm.training.adapt import adapt as adapt
    from neuromvm.training.fit import fit as fit
    from neuromvm.workflow.experiment import run_experiment as run_experiment

_SPECS = ("DataSpec", "ExperimentSpec", "ModelSpec", "SampleSpec", "SplitSpec", "TrainingSpec")
_HOMES = dict.fromkeys([*_SPECS, "load_data_spec", "load_experiment_spec"], "neuromvm.specs") | {
    "FittedStack": "neuromvm.inference.fitted_stack",
    "NeuromvmError": "neuromvm.errors",
    "Study": "neuromvm.folders.study",
    "adapt": "neuromvm.training.adapt",
    "describe": "neuromvm.data.describe",
    "few_trials": "neuromvm.data.splits",
    "fit": "neuromvm.training.fit",
    "impute": "neuromvm.inference.imputation",
    "load_recordings": "neuromvm.data.loaders",
    "make_samples": "neuromvm.data.windows",
    "make_splits": "neuromvm.data.splits",
    "recordings_from_arrays": "neuromvm.data.from_arrays",
    "recordings_from_spike_times": "neuromvm.data.from_arrays",
    "recordings_of_modalities": "neuromvm.data.modalities",
    "splits_by_label": "neuromvm.data.modalities",
    "register_networks": "neuromvm.networks",
    "open_recordings": "neuromvm.data.storage",
    "run_experiment": "neuromvm.workflow.experiment",
    "single_windows": "neuromvm.data.windows",
    "save_recordings": "neuromvm.data.storage",
    "simulate": "neuromvm.data.simulate.experiment",
}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'neuromvm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
