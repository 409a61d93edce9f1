from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from neuromvm.analysis.figures import style
from neuromvm.analysis.pipeline import find_analysis
from neuromvm.analysis.scores import Absent
from neuromvm.analysis.time import time_resolved
from neuromvm.analysis.time.curves import Draws, onsets
from neuromvm.analysis.time.sliding import Sliding, decode_windows
from neuromvm.analysis.time.time_resolved import Options, decode_in_time, window_spec
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import SpecError, SplitError
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec, SplitSpec
from tests.analysis.score_rows import unexplained
from tests.analysis.simulation_in_time import BIN, BINS, HALVES, OPTIONS, TIME, decoded, ideal, recorded
from tests.conftest import tuned_recordings, with_trial_label


@pytest.fixture(scope="module")
def sustained():
    return decoded(recorded("sustained"), paths=ideal)


@pytest.fixture(scope="module")
def shared_code():
    """Four odors and three animals: few ways to name the classes of fewer would not fit by luck."""
    return decoded(recorded("sustained", trials=(40, 44, 48), odors="ABCD"), paths=ideal)


@pytest.fixture(scope="module")
def rotating():
    return decoded(recorded("rotating", strength=1.5))


def lines_of(scores, representation="raw", setting="within"):
    found = time_resolved.summarize(scores)
    return {line.what: line for line in found if (line.representation, line.setting) == (representation, setting)}


def test_onset_is_where_information_begins(shared_code):
    for representation, setting in (("raw", "within"), ("mmvm", "within"), ("mmvm", "others")):
        one = shared_code.sel(representation=representation, setting=setting)
        before, after = one["window"] < 0, one["window"] > 0
        assert (one["p_max"][before] > 0.05).all()
        assert (one["cluster_p"][before] > 0.05).all()
        assert (one["cluster_p"][after] <= 0.05).all()
        lines = lines_of(shared_code, representation, setting)
        assert lines["onset of the first cluster [s]"].value == pytest.approx(BIN)  # end of the first window after the event
        assert lines["onset of significance [s]"].value == pytest.approx(BIN)
        assert lines["onset of significance [s]"].null.p == pytest.approx(1 / 41)
        assert lines["balanced accuracy after the event"].value > 0.7
        assert lines["balanced accuracy after the event"].null.p == pytest.approx(1 / 41)
        assert lines["balanced accuracy before the event"].null.p > 0.05
        assert lines["share of windows significant after the event"].value == 1
        assert lines["share of windows significant before the event"].value == 0


@pytest.mark.parametrize("key", time_resolved.ONSETS)
def test_intervals_of_onsets_hold_the_time_at_which_information_begins(key):
    rng = np.random.default_rng(6)
    ends, begins, height = np.arange(40.0), 25, 3.5
    truth = np.where(ends >= begins, height, 0.0)
    held, width = [], []
    for _ in range(60):
        observed = truth + rng.standard_normal(40)
        curve = Draws(observed, rng.standard_normal((99, 40)), observed + rng.standard_normal((200, 40)))
        found = {name: values[list(time_resolved.ONSETS).index(key)] for name, values in onsets(curve, ends, 0.05).items()}
        held.append(found["low"] <= begins <= found["high"])
        width.append(found["high"] - found["low"])
        assert found["low"] <= found["value"] <= found["high"]
    assert np.mean(held) > 0.85
    assert np.median(width) < 8


def test_where_nothing_stands_out_there_is_no_onset():
    rng = np.random.default_rng(7)
    noise = rng.standard_normal((100, 20))
    found = onsets(Draws(noise[1:].mean(axis=0), noise[1:], noise), np.arange(20.0), 0.05)
    assert np.isnan(found["value"]).all()
    assert np.isnan(found["low"]).all()
    assert (found["p"] > 0.05).all()
    untested = onsets(Draws(noise[0], noise[:0], noise), np.arange(20.0), 0.05)
    assert np.isnan(list(untested.values())).all()


def test_every_line_is_whole(sustained):
    lines = time_resolved.summarize(sustained)
    assert [line for line in lines if unexplained(line)] == []
    found = lines_of(sustained)
    for what in time_resolved.ONSETS.values():
        assert found[what].interval.low <= BIN <= found[what].interval.high
        assert "thresholds as they are" in found[what].resampled
    share = found["share of windows significant after the event"]
    assert 0.8 < share.interval.low <= share.interval.high <= 1


def test_simulated_rats_know_no_odor_before_the_poke():
    config = SimulationConfig(animals={name: {"units": 40, "trials": 90} for name in ("one", "two")})
    recordings = recordings_from(simulate(config, seed=0), window=(-1.0, 1.4), bin_width=0.1)
    options = Options(width=0.2, step=0.2, permutations=40, bootstraps=100)
    lines = lines_of(decoded(recordings, options, keep={"odor": ["A", "B", "C"]}))
    assert lines["onset of significance [s]"].value == pytest.approx(0.4)  # odors open at 0.1 s, in full at 0.25 s
    assert lines["share of windows significant before the event"].value == 0
    assert lines["balanced accuracy before the event"].null.p > 0.05


def test_a_sustained_code_generalizes_and_a_rotating_one_does_not(shared_code, rotating):
    late = np.flatnonzero(TIME > 0)
    apart = ~np.eye(len(late), dtype=bool)
    found = {}
    for name, scores in (("sustained", shared_code), ("rotating", rotating)):
        one = scores.sel(representation="raw", setting="within").isel(train_window=late, test_window=late)
        matrix, p = one["generalization"].to_numpy(), one["generalization_cluster_p"].to_numpy()
        assert matrix[~apart].mean() > 0.7
        found[name] = matrix[apart].mean(), (p[apart] <= 0.05).mean()
    assert found["sustained"][0] > 0.7
    assert found["sustained"][1] == 1
    assert abs(found["rotating"][0] - 1 / 3) < 0.06
    assert found["rotating"][1] == 0
    early = shared_code.sel(representation="raw", setting="within").isel(train_window=TIME < 0)
    assert (early["generalization_p_max"] > 0.05).all()


def test_a_window_tested_in_itself_has_the_p_of_the_curve(shared_code):
    for name in ("p_max", "cluster_p"):
        diagonal = np.einsum("rsww->rsw", shared_code[f"generalization_{name}"].to_numpy())
        np.testing.assert_array_equal(diagonal, shared_code[name])


def test_few_ways_to_rename_classes_are_said_and_generalization_is_not_claimed(rotating):
    alone = decoded(recorded("sustained", trials=(60,), odors="ABC")).sel(representation="raw", setting="within")
    late = alone.isel(train_window=TIME > 0, test_window=TIME > 0)
    apart = ~np.eye(late.sizes["train_window"], dtype=bool)
    assert (late["generalization"].to_numpy()[apart] > 0.6).all()
    assert (late["generalization_p_max"].to_numpy()[apart] > 1 / 12).all()  # 6 ways: 1/6 of the draws are the truth
    assert (np.einsum("ww->w", late["generalization_p_max"].to_numpy()) <= 0.05).all()
    assert alone["generalization_null_kind"].item().endswith("classes of each animal renamed (6 ways)")
    two_animals = rotating.sel(representation="raw", setting="within")["generalization_null_kind"].item()
    assert two_animals.endswith("(36 ways)")


def p_on_noise(runs, trials):
    """Return the smallest p of each curve and of each matrix, and p of mean accuracy, on activity that knows no odor."""
    options = OPTIONS.model_copy(update={"permutations": 39})
    found = []
    for seed in range(runs):
        noise = decoded(recorded("noise", seed, trials=(trials,), units=4), options, SplitSpec(kind="halves"))
        one = noise.sel(representation="raw", setting="within")
        curve = one["p_max"].min(), one["cluster_p"].min(), one["generalization_cluster_p"].min()
        found.append([one["period_p"].sel(period="after").item(), *(value.item() for value in curve)])
    return np.array(found).T


def assert_errors_as_promised(p, level):
    """Ties between scores make p-values a little too large, never too small."""
    runs = p.shape[1]
    assert ((p <= level + 1e-9).mean(axis=1) < level + 4 * np.sqrt(level * (1 - level) / runs)).all()


def test_noise_is_silent():
    p = p_on_noise(20, trials=24)
    assert_errors_as_promised(p, 0.1)
    assert kstest(p[0] - np.random.default_rng(0).random(20) / 40, "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_on_noise_errors_are_as_frequent_as_promised():
    p = p_on_noise(150, trials=60)
    for level in (0.05, 0.1):
        assert_errors_as_promised(p, level)
        assert ((p <= level + 1e-9).mean(axis=1) > level - 4 * np.sqrt(level * (1 - level) / 150)).all()
    assert kstest(p[0] - np.random.default_rng(0).random(150) / 40, "uniform").pvalue > 1e-3


def own_codes(animals, seed):
    """Return animals whose latents hold their classes, each in an order of its own, and the order."""
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(animals):
        label, order = rng.permutation(np.repeat(np.arange(4), 8)).astype(np.int16), rng.permutation(4)
        values = 5 * np.eye(4)[order[label]] + rng.standard_normal((32, 4))
        fitted = np.arange(32)[None] % 2 == 0
        found[f"rat{number}"] = Sliding(values[:, None], label, fitted, ~fitted, [np.arange(32)] * 100)
    return found


@pytest.mark.parametrize("animals", [2, 4])
def test_animals_with_codes_of_their_own_read_each_other_as_often_as_luck_would_have_it(animals):
    p = []
    for seed in range(60):
        known = own_codes(animals, seed)
        read = [decode_windows(known, name, [other for other in known if other != name], 100, seed) for name in known]
        observed = np.mean([one.matrix[0, 0] for one in read])
        null = np.mean([one.null[:, 0, 0] for one in read], axis=0)
        tied = np.isclose(null, observed).sum() + 1
        p.append(((null > observed + 1e-9).sum() + tied * np.random.default_rng(seed).random()) / 100)
    assert kstest(p, "uniform").pvalue > 0.01


def test_sources_that_lack_different_classes_can_be_renamed():
    known = own_codes(3, 0)
    for name, lacking in (("rat1", 3), ("rat2", 0)):
        one = known[name]
        known[name] = one._replace(fitted=one.fitted & (one.label != lacking))
    read = decode_windows(known, "rat0", ["rat1", "rat2"], 100, 0)
    assert np.isfinite(read.null).all()
    assert ((read.null >= 0) & (read.null <= 1)).all()


def test_one_animal_with_its_own_code_among_others_that_share_one_is_above_its_null_by_luck_alone():
    p = []
    for seed in range(60):
        known = own_codes(4, seed)
        shared = dict.fromkeys(("rat1", "rat2", "rat3"), known["rat1"])
        read = decode_windows(known | shared, "rat0", list(shared), 100, seed)
        observed = read.matrix[0, 0]
        tied = np.isclose(read.alone[:, 0], observed, atol=0.02).sum() + 1
        p.append(((read.alone[:, 0] > observed + 0.02).sum() + tied * np.random.default_rng(seed).random()) / 100)
    assert kstest(p, "uniform").pvalue > 0.01


def test_scores_are_those_of_sklearn():
    recordings = recorded("sustained", strength=0.5)
    samples = make_samples(recordings, SampleSpec(label=["odor"]))
    splits = make_splits(samples, HALVES)
    scores = decode_in_time(recordings, samples, splits, None, OPTIONS).sel(representation="raw", setting="within")
    matrix = np.zeros((2, 2, BINS, BINS))
    for number, (name, node) in enumerate(recordings.children.items()):
        activity, odor = np.sqrt(node["spike_count"].to_numpy().astype(float)), node["odor"].to_numpy()
        for split, part in enumerate(splits[name]["part"].to_numpy()):
            train, test = part == Part.TRAIN, part == Part.TEST
            for window in range(BINS):
                scaler = StandardScaler().fit(activity[train, window])
                scaled = scaler.transform(activity[train, window])
                means = np.stack([scaled[odor[train] == one].mean(axis=0) for one in odor[train]])
                share = LedoitWolf(assume_centered=True).fit(scaled - means).shrinkage_
                model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share).fit(scaled, odor[train])
                for other in range(BINS):
                    decision = model.decision_function(scaler.transform(activity[test, other])) - np.log(model.priors_)
                    matrix[number, split, window, other] = balanced_accuracy_score(
                        odor[test], model.classes_[decision.argmax(axis=1)]
                    )
    np.testing.assert_allclose(scores["target_value"], np.einsum("asww->aw", matrix) / 2)
    np.testing.assert_allclose(scores["generalization"], matrix.mean(axis=(0, 1)))
    np.testing.assert_allclose(scores["value"], np.einsum("asww->w", matrix) / 4)


def test_lines_say_what_was_permuted_and_how_much_was_scored(sustained):
    raw, latent = lines_of(sustained)["balanced accuracy after the event"], lines_of(sustained, "mmvm", "others")
    latent = latent["balanced accuracy after the event"]
    assert "scalers and decoders refitted" in raw.null.kind
    assert "classes of each animal renamed" in latent.null.kind
    assert (raw.null.draws, raw.n.animals, raw.n.windows, raw.n.splits, latent.n.splits) == (40, 2, 6, 2, 1)
    assert raw.n.trials == sustained["trials"].sel(representation="raw", setting="within").sum()
    assert latent.n.trials < raw.n.trials
    assert raw.interval.low < raw.value < raw.interval.high
    assert raw.null.low < raw.chance < raw.null.high
    assert ("raw", "others") not in {(line.representation, line.setting) for line in time_resolved.summarize(sustained)}


def test_trials_that_train_and_test_have_no_null():
    recordings = recorded("sustained")
    samples = make_samples(recordings, SampleSpec(label=["odor"]))
    splits = make_splits(samples, HALVES)
    nodes = {name: node.to_dataset() for name, node in splits.children.items()}
    both = xr.DataTree.from_dict({k: one.assign(part=one["part"] * 0 + Part.TRAIN_AND_TEST) for k, one in nodes.items()})
    scores = decode_in_time(recordings, samples, both, None, OPTIONS)
    assert np.isnan(scores["p_max"]).all()
    lines = time_resolved.summarize(scores)
    assert {line.what for line in lines} == {"balanced accuracy before the event", "balanced accuracy after the event"}
    assert all(line.in_sample and isinstance(line.null, Absent) for line in lines)
    assert time_resolved.plot(scores)


def test_an_animal_left_out_is_read_by_the_others():
    scores = decoded(recorded("sustained"), split=SplitSpec(kind="leave_one_animal_out"), paths=ideal)
    assert np.isnan(scores["value"].sel(setting="within")).all()
    # The first replica leaves out one animal.
    assert scores["trials"].sel(representation="mmvm", setting="others").values.tolist() == [45, 0]
    late = scores["window"] > 0
    assert (scores["value"].sel(representation="mmvm", setting="others")[late] > 0.7).all()


def test_nothing_to_score_is_refused():
    with pytest.raises(SplitError, match="no trial"):
        decoded(recorded("noise"), split=SplitSpec(kind="leave_one_animal_out"))


def test_another_label_may_lack_trials():
    whole = recorded("sustained")
    half = with_trial_label(
        whole, "choice", lambda node: np.where(node["trial"] % 5 == 0, "", np.where(node["odor"] == "A", "l", "r"))
    )
    scores = decoded(half, OPTIONS.model_copy(update={"label": "choice"}))
    assert scores.attrs["label"] == "choice"
    assert scores["chance"].sel(representation="raw", setting="within") == 0.5
    tested = scores["trials"].sel(representation="raw", setting="within").values
    assert (tested <= [36, 44]).all()
    assert (tested > [20, 25]).all()
    assert lines_of(scores)["onset of significance [s]"].value == pytest.approx(BIN)


def test_a_label_of_windows_is_refused():
    recordings = tuned_recordings({"rat": (4, 12)})
    for label, options in ((["window"], Options()), (["odor"], Options(label=["odor", "window"]))):
        with pytest.raises(SpecError, match="label"):
            window_spec(recordings, SampleSpec(label=label), options)


def test_default_windows_are_a_sixteenth_of_the_grid_and_overlap_by_half():
    recordings = recordings_from(simulate(SimulationConfig(animals={"one": {"units": 2, "trials": 12}})), bin_width=0.01)
    spec = window_spec(recordings, SampleSpec(label=["odor", "window"], width=1, bin_width=0.1), Options())
    assert (spec.width, spec.step, spec.bin_width, spec.label) == (0.25, pytest.approx(0.12), None, ["odor"])
    coarse = window_spec(tuned_recordings({"rat": (4, 12)}), SampleSpec(label=["odor"]), Options())
    assert (coarse.width, coarse.step) == (0.1, 0.1)


def test_positions_have_no_event():
    recordings = recorded("sustained")
    grid = ("position", np.arange(BINS) + 0.5, {"bin_width": 1.0})
    nodes = {
        name: xr.DataTree(node.to_dataset(inherit=False).rename({"time": "position"}))
        for name, node in recordings.children.items()
    }
    track = xr.DataTree(dataset=xr.Dataset(coords={"position": grid}), children=nodes)
    samples = make_samples(track, SampleSpec(label=["odor"]))
    options = OPTIONS.model_copy(update={"width": 1.0, "step": 1.0})
    scores = decode_in_time(track, samples, make_splits(samples, HALVES), None, options)
    assert set(lines_of(scores)) == {"balanced accuracy over the whole grid", "share of windows significant over the whole grid"}
    assert time_resolved.plot(scores)


def test_models_that_see_the_whole_trial_have_no_onset():
    recordings = recorded("sustained")
    samples = make_samples(recordings, SampleSpec(label=["odor"]))
    splits = make_splits(samples, HALVES)
    paths = ideal(samples, splits)["mmvm"]
    networks = {"smooth": "convolution", "plain": "linear", "unfollowed": "linear"}
    models = {name: SimpleNamespace(networks=SimpleNamespace(kind=kind)) for name, kind in networks.items()}
    study = SimpleNamespace(
        recordings=recordings,
        samples=samples,
        splits=splits,
        models=list(models),
        spec=SimpleNamespace(models=models),
        paths=lambda name: None if name == "unfollowed" else paths,
    )
    scores = time_resolved.compute(study, OPTIONS.model_copy(update={"permutations": 20}))
    assert scores["representation"].values.tolist() == ["raw", "smooth", "plain"]
    assert "onset of significance [s]" in lines_of(scores, "plain", "others")
    assert "onset of significance [s]" not in lines_of(scores, "smooth", "others")
    with pytest.raises(SpecError, match="raw"):
        decode_in_time(recordings, samples, splits, {"raw": paths})


def test_figures_are_drawn_from_saved_scores_and_saved_alike(sustained, tmp_path):
    sustained.to_netcdf(tmp_path / "scores.nc", engine="h5netcdf")
    saved = xr.load_dataset(tmp_path / "scores.nc", engine="h5netcdf")
    assert [line.what for line in time_resolved.summarize(saved)] == [line.what for line in time_resolved.summarize(sustained)]
    assert set(time_resolved.plot(saved)) == {"curves", "animals", "generalization"}
    raw = saved.sel(representation=["raw"]).dropna("window", how="all")
    for attempt in ("first", "second"):
        style.save(time_resolved.plot(raw)["generalization"], raw, tmp_path / attempt)
    for suffix in (".png", ".pdf", ".csv"):
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()


def test_it_is_found_by_name():
    assert find_analysis("time_resolved") is time_resolved
