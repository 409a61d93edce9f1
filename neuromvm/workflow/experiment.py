"""Run an experiment: from its spec to a run folder with fitted models and their latents. Finished steps are kept."""

import logging
import os
import platform
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from neuromvm import schema
from neuromvm.analysis.latents.agreement_warnings import agreement_warnings
from neuromvm.analysis.pipeline import needs_of
from neuromvm.build import check_likelihoods
from neuromvm.data.loaders import load_recordings
from neuromvm.data.memory import read_recordings
from neuromvm.data.pairing import simplex_conditions
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_path_samples, make_samples
from neuromvm.errors import RunFolderError, SpecError, did_you_mean
from neuromvm.files import (
    is_empty,
    kept_tree,
    locked,
    read_dataset,
    read_json,
    writable,
    write_atomically,
    write_json,
    write_tree,
)
from neuromvm.folders.study import Study, read_latents, read_splits
from neuromvm.inference.ablation import ablate
from neuromvm.inference.agreement import posterior_agreement
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.transfer import impute_each, transfer
from neuromvm.inference.traversal import traverse
from neuromvm.specs import DataChoice, ExperimentSpec, load_data_spec, to_yaml
from neuromvm.specs.files import is_yaml, load_run_spec
from neuromvm.training.device import choose_device
from neuromvm.training.fit import fit

log = logging.getLogger(__name__)
# Files that analyses need of a model (their NEEDS). They are computed with the run, since analyses do not load models.
MAKERS: dict[str, Callable[[FittedStack, xr.DataTree, xr.DataTree], xr.DataTree]] = {
    "units": ablate,
    "traversals": traverse,
    "transferred": transfer,
    "imputed": impute_each,
}
BEGINNING = {"spec.yaml", "provenance.json", "recordings.nc", "splits.nc", "models"}  # what a run writes before it trains
RECORDED_PACKAGES = ("neuromvm", "torch", "numpy", "scipy", "xarray", "h5py", "scikit-learn")


def run_experiment(spec: ExperimentSpec, out: str | Path, *, resume: bool = False, progress: bool = True) -> Study:
    """Load, split, fit and embed; analyses are computed later.

    Parameters
    ----------
    spec
        The experiment.
    out
        The run folder to make.
    resume
        Continue the run in the folder: finished steps are kept, and a training continues from its last checkpoint.
    progress
        Show bars.

    Raises
    ------
    RunFolderError
        If the folder is not empty and ``resume`` is off, or it holds a run of another spec. A run that ended before any
        training was kept leaves a folder that is used again, by any experiment.
    """
    out = Path(out)
    _check_folder(out, spec, resume)
    starts_anew = _ended_before_training(out) and bool(_differing(out, spec))
    # Errors in data, samples or splits are raised before the folder exists.
    recordings_file, splits_file = out / "recordings.nc", out / "splits.nc"
    has_recordings, has_splits = (file.is_file() and not starts_anew for file in (recordings_file, splits_file))
    recordings = read_recordings(recordings_file) if has_recordings else load_experiment_recordings(spec)
    samples = make_samples(recordings, spec.samples)
    _check_paths(spec, samples)
    for model in spec.models.values():
        check_likelihoods(model, samples)
    splits = read_splits(splits_file) if has_splits else make_splits(samples, spec.split)
    path_samples = make_path_samples(recordings, spec.samples)
    with locked(out):
        _check_folder(out, spec, resume)  # again: another process may have written to it
        if starts_anew:
            _remove_beginning(out)
        write_atomically(out / "spec.yaml", to_yaml(spec).encode())
        record = provenance(spec, recordings)
        if (out / "provenance.json").is_file():  # a resumed run keeps the original record
            original = read_json(out / "provenance.json", dict[str, Any])
            record = {**original, "resumed": [*original.get("resumed", []), record]}
        write_json(out / "provenance.json", record)
        for file, tree in ((recordings_file, recordings), (splits_file, splits)):
            if not file.is_file():
                write_tree(file, tree)
        for name in spec.models:
            _run_model(spec, name, samples, splits, path_samples, out / "models" / name, progress=progress)
    return Study(out)


def _run_model(
    spec: ExperimentSpec,
    name: str,
    samples: xr.DataTree,
    splits: xr.DataTree,
    path_samples: xr.DataTree | None,
    folder: Path,
    *,
    progress: bool,
) -> None:
    """Train a model, infer its latents, log what is wrong with them, and write the needs of the analyses; finished files stay."""
    if (folder / "fitted.json").is_file():
        fitted = FittedStack.load(folder)
    else:
        log.info("training: %s", name)
        fitted = fit(samples, splits, spec.models[name], spec.training_for(name), folder=folder, progress=progress)
    latents = kept_tree(folder / "latents.nc", partial(fitted.embed, samples), read_latents)
    if not (folder / "paths.nc").is_file():
        paths = fitted.first_replica().embed_paths(samples)
        if paths is None and path_samples is not None:
            paths = fitted.first_replica().embed(path_samples)
        if paths is not None:
            write_tree(folder / "paths.nc", paths)
    if not (folder / "agreement.nc").is_file():
        shares_latents = fitted.member(0).shares_latents
        write_tree(folder / "agreement.nc", posterior_agreement(latents, splits, shares_latents=shares_latents))
    conditions = simplex_conditions(samples, spec.models[name])
    for warning in agreement_warnings(read_dataset(folder / "agreement.nc"), conditions):
        log.warning("%s: %s.", name, warning)
    for need in dict.fromkeys(need for analysis in spec.analyses for need in needs_of(analysis)):
        kept_tree(folder / f"{need}.nc", partial(MAKERS[need], fitted, samples, splits))


def _check_paths(spec: ExperimentSpec, samples: xr.DataTree) -> None:
    """Raise SpecError if a model infers latent paths but samples are not whole trials of several bins."""
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
    """Load the animals of an experiment, or raise SpecError if an animal asked for is not in the data."""
    data = load_data_spec(spec.data.spec)
    if spec.data.min_units is not None:
        data = data.model_copy(update={"min_units": spec.data.min_units})
    recordings = load_recordings(data, spec.data.root)
    if spec.data.animals is None:
        return recordings
    known = list(recordings.children)
    if unknown := [animal for animal in spec.data.animals if animal not in known]:
        raise SpecError("data.animals", found=f"no animal {unknown[0]!r}", next_step=did_you_mean(unknown[0], known))
    chosen = {name: node.copy() for name, node in recordings.children.items() if name in spec.data.animals}
    return xr.DataTree(dataset=recordings.to_dataset(), children=chosen)


def provenance(spec: ExperimentSpec, recordings: xr.DataTree) -> dict[str, Any]:
    """Return versions, device, threads, command and the hashes of the files read."""
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


def _check_folder(out: Path, spec: ExperimentSpec, resume: bool) -> None:
    """Raise RunFolderError for a folder that holds anything but the beginning of a run, unless the same experiment is resumed."""
    if is_empty(out) or _ended_before_training(out):
        return
    if not resume:
        raise RunFolderError(
            str(out),
            found="a folder that is not empty",
            next_step="Add --resume to continue the run in it, or choose another --out",
        )
    if not (out / "spec.yaml").is_file():
        raise RunFolderError(str(out), found="files but no spec.yaml", expected="a run folder", next_step="Choose another --out")
    if differing := _differing(out, spec):
        raise RunFolderError(
            str(out),
            found=f"a run with other settings of {', '.join(differing)}",
            expected="the same experiment",
            next_step="Resume with the settings in its spec.yaml, or choose another --out",
        )


def _ended_before_training(out: Path) -> bool:
    """Return whether a folder holds a run that ended before a checkpoint was kept, and nothing else."""
    if (
        not (out / "spec.yaml").is_file()
        or not {path.name for path in out.iterdir() if not path.name.startswith(".")} <= BEGINNING
    ):
        return False
    return not any((out / "models").glob("*/fitted.json")) and not any((out / "models").glob("*/checkpoints/*/state.json"))


def _remove_beginning(out: Path) -> None:
    """Remove what a run has written before its first training was kept."""
    with writable(out):
        for name in BEGINNING - {"models"}:
            (out / name).unlink(missing_ok=True)
        if (out / "models").exists():
            shutil.rmtree(out / "models")


def _differing(out: Path, spec: ExperimentSpec) -> list[str]:
    """Return the parts of the experiment in a run folder whose settings differ and change what is computed."""
    before = load_run_spec(out / "spec.yaml")
    parts = ("samples", "split", "models", "training", "training_of")
    differing = ["data"] if _absolute(before.data) != _absolute(spec.data) else []
    return [*differing, *(name for name in parts if getattr(before, name) != getattr(spec, name))]


def _absolute(data: DataChoice) -> DataChoice:
    """Return a choice of data whose paths do not depend on the working directory."""
    spec = os.path.abspath(data.spec) if is_yaml(Path(data.spec)) else data.spec
    return data.model_copy(update={"spec": spec, "root": None if data.root is None else os.path.abspath(data.root)})
