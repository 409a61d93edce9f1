"""The table of held-out conditions: answers by hand, and settings and scales that know no label of a held-out condition."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import cdist

from neuromvm.analysis.sharing.few_labels import few_labels_table
from neuromvm.analysis.sharing.fits import Fit
from neuromvm.analysis.sharing.order import coordinates
from neuromvm.analysis.sharing.problem import Labelled, balanced_accuracy, right_trials
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.analysis.sharing.table import AMONG, OWN_LABELS, Problems, Solver, solve_table
from neuromvm.data.splits import make_splits
from neuromvm.schema import Part
from neuromvm.specs import SplitSpec
from tests.analysis.sharing_samples import codes, lacking, with_codes

REGIMES = ("every_animal", "one_animal")


def trials_of(samples: xr.DataTree, splits: xr.DataTree, split: int, name: str, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Return activity ``(trial, unit)`` and codes of an animal's trials of a part."""
    side = splits[name]["part"].to_numpy()[split] == part
    activity = samples[name]["activity"].to_numpy().reshape(len(side), -1).astype(float)
    return activity[side], samples[name]["match"].to_numpy()[side, 0]


def kriged_by_hand(samples: xr.DataTree, splits: xr.DataTree, split: int, target: str, share: float) -> np.ndarray:
    """Return discriminant scores by the formulas of the class kernel; every other animal has all conditions."""
    size = int(samples[target]["match"].max()) + 1
    centre = np.eye(size) - 1 / size
    mean_distance = np.zeros((size, size))
    for name in samples.children:
        if name != target:
            activity, labels = trials_of(samples, splits, split, name, Part.TRAIN)
            groups = [activity[labels == code] for code in range(size)]
            noise = np.array([group.var(axis=0, ddof=1).sum() / len(group) for group in groups])
            distance = cdist(*[[group.mean(axis=0) for group in groups]] * 2, "sqeuclidean") - noise - noise[:, None]
            np.fill_diagonal(distance, 0)
            mean_distance += distance / (distance.sum() / (size * (size - 1)))
    values, vectors = np.linalg.eigh(-0.5 * centre @ mean_distance @ centre)
    kernel = (vectors * np.maximum(values, 0)) @ vectors.T
    kernel *= size / np.trace(kernel)

    activity, labels = trials_of(samples, splits, split, target, Part.TRAIN)
    test, _ = trials_of(samples, splits, split, target, Part.TEST)
    seen = np.unique(labels)
    means = np.array([activity[labels == code].mean(axis=0) for code in seen])
    residuals = activity - means[np.searchsorted(seen, labels)]
    covariance = residuals.T @ residuals / (len(labels) - len(seen))
    covariance = 0.1 * covariance + 0.9 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    white = np.linalg.inv(np.linalg.cholesky(covariance)).T
    means, test = (means - means.mean(axis=0)) @ white, (test - means.mean(axis=0)) @ white
    counts = np.array([(labels == code).sum() for code in seen])

    prior = share * kernel + (1 - share) * size / (size - 1) * centre + 10
    middle = np.eye(len(seen)) - 1 / len(seen)
    excess = ((middle @ means) ** 2).sum() / means.shape[1] - np.trace(middle / counts)
    prior *= excess / np.trace(middle @ prior[np.ix_(seen, seen)])
    expected = prior[:, seen] @ np.linalg.inv(prior[np.ix_(seen, seen)] + np.diag(1 / counts)) @ means
    return test @ expected.T - 0.5 * (expected**2).sum(axis=1)


def test_answers_of_the_class_kernel_are_those_of_its_formulas():
    samples = codes(4, transform="none", scale="none")
    splits = lacking(samples, "one_animal")
    table = solve_table(samples, splits, ["class_kernel"])
    split = next(n for n in range(splits["animal2"].sizes["split"]) if (splits["animal2"]["part"][n] == Part.TEST).any())
    (chosen,) = json.loads(table["settings"].sel(target="animal2").to_numpy()[0, split])
    scores = kriged_by_hand(samples, splits, split, "animal2", chosen["share"])
    _, answers = trials_of(samples, splits, split, "animal2", Part.TEST)
    tested = splits["animal2"]["part"].to_numpy()[split] == Part.TEST
    held_out = np.unique(answers)
    inside = np.where(np.isin(np.arange(6), held_out), scores, -np.inf)
    for among, by_hand in zip(AMONG, (inside, scores), strict=True):
        right = by_hand.argmax(axis=1) == answers
        correct = table["animal2"]["correct"].sel(row="class_kernel", among=among).to_numpy()[split]
        np.testing.assert_array_equal(correct[tested], right)
        assert np.isnan(correct[~tested]).all()
        accuracy = np.mean([right[answers == code].mean() for code in held_out])
        assert table["accuracy"].sel(target="animal2", among=among).to_numpy()[0, split] == pytest.approx(accuracy)
    assert 1 / 6 < accuracy < 1
    np.testing.assert_allclose(table["chance"].sel(target="animal2").to_numpy()[:, split], [1 / 2, 1 / 6])
    others = table["accuracy"].to_numpy()[:, :, split]
    assert np.isnan(others[..., [0, 1, 3]]).all()


def test_settings_are_those_with_the_best_accuracy_of_the_other_targets():
    samples = codes(4, share=0.5)
    splits = lacking(samples, "every_animal")
    problems, row = Problems(samples, splits), ROWS["procrustes_encoding"]
    solver, differing = Solver(problems), 0
    for split in range(problems.splits):
        of_split = problems.of_split(split)
        accuracy = {
            count: {
                name: balanced_accuracy(row.read(posed, components=count), answers, posed.held_out)
                for name, (posed, answers) in of_split.items()
            }
            for count in row.grid["components"]
        }
        for name, solved in solver.solve("procrustes_encoding", row, of_split).items():
            others = {count: np.mean([by_name[o] for o in by_name if o != name]) for count, by_name in accuracy.items()}
            assert others[solved.settings["components"]] == max(others.values())
            differing += solved.settings["components"] != row.grid["components"][0]
    assert differing  # so that a row that keeps its default fails


@pytest.mark.parametrize("animals", [2, 3])
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("name", ["mcca_read", "class_kernel_em"])
def test_no_label_of_a_held_out_condition_reaches_its_answers_or_settings(name, regime, animals):
    samples = codes(animals, share=0.5)
    splits = lacking(samples, regime)

    def solved(of_samples: xr.DataTree, split: int):
        problems = Problems(of_samples, splits)
        solver = Solver(problems)
        for number in range(split + 1):  # in order, since settings may be remembered
            answers = solver.solve(name, ROWS[name], problems.of_split(number))
        return answers

    random, moved = np.random.default_rng(1), False
    for split in range(3):
        truth = solved(samples, split)
        target = next(iter(truth))
        tested = splits[target]["part"].to_numpy()[split] == Part.TEST
        for _ in range(2):
            renamed = samples[target]["match"].to_numpy()[:, 0].copy()
            renamed[tested] = random.permutation(renamed[tested])
            changed = solved(with_codes(samples, target, renamed), split)
            assert changed[target].settings == truth[target].settings
            np.testing.assert_allclose(changed[target].scores, truth[target].scores, rtol=1e-9, atol=1e-9)
            moved |= any(changed[other].settings != truth[other].settings for other in truth)
    if regime == "every_animal" and name == "mcca_read":
        assert moved  # labels were changed that do matter to the other targets


@pytest.mark.parametrize("scale", ["zscore", "noise"])
def test_scaling_does_not_see_held_out_trials(scale):
    samples = codes(scale=scale, clip=None) if scale == "noise" else codes(scale=scale)
    splits = lacking(samples, "every_animal")
    tested = splits["animal1"]["part"].to_numpy()[0] == Part.TEST
    nodes = {name: node.to_dataset() for name, node in samples.children.items()}
    louder = nodes["animal1"]["activity"].to_numpy().copy()
    louder[tested] = 50 * louder[tested] + 7
    nodes["animal1"] = nodes["animal1"].assign(activity=nodes["animal1"]["activity"].copy(data=louder))
    changed = xr.DataTree.from_dict({"/": samples.to_dataset(), **nodes})
    before, after = (Problems(tree, splits).of_split(0) for tree in (samples, changed))
    for target in before:
        for name in before:
            np.testing.assert_array_equal(
                after[target].problem.labelled[name].features, before[target].problem.labelled[name].features
            )
    assert not np.allclose(after["animal1"].problem.test, before["animal1"].problem.test)


@pytest.mark.parametrize("animals", [2, 3])
def test_settings_with_few_labels_know_no_label_of_a_test_trial(animals):
    samples = codes(animals, share=0.5)
    splits = make_splits(samples, SplitSpec(kind="halves", repeats=2))
    truth = few_labels_table(samples, splits, [2, 99], ["own", "class_kernel"])
    assert truth["trials"].values.tolist() == [2]
    assert truth["accuracy"].shape == (2, 1, 2, animals)
    random = np.random.default_rng(0)
    tested = splits["animal0"]["part"].to_numpy()[1] == Part.TEST
    for _ in range(6):
        renamed = samples["animal0"]["match"].to_numpy()[:, 0].copy()
        renamed[tested] = random.permutation(renamed[tested])
        changed = few_labels_table(with_codes(samples, "animal0", renamed), splits, [2], ["class_kernel"])
        chosen = [
            json.loads(str(table["settings"].sel(row="class_kernel", trials=2, target="animal0").item()))
            for table in (truth, changed)
        ]
        assert chosen[0][-1] == chosen[1][-1]


def test_rows_of_an_order_need_an_order():
    assert coordinates(["c00", "c01", "c05"]).tolist() == [[0.0], [1.0], [2.0]]
    assert coordinates(["A", "B", "C"]) is None
    samples = codes()
    assert "order_kernel" in solve_table(samples, lacking(samples, "every_animal"), ["order_kernel"])["row"].values
    letters = {name: node.to_dataset() for name, node in samples.children.items()}
    for dataset in letters.values():
        dataset["match"].attrs["classes"] = json.dumps(list("ABCDEF"))
    unordered = xr.DataTree.from_dict({"/": samples.to_dataset(), **letters})
    table = solve_table(unordered, lacking(samples, "every_animal"), ["order_kernel", "class_kernel", OWN_LABELS])
    assert table["row"].values.tolist() == ["class_kernel", OWN_LABELS]


def test_a_trial_without_a_finite_score_is_wrong():
    scores = np.array([[-np.inf, -np.inf, -np.inf], [0.0, 2.0, 1.0], [3.0, 0.0, 1.0]])
    assert right_trials(scores, np.array([0, 1, 2]), None).tolist() == [False, True, False]
    assert right_trials(scores, np.array([0, 1, 2]), np.array([1, 2])).tolist() == [False, True, True]


def fits_of(samples: xr.DataTree, splits: xr.DataTree, good: dict[int, bool]) -> dict[int, list[Fit]]:
    """Return fits that know the true condition means and separate conditions in splits that are good, and noise in others."""
    random, size = np.random.default_rng(3), int(samples["animal0"]["match"].max()) + 1

    def latents(labels: np.ndarray, useful: bool) -> np.ndarray:
        return useful * np.eye(size)[labels] + 0.1 * random.standard_normal((len(labels), size))

    fits = {}
    for split, useful in good.items():
        predicted, labelled, test, means = {}, {}, {}, {}
        for name in samples.children:
            seen, seen_codes = trials_of(samples, splits, split, name, Part.TRAIN)
            held_out, held_out_codes = trials_of(samples, splits, split, name, Part.TEST)
            activity, labels = np.concatenate([seen, held_out]), np.concatenate([seen_codes, held_out_codes])
            true = np.array([activity[labels == code].mean(axis=0) for code in range(size)])
            predicted[name] = true if useful else random.standard_normal(true.shape)
            labelled[name] = Labelled(latents(seen_codes, useful), seen_codes)
            test[name] = latents(held_out_codes, useful)
            means[name] = [latents(np.arange(size), useful) for _ in range(len(samples.children) - 1)]
        fits[split] = [Fit(predicted, means, labelled, test)]
    return fits


@pytest.mark.parametrize("regime", REGIMES)
def test_a_model_is_chosen_in_each_split_among_those_fitted_there(regime):
    samples = codes({"every_animal": 5, "one_animal": 3}[regime], transform="none", scale="none")
    splits = lacking(samples, regime)
    numbers = range(splits["animal0"].sizes["split"])
    even = fits_of(samples, splits, {split: split % 2 == 0 for split in numbers})
    odd = fits_of(samples, splits, {split: split % 2 == 1 for split in numbers})
    table = solve_table(samples, splits, [], {"group": {"even": even, "odd": odd}})
    for row in ("group_imputed", "group_read", "group_imputed_em"):
        for split in numbers:
            for settings in table["settings"].sel(row=row).to_numpy()[split]:
                if settings:
                    assert json.loads(settings)[0]["model"] == ("even", "odd")[split % 2], row
    assert float(table["accuracy"].sel(row=["group_imputed", "group_read"], among=AMONG[0]).min()) > 0.8
