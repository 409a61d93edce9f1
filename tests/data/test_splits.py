"""Splits: classes on both sides, trials never on two, and refusals with a way out."""

from typing import get_args

import numpy as np
import pytest

from neuromvm import schema
from neuromvm.data.splits import SPLIT_KINDS, few_trials, make_splits, trial_strata
from neuromvm.data.windows import make_samples
from neuromvm.errors import SpecError, SplitError
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec, SplitSpec
from tests.conftest import tuned_recordings, with_trial_label

KINDS = get_args(SplitSpec.model_fields["kind"].annotation)
OTHER_KINDS = [kind for kind in KINDS if kind != "published"]


def samples_of(animals=None, **settings):
    recordings = tuned_recordings(animals or {"mitt": (4, 60), "stella": (3, 45)})
    return make_samples(recordings, SampleSpec(label=["odor"], **settings))


def sorted_samples():
    recordings = tuned_recordings({"mitt": (4, 30), "stella": (3, 30)})
    recordings = with_trial_label(recordings, "odor", lambda animal: np.sort(animal["odor"].values))
    return make_samples(recordings, SampleSpec(label=["odor"]))


def test_every_kind_that_a_spec_can_name_is_in_the_table():
    assert set(SPLIT_KINDS) == set(KINDS)


@pytest.mark.parametrize("kind", ["halves", "kfold", "chronological", "blocks"])
@pytest.mark.parametrize("validation", [0.0, 0.25])
def test_every_class_trains_and_tests_in_every_split(kind, validation):
    samples = samples_of()
    splits = make_splits(samples, SplitSpec(kind=kind, folds=3, repeats=2, validation=validation))
    for name, dataset in schema.animals(samples):
        strata = trial_strata(dataset)
        for part in splits[name]["part"].values:
            assert set(strata[part == Part.TRAIN]) == set(strata[part == Part.TEST]) == {0, 1, 2}
            assert (part == Part.VALIDATION).any() == (validation > 0)


def test_folds_test_every_trial_once_and_halves_are_halves():
    samples = samples_of()
    folds = make_splits(samples, SplitSpec(kind="kfold", folds=5))["mitt"]["part"].values
    assert ((folds == Part.TEST).sum(0) == 1).all()
    halves = make_splits(samples, SplitSpec(kind="halves", repeats=3))["mitt"]["part"].values
    assert ((halves == Part.TEST).sum(1) == 30).all()
    assert not np.array_equal(halves[0], halves[1])


def test_an_animals_split_does_not_depend_on_the_others():
    both, alone = samples_of(), samples_of({"mitt": (4, 60)})
    spec = SplitSpec(repeats=2, validation=0.2)
    np.testing.assert_array_equal(make_splits(both, spec)["mitt"]["part"], make_splits(alone, spec)["mitt"]["part"])


def test_a_chronological_split_tests_on_later_trials():
    part = make_splits(samples_of(), SplitSpec(kind="chronological", train_share=0.6))["mitt"]["part"].values[0]
    assert np.flatnonzero(part == Part.TRAIN).max() < np.flatnonzero(part == Part.TEST).min()
    assert (part == Part.TRAIN).sum() == 36


@pytest.mark.parametrize("kind", ["chronological", "blocks"])
def test_a_split_by_time_of_trials_sorted_by_label_is_refused(kind):
    with pytest.raises(SplitError, match=r"sorted by label.*halves or kfold"):
        make_splits(sorted_samples(), SplitSpec(kind=kind, folds=3))


def test_stratified_halves_of_sorted_trials_are_allowed():
    assert make_splits(sorted_samples(), SplitSpec())["mitt"]["part"].shape == (1, 30)


def test_named_blocks_are_kept_together():
    days = ["mon", "tue", "wed"]
    samples = with_trial_label(samples_of(), "day", lambda animal: np.repeat(days, animal.sizes["trial"] // 3))
    splits = make_splits(samples, SplitSpec(kind="blocks", block="day", folds=3))
    part = splits["mitt"]["part"].values
    assert all(len(set(part[number][samples["mitt"]["day"].values == day])) == 1 for number in range(3) for day in ("mon", "tue"))
    with pytest.raises(SplitError, match=r"split\.folds=3"):
        make_splits(samples, SplitSpec(kind="blocks", block="day", folds=2))


def test_leaving_one_animal_out_tests_all_its_trials_once():
    splits = make_splits(samples_of(), SplitSpec(kind="leave_one_animal_out"))
    assert (splits["mitt"]["part"].values == [[Part.TEST] * 60, [Part.TRAIN] * 60]).all()
    assert (splits["stella"]["part"].values[1] == Part.TEST).all()


def test_the_published_split_trains_and_tests_on_the_same_trials_as_many_as_the_smallest_animal_has():
    samples = samples_of({"mitt": (4, 60), "stella": (3, 45)}, start=0, stop=1, width=0.5, step=0.1)
    splits = make_splits(samples, SplitSpec(kind="published"))
    fewest = np.bincount(trial_strata(samples["stella"].to_dataset()))
    for name, dataset in schema.animals(samples):
        strata, part = trial_strata(dataset), splits[name]["part"].values
        assert part.shape == (1, dataset.sizes["trial"])
        assert set(part[0]) <= {Part.UNUSED, Part.TRAIN_AND_TEST}
        for odor, count in enumerate(fewest):
            used = part[0][strata == odor] == Part.TRAIN_AND_TEST
            assert used[:count].all()
            assert not used[count:].any()
    with pytest.raises(SplitError, match=r"trials that train and test\. Expected each on one side"):
        few_trials(samples, splits, "mitt", per_class=2)


@pytest.mark.parametrize("settings", [{"validation": 0.2}, {"repeats": 2}])
def test_the_published_split_is_one(settings):
    with pytest.raises(SpecError, match="the published split is one"):
        SplitSpec(kind="published", **settings)


@pytest.mark.parametrize("kind", [kind for kind in OTHER_KINDS if kind != "conditions"])
def test_no_other_split_may_test_on_training_trials(kind, monkeypatch):
    samples = samples_of()
    parts = make_splits(samples, SplitSpec(kind=kind))
    for node in parts.children.values():
        assert not (schema.is_fitted(node["part"]) & schema.is_scored(node["part"])).any()
    monkeypatch.setitem(SPLIT_KINDS, kind, SPLIT_KINDS[kind]._replace(divide=SPLIT_KINDS["published"].divide))
    with pytest.raises(SplitError, match=rf"split\.kind={kind}, animal mitt: trials that train and test"):
        make_splits(samples, SplitSpec(kind=kind))


def test_too_few_trials_of_a_class_are_refused_by_name():
    samples = samples_of({"mitt": (4, 60), "stella": (3, 7)})
    with pytest.raises(SplitError, match="animal stella: 2 trials of class 'B'"):
        make_splits(samples, SplitSpec(kind="kfold", folds=5))
    with pytest.raises(SplitError, match=r"split\.validation=0"):
        make_splits(samples, SplitSpec(kind="halves", validation=0.2))


@pytest.mark.parametrize(
    ("kind", "more", "fewest"),
    [
        ("halves", {}, 2),
        ("halves", {"validation": 0.25}, 8),
        ("kfold", {"folds": 4}, 4),
        ("kfold", {"folds": 3, "validation": 0.5}, 3),
        ("blocks", {"folds": 2}, 2),
        ("chronological", {}, 2),
    ],
)
def test_a_class_that_is_too_rare_in_one_animal_is_left_out_there(kind, more, fewest, caplog):
    spec = SplitSpec(kind=kind, **more)
    for number in (fewest - 1, fewest):

        def odors(animal, number=number):
            names = np.tile(["A", "B"], animal.sizes["trial"] // 2 + 1)[: animal.sizes["trial"]].astype("<U1")
            rare = 20 if animal.sizes["unit"] == 4 else number
            names[np.linspace(0, len(names) - 1, rare).astype(int)] = "C"
            return names

        recordings = with_trial_label(tuned_recordings({"mitt": (4, 60), "stella": (3, 60)}), "odor", odors)
        samples = make_samples(recordings, SampleSpec(label=["odor"]))
        splits = make_splits(samples, spec)
        rare = samples["stella"]["label"].values[:, 0] == 2
        parts = splits["stella"]["part"].values
        assert rare.sum() == number
        assert (parts[:, rare] == Part.UNUSED).all() == (number < fewest)
        assert (parts[:, ~rare] != Part.UNUSED).all()
        assert (splits["mitt"]["part"].values != Part.UNUSED).all()
        lines = schema.dropped(splits["stella"].to_dataset())
        expected = [schema.Dropped("trials", "class C is too rare in this animal for the split", number)]
        assert lines == (expected if number < fewest else [])
    assert f"left out in it (trials: C {fewest - 1})" in caplog.text


def test_all_windows_of_a_trial_are_on_its_side():
    samples = samples_of(start=0, stop=1, width=0.5, step=0.1)
    splits = make_splits(samples, SplitSpec())
    assert splits["mitt"]["part"].dims == ("split", "trial")


@pytest.mark.parametrize("per_class", [2, None])
def test_few_trials_are_drawn_from_training_and_validation_trials(per_class):
    samples = samples_of()
    splits = make_splits(samples, SplitSpec(repeats=2, validation=0.25))
    reduced = few_trials(samples, splits, "mitt", per_class)
    assert reduced["stella"].identical(splits["stella"])
    strata = trial_strata(samples["mitt"].to_dataset())
    for before, after in zip(splits["mitt"]["part"].values, reduced["mitt"]["part"].values, strict=True):
        side = (before == Part.TRAIN) | (before == Part.VALIDATION)
        np.testing.assert_array_equal(after[~side], before[~side])
        assert set(after[side]) <= {Part.TRAIN, Part.UNUSED}
        expected = np.bincount(strata[side]) if per_class is None else [per_class] * 3
        np.testing.assert_array_equal(np.bincount(strata[after == Part.TRAIN]), expected)
