"""Aligned mixture of latent dynamical systems against multivariate normals, its own bound and simulated animals."""

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal

from neuromvm.analysis.baselines import dynamical_alignment
from neuromvm.analysis.baselines.catalogue import baseline, missing
from neuromvm.analysis.baselines.dynamical_alignment import (
    AlignedDynamics,
    Dynamics,
    Readout,
    Sequences,
    aligned_dynamics,
    class_scores,
    in_bins,
)
from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.judged import values
from neuromvm.analysis.readouts.decoders import POOLED
from neuromvm.analysis.readouts.representations import Inputs, training_side
from neuromvm.errors import ShapeError
from neuromvm.specs import SplitSpec
from tests.analysis.simulation import poisoned, simulate


def random_dynamics(rng, conditions, bins, latents, noise=0.3):
    transition = np.stack([0.7 * np.linalg.qr(rng.standard_normal((latents, latents)))[0] for _ in range(conditions)])
    spread = noise * rng.uniform(0.5, 1.5, (2, conditions, latents))
    return Dynamics(transition, rng.standard_normal((conditions, bins, latents)), *spread)


def random_readout(rng, units, latents, noise=0.5):
    return Readout(rng.standard_normal((units, latents)), rng.standard_normal(units), noise * rng.uniform(0.5, 1.5, units))


def drawn(rng, dynamics, readout, codes):
    """Draw trials from the equations of the model."""
    state, bins = np.zeros((len(codes), readout.loadings.shape[1])), []
    for number in range(dynamics.drive.shape[1]):
        variance = dynamics.noise if number else dynamics.start_noise
        moved = np.einsum("skl,sl->sk", dynamics.transition[codes], state)
        state = moved + dynamics.drive[codes, number] + np.sqrt(variance[codes]) * rng.standard_normal(state.shape)
        noise = np.sqrt(readout.noise) * rng.standard_normal((len(codes), len(readout.noise)))
        bins.append(readout.offset + state @ readout.loadings.T + noise)
    return np.stack(bins, axis=1)


def simulated(rng, *, animals=3, conditions=6, bins=4, latents=3, trials=10, shared=True, units=12):
    """Return samples of animals that share dynamics, or have dynamics of their own, and the readouts."""
    common = random_dynamics(rng, conditions, bins, latents)
    codes = np.repeat(np.arange(conditions), trials)
    readouts = {f"rat{number}": random_readout(rng, units + number, latents) for number in range(animals)}
    samples = {}
    for name, readout in readouts.items():
        dynamics = common if shared else random_dynamics(rng, conditions, bins, latents)
        samples[name] = Sequences(drawn(rng, dynamics, readout, codes), codes)
    return samples, readouts, common


def without(samples, name, conditions):
    kept = ~np.isin(samples[name].codes, conditions)
    return samples | {name: Sequences(samples[name].activity[kept], samples[name].codes[kept])}


@pytest.mark.parametrize("bins", [1, 5])
def test_the_likelihood_of_a_trial_is_that_of_a_multivariate_normal(bins):
    rng = np.random.default_rng(bins)
    latents, units = 2, 4
    dynamics, readout = random_dynamics(rng, 3, bins, latents), random_readout(rng, units, latents)
    trials = rng.standard_normal((6, bins, units))
    scores = class_scores(AlignedDynamics(np.arange(3), dynamics, {"rat": readout}, []), "rat", trials, 3)
    for condition in range(3):
        # states as a linear map of the independent start and steps
        step, mean = np.eye(bins * latents), np.zeros(bins * latents)
        for number in range(bins):
            now, before = (slice(place * latents, (place + 1) * latents) for place in (number, number - 1))
            mean[now] = dynamics.drive[condition, number]
            if number:
                mean[now] += dynamics.transition[condition] @ mean[before]
                step[now] += dynamics.transition[condition] @ step[before]
        variances = [dynamics.start_noise[condition], *[dynamics.noise[condition]] * (bins - 1)]
        loadings = np.kron(np.eye(bins), readout.loadings)
        covariance = loadings @ step @ np.diag(np.concatenate(variances)) @ step.T @ loadings.T
        covariance += np.diag(np.tile(readout.noise, bins))
        known = multivariate_normal(loadings @ mean + np.tile(readout.offset, bins), covariance)
        np.testing.assert_allclose(scores[:, condition], known.logpdf(trials.reshape(6, -1)), rtol=1e-9)


@pytest.mark.parametrize("bins", [1, 2, 6])
def test_no_step_lowers_the_likelihood(bins, monkeypatch):
    monkeypatch.setattr(dynamical_alignment, "TOLERANCE", -np.inf)
    samples, _, _ = simulated(np.random.default_rng(0), bins=bins)
    model = aligned_dynamics(without(samples, "rat1", [0, 4]), 3, steps=60)
    changes = np.diff(model.log_likelihood)
    assert len(changes) == 59
    assert (changes > -1e-7 * np.abs(model.log_likelihood[0])).all()
    assert changes.sum() > 1
    total = 0.0
    for name, sequences in without(samples, "rat1", [0, 4]).items():
        scores = class_scores(model, name, sequences.activity, 6)
        total += scores[np.arange(len(scores)), sequences.codes].sum()
    assert total >= model.log_likelihood[-1] - 1e-7 * abs(total)
    assert total - model.log_likelihood[-1] < 1 + changes[-5:].sum()


def test_readouts_are_recovered_up_to_one_rotation_of_all_animals():
    samples, readouts, _ = simulated(np.random.default_rng(1), trials=40, bins=5)
    model = aligned_dynamics(samples, 3)
    for name, readout in readouts.items():
        assert np.rad2deg(subspace_angles(readout.loadings, model.readouts[name].loadings).max()) < 5
        np.testing.assert_allclose(model.readouts[name].noise, readout.noise, rtol=0.3)
    known, fitted = (np.concatenate([found[name].loadings for name in samples]) for found in (readouts, model.readouts))
    residual = known - fitted @ np.linalg.lstsq(fitted, known, rcond=None)[0]
    assert np.square(residual).sum() < 0.01 * np.square(known).sum()
    # of an animal alone, latents are another basis than those of the others
    alone = np.concatenate([aligned_dynamics({name: samples[name]}, 3).readouts[name].loadings for name in samples])
    assert np.square(known - alone @ np.linalg.lstsq(alone, known, rcond=None)[0]).sum() > 0.1 * np.square(known).sum()


@pytest.mark.parametrize("bins", [1, 4])
@pytest.mark.parametrize("shared", [True, False])
def test_conditions_without_a_label_in_the_target_are_read_where_the_code_is_shared_only(shared, bins):
    accuracy = []
    for seed in range(6):
        samples, _, _ = simulated(np.random.default_rng(seed), conditions=9, bins=bins, shared=shared)
        held_out = [2, 5, 7]
        model = aligned_dynamics(without(samples, "rat0", held_out), 3)
        np.testing.assert_array_equal(model.codes, np.arange(9))
        tested = np.isin(samples["rat0"].codes, held_out)
        scores = class_scores(model, "rat0", samples["rat0"].activity[tested], 9)[:, held_out]
        accuracy.append(np.mean(np.array(held_out)[scores.argmax(axis=1)] == samples["rat0"].codes[tested]))
    if shared:
        assert np.mean(accuracy) > 0.8
    else:
        assert abs(np.mean(accuracy) - 1 / 3) < 0.25
    lacking = class_scores(model, "rat0", samples["rat0"].activity[:2], 11)
    assert np.isneginf(lacking[:, 9:]).all()  # classes that no animal has
    assert np.isfinite(lacking[:, :9]).all()


def test_one_bin_is_a_mixture_of_gaussians_with_the_covariance_of_a_factor_analysis():
    samples, readouts, dynamics = simulated(np.random.default_rng(2), animals=1, bins=1, trials=400, conditions=5)
    activity, codes = samples["rat0"]
    model = aligned_dynamics(samples, 3)
    scores, readout = class_scores(model, "rat0", activity, 5), readouts["rat0"]
    for condition in range(5):
        covariance = readout.loadings * dynamics.start_noise[condition] @ readout.loadings.T + np.diag(readout.noise)
        known = multivariate_normal(readout.offset + readout.loadings @ dynamics.drive[condition, 0], covariance)
        difference = scores[codes == condition, condition] - known.logpdf(activity[codes == condition, 0])
        assert np.abs(difference).mean() < 0.5


def test_order_of_animals_and_units_is_irrelevant():
    samples, _, _ = simulated(np.random.default_rng(3))
    turned = {name: Sequences(samples[name].activity[:, :, ::-1], samples[name].codes) for name in reversed(samples)}
    model, other = aligned_dynamics(samples, 3), aligned_dynamics(turned, 3)
    for name, sequences in samples.items():
        expected = class_scores(model, name, sequences.activity, 6)
        np.testing.assert_allclose(class_scores(other, name, turned[name].activity, 6), expected, rtol=1e-5)


def test_features_are_divided_bin_by_bin_and_silent_units_change_no_decision():
    activity = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(in_bins(activity.reshape(2, 6), 3), activity)
    samples, _, _ = simulated(np.random.default_rng(4))
    silent = {
        name: Sequences(np.concatenate([found.activity, np.zeros((*found.activity.shape[:2], 2))], axis=2), found.codes)
        for name, found in samples.items()
    }
    model, other = aligned_dynamics(samples, 3), aligned_dynamics(silent, 3)
    scores = [class_scores(fitted, "rat1", found["rat1"].activity, 6) for fitted, found in ((model, samples), (other, silent))]
    np.testing.assert_array_equal(*(each.argmax(axis=1) for each in scores))


def test_samples_that_cannot_be_compared_are_refused():
    samples, _, _ = simulated(np.random.default_rng(5))
    short = Sequences(samples["rat0"].activity[:, :2], samples["rat0"].codes)
    with pytest.raises(ShapeError, match=r"animals with \[2, 4\] bins"):
        aligned_dynamics(samples | {"rat0": short}, 3)
    with pytest.raises(ShapeError, match="all equal"):
        aligned_dynamics({name: Sequences(np.ones_like(found.activity), found.codes) for name, found in samples.items()}, 3)


@pytest.fixture(scope="module")
def study():
    return simulate(splits=SplitSpec(kind="halves"), windows=2)


OPTIONS = Options(baselines=("raw_lda", "dynamics"), dynamics_dimensions=3, bootstraps=100, permutations=500)


def test_it_is_no_row_unless_it_is_named_and_reads_an_animal_alone_and_with_all_others(study):
    assert "dynamics" not in Options().baselines
    scores = decoding.compute(study, OPTIONS)
    found = values(scores).sel(representation="dynamics")
    assert np.isnan(found.sel(setting=["cross", "others", "within - cross"])).all()
    assert found.sel(setting="within") > 0.4
    assert found.sel(setting="pooled") > 0.4
    p = scores["null_score"].sel(null="labels", target="all animals", null_statistic="p", representation="dynamics")
    assert p.sel(setting="pooled") < 0.01
    assert {line.setting for line in decoding.summarize(scores) if line.representation == "dynamics"} == {"within", "pooled"}
    other = decoding.compute(study, OPTIONS.model_copy(update={"baselines": ("raw_lda",)}))
    assert np.isnan(values(other).sel(representation="raw_lda", setting="pooled"))


def test_test_trials_change_nothing_that_is_fitted(study):
    seen, other = (baseline("dynamics", Inputs(each.samples, each.splits), OPTIONS) for each in (study, poisoned(study)))
    for target in study.samples.children:
        side = training_side(study.splits, 0, target)
        for source in (target, POOLED):
            np.testing.assert_array_equal(seen.seen(0, source, target)[side], other.seen(0, source, target)[side])
    assert seen.seen(0, "rat1", "rat0") is None


def test_what_pairs_share_has_to_be_the_label(study):
    nodes = {name: node.to_dataset().copy(deep=True) for name, node in study.samples.children.items()}
    nodes["rat0"]["match"] = nodes["rat0"]["match"] // 2
    samples = xr.DataTree.from_dict(nodes)
    samples.attrs = study.samples.attrs
    assert missing("dynamics", study.samples) == ""
    assert "dynamics decodes what pairs share" in missing("dynamics", samples)
    assert missing("mcca", samples) == ""
