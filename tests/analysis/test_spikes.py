"""Bits of a spike against scipy, what can and cannot be predicted across animals, and silence on noise."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest, poisson
from sklearn.linear_model import PoissonRegressor

from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.figures import style
from neuromvm.analysis.generated import spikes
from neuromvm.analysis.generated.predictive_checks import CORRELATION, FANO_FACTOR, MEAN_RATE, MODEL, RECORDED, check
from neuromvm.analysis.generated.rates import PoissonReadout, condition_means, fit_readout, mean_rates
from neuromvm.analysis.generated.spike_scores import Account, scores_of
from neuromvm.analysis.generated.spikes import Options
from neuromvm.analysis.judged import ALL_ANIMALS, null_in_words
from neuromvm.analysis.readouts.representations import Inputs
from neuromvm.analysis.scores import Absent
from neuromvm.errors import SchemaError
from neuromvm.schema import Part
from neuromvm.specs import SplitSpec
from tests.analysis.generated_activity import label_means, say, transferred_of
from tests.analysis.score_rows import unexplained
from tests.analysis.simulation import shared_latents, simulate, with_node

OPTIONS = Options(principal_components=4, canonical_components=3, bootstraps=100, permutations=200)
SAME = np.arange(4)


@pytest.fixture(scope="module")
def study():
    return simulate(repeats=(20, 22, 24), units=(12, 14, 16))


@pytest.fixture(scope="module")
def scores(study):
    latents = {"ideal": shared_latents(study, dimensions=6)}
    return spikes.predict_spikes(study.samples, study.splits, latents, {"means": say(study, lambda *_: SAME)}, OPTIONS)


def test_the_report_can_say_how_each_null_was_made(scores):
    for null in map(str, scores["null"].values):
        assert "permutations" in null_in_words(scores, null)


def bits(scores, representation, setting="cross", measure="bits_per_spike", statistic="value", target=ALL_ANIMALS):
    score = scores["score"].sel(measure=measure, representation=representation, setting=setting, unit_of_inference="trials")
    return score.sel(target=target, statistic=statistic)


def null_of(scores, representation, statistic, setting="cross"):
    null = scores["null_score"].sel(measure="bits_per_spike", representation=representation, setting=setting, target=ALL_ANIMALS)
    return null.sel(null_statistic=statistic).squeeze("null")


def test_bits_per_spike_are_those_of_scipy(study, scores):
    tree = say(study, lambda *_: SAME)
    each, explained = [], []
    for source, target in (("rat0", "rat1"), ("rat2", "rat1")):
        gain = count = room = 0.0
        for split in range(2):
            counts = study.samples[target]["activity"].to_numpy()[:, 0, 0].astype(float)
            label = study.samples[target]["label"].to_numpy()[:, 0]
            training = study.splits[target]["part"].to_numpy()[split] != Part.TEST
            mean = (counts[training].sum(axis=0) + 0.5) / (training.sum() + 1)
            rows = tree[source]["split"].to_numpy() == split
            rates = tree[source][target]["activity"].to_numpy()[rows, 0, 0].astype(float)
            codes = tree[source]["label"].to_numpy()[rows, 0]
            for trial in np.flatnonzero(~training):
                matched = rates[codes == label[trial]]
                gain += poisson.logpmf(counts[trial], matched).sum(axis=1).mean() - poisson.logpmf(counts[trial], mean).sum()
                room += (
                    poisson.logpmf(counts[trial], np.maximum(counts[trial], 1e-12)).sum()
                    - poisson.logpmf(counts[trial], mean).sum()
                )
                count += counts[trial].sum()
        each.append(gain / count / np.log(2))
        explained.append(gain / room)
        found = scores["pair_score"].sel(measure="bits_per_spike", representation="means decoder", source=source, target=target)
        assert found.item() == pytest.approx(each[-1], rel=1e-5)
    assert bits(scores, "means decoder", target="rat1").item() == pytest.approx(np.mean(each), rel=1e-5)
    d2 = bits(scores, "means decoder", measure="deviance_explained", target="rat1")
    assert d2.item() == pytest.approx(np.mean(explained), rel=1e-5)


def test_what_animals_share_is_predicted_better_than_by_mean_rates_and_at_best_as_by_condition_means(scores):
    best = bits(scores, "condition mean").item()
    for name in ("ideal", "mcca", "procrustes", "raw linear"):
        assert bits(scores, name) > null_of(scores, name, "high")
        assert bits(scores, name, statistic="low") > 0
        assert null_of(scores, name, "p") < 0.02
        assert bits(scores, name) < best + 0.005
    assert bits(scores, "ideal") > 0.8 * best
    assert bits(scores, "mean rate").item() == pytest.approx(0, abs=1e-12)


def test_held_out_units_are_predicted_where_units_share_a_cause(scores):
    for name in ("pca", "raw linear"):
        assert bits(scores, name, "cosmoothing", statistic="low") > 0
        assert bits(scores, name, "cosmoothing") < bits(scores, "condition mean", "cosmoothing")
    assert np.isnan(bits(scores, "ideal", "cosmoothing"))


def test_shared_events_are_predicted_better_than_by_condition_means():
    random = np.random.default_rng(0)
    study = simulate(repeats=(20, 20, 20), units=(12, 12, 12))
    event = random.standard_normal((80, 2))
    label = random.permutation(np.repeat(np.arange(4), 20)).astype(np.int16)
    latents = {}
    for name, node in study.samples.children.items():
        tuning, loading = random.standard_normal((4, 12)) / 2, random.standard_normal((2, 12)) / 2
        rate = np.exp(1 + tuning[label] + event @ loading)
        node["activity"] = node["activity"].copy(data=random.poisson(rate)[:, None, None].astype(np.uint8))
        node["label"] = node["label"].copy(data=label[:, None])
        node["match"] = node["label"].copy(data=np.arange(80, dtype=np.int16)[:, None])
        study.splits[name]["part"].values[:] = np.where(np.arange(80) % 3 == 0, Part.TEST, Part.TRAIN)
        values = np.concatenate([np.eye(4)[label], event + 0.2 * random.standard_normal(event.shape)], axis=1)
        latents[name] = xr.Dataset(
            {
                "latent_mean": (
                    ("replica", "trial", "window", "latent"),
                    values[None, :, None].astype(np.float32).repeat(2, axis=0),
                )
            },
            coords={"split": ("replica", [0, 1])},
        )
    tree = {"ideal": xr.DataTree.from_dict(latents)}
    scores = spikes.predict_spikes(study.samples, study.splits, tree, {}, OPTIONS.model_copy(update={"baselines": ()}))
    difference = scores["difference"].sel(
        measure="bits_per_spike", setting="cross", target=ALL_ANIMALS, unit_of_inference="trials"
    )
    assert difference.sel(representation="ideal", statistic="low") > 0
    assert difference.sel(representation="raw linear", statistic="value") > 0  # others' activity tells of the event


def test_on_noise_nothing_is_predicted(study):
    noise = simulate(3, signal=0, repeats=(12, 12, 12))
    scores = spikes.predict_spikes(noise.samples, noise.splits, {"latents": shared_latents(noise)}, {}, OPTIONS)
    for setting in ("cross", "cosmoothing"):
        assert (bits(scores, scores["representation"], setting).fillna(0) < 0.005).all()
    assert null_of(scores, "mcca", "p") > 0.01


@pytest.mark.parametrize("by_condition", [False, True])
def test_p_is_uniform_where_predictions_say_nothing(by_condition):
    """Predictions that follow the source's condition, but not as the target does, say as little as noise."""
    across, within = [], []
    for seed in range(40):
        random = np.random.default_rng(100 + seed)
        noise = simulate(seed, signal=1 if by_condition else 0, repeats=(5, 5, 5), units=(5, 5, 5), splits=SplitSpec())
        account = Account(noise.samples, noise.splits, Resampling(100, 200, seed))
        tested = {name: node["part"].to_numpy()[0] == Part.TEST for name, node in noise.splits.children.items()}
        counts = {name: noise.samples[name]["activity"].to_numpy()[one][:, :, 0].astype(float) for name, one in tested.items()}
        account.begin(0, counts, {name: np.full(5, 3.0) for name in counts})
        for source in counts:
            for target in counts:
                label = noise.samples[source]["label"].to_numpy()[tested[source]]
                rates = random.gamma(3, 1, (4, 5))[label] if by_condition else random.gamma(3, 1, (*label.shape, 5))
                if source != target:
                    account.add("some", "cross", source, target, rates)
                elif not by_condition:
                    account.add("some", "cosmoothing", source, target, rates)
        found = scores_of(account, ["some"], "some")
        across.append(null_of(found, "some", "p").item())
        within.append(null_of(found, "some", "p", "cosmoothing").item())
    assert kstest(across, "uniform").pvalue > 0.01
    assert by_condition or kstest(within, "uniform").pvalue > 0.01


def test_held_out_units_are_held_out(study):
    """Other spikes of one unit in test trials change what is predicted of others, and nothing of itself."""
    trials = {}
    for name, samples in (("before", study.samples), ("after", None)):
        if samples is None:
            node = study.samples["rat0"].to_dataset().copy(deep=True)
            node["activity"].values[study.splits["rat0"]["part"].values[0] == Part.TEST, :, :, 3] = 40
            samples = with_node(study.samples, "rat0", node)
        one = spikes._Trials(samples, study.splits, 0, "rat0")
        trials[name] = spikes._cosmoothed(one, Inputs(samples, study.splits).scaled(0, "rat0"), OPTIONS)
    for name in ("pca", "raw linear"):
        before, after = (trials[key][name] for key in ("before", "after"))
        np.testing.assert_array_equal(before[..., 3], after[..., 3])
        assert (before != after).any()


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_readouts_are_those_of_sklearn(penalty):
    random = np.random.default_rng(0)
    features = random.standard_normal((60, 5))
    counts = random.poisson(np.exp(0.5 * features @ random.standard_normal((5, 7)))).astype(float)
    counts[:, 2] = 0
    new = random.standard_normal((4, 5))
    found = PoissonReadout(features, counts, 7, penalty)(new)
    for output in (0, 1, 3, 6):
        model = PoissonRegressor(alpha=penalty, max_iter=1000, tol=1e-9).fit(features, counts[:, output])
        expected = np.clip(model.predict(new), 0.5 / 61, counts[:, output].max())
        np.testing.assert_allclose(found[:, output], expected, rtol=1e-4)
    np.testing.assert_allclose(found[:, 2], 0.5 / 61)


def test_penalties_are_chosen_by_what_predicts():
    random = np.random.default_rng(1)
    noise, counts = random.standard_normal((40, 1, 10)), random.poisson(2.0, (40, 1, 6)).astype(float)
    strong = fit_readout(noise, counts, 6, (0.001, 100.0))(noise)
    np.testing.assert_allclose(strong, np.broadcast_to(counts.mean(axis=0), strong.shape), rtol=0.05)


def test_condition_means_of_many_trials_are_their_means_and_of_noise_the_mean_of_all():
    random = np.random.default_rng(2)
    condition = np.repeat([0, 1], 200)
    tuned = random.poisson(np.where(condition, 8.0, 1.0)[:, None, None], (400, 1, 3)).astype(float)
    found = condition_means(tuned, condition, np.array([0, 1, 5]), 3)
    np.testing.assert_allclose(found[:2, 0], [tuned[condition == code, 0].mean(axis=0) for code in (0, 1)], rtol=0.02)
    np.testing.assert_allclose(found[2, 0], (tuned.sum(axis=0)[0] + mean_rates(tuned, 3)) / 401)
    few = random.poisson(2.0, (20, 1, 50)).astype(float)
    shrunk = condition_means(few, np.repeat(np.arange(10), 2), np.arange(10), 50)
    assert np.abs(shrunk - 2).mean() < 0.5 * np.abs(few.reshape(10, 2, 1, 50).mean(axis=1) - 2).mean()


def test_draws_of_the_truth_pass_the_checks_and_draws_that_vary_too_much_do_not(study):
    random = np.random.default_rng(0)
    means, tree = label_means(study), say(study, lambda *_: SAME)
    found = {}
    for name, dispersion in {"truth": 0.0, "bursts": 1.0}.items():
        nodes = {node.path: node.to_dataset() for node in tree.subtree}
        for animal in means:
            rate = nodes[f"/{animal}/{animal}"]["activity"]
            gain = random.gamma(1 / dispersion, dispersion, rate.shape) if dispersion else 1.0
            nodes[f"/{animal}/{animal}"] = nodes[f"/{animal}/{animal}"].assign(drawn=rate.copy(data=random.poisson(rate * gain)))
        found[name] = xr.DataTree.from_dict(nodes)
    checked = check(study.samples, study.splits, found)["check"]
    recorded, model = (checked.sel(activity=activity) for activity in (RECORDED, MODEL))
    ratio = (model / recorded).sel(quantity=FANO_FACTOR).median("unit")
    assert ratio.sel(checked="truth").item() == pytest.approx(1, abs=0.25)
    assert ratio.sel(checked="bursts") > 2
    truth = {"checked": "truth", "quantity": MEAN_RATE}
    np.testing.assert_allclose(model.sel(truth), recorded.sel(truth), rtol=0.3)
    assert model.sel(checked="truth", quantity=CORRELATION).median() > 0.9


def test_calcium_is_refused(study):
    amplitudes = study.samples.copy(deep=True)
    for node in amplitudes.children.values():
        node["activity"].attrs["kind"] = "event_amplitude"
    with pytest.raises(SchemaError, match="bits per spike are of spikes"):
        spikes.predict_spikes(amplitudes, study.splits, {}, {}, OPTIONS)


def test_activity_of_other_splits_is_refused(study):
    other = simulate(repeats=(20, 22, 24), units=(12, 14, 16), splits=SplitSpec(seed=5, repeats=2))
    tree = transferred_of(
        other, lambda source, target, split, trials: np.ones((len(trials), 1, 1, study.samples[target].sizes["unit"]))
    )
    with pytest.raises(SchemaError, match="other trials than split 0 tests"):
        spikes.predict_spikes(study.samples, study.splits, {}, {"other": tree}, OPTIONS.model_copy(update={"baselines": ()}))


def test_numbers_and_figures_are_saved(scores, tmp_path):
    lines = spikes.summarize(scores)
    line = next(line for line in lines if (line.what, line.representation, line.setting) == ("bits per spike", "ideal", "cross"))
    assert line.interval.low < line.value < line.interval.high
    assert (line.difference.baseline, line.n.animals, line.in_sample) == ("condition mean", 3, False)
    assert all(line.in_sample and isinstance(line.null, Absent) for line in lines if line.setting == "own")
    assert [line for line in lines if unexplained(line)] == []
    scores.to_netcdf(tmp_path / "scores.nc", engine="h5netcdf")
    read = xr.load_dataset(tmp_path / "scores.nc", engine="h5netcdf")
    drawn = spikes.plot(read)
    assert set(drawn) == {"settings", "pairs"}
    style.save(drawn["settings"], read, tmp_path / "settings")
    assert (tmp_path / "settings.csv").stat().st_size > 1000
