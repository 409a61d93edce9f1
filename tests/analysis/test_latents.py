import json

import numpy as np
import pytest
import xarray as xr

from neuromvm.analysis.figures import style
from neuromvm.analysis.latents import latent_scatter, trajectories
from neuromvm.analysis.readouts.representations import held_out
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import SpecError
from neuromvm.specs import SampleSpec, SplitSpec
from tests.analysis.simulation import CLASSES, shared_latents, simulate, study_of, with_node
from tests.conftest import tuned_recordings


@pytest.fixture(scope="module")
def study():
    plain = simulate(windows=3, repeats=(4, 6, 8))
    latents = {"wide": shared_latents(plain, dimensions=5), "flat": shared_latents(plain, dimensions=2)}
    return study_of(plain.samples, plain.splits, latents)


def round_trip(scores, path):
    scores.to_netcdf(path, engine="h5netcdf")
    return xr.load_dataset(path, engine="h5netcdf")


def test_scatter_shows_test_samples_only(study, tmp_path):
    scores = latent_scatter.compute(study, latent_scatter.Options())
    trials = {name: held_out(study.splits, 0, name).sum() for name in study.samples.children}
    assert scores.sizes["sample"] == 2 * 3 * sum(trials.values())
    flat = scores.isel(sample=(scores["model"] == "flat").values & (scores["animal"] == "rat0").values)
    latents = study.latents("flat")["rat0"]["latent_mean"].values[0, held_out(study.splits, 0, "rat0")]
    np.testing.assert_allclose(np.stack([flat["x"], flat["y"]], axis=-1), latents.reshape(-1, 2))
    assert list(scores["x_name"].values)[1] == "latent 1"
    figure = latent_scatter.plot(round_trip(scores, tmp_path / "scatter.nc"))["latents"]
    style.save(figure, scores, tmp_path / "scatter")
    assert (tmp_path / "scatter.png").stat().st_size > 10_000


def test_scatter_axes_do_not_depend_on_test_trials(study):
    latents = study.latents("wide")
    changed = latents
    for name in ("rat0", "rat1"):
        dataset = latents[name].to_dataset().copy(deep=True)
        dataset["latent_mean"].values[:, held_out(study.splits, 0, name)] += 100
        changed = with_node(changed, name, dataset)
    before, after = (
        latent_scatter.compute(study_of(study.samples, study.splits, {"wide": one}), latent_scatter.Options())
        for one in (latents, changed)
    )
    untouched = (before["animal"] == "rat2").values
    np.testing.assert_array_equal(before["x"][untouched], after["x"][untouched])


def test_trajectories_are_means_over_animals_of_means_over_test_trials(study, tmp_path):
    scores = trajectories.compute(study, trajectories.Options(bootstraps=100))
    assert scores["condition"].values.tolist() == CLASSES
    expected = []
    for name, node in study.samples.children.items():
        chosen = held_out(study.splits, 0, name) & (node["odor"].values == "B")
        expected.append(study.latents("flat")[name]["latent_mean"].values[0, chosen].mean(axis=0))
    found = scores.sel(model="flat", condition="B")
    np.testing.assert_allclose(found["mean"][:, :2], np.mean(expected, axis=0), rtol=1e-5)
    assert np.isnan(found["mean"][:, 2]).all()
    assert ((found["low"] <= found["mean"]) & (found["mean"] <= found["high"]))[:, :2].all()
    assert trajectories.plot(round_trip(scores, tmp_path / "trajectories.nc"))["trajectories"].axes


@pytest.mark.parametrize(("number", "bands"), [(6, 6), (12, 0)])
def test_many_conditions_have_no_bands_and_lines_of_their_own(study, number, bands):
    scores = trajectories.compute(study, trajectories.Options(bootstraps=100))
    names = [f"odor {place}" for place in range(number)]
    paths = ("path", np.resize(names, scores.sizes["path"]))
    repeated = scores.isel(condition=np.arange(number) % len(CLASSES)).assign_coords(condition=names, path_condition=paths)
    figure = trajectories.plot(repeated)["trajectories"]
    assert len(figure.axes[0].collections) == bands
    lines = figure.axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == number
    assert ("in the CSV" in figure.get_supxlabel()) == (bands == 0)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


def test_many_classes_have_their_means_on_top(study):
    scores = latent_scatter.compute(study, latent_scatter.Options())
    few = latent_scatter.plot(scores)["latents"]
    names = [f"odor {place}" for place in range(8)]
    labels = np.array(names)[np.arange(scores.sizes["sample"]) % 8]
    renamed = scores.assign_coords(label=("sample", labels)).assign_attrs(classes=json.dumps(names))
    figure = latent_scatter.plot(renamed)["latents"]
    assert len(few.axes[0].lines) == len(CLASSES)
    means = [line for line in figure.axes[0].lines if line.get_markeredgewidth() > 0]
    assert len(means) == 8
    first = (scores["model"] == "wide").values & (labels == names[0])
    np.testing.assert_allclose(means[0].get_xydata()[0], [scores["x"][first].mean(), scores["y"][first].mean()])
    assert "means" in figure.get_supxlabel()


def test_condition_may_be_any_trial_label(study):
    named = trajectories.compute(study, trajectories.Options(condition="odor", bootstraps=100))
    xr.testing.assert_equal(named["mean"], trajectories.compute(study, trajectories.Options(bootstraps=100))["mean"])
    with pytest.raises(SpecError, match="Did you mean 'odor'"):
        trajectories.compute(study, trajectories.Options(condition="odour"))


def test_one_window_makes_no_trajectory():
    plain = simulate()
    single = study_of(plain.samples, plain.splits, {"ideal": shared_latents(plain)})
    with pytest.raises(SpecError, match="one window a trial"):
        trajectories.compute(single, trajectories.Options())


def test_unknown_split_is_refused(study):
    with pytest.raises(SpecError, match="Expected one of"):
        latent_scatter.compute(study, latent_scatter.Options(split=9))


def test_where_labels_name_the_window_the_rest_of_them_is_the_condition():
    spec = SampleSpec(start=0, stop=1, width=0.5, label=["odor", "window"])
    samples = make_samples(tuned_recordings({"mitt": (4, 36), "stella": (3, 30)}), spec)
    study = study_of(samples, make_splits(samples, SplitSpec()))
    study = study_of(study.samples, study.splits, {"ideal": shared_latents(study)})
    assert trajectories.compute(study, trajectories.Options(bootstraps=100))["condition"].values.tolist() == ["A", "B", "C"]


@pytest.mark.slow
def test_umap_is_fitted_on_training_trials_and_places_the_others():
    study = simulate()
    latents = {"ideal": shared_latents(study, dimensions=5)}
    plane = latent_scatter.latent_plane(study.samples, study.splits, latents, latent_scatter.Options(projection="umap"))
    assert np.isfinite(plane["x"]).all()
    assert plane["x_name"].item() == "UMAP 1"
    points = np.stack([plane["x"], plane["y"]], axis=1)
    means = np.stack([points[plane["label"].values == name].mean(axis=0) for name in "ABCD"])
    nearest = np.linalg.norm(points[:, None] - means, axis=2).argmin(axis=1)
    assert (np.array(list("ABCD"))[nearest] == plane["label"].values).mean() > 0.9  # classes far apart stay apart
