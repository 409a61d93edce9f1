import itertools
import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest

from neuromvm.analysis.consistency import consistency
from neuromvm.analysis.consistency.between_animals import OWN_NULL, scored_pairs
from neuromvm.analysis.consistency.class_means import layout_of
from neuromvm.analysis.consistency.consistency import Options, compare_animals
from neuromvm.analysis.consistency.left_out_units import UnitProducts, influence_order
from neuromvm.analysis.figures import style
from neuromvm.analysis.readouts.representations import Inputs, Latents, RawFeatures
from neuromvm.data.splits import make_splits
from neuromvm.errors import SchemaError, SpecError, SplitError
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec, SplitSpec
from tests.analysis.latents_of_classes import FAST, compared, latents_of
from tests.analysis.simulation import shared_latents, simulate, study_of


@pytest.fixture(scope="module")
def study():
    plain = simulate(repeats=(10, 12, 14), windows=2)
    return study_of(plain.samples, plain.splits, {"ideal": shared_latents(plain, seeds=2)})


@pytest.fixture(scope="module")
def scores(study):
    return consistency.compute(study, FAST)


@pytest.mark.parametrize("dimensions", [3, 32])
def test_what_animals_share_is_found_in_few_and_in_many_dimensions(dimensions):
    found = compared("shared", dimensions, noise=0.7)
    assert (found["p"] <= 0.03).all()
    for measure, null in OWN_NULL.items():
        assert 0.5 < found["calibrated"].sel(measure=measure, null=null) < 1.4  # a ceiling is estimated, too


@pytest.mark.slow
def test_calibrated_consistency_is_comparable_between_dimensions():
    few, many = ([compared("shared", dimensions, seed, noise=0.7) for seed in range(10)] for dimensions in (3, 32))
    few, many = (xr.concat(each, "seed").mean("seed") for each in (few, many))
    raw = np.abs(few["value"] - many["value"]).sel(measure="linear map")
    assert raw > 0.25
    for measure, null in OWN_NULL.items():
        one, other = (float(each["calibrated"].sel(measure=measure, null=null)) for each in (few, many))
        assert one == pytest.approx(other, abs=0.25)
    across = [each["in_sample_r2"].where(each["source"] != each["target"]).mean() for each in (few, many)]
    assert across[1] > across[0]


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [3, 32])
def test_noise_is_calibrated_to_zero_and_its_p_is_uniform_in_any_dimension(dimensions):
    every = [compared("noise", dimensions, seed, labels=6, trials=8) for seed in range(100, 180)]
    found = xr.concat(every, "seed")
    for measure in found["measure"].values:
        for null in found["null"].values:
            one = found.sel(measure=measure, null=null)
            assert kstest(one["p"], "uniform").pvalue > 0.01 / found["p"].isel(seed=0).size
            assert abs(one["calibrated"].mean()) < 4 * one["calibrated"].std() / np.sqrt(80)
    if dimensions == 32:
        assert found["in_sample_r2"].mean() > 0.99  # where R2 in-sample is perfect


@pytest.mark.slow
def test_animals_that_encode_other_geometries_are_not_alike():
    """A linear map carries any conditions to any others: under the null of trials it is 'consistent' with nothing alike."""
    every = xr.concat([compared("own", 3, seed, labels=6, trials=8) for seed in range(1000, 1080)], "seed")
    for measure in every["measure"].values:
        assert kstest(every["p"].sel(measure=measure, null="conditions"), "uniform").pvalue > 0.01
    assert (every["p"].sel(measure="linear map", null="trials") <= 0.05).mean() > 0.8


def test_noise_stays_at_the_floor():
    found = compared("noise", 32, 3)
    assert (found["p"] > 0.03).all()
    assert (np.abs(found["calibrated"]) < 0.4).all()
    assert (found["reach"] == 1).all()  # nothing is reliable: no ceiling to divide by


def test_the_ceiling_is_what_a_twin_reaches():
    """Two animals that differ by noise alone: the most consistent that animals can be."""
    means = {}
    for dimensions in (3, 32):
        every = [compared("shared", dimensions, seed, animals=2, labels=12, noise=0.5) for seed in range(6)]
        means[dimensions] = xr.concat(every, "seed").mean("seed")
        correlations = means[dimensions].sel(measure=["dissimilarities", "cka"])
        np.testing.assert_allclose(correlations["value"] / correlations["ceiling"], 1, atol=0.1)


def test_labels_that_change_within_trials_are_conditions_without_windows():
    samples = latents_of("shared", 3, labels=6, trials=12)[0]
    nodes = {}
    for name, node in samples.children.items():
        one = node.to_dataset().isel(window=[0, 0, 0]).assign_coords(window=np.arange(3.0))
        place = (np.arange(3) + np.arange(one.sizes["trial"])[:, None] % 2 * 3).astype(np.int16)
        nodes[name] = one.assign(label=(("trial", "window"), place), match=(("trial", "window"), place))
    track = xr.DataTree.from_dict(nodes)
    track.attrs = samples.attrs
    parts = make_splits(track, SplitSpec(kind="halves"))
    layout = layout_of(track, parts)
    assert (layout.windows, len(layout.groups)) == (1, 6)
    means = np.random.default_rng(0).standard_normal((6, 4))
    tree = {
        name: xr.Dataset(
            {"latent_mean": (("replica", "trial", "window", "latent"), means[node["label"].values][None])},
            coords={"split": ("replica", [0])},
        )
        for name, node in track.children.items()
    }
    found = compare_animals(track, parts, {"model": Latents(xr.DataTree.from_dict(tree), parts, inverse_penalty=1.0)}, FAST)
    np.testing.assert_allclose(found["value"].sel(measure=["dissimilarities", "cka"]), 1)
    np.testing.assert_allclose(found["distance"], 0, atol=1e-6)
    assert (found["p"].sel(measure="cka") == 0.01).all()


def test_shared_latents_of_a_run_are_consistent(study, scores):
    ideal = scores.sel(representation="ideal")
    assert (ideal["p"].sel(measure="linear map") == 0.01).all()
    assert scores.attrs["conditions"] == 8
    assert scores["features"].sel(representation="raw").values.tolist() == [8, 10, 12]
    assert (ideal["ceiling"] > 0.8).all()
    for name, node in study.splits.children.items():
        assert scores["trials"].sel(source=name) == (node["part"] == 3).any("split").sum()
    value = scores["pair_value"].mean(("source", "target"))
    np.testing.assert_allclose(value, scores["value"], atol=1e-9)
    assert np.isnan(scores["pair_value"].values[..., np.eye(3, dtype=bool)]).all()


def test_distances_are_symmetric_and_obey_the_triangle(scores):
    for key, dims in (("distance", ("source", "target")), ("model_distance", ("representation", "reference"))):
        for values in scores[key].transpose(..., *dims).values.reshape(-1, 3, 3):
            np.testing.assert_allclose(values, values.T, atol=1e-9)
            np.testing.assert_allclose(np.diag(values), 0, atol=1e-6)
            for one, two, three in itertools.permutations(range(3)):
                assert values[one, two] <= values[one, three] + values[three, two] + 1e-9


def test_the_same_call_gives_the_same_scores(study, scores):
    xr.testing.assert_identical(scores, consistency.compute(study, FAST))


def test_trials_that_train_and_test_have_no_floor():
    found = compared("shared", 3, splits=SplitSpec(kind="published"))
    assert np.isnan(found["p"]).all()
    assert found.attrs["in_sample"] == 1
    lines = consistency.summarize(found.expand_dims("representation"))
    assert len(lines) == 4
    assert all(line.in_sample and "the scored trials were fitted on" in line.null.reason for line in lines)
    assert all(line.row()["null_kind"].startswith("none: the scored trials were fitted on") for line in lines)


def test_summary_has_the_value_as_it_is_and_between_floor_and_ceiling(scores):
    lines = consistency.summarize(scores)
    assert len(lines) == 3 * 4 * 2
    raw, scaled = (line for line in lines if line.representation == "ideal" and "cross-validated dissimilarities" in line.what)
    one = scores.sel(representation="ideal", measure="dissimilarities", null="conditions")
    assert raw.value == one["value"]
    assert scaled.value == pytest.approx(one["calibrated"].item())
    assert scaled.interval.low == pytest.approx(one["calibrated_low"].item())
    assert raw.null.p == scaled.null.p
    assert "refitted" in raw.null.kind
    against = scores["calibrated"].sel(measure="dissimilarities", null="conditions")
    expected = against.sel(representation="ideal") - against.sel(representation="raw")
    difference = scaled.difference
    assert (difference.baseline, difference.value) == ("raw", pytest.approx(expected.item()))
    assert difference.interval.low < difference.value < difference.interval.high
    kinds = {line.null.kind for line in lines if "through a linear map" in line.what}
    assert len(kinds) == 1
    assert "among the test trials" in kinds.pop()


def test_two_animals_have_no_interval_and_it_is_said(study):
    two = ["rat0", "rat1"]
    samples, splits, latents = (
        tree.filter(lambda node: node.name in two) for tree in (study.samples, study.splits, study.latents("ideal"))
    )
    samples.attrs = study.samples.attrs
    found = consistency.compute(study_of(samples, splits, {"ideal": latents}), FAST)
    lines = consistency.summarize(found)
    assert all("fewer than 3 animals" in line.interval.reason for line in lines)
    assert all(np.isnan(line.row()["low"]) and "none: fewer than 3 animals" in line.row()["interval"] for line in lines)


def test_an_animal_without_one_side_is_refused():
    plain = simulate(splits=SplitSpec(kind="leave_one_animal_out"))
    with pytest.raises(SplitError, match="training and test trials of every animal"):
        consistency.compute(study_of(plain.samples, plain.splits, {"ideal": shared_latents(plain)}), FAST)


def test_few_conditions_are_refused_and_left_to_the_measures_they_allow():
    samples, splits, latents = latents_of("shared", 3, labels=3)
    with pytest.raises(SchemaError, match="3 labels by 1 windows"):
        compare_animals(samples, splits, {"model": latents}, FAST)
    found = compared("shared", 3, labels=4)
    assert found["measure"].values.tolist() == ["linear map", "new conditions", "dissimilarities"]
    with pytest.raises(SchemaError, match="cka: 4 conditions, 6 needed"):
        compared("shared", 3, labels=4, options=Options(measures=("cka",), permutations=99))


def test_one_test_trial_of_a_label_leaves_the_linear_maps():
    found = compared("shared", 3, trials=4, noise=0.3, splits=SplitSpec(kind="kfold", folds=4))
    assert found["measure"].values.tolist() == ["linear map", "new conditions"]
    assert "cka: a label with one training or test trial" in found.attrs["left_out"]
    assert (found["p"].sel(null="trials") <= 0.03).all()


def test_one_animal_and_a_model_called_raw_are_refused(study):
    with pytest.raises(SpecError, match="one animal"):
        compared("shared", 3, animals=1)
    with pytest.raises(SpecError, match="name of a baseline"):
        consistency.compute(study_of(study.samples, study.splits, {"raw": study.latents("ideal")}), FAST)


def test_figures_are_drawn_from_saved_scores(scores, tmp_path):
    scores.to_netcdf(tmp_path / "consistency.nc", engine="h5netcdf")
    saved = xr.load_dataset(tmp_path / "consistency.nc", engine="h5netcdf")
    figures = consistency.plot(saved)
    assert set(figures) == {"calibrated", "pairs", "distances"}
    style.save(figures["calibrated"], saved, tmp_path / "calibrated")
    assert (tmp_path / "calibrated.csv").stat().st_size > 0
    in_sample = compared("shared", 3, splits=SplitSpec(kind="published")).expand_dims("representation")
    assert set(consistency.plot(in_sample)) == set(figures)


def with_units(kind, seed=0, *, labels=8, trials=12, units=(30, 32, 34)):
    """Return a study in which the first three units, or all, carry what animals share; other units are noise."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((labels, 3))
    nodes = {}
    for number, count in enumerate(units):
        codes = rng.permutation(np.repeat(np.arange(labels), trials)).astype(np.int16)[:, None]
        turned = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        loadings = {
            "few": np.pad(2 * turned, ((0, 0), (0, count - 3))),
            "all": rng.standard_normal((3, count)),
            "none": np.zeros((3, count)),
        }[kind]
        values = shared[codes[:, 0]] @ loadings + rng.standard_normal((len(codes), count))
        about = {"kind": "event_amplitude", "bin_width": 0.25}
        nodes[f"rat{number}"] = xr.Dataset(
            {
                "activity": (("trial", "window", "bin", "unit"), values[:, None, None].astype(np.float32), about),
                "label": (("trial", "window"), codes),
                "match": (("trial", "window"), codes),
            },
            coords={"trial": np.arange(len(codes)), "window": [0.0]},
        )
    samples = xr.DataTree.from_dict(nodes)
    spec = SampleSpec(label=["odor"], transform="none").model_dump_json()
    samples.attrs = {"classes": json.dumps([str(code) for code in range(labels)]), "label": "odor", "sample_spec": spec}
    return study_of(samples, make_splits(samples, SplitSpec(kind="halves")))


LEFT_OUT = Options(permutations=99, baselines=("raw",), leave_out_units=(1, 3, 29))


def units_and_layout(study):
    raw = RawFeatures(Inputs(study.samples, study.splits), inverse_penalty=1.0)
    layout = layout_of(study.samples, study.splits)
    return [UnitProducts.of(raw, 0, name, study.samples, study.splits, layout) for name in study.samples.children], layout


def test_a_score_falls_where_few_units_carry_what_is_shared():
    few, every = (consistency.compute(with_units(kind), LEFT_OUT) for kind in ("few", "all"))
    assert few["left_out"].values.tolist() == [1, 3]  # 29 units would leave one
    falls = few["fall"].sel(left_out=3) / few["value"].sel(representation="raw")
    assert (falls > 0.8).all()
    assert (few["fall_p"].sel(left_out=3) == 0.01).all()
    assert (few["fall_low"] < few["fall"]).all()
    assert (every["fall"].sel(left_out=3) / every["value"].sel(representation="raw") < 0.5).all()
    whole = few["without_value"] + few["fall"]
    np.testing.assert_allclose(whole, np.repeat(few["value"].sel(representation="raw").values[:, None], 2, axis=1))
    lines = [line for line in consistency.summarize(few) if "fall of" in line.what]
    assert len(lines) == 4 * 2
    assert {line.setting for line in lines} == {f"between animals, {number} of each animal left out" for number in (1, 3)}
    assert all("at random" in line.null.kind and line.null.draws == 99 for line in lines)


def test_units_of_noise_are_no_more_influential_than_others():
    p = np.concatenate([consistency.compute(with_units("none", seed), LEFT_OUT)["fall_p"].values.ravel() for seed in range(5)])
    assert (p <= 0.05).mean() < 0.2
    assert 0.3 < p.mean() < 0.7


def test_scores_without_units_are_those_of_activity_without_them():
    study = with_units("all")
    products, layout = units_and_layout(study)
    kept = {name: np.arange(node.sizes["unit"]) % 3 > 0 for name, node in study.samples.children.items()}
    nodes = {name: node.to_dataset().isel(unit=np.flatnonzero(kept[name])) for name, node in study.samples.children.items()}
    samples = xr.DataTree.from_dict(nodes)
    samples.attrs = study.samples.attrs
    expected = consistency.compute(study_of(samples, study.splits), LEFT_OUT.model_copy(update={"leave_out_units": ()}))
    assert "fall" not in expected
    weights = [animal.kept(of_animal[None].astype(float)) for animal, of_animal in zip(products, kept.values(), strict=True)]
    for measure in expected["measure"].values:
        found = scored_pairs(str(measure), weights, layout, LEFT_OUT.ridge)[0]
        known = expected["pair_value"].sel(representation="raw", measure=measure).to_numpy()
        between = ~np.eye(3, dtype=bool)
        np.testing.assert_allclose(found[between], known[between], rtol=1e-6)


def test_units_are_ranked_on_training_trials():
    study = with_units("few")
    changed = {}
    for name, node in study.samples.children.items():
        dataset = node.to_dataset().copy(deep=True)
        tested = study.splits[name]["part"].values[0] == Part.TEST
        dataset["activity"].values[tested] = np.random.default_rng(1).standard_normal(dataset["activity"].values[tested].shape)
        changed[name] = dataset
    samples = xr.DataTree.from_dict(changed)
    samples.attrs = study.samples.attrs
    (products, layout), (others, _) = units_and_layout(study), units_and_layout(study_of(samples, study.splits))
    for measure in OWN_NULL:
        order, other = (influence_order(animals, measure, layout, 1.0) for animals in (products, others))
        for ranked, again in zip(order, other, strict=True):
            np.testing.assert_array_equal(ranked, again)
            assert len(set(ranked[:3].tolist()) & {0, 1, 2}) >= 2  # the units that carry what is shared


def test_units_left_out_are_drawn(tmp_path):
    scores = consistency.compute(with_units("few"), LEFT_OUT)
    scores.to_netcdf(tmp_path / "consistency.nc", engine="h5netcdf")
    saved = xr.load_dataset(tmp_path / "consistency.nc", engine="h5netcdf")
    figure = consistency.plot(saved)["units"]
    style.save(figure, saved, tmp_path / "units")
    assert [axes.get_title() for axes in figure.axes] == list(OWN_NULL)
    line = figure.axes[0].get_lines()[0].get_ydata()
    np.testing.assert_allclose(line[1:], saved["without_value"].sel(measure="linear map"))
    in_sample = with_units("few")
    in_sample.splits = make_splits(in_sample.samples, SplitSpec(kind="published"))
    assert "fall" not in consistency.compute(in_sample, LEFT_OUT)
