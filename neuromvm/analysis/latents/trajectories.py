"""Analysis ``trajectories``: how the mean latent of each condition moves with time or position in a trial."""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.latents.projection import fit_pca, projected
from neuromvm.analysis.readouts.representations import Floats, held_out
from neuromvm.analysis.scores import Score
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SpecError, did_you_mean
from neuromvm.schema import in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study


class Options(Spec):
    """What is averaged, of the first seed of one split."""

    split: int = Field(0, ge=0)
    condition: str | None = Field(None, description="Trial label to average within; default: the trial labels decoded")
    axes: int = Field(3, ge=1, le=3, description="Principal components of latents with more dimensions")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials, for the bands")
    single_trials: int = Field(8, ge=0, description="Test trials of each condition whose paths are kept one by one")
    seed: int = Field(0, ge=0)


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Average the latents of test trials of every model within conditions.

    Latents are those of windows slid over the whole grid where the run has them (``samples.path_step``), otherwise of the
    windows that are decoded.

    Returns
    -------
    ``mean, low, high (model, condition, window, axis)``: mean over animals of each animal's mean over test trials, with its
    95 % bootstrap interval over trials, drawn within animal and condition; ``animal_mean (model, condition, animal, window,
    axis)``; ``single (path, window, axis)`` of some test trials, with coordinates ``path_condition, path_animal``; ``trials
    (condition, animal)``; ``axis_name (model, axis)``. NaN where a condition or an axis is absent.
    """
    paths = {}
    for name in study.models:
        followed = study.paths(name)
        paths[name] = study.latents(name) if followed is None else followed
    return paths_of_conditions(study.samples, study.splits, paths, options)


def paths_of_conditions(
    samples: xr.DataTree, splits: xr.DataTree, paths: Mapping[str, xr.DataTree], options: Options
) -> xr.Dataset:
    """Average latents of several windows a trial, model -> tree, within conditions; :func:`compute` says what is returned."""
    nodes = {name: node.to_dataset() for name, node in samples.children.items()}
    decoded = [label for label in sample_spec(samples).label if label != "window"]
    labels = {name: _conditions(name, node, options.condition, decoded) for name, node in nodes.items()}
    conditions = sorted(set(np.concatenate(list(labels.values())).tolist()) - {""})
    models = [average(tree, splits, conditions, labels, options) for tree in paths.values()]
    tested = {name: held_out(splits, options.split, name) for name in nodes}
    trials = [[int((tested[name] & (labels[name] == condition)).sum()) for name in nodes] for condition in conditions]
    return (
        xr.concat(models, dim="model", join="exact")
        .assign(trials=(("condition", "animal"), np.array(trials)))
        .assign_coords(model=list(paths), animal=list(nodes))
        .assign_attrs(
            condition=options.condition or " and ".join(decoded),
            interval=f"95 % over {options.bootstraps} bootstrap draws of test trials within animal and condition",
            split=options.split,
            in_sample=int(in_sample(splits)),
        )
    )


def average(
    latents: xr.DataTree, splits: xr.DataTree, conditions: list[str], labels: dict[str, NDArray[np.str_]], options: Options
) -> xr.Dataset:
    """Average one model's latents within conditions; :func:`compute` says what is returned."""
    window = next(iter(latents.children.values()))["window"]
    if len(window) < 2:
        raise SpecError(
            "analysis trajectories",
            found="one window a trial",
            expected="several",
            next_step="Set samples.path_step, or samples.width and samples.step, or leave the analysis out",
        )
    shown = projected(latents, splits, options.split, fit_pca, options.axes)
    singles = _single_trials(shown.values, splits, conditions, labels, options)
    observed, drawn = [], []
    for animal, values in shown.values.items():
        used = held_out(splits, options.split, animal) & (labels[animal] != "")
        codes = np.arange(len(conditions), dtype=np.int16)[:, None]
        rows = LabelRows(codes, np.searchsorted(conditions, labels[animal][used]), shifted=codes.astype(np.intp))
        rng = np.random.default_rng([options.seed, zlib.crc32(animal.encode())])
        observed.append(_means(over_trials.as_they_are(rows), values[used])[0])
        drawn.append(_means(over_trials.bootstrap(rows, options.bootstraps, rng), values[used]))
    low, high = over_trials.interval(over_trials.mean_of_scored(np.stack(drawn), axis=0))
    missing = options.axes - len(shown.axes)

    def padded(values: Floats) -> Floats:
        return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)], constant_values=np.nan)

    dims = ("condition", "window", "axis")
    return xr.Dataset(
        {
            "mean": (dims, padded(over_trials.mean_of_scored(np.stack(observed), axis=0))),
            "low": (dims, padded(low)),
            "high": (dims, padded(high)),
            "animal_mean": (("condition", "animal", "window", "axis"), padded(np.stack(observed, axis=1))),
            "single": (("path", "window", "axis"), padded(singles.paths)),
            "axis_name": (("axis",), np.array([*shown.axes, *[""] * missing])),
        },
        coords={
            "condition": conditions,
            "window": window.to_numpy(),
            "path_condition": ("path", singles.conditions),
            "path_animal": ("path", singles.animals),
        },
        attrs={"grid": str(window.attrs.get("dim", "window"))},
    )


class _Singles(NamedTuple):
    """Single test trials, with the condition and the animal of each."""

    paths: Floats  # (path, window, axis)
    conditions: NDArray[np.str_]
    animals: NDArray[np.str_]


def _single_trials(
    values: Mapping[str, Floats],
    splits: xr.DataTree,
    conditions: list[str],
    labels: dict[str, NDArray[np.str_]],
    options: Options,
) -> _Singles:
    """Choose test trials of each condition, the first ones of all animals in turn."""
    animals = list(values)
    width, axes = next(iter(values.values())).shape[1:]
    paths, of_condition, of_animal = [np.empty((0, width, axes))], [], []
    for condition in conditions:
        queues = [
            np.flatnonzero(held_out(splits, options.split, name) & (labels[name] == condition))[: options.single_trials]
            for name in animals
        ]
        turns = sorted((turn, number) for number, queue in enumerate(queues) for turn in range(len(queue)))
        for turn, number in turns[: options.single_trials]:
            paths.append(values[animals[number]][queues[number][turn]][None])
            of_condition.append(condition)
            of_animal.append(animals[number])
    return _Singles(np.concatenate(paths), np.array(of_condition, dtype=np.str_), np.array(of_animal, dtype=np.str_))


def _conditions(animal: str, node: xr.Dataset, condition: str | None, decoded: Sequence[str]) -> NDArray[np.str_]:
    """Return the condition of each trial, '' for none; by default its decoded labels without the label of the window."""
    if condition is not None:
        known = sorted(str(key) for key, coord in node.coords.items() if coord.dims == ("trial",))
        if condition not in known:
            raise SpecError(
                "analysis trajectories, condition",
                found=f"no trial label {condition!r}",
                next_step=did_you_mean(condition, known),
            )
        return np.asarray(node[condition].to_numpy(), dtype=np.str_)
    labels = node["label"].to_numpy()
    if (labels != labels[:, :1]).any():
        if decoded:
            values = [node[label].to_numpy().astype(str) for label in decoded]
            return np.array([", ".join(row) for row in zip(*values, strict=True)], dtype=np.str_)
        raise SpecError(
            "analysis trajectories",
            found=f"animal {animal} has labels that change within a trial",
            next_step="Name a trial label in 'condition'",
        )
    names = np.array([*json.loads(node["label"].attrs["classes"]), ""], dtype=np.str_)
    return np.asarray(names[labels[:, 0]])


def _means(assignments: Floats, values: Floats) -> Floats:
    """Return the mean of the trials of each row, ``(draw, row, window, axis)``, from ``(draw, trial, row)``; NaN for none."""
    counts = assignments.sum(axis=1)[:, :, None, None]
    sums = np.tensordot(assignments, values, axes=(1, 0))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return no lines: this analysis has figures only."""
    return []


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw each axis of each model against time or position, and the axes against one another."""
    from neuromvm.analysis.figures import latents, paths  # imported here: computing needs no plotting library

    drawn = {"trajectories": latents.trajectories(scores)}
    if "single" in scores and scores.sizes["axis"] > 1:
        drawn["paths"] = paths.plane(scores)
        if scores.sizes["axis"] > 2 and np.isfinite(scores["mean"].isel(axis=2)).any():
            drawn["paths_3d"] = paths.space(scores)
    return drawn
