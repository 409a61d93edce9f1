"""Analysis ``spikes``: how many bits of a spike do latents predict, within an animal and from one animal to another?

Settings: *cross*, counts of an animal from test trials of another animal, matched by condition; *own*, from the animal's own
latents, which have seen these spikes, so that it is a reconstruction; *cosmoothing*, held-out units from the others of the trial.

References
----------
Pillow, J. W. et al. (2008). Spatio-temporal correlations and visual signalling in a complete neuronal population.
*Nature* 454, 995-999: log-likelihood over that of the mean rate, per spike.
Pei, F. et al. (2021). Neural Latents Benchmark '21. *NeurIPS Datasets and Benchmarks*: co-smoothing, bits per spike.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.baselines.components import PrincipalComponents, principal_axes
from neuromvm.analysis.baselines.mcca import CanonicalVariates
from neuromvm.analysis.baselines.procrustes import ProcrustesAligned
from neuromvm.analysis.decoding.scoring import NO_FLOOR, Resampling
from neuromvm.analysis.flat_score import Score, difference, numbers
from neuromvm.analysis.generated import predictive_checks
from neuromvm.analysis.generated.activity import EVENTS, chosen_models, flattened, scored_rows
from neuromvm.analysis.generated.rates import RidgeReadout, condition_means, counts_of, fit_readout, mean_rates
from neuromvm.analysis.generated.spike_scores import Account, summaries
from neuromvm.analysis.readouts.representations import Floats, Inputs, Latents, Representation, held_out, training_side
from neuromvm.errors import SpecError
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

MEAN_RATE, CONDITION_MEAN, RAW, DECODER = "mean rate", "condition mean", "raw linear", "{} decoder"
FLOOR = "{} permutations, nothing refitted: of names of the source's conditions (cross), of predictions among test trials (else)"
SEEN = "none: latents have seen the spikes that are scored, and permuted predictions do not say what that gives on noise"
SMALLEST_RATE = 1e-9  # [counts a bin] of a decoder that expects none
WHAT = {"bits_per_spike": "bits per spike", "deviance_explained": "deviance explained"}


NEEDS = ("transferred",)


class Options(Spec):
    """Representations, readouts and resampling."""

    models: list[str] | None = Field(None, description="Models; default: all")
    baselines: tuple[Literal["pca", "procrustes", "mcca"], ...] = ("pca", "procrustes", "mcca")
    readout_penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.03, 0.3, 3.0), min_length=1, description="alphas of Poisson regressions, chosen on the training side of each split"
    )
    principal_components: int = Field(10, ge=1, description="pca, procrustes: components an animal")
    canonical_components: int = Field(14, ge=1, description="mcca: shared components")
    canonical_ridge: float = Field(3.0, gt=0, description="mcca: added to the covariance of scaled features")
    unit_folds: int = Field(4, ge=2, description="cosmoothing: parts of the units, each held out in turn")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    permutations: int = Field(500, ge=100, description="Permutations among test trials")
    seed: int = Field(0, ge=0, description="Of resamples, permutations and parts of units")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Score the models of a run and the baselines; see :func:`predict_spikes`.

    Raises
    ------
    RunFolderError
        If a model is not there, or the experiment did not ask for this analysis.
    SchemaError
        If the activity is no count of spikes.
    """
    models = chosen_models(study, options.models, "spikes")
    latents = {name: study.latents(name) for name in models}
    return predict_spikes(study.samples, study.splits, latents, {name: study.transferred(name) for name in models}, options)


def predict_spikes(
    samples: xr.DataTree,
    splits: xr.DataTree,
    latents: Mapping[str, xr.DataTree],
    transferred: Mapping[str, xr.DataTree],
    options: Options | None = None,
) -> xr.Dataset:
    """Predict the spike counts of every animal's test trials and score the predictions.

    Parameters
    ----------
    samples, splits
        Spike counts, and which trials are fitted and scored.
    latents
        Model -> tree of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`; the first replica of each split is used.
    transferred
        Model -> tree of :func:`neuromvm.inference.transfer.transfer`; decoders that expect counts are scored and checked too.
    options
        Representations, readouts and resampling.

    Returns
    -------
    See :func:`neuromvm.analysis.generated.spike_scores.summaries`, without a null of *own*, and with decoders of counts
    :func:`neuromvm.analysis.generated.predictive_checks.check`.

    Examples
    --------
    >>> scores = predict_spikes(samples, splits, {"mmvm": fitted.embed(samples)}, {})  # doctest: +SKIP
    >>> scores["value"].sel(measure="bits_per_spike", representation="mmvm", setting="cross")  # doctest: +SKIP
    """
    options = options or Options()
    check_same_trials(samples, splits)
    unscored = in_sample(splits)
    resampling = Resampling(options.bootstraps, 0 if unscored else options.permutations, options.seed)
    account = Account(samples, splits, resampling)
    inputs = Inputs(samples, splits)
    representations = _representations(inputs, splits, latents, options)
    for split in range(inputs.splits):
        trials = {name: _Trials(samples, splits, split, name) for name in inputs.fitted(split)}
        account.begin(split, {name: one.counts[one.tested] for name, one in trials.items()}, _null_rates(trials))
        _score_baselines(account, trials, inputs, split, options)
        for name, one in representations.items():
            _score_readouts(account, trials, name, one, split, options)
        for name, tree in transferred.items():
            for source, target, rates in _decoded(tree, samples, splits, split):
                account.add(DECODER.format(name), "own" if source == target else "cross", source, target, rates)
    order = [MEAN_RATE, CONDITION_MEAN, RAW, *representations, *(DECODER.format(name) for name in transferred)]
    scores = summaries(account, order, CONDITION_MEAN).assign_attrs(
        floor=NO_FLOOR if unscored else FLOOR.format(options.permutations),
        in_sample=int(unscored),
        label=samples.attrs.get("label", "label"),
    )
    for key in ("null_mean", "null_low", "null_high", "p"):
        scores[key] = scores[key].where(scores["setting"] != "own")
    return xr.merge([scores, predictive_checks.check(samples, splits, transferred)], combine_attrs="override")


class _Trials:
    """Counts and conditions of one animal in one split."""

    def __init__(self, samples: xr.DataTree, splits: xr.DataTree, split: int, name: str) -> None:
        node = samples[name]
        self.counts, self.units = counts_of(node.to_dataset()["activity"], name), node.sizes["unit"]
        self.training, self.tested = training_side(splits, split, name), held_out(splits, split, name)
        self.label, self.match = (np.ascontiguousarray(node[key].to_numpy()) for key in ("label", "match"))

    def fitted(self, values: Floats) -> Floats:
        """Return training-side samples ``(trial * window, feature)`` of ``(trial, window, feature)``."""
        return np.asarray(values[self.training].reshape(-1, values.shape[-1]), dtype=np.float64)


def _null_rates(trials: Mapping[str, _Trials]) -> dict[str, Floats]:
    return {name: mean_rates(one.counts[one.training], one.units) for name, one in trials.items()}


def _representations(
    inputs: Inputs, splits: xr.DataTree, latents: Mapping[str, xr.DataTree], options: Options
) -> dict[str, Representation]:
    found: dict[str, Representation] = {}
    for name in options.baselines if len(inputs.animals) > 1 else {"pca"} & set(options.baselines):
        # Penalties of classifiers are of no account here.
        if name == "mcca":
            found[name] = CanonicalVariates(
                inputs, components=options.canonical_components, ridge=options.canonical_ridge, inverse_penalty=1
            )
        else:
            kind = {"pca": PrincipalComponents, "procrustes": ProcrustesAligned}[name]
            found[name] = kind(inputs, components=options.principal_components, inverse_penalty=1)
    if taken := set(latents) & {*found, MEAN_RATE, CONDITION_MEAN, RAW}:
        raise SpecError(f"models.{min(taken)}", found="a model with the name of a baseline", next_step="Rename the model")
    return {**found, **{name: Latents(tree, splits, inverse_penalty=1) for name, tree in latents.items()}}


def _score_baselines(account: Account, trials: Mapping[str, _Trials], inputs: Inputs, split: int, options: Options) -> None:
    """Score mean rates, condition means, linear regressions on raw features, and co-smoothing by principal components."""
    for target, one in trials.items():
        training = one.counts[one.training]
        labels, wanted = codes_of(one.label[one.training], one.label[one.tested])
        means = condition_means(training, labels, wanted, one.units)
        flat = np.broadcast_to(mean_rates(training, one.units), means.shape)
        for setting in ("cross", "cosmoothing"):
            account.add(MEAN_RATE, setting, target, target, flat)
            account.add(CONDITION_MEAN, setting, target, target, means)
        for name, rates in _cosmoothed(one, inputs.scaled(split, target), options).items():
            account.add(name, "cosmoothing", target, target, rates)
    for source, one in trials.items():
        features = inputs.scaled(split, source)
        for target, other in trials.items():
            if source == target:
                continue
            known, wanted = codes_of(other.match[other.training], one.match[one.training])
            matched = condition_means(other.counts[other.training], known, wanted, other.units)
            readout = RidgeReadout(one.fitted(features), matched.reshape(-1, matched.shape[-1]))
            account.add(RAW, "cross", source, target, readout(features[one.tested]))


def _cosmoothed(one: _Trials, features: Floats, options: Options) -> dict[str, Floats]:
    """Predict each part of the units from the others, in the same trial; nothing that is fitted sees a held-out unit's spikes."""
    by_unit = features.reshape(*features.shape[:2], -1, one.units)
    bins = by_unit.shape[2]
    found: dict[str, Floats] = {name: np.zeros(one.counts[one.tested].shape) for name in ("pca", RAW)}
    parts = np.arange(one.units) % min(options.unit_folds, one.units)
    parts = np.random.default_rng([options.seed, one.units]).permutation(parts)
    for part in np.unique(parts):
        hidden = np.tile(parts == part, bins)
        if hidden.all():
            continue
        seen = by_unit[..., parts != part].reshape(*features.shape[:2], -1)
        counts = one.counts[..., hidden]
        axes = principal_axes(one.fitted(seen), options.principal_components)
        scores = axes(seen)
        scores = scores / one.fitted(scores).std(axis=0)
        units = int(hidden.sum()) // bins
        readout = fit_readout(scores[one.training], counts[one.training], units, options.readout_penalties)
        found["pca"][..., hidden] = readout(scores[one.tested])
        found[RAW][..., hidden] = RidgeReadout(one.fitted(seen), one.fitted(counts))(seen[one.tested])
    return found if len(np.unique(parts)) > 1 else {}


def _score_readouts(
    account: Account, trials: Mapping[str, _Trials], name: str, representation: Representation, split: int, options: Options
) -> None:
    """Fit a readout of every animal on its own training side and apply it to the test trials of every animal."""
    if split not in representation.replicas:
        return
    replica = representation.replicas.index(split)
    for target, one in trials.items():
        own = representation.seen(replica, target, target)
        if own is None:
            continue
        center, spread = one.fitted(own).mean(axis=0), one.fitted(own).std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        training, counts = (own[one.training] - center) / spread, one.counts[one.training]
        condition = codes_of(one.match[one.training], one.match[:0])[0]
        reconstruct = fit_readout(training, counts, one.units, options.readout_penalties)
        account.add(name, "own", target, target, reconstruct((own[one.tested] - center) / spread))
        views = {source: representation.seen(replica, target, source) for source in trials if source != target}
        if all(view is None for view in views.values()):
            continue
        predict = fit_readout(training, counts, one.units, options.readout_penalties, condition)
        for source, view in views.items():
            if view is not None:
                account.add(name, "cross", source, target, predict((view[trials[source].tested] - center) / spread))


def _decoded(tree: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, split: int) -> Iterator[tuple[str, str, Floats]]:
    """Yield source, target and the rates that the target's decoder of counts expects in the source's test trials."""
    for source in tree.children:
        rows = scored_rows(tree, samples, splits, source, split)
        for target, node in tree[source].children.items():
            if rows is not None and node.attrs["kind"] in EVENTS:
                rates = flattened(node.to_dataset()["activity"].isel(row=rows))
                yield source, target, np.maximum(rates, SMALLEST_RATE)


def codes_of(known: NDArray[np.integer], wanted: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the rows of codes ``(trial, window)`` of both, equal ones alike: ``(trial known,)`` and ``(trial wanted,)``.

    Examples
    --------
    >>> import numpy as np
    >>> first, second = codes_of(np.array([[0, 1], [2, 2]]), np.array([[2, 2]]))
    >>> (first == second).tolist()
    [False, True]
    """
    number = np.unique(np.concatenate([known, wanted]), axis=0, return_inverse=True)[1].reshape(-1)
    return number[: len(known)], number[len(known) :]


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each measure, representation and setting, and for each model's predictive checks."""
    lines = []
    for measure, what in WHAT.items():
        for representation in scores["representation"].values:
            for setting in scores["setting"].values:
                one = scores.sel(measure=measure, representation=representation, setting=setting)
                if not np.isfinite(one["value"]):
                    continue
                compared = representation != CONDITION_MEAN and bool(np.isfinite(one["difference"]))
                reference, seen = representation == CONDITION_MEAN, setting == "own"
                alone = "none: others are compared with it" if reference else f"none: {CONDITION_MEAN} has no such score"
                lines.append(
                    Score(
                        what=what,
                        representation=str(representation),
                        setting=str(setting),
                        **numbers(one),
                        interval=scores.attrs["interval"],
                        null_kind=SEEN if seen else scores.attrs["floor"],
                        null_n=0 if seen else int(scores.attrs["permutations"]),
                        chance=0.0,
                        baseline=CONDITION_MEAN if compared else alone,
                        **(difference(one) if compared else {}),
                        n_animals=int(np.isfinite(one["target_value"]).sum()),
                        n_trials=int(scores["trials"].sum()),
                        n_windows=int(scores.attrs["windows"]),
                        n_splits=int(scores.attrs["splits"]),
                        in_sample=bool(scores.attrs["in_sample"]) or seen,
                    )
                )
    return lines + predictive_checks.summarize(scores)


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the settings side by side, who predicts whom, and the predictive checks of models of counts."""
    from neuromvm.analysis.figures import spikes as figures  # here, so that computing needs no plotting library

    drawn = {"settings": figures.settings(scores), "pairs": figures.pairs(scores)}
    if "checked" in scores.dims:
        drawn["checks"] = figures.checks(scores)
    return drawn
