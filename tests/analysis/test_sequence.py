from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest
from sklearn.metrics import normalized_mutual_info_score

from neuromvm.analysis.figures import style
from neuromvm.analysis.pipeline import options_of
from neuromvm.analysis.scores import Absent
from neuromvm.analysis.sequence import lag_distance as sequence_lags
from neuromvm.analysis.sequence import odor_or_position as sequence_position
from neuromvm.analysis.sequence import sequence
from neuromvm.analysis.sequence import trial_contrasts as sequence_contrasts
from neuromvm.analysis.sequence.confounds import ConfoundError, confounded
from neuromvm.analysis.sequence.decoder import inputs_of_activity, inputs_of_latents, probabilities
from neuromvm.analysis.sequence.distances import Products, distances, parted_slopes
from neuromvm.analysis.sequence.trial_contrasts import pair_of
from neuromvm.analysis.sequence.trials import SequenceTrials, cut_sequence, read_trials
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from
from neuromvm.data.simulate.experiment import simulate as simulate_rats
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import SchemaError, SplitError
from neuromvm.specs import SampleSpec, SplitSpec
from tests.analysis.score_rows import unexplained
from tests.conftest import with_trial_label

ODORS = np.array(list("ABCDE"))
WINDOW = {"start": 0.0, "stop": 0.25}
SPEC = SampleSpec(label=["odor"], transform="none")
FEW = {**WINDOW, "permutations": 19, "bootstraps": 100}
TIME = -2 + 0.25 * (np.arange(16) + 0.5)


class Behaviour(SimpleNamespace):
    """Labels of trials: ``odor, position`` from 0, ``in_sequence, correct``, ``onset`` [s]."""


def behave(random, trials, out_of_sequence=0.15, error=0.08):
    """Draw runs through the sequence, each ended by an error or after the last odor."""
    rows, position, onset = [], 0, 0.0
    for _ in range(trials):
        odor = position
        if position and random.random() < out_of_sequence:
            odor = int(random.choice([other for other in range(5) if other != position]))
        correct = random.random() >= error
        rows.append((odor, position, odor == position, correct, onset))
        position = 0 if not correct or position == 4 else position + 1
        onset += 6 + random.uniform(0, 2) + 5 * (position == 0)
    names = ("odor", "position", "in_sequence", "correct", "onset")
    return Behaviour(**dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True)))


def record(code, seed=0, *, animals=1, trials=150, units=12, noise=1.0, **how):
    """Return recordings of activity ``code(behaviour, random) (trial, time, latent)`` seen through random weights, and noise."""
    nodes = {}
    for number in range(animals):
        random = np.random.default_rng([seed, number])
        labels = behave(random, trials, **how)
        latent = code(labels, random)
        values = latent @ random.standard_normal((latent.shape[-1], units))
        values = values + noise * random.standard_normal((trials, len(TIME), units))
        coords = {name: ("trial", one) for name, one in vars(labels).items()}
        coords |= {"odor": ("trial", ODORS[labels.odor]), "position": ("trial", labels.position + 1)}
        nodes[f"rat{number}"] = xr.Dataset(
            {"event_amplitude": (("trial", "time", "unit"), values.astype(np.float32))},
            coords={"trial": np.arange(trials), "unit": np.arange(units), **coords},
        )
    root = xr.Dataset(coords={"time": ("time", TIME, {"bin_width": 0.25, "units": "s"})})
    return xr.DataTree.from_dict({"/": root, **nodes})


def still(values):
    """Return a code that does not change within the trial, from ``(trial, latent)``."""
    return np.repeat(values[:, None], len(TIME), axis=1)


def nothing(labels, random):
    return np.zeros((len(labels.odor), len(TIME), 1))


def one_of(label, strength=1.2):
    """Return a code in which each odor (or position) has a direction of its own."""
    return lambda labels, random: strength * still(np.eye(5)[getattr(labels, label)])


def on_a_line(label, strength=0.3):
    return lambda labels, random: strength * still(getattr(labels, label)[:, None].astype(float))


def moving_on(labels, random):
    """The current odor from 0 to 1 s, the next from 1 to 2 s."""
    latent = np.zeros((len(labels.odor), len(TIME), 6))
    latent[:, (TIME > 0) & (TIME < 1), :5] = np.eye(5)[labels.odor][:, None]
    latent[:, TIME > 1, :] = np.eye(6)[labels.odor + 1][:, None]
    return 1.5 * latent[..., :5]


def drifting(labels, random):
    """Drift over a minute, and no odor."""
    covariance = np.exp(-np.abs(labels.onset[:, None] - labels.onset) / 60)
    root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(labels.onset)))
    return 3 * still(root @ random.standard_normal((len(labels.onset), 8)))


def cut(recordings, spec=SPEC, **how):
    return cut_sequence(recordings, spec, sequence.Options(**WINDOW), **how)


def follow(recordings, **changed):
    options = sequence.Options(**{**FEW, "folds": 3, "inverse_penalty": 0.1, **changed})
    return sequence.follow(cut(recordings), cut(recordings, slide=0.25), options)


def tell_apart(recordings, spec=SPEC, **changed):
    options = sequence_position.Options(**{**FEW, "fewest": 3, **changed})
    trials = read_trials(cut_sequence(recordings, spec, options))
    return sequence_position.tell_apart(
        trials.samples, inputs_of_activity(trials, SplitSpec(kind="kfold", folds=3), 0.1), options
    )


def contrast(recordings, **changed):
    options = sequence_contrasts.Options(
        **{**FEW, "folds": 3, "fewest": 5, "fewest_tested": 2, "inverse_penalty": 0.1, **changed}
    )
    return sequence_contrasts.contrast(cut(recordings), options)


def study_of(recordings, code=None, split="kfold"):
    """Return what an analysis reads of a run; its model's latents are the ``code`` of the trials (labels) plus noise."""
    samples = make_samples(recordings, SampleSpec(**WINDOW, label=["odor"], transform="none"))
    splits = make_splits(samples, SplitSpec(kind=split, folds=2) if split == "kfold" else SplitSpec(kind=split))
    count = next(iter(splits.children.values())).sizes["split"]
    random, nodes = np.random.default_rng(0), {}
    for name, node in samples.children.items():
        labels = Behaviour(odor=np.searchsorted(ODORS, node["odor"].values), position=node["position"].values - 1)
        if code is not None:
            ideal = code(labels, random)[None, :, :1]
            values = ideal + 0.3 * random.standard_normal((count, *ideal.shape[1:]))
            coords = {"split": ("replica", np.arange(count)), "seed": ("replica", np.zeros(count, int))}
            nodes[name] = xr.Dataset({"latent_mean": (("replica", "trial", "window", "latent"), values)}, coords=coords)
    latents = xr.DataTree.from_dict(nodes)
    return SimpleNamespace(
        recordings=recordings,
        samples=samples,
        splits=splits,
        spec=SimpleNamespace(samples=SPEC),
        models=[] if code is None else ["ideal"],
        latents=lambda model: latents,
    )


def lag_scores(recordings, **changed):
    return sequence_lags.compute(study_of(recordings), sequence_lags.Options(**{**FEW, **changed})).sel(representation="raw")


# Confounds


def test_labels_that_are_one_variable_are_called_so():
    labels = behave(np.random.default_rng(0), 200)
    node = xr.Dataset(coords={"odor": ("trial", ODORS[labels.odor]), "position": ("trial", labels.position)})
    every = confounded(node, "odor", "position")
    assert every.name == "odor"
    assert every.information == pytest.approx(normalized_mutual_info_score(labels.odor, labels.position))
    due = confounded(node, "odor", "position", labels.in_sequence)
    assert due == ("odor", "position", labels.in_sequence.sum(), True, True, pytest.approx(1))
    assert due.name == "odor = position (confounded)"


def test_one_label_may_give_the_other_and_not_be_it():
    coords = {"odor": ("trial", list("AABBCC")), "smell": ("trial", list("xxxxyy")), "day": ("trial", ["1"] * 6)}
    node = xr.Dataset(coords=coords)
    found = confounded(node, "odor", "smell")
    assert (found.label_gives_covariate, found.covariate_gives_label, found.identical) == (True, False, False)
    assert not confounded(node, "day", "day").identical  # a label with one value says nothing
    with pytest.raises(SchemaError, match="Did you mean 'odor'"):
        confounded(node, "odour", "smell")
    missing = node.assign_coords(smell=("trial", ["x", "x", "", "", "y", "y"]))
    assert confounded(missing, "odor", "smell").identical
    assert confounded(missing, "odor", "smell").trials == 4


def test_in_sequence_trials_are_not_read_as_odor_or_position():
    recordings = record(one_of("odor"), trials=100)
    for changed in ({"tested": "in_sequence"}, {"keep": {"in_sequence": [True]}}):
        with pytest.raises(ConfoundError, match=r"determine each other on all \d+ trials.*out-of-sequence"):
            tell_apart(recordings, **changed)
    labels = {lines.what for lines in sequence.summarize(follow(recordings))}
    assert all(label.endswith("decoded: odor = position (confounded)") for label in labels)


def test_a_peak_is_judged_by_the_null_that_gives_the_larger_p(moving):
    for line, relation in zip(sequence.summarize(moving), moving["relation"].values, strict=True):
        one = moving.sel(relation=relation)
        p = {int(moving.attrs["permutations"]): float(one["peak_null_p"]), sequence.EXCHANGES: float(one["peak_exchanged_p"])}
        assert line.null.p == max(p.values()) == p[line.null.draws]
        assert line.null.p >= 1 / (line.null.draws + 1)
        mean = one["peak_exchanged_mean"] if line.null.draws == sequence.EXCHANGES else one["peak_null_mean"]
        assert line.null.mean == float(mean)


# Trials


def test_the_sequence_is_found_in_the_labels():
    recordings = record(nothing, trials=60)
    found = read_trials(cut(recordings))
    assert found.sequence == tuple("ABCDE")
    node, trials = recordings["rat0"], found.trials["rat0"]
    assert (trials.position == node["position"] - 1).all()
    assert (trials.in_sequence == node["in_sequence"]).all()
    starts = np.flatnonzero(np.diff(trials.run)) + 1
    assert (trials.position[starts] == 0).all()  # the simulated rat begins each run with the first odor
    assert len(starts) == (trials.position == 0).sum() - 1


def test_labels_that_contradict_each_other_are_refused():
    recordings = record(nothing, trials=60)
    lied = with_trial_label(recordings, "in_sequence", lambda node: np.ones(node.sizes["trial"], bool))
    with pytest.raises(SchemaError, match="each due at one position"):
        read_trials(cut(lied))
    lied = with_trial_label(recordings, "in_sequence", lambda node: (node["in_sequence"] & (node["trial"] > 30)).to_numpy())
    with pytest.raises(SchemaError, match="contradicts odor and position"):
        read_trials(cut(lied))


# Previous, current and next odor


@pytest.fixture(scope="module")
def moving():
    return follow(record(moving_on, animals=2, trials=120))


def test_the_next_odor_is_found_where_it_was_put(moving):
    now, then = (
        moving.sel(relation=relation, window=slice(*times)) for relation, times in (("current", (0, 1)), ("next", (1, 2)))
    )
    assert (now["low"] > now["null_high"]).all()
    assert (then["low"] > then["null_high"]).all()
    before = moving.sel(window=slice(-2, 0))
    assert (abs(before["value"].sel(relation=["previous", "current", "next"]) - 0.2) < 0.06).all()
    assert (before["p"] <= 0.05).mean() < 0.1
    assert moving["peak_p"].sel(relation=["current", "next", "next - previous"]).values == pytest.approx(1 / 20)
    assert 0 < moving["peak_time"].sel(relation="current") < 1 < moving["peak_time"].sel(relation="next")
    assert moving["value"].sel(relation="previous", window=slice(1, 2)).max() < 0.2
    shares = follow(record(moving_on, trials=120), measure="share")
    assert shares["value"].sel(relation="next", window=slice(1, 2)).min() > 0.7


@pytest.mark.slow
def test_no_odor_is_found_in_noise():
    found = [follow(record(nothing, seed, trials=80, units=4, error=0.02), folds=2)["peak_p"].values for seed in range(24)]
    assert abs(np.mean(found) - 0.525) < 4 * np.sqrt(1 / 12 / 24)  # as if the relations of one animal were all the same


def test_one_animal_of_noise_has_no_peak():
    assert (follow(record(nothing, trials=100))["peak_p"] > 0.05).all()


@pytest.mark.slow
def test_a_decoder_that_has_learnt_reads_nothing_before_the_odor():
    p = np.array([follow(record(moving_on, seed, trials=120))["p"].sel(window=slice(-2, 0)).values for seed in range(16)])
    assert (p <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / (16 * 8))  # as if the relations of a window were all the same


def test_an_animal_with_a_rare_odor_is_left_out_with_the_number_needed():
    few = record(nothing, trials=12)
    with pytest.raises(SplitError, match=r"rat0: \d correct in-sequence trials of an odor, 3 needed"):
        follow(few)


def test_no_decoder_learns_from_scored_trials():
    random = np.random.default_rng(0)
    values, codes = random.standard_normal((40, 3)), np.arange(40) % 4
    fitted = np.arange(40) < 32
    parts = np.where((np.arange(40) % 8 < 4) & fitted, 1, 3)[None].astype(np.int8)
    before = probabilities(values, values[:, None], codes, fitted, parts, 1.0)
    assert (np.isfinite(before[0, :, 0, 0]) == (parts[0] == 3)).all()
    relabelled = np.where(parts[0] == 3, 0, codes)
    moved = np.where((np.arange(40) == 39)[:, None], 50.0, values)
    np.testing.assert_array_equal(probabilities(values, values[:, None], relabelled, fitted, parts, 1.0), before)
    other = probabilities(moved, moved[:, None], codes, fitted, parts, 1.0)
    np.testing.assert_array_equal(other[:, :39], before[:, :39])


# Odor or position


@pytest.mark.parametrize(("label", "other"), [("odor", "position"), ("position", "odor")])
def test_what_is_coded_is_read_out_of_sequence(label, other):
    found = tell_apart(record(one_of(label), animals=2))
    assert found["low"].sel(read=label) > 0.8
    assert found["p"].sel(read=label).item() == pytest.approx(1 / 20)
    assert found["given_p"].sel(read=label) < 0.01
    assert found["high"].sel(read=other) < 0.2
    assert found["given_p"].sel(read=other) > 0.05
    sign = 1 if label == "odor" else -1
    assert sign * found["low" if sign > 0 else "high"].sel(read="odor - position") > 0.5
    assert found["in_sequence"] > 0.8  # the same, whichever is coded


def test_simulated_rats_without_position_are_read_as_odor():
    config = SimulationConfig(animals={"rat": {"units": 50, "trials": 200}}, position_share=0)
    recordings = recordings_from(simulate_rats(config, seed=1), bin_width=0.05)
    found = tell_apart(recordings, SampleSpec(label=["odor"]), start=0.1, stop=0.35)
    assert found["p"].sel(read="odor").item() == pytest.approx(1 / 20)
    assert found["low"].sel(read="odor - position") > 0
    assert found["p"].sel(read="position") > 0.05


@pytest.mark.slow
def test_neither_is_read_from_noise():
    found = [tell_apart(record(nothing, seed, trials=90, units=4)) for seed in range(20)]
    for key in ("p", "given_p"):
        values = np.array([one[key].sel(read=["odor", "position"]).values for one in found])
        assert abs(values.mean() - 0.55) < 4 * np.sqrt(1 / 12 / 20)  # shares are ratios of small numbers: ties raise p


@pytest.mark.slow
def test_neighbours_of_the_odor_do_not_pass_for_the_position():
    """A blurred odor code is often read as a neighbour; permuting within odor keeps that in the floor."""

    def ring(labels, random):
        return 0.7 * still(np.stack([np.cos(labels.odor), np.sin(labels.odor)], axis=1))

    p = [tell_apart(record(ring, seed))["given_p"].sel(read="position").item() for seed in range(30)]
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 30)


def test_latents_are_scored_on_the_trials_that_the_model_did_not_see():
    study = study_of(record(nothing, animals=2), one_of("odor"))
    options = sequence_position.Options(**FEW)
    found = sequence_position.compute(study, options)
    assert found["value"].sel(representation="ideal", read="odor") > 0.9
    assert found["p"].sel(representation="raw", read="odor") > 0.05
    tested = [(~node["in_sequence"]).sum().item() for node in study.samples.children.values()]
    assert found["trials"].sel(representation="ideal").values.tolist() == tested
    lines = {(line.representation, line.what, line.setting): line for line in sequence_position.summarize(found)}
    assert len(lines) == 8
    assert all(line.interval.low <= line.value <= line.interval.high for line in lines.values())
    line = lines["ideal", "share of out-of-sequence trials read as odor", "out of sequence"]
    assert "out-of-sequence test trials of each animal, decode-only" in line.null.kind
    assert all(unexplained(line) == [] for line in lines.values())
    assert line.difference.value > 0.8
    study = study_of(record(nothing), one_of("odor"), split="published")
    found = sequence_position.compute(study, options)
    assert found["representation"].values.tolist() == ["raw"]
    assert "were fitted on" in found.attrs["left_out"]


def learnt_by_heart(seed, strength, test_strength=0.0):
    """Return samples and inputs of latents that hold the odors of training trials, and hardly those of test trials."""
    samples = make_samples(record(nothing, seed, animals=2, trials=120), SampleSpec(**WINDOW, label=["odor"], transform="none"))
    splits = make_splits(samples, SplitSpec(kind="kfold", folds=2, seed=seed))
    random, nodes = np.random.default_rng(seed), {}
    means = random.standard_normal((5, 6))
    for name, node in samples.children.items():
        size = np.where(splits[name]["part"].values == 1, strength, test_strength)[..., None]
        values = size * means[np.searchsorted(ODORS, node["odor"].values)]
        values = (values + random.standard_normal(values.shape))[:, :, None]
        coords = {"split": ("replica", [0, 1])}
        nodes[name] = xr.Dataset({"latent_mean": (("replica", "trial", "window", "latent"), values)}, coords=coords)
    trials = read_trials(samples)
    return trials.samples, inputs_of_latents(trials, xr.DataTree.from_dict(nodes), splits, 1.0)


def test_what_test_trials_hold_is_read_from_latents_learnt_by_heart():
    found = sequence_position.tell_apart(
        *learnt_by_heart(1, 3.0, 1.5), sequence_position.Options(**{**FEW, "permutations": 99}), null="exchanged"
    )
    assert found["p"].sel(read="odor") == 0.01
    assert found["p"].sel(read="position") > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.5, 3.0])
def test_p_is_uniform_where_latents_know_the_odors_of_training_trials_alone(strength):
    options = sequence_position.Options(**{**FEW, "permutations": 39})
    every = [sequence_position.tell_apart(*learnt_by_heart(seed, strength), options, null="exchanged") for seed in range(100)]
    for read in every[0]["read"].values:
        p = np.array([one["p"].sel(read=read).item() for one in every])
        assert kstest(p, "uniform", alternative="greater").pvalue > 0.01  # ties of shares raise p


# Contrasts


def test_contrasts_are_decoded_from_what_codes_them():
    for label, other in (("in_sequence", "correct"), ("correct", "in_sequence")):
        found = contrast(record(on_a_line(label, 2.5), trials=200, out_of_sequence=0.25, error=0.15))
        assert found["low"].sel(contrast=label) > 0.7
        assert found["p"].sel(contrast=label).item() == pytest.approx(1 / 20)
        assert found["low"].sel(contrast=other) < 0.55
        assert found["p"].sel(contrast=other) > 0.05


@pytest.mark.slow
def test_odor_and_position_do_not_pass_for_a_contrast():
    def both(labels, random):
        return np.concatenate([one_of("odor")(labels, random), one_of("position")(labels, random)], axis=-1)

    found = [contrast(record(both, seed, out_of_sequence=0.25, error=0.15)) for seed in range(16)]
    p = np.concatenate([one["p"].values for one in found])
    assert abs(np.nanmean(p) - 0.525) < 4 * np.sqrt(1 / 12 / 32)


def test_trials_of_a_contrast_are_alike_in_all_else():
    labels = behave(np.random.default_rng(0), 300)
    trials = SequenceTrials(labels.odor, labels.position, labels.correct, np.arange(300))
    used, side = pair_of(trials, "in_sequence")
    assert labels.correct[used].all()
    assert not (labels.position[used] == 0).any()  # the first item is never out of sequence
    for places in (labels.odor[used], labels.position[used]):
        assert all(set(side[used][places == place]) == {0, 1} for place in np.unique(places))
    used, _ = pair_of(trials, "correct")
    assert labels.in_sequence[used].all()


def test_odor_is_scored_on_each_kind_of_trial():
    def only_if_correct(labels, random):
        return one_of("odor", 1.5)(labels, random) * labels.correct[:, None, None]

    found = contrast(record(only_if_correct, trials=300, out_of_sequence=0.25, error=0.2))
    value = found["odor_value"]
    assert (value.sel(kind=["in sequence, correct", "out of sequence, correct"]) > 0.85).all()
    assert (value.sel(kind=["in sequence, incorrect", "out of sequence, incorrect"]) < 0.5).all()
    assert found["odor_difference_high"].sel(kind="in sequence, incorrect") < -0.3
    assert abs(found["odor_difference"].sel(kind="out of sequence, correct")) < 0.1
    lines = sequence_contrasts.summarize(found)
    assert [line.n.trials > 0 and np.isfinite(line.null.p) for line in lines] == [True] * 6
    assert "confounded" in lines[2].what
    assert "confounded" not in lines[4].what


def test_too_few_trials_are_accounted_for():
    found = contrast(record(nothing, trials=150, error=0.02), fewest=8)
    assert np.isnan(found["value"].sel(contrast="correct"))
    assert "trials of the rarer side, 8 needed" in found.attrs["left_out"]
    assert len([line for line in sequence_contrasts.summarize(found) if line.what == "balanced accuracy"]) == 1
    with pytest.raises(SplitError, match="60 needed"):
        contrast(record(nothing, trials=150), fewest=60)


# Distance and lag


def test_distances_are_those_of_pairs_of_trials_of_different_runs():
    random = np.random.default_rng(0)
    values, odor, run = random.standard_normal((12, 3)), np.arange(12) % 3, np.arange(12) // 2
    found = distances(Products.of(values, values, run[:, None] != run), odor, 3)[0]

    def mean_product(a, b):
        pairs = [(i, j) for i in range(12) for j in range(12) if odor[i] == a and odor[j] == b and run[i] != run[j]]
        return np.mean([values[i] @ values[j] / 3 for i, j in pairs])

    expected = [[mean_product(a, a) + mean_product(b, b) - 2 * mean_product(a, b) for b in range(3)] for a in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_distances_are_zero_on_average_without_signal_and_right_with_it():
    means = np.array([[0.0], [1.0], [3.0]])
    odor = np.repeat(np.arange(3), [3, 5, 9])
    apart = ~np.eye(len(odor), dtype=bool)
    for strength, expected in ((0, [0, 0, 0]), (1, [1, 9, 4])):
        found = []
        for seed in range(400):
            values = strength * means[odor] + np.random.default_rng(seed).standard_normal((len(odor), 1))
            found.append(distances(Products.of(values, values, apart), odor, 3)[0][np.triu_indices(3, 1)])
        error = np.std(found, axis=0) / np.sqrt(len(found))
        assert (abs(np.mean(found, axis=0) - expected) < 4 * error).all()


def test_slopes_of_the_two_lags_are_told_apart():
    random = np.random.default_rng(0)
    odor, position = random.integers(0, 5, 30), random.integers(0, 5, 30)
    places = np.arange(5)
    truth = 2 * np.abs(odor[:, None] - places) + 3 * np.abs(position[:, None] - places)
    near = -0.5 * (truth + random.standard_normal((30, 1)) + random.standard_normal(5))
    np.testing.assert_allclose(parted_slopes(near, odor, position), [2, 3])
    nearer = near + 4 * (odor[:, None] == places) - (position[:, None] == places)
    np.testing.assert_allclose(parted_slopes(nearer, odor, position), [2, 3])
    twice = np.where(np.arange(30) < 10, 2.0, 1.0)
    chosen = np.concatenate([np.arange(30), np.arange(10)])
    noisy = near + random.standard_normal(near.shape)
    np.testing.assert_allclose(
        parted_slopes(noisy, odor, position, twice), parted_slopes(noisy[chosen], odor[chosen], position[chosen])
    )
    assert np.isnan(parted_slopes(near, odor, odor)).all()


@pytest.mark.parametrize(("label", "other"), [("odor", "position"), ("position", "odor")])
def test_lag_is_found_in_the_label_that_carries_it(label, other):
    found = lag_scores(record(on_a_line(label), animals=2, trials=200))
    truth = lag_scores(record(on_a_line(label), animals=2, trials=200, noise=0))
    assert found["low"] < truth["value"] < found["high"]
    assert found["p"].item() == pytest.approx(1 / 20)
    assert found.attrs["label"] == "odor = position (confounded)"
    assert (np.diff(truth["lag_value"]) > 0).all()
    parted = found.sel(slope=f"{label} lag")
    assert parted["parted_low"] > 0
    assert parted["parted_p"].item() == pytest.approx(1 / 20)
    assert found["parted_p"].sel(slope=f"{other} lag") > 0.05
    assert found["parted_low"].sel(slope=f"{other} lag") < 0 < found["parted_high"].sel(slope=f"{other} lag")


def test_no_lag_is_found_in_noise():
    found = [lag_scores(record(nothing, seed, trials=130, units=5)) for seed in range(20)]
    assert abs(np.mean([one["p"].item() for one in found]) - 0.525) < 4 * np.sqrt(1 / 12 / 20)
    parted = np.array([one["parted_p"].values for one in found])
    assert abs(parted.mean() - 0.525) < 4 * np.sqrt(1 / 12 / 20)
    values = np.array([one["value"].item() for one in found])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(20)


def test_drift_does_not_pass_for_lag():
    """Neighbours in the sequence are neighbours in time: without runs, distances would grow with lag."""
    p, slopes, naive = [], [], []
    for seed in range(20):
        recordings = record(drifting, seed, trials=100, noise=0.1)
        found = lag_scores(recordings)
        p.append(found["p"].item())
        slopes.append(found["value"].item())
        trials = read_trials(cut(recordings))
        due = trials.trials["rat0"].in_sequence & trials.trials["rat0"].correct
        values = trials.samples["rat0"]["activity"].to_numpy().reshape(len(due), -1)[due]
        products = Products.of(values, values, ~np.eye(due.sum(), dtype=bool))
        naive.append(sequence_lags.lag_slope(distances(products, trials.trials["rat0"].odor[due], 5))[0])
    assert np.mean(np.array(p) <= 0.05) <= 0.1
    assert np.mean(naive) > 4 * np.std(naive) / np.sqrt(20)
    assert np.mean(slopes) < np.mean(naive) / 2


def test_lag_is_found_in_latents():
    study = study_of(record(nothing, animals=2), on_a_line("odor", 0.5))
    found = sequence_lags.compute(study, sequence_lags.Options(**FEW))
    ideal = found.sel(representation="ideal")
    assert ideal["p"].item() == pytest.approx(1 / 20)
    assert ideal["parted_low"].sel(slope="odor lag") > 0
    assert found["p"].sel(representation="raw") > 0.05
    lines = sequence_lags.summarize(found)
    assert len(lines) == 6
    assert "model not trained again" in next(line for line in lines if line.representation == "ideal").null.kind
    published = study_of(record(nothing), on_a_line("odor", 0.5), split="published")
    found = sequence_lags.compute(published, sequence_lags.Options(**FEW))
    assert np.isnan(found["p"].sel(representation="ideal"))
    ideal = [line for line in sequence_lags.summarize(found) if line.representation == "ideal"]
    assert all(line.in_sample and isinstance(line.null, Absent) and not unexplained(line) for line in ideal)
    assert np.isfinite(found["value"].sel(representation="ideal"))


# All


def test_analyses_are_found_by_name():
    for name, module in (
        ("sequence", sequence),
        ("odor_or_position", sequence_position),
        ("trial_contrasts", sequence_contrasts),
        ("lag_distance", sequence_lags),
    ):
        assert options_of(name, {"permutations": 50})[0] is module


def test_figures_are_drawn_from_saved_scores(moving, tmp_path):
    recordings = record(one_of("odor"), error=0.15)
    study = study_of(recordings, one_of("odor"))
    few = {**FEW, "folds": 3}
    drawn = {
        sequence: moving,
        sequence_position: sequence_position.compute(study, sequence_position.Options(**few)),
        sequence_contrasts: sequence_contrasts.compute(study, sequence_contrasts.Options(**few)),
        sequence_lags: sequence_lags.compute(study, sequence_lags.Options(**FEW)),
    }
    for module, scores in drawn.items():
        scores.to_netcdf(tmp_path / "scores.nc", engine="h5netcdf")
        saved = xr.load_dataset(tmp_path / "scores.nc", engine="h5netcdf")
        assert repr(module.summarize(saved)) == repr(module.summarize(scores))
        assert [line for line in module.summarize(saved) if unexplained(line)] == []
        assert all(figure.axes for figure in module.plot(saved).values())
    style.save(sequence.plot(moving)["time"], moving, tmp_path / "time")
    assert (tmp_path / "time.csv").read_text().count("next - previous") > 10
