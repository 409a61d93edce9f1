"""Rows of the table of sharing: ways to predict labels of conditions that were never labelled in the target animal."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from neuromvm.analysis.baselines.hyperalignment import hyperalign
from neuromvm.analysis.baselines.procrustes import procrustes
from neuromvm.analysis.baselines.srm import shared_response
from neuromvm.analysis.readouts.representations import Floats, Training
from neuromvm.analysis.sharing.encoding import (
    Template,
    canonical_template,
    components_of,
    discriminate_latents,
    mapped,
    rotated,
)
from neuromvm.analysis.sharing.kernels import centred, class_kernel, order_kernel, spread_pairs
from neuromvm.analysis.sharing.problem import Codes, Labelled, Problem, spread_out
from neuromvm.analysis.sharing.reading import Whitening, discriminate, read_kernel, read_predicted
from neuromvm.analysis.statistics.over_trials import mean_of_scored

Setting = float | int


class Row(NamedTuple):
    """A way to solve a problem."""

    read: Callable[..., Floats]  # problem and settings -> scores (trial, class); -inf for classes that it cannot answer
    grid: Mapping[str, tuple[Setting, ...]]  # setting -> values that are tried, the default first
    transductive: bool  # whether unlabelled test trials, known to be of held-out conditions, are fitted together
    uses_others: bool  # whether it needs other animals
    words: str  # what it is


def class_kernel_row(problem: Problem, *, share: float, unlabelled: bool = False) -> Floats:
    """Krige with the kernel of the other animals' condition means."""
    return read_kernel(problem, class_kernel(problem.others, problem.classes), share, unlabelled=unlabelled)


def order_kernel_row(problem: Problem, *, share: float, length: float, unlabelled: bool = False) -> Floats:
    """Krige with a Gaussian kernel of the places of conditions along an order."""
    if problem.coordinates is None:
        raise ValueError("rows of the order of the label need coordinates of the classes")
    return read_kernel(problem, order_kernel(problem.coordinates, length), share, unlabelled=unlabelled)


def mcca_template(problem: Problem, components: int, ridge: float) -> Template:
    """Return the leading canonical variates of the other animals, fewer where conditions are fewer."""
    others = problem.others
    animals = list(others.values())
    most = min(
        max(ROWS["mcca_read"].grid["components"]), problem.classes - 1, sum(rotated(animal).shape[1] for animal in animals) - 1
    )
    # The template is remembered with one of the animals that it was made of.
    return (
        animals[0]
        .recall(
            ("mcca", ridge, most, *(id(animal) for animal in animals)),
            lambda: (canonical_template(others, problem.classes, most, ridge), animals),
        )[0]
        .truncated(components)
    )


def mcca_read(problem: Problem, *, components: int, ridge: float, penalty: float) -> Floats:
    """Map the target to canonical variates of the others, and read it with a discriminant of the others."""
    template = mcca_template(problem, components, ridge)
    return template.read(mapped(problem, template, penalty))


def mcca_encoding(problem: Problem, *, components: int, ridge: float, gain: float, unlabelled: bool = False) -> Floats:
    """Regress the target's condition means on the others' mean canonical variates, and read it in its own units.

    Ridge regression is kriging with a linear kernel. The penalty is that of the signal variance, which ``gain`` multiplies.
    """
    means = mcca_template(problem, components, ridge).means
    known = np.flatnonzero(np.isfinite(means).all(axis=1))
    inner = means[known] - means[known].mean(axis=0)
    kernel = spread_pairs(centred(inner @ inner.T), known, problem.classes)
    return read_kernel(problem, kernel, 1.0, gain=gain, unlabelled=unlabelled)


def procrustes_read(problem: Problem, *, components: int) -> Floats:
    """Rotate the target's principal components into those of each other animal, and average the log likelihoods there."""
    seen, scores = problem.seen, []
    axes, size = components_of(seen, components)
    for animal in problem.others.values():
        other, other_size = components_of(animal, components)
        both = np.intersect1d(seen.classes, animal.classes)
        count = min(axes.axes.shape[1], other.axes.shape[1])
        if len(both) < 2:
            continue
        latents, means = other(animal.features)[:, :count] / other_size, other(animal.means)[:, :count] / other_size
        rigid = procrustes(axes(seen.means)[np.isin(seen.classes, both), :count] / size, means[np.isin(animal.classes, both)])
        values = rigid(axes(problem.test)[:, :count] / size)
        residuals = latents - means[np.searchsorted(animal.classes, animal.codes)]
        scores.append(discriminate_latents(values, spread_out(means, animal.classes, problem.classes), residuals))
    return averaged(scores, problem)


def averaged(scores: list[Floats], problem: Problem) -> Floats:
    """Average scores ``(trial, class)`` over those that are finite; -inf where none is."""
    if not scores:
        return np.full((len(problem.test), problem.classes), -np.inf)
    stacked = np.stack(scores)
    mean = mean_of_scored(np.where(np.isfinite(stacked), stacked, np.nan), axis=0)
    return np.where(np.isnan(mean), -np.inf, mean)


def procrustes_encoding(problem: Problem, *, components: int, unlabelled: bool = False) -> Floats:
    """Rotate each other animal's condition means into the target's principal components, and read it in its own units."""
    seen, predictions = problem.seen, []
    axes, size = components_of(seen, components)
    for animal in problem.others.values():
        other, other_size = components_of(animal, components)
        both = np.intersect1d(seen.classes, animal.classes)
        count = min(axes.axes.shape[1], other.axes.shape[1])
        if len(both) < 2:
            continue
        means = other(animal.means)[:, :count] / other_size
        rigid = procrustes(means[np.isin(animal.classes, both)], axes(seen.means)[np.isin(seen.classes, both), :count] / size)
        predicted = (rigid(means) * size) @ axes.axes[:, :count].T + axes.center
        predictions.append(spread_out(predicted, animal.classes, problem.classes))
    if not predictions:
        return np.full((len(problem.test), problem.classes), -np.inf)
    return read_predicted(problem, mean_of_scored(np.stack(predictions), axis=0), unlabelled=unlabelled)


def hyperalignment_read(problem: Problem, *, components: int) -> Floats:
    """Rotate all animals to their common template, and read the target with a discriminant of the others."""
    sizes = {name: components_of(animal, components) for name, animal in problem.labelled.items() if len(animal.classes) > 1}
    count = min(axes.axes.shape[1] for axes, _ in sizes.values())
    means = {
        name: spread_out(axes(animal.means)[:, :count] / size, animal.classes, problem.classes)
        for name, animal in problem.labelled.items()
        if name in sizes
        for axes, size in [sizes[name]]
    }
    maps = hyperalign(means)
    if problem.target not in maps or len(maps) < 2:
        return averaged([], problem)
    placed = {
        name: maps[name](axes(problem.labelled[name].features)[:, :count] / size)
        for name, (axes, size) in sizes.items()
        if name in maps and name != problem.target
    }
    axes, size = sizes[problem.target]
    test = maps[problem.target](axes(problem.test)[:, :count] / size)
    return Template.of(placed, problem.labelled, problem.classes).read(test)


def srm_read(problem: Problem, *, components: int) -> Floats:
    """Fit a shared response model to all animals, and read the target with a discriminant of the others' projections."""
    sides = {name: Training(animal.features, animal.codes) for name, animal in problem.labelled.items()}
    model = shared_response(sides, components)
    if model is None:
        return averaged([], problem)
    placed = {name: model.maps[name](animal.features) for name, animal in problem.others.items()}
    return Template.of(placed, problem.labelled, problem.classes).read(model.maps[problem.target](problem.test))


SHARES = (0.9, 0.7, 0.97)
LENGTHS = (1.0, 0.5, 2.0, 4.0)
COMPONENTS = (5, 2, 3, 8, 12)
CANONICAL: Mapping[str, tuple[Setting, ...]] = {"components": COMPONENTS, "ridge": (30.0, 3.0)}
ROWS: Mapping[str, Row] = {
    "class_kernel": Row(class_kernel_row, {"share": SHARES}, False, True, "krige"),
    "class_kernel_em": Row(partial(class_kernel_row, unlabelled=True), {"share": SHARES}, True, True, "krige"),
    "order_kernel": Row(order_kernel_row, {"share": SHARES, "length": LENGTHS}, False, False, "order"),
    "order_kernel_em": Row(
        partial(order_kernel_row, unlabelled=True), {"share": SHARES, "length": LENGTHS}, True, False, "order"
    ),
    "mcca_read": Row(mcca_read, CANONICAL | {"penalty": (1.0, 0.1, 10.0)}, False, True, ""),
    "mcca_encoding": Row(mcca_encoding, CANONICAL | {"gain": (1.0, 0.3, 3.0)}, False, True, ""),
    "mcca_encoding_em": Row(partial(mcca_encoding, unlabelled=True), CANONICAL | {"gain": (1.0, 0.3, 3.0)}, True, True, ""),
    "procrustes_read": Row(procrustes_read, {"components": COMPONENTS}, False, True, ""),
    "procrustes_encoding": Row(procrustes_encoding, {"components": COMPONENTS}, False, True, ""),
    "hyperalignment_read": Row(hyperalignment_read, {"components": COMPONENTS}, False, True, ""),
    "srm_read": Row(srm_read, {"components": COMPONENTS}, False, True, ""),
}
