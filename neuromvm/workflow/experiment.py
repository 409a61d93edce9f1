"""From an experiment's spec to a run folder with fitted models and their latents. Every step done is kept and not redone."""

import json
import logging
import platform
import sys
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import xarray as xr

from neuromvm import schema
from neuromvm.analysis.pipeline import needs_of
from neuromvm.data.loaders import load_recordings
from neuromvm.data.memory import read_recordings
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_path_samples, make_samples
from neuromvm.errors import RunFolderError, SpecError, did_you_mean
from neuromvm.files import (
    kept_tree,
    locked,
    read_dataset,
    read_json,
    read_tree,
    write_atomically,
    write_json,
    write_tree,
)
from neuromvm.folders.study import Study
from neuromvm.inference.ablation import ablate
from neuromvm.inference.agreement import agreement_of
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.transfer import impute_each, transfer
from neuromvm.inference.traversal import traverse
from neuromvm.specs import ExperimentSpec, load_data_spec, load_experiment_spec, to_yaml
from neuromvm.training.device import choose_device
from neuromvm.training.fit import fit

log = logging.getLogger(__name__)
# What an analysis may need of a model (its NEEDS), computed with the run: analyses have no model at hand.
MAKERS: dict[str, Callable[[FittedStack, xr.DataTree, xr.DataTree], xr.DataTree]] = {
    "units": ablate,
    "traversals": traverse,
    "transferred": transfer,
    "imputed": impute_each,
}
RECORDED_PACKAGES = ("neuromvm", "torch", "numpy", "scipy", "xarray", "h5py", "scikit-learn")


def run_experiment(spec: ExperimentSpec, out: str | Path, *, resume: bool = False, progress: bool = True) -> Study:
    """Load, split, fit and embed; analyses come after.

    Parameters
    ----------
    spec
        The experiment.
    out
        The run folder to make.
    resume
        Continue the run that is there: what is whole is kept, a training goes on from its last checkpoint.
    progress
        Show bars.

    Raises
    ------
    RunFolderError
        If the folder holds something and ``resume`` is off, or holds a run of another spec.
    """
    out = Path(out)
    _check_folder(out, spec, resume)
    # Whatever is wrong with data, samples or splits is said before the folder exists.
    recordings = _there_or(out / "recordings.nc", partial(load_experiment_recordings, spec), read_recordings)
    samples = make_samples(recordings, spec.samples)
    _check_paths(spec, samples)
    splits = _there_or(out / "splits.nc", partial(make_splits, samples, spec.split))
    path_samples = make_path_samples(recordings, spec.samples)
    with locked(out):
        _check_folder(out, spec, resume)  # again: another process may have been quicker
        write_atomically(out / "spec.yaml", to_yaml(spec).encode())
        _record_provenance(out / "provenance.json", provenance(spec, recordings))
        _keep(out / "recordings.nc", recordings)
        _keep(out / "splits.nc", splits)
        for name, model in spec.models.items():
            folder = out / "models" / name
            if (folder / "fitted.json").is_file():
                fitted = FittedStack.load(folder)
            else:
                log.info("training: %s", name)
                fitted = fit(samples, splits, model, spec.training_for(name), folder=folder, progress=progress)
            latents = kept_tree(folder / "latents.nc", partial(fitted.embed, samples))
            if not (folder / "paths.nc").is_file():
                paths = fitted.first_replica().embed_paths(samples)
                if paths is None and path_samples is not None:
                    paths = fitted.first_replica().embed(path_samples)
                if paths is not None:
                    write_tree(folder / "paths.nc", paths)
            _describe(name, fitted, latents, samples, splits, folder, spec.analyses)
    return Study(out)


def _describe(
    model: str,
    fitted: FittedStack,
    latents: xr.DataTree,
    samples: xr.DataTree,
    splits: xr.DataTree,
    folder: Path,
    analyses: Collection[str],
) -> None:
    """Say which animals agree and which latents carry nothing, warn of it, and compute what the analyses need."""
    if not (folder / "agreement.nc").is_file():
        write_tree(folder / "agreement.nc", agreement_of(latents, splits, fitted.spec))
    for warning in json.loads(read_dataset(folder / "agreement.nc").attrs["warnings"]):
        log.warning("%s: %s.", model, warning)
    for name in dict.fromkeys(name for analysis in analyses for name in needs_of(analysis)):
        if not (folder / f"{name}.nc").is_file():
            write_tree(folder / f"{name}.nc", MAKERS[name](fitted, samples, splits))


def _check_paths(spec: ExperimentSpec, samples: xr.DataTree) -> None:
    """Refuse latent paths over anything but whole trials of several bins."""
    sizes = next(iter(samples.children.values())).sizes
    for name, model in spec.models.items():
        if model.networks.kind == "convolution" and (sizes["window"] != 1 or sizes["bin"] < 2):
            raise SpecError(
                f"models.{name}.networks",
                found=f"convolutions over {sizes['window']} windows a trial of {sizes['bin']} bins",
                expected="one window a trial of several bins: they infer the path of a whole trial",
                next_step="Leave out samples.width and samples.step, and set samples.bin_width",
            )


def load_experiment_recordings(spec: ExperimentSpec) -> xr.DataTree:
    """Load the animals of an experiment.

    Raises
    ------
    SpecError
        If an animal asked for is not in the data.
    """
    data = load_data_spec(spec.data.spec)
    if spec.data.min_units is not None:
        data = data.model_copy(update={"min_units": spec.data.min_units})
    recordings = load_recordings(data, spec.data.root)
    wanted = spec.data.animals
    if wanted is None:
        return recordings
    there = list(recordings.children)
    for animal in wanted:
        if animal not in there:
            raise SpecError("data.animals", found=f"no animal {animal!r}", next_step=did_you_mean(animal, there))
    chosen = {name: node.copy() for name, node in recordings.children.items() if name in wanted}
    return xr.DataTree(dataset=recordings.to_dataset(), children=chosen)


def provenance(spec: ExperimentSpec, recordings: xr.DataTree) -> dict[str, object]:
    """Say what made this run: versions, device, threads, command and the hashes of the files read."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {package: version(package) for package in RECORDED_PACKAGES},
        "device": str(choose_device(spec.training.device)),
        "threads": spec.training.threads,
        "seeds": {"split": spec.split.seed, "training": spec.training.seeds},
        "files": {
            name: {key: str(node.attrs.get(key, "")) for key in ("source_file", "sha256")}
            for name, node in schema.animals(recordings)
        },
    }


def _record_provenance(path: Path, about: dict[str, object]) -> None:
    """Write what made a run; a resumed run keeps that of the first and lists the others."""
    if path.is_file():
        before = read_json(path)
        before.setdefault("resumed", []).append(about)
        about = before
    write_json(path, about)


def _check_folder(out: Path, spec: ExperimentSpec, resume: bool) -> None:
    """Refuse a folder that holds anything, unless it is the same experiment and is to be resumed."""
    if out.exists() and not out.is_dir():
        raise RunFolderError(str(out), found="a file", expected="a folder to make", next_step="Choose another --out")
    if not out.exists() or all(path.name.startswith(".") for path in out.iterdir()):
        return
    if not resume:
        raise RunFolderError(
            str(out),
            found="a folder that is not empty",
            next_step="Add --resume to continue the run in it, or choose another --out",
        )
    if not (out / "spec.yaml").is_file():
        raise RunFolderError(str(out), found="files but no spec.yaml", expected="a run folder", next_step="Choose another --out")
    before = load_experiment_spec(out / "spec.yaml")
    parts = ("data", "samples", "split", "models", "training", "training_of")
    differing = [name for name in parts if getattr(before, name) != getattr(spec, name)]
    if differing:
        raise RunFolderError(
            str(out),
            found=f"a run with other settings of {', '.join(differing)}",
            expected="the same experiment",
            next_step="Resume with the settings in its spec.yaml, or choose another --out",
        )


def _there_or(path: Path, make: Callable[[], xr.DataTree], read: Callable[[Path], xr.DataTree] = read_tree) -> xr.DataTree:
    """Return the tree in a file, or make it."""
    return read(path) if path.is_file() else make()


def _keep(path: Path, tree: xr.DataTree) -> None:
    """Write a tree unless it is there."""
    if not path.is_file():
        write_tree(path, tree)
