"""Held-out conditions: what an animal lacks in each split, and the null in which names of conditions are exchanged."""

from collections import Counter

import numpy as np
import pytest

from neuromvm import schema
from neuromvm.data.correspondence import exchanged, exchanged_splits
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import classes, make_samples, single_windows
from neuromvm.errors import SchemaError, SplitError
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec, SplitSpec
from tests.conftest import tuned_recordings, with_trial_label

ODORS = list("ABCDEFGHIJKL")


def recordings():
    both = tuned_recordings({"mitt": (4, 72), "stella": (3, 60)})
    return with_trial_label(both, "odor", lambda animal: np.resize(ODORS, animal.sizes["trial"]))


def samples_of(**settings):
    return make_samples(recordings(), SampleSpec(**{"label": ["odor"], **settings}))


def held_out(splits, samples, name):
    codes = samples[name]["match"].to_numpy()[:, 0]
    return [set(codes[part == Part.TEST].tolist()) for part in splits[name]["part"].to_numpy()]


def test_no_training_trial_is_of_a_held_out_condition_and_all_its_trials_are_tested():
    samples = samples_of()
    splits = make_splits(samples, SplitSpec(kind="conditions", held_out=3, repeats=2))
    for name, dataset in schema.animals(samples):
        codes = dataset["match"].to_numpy()[:, 0]
        for part, lacking in zip(splits[name]["part"].to_numpy(), held_out(splits, samples, name), strict=True):
            assert len(lacking) == 3
            assert not lacking & set(codes[part == Part.TRAIN].tolist())
            assert (np.isin(codes, list(lacking)) == (part == Part.TEST)).all()
    assert Counter(code for lacking in held_out(splits, samples, "mitt") for code in lacking) == dict.fromkeys(range(12), 2)
    assert held_out(splits, samples, "mitt") != held_out(splits, samples, "stella")


def test_contiguous_conditions_are_runs_along_their_order_that_differ_between_animals():
    samples = samples_of()
    splits = make_splits(samples, SplitSpec(kind="conditions", held_out=4, choice="contiguous", seed=5))
    for name in samples.children:
        assert all(max(lacking) - min(lacking) == 3 for lacking in held_out(splits, samples, name))
    assert held_out(splits, samples, "mitt") != held_out(splits, samples, "stella")


def test_conditions_can_be_held_out_by_a_label_and_a_value_in_each_split():
    def third(animal):
        return np.searchsorted(["E", "I"], animal["odor"].values, side="right")

    samples = make_samples(with_trial_label(recordings(), "third", third), SampleSpec(label=["odor"]))
    splits = make_splits(samples, SplitSpec(kind="conditions", by="third"))
    thirds = [set(range(4)), set(range(4, 8)), set(range(8, 12))]
    assert held_out(splits, samples, "mitt") == thirds
    assert held_out(splits, samples, "stella") == [*thirds[1:], thirds[0]]  # which mitt knows
    # a context: the same odors in two parts of the session
    context = with_trial_label(recordings(), "block", lambda animal: np.arange(animal.sizes["trial"]) // 36)
    by_block = SplitSpec(kind="conditions", by="block", lacking="one_animal")
    with pytest.raises(SplitError, match=r"samples\.match"):
        make_splits(make_samples(context, SampleSpec(label=["odor"])), by_block)
    joined = make_samples(context, SampleSpec(label=["odor"], match=["odor", "block"]))
    splits = make_splits(joined, by_block)
    tested = splits["mitt"]["part"].to_numpy()[0] == Part.TEST
    assert set(joined["mitt"]["block"].to_numpy()[tested]) == {0}
    assert len(set(joined["mitt"]["label"].to_numpy()[tested, 0])) == 12
    with pytest.raises(SplitError, match="one_animal"):  # no animal would know both blocks
        make_splits(joined, SplitSpec(kind="conditions", by="block"))


def test_one_animal_after_the_other_lacks_conditions_that_the_others_have():
    samples = samples_of()
    splits = make_splits(samples, SplitSpec(kind="conditions", held_out=4, lacking="one_animal"))
    tested = np.stack([(node["part"].to_numpy() == Part.TEST).any(axis=1) for node in splits.children.values()])
    assert tested.tolist() == [[True] * 3 + [False] * 3, [False] * 3 + [True] * 3]
    assert (splits["stella"]["part"].to_numpy()[:3] == Part.TRAIN).all()


def test_windows_become_trials_where_conditions_differ_between_the_windows_of_a_trial():
    samples = samples_of(label=["odor", "window"], width=0.5)
    with pytest.raises(SplitError, match="single_windows"):
        make_splits(samples, SplitSpec(kind="conditions"))
    single = single_windows(samples)
    splits = make_splits(single, SplitSpec(kind="conditions", by="window"))
    windows = samples["mitt"].sizes["window"]
    assert splits["mitt"].sizes["split"] == windows > 1
    np.testing.assert_array_equal(single["mitt"]["activity"].to_numpy()[:windows, 0], samples["mitt"]["activity"].to_numpy()[0])
    np.testing.assert_array_equal(single["mitt"]["label"].to_numpy()[:, 0], samples["mitt"]["label"].to_numpy().ravel())
    for part in splits["mitt"]["part"].to_numpy():
        assert len(set(single["mitt"]["window_centre"].to_numpy()[part == Part.TEST])) == 1


@pytest.mark.parametrize("settings", [{"held_out": 11}, {"held_out": 12}])
def test_too_few_conditions_are_refused(settings):
    with pytest.raises(SplitError, match="conditions"):
        make_splits(samples_of(), SplitSpec(kind="conditions", **settings))


def test_exchanged_names_keep_the_trials_of_a_condition_together_and_differ_between_animals():
    samples = samples_of()
    null = exchanged(samples, 3)
    moved = {}
    for name, dataset in schema.animals(samples):
        before, after = dataset["match"].to_numpy()[:, 0], null[name]["match"].to_numpy()[:, 0]
        pairs = set(zip(before.tolist(), after.tolist(), strict=True))
        assert len(pairs) == 12 == len({new for _, new in pairs})
        assert [classes(samples)[code] for code in after] == null[name]["odor"].to_numpy().tolist()
        np.testing.assert_array_equal(null[name]["label"].to_numpy()[:, 0], after)
        np.testing.assert_array_equal(null[name]["activity"].to_numpy(), dataset["activity"].to_numpy())
        moved[name] = dict(pairs)
    assert moved["mitt"] != moved["stella"]
    assert exchanged(samples, 0) is samples


def test_conditions_are_held_out_by_their_exchanged_names():
    samples = samples_of()
    splits = make_splits(samples, SplitSpec(kind="conditions", held_out=3))
    null = exchanged(samples, 5)
    null_splits = exchanged_splits(null, splits)
    assert held_out(null_splits, null, "mitt") == held_out(splits, samples, "mitt")
    assert not np.array_equal(null_splits["mitt"]["part"], splits["mitt"]["part"])
    halves = make_splits(samples, SplitSpec(kind="halves"))
    assert exchanged_splits(null, halves) is halves


def test_names_are_not_exchanged_where_a_condition_has_several_labels():
    labelled = with_trial_label(recordings(), "block", lambda animal: np.arange(animal.sizes["trial"]) // 30)
    with pytest.raises(SchemaError, match="several labels"):
        exchanged(make_samples(labelled, SampleSpec(label=["block"], match=["odor"])), 1)
