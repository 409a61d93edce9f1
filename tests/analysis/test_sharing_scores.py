"""Scores of held-out conditions: intervals, nulls and effects against direct computations."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from neuromvm.analysis.judged import ALL_ANIMALS, ANIMALS, NULL_STATISTICS, TRIALS
from neuromvm.analysis.scores import Absent
from neuromvm.analysis.sharing import sharing
from neuromvm.analysis.sharing.scoring import NO_OTHERS, NO_REFITS, Rows, _resampled, _weights, judge, rows_of
from neuromvm.analysis.sharing.sharing import _over_animals, summarize
from neuromvm.analysis.sharing.table import AMONG, OWN_LABELS
from neuromvm.data.correspondence import CORRESPONDENCE

TARGETS = ["mitt", "stella", "barat"]
ROW_NAMES = ["class_kernel", "own", OWN_LABELS]
VALUE = np.array([[0.7, 0.6, 0.8], [0.5, 0.5, 0.5], [0.9, 0.8, 1.0]])  # (row, target)
CHANCE = np.array([0.5, 0.25])


def labels_of(codes: np.ndarray, unit: np.ndarray | None = None) -> xr.Dataset:
    coords = {"match": ("trial", codes)}
    return xr.Dataset(coords=coords if unit is None else {**coords, "of_trial": ("trial", unit)})


def answers_tree(random: np.random.Generator, splits: int = 2) -> tuple[xr.DataTree, dict[str, np.ndarray]]:
    """Return answers of two rows of two animals, each trial tested in one of the splits, and codes of trials."""
    codes = {name: np.repeat([0, 1, 2, 3], 5) for name in TARGETS[:2]}
    nodes, accuracy = {}, np.full((2, 2, splits, 2), np.nan)
    for column, (name, of_animal) in enumerate(codes.items()):
        correct = np.full((2, 2, splits, len(of_animal)), np.nan)
        for split in range(splits):
            tested = np.isin(of_animal, [2 * split, 2 * split + 1])
            correct[:, :, split, tested] = random.random((2, 2, tested.sum())) < 0.6
            recalls = [np.nanmean(correct[:, :, split][..., of_animal == code], axis=-1) for code in (2 * split, 2 * split + 1)]
            accuracy[:, :, split, column] = np.mean(recalls, axis=0)
        variables = {"correct": (("row", "among", "split", "trial"), correct)}
        nodes[name] = xr.Dataset(variables, {"match": ("trial", of_animal)})
    root = xr.Dataset(
        {
            "accuracy": (("row", "among", "split", "target"), accuracy),
            "chance": (("among", "split", "target"), np.broadcast_to(CHANCE[:, None, None], (2, splits, 2))),
        },
        {"row": ["class_kernel", "own"], "among": list(AMONG), "target": TARGETS[:2]},
    )
    return xr.DataTree.from_dict({"/": root, **nodes}), codes


def rows(draws: int = 400, spread: float = 0.02) -> Rows:
    value = np.concatenate([VALUE.mean(axis=1, keepdims=True), VALUE], axis=1)
    value = np.stack([value, value - 0.2], axis=1)
    random = np.random.default_rng(0)
    of_animals = value[..., 1:] + spread * random.standard_normal((draws, *value[..., 1:].shape))
    drawn = np.concatenate([of_animals.mean(axis=-1, keepdims=True), of_animals], axis=-1)
    return Rows(ROW_NAMES, value, drawn, np.broadcast_to(CHANCE[:, None], (2, 4)))


def refits_of(values: list[float]) -> xr.Dataset:
    """Return null data on which every target and split has the same accuracy."""
    shape = (len(values), 1, 2, 2, 3)
    accuracy = np.broadcast_to(np.array(values)[:, None, None, None, None], shape)
    coords = {"exchange": 1 + np.arange(len(values)), "row": ["class_kernel"], "among": list(AMONG), "target": TARGETS}
    return xr.Dataset({"accuracy": (("exchange", "row", "among", "split", "target"), accuracy)}, coords)


def judged(values: list[float] | None = None) -> xr.Dataset:
    refits = {} if values is None else {"class_kernel": refits_of(values)}
    return judge(rows(), refits, TARGETS, np.array([60, 20, 20, 20]), seed=0)


def test_rows_are_averaged_over_splits_and_resampled_as_by_hand():
    tree, codes = answers_tree(np.random.default_rng(0))
    found = rows_of([tree], bootstraps=50, seed=3)
    assert found.names == ["class_kernel", "own"]
    accuracy = tree["accuracy"].to_numpy().mean(axis=2)
    np.testing.assert_allclose(found.value[..., 1:], accuracy)
    np.testing.assert_allclose(found.value[..., 0], accuracy.mean(axis=-1))
    for number, name in enumerate(codes):
        random, correct = np.random.default_rng([3, number]), tree[name]["correct"].to_numpy()
        counts = {code: random.multinomial(4, np.full(5, 0.2), size=50) for code in range(4)}
        for draw in range(50):
            of_splits = []
            for split in range(2):
                recalls = []
                for code in (2 * split, 2 * split + 1):
                    drawn = np.repeat(np.flatnonzero(codes[name] == code), counts[code][draw])
                    recalls.append(correct[:, :, split][..., drawn].mean(axis=-1))
                of_splits.append(np.mean(recalls, axis=0))
            np.testing.assert_allclose(found.draws[draw, ..., 1 + number], np.mean(of_splits, axis=0))


def test_the_spread_of_draws_is_that_of_the_mean_of_trials():
    codes = np.repeat([0, 1], [12, 20])
    correct = (np.random.default_rng(1).random((1, 2, 1, 32)) < 0.7).astype(float)
    drawn = _resampled(correct, labels_of(codes), 20000, np.random.default_rng(2))[:, 0, 0]
    of_class = [correct[0, 0, 0, codes == code] for code in (0, 1)]
    variance = sum(hits.var(ddof=1) / len(hits) for hits in of_class) / 4
    assert drawn.var() == pytest.approx(variance, rel=0.05)
    assert drawn.mean() == pytest.approx(np.mean([hits.mean() for hits in of_class]), abs=0.005)


def test_windows_of_a_trial_are_resampled_together():
    unit = np.repeat(np.arange(15), 4)
    codes = np.tile([0, 1, 2, 3], 15)
    weight = _weights(codes, unit, 200, np.random.default_rng(0)).reshape(200, 15, 4)
    assert (weight == weight[..., :1]).all()
    assert weight[..., 0].std(axis=1).min() > 0
    np.testing.assert_allclose(weight[..., 0].sum(axis=1), 15)
    # all windows of a trial are right or wrong, so that the trials, not the windows, are the sample
    right = (np.arange(15) % 3 == 0).repeat(4)
    correct = np.broadcast_to(right.astype(float), (1, 2, 1, 60))
    drawn = _resampled(correct, labels_of(codes, unit), 20000, np.random.default_rng(1))[:, 0, 0]
    assert drawn.var() == pytest.approx(right[::4].var(ddof=1) / 15, rel=0.05)


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        ([0.5, 0.6, 0.69, 0.71], 1),
        ([0.5, 0.6, 0.69, np.nan], 1),  # a refit that failed counts as reaching
        ([0.7, 0.7, np.nan, 0.2], 3),  # so does one that is equal
        ([0.1] * 19, 0),
    ],
)
def test_p_counts_the_refits_that_reach_the_score(values, reached):
    scores = judged(values)
    null = scores["null_score"].sel(null=CORRESPONDENCE, representation="class_kernel", setting=AMONG[0], target=ALL_ANIMALS)
    mean, _, _, p = null.to_numpy().tolist()
    assert list(null["null_statistic"].values) == list(NULL_STATISTICS)
    assert p == pytest.approx((reached + 1) / (len(values) + 1))
    assert mean == pytest.approx(np.nanmean(values))
    assert scores["null_draws"].sel(representation="class_kernel").item() == len(values)


def test_rows_without_other_animals_have_no_null_but_a_reason():
    scores = judged([0.5, 0.6])
    absent = {name: set(scores["null_absent"].sel(representation=name).values.ravel().tolist()) for name in ROW_NAMES}
    assert absent == {"class_kernel": {""}, "own": {NO_OTHERS}, OWN_LABELS: {NO_OTHERS}}
    assert np.isnan(scores["null_score"].sel(representation=["own", OWN_LABELS])).all()
    unfitted = judged()["null_absent"].sel(representation="class_kernel").values
    assert set(unfitted.ravel().tolist()) == {NO_REFITS}


def test_the_effect_is_the_share_of_the_ceiling_above_chance():
    effect = judged()["effect"]
    for among, (chance, lower) in zip(AMONG, zip(CHANCE, (0, 0.2), strict=True), strict=True):
        expected = (VALUE[0].mean() - lower - chance) / (VALUE[2].mean() - lower - chance)
        cell = effect.sel(representation="class_kernel", setting=among)
        assert cell.sel(unit_of_inference=TRIALS, statistic="value").item() == pytest.approx(expected)
        low, high = (cell.sel(unit_of_inference=TRIALS, statistic=bound).item() for bound in ("low", "high"))
        # the ratio of independent Gaussians, to first order
        above = VALUE[2].mean() - lower - chance
        deviation = 0.02 / np.sqrt(3) / above * np.sqrt(1 + expected**2)
        assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.2)
    np.testing.assert_allclose(effect.sel(representation=OWN_LABELS, statistic="value"), 1)


def test_differences_are_paired_draw_by_draw():
    drawn = rows()
    common = 0.1 * np.random.default_rng(5).standard_normal((400, 1, 1, 1))
    scores = judge(drawn._replace(draws=drawn.draws + common), {}, TARGETS, np.full(4, 20), seed=0)
    cell = scores["difference"].sel(reference="own", representation="class_kernel", setting=AMONG[0], target=ALL_ANIMALS)
    cell = cell.sel(unit_of_inference=TRIALS)
    assert cell.sel(statistic="value").item() == pytest.approx(0.2)
    assert float(cell.sel(statistic="high") - cell.sel(statistic="low")) < 0.1  # 0.4 if noise in common did not cancel
    assert np.isfinite(scores["difference"].sel(target=ALL_ANIMALS, unit_of_inference=ANIMALS, reference="own")).all()


def test_gains_with_few_labels_have_the_interval_of_a_t_test():
    gains = np.array([0.02, 0.05, -0.01, 0.04])
    interval = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    np.testing.assert_allclose(_over_animals(gains, np.arange(len(gains))), [gains.mean(), interval.low, interval.high])
    assert np.isnan(_over_animals(gains[:1], np.zeros(1))[1:]).all()


def test_lines_say_what_exists_and_why_the_rest_does_not():
    scores = judged([0.5, 0.6, 0.65]).assign_attrs(reference="own", interval="95 %", splits=2)
    lines = {(line.representation, line.setting): line for line in summarize(scores)}
    assert len(lines) == 6
    shared, own = lines["class_kernel", f"among {AMONG[0]}"], lines["own", f"among {AMONG[0]}"]
    assert shared.value == pytest.approx(0.7)
    assert (shared.null.p, shared.null.draws, shared.chance) == (0.25, 3, 0.5)
    assert shared.n.trials == 60
    assert shared.difference.value == pytest.approx(0.2)
    assert own.null == Absent(NO_OTHERS)
    assert isinstance(own.difference, Absent)
    assert sharing.plot(scores.assign_attrs(label="odor")).keys() == {"held_out"}
