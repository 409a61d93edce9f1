"""A latent space shared by several animals, from NWB files to decoded odors, with honest nulls and linear baselines.

Names are imported when first used, so that ``import neuromvm`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuromvm.data.describe import describe as describe
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
    from neuromvm.workflow.in_memory import compare as compare
    from neuromvm.workflow.in_memory import decode as decode
    from neuromvm.workflow.in_memory import load as load
    from neuromvm.workflow.in_memory import plot_confusion as plot_confusion
    from neuromvm.workflow.in_memory import plot_differences as plot_differences
    from neuromvm.workflow.in_memory import plot_latents as plot_latents
    from neuromvm.workflow.in_memory import plot_paths as plot_paths
    from neuromvm.workflow.in_memory import plot_psths as plot_psths
    from neuromvm.workflow.in_memory import plot_rasters as plot_rasters
    from neuromvm.workflow.in_memory import plot_recordings as plot_recordings
    from neuromvm.workflow.in_memory import plot_scores as plot_scores
    from neuromvm.workflow.in_memory import plot_time_resolved as plot_time_resolved
    from neuromvm.workflow.in_memory import plot_timeline as plot_timeline
    from neuromvm.workflow.in_memory import plot_tradeoff as plot_tradeoff
    from neuromvm.workflow.in_memory import plot_trajectories as plot_trajectories
    from neuromvm.workflow.in_memory import plot_transfer as plot_transfer
    from neuromvm.workflow.in_memory import recordings_from_arrays as recordings_from_arrays
    from neuromvm.workflow.in_memory import recordings_from_spike_times as recordings_from_spike_times
    from neuromvm.workflow.in_memory import samples as samples
    from neuromvm.workflow.in_memory import splits as splits
    from neuromvm.workflow.in_memory import table as table
    from neuromvm.workflow.in_memory import time_resolved as time_resolved
    from neuromvm.workflow.in_memory import trajectories as trajectories

_SPECS = ("DataSpec", "ExperimentSpec", "ModelSpec", "SampleSpec", "SplitSpec", "TrainingSpec")
_IN_MEMORY = (
    *(
        "recordings_from_arrays",
        "recordings_from_spike_times",
        "load",
        "samples",
        "splits",
        "compare",
        "decode",
        "time_resolved",
        "trajectories",
        "table",
    ),
    *("plot_recordings", "plot_timeline", "plot_latents", "plot_scores", "plot_differences", "plot_transfer", "plot_confusion"),
    *("plot_time_resolved", "plot_trajectories", "plot_paths", "plot_rasters", "plot_psths", "plot_tradeoff"),
)
_HOMES = dict.fromkeys([*_SPECS, "load_data_spec", "load_experiment_spec"], "neuromvm.specs") | {
    **dict.fromkeys(_IN_MEMORY, "neuromvm.workflow.in_memory"),
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
    "recordings_of_modalities": "neuromvm.data.modalities",
    "splits_by_label": "neuromvm.data.modalities",
    "register_networks": "neuromvm.networks",
    "open_recordings": "neuromvm.data.storage",
    "run_experiment": "neuromvm.workflow.experiment",
    "single_windows": "neuromvm.data.windows",
    "save_recordings": "neuromvm.data.storage",
    "simulate": "neuromvm.data.simulate.experiment",
}
# Short names stand for these, which remain: load, samples, splits.
_LONG = (
    "load_recordings",
    "load_data_spec",
    "load_experiment_spec",
    "make_samples",
    "make_splits",
    "single_windows",
    "few_trials",
)
__all__ = sorted(set(_HOMES) - set(_LONG))
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'neuromvm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
