"""Rows read shared codes of conditions without a label, and private codes at chance; settings are chosen on other animals."""

import dataclasses

import numpy as np
import pytest

from neuromvm.analysis.sharing.problem import Labelled, Problem, balanced_accuracy
from neuromvm.analysis.sharing.rows import ROWS, Row, ceiling
from neuromvm.analysis.sharing.tuning import choose, pseudo_few, pseudo_targets
from neuromvm.errors import SpecError
from tests.analysis.sharing_problems import CLASSES, animals, problem

TESTED = [name for name in ROWS if not name.startswith("cebra")]  # test_cebra.py tests its reading
OTHERS = [name for name in TESTED if ROWS[name].uses_others]
PLACES = np.arange(CLASSES)[:, None] / 2.0
SETTINGS = {"components": 3}


def settings(row: Row) -> dict:
    return {name: SETTINGS.get(name, values[0]) for name, values in row.grid.items()}


def accuracies(name: str, sets: int, *, shared: bool, seed: int, **options) -> np.ndarray:
    rng, values = np.random.default_rng(seed), []
    for _ in range(sets):
        held_out = tuple(int(code) for code in np.sort(rng.permutation(CLASSES)[:3]))
        posed, hidden = problem(animals(rng, shared=shared, **options), "b", held_out)
        scores = ROWS[name].read(posed, **settings(ROWS[name]))
        values.append(balanced_accuracy(scores, hidden.answers, among=posed.held_out))
    return np.array(values)


@pytest.mark.parametrize("name", OTHERS)
def test_shared_codes_are_read_far_above_chance(name):
    assert accuracies(name, 8, shared=True, seed=1).mean() > 0.6


@pytest.mark.parametrize("name", OTHERS)
def test_private_codes_are_read_at_chance(name):
    values = accuracies(name, 40, shared=False, seed=2)
    assert abs(values.mean() - 1 / 3) < 3.5 * values.std() / np.sqrt(len(values))


def test_unlabelled_trials_improve_the_expected_accuracy():
    options = {"shared": True, "seed": 3, "signal": 0.7, "names": "abc"}
    gain = accuracies("class_kernel_em", 40, **options) - accuracies("class_kernel", 40, **options)
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))


def test_order_is_read_without_other_animals():
    rng = np.random.default_rng(4)
    smooth = np.linalg.cholesky(np.exp(-np.square(PLACES - PLACES.T) / 2) + 1e-6 * np.eye(CLASSES))
    values = {"order_kernel": [], "order_kernel_em": []}
    for _ in range(10):
        codes = np.repeat(np.arange(CLASSES), 8)
        trials = (smooth @ rng.standard_normal((CLASSES, 25)))[codes] + rng.standard_normal((80, 25))
        posed, hidden = problem({"a": Labelled(trials, codes)}, "a", (1, 4, 8), PLACES)
        for name, scores in values.items():
            read = ROWS[name].read(posed, share=0.9, length=1.0)
            scores.append(balanced_accuracy(read, hidden.answers, among=posed.held_out))
    assert min(np.mean(scores) for scores in values.values()) > 0.8
    with pytest.raises(SpecError, match="coordinates"):
        ROWS["order_kernel"].read(problem(animals(rng, shared=True), "b", (1, 4))[0], share=0.9, length=1.0)


def uneven(names: str) -> Problem:
    """Pose a problem with unequal counts, a condition of one other animal alone, and one (9) that no animal has."""
    labelled = animals(np.random.default_rng(5), shared=True, names=names)
    for number, name in enumerate(names):
        codes = labelled[name].codes
        kept = (codes != 9) & ((codes != 2) | (name == "a")) & ((np.arange(len(codes)) % 8 < 3 + number) | (codes % 2 == 0))
        labelled[name] = Labelled(labelled[name].features[kept], codes[kept])
    posed, _ = problem(labelled, "b", (4, 7))
    return Problem(posed.target, posed.labelled, posed.test, np.array([2, 4, 7, 9]), CLASSES, PLACES)


@pytest.mark.parametrize("names", ["ab", "abcd"])
@pytest.mark.parametrize("name", TESTED)
def test_every_row_scores_the_classes_that_it_can_read(name, names):
    posed, row = uneven(names), ROWS[name]
    scores = row.read(posed, **settings(row))
    assert scores.shape == (len(posed.test), CLASSES)
    finite = np.isfinite(scores)
    assert (finite == finite[0]).all()
    assert not np.isnan(scores).any()
    unread = {"own": {2, 4, 7, 9}, "own_em": {2, 4, 7, 9}, "order_kernel": set(), "order_kernel_em": set()}.get(name, {9})
    assert set(np.flatnonzero(~finite[0])) == unread


@pytest.mark.parametrize("name", ["mcca_read", "procrustes_read", "procrustes_encoding", "hyperalignment_read"])
def test_animals_without_a_condition_in_common_are_not_aligned(name):
    labelled = animals(np.random.default_rng(14), shared=True)
    hidden = labelled["b"].hold_out((1, 4, 7))
    others = {other: labelled[other].hold_out((0, 2, 3, 5, 6, 8, 9)).seen for other in "acd"}
    posed = Problem("b", others | {"b": hidden.seen}, hidden.test, np.array([1, 4, 7]), CLASSES)
    scores = ROWS[name].read(posed, **settings(ROWS[name]))
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("name", TESTED)
def test_only_transductive_rows_depend_on_other_test_trials(name):
    posed, _ = problem(animals(np.random.default_rng(6), shared=True), "b", (1, 4, 7), PLACES)
    if name.startswith("own"):
        hidden = posed.labelled["a"].keep(3, 0)
        posed = Problem("a", {"a": hidden.seen}, hidden.test, np.arange(CLASSES), CLASSES)
    row, half = ROWS[name], posed.test[::2]
    part = Problem(posed.target, posed.labelled, half, posed.held_out, posed.classes, posed.coordinates)
    whole, alone = row.read(posed, **settings(row))[::2], row.read(part, **settings(row))
    assert np.allclose(whole, alone, rtol=1e-9, atol=1e-9) != row.transductive


def test_ceiling_reads_each_trial_without_its_label():
    posed, hidden = problem(animals(np.random.default_rng(7), shared=True), "b", (1, 4, 7))
    assert balanced_accuracy(ceiling(posed, hidden.answers), hidden.answers, among=posed.held_out) > 0.8
    rng, values = np.random.default_rng(8), []
    for _ in range(60):
        mixed = dataclasses.replace(posed, test=rng.permutation(posed.test))
        values.append(balanced_accuracy(ceiling(mixed, hidden.answers), hidden.answers, among=posed.held_out))
    assert abs(np.mean(values) - 1 / 3) < 3 * np.std(values) / np.sqrt(60)


def test_few_labelled_trials_gain_from_a_shared_geometry():
    rng, gain = np.random.default_rng(9), []
    for _ in range(15):
        labelled = animals(rng, shared=True, signal=0.5)
        hidden = labelled["b"].keep(2, 0)
        posed = Problem("b", labelled | {"b": hidden.seen}, hidden.test, np.arange(CLASSES), CLASSES)
        read = (ROWS["class_kernel"].read(posed, share=0.9), ROWS["own"].read(posed))
        gain.append(np.subtract(*(balanced_accuracy(scores, hidden.answers) for scores in read)))
    assert np.mean(gain) > 3 * np.std(gain) / np.sqrt(len(gain))


def test_labels_are_taken_away():
    animal = animals(np.random.default_rng(10), shared=True)["a"]
    hidden = animal.hold_out((3, 5))
    assert animal.hold_out((3, 5)) is hidden
    assert set(hidden.answers) == {3, 5}
    assert not np.isin(hidden.seen.codes, [3, 5]).any()
    np.testing.assert_array_equal(hidden.test, animal.features[np.isin(animal.codes, [3, 5])])
    few = animal.keep(2, 0)
    assert (few.seen.counts == 2).all()
    assert len(few.seen.codes) + len(few.answers) == len(animal.codes)
    assert (animal.keep(99, 0).seen.counts == 7).all()


def test_pseudo_targets_use_no_trial_of_the_target():
    labelled = animals(np.random.default_rng(11), shared=True)
    posed, _ = problem(labelled, "b", (1, 4, 7))
    pseudo = pseudo_targets(posed, [(0, 1, 2), (5, 6, 7)]) + pseudo_few(posed, 2, 3)
    assert [trials.problem.target for trials in pseudo] == ["a", "a", "c", "c", "d", "d", *"aaacccddd"]
    for made, answers in pseudo:
        assert "b" not in made.labelled
        assert set(answers) == set(made.held_out)
        assert len(made.test) == len(answers)
    assert not np.isin(pseudo[0].problem.seen.codes, (0, 1, 2)).any()


def test_pseudo_target_of_two_animals_lacks_what_the_target_can_show():
    posed, _ = problem(animals(np.random.default_rng(12), shared=True, names="ab"), "b", (1, 4, 7))
    (made,) = pseudo_targets(posed, [(1, 2, 3), (1, 2, 4)])
    assert made.problem.labelled["b"] is posed.seen
    assert made.problem.held_out.tolist() == [2, 3]


def test_settings_with_the_highest_accuracy_are_chosen_and_of_equals_the_first():
    posed, _ = problem(animals(np.random.default_rng(13), shared=True), "b", (1, 4, 7))
    pseudo = pseudo_targets(posed, [(0, 5, 8), (2, 3, 6)])
    grid = {"noise": (9.0, 0.0, 1e-9)}

    def read(made, *, noise):
        rng = np.random.default_rng(0)
        scores = ROWS["class_kernel"].read(made, share=0.9)
        return scores * (noise < 1) + noise * rng.standard_normal(scores.shape)

    choice = choose(Row(read, grid, False, True, ""), pseudo)
    assert choice.settings == {"noise": 0.0}
    assert choice.accuracy[1] == choice.accuracy[2] > choice.accuracy[0]
    assert choose(ROWS["own"], pseudo).settings == {}
    assert choose(ROWS["class_kernel"], []).settings == {"share": ROWS["class_kernel"].grid["share"][0]}
