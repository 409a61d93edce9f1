"""Rows of the table of sharing: ways to predict labels of conditions that were never labelled in the target animal."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from neuromvm.analysis.baselines.components import principal_axes
from neuromvm.analysis.baselines.hyperalignment import hyperalign
from neuromvm.analysis.baselines.procrustes import RigidMap, procrustes
from neuromvm.analysis.baselines.projections import LinearMap, Map
from neuromvm.analysis.baselines.srm import shared_response
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sharing.encoding import Template, canonical_template, discriminate_latents, mapped, rotated
from neuromvm.analysis.sharing.kernels import centred, class_kernel, order_kernel, spread_pairs
from neuromvm.analysis.sharing.problem import Codes, Labelled, Problem, recall_together, spread_out
from neuromvm.analysis.sharing.reading import Whitening, discriminate, read_kernel, read_predicted
from neuromvm.analysis.sharing.rivals import cebra_read, dynamics_read
from neuromvm.analysis.statistics.over_trials import mean_of_scored
from neuromvm.errors import SpecError

Setting = float | int | str
Grid = Mapping[str, tuple[Setting, ...]]


class Row(NamedTuple):
    """A way to solve a problem."""

    read: Callable[..., Floats]  # problem and settings -> scores (trial, class); -inf for classes that it cannot answer
    grid: Grid  # setting -> values that are tried, the default first
    transductive: bool  # whether unlabelled test trials, known to be of held-out conditions, are fitted together
    uses_others: bool  # whether it needs other animals
    words: str  # what it is
    linear: bool = True  # others are published methods, which are slow


def class_kernel_scores(problem: Problem, *, share: float, unlabelled: bool = False) -> Floats:
    """Krige with the kernel of the other animals' condition means."""
    return read_kernel(problem, class_kernel(problem.others, problem.classes), share, unlabelled=unlabelled)


def order_kernel_scores(problem: Problem, *, share: float, length: float, unlabelled: bool = False) -> Floats:
    """Krige with a Gaussian kernel of the places of conditions along an order."""
    if problem.coordinates is None:
        raise SpecError(
            "analysis sharing", found="no order of the classes", expected="coordinates, for rows of the order of the label"
        )
    return read_kernel(problem, order_kernel(problem.coordinates, length), share, unlabelled=unlabelled)


def own_scores(problem: Problem, *, unlabelled: bool = False) -> Floats:
    """Krige with independent condition means: the target's own discriminant, of conditions that it has labelled trials of."""
    unknown = np.full((problem.classes, problem.classes), np.nan)
    return read_kernel(problem, unknown, 0.0, unlabelled=unlabelled)


def ceiling(problem: Problem, codes: Codes, folds: int = 5) -> Floats:
    """Read the target's test trials with a discriminant of its own, which knows the labels of the other test trials.

    Parameters
    ----------
    problem
        Of which only the target's trials are used.
    codes
        Labels of the test trials, ``(trial,)``.
    folds
        Of the test trials, at random with about as many trials of every condition; each is read without its labels.

    Returns
    -------
    Scores ``(trial, class)``; -inf for classes without a label.
    """
    rng, rank = np.random.default_rng(0), np.zeros(len(codes), int)
    for code in np.unique(codes):
        rank[codes == code] = rng.permutation((codes == code).sum())
    scores = np.full((len(codes), problem.classes), -np.inf)
    for fold in range(folds):
        read = rank % folds == fold
        features = np.concatenate([problem.seen.features, problem.test[~read]])
        labelled = Labelled(features, np.concatenate([problem.seen.codes, codes[~read]]))
        if read.any():
            whiten = Whitening.fit(labelled)
            scores[np.ix_(read, labelled.classes)] = discriminate(whiten(problem.test[read]), whiten(labelled.means))
    return scores


def mcca_template(problem: Problem, components: int, ridge: float) -> Template:
    """Return the leading canonical variates of the other animals, fewer where conditions or dimensions are fewer."""
    sources = problem.others
    dimensions = sum(rotated(animal).shape[1] for animal in sources.values())
    most = min(max(COMPONENTS), problem.classes - 1, dimensions - 1)
    template = recall_together(
        list(sources.values()), ("mcca", ridge, most), lambda: canonical_template(sources, problem.classes, most, ridge)
    )
    return template.truncated(components)


def mcca_read(problem: Problem, *, components: int, ridge: float, penalty: float) -> Floats:
    """Map the target to canonical variates of the others, and read it with a discriminant of the others."""
    template = mcca_template(problem, components, ridge)
    if len(np.intersect1d(template.known, problem.seen.classes)) < 2:
        return unreadable(problem)
    return template.read(mapped(problem, template, penalty))


def mcca_encoding(problem: Problem, *, components: int, ridge: float, gain: float, unlabelled: bool = False) -> Floats:
    """Regress the target's condition means on the others' mean canonical variates, and read it in its own units.

    Ridge regression is kriging with a linear kernel. The penalty is that of the signal variance, which ``gain`` multiplies.
    """
    template = mcca_template(problem, components, ridge)
    known = template.known
    inner = template.means[known] - template.means[known].mean(axis=0)
    kernel = spread_pairs(centred(inner @ inner.T), known, problem.classes)
    return read_kernel(problem, kernel, 1.0, gain=gain, unlabelled=unlabelled)


class Components(NamedTuple):
    """Principal components of an animal, scaled so that its condition means have a root mean square of 1 about their centre."""

    axes: LinearMap
    size: float

    @classmethod
    def fit(cls, animal: Labelled, components: int) -> "Components":
        """Fit the labelled trials; fewer components where features have fewer dimensions."""
        axes = animal.recall("principal axes", lambda: principal_axes(animal.features, min(animal.features.shape)))
        axes = LinearMap(axes.center, axes.axes[:, :components])
        means = axes(animal.means)
        size = float(np.sqrt(np.square(means - means.mean(axis=0)).sum(axis=1).mean()))
        return cls(axes, size if size > 0 else 1.0)

    def __call__(self, values: Floats) -> Floats:
        """Project ``(sample, feature)``."""
        return self.axes(values) / self.size

    def features(self, values: Floats) -> Floats:
        """Return features of ``(sample, component)``."""
        return np.asarray(values * self.size @ self.axes.axes.T + self.axes.center)


def all_components(labelled: Mapping[str, Labelled], components: int) -> dict[str, Components]:
    """Return as many components for all animals with two conditions or more."""
    fitted = {name: animal for name, animal in labelled.items() if len(animal.classes) > 1}
    count = min(components, *(min(animal.features.shape) for animal in fitted.values()))
    axes = {name: Components.fit(animal, count) for name, animal in fitted.items()}
    count = min(parts.axes.axes.shape[1] for parts in axes.values())
    return {name: parts._replace(axes=LinearMap(parts.axes.center, parts.axes.axes[:, :count])) for name, parts in axes.items()}


def placed_means(labelled: Mapping[str, Labelled], components: Mapping[str, Components], classes: int) -> dict[str, Floats]:
    """Return condition means ``(class, component)`` of each animal; NaN for absent conditions."""
    return {
        name: spread_out(project(labelled[name].means), labelled[name].classes, classes) for name, project in components.items()
    }


def pairs(problem: Problem, means: Mapping[str, Floats]) -> dict[str, Codes]:
    """Return the conditions that each other animal shares with the target, of animals that share at least two."""
    common = {
        name: np.intersect1d(animal.classes, problem.seen.classes) for name, animal in problem.others.items() if name in means
    }
    return {name: classes for name, classes in common.items() if len(classes) > 1} if problem.target in means else {}


def procrustes_read(problem: Problem, *, components: int) -> Floats:
    """Rotate the target's principal components into those of each other animal, and average the log likelihoods there."""
    axes = all_components(problem.labelled, components)
    means = placed_means(problem.labelled, axes, problem.classes)
    scores = []
    for name, common in pairs(problem, means).items():
        animal = problem.labelled[name]
        rotate = procrustes(means[problem.target][common], means[name][common])
        residuals = axes[name](animal.features) - means[name][animal.codes]
        scores.append(discriminate_latents(rotate(axes[problem.target](problem.test)), means[name], residuals))
    if not scores:
        return unreadable(problem)
    stacked = np.stack(scores)
    mean = mean_of_scored(np.where(np.isfinite(stacked), stacked, np.nan), axis=0)
    return np.where(np.isnan(mean), -np.inf, mean)


def procrustes_encoding(problem: Problem, *, components: int) -> Floats:
    """Rotate each other animal's condition means into the target's principal components, and read it in its own units."""
    axes = all_components(problem.labelled, components)
    means = placed_means(problem.labelled, axes, problem.classes)
    predictions = [
        axes[problem.target].features(procrustes(means[name][common], means[problem.target][common])(means[name]))
        for name, common in pairs(problem, means).items()
    ]
    if not predictions:
        return unreadable(problem)
    return read_predicted(problem, mean_of_scored(np.stack(predictions), axis=0))


# In one split all targets have the same labelled trials, and follow each other: the last fit is kept.
@lru_cache(maxsize=1)
def rotations(labelled: tuple[tuple[str, Labelled], ...], classes: int, components: int) -> dict[str, Map]:
    """Return the map of each animal's features to the common template of hyperalignment."""
    animals = dict(labelled)
    axes = all_components(animals, components)
    rotate = hyperalign(placed_means(animals, axes, classes), rounds=HYPERALIGNMENT_ROUNDS)
    return {name: partial(_rotated, axes[name], rigid) for name, rigid in rotate.items()}


def _rotated(project: Components, rigid: RigidMap, values: Floats) -> Floats:
    return rigid(project(values))


@lru_cache(maxsize=1)
def shared_responses(labelled: tuple[tuple[str, Labelled], ...], components: int) -> dict[str, Map]:
    """Return the map of each animal's features to the shared response; none where the model cannot be fitted."""
    model = shared_response({name: animal.training for name, animal in labelled}, components)
    return {} if model is None else dict(model.maps)


def hyperalignment_read(problem: Problem, *, components: int) -> Floats:
    """Rotate all animals to their common template, and read the target with a discriminant of the others."""
    return _read_in_common(problem, rotations(tuple(problem.labelled.items()), problem.classes, components))


def srm_read(problem: Problem, *, components: int) -> Floats:
    """Fit a shared response model to all animals, and read the target with a discriminant of the others' projections."""
    return _read_in_common(problem, shared_responses(tuple(problem.labelled.items()), components))


def _read_in_common(problem: Problem, maps: Mapping[str, Map]) -> Floats:
    """Read the target's trials in a common space with a discriminant of the others."""
    sources = {name: maps[name](animal.features) for name, animal in problem.others.items() if name in maps}
    if problem.target not in maps or not sources:
        return unreadable(problem)
    return Template.of(sources, problem.labelled, problem.classes).read(maps[problem.target](problem.test))


def unreadable(problem: Problem) -> Floats:
    """Return scores of a row that can answer no class."""
    return np.full((len(problem.test), problem.classes), -np.inf)


HYPERALIGNMENT_ROUNDS = 20  # the template changes little after that
SHARES = (0.9, 0.5, 0.99)
COMPONENTS = (5, 2, 3, 8, 12, 16)
KERNEL: Grid = {"share": SHARES}
ORDER: Grid = {"share": SHARES, "length": (1.0, 0.5, 0.25, 2.0)}
CANONICAL: Grid = {"components": COMPONENTS, "ridge": (30.0, 3.0)}
ENCODED: Grid = {**CANONICAL, "gain": (0.3, 1.0, 0.1)}
RIGID: Grid = {"components": COMPONENTS}
ROWS: Mapping[str, Row] = {
    "class_kernel": Row(
        class_kernel_scores, KERNEL, False, True, "kriging in the target's units with the others' kernel of conditions; inductive"
    ),
    "class_kernel_em": Row(
        partial(class_kernel_scores, unlabelled=True), KERNEL, True, True, "class_kernel, with EM over the unlabelled trials"
    ),
    "order_kernel": Row(
        order_kernel_scores, ORDER, False, False, "kriging with a Gaussian kernel of the order of the label; inductive"
    ),
    "order_kernel_em": Row(
        partial(order_kernel_scores, unlabelled=True), ORDER, True, False, "order_kernel, with EM over the unlabelled trials"
    ),
    "own": Row(own_scores, {}, False, False, "the target's own discriminant, of conditions with labelled trials; inductive"),
    "own_em": Row(partial(own_scores, unlabelled=True), {}, True, False, "own, with EM over the unlabelled trials"),
    "mcca_read": Row(
        mcca_read,
        {**CANONICAL, "penalty": (1.0, 0.1, 10.0)},
        False,
        True,
        "ridge map of the target to the others' canonical variates, read there; inductive",
    ),
    "mcca_encoding": Row(
        mcca_encoding,
        ENCODED,
        False,
        True,
        "ridge map of the others' canonical variates to the target's units, read there; inductive",
    ),
    "mcca_encoding_em": Row(
        partial(mcca_encoding, unlabelled=True), ENCODED, True, True, "mcca_encoding, with EM over the unlabelled trials"
    ),
    "procrustes_read": Row(
        procrustes_read, RIGID, False, True, "target rotated into the components of each other animal, read there; inductive"
    ),
    "procrustes_encoding": Row(
        procrustes_encoding, RIGID, False, True, "others' condition means rotated into the target's components; inductive"
    ),
    "hyperalignment_read": Row(
        hyperalignment_read, RIGID, False, True, "all animals rotated to a common template, target read there; inductive"
    ),
    "srm_read": Row(srm_read, RIGID, False, True, "shared response model of all animals, target read there; inductive"),
    "dynamics_read": Row(
        dynamics_read,
        {"dimensions": (4, 8), "steps": (2, 10)},
        False,
        True,
        "aligned mixture of latent dynamical systems (Herrero-Vidal et al. 2021), the class of highest likelihood; inductive",
        linear=False,
    ),
    "cebra_read": Row(
        cebra_read,
        {"dimensions": (16,), "iterations": (400,)},
        False,
        True,
        "CEBRA with a network for each animal, target read by a decoder of the others; inductive, optional package",
        linear=False,
    ),
    "cebra_unified_read": Row(
        partial(cebra_read, unified=True),
        {"dimensions": (16,), "iterations": (400,)},
        False,
        True,
        "CEBRA with one network of all units, target read by a decoder of the others; inductive, optional package",
        linear=False,
    ),
}
