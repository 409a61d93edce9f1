"""The baselines of decoding: settings, the grid on which they are tuned, and how each baseline is fitted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm.analysis.baselines.cebra import ContrastiveEmbeddings, require_package
from neuromvm.analysis.baselines.components import PrincipalComponents
from neuromvm.analysis.baselines.dynamical_alignment import TrialLikelihoods
from neuromvm.analysis.baselines.hyperalignment import Hyperaligned
from neuromvm.analysis.baselines.mcca import CanonicalVariates
from neuromvm.analysis.baselines.procrustes import ProcrustesAligned
from neuromvm.analysis.baselines.raw import Discriminants, ShrunkMeanDiscriminants, SpikeCounts
from neuromvm.analysis.baselines.srm import SharedResponses
from neuromvm.analysis.readouts.classifiers import Classifier
from neuromvm.analysis.readouts.representations import Floats, Inputs, Penalised, RawFeatures, Representation
from neuromvm.specs.base import Spec

Name = Literal[
    "raw",
    "raw_lda",
    "shrunk_lda",
    "poisson_bayes",
    "pca",
    "procrustes",
    "hyperalignment",
    "srm",
    "mcca",
    "dynamics",
    "cebra",
    "cebra_unified",
]
Setting = float | int | Literal["auto"]


class BaselineOptions(Spec):
    """Which baselines, and their settings. Defaults suit some tens of units and about a hundred trials an animal."""

    baselines: tuple[Name, ...] = Field(default_factory=lambda: tuple(name for name in get_args(Name) if BASELINES[name].default))
    tune: bool = Field(
        False, description="Choose these settings, and C of latents, for each split on inner folds of its training side"
    )
    inner_folds: int = Field(3, ge=2, description="tune: folds of the training side of a split")
    inner_repeats: int = Field(
        10,
        ge=1,
        description="tune: most divisions into folds; a split is done once two more left its choice as it was",
    )
    raw_inverse_penalty: float = Field(0.02, gt=0, description="C of decoders of raw features")
    lda_shrinkage: float | Literal["auto"] = Field(
        "auto", description="raw_lda: share of the diagonal, 0 to 1; auto: Ledoit-Wolf"
    )
    mean_lda_shrinkage: float = Field(
        0.85, gt=0, le=1, description="shrunk_lda: share of the covariance within classes that is white"
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
    dynamics_dimensions: int = Field(8, ge=1, description="dynamics: of the latent state")
    dynamics_steps: int = Field(
        10, ge=1, description="dynamics: most iterations; few keep the latent state on what animals share"
    )
    cebra_dimensions: int = Field(32, ge=2, description="cebra: dimensions of the embedding")
    cebra_iterations: int = Field(400, ge=1, description="cebra: iterations of training, each on 64 samples of every animal")
    cebra_temperature: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        1.0, description="cebra: of the contrast; auto: learned"
    )
    cebra_inverse_penalty: float = Field(0.1, gt=0, description="cebra: C of decoders of the embedding, scaled to 1 sd")
    cebra_seed: int = Field(0, ge=0, description="cebra: of weights and of the samples drawn")


class Baseline(NamedTuple):
    """How a baseline is fitted and tuned."""

    representation: Callable[..., Representation]
    settings: Mapping[str, str]  # argument of the representation -> setting of BaselineOptions
    grid: Mapping[str, tuple[Setting, ...]]  # setting -> values that tune tries, the simplest first
    animals: int = 1  # needed
    counts: bool = False  # whether it needs spike counts
    matched: bool = False  # whether it decodes what pairs share, which then has to be the label
    default: bool = True  # whether it is a row, and refitted, unless named
    linear: bool = True  # whether the map to the shared space is linear
    require: Callable[[], None] | None = None  # raises SpecError unless the optional package is installed

    def fit(self, inputs: Inputs, options: BaselineOptions, splits: Sequence[int]) -> Representation:
        """Fit it on the training sides of ``splits``."""
        settings = {argument: getattr(options, setting) for argument, setting in self.settings.items()}
        return self.representation(inputs, splits=splits, **settings)

    def fit_each(self, inputs: Inputs, candidates: Sequence[BaselineOptions], splits: Sequence[int]) -> Iterator[Representation]:
        """Fit candidates that differ in the penalty of decoders alone; an alignment is fitted once for all of them."""
        fitted = self.fit(inputs, candidates[0], splits)
        yield fitted
        for candidate in candidates[1:]:
            if isinstance(fitted, Penalised):
                yield fitted.with_penalty(getattr(candidate, self.settings["inverse_penalty"]))
            else:
                yield self.fit(inputs, candidate, splits)

    def by_alignment(self, candidates: Sequence[BaselineOptions]) -> list[list[int]]:
        """Group the numbers of candidates that differ in the penalty of decoders alone."""
        aligned_by = [setting for setting in self.grid if setting != self.settings.get("inverse_penalty")]
        groups: dict[tuple[Setting, ...], list[int]] = {}
        for number, candidate in enumerate(candidates):
            groups.setdefault(tuple(getattr(candidate, setting) for setting in aligned_by), []).append(number)
        return list(groups.values())


RAW_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
PENALTIES = (0.01, 0.1, 1.0)
COMPONENTS = {"components": "principal_components", "inverse_penalty": "component_inverse_penalty"}
COMPONENT_GRID: Mapping[str, tuple[Setting, ...]] = {
    "principal_components": (3, 5, 10, 20, 40),
    "component_inverse_penalty": PENALTIES,
}
CEBRA = Baseline(
    ContrastiveEmbeddings,
    {key: f"cebra_{key}" for key in ("dimensions", "iterations", "temperature", "seed", "inverse_penalty")},
    {
        "cebra_iterations": (100, 400),
        "cebra_dimensions": (16, 32),
        "cebra_temperature": (1.0, "auto"),
        "cebra_inverse_penalty": PENALTIES,
    },
    animals=2,
    default=False,
    linear=False,
    require=require_package,
)
BASELINES: Mapping[str, Baseline] = {
    "raw": Baseline(RawFeatures, {"inverse_penalty": "raw_inverse_penalty"}, {"raw_inverse_penalty": RAW_PENALTIES}),
    "raw_lda": Baseline(Discriminants, {"shrinkage": "lda_shrinkage"}, {"lda_shrinkage": ("auto", 0.95, 0.9, 0.75, 0.6, 0.3)}),
    "shrunk_lda": Baseline(
        ShrunkMeanDiscriminants,
        {"shrinkage": "mean_lda_shrinkage"},
        {"mean_lda_shrinkage": (1.0, 0.95, 0.85, 0.7, 0.5, 0.3)},
    ),
    "poisson_bayes": Baseline(
        SpikeCounts, {"prior_trials": "prior_trials"}, {"prior_trials": (10.0, 3.0, 1.0, 0.3)}, counts=True
    ),
    "pca": Baseline(PrincipalComponents, COMPONENTS, COMPONENT_GRID),
    "procrustes": Baseline(ProcrustesAligned, COMPONENTS, COMPONENT_GRID, animals=2),
    "hyperalignment": Baseline(Hyperaligned, COMPONENTS, COMPONENT_GRID, animals=2),
    "srm": Baseline(
        SharedResponses,
        {"components": "response_components", "inverse_penalty": "response_inverse_penalty"},
        {"response_components": (2, 3, 5, 10, 20), "response_inverse_penalty": PENALTIES},
        animals=2,
    ),
    "mcca": Baseline(
        CanonicalVariates,
        {"components": "canonical_components", "ridge": "ridge", "inverse_penalty": "canonical_inverse_penalty"},
        {
            "canonical_components": (2, 3, 5, 7, 10, 14, 20),
            "ridge": (100.0, 30.0, 10.0, 3.0, 1.0),
            "canonical_inverse_penalty": PENALTIES,
        },
        animals=2,
    ),
    "dynamics": Baseline(
        TrialLikelihoods,
        {"dimensions": "dynamics_dimensions", "steps": "dynamics_steps"},
        {"dynamics_steps": (2, 10, 50), "dynamics_dimensions": (2, 4, 8, 14)},
        matched=True,
        default=False,
        linear=False,
    ),
    "cebra": CEBRA,
    "cebra_unified": CEBRA._replace(representation=partial(ContrastiveEmbeddings, unified=True)),
}


def require(names: Sequence[str]) -> None:
    """Raise SpecError unless the packages of baselines are installed, before anything is fitted; names of models are ignored."""
    for name in names:
        if name in BASELINES and (check := BASELINES[name].require) is not None:
            check()


def missing(name: str, samples: xr.DataTree) -> str:
    """Return what a baseline needs and these samples lack; '' if nothing.

    Examples
    --------
    >>> missing("poisson_bayes", xr.DataTree.from_dict({"mitt": xr.Dataset({"activity": ("unit", [0.5])})}))
    'activity of mitt is no count of spikes'
    """
    if len(samples.children) < BASELINES[name].animals:
        return f"one animal; {name} aligns several"
    if BASELINES[name].counts:
        for animal, node in samples.children.items():
            if node["activity"].dtype.kind not in "ui":
                return f"activity of {animal} is no count of spikes"
    if BASELINES[name].matched and not all(
        np.array_equal(node["label"].to_numpy(), node["match"].to_numpy()) for node in samples.children.values()
    ):
        return f"pairs share other labels than are decoded; {name} decodes what pairs share"
    return ""


def baseline(name: str, inputs: Inputs, options: BaselineOptions | Sequence[BaselineOptions]) -> Representation:
    """Fit a baseline on the training side of every split; the result is deterministic.

    Parameters
    ----------
    name
        A key of ``BASELINES``.
    inputs
        Samples and splits.
    options
        For all splits, or for each split (of :func:`neuromvm.analysis.decoding.tuning.tuned_options`).

    Raises
    ------
    SpecError, SchemaError, ShapeError
        If the samples lack what :func:`missing` says, or the animals have fewer dimensions than the components asked for.
    """
    method = BASELINES[name]
    if isinstance(options, BaselineOptions):
        return method.fit(inputs, options, range(inputs.splits))
    splits_of: dict[tuple[Setting, ...], list[int]] = {}
    for split, of_split in enumerate(options):
        splits_of.setdefault(tuple(getattr(of_split, setting) for setting in method.grid), []).append(split)
    if len(splits_of) == 1:
        return method.fit(inputs, options[0], range(inputs.splits))
    return SplitBySplit({tuple(splits): method.fit(inputs, options[splits[0]], splits) for splits in splits_of.values()})


class SplitBySplit(Representation):
    """A baseline with different settings in different splits, of baselines that were fitted on some splits each."""

    def __init__(self, parts: Mapping[tuple[int, ...], Representation]) -> None:
        self._parts = {split: (part, number) for splits, part in parts.items() for number, split in enumerate(splits)}
        super().__init__(range(len(self._parts)), shared=self._parts[0][0].shared)
        self.pools = self._parts[0][0].pools

    def classifier(self, replica: int) -> Classifier:
        """Return the classifier of the split."""
        part, number = self._parts[replica]
        return part.classifier(number)

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return what a decoder of the source sees in the split."""
        part, number = self._parts[replica]
        return part.seen(number, source, target)
