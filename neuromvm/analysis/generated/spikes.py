"""Analysis ``spikes``: how many bits of a spike do latents predict, within an animal and from one animal to another?

Settings: *cross*, counts of an animal from test trials of another animal, matched by condition; *own*, from the animal's own
latents, which have seen these spikes, so that it is a reconstruction; *cosmoothing*, held-out units from the others of the trial.

References
----------
Pillow, J. W. et al. (2008). Spatio-temporal correlations and visual signalling in a complete neuronal population.
*Nature* 454, 995-999: log-likelihood over that of the mean rate, per spike.
Pei, F. et al. (2021). Neural Latents Benchmark '21. *NeurIPS Datasets and Benchmarks*: co-smoothing, bits per spike.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm.analysis.baselines.components import PrincipalComponents, principal_axes
from neuromvm.analysis.baselines.mcca import CanonicalVariates
from neuromvm.analysis.baselines.procrustes import ProcrustesAligned
from neuromvm.analysis.decoding.scoring import NO_FLOOR, Resampling
from neuromvm.analysis.generated import predictive_checks
from neuromvm.analysis.generated.activity import EVENTS, chosen_models, flattened, scored_rows
from neuromvm.analysis.generated.rates import RidgeReadout, codes_of, condition_means, counts_of, fit_readout, mean_rates
from neuromvm.analysis.generated.spike_scores import PERMUTATIONS, SETTINGS, Account, scores_of
from neuromvm.analysis.judged import ALL_ANIMALS, animals_of, difference_of, interval_of, null_of, value_of
from neuromvm.analysis.readouts.representations import Floats, Inputs, Latents, Representation, held_out, training_side
from neuromvm.analysis.scores import ABSENT_PREFIX, Absent, Counts, Score
from neuromvm.errors import SpecError
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

MEAN_RATE, CONDITION_MEAN, RAW, DECODER = "mean rate", "condition mean", "raw linear", "{} decoder"
FLOOR = "{} permutations, nothing refitted: of names of the source's conditions (cross), of predictions among test trials (else)"
SEEN = "latents have seen the spikes that are scored, and permuted predictions do not say what that gives on noise"
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
    """Score the models of a run and the baselines; see :func:`predict_spikes`."""
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
    See :func:`neuromvm.analysis.generated.spike_scores.scores_of`; and with decoders of counts
    :func:`neuromvm.analysis.generated.predictive_checks.check`.
    """
    options = options or Options()
    check_same_trials(samples, splits)
    is_in_sample = in_sample(splits)
    resampling = Resampling(options.bootstraps, 0 if is_in_sample else options.permutations, options.seed)
    inputs = Inputs(samples, splits)
    representations = _representations(inputs, splits, latents, options)
    account = Account(samples, splits, resampling)
    for split in range(inputs.splits):
        trials = {animal: _Trials(samples, splits, split, animal) for animal in inputs.fitted(split)}
        _score_baselines(account, trials, inputs, split, options)
        for name, representation in representations.items():
            _score_readouts(account, trials, name, representation, split, options)
        for name, tree in transferred.items():
            for source, target, rates in _decoded(tree, samples, splits, split):
                account.add(DECODER.format(name), "own" if source == target else "cross", source, target, rates)
    order = [MEAN_RATE, CONDITION_MEAN, RAW, *representations, *(DECODER.format(name) for name in transferred)]
    floor = NO_FLOOR if is_in_sample else FLOOR.format(options.permutations)
    reasons = [SEEN if setting == "own" else NO_FLOOR.removeprefix(ABSENT_PREFIX) if is_in_sample else "" for setting in SETTINGS]
    scores = scores_of(account, order, CONDITION_MEAN).assign(
        null_kind=("null", ["" if is_in_sample else floor]),
        null_draws=("null", [resampling.permutations]),
        null_absent=(("null", "setting"), [reasons]),
    )
    checks = predictive_checks.check(samples, splits, transferred)
    return xr.merge([scores, checks]).assign_attrs(
        interval=f"95 % over {options.bootstraps} bootstrap draws of the target's test trials within animal and label",
        floor=floor,
        label=samples.attrs.get("label", "label"),
        windows=account.windows,
        splits=account.splits,
        in_sample=int(is_in_sample),
    )


class _Trials:
    """Counts and conditions of one animal in one split."""

    def __init__(self, samples: xr.DataTree, splits: xr.DataTree, split: int, animal: str) -> None:
        node = samples[animal]
        self.counts, self.units = counts_of(node.to_dataset()["activity"], animal), node.sizes["unit"]
        self.training, self.tested = training_side(splits, split, animal), held_out(splits, split, animal)
        self.training_counts = self.counts[self.training]
        self.label, self.match = (np.ascontiguousarray(node[key].to_numpy()) for key in ("label", "match"))

    def fitted(self, values: Floats) -> Floats:
        """Return training-side samples ``(trial * window, feature)`` of ``(trial, window, feature)``."""
        return np.asarray(values[self.training].reshape(-1, values.shape[-1]), dtype=np.float64)


def _representations(
    inputs: Inputs, splits: xr.DataTree, latents: Mapping[str, xr.DataTree], options: Options
) -> dict[str, Representation]:
    # The penalty of classifiers has no effect here.
    baselines: dict[str, Callable[[], Representation]] = {
        "pca": lambda: PrincipalComponents(inputs, components=options.principal_components, inverse_penalty=1),
        "procrustes": lambda: ProcrustesAligned(inputs, components=options.principal_components, inverse_penalty=1),
        "mcca": lambda: CanonicalVariates(
            inputs, components=options.canonical_components, ridge=options.canonical_ridge, inverse_penalty=1
        ),
    }
    names = [name for name in options.baselines if len(inputs.animals) > 1 or name == "pca"]
    if taken := set(latents) & {*names, MEAN_RATE, CONDITION_MEAN, RAW}:
        raise SpecError(f"models.{min(taken)}", found="a model with the name of a baseline", next_step="Rename the model")
    models = {name: Latents(tree, splits, inverse_penalty=1) for name, tree in latents.items()}
    return {**{name: baselines[name]() for name in names}, **models}


def _score_baselines(account: Account, trials: Mapping[str, _Trials], inputs: Inputs, split: int, options: Options) -> None:
    """Score mean rates, condition means, linear regressions on raw features, and co-smoothing by principal components."""
    rates_of = {animal: mean_rates(of_animal.training_counts, of_animal.units) for animal, of_animal in trials.items()}
    account.begin(split, {animal: of_animal.counts[of_animal.tested] for animal, of_animal in trials.items()}, rates_of)
    for target, of_target in trials.items():
        labels, test_labels = codes_of(of_target.label[of_target.training], of_target.label[of_target.tested])
        means = condition_means(of_target.training_counts, labels, test_labels, of_target.units)
        flat = np.broadcast_to(rates_of[target], means.shape)
        for setting in ("cross", "cosmoothing"):
            account.add(MEAN_RATE, setting, target, target, flat)
            account.add(CONDITION_MEAN, setting, target, target, means)
        for name, rates in _cosmoothed(of_target, inputs.scaled(split, target), options).items():
            account.add(name, "cosmoothing", target, target, rates)
    for source, of_source in trials.items():
        features = inputs.scaled(split, source)
        for target, of_target in trials.items():
            if source == target:
                continue
            codes, source_codes = codes_of(of_target.match[of_target.training], of_source.match[of_source.training])
            matched = condition_means(of_target.training_counts, codes, source_codes, of_target.units)
            readout = RidgeReadout(of_source.fitted(features), matched.reshape(-1, matched.shape[-1]))
            account.add(RAW, "cross", source, target, readout(features[of_source.tested]))


def _cosmoothed(trials: _Trials, features: Floats, options: Options) -> dict[str, Floats]:
    """Predict each part of the units from the other units of the trial; no fit sees the test spikes of a held-out unit."""
    by_unit = features.reshape(*features.shape[:2], -1, trials.units)
    bins = by_unit.shape[2]
    rates: dict[str, Floats] = {name: np.zeros(trials.counts[trials.tested].shape) for name in ("pca", RAW)}
    parts = np.arange(trials.units) % min(options.unit_folds, trials.units)
    parts = np.random.default_rng([options.seed, trials.units]).permutation(parts)
    if (parts == parts[0]).all():
        return {}
    for part in np.unique(parts):
        hidden = np.tile(parts == part, bins)
        seen = by_unit[..., parts != part].reshape(*features.shape[:2], -1)
        counts = trials.counts[..., hidden]
        components = principal_axes(trials.fitted(seen), options.principal_components)(seen)
        components = components / trials.fitted(components).std(axis=0)
        units = int(hidden.sum()) // bins
        readout = fit_readout(components[trials.training], counts[trials.training], units, options.readout_penalties)
        rates["pca"][..., hidden] = readout(components[trials.tested])
        rates[RAW][..., hidden] = RidgeReadout(trials.fitted(seen), trials.fitted(counts))(seen[trials.tested])
    return rates


def _score_readouts(
    account: Account, trials: Mapping[str, _Trials], name: str, representation: Representation, split: int, options: Options
) -> None:
    """Fit a readout of every animal on its own training side and apply it to the test trials of every animal."""
    if split not in representation.replicas:
        return
    replica = representation.replicas.index(split)
    for target, of_target in trials.items():
        features = representation.seen(replica, target, target)
        if features is None:
            continue
        center, spread = of_target.fitted(features).mean(axis=0), of_target.fitted(features).std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        training = (features[of_target.training] - center) / spread
        fit = partial(fit_readout, training, of_target.training_counts, of_target.units, options.readout_penalties)
        account.add(name, "own", target, target, fit()((features[of_target.tested] - center) / spread))
        inputs = {source: representation.seen(replica, target, source) for source in trials if source != target}
        readable = {source: of_source for source, of_source in inputs.items() if of_source is not None}
        if readable:
            readout = fit(codes_of(of_target.match[of_target.training], of_target.match[:0])[0])
            for source, of_source in readable.items():
                account.add(name, "cross", source, target, readout((of_source[trials[source].tested] - center) / spread))


def _decoded(tree: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, split: int) -> Iterator[tuple[str, str, Floats]]:
    """Yield source, target and the rates that the target's decoder of counts expects in the source's test trials."""
    for source in tree.children:
        rows = scored_rows(tree, samples, splits, source, split)
        for target, node in tree[source].children.items():
            if rows is not None and node.attrs["kind"] in EVENTS:
                rates = flattened(node.to_dataset()["activity"].isel(row=rows))
                yield source, target, np.maximum(rates, SMALLEST_RATE)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each measure, representation and setting, and for each model's predictive checks."""
    cells = product(WHAT, scores["representation"].values, scores["setting"].values)
    chosen = [scores.sel(measure=measure, representation=name, setting=setting) for measure, name, setting in cells]
    lines = [_line(cell) for cell in chosen if np.isfinite(value_of(cell["score"].sel(target=ALL_ANIMALS)))]
    return lines + predictive_checks.summarize(scores)


def _line(scores: xr.Dataset) -> Score:
    """Return the line of one measure, representation and setting."""
    measure, representation, setting = (str(scores[dim].item()) for dim in ("measure", "representation", "setting"))
    of_animals = scores["score"].sel(target=animals_of(scores), unit_of_inference="trials", statistic="value")
    overall, attrs = scores.sel(target=ALL_ANIMALS), scores.attrs
    difference = difference_of(overall, CONDITION_MEAN, f"{CONDITION_MEAN} has no such score")
    return Score(
        what=WHAT[measure],
        representation=representation,
        setting=setting,
        value=value_of(overall["score"]),
        n=Counts(int(np.isfinite(of_animals).sum()), int(overall["trials"]), int(attrs["windows"]), int(attrs["splits"])),
        interval=interval_of(overall["score"]),
        resampled=attrs["interval"],
        null=null_of(overall, PERMUTATIONS),
        chance=0.0,
        difference=Absent("others are compared with it") if representation == CONDITION_MEAN else difference,
        in_sample=bool(attrs["in_sample"]) or setting == "own",
    )


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the settings side by side, who predicts whom, and the predictive checks of models of counts."""
    from neuromvm.analysis.figures import spikes as figures  # imported here: computing needs no plotting library

    drawn = {"settings": figures.settings(scores), "pairs": figures.pairs(scores)}
    if "checked" in scores.dims:
        drawn["checks"] = figures.checks(scores)
    return drawn
