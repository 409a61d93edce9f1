"""The benchmark translated PolyMNIST, at a size that takes seconds."""

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from neuromvm.data.modalities import images_of
from neuromvm.errors import RunFolderError, ShapeError, SpecError
from neuromvm.specs.model import ResidualNetworks
from neuromvm.training.image_classifier import ClassifierSettings, classified, fit_classifier
from neuromvm.workflow.benchmark import cells
from neuromvm.workflow.benchmark.polymnist import run_polymnist
from neuromvm.workflow.benchmark.settings import DEFAULT_METHODS, METHODS, SIZES, PolyMnistSpec, model_of
from neuromvm.workflow.benchmark.table import half_width, of_seeds, table_of
from neuromvm.workflow.command_line import app

SPEC = PolyMnistSpec(
    modalities=2,
    copies=1,
    side=8,
    networks=ResidualNetworks(channels=2, patch=2, smallest=2),
    latent=4,
    epochs=1,
    batch_size=256,
    seeds=2,
    classifier_epochs=1,
)


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    """Make images of a tenth of the digits, and forget those of other tests."""
    whole = cells.small_digits()
    monkeypatch.setattr(cells, "small_digits", lambda: type(whole)(whole.images[:180], whole.label[:180]))
    cells.prepared.cache_clear()
    yield
    cells.prepared.cache_clear()


def test_a_benchmark_is_computed_once_and_takes_more_cells(tmp_path, monkeypatch):
    first = run_polymnist(SPEC, ["mmvm", "poe"], [1.0], tmp_path / "run", progress=False)
    assert first.table["method"].tolist() == ["mmvm", "poe"]
    assert first.failed == []
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {
        "benchmark.json",
        "cells",
        "classifiers",
        "table.csv",
        "table.md",
        "tradeoff.png",
        "tradeoff.pdf",
        "tradeoff.csv",
    }
    trained = []
    monkeypatch.setattr(cells, "fit", lambda *given, _fit=cells.fit, **settings: trained.append(1) or _fit(*given, **settings))
    second = run_polymnist(SPEC, ["mmvm", "poe"], [1.0, 2.0], tmp_path / "run", progress=False)
    assert len(trained) == 2
    assert second.table.iloc[[0, 2]].reset_index(drop=True).equals(first.table)
    with pytest.raises(RunFolderError, match="other epochs"):
        run_polymnist(SPEC.model_copy(update={"epochs": 2}), ["mmvm"], [1.0], tmp_path / "run", progress=False)


def test_measures_say_what_they_are_of(tmp_path):
    run_polymnist(SPEC, ["mmvae_plus"], [0.5], tmp_path, progress=False)
    cell = cells.Cell(str(tmp_path), SPEC.model_dump_json(), "mmvae_plus", 0.5)
    measures = cells.read_measures(cell)
    assert dict(measures.sizes) == {"seed": 2, "modality": 2, "source": 2, "target": 2}
    assert ((measures["coherence"] >= 0) & (measures["coherence"] <= 1)).all()
    table = table_of([measures])
    pairs = measures["coherence"].values[:, [0, 1], [1, 0]]
    assert table["coherence"][0] == pytest.approx(pairs.mean())
    means = pairs.mean(axis=1)
    assert table["coherence_half"][0] == pytest.approx(
        12.706 * np.abs(np.diff(means))[0] / 2, rel=1e-3
    )  # t of 1 degree of freedom
    # a Laplace density of scale .75 is at most log(1 / 1.5) a feature
    assert of_seeds(measures)["joint_nll"].min() > 2 * 8 * 8 * 3 * np.log(1.5)
    assert np.isnan(half_width(np.array([1.0])))


def test_a_cell_that_fails_says_why_and_the_others_are_done(tmp_path, monkeypatch):
    def broken(samples, splits, model, training, **settings):
        if model.sharing.kind == "mmvm":
            raise SpecError("model", found="broken")
        return fit(samples, splits, model, training, **settings)

    fit = cells.fit
    monkeypatch.setattr(cells, "fit", broken)
    outcome = run_polymnist(SPEC, ["mmvm", "poe"], [1.0], tmp_path, progress=False)
    assert outcome.table["method"].tolist() == ["poe"]
    assert outcome.failed == ["mmvm-beta1: SpecError: model: broken."]
    assert "broken" in (tmp_path / "table.md").read_text()
    monkeypatch.setattr(cells, "fit", fit)
    assert run_polymnist(SPEC, ["mmvm", "poe"], [1.0], tmp_path, progress=False).failed == []


def test_all_methods_have_as_many_latents_and_the_published_likelihood():
    for size in SIZES.values():
        for method in METHODS:
            model = model_of(size.spec, method, 1.0)
            assert model.latent + getattr(model.sharing, "private", 0) == size.spec.latent
            assert (model.likelihood.kind, model.likelihood.scale) == ("laplace", 0.75)
    assert set(DEFAULT_METHODS) < set(METHODS)
    full = SIZES["full"]
    assert (full.spec.latent, full.spec.networks.channels, full.spec.learning_rate, len(full.betas)) == (512, 64, 5e-4, 12)


def test_the_command_refuses_what_is_unknown(tmp_path):
    for options, error in (
        (["--methods", "mmvn"], "mmvn"),
        (["--betas", "1,x"], "'x'"),
        (["--set", "epoch=2"], "epoch"),
        (["--size", "full", "--data", str(tmp_path / "none")], "train/m0"),
    ):
        result = CliRunner().invoke(app, ["benchmark", "polymnist", "--out", str(tmp_path / "run"), *options])
        assert result.exit_code != 0
        assert error in str(result.exception) + result.output


def test_the_classifier_tells_images_apart_and_repeats():
    random = np.random.default_rng(0)
    codes = np.resize([0, 1], 200)
    images = random.random((200, 10, 10, 3)).astype(np.float32) * 0.3
    for image, code, (row, column) in zip(images, codes, random.integers(0, 7, (200, 2)), strict=True):
        image[row : row + (3 if code else 1), column : column + (1 if code else 3)] = 1
    settings = ClassifierSettings(epochs=15, batch_size=32)
    classifier = fit_classifier(images[:150], codes[:150], 2, settings=settings)
    assert (classified(classifier, images[150:]) == codes[150:]).mean() > 0.9
    again = fit_classifier(images[:150], codes[:150], 2, settings=settings)
    assert all((first == second).all() for first, second in zip(classifier.parameters(), again.parameters(), strict=True))
    with pytest.raises(ShapeError, match="a code of 0 to 1"):
        fit_classifier(images, codes + 1, 2)


def test_images_of_the_benchmark_are_divided_by_their_part(tmp_path):
    data = cells.prepared(str(tmp_path), SPEC.model_dump_json())
    assert isinstance(data.samples, xr.DataTree)
    assert images_of(data.samples["m1"]["activity"]).shape == (180, 8, 8, 3)
    assert (data.splits["m0"]["part"].values[0] == 3).sum() == (data.samples["m0"]["part"] == "test").sum()
