"""The rows of baselines: their settings, what these are chosen among, and how each is fitted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, Self, get_args

import xarray as xr
from pydantic import Field

from neuromvm.analysis.baselines.cebra import Contrast, ContrastiveEmbeddings, require_package
from neuromvm.analysis.baselines.components import PrincipalComponents
from neuromvm.analysis.baselines.hyperalignment import Hyperaligned
from neuromvm.analysis.baselines.mcca import CanonicalVariates
from neuromvm.analysis.baselines.procrustes import ProcrustesAligned
from neuromvm.analysis.baselines.raw import Discriminants, SpikeCounts
from neuromvm.analysis.baselines.srm import SharedResponses
from neuromvm.analysis.readouts.classifiers import Classifier
from neuromvm.analysis.readouts.representations import Floats, Inputs, RawFeatures, Representation
from neuromvm.specs.base import Spec

Name = Literal["raw", "raw_lda", "poisson_bayes", "pca", "procrustes", "hyperalignment", "srm", "mcca", "cebra"]
Setting = float | int | Literal["auto"]


class BaselineOptions(Spec):
    """Which baselines, and their settings. Defaults suit some tens of units and about a hundred trials an animal."""

    baselines: tuple[Name, ...] = Field(
        default_factory=lambda: tuple(name for name in get_args(Name) if ROWS[name].require is None)
    )
    tune: bool = Field(
        False, description="Choose these settings, and C of latents, for each split on inner folds of its training side"
    )
    inner_folds: int = Field(3, ge=2, description="tune: folds of the training side of a split")
    raw_inverse_penalty: float = Field(0.02, gt=0, description="C of decoders of raw features")
    lda_shrinkage: float | Literal["auto"] = Field(
        "auto", description="raw_lda: share of the diagonal, 0 to 1; auto: Ledoit-Wolf"
    )
    prior_trials: float = Field(1.0, gt=0, description="poisson_bayes: weight of the mean rate, in trials")
    component_inverse_penalty: float = Field(0.1, gt=0, description="pca, procrustes, hyperalignment: C of decoders")
    latent_inverse_penalty: float = Field(1.0, gt=0, description="C of decoders of latents, scaled to 1 sd")
    canonical_inverse_penalty: float = Field(1.0, gt=0, description="C of decoders of canonical variates, scaled to 1 sd")
    response_inverse_penalty: float = Field(0.1, gt=0, description="srm: C of decoders")
    principal_components: int = Field(
        20, ge=1, description="pca, procrustes, hyperalignment: components an animal; 30 for hundreds of cells"
    )
    response_components: int = Field(14, ge=1, description="srm: dimensions; classes - 1 at most")
    canonical_components: int = Field(14, ge=1, description="mcca: shared components; classes - 1 is a good choice")
    ridge: float = Field(3.0, gt=0, description="mcca: added to the covariance of scaled features; 30 for hundreds of cells")
    cebra_dimensions: int = Field(32, ge=2, description="cebra: dimensions of the embedding")
    cebra_iterations: int = Field(400, ge=1, description="cebra: iterations of training, each on 64 samples of every animal")
    cebra_temperature: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        1.0, description="cebra: of the contrast; auto: learned"
    )
    cebra_inverse_penalty: float = Field(0.1, gt=0, description="cebra: C of decoders of the embedding, scaled to 1 sd")
    cebra_seed: int = Field(0, ge=0, description="cebra: of weights and of the samples drawn")


class Row(NamedTuple):
    """One baseline.

    Attributes
    ----------
    fit
        Fits it on the training sides of some splits.
    grid
        Setting -> values that ``tune`` tries, the simplest first.
    animals
        How many it needs at least.
    counts
        Whether it needs counts of spikes.
    linear
        Whether what it shares is a linear map of features.
    require
        Raises SpecError unless the package is installed that the row needs. Such a row is fitted, and refitted on null data, only
        where it is named.
    """

    fit: Callable[[Inputs, BaselineOptions, Sequence[int]], Representation]
    grid: Mapping[str, tuple[Setting, ...]]
    animals: int = 1
    counts: bool = False
    linear: bool = True
    require: Callable[[], None] | None = None


RAW_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
PENALTIES = (0.01, 0.1, 1.0)


def _raw(inputs: Inputs, options: BaselineOptions, splits: Sequence[int]) -> Representation:
    return RawFeatures(inputs, inverse_penalty=options.raw_inverse_penalty, splits=splits)


def _raw_lda(inputs: Inputs, options: BaselineOptions, splits: Sequence[int]) -> Representation:
    return Discriminants(inputs, shrinkage=options.lda_shrinkage, splits=splits)


def _poisson_bayes(inputs: Inputs, options: BaselineOptions, splits: Sequence[int]) -> Representation:
    return SpikeCounts(inputs, prior_trials=options.prior_trials, splits=splits)


def _of_components(
    kind: type[PrincipalComponents] | type[Hyperaligned],
) -> Callable[[Inputs, BaselineOptions, Sequence[int]], Representation]:
    def fit(inputs: Inputs, options: BaselineOptions, splits: Sequence[int]) -> Representation:
        components, penalty = options.principal_components, options.component_inverse_penalty
        return kind(inputs, components=components, inverse_penalty=penalty, splits=splits)

    return fit


def _srm(inputs: Inputs, options: BaselineOptions, splits: Sequence[int]) -> Representation:
    components, penalty = options.response_components, options.response_inverse_penalty
    return SharedResponses(inputs, components=components, inverse_penalty=penalty, splits=splits)


def _mcca(inputs: Inputs, options: BaselineOptions, splits: Sequence[int]) -> Representation:
    components, penalty = options.canonical_components, options.canonical_inverse_penalty
    return CanonicalVariates(inputs, components=components, ridge=options.ridge, inverse_penalty=penalty, splits=splits)


def _cebra(inputs: Inputs, options: BaselineOptions, splits: Sequence[int]) -> Representation:
    settings = Contrast(options.cebra_dimensions, options.cebra_iterations, options.cebra_temperature, options.cebra_seed)
    return ContrastiveEmbeddings(inputs, settings, inverse_penalty=options.cebra_inverse_penalty, splits=splits)


OF_COMPONENTS: Mapping[str, tuple[Setting, ...]] = {
    "principal_components": (10, 20, 40),
    "component_inverse_penalty": PENALTIES,
}
ROWS: Mapping[str, Row] = {
    "raw": Row(_raw, {"raw_inverse_penalty": RAW_PENALTIES}),
    "raw_lda": Row(_raw_lda, {"lda_shrinkage": ("auto", 0.9, 0.6, 0.3)}),
    "poisson_bayes": Row(_poisson_bayes, {"prior_trials": (10.0, 3.0, 1.0, 0.3)}, counts=True),
    "pca": Row(_of_components(PrincipalComponents), OF_COMPONENTS),
    "procrustes": Row(_of_components(ProcrustesAligned), OF_COMPONENTS, animals=2),
    "hyperalignment": Row(_of_components(Hyperaligned), OF_COMPONENTS, animals=2),
    "srm": Row(_srm, {"response_components": (5, 10, 20), "response_inverse_penalty": PENALTIES}, animals=2),
    "mcca": Row(
        _mcca,
        {"canonical_components": (7, 14, 20), "ridge": (30.0, 10.0, 3.0, 1.0), "canonical_inverse_penalty": (0.1, 1.0)},
        animals=2,
    ),
    "cebra": Row(
        _cebra,
        {
            "cebra_iterations": (100, 400),
            "cebra_dimensions": (16, 32),
            "cebra_temperature": (1.0, "auto"),
            "cebra_inverse_penalty": PENALTIES,  # last, so that an embedding is fitted once for all of them
        },
        animals=2,
        linear=False,
        require=require_package,
    ),
}


def require(names: Sequence[str]) -> None:
    """Refuse baselines whose package is not installed, before anything is fitted; other rows, models, need none.

    Raises
    ------
    SpecError
        With the command that installs it.
    """
    for row in (ROWS[name] for name in names if name in ROWS):
        if row.require is not None:
            row.require()


def missing(name: str, samples: xr.DataTree) -> str:
    """Say what a baseline needs and these samples do not have; '' if nothing.

    Examples
    --------
    >>> missing("raw", xr.DataTree.from_dict({"mitt": xr.Dataset({"activity": ("unit", [0.5])})}))
    ''
    >>> missing("poisson_bayes", xr.DataTree.from_dict({"mitt": xr.Dataset({"activity": ("unit", [0.5])})}))
    'activity of mitt is no count of spikes'
    """
    row = ROWS[name]
    if len(samples.children) < row.animals:
        return f"one animal; {name} aligns several"
    if row.counts:
        for animal, node in samples.children.items():
            if node["activity"].dtype.kind not in "ui":
                return f"activity of {animal} is no count of spikes"
    return ""


def baseline(name: str, inputs: Inputs, options: BaselineOptions | Sequence[BaselineOptions]) -> Representation:
    """Fit a baseline on the training side of every split: the same samples, splits and options give the same.

    Parameters
    ----------
    name
        One of ``ROWS``.
    inputs
        Samples and splits.
    options
        For all splits, or one for each (of :func:`neuromvm.analysis.decoding.tuning.tuned_options`).

    Raises
    ------
    SpecError, SchemaError, ShapeError
        If the samples lack what :func:`missing` says, or it has more components than the animals have dimensions.

    Examples
    --------
    >>> aligned = baseline("mcca", Inputs(samples, splits), Options(ridge=10))  # doctest: +SKIP
    >>> decode(aligned, samples, splits)  # doctest: +SKIP
    """
    fit = ROWS[name].fit
    if isinstance(options, BaselineOptions):
        return fit(inputs, options, range(inputs.splits))
    own = list(ROWS[name].grid)
    alike: dict[tuple[Setting, ...], list[int]] = {}
    for split, one in enumerate(options):
        alike.setdefault(tuple(getattr(one, setting) for setting in own), []).append(split)
    if len(alike) == 1:
        return fit(inputs, options[0], range(inputs.splits))
    return SplitBySplit.of({tuple(splits): fit(inputs, options[splits[0]], splits) for splits in alike.values()})


class SplitBySplit(Representation):
    """A baseline with settings of its own in every split."""

    def __init__(self, parts: Sequence[tuple[Representation, int]]) -> None:
        super().__init__(range(len(parts)), shared=parts[0][0].shared)
        self._parts = parts

    @classmethod
    def of(cls, fitted: Mapping[tuple[int, ...], Representation]) -> Self:
        """Put together representations of some splits each."""
        found = {split: (one, place) for splits, one in fitted.items() for place, split in enumerate(splits)}
        return cls([found[split] for split in sorted(found)])

    def classifier(self, replica: int) -> Classifier:
        """Return the classifier of the split."""
        part, place = self._parts[replica]
        return part.classifier(place)

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return what a decoder of the source sees in the split."""
        part, place = self._parts[replica]
        return part.seen(place, source, target)
