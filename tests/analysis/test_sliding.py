import numpy as np
from scipy.stats import kstest

from neuromvm.analysis.readouts.discriminant import fit_discriminants
from neuromvm.analysis.statistics.renamed_classes import Renaming
from neuromvm.analysis.time.sliding import Sliding, decode_windows, follow_features, follow_latents
from neuromvm.data.permutation import permuted
from neuromvm.data.splits import make_splits
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec, SplitSpec
from tests.analysis.simulation_in_time import BINS, HALVES, TIME, ideal, latent_paths, recorded, windows_of


def test_null_draws_are_scores_of_permuted_samples():
    recordings = recorded("sustained")
    windows = windows_of(recordings, SampleSpec(label=["odor"]))
    splits = make_splits(windows, HALVES)
    found = decode_windows(follow_features(windows, splits, 3).animals, "rat1", ["rat1"], 100, 0)
    for draw in (1, 2, 3):
        alone = follow_features(permuted(windows, draw), splits, 0)
        expected = decode_windows(alone.animals, "rat1", ["rat1"], 100, 0)
        np.testing.assert_array_equal(found.null[draw - 1], expected.matrix)
    assert abs(found.null.mean() - 1 / 3) < 0.05


def test_renamed_classes_are_refits_with_renamed_training_labels():
    """A discriminant answers with the names it was given, so that nothing has to be fitted again."""
    windows = windows_of(recorded("sustained"), SampleSpec(label=["odor"]))
    splits = make_splits(windows, HALVES)
    animals = follow_features(windows, splits, 3).animals
    found = decode_windows(animals, "rat1", ["rat1"], 100, seed=7)
    renaming, rat = Renaming(["rat1"], 3, 3, seed=7), animals["rat1"]
    for draw, names in enumerate(renaming.names("rat1", np.arange(3))):
        new_label = np.append(names, -1)[rat.label].astype(np.int16)
        correct = []
        for split in range(2):
            train, test = rat.fitted[split], rat.scored[split]
            decoders = fit_discriminants(rat.values[train], rat.label[train])
            hits = decoders.predict(rat.values[test]) == new_label[test][:, None, None]
            correct.append(np.mean([hits[rat.label[test] == odor].mean(axis=0) for odor in range(3)], axis=0).T)
        np.testing.assert_allclose(found.renamed[draw], np.mean(correct, axis=0))
    assert found.namings == 6


def test_decoders_of_noise_answer_a_code_rightly_as_often_as_luck_would_have_it():
    """The first window holds noise and the second the class: trials of a class all get one answer, whichever it is."""
    p = {"renamed": [], "permuted": []}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        label = rng.permutation(np.repeat(np.arange(4), 12)).astype(np.int16)
        values = rng.standard_normal((48, 2, 4))
        values[:, 1] += 6 * rng.permutation(np.eye(4))[label]
        fitted = np.arange(48)[None] % 2 == 0
        orders = [np.arange(48), *(rng.permutation(48) for _ in range(99))]
        read = decode_windows({"rat": Sliding(values, label, fitted, ~fitted, orders)}, "rat", ["rat"], 100, seed)
        for name, null in (("renamed", read.renamed[:, 0, 1]), ("permuted", read.null[:, 0, 1])):
            tied = np.isclose(null, read.matrix[0, 1]).sum() + 1
            p[name].append(((null > read.matrix[0, 1] + 1e-9).sum() + tied * rng.random()) / 100)
    assert kstest(p["renamed"], "uniform").pvalue > 0.01
    assert np.mean(np.array(p["permuted"]) <= 0.05) > 0.1


def test_nothing_is_fitted_on_test_trials():
    windows = windows_of(recorded("sustained"), SampleSpec(label=["odor"]))
    one = follow_features(windows, make_splits(windows, HALVES), 0).animals["rat0"]
    kept = one.scored & (np.arange(len(one.label)) % 2 == 0)
    garbage = one.values.copy()
    garbage[one.scored[0] & ~kept[0]] = 1e3
    before, after = (
        decode_windows({"rat0": one._replace(values=values, scored=kept[:1], fitted=one.fitted[:1])}, "rat0", ["rat0"], 100, 0)
        for values in (one.values, garbage)
    )
    np.testing.assert_array_equal(before.matrix, after.matrix)
    spoiled = one.values.copy()
    spoiled[one.fitted[0]] = np.random.default_rng(0).permutation(spoiled[one.fitted[0]])
    other = decode_windows(
        {"rat0": one._replace(values=spoiled, scored=kept[:1], fitted=one.fitted[:1])}, "rat0", ["rat0"], 100, 0
    )
    assert (other.matrix != before.matrix).any()


def test_latents_that_know_the_labels_of_training_trials_only_are_silent():
    """A model that has memorised its training trials: perfect there, noise on test trials."""
    p = []
    for seed in range(20):
        recordings = recorded("noise", seed, trials=(30,), units=3)
        windows = windows_of(recordings, SampleSpec(label=["odor"]))
        splits = make_splits(windows, SplitSpec(kind="halves"))
        rng = np.random.default_rng(seed)

        def values(node, rng=rng, splits=splits):
            train = splits["rat0"]["part"].to_numpy()[0] == Part.TRAIN
            known = np.where(train, node["label"].to_numpy()[:, 0], rng.integers(0, 3, len(train)))
            return 3 * np.eye(3)[known][:, None] + rng.standard_normal((len(train), BINS, 3))

        followed = follow_latents(latent_paths(windows, values), windows, splits, 39)
        found = decode_windows(followed.animals, "rat0", ["rat0"], 100, 0)
        null = np.einsum("dww->d", found.null)
        p.append((1 + (null >= np.trace(found.matrix) - 1e-9).sum()) / 40)
    assert kstest(np.array(p) - np.random.default_rng(0).random(20) / 40, "uniform").pvalue > 1e-3


def test_latents_stay_on_their_side_and_trials_in_their_block():
    recordings = recorded("noise")
    windows = windows_of(recordings, SampleSpec(label=["odor"]))
    splits = make_splits(windows, HALVES)
    block = recordings["rat0"]["block"].to_numpy()
    paths = ideal(windows, splits)["mmvm"]
    for order in follow_latents(paths, windows, splits, 3, "block").animals["rat0"].orders[1:]:
        part = splits["rat0"]["part"].to_numpy()[0]
        assert np.array_equal(part[order], part)
        assert np.array_equal(block[order], block)
        assert (order != np.arange(len(order))).any()
    for order in follow_features(windows, splits, 3, "block").animals["rat0"].orders[1:]:
        assert np.array_equal(block[order], block)


def test_intervals_hold_the_truth_of_many_trials():
    """Coverage of the mean accuracy after the event, by the accuracy of the same decoders on very many trials."""
    covered = []
    for seed in range(12):
        big = recorded("sustained", seed, trials=(600,), units=6, strength=0.5)
        windows = windows_of(big, SampleSpec(label=["odor"]))
        one = follow_features(windows, make_splits(windows, SplitSpec(kind="halves")), 0).animals["rat0"]
        fitted = np.zeros((1, 600), bool)
        fitted[0, :60] = True
        few, many = np.zeros((2, 1, 600), bool)
        few[0, 60:120], many[0, 120:] = True, True
        late = TIME > 0
        small, large = (
            decode_windows({"rat0": one._replace(fitted=fitted, scored=scored)}, "rat0", ["rat0"], 400, 0)
            for scored in (few, many)
        )
        low, high = np.quantile(small.bootstrap[:, late].mean(axis=1), [0.025, 0.975])
        covered.append(low <= np.diag(large.matrix)[late].mean() <= high)
    assert np.mean(covered) > 0.7
