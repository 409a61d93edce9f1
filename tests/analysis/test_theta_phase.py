"""Decoding by theta phase finds the phase that was planted, and nothing where nothing was."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy.stats import circmean, circvar, kstest
from sklearn.metrics import balanced_accuracy_score

from neuromvm.analysis.figures import style
from neuromvm.analysis.pipeline import options_of
from neuromvm.analysis.readouts.discriminant import fit_discriminants
from neuromvm.analysis.scores import Absent
from neuromvm.analysis.statistics.circular import first_harmonic, pairwise_consistency, random_resultants, resultant
from neuromvm.analysis.time import theta_phase
from neuromvm.analysis.time.phase_decoding import (
    PhaseBins,
    PhasedSpikes,
    Resampling,
    bin_by_phase,
    decode_phases,
    phase_centres,
    phase_codes,
    phased_spikes,
)
from neuromvm.analysis.time.theta_phase import EVERY, Options, decode_by_phase
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import AlignmentError, SchemaError, SpecError, SplitError
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec, SplitSpec
from tests.analysis.score_rows import unexplained

FEW = Options(permutations=39, bootstraps=200)
TWO = {"ada": {"units": 20, "trials": 110}, "bob": {"units": 15, "trials": 90}}


def study_of(recordings, splits=None, **changes) -> SimpleNamespace:
    """Return what the analysis reads of a run: odors A to D from 0.1 to 1 s."""
    settings = {"label": ["odor"], "start": 0.1, "stop": 1.0, "keep": {"odor": list("ABCD")}} | changes
    samples = make_samples(recordings, SampleSpec.model_validate(settings))
    made = make_splits(samples, splits or SplitSpec(kind="kfold", folds=4))
    return SimpleNamespace(recordings=recordings, samples=samples, splits=made)


def rats(seed=0, animals=None, **config) -> xr.DataTree:
    """Return simulated recordings labelled with the true theta phase."""
    simulation = simulate(SimulationConfig.model_validate({"animals": animals or TWO, **config}), seed)
    recordings = recordings_from(simulation, window=(-0.5, 1.5))
    for name, node in simulation.truth.children.items():
        phase = node.to_dataset()["theta_phase"].sel(time=slice(-0.5, 1.5))
        labelled = recordings[name].to_dataset(inherit=False).assign_coords(theta_phase=(("trial", "time"), phase.values))
        recordings = replaced(recordings, name, labelled)
    return recordings


def replaced(tree: xr.DataTree, name: str, dataset: xr.Dataset) -> xr.DataTree:
    """Return a tree with one node replaced and its grid kept."""
    nodes = {key: node.to_dataset(inherit=False) for key, node in tree.children.items()}
    return xr.DataTree.from_dict({"/": tree.to_dataset(), **nodes, name: dataset})


@pytest.fixture(scope="module")
def coupled():
    return study_of(rats(theta_coupling=0.8))


@pytest.fixture(scope="module")
def scores(coupled):
    return theta_phase.compute(coupled, FEW)


def away(angle, other) -> float:
    return float(np.abs(np.angle(np.exp(1j * (float(angle) - float(other))))))


# --- what it finds


@pytest.mark.parametrize("planted", [0.5, np.pi])
def test_accuracy_peaks_at_the_planted_phase(planted, coupled, scores):
    if planted != np.pi:
        scores = decode_by_phase(**vars(study_of(rats(theta_coupling=0.8, odor_phase=planted, seed=1))), options=FEW)
    for name in (*TWO, EVERY):
        one = scores.sel(animal=name)
        assert away(one["preferred"], planted) < 0.4
        assert one["modulation_p"] == one["overall_p"] == 1 / 40
        assert one["modulation_low"] > one["modulation_null_high"]
        best, worst = (np.argmin([away(phase, planted + turn) for phase in one["phase"].values]) for turn in (0, np.pi))
        assert one["accuracy_low"][best] > one["accuracy_high"][worst]
        assert one["accuracy"][best] > one["accuracy_null_high"][best]
    assert scores["common_p"] == 1 / 40
    assert scores["agreement"] > 0.9


def test_without_coupling_accuracy_does_not_follow_the_phase():
    found = [decode_by_phase(**vars(study_of(rats(seed=seed))), options=FEW) for seed in range(2)]
    assert all((one["overall_p"] == 1 / 40).all() for one in found)
    p = np.array([one["modulation_p"].values[:2] for one in found])
    assert p.min() > 0.025
    assert abs(p.mean() - 0.5) < 4 * np.sqrt(1 / 12 / p.size)
    for one in found:
        assert (one["modulation_low"] < one["modulation_null_high"]).all()


def test_coupled_spikes_that_know_no_odor_give_nothing():
    p, accuracy = [], []
    for seed in range(3):
        noise = rats(seed=seed, animals={"ada": {"units": 12, "trials": 90}}, theta_coupling=0.8, shared_strength=0)
        found = decode_by_phase(**vars(study_of(noise)), options=FEW).sel(animal="ada")
        p += [float(found["overall_p"]), float(found["modulation_p"])]
        accuracy.append(float(found["overall"]))
        assert found["accuracy_null_mean"].mean() == pytest.approx(0.25, abs=0.02)
    assert abs(np.mean(accuracy) - 0.25) < 0.04
    assert min(p) > 0.025
    assert abs(np.mean(p) - 0.5) < 4 * np.sqrt(1 / 12 / len(p))


def test_an_event_that_resets_theta_is_told_from_theta(coupled):
    """Where all trials have the same phases, phase is time: only the exchange of phases between trials says so."""
    plain = rats(animals={"ada": {"units": 25, "trials": 110}}, seed=2)
    node, time = plain["ada"].to_dataset(inherit=False), plain["time"].values
    # one cycle fills the window of the samples: late phases are those at which the odor has been answered
    phase = np.mod(2 * np.pi * 4 * np.maximum(time - 0.05, 0), 2 * np.pi)
    reset = node.assign_coords(theta_phase=(("trial", "time"), np.tile(phase, (node.sizes["trial"], 1)).astype(np.float32)))
    study = study_of(replaced(plain, "ada", reset), start=0.05, stop=0.3)
    options = FEW.model_copy(update={"phases": 4})
    shifted = decode_by_phase(**vars(study), options=options).sel(animal="ada")
    exchanged = decode_by_phase(**vars(study), options=options.model_copy(update={"phase_null": "exchange"})).sel(animal="ada")
    assert shifted["consistency"] == pytest.approx(1)
    assert shifted["modulation_p"] == 1 / 40
    assert exchanged["modulation_p"] == 1
    assert shifted["modulation"] == exchanged["modulation"]
    kept = decode_by_phase(**vars(coupled), options=FEW.model_copy(update={"phase_null": "exchange"}))
    assert (kept["modulation_p"] == 1 / 40).all()
    assert (np.abs(kept["consistency"]) < 0.05).all()


@pytest.mark.slow
def test_p_values_are_uniform_on_null_data():
    overall, modulated = [], []
    for seed in range(120):
        found = decode_phases(poisson(seed), 2, Resampling("shift", 19, 100, seed))
        centres = phase_centres(4)
        nulls = np.abs(first_harmonic(found.phase_null, centres))
        modulated.append((1 + (nulls >= np.abs(first_harmonic(found.accuracy, centres)) - 1e-9).sum()) / 20)
        overall.append((1 + (found.label_null.mean(axis=1) >= found.accuracy.mean() - 1e-9).sum()) / 20)
    for p in (overall, modulated):
        # ties make p too large, never too small
        assert kstest(np.array(p), "uniform", alternative="greater").pvalue > 0.01
        assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 120)
        assert abs(np.mean(p) - 0.525) < 0.12


def poisson(seed, trials=32, units=6, phases=4, effect=0.0) -> PhasedSpikes:
    """Return spikes of one cycle of 40 bins whose phase begins anywhere; with an effect, the second phase tells the label."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.resize([0, 1], trials)).astype(np.int16)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False) + rng.uniform(0, 2 * np.pi, (trials, 1))
    rate = np.full((trials, 40, units), 0.15)
    told = (phase_codes(angles, phases) == 1)[:, :, None] & (labels[:, None, None] == np.arange(units) % 2)
    counts = rng.poisson(np.where(told, rate + effect, rate))
    parts = np.stack([np.where(np.arange(trials) % 2 == side, Part.TRAIN, Part.TEST) for side in (0, 1)]).astype(np.int8)
    sampled = xr.Dataset({"label": (("trial", "window"), labels[:, None])}, coords={"trial": np.arange(trials)})
    return PhasedSpikes("rat", counts, angles, labels, parts, 0.01, phases, sampled, 0)


def test_decoding_by_hand():
    """Accuracies are those of scikit-learn's score for decoders fitted phase by phase."""
    spikes = poisson(0, effect=0.4)
    found = decode_phases(spikes, 2, Resampling("shift", 2, 100, 0))
    features = np.sqrt(spikes.bins().rates())
    for phase in range(4):
        scored = []
        for part in spikes.parts:
            train, test = part == Part.TRAIN, part == Part.TEST
            decoder = fit_discriminants(features[train][:, phase : phase + 1], spikes.labels[train])
            predicted = decoder.predict(features[test][:, phase : phase + 1])[:, 0, 0]
            scored.append(balanced_accuracy_score(spikes.labels[test], predicted))
        assert found.accuracy[phase] == pytest.approx(np.mean(scored))
    assert found.accuracy.argmax() == 1
    assert found.tested == 32
    assert found.chance == 0.5


def test_no_decoder_learns_from_test_trials():
    spikes = poisson(1, effect=0.3)._replace(parts=poisson(1).parts[:1])
    changed = spikes.counts.copy()
    test = np.flatnonzero(spikes.parts[0] == Part.TEST)
    changed[test[0]] += 30
    one, other = (
        decode_phases(spikes._replace(counts=counts), 2, Resampling("shift", 0, 100, 0)) for counts in (spikes.counts, changed)
    )
    # one test trial of sixteen can change no more than its own recall
    assert np.abs(one.accuracy - other.accuracy).max() <= 0.5 / 8 + 1e-9


def test_results_do_not_depend_on_the_other_animals(coupled, scores):
    recordings = xr.DataTree.from_dict(
        {"/": coupled.recordings.to_dataset(), "bob": coupled.recordings["bob"].to_dataset(inherit=False)}
    )
    alone = decode_by_phase(
        recordings,
        xr.DataTree(dataset=coupled.samples.to_dataset(), children={"bob": xr.DataTree(coupled.samples["bob"].to_dataset())}),
        xr.DataTree.from_dict({"bob": coupled.splits["bob"].to_dataset()}),
        FEW,
    )
    for name in ("accuracy", "accuracy_p", "modulation", "modulation_p", "preferred_low"):
        np.testing.assert_array_equal(alone[name].sel(animal="bob"), scores[name].sel(animal="bob"))
    assert np.isnan(alone["agreement"])


# --- bins and circles


def test_every_spike_falls_into_the_bin_of_its_phase():
    rng = np.random.default_rng(0)
    counts, angles = rng.poisson(1.0, (5, 30, 3)), rng.uniform(-20, 20, (5, 30))
    angles[2, 7:11] = np.nan
    bins = bin_by_phase(counts, phase_codes(angles, 6), 6, 0.02)
    expected, time = np.zeros((5, 6, 3)), np.zeros((5, 6))
    for trial in range(5):
        for place in range(30):
            if np.isfinite(angles[trial, place]):
                phase = int(np.degrees(angles[trial, place]) % 360 // 60)
                expected[trial, phase] += counts[trial, place]
                time[trial, phase] += 0.02
    np.testing.assert_array_equal(bins.counts, expected)
    np.testing.assert_allclose(bins.occupancy, time)
    spent = time > 0
    np.testing.assert_allclose(bins.rates()[spent], expected[spent] / time[spent][:, None])


def test_turning_the_cycle_keeps_each_trial():
    bins = poisson(0).bins()
    turned = bins.turned(np.arange(32))
    for trial in range(32):
        np.testing.assert_array_equal(turned.counts[trial], np.roll(bins.counts[trial], trial, axis=0))
        np.testing.assert_array_equal(turned.occupancy[trial], np.roll(bins.occupancy[trial], trial))


def test_more_time_at_a_phase_is_not_more_activity():
    """A unit of constant rate has the same features, however long each trial stays at a phase."""
    bins = PhaseBins(np.array([[[4.0], [1.0]], [[1.0], [4.0]]]), np.array([[0.4, 0.1], [0.1, 0.4]]))
    np.testing.assert_allclose(bins.rates(), 10)


def test_phases_at_the_ends_of_the_cycle():
    tiny = -1e-17  # modulo 2 pi rounds to 2 pi itself
    assert phase_codes(np.array([0.0, tiny, -1e-3, 2 * np.pi, np.pi]), 8).tolist() == [0, 7, 7, 0, 4]


def test_first_harmonic_is_the_least_squares_cosine():
    rng = np.random.default_rng(0)
    phases = phase_centres(8)
    curve = rng.random((3, 8))
    design = np.stack([np.ones(8), np.cos(phases), np.sin(phases)], axis=1)
    _, cosine, sine = np.linalg.lstsq(design, curve.T, rcond=None)[0]
    np.testing.assert_allclose(first_harmonic(curve, phases), cosine + 1j * sine)
    # as many angles at each phase as the curve is high: their mean direction is the preferred phase
    counts = rng.integers(0, 20, 8)
    angles = np.repeat(phases, counts)
    assert away(np.angle(first_harmonic(counts, phases)), circmean(angles)) < 1e-9
    assert resultant(angles) == pytest.approx(1 - circvar(angles))


def test_pairwise_consistency_is_the_mean_over_pairs():
    angles = np.random.default_rng(0).vonmises(0, 1, (7, 3))
    angles[2, 1] = np.nan
    for column in range(3):
        own = angles[:, column][np.isfinite(angles[:, column])]
        pairs = [np.cos(own[i] - own[j]) for i in range(len(own)) for j in range(i)]
        assert pairwise_consistency(angles)[column] == pytest.approx(np.mean(pairs))
    many = pairwise_consistency(np.random.default_rng(1).uniform(0, 2 * np.pi, (6, 4000)))
    assert abs(many.mean()) < 4 * many.std() / np.sqrt(4000)
    assert np.isnan(pairwise_consistency(angles[:1])).all()


@pytest.mark.parametrize("count", [5, 10, 40])
def test_random_resultants_are_those_of_the_rayleigh_test(count):
    drawn = random_resultants(count, 40_000, np.random.default_rng(0))
    for length in np.quantile(drawn, [0.5, 0.9, 0.95, 0.99]):
        # the usual approximation (Zar, Biostatistical Analysis, eq. 27.4), which is good to some thousandths
        approximate = np.exp(np.sqrt(1 + 4 * count + 4 * (count**2 - (count * length) ** 2)) - (1 + 2 * count))
        assert np.mean(drawn >= length) == pytest.approx(approximate, abs=0.01)


# --- account, refusals, output


def test_trials_that_miss_a_phase_are_left_out(coupled):
    node = coupled.recordings["ada"].to_dataset(inherit=False).copy(deep=True)
    trial = coupled.samples["ada"]["trial"].values[:3]
    rows = np.flatnonzero(np.isin(node["trial"].values, trial))
    angles = node["theta_phase"].values.copy()
    angles[rows] = np.nan
    gap = replaced(coupled.recordings, "ada", node.assign_coords(theta_phase=(("trial", "time"), angles)))
    found = phased_spikes("ada", gap, coupled.samples, coupled.splits, (0.1, 1.0), 8, 0.5)
    assert found.left_out == 3
    assert len(found.labels) == coupled.samples["ada"].sizes["trial"] - 3
    np.testing.assert_array_equal(found.parts, coupled.splits["ada"]["part"].values[:, 3:])
    np.testing.assert_array_equal(found.labels, coupled.samples["ada"]["label"].values[3:, 0])
    angles[:] = np.nan
    gap = replaced(coupled.recordings, "ada", node.assign_coords(theta_phase=(("trial", "time"), angles)))
    with pytest.raises(AlignmentError, match="no trial that spends"):
        decode_by_phase(gap, coupled.samples, coupled.splits, FEW)


def test_what_does_not_fit_is_refused(coupled):
    recordings, samples, splits = coupled.recordings, coupled.samples, coupled.splits
    plain = replaced(recordings, "ada", recordings["ada"].to_dataset(inherit=False).drop_vars("theta_phase"))
    with pytest.raises(SchemaError, match=r"no theta_phase.*Set 'lfp' in the data spec"):
        decode_by_phase(plain, samples, splits, FEW)
    with pytest.raises(AlignmentError, match="inside the grid"):
        decode_by_phase(recordings, samples, splits, Options(stop=2.0))
    with pytest.raises(AlignmentError, match=r"bins of 0\.01 s"):
        decode_by_phase(recordings, samples, splits, Options(phases=20))
    windows = study_of(recordings, label=["odor", "window"], width=0.3)
    with pytest.raises(SchemaError, match="different labels"):
        decode_by_phase(**vars(windows), options=FEW)
    with pytest.raises(SplitError, match="no animal with trials of two classes"):
        decode_by_phase(**vars(study_of(recordings, SplitSpec(kind="leave_one_animal_out"))), options=FEW)
    with pytest.raises(SpecError, match="not after start"):
        Options(start=1, stop=0.5)


def test_the_window_is_that_of_the_samples_unless_set(coupled, scores):
    assert (scores.attrs["start"], scores.attrs["stop"]) == (0.1, 1.0)
    other = decode_by_phase(**vars(coupled), options=FEW.model_copy(update={"start": 0.2, "stop": 0.8}))
    assert (other.attrs["start"], other.attrs["stop"]) == (0.2, 0.8)
    bins = [phased_spikes("ada", *vars(coupled).values(), window, 8, 0.5).counts.shape[1] for window in ((0.1, 1.0), (0.2, 0.8))]
    assert bins == [90, 60]


def test_trials_that_train_and_test_have_no_null(coupled):
    found = decode_by_phase(**vars(study_of(coupled.recordings, SplitSpec(kind="published"))), options=FEW)
    assert np.isnan(found["overall_p"]).all()
    assert np.isnan(found["modulation_p"]).all()
    lines = theta_phase.summarize(found)
    assert all(line.in_sample for line in lines)
    assert isinstance(lines[0].null, Absent)
    assert lines[0].row()["null_n"] == 0
    assert not any(unexplained(line) for line in lines)
    assert set(theta_phase.plot(found)) == {"accuracy", "modulation", "rate"}


def test_summary_has_all_that_is_needed_to_judge_a_score(scores, coupled):
    lines = theta_phase.summarize(scores)
    assert len(lines) == 3 * 3 + 2
    assert [line for line in lines if unexplained(line)] == []
    agreement = lines[-1]
    assert agreement.what.startswith("agreement")
    assert 0 <= agreement.interval.low < agreement.value <= agreement.interval.high <= 1
    for line in lines:
        assert line.resampled
        assert line.n.splits == 4
        assert line.n.animals == (2 if line.setting == EVERY else 1)
    first = lines[0]
    assert (first.what, first.setting) == ("balanced accuracy", "ada")
    assert first.chance == 0.25
    assert first.value == scores["accuracy"].sel(animal="ada").mean()
    assert first.interval.low < first.value < first.interval.high
    assert first.n.trials == (coupled.splits["ada"]["part"] == Part.TEST).any("split").sum()
    modulated = next(line for line in lines if line.what.startswith("modulation") and line.setting == "bob")
    assert "turned by a random phase" in modulated.null.kind
    assert modulated.null.draws == 39
    values = scores["modulation"].values
    assert values[2] == pytest.approx(values[:2].mean())
    assert scores["common"] <= values[2] + 1e-9


def test_scores_can_be_saved_and_drawn(scores, tmp_path):
    scores.to_netcdf(tmp_path / "scores.nc", engine="h5netcdf")
    loaded = xr.load_dataset(tmp_path / "scores.nc", engine="h5netcdf")
    figures = theta_phase.plot(loaded)
    assert set(figures) == {"accuracy", "modulation", "rate"}
    style.save(figures["rate"], loaded, tmp_path / "rate")
    assert {(tmp_path / f"rate{suffix}").stat().st_size > 0 for suffix in (".png", ".pdf", ".csv")} == {True}
    panels = [axes for axes in figures["accuracy"].axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["ada", "bob", EVERY]
    line = next(line for line in panels[0].lines if len(line.get_xdata()) == 32)
    np.testing.assert_allclose(np.asarray(line.get_ydata())[8:16], loaded["accuracy"].sel(animal="ada"))
    assert np.asarray(line.get_xdata())[8] == pytest.approx(22.5)


def test_it_is_installed_with_its_options():
    module, options = options_of("theta_phase", {"phases": 6, "phase_null": "exchange"})
    assert module is theta_phase
    assert options.phases == 6
    with pytest.raises(SpecError, match="phase_null"):
        options_of("theta_phase", {"phase_null": "none"})
    assert json.loads(Options().model_dump_json())["permutations"] == 200
