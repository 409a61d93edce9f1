"""Rows of models in the table of sharing: what a fitted model says of conditions that an animal lacks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sharing.encoding import Template
from neuromvm.analysis.sharing.kernels import kernel_of_means
from neuromvm.analysis.sharing.problem import Labelled, Problem
from neuromvm.analysis.sharing.reading import read_kernel, read_predicted
from neuromvm.analysis.sharing.rows import SHARES, Grid, Row
from neuromvm.schema import is_fitted, is_scored

ERRORS = (0.1, 0.03, 0.3)  # of imputed condition means, see read_predicted


class Fit(NamedTuple):
    """One replica of a model, fitted where every animal lacks conditions."""

    predicted: Mapping[str, Floats]  # target -> condition means in its scaled features (class, feature), or NaN
    latent_means: Mapping[str, list[Floats]]  # target -> condition means of every other animal (class, latent)
    latents: Mapping[str, Labelled]  # animal -> latents of its labelled trials
    test: Mapping[str, Floats]  # target -> latents of its test trials (trial, latent)


def fits_of(predictions: xr.DataTree, latents: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree) -> dict[int, list[Fit]]:
    """Return the fits of each split, one for each seed.

    ``predictions`` are those of :func:`neuromvm.inference.missing_conditions.predict_class_means`, ``latents`` of
    :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`, of the same stack.
    """
    nodes = {name: node.to_dataset() for name, node in predictions.children.items()}
    fits: dict[int, list[Fit]] = {}
    for replica, split in enumerate(next(iter(nodes.values()))["split"].to_numpy().tolist()):
        labelled, test = {}, {}
        for name, node in latents.children.items():
            part = splits[name]["part"].to_numpy()[split]
            mean = node["latent_mean"].to_numpy()[replica, :, 0].astype(np.float64)
            codes = samples[name]["match"].to_numpy()[:, 0]
            side = is_fitted(part) & (codes >= 0)
            labelled[name], test[name] = Labelled(mean[side], codes[side]), mean[is_scored(part)]
        predicted = {name: node["predicted"].to_numpy()[replica].astype(np.float64) for name, node in nodes.items()}
        means = {name: list(node["latent_mean"].to_numpy()[replica].astype(np.float64)) for name, node in nodes.items()}
        fits.setdefault(split, []).append(Fit(predicted, means, labelled, test))
    return fits


def imputed_scores(
    problem: Problem, *, fits: Mapping[str, Fit], model: str, error: float = ERRORS[0], unlabelled: bool = False
) -> Floats:
    """Read the target with condition means that the model imputes from the other animals."""
    return read_predicted(problem, fits[model].predicted[problem.target], error=error, unlabelled=unlabelled)


def latent_kernel_scores(
    problem: Problem, *, fits: Mapping[str, Fit], model: str, share: float, unlabelled: bool = False
) -> Floats:
    """Krige in the target's units with the kernel of the other animals' latent condition means."""
    return read_kernel(problem, kernel_of_means(fits[model].latent_means[problem.target]), share, unlabelled=unlabelled)


def latent_scores(problem: Problem, *, fits: Mapping[str, Fit], model: str) -> Floats:
    """Read the target's latents with a discriminant of the other animals' latents."""
    fit = fits[model]
    sources = {name: animal for name, animal in fit.latents.items() if not problem.same_subject(name, problem.target)}
    latents = {name: animal.features for name, animal in sources.items()}
    return Template.of(latents, sources, problem.classes).read(_test_latents(problem, fit))


def _test_latents(problem: Problem, fit: Fit) -> Floats:
    """Return the latents of a problem's test trials; of another animal that plays the target, those of labelled trials."""
    labelled = fit.latents[problem.target]
    if len(problem.seen.codes) == len(labelled.codes):
        return fit.test[problem.target]
    return labelled.features[np.isin(labelled.codes, problem.held_out)]


MODEL_ROWS = {
    "read": ("the target's latents read by a discriminant of the others' latents; inductive", False),
    "imputed": ("the others' latents decoded into the target's units, its trials read there; inductive", False),
    "imputed_em": ("imputed, with EM over the unlabelled trials", True),
    "kernel": ("kriging in the target's units with the kernel of the others' latents; inductive", False),
    "kernel_em": ("kernel, with EM over the unlabelled trials", True),
}
READERS: Mapping[str, Callable[..., Floats]] = {"read": latent_scores, "imputed": imputed_scores, "kernel": latent_kernel_scores}


def model_rows(name: str, fits: Mapping[str, Fit]) -> dict[str, Row]:
    """Return the rows of a model, or of several among which one is chosen; ``fits`` are of one split and seed, by model."""
    rows = {}
    for suffix, (words, transductive) in MODEL_ROWS.items():
        kind = suffix.removesuffix("_em")
        settings = {"unlabelled": transductive} if kind != "read" else {}
        grid: Grid = {"model": tuple(fits)}
        if kind == "kernel":
            grid = {**grid, "share": SHARES}
        elif transductive:
            grid = {**grid, "error": ERRORS}
        rows[f"{name}_{suffix}"] = Row(partial(READERS[kind], fits=fits, **settings), grid, transductive, True, words)
    return rows
