"""Analysis ``decoding``: can decoders of some animals read the others, and how does a model compare with linear baselines?

Every representation is decoded by the same kind of classifier, from the same trials; see :mod:`analysis.scoring` for the
settings and for the floors and intervals, :mod:`analysis.alignment` for the baselines.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from analysis.alignment import CanonicalVariates, PrincipalComponents, ProcrustesAligned
from analysis.decoders import decode
from analysis.representations import Inputs, Latents, RawFeatures, Representation, in_sample
from analysis.scores import Score
from analysis.scoring import Resampling, score
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SchemaError, SpecError, expect
from neuromvm.schema import check_same_trials, expect_tree
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from analysis.figures.style import Figure
    from neuromvm.runs import Study


ALIGNMENTS = {"procrustes", "mcca"}


class Options(Spec):
    """Baselines, decoders and resampling. Defaults suit some tens of units and about a hundred trials an animal."""

    baselines: tuple[Literal["raw", "pca", "procrustes", "mcca"], ...] = ("raw", "pca", "procrustes", "mcca")
    raw_inverse_penalty: float = Field(0.02, gt=0, description="C of decoders of raw features")
    component_inverse_penalty: float = Field(0.1, gt=0, description="C of decoders of principal components")
    latent_inverse_penalty: float = Field(1.0, gt=0, description="C of decoders of latents, scaled to 1 sd")
    canonical_inverse_penalty: float = Field(1.0, gt=0, description="C of decoders of canonical variates, scaled to 1 sd")
    principal_components: int = Field(20, ge=1, description="pca, procrustes: components an animal; 30 for hundreds of cells")
    canonical_components: int = Field(14, ge=1, description="mcca: shared components; classes - 1 is a good choice")
    ridge: float = Field(3.0, gt=0, description="mcca: added to the covariance of scaled features; 30 for hundreds of cells")
    reference: str = Field("mcca", description="Representation with which the others are compared, draw by draw")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    permutations: int = Field(1000, ge=500, description="Permutations of labels among test trials")
    seed: int = Field(0, ge=0, description="Of the resamples and permutations")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Decode every model of a run and the linear baselines; :func:`analysis.scoring.score` says what is returned."""
    return compare(study.samples, study.splits, {name: study.latents(name) for name in study.models}, options)


def compare(
    samples: xr.DataTree, splits: xr.DataTree, latents: Mapping[str, xr.DataTree], options: Options | None = None
) -> xr.Dataset:
    """Decode latents and the linear baselines on the same splits.

    Parameters
    ----------
    samples, splits
        What the latents were inferred from, and the splits they were trained on.
    latents
        Name -> tree of :meth:`neuromvm.inference.FittedStack.embed`.
    options
        Baselines, decoders and resampling.

    Returns
    -------
    See :func:`analysis.scoring.score`.

    Raises
    ------
    SpecError
        If a model has the name of a baseline.

    Examples
    --------
    >>> scores = compare(samples, splits, {"mmvm": fitted.embed(samples)})  # doctest: +SKIP
    >>> scores["value"].sel(representation="mmvm", setting="cross")  # doctest: +SKIP
    """
    options = options or Options()
    expect(latents, Mapping, "latents", 'Name each tree: {"mmvm": fitted.embed(samples)}')
    for name, tree in latents.items():
        expect_tree(tree, "latent_mean", f"latents[{name!r}]", "Make it: fitted.embed(samples)")
        if "sample_spec" in tree.attrs and sample_spec(tree) != sample_spec(samples):
            raise SchemaError(
                f"latents[{name!r}]", found="latents of samples made with another spec", expected="latents of these samples"
            )
    check_same_trials(samples, splits)
    inputs = Inputs(samples, splits)
    representations: dict[str, Representation] = {
        name: Latents(tree, splits, inverse_penalty=options.latent_inverse_penalty) for name, tree in latents.items()
    }
    # Alignments need two animals; with one, only what it has of its own is compared.
    alone = len(inputs.animals) < 2
    for name in options.baselines:
        if alone and name in ALIGNMENTS:
            continue
        if name in representations:
            raise SpecError(f"models.{name}", found="a model with the name of a baseline", next_step="Rename the model")
        representations[name] = baseline(name, inputs, options)
    predictions = {name: decode(one, samples, splits) for name, one in representations.items()}
    resampling = Resampling(options.bootstraps, options.permutations, options.seed)
    return score(predictions, samples, resampling, options.reference, in_sample=in_sample(splits))


def baseline(name: str, inputs: Inputs, options: Options) -> Representation:
    """Fit a baseline on the training side of every split."""
    if name == "raw":
        return RawFeatures(inputs, inverse_penalty=options.raw_inverse_penalty)
    if name == "mcca":
        return CanonicalVariates(
            inputs,
            components=options.canonical_components,
            ridge=options.ridge,
            inverse_penalty=options.canonical_inverse_penalty,
        )
    kind = {"pca": PrincipalComponents, "procrustes": ProcrustesAligned}[name]
    return kind(inputs, components=options.principal_components, inverse_penalty=options.component_inverse_penalty)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return one line for each representation and setting that exists."""
    reference, in_sample = scores.attrs["reference"], bool(scores.attrs.get("in_sample", 0))
    compared = scores.sel(reference=reference) if reference else scores.isel(reference=0)
    lines = []
    for representation in scores["representation"].values:
        for setting in scores["setting"].values:
            one = compared.sel(representation=representation, setting=setting)
            if not np.isfinite(one["value"]):
                continue
            other = bool(reference) and reference != representation and bool(np.isfinite(one["difference"]))
            against = {key: float(one[key]) for key in ("difference", "difference_low", "difference_high")} if other else {}
            lines.append(
                Score(
                    what="balanced accuracy",
                    representation=str(representation),
                    setting=str(setting),
                    value=float(one["value"]),
                    low=float(one["low"]),
                    high=float(one["high"]),
                    interval=scores.attrs["interval"],
                    null_kind=scores.attrs["floor"],
                    null_n=int(scores.attrs.get("permutations", 0)),
                    floor=float(one["null_mean"]),
                    floor_low=float(one["null_low"]),
                    floor_high=float(one["null_high"]),
                    chance=float(one["chance"]),
                    p=float(one["p"]),
                    baseline=reference if other else "",
                    **against,
                    n_animals=int(np.isfinite(one["target_value"]).sum()),
                    n_trials=int(one["trials"].where(np.isfinite(one["target_value"])).sum()),
                    n_windows=int(scores.attrs.get("windows", 0)),
                    n_splits=scores.sizes["split"],
                    in_sample=in_sample,
                )
            )
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the settings side by side, the differences to the reference, and who reads whom."""
    from analysis.figures import decoding as figures  # here, so that computing needs no plotting library

    drawn = {"settings": figures.settings(scores), "transfer": figures.transfer(scores)}
    if scores.attrs["reference"]:
        drawn["difference"] = figures.difference(scores)
    return drawn
