"""What a notebook calls, on objects in memory."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import neuromvm as nm
from neuromvm.analysis.generated.unit_activity import unit_activity
from neuromvm.analysis.judged import values
from neuromvm.data.trees import Recordings
from neuromvm.inference.transfer import impute_each, transfer
from neuromvm.workflow.in_memory import NAMELESS
from tests.conftest import tuned_recordings

SETTINGS = {"bootstraps": 100, "permutations": 500}


@pytest.fixture(scope="module")
def world():
    recordings = tuned_recordings({"ann": (6, 24), "bob": (5, 30), "cat": (7, 27)})
    samples = nm.samples(recordings, start=0, stop=0.8, bin_width=0.2, label=["odor"])
    splits = nm.splits(samples, kind="halves")
    model = nm.ModelSpec(sharing="mmvm", latent=3, networks="linear")
    fitted = nm.fit(samples, splits, model, nm.TrainingSpec(epochs=2), progress=False)
    return recordings, samples, splits, fitted


def test_one_animal_and_a_new_session_are_embedded_alone(world):
    _, samples, _, fitted = world
    whole = fitted.transform(samples)
    first, second = list(samples.children)[:2]
    alone = fitted.transform(samples[first])
    assert list(alone.children) == [first]
    np.testing.assert_array_equal(alone[first]["latent_mean"], whole[first]["latent_mean"])
    later = xr.DataTree(samples.to_dataset(), children={"later": xr.DataTree(samples[first].to_dataset().isel(trial=[2, 0]))})
    renamed = fitted.transform(later, animal=first)
    np.testing.assert_array_equal(renamed["later"]["latent_mean"], whole[first]["latent_mean"].isel(trial=[2, 0]))
    with pytest.raises(nm.NeuromvmError, match="samples of one"):
        fitted.transform(samples, animal=second)
    with pytest.raises(nm.NeuromvmError, match="no animal 'nobody'"):
        fitted.transform(later, animal="nobody")


def test_objects_describe_themselves(world):
    recordings, samples, splits, fitted = world
    shown = Recordings.of(recordings), samples, splits, fitted
    for value, title in zip(shown, ("Recordings", "Samples", "Splits", "Fitted model"), strict=True):
        html = value._repr_html_()
        assert title in html
        assert all(name in html for name in recordings.children)
        assert len(html) < 20_000
    assert type(samples.copy()) is type(samples)
    changed = samples.copy()
    changed.attrs = {}
    assert "Samples</strong>" not in changed._repr_html_()  # xarray's own


def test_scores_are_a_table_and_figures_one_call(world):
    recordings, samples, splits, fitted = world
    latents = fitted.transform(samples)
    scores = nm.decode(samples, splits, latents, **SETTINGS)
    table = nm.table(scores)
    assert table["method"].tolist() == [NAMELESS]
    value = values(scores).sel(setting="within").item()
    assert table["within"][0].startswith(f"{value:.3f} [")
    assert "Scores</strong>" in scores._repr_html_()
    animal = next(iter(samples.children))
    drawn = [
        nm.plot_recordings(recordings),
        nm.plot_timeline(recordings, samples),
        nm.plot_latents(samples, splits, latents),
        nm.plot_latents(samples, splits, {"mmvm": latents}, panels="animal"),
        nm.plot_scores(scores),
        nm.plot_transfer(scores),
        nm.plot_confusion(scores, "cross"),
        nm.plot_rasters(fitted, samples, splits, animal, recordings),
        nm.plot_psths(fitted, samples, splits, animal, units=2),
    ]
    assert all(isinstance(figure, mpl.figure.Figure) and figure.shows for figure in drawn)
    assert all(figure.numbers.sizes for figure in drawn[1:])
    axes = mpl.figure.Figure().subplots()
    assert nm.plot_scores(scores, ax=axes) is axes
    assert axes.lines


def test_unit_activity_is_that_of_the_trials_and_the_decoder(world):
    recordings, samples, splits, fitted = world
    transferred = transfer(fitted, samples, splits)
    found = unit_activity(samples, splits, transferred, impute_each(fitted, samples, splits), None, recordings)
    animal = next(iter(samples.children))
    name = str(found["unit"].values[0, 0])
    column = [str(unit) for unit in samples[animal]["unit"].values].index(name)
    tested = np.isin(samples[animal]["trial"].values, transferred[animal]["trial"].values)
    of_animal = found.isel(row=found["row_animal"].values == animal)
    for kind, expected in {
        "recorded": np.sqrt(samples[animal]["activity"].values[tested][..., column].astype(float)),
        "reconstructed": transferred[f"{animal}/{animal}"]["activity"].values[..., column],
    }.items():
        rows = of_animal.isel(row=of_animal["kind"].values == kind)["value"].isel(place=0)
        np.testing.assert_allclose(float(rows.mean()), expected.mean(), rtol=1e-5)
    assert int(found["spike_trials"][0]) == tested.sum()


def test_public_names_are_few_and_lazy():
    assert len(nm.__all__) <= 50
    assert {"load", "samples", "splits", "fit", "compare", "decode", "time_resolved", "trajectories"} <= set(nm.__all__)
    assert nm.make_samples is not None  # longer names remain
