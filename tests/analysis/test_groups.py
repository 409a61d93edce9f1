from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from neuromvm.analysis.consistency import consistency, groups
from neuromvm.analysis.consistency.group_tests import among, compare, compare_animals, group_members, hedges_g, own_group
from neuromvm.analysis.consistency.groups import Options, compare_groups
from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.figures import style
from neuromvm.analysis.pipeline import options_of
from neuromvm.analysis.scores import Absent, Interval
from neuromvm.errors import RunFolderError, SpecError
from tests.analysis.simulation import shared_latents, simulate, study_of, with_node

YOUNG, AGED = ["rat0", "rat1", "rat2", "rat3"], ["rat4", "rat5", "rat6", "rat7"]
GROUPS = {"young": YOUNG, "aged": AGED}
UNITS = dict.fromkeys([*YOUNG, *AGED], 8)
FAST = decoding.Options(baselines=("raw", "procrustes"), principal_components=4, bootstraps=100, permutations=500)


def in_groups(*, aged_code=True, seed=0):
    """Return a study of two groups; without their code, activity of the aged is carried between trials."""
    plain = simulate(seed, repeats=(8,) * 8, units=(8,) * 8)
    samples, rng = plain.samples, np.random.default_rng(seed)
    for name in [] if aged_code else AGED:
        one = samples[name].to_dataset()
        order = rng.permutation(one.sizes["trial"])
        samples = with_node(samples, name, one.assign(activity=one["activity"].copy(data=one["activity"].values[order])))
    return study_of(samples, plain.splits)


def members_of(first):
    return group_members(np.asarray(first), 10_000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def scores():
    return compare_groups(decoding.compute(in_groups(aged_code=False), FAST), Options(groups=GROUPS), UNITS)


def test_a_group_without_the_code_is_found(scores):
    within = scores.sel(comparison="within")
    assert (within["p"] == pytest.approx(2 / 70)).all()
    assert (within["smallest_p"] == pytest.approx(2 / 70)).all()
    assert (within["low"] > 0.2).all()
    assert (within["hedges_g"] > 2).all()
    aligned = scores.sel(representation="procrustes")
    assert aligned["p"].sel(comparison="among") == pytest.approx(2 / 70)
    block = aligned["block"].isel(matrix=0)
    assert block.sel(source_group="young", target_group="young") > 0.5
    assert block.sel(source_group="aged", target_group="aged") < 0.35
    assert block.sel(source_group="young", target_group="aged") < 0.35
    assert np.isnan(scores["difference"].sel(representation="raw", comparison=["cross", "among"])).all()


def test_groups_alike_are_not_told_apart():
    found = compare_groups(decoding.compute(in_groups(), FAST), Options(groups=GROUPS), UNITS)
    assert (found["p"].sel(representation="procrustes").dropna("comparison") > 2 / 70).all()
    within = found.sel(comparison="within")
    assert (within["low"] < 0).all()
    assert (within["high"] > 0).all()


@pytest.mark.parametrize(("first", "second"), [(4, 4), (3, 6)])
def test_p_values_are_uniform_where_groups_are_alike(first, second):
    rng, label = np.random.default_rng(first), np.array([True] * first + [False] * second)
    members, p = members_of(label), {"animals": [], "among": [], "own group": []}
    for _ in range(300):
        own = rng.standard_normal(len(label))
        pairs = own[:, None] + rng.standard_normal(len(label)) + rng.standard_normal((len(label), len(label)))
        p["animals"].append(compare_animals(own, label, members).p)
        p["among"].append(compare(among(pairs), label, members).p)
        p["own group"].append(compare(own_group(pairs), label, members).p)
    for values in p.values():  # p takes as many values as there are ways, each as often, which is uniform from above
        for level in (0.1, 0.3, 0.5, 0.8):
            attained = np.floor(level * len(members) / 2) * 2 / len(members) if first == second else level
            assert abs(np.mean(np.array(values) <= attained + 1e-9) - attained) < 4 * np.sqrt(
                level * (1 - level) / 300
            ) + 1 / len(members)


def test_the_test_is_that_of_scipy():
    rng = np.random.default_rng(0)
    label = np.array([True] * 4 + [False] * 5)
    values = rng.standard_normal(9) + label
    found = compare_animals(values, label, members_of(label))
    expected = stats.permutation_test(
        (values[label], values[~label]),
        lambda one, other: abs(one.mean() - other.mean()),
        alternative="greater",
        n_resamples=np.inf,
    )
    assert found.p == pytest.approx(expected.pvalue)
    welch = stats.ttest_ind(values[label], values[~label], equal_var=False).confidence_interval()
    np.testing.assert_allclose([found.low, found.high], [welch.low, welch.high])


def test_three_against_three_cannot_be_below_a_tenth():
    label = np.array([True] * 3 + [False] * 3)
    found = compare_animals(np.array([9.0, 8, 9.5, 1, 2, 0]), label, members_of(label))
    assert found.p == found.smallest_p == pytest.approx(0.1)
    alike = compare_animals(np.ones(6), label, members_of(label))
    assert alike.p == 1


def test_many_ways_are_drawn_at_random():
    label = np.array([True] * 10 + [False] * 10)
    members = group_members(label, 999, np.random.default_rng(1))
    assert members.shape == (999, 20)
    assert (members.sum(axis=1) == 10).all()
    found = compare_animals(np.where(label, 5.0, 0) + np.arange(20) * 1e-3, label, members)
    assert found.p == found.smallest_p == pytest.approx(1 / 1000)


def test_the_interval_of_pairs_holds_the_true_difference():
    rng, held, studies = np.random.default_rng(0), 0, 300
    label = np.array([True] * 6 + [False] * 6)
    members = label[None]
    for _ in range(studies):
        pairs = rng.standard_normal((12, 1)) + rng.standard_normal(12) + 0.3 * rng.standard_normal((12, 12))
        found = compare(among(pairs), label, members)
        held += found.low <= 0 <= found.high
    assert abs(held / studies - 0.95) < 4 * np.sqrt(0.95 * 0.05 / studies)


def test_two_animals_a_group_have_no_interval_of_pairs():
    label = np.array([True, True, False, False])
    found = compare(among(np.random.default_rng(0).random((4, 4))), label, members_of(label))
    assert np.isfinite(found.p)
    assert np.isnan(found.low)


def test_the_effect_size_has_no_bias_of_few_animals():
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((4000, 8))
    g = [hedges_g(one[:4] + 1, one[4:]) for one in drawn]
    assert abs(np.mean(g) - 1) < 4 * np.std(g) / np.sqrt(4000)
    assert np.isnan(hedges_g(np.ones(3), np.ones(3)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"young": YOUNG}, r"two groups are compared, not 1 \(young\)"),
        ({"young": YOUNG, "aged": AGED, "old": ["rat9", "rat8"]}, "not 3"),
        ({"young": YOUNG, "aged": ["rat4"]}, "at least 2"),
        ({"young": YOUNG, "aged": ["rat3", "rat4"]}, "rat3 named twice"),
    ],
)
def test_wrong_groups_are_refused_before_anything_is_computed(given, said):
    with pytest.raises(SpecError, match=said):
        options_of("groups", {"groups": given})


def run_of(study, folder, saved):
    (folder / "scores").mkdir(exist_ok=True)
    for name in saved:
        (folder / "scores" / f"{name}.nc").touch()
    return SimpleNamespace(samples=study.samples, path=folder, scores=saved.__getitem__)


def test_an_unknown_animal_and_missing_scores_are_told(tmp_path):
    study = in_groups()
    with pytest.raises(SpecError, match="Did you mean 'rat7'"):
        groups.compute(run_of(study, tmp_path, {}), Options(groups={"young": YOUNG, "aged": ["rat4", "rta7"]}))
    with pytest.raises(RunFolderError, match="neuromvm analyze decoding"):
        groups.compute(run_of(study, tmp_path, {}), Options(groups=GROUPS))
    found = decoding.compute(study, FAST)
    run = run_of(study, tmp_path, {"decoding": found})
    with pytest.raises(SpecError, match="Did you mean 'procrustes'"):
        groups.compute(run, Options(groups=GROUPS, representations=("procustes",)))
    one = groups.compute(run, Options(groups={"a": ["rat5", "rat1"], "b": ["rat0", "rat2"]}, representations=("raw",)))
    assert one["units"].values.tolist() == [8, 8, 8, 8]
    value = found["target_value"].sel(representation="raw", setting="within")
    expected = value.sel(target=["rat1", "rat5"]).mean() - value.sel(target=["rat0", "rat2"]).mean()
    assert one["difference"].sel(comparison="within").item() == pytest.approx(expected.item())


def test_scores_of_fitted_trials_are_not_tested(scores):
    found = decoding.compute(in_groups(), FAST).assign_attrs(in_sample=1)
    lines = groups.summarize(compare_groups(found, Options(groups=GROUPS), UNITS))
    assert all(
        line.in_sample and line.null == Absent(groups.FITTED.removeprefix("none: ")) and line.row()["null_n"] == 0
        for line in lines
    )


def test_summary_says_how_small_p_can_be(scores):
    lines = groups.summarize(scores)
    assert len(lines) == 1 + 4
    assert all("p cannot be below 0.0286" in line.null.kind for line in lines)
    assert {line.setting for line in lines} == {"young - aged", "pairs in a group - pairs of two groups"}
    assert all((line.n.animals, line.null.draws, line.chance) == (8, 69, 0) for line in lines)


def test_consistency_of_groups_is_compared():
    plain = simulate(repeats=(8,) * 8, units=(8,) * 8)
    study = study_of(plain.samples, plain.splits, {"ideal": shared_latents(plain)})
    found = consistency.compute(study, consistency.Options(permutations=99, baselines=(), measures=("dissimilarities",)))
    one = compare_groups(found, Options(groups=GROUPS, analysis="consistency"), UNITS)
    assert one["comparison"].values.tolist() == ["dissimilarities: among", "dissimilarities: own group"]
    assert (one["p"] > 2 / 70 - 1e-9).all()
    assert set(groups.plot(one)) == {"blocks"}
    assert len(groups.summarize(one)) == 2
    assert all(isinstance(line.interval, Interval) for line in groups.summarize(one))


def test_figures_are_drawn_from_saved_scores(scores, tmp_path):
    scores.to_netcdf(tmp_path / "groups.nc", engine="h5netcdf")
    saved = xr.load_dataset(tmp_path / "groups.nc", engine="h5netcdf")
    figures = groups.plot(saved)
    assert set(figures) == {"animals", "blocks"}
    style.save(figures["animals"], saved, tmp_path / "animals")
    assert (tmp_path / "animals.csv").stat().st_size > 0
