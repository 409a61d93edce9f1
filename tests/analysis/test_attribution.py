"""The units that carry an odor are found, and on noise there is nothing to find."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from neuromvm.analysis.figures import style
from neuromvm.analysis.latents import attribution
from neuromvm.analysis.latents.unit_effects import unit_effects
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study
from neuromvm.inference.ablation import ablate
from neuromvm.inference.traversal import traverse
from neuromvm.specs import ExperimentSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec, to_yaml
from neuromvm.training.fit import fit
from tests.analysis.score_rows import unexplained
from tests.analysis.test_report import SPEC
from tests.conftest import tuned_recordings

CARRIERS = {"mitt": [2, 5, 9], "stella": [0, 3, 7]}
SIZES = {"mitt": (15, 120), "stella": (12, 100)}
OPTIONS = attribution.Options(latents=2)
MODELS = {"mmvm": 4, "independent": 3}


def study_with(carriers, seed=0):
    """Return a study in which these units alone depend on the odor, each firing at one of three."""
    random = np.random.default_rng(seed)
    recordings = tuned_recordings(SIZES, tuning=0.0, seed=seed)
    for name, units in carriers.items():
        node = recordings[name].to_dataset(inherit=False)
        odor = np.searchsorted(list("ABC"), node["odor"].values)
        for place, unit in enumerate(units):
            rate = np.where(odor == place, 1.2, 0.1)[:, None] * np.ones((1, node.sizes["time"]))
            node["spike_count"].values[:, :, unit] = random.poisson(rate)
        regions = np.resize(["CA1", "CA3"], node.sizes["unit"])
        recordings[name] = xr.DataTree(node.assign_coords(region=("unit", regions)))
    samples = make_samples(recordings, SampleSpec(label=["odor"]))
    splits = make_splits(samples, SplitSpec(seed=seed))
    training = TrainingSpec(epochs=150, learning_rate=0.003)
    found = {}
    for name, latent in MODELS.items():
        model = ModelSpec(sharing=name, latent=latent, beta=0.01, networks={"kind": "linear"}, scale="constant", dropout=0.3)
        fitted = fit(samples, splits, model, training, progress=False)
        found[name] = ablate(fitted, samples, splits), traverse(fitted, samples, splits)
    units, traversals = (lambda model, place=place: found[model][place] for place in range(2))
    return SimpleNamespace(models=list(found), samples=samples, units=units, traversals=traversals)


@pytest.fixture(scope="module")
def study():
    return study_with(CARRIERS)


@pytest.fixture(scope="module")
def scores(study):
    return attribution.compute(study, OPTIONS)


@pytest.mark.parametrize("animal", CARRIERS)
@pytest.mark.parametrize("model", MODELS)
def test_the_three_units_that_carry_the_odor_are_the_top_ones(scores, animal, model):
    own = scores.sel(model=model).isel(unit=scores["of_animal"].values == animal)
    overall = own["class_effect"].mean("class").values
    assert sorted(np.argsort(-overall)[:3].tolist()) == CARRIERS[animal]
    for place, odor in enumerate("ABC"):
        one = own.sel({"class": odor}).isel(unit=CARRIERS[animal][place])
        assert one["class_effect_low"] > 0
        assert int(own["class_effect"].sel({"class": odor}).values.argmax()) in CARRIERS[animal]
    others = own.isel(unit=[unit for unit in range(SIZES[animal][0]) if unit not in CARRIERS[animal]])
    assert others["class_effect"].mean("class").max() < 0.5 * overall[CARRIERS[animal]].mean()


def test_the_shown_latents_move_the_units_that_carry_the_odor(scores):
    shown = scores["unit_shown"].sel(model="mmvm", animal="mitt").isel(place=0).values.tolist()
    assert len(set(shown) & {str(unit) for unit in CARRIERS["mitt"]}) >= 2


@pytest.mark.parametrize("seed", range(3))
def test_on_noise_intervals_cover_zero(seed):
    noise = attribution.compute(study_with({}, seed=10 + seed), attribution.Options())
    low = noise["class_effect_low"].values
    low = low[np.isfinite(low)]
    # Effects of units on one trial depend on one another, so the spread is wider than that of as many coin tosses.
    assert len(low) > 100
    assert (low > 0).mean() < 0.10
    assert max(line.value for line in attribution.summarize(noise)) < 0.10


def test_numbers_and_figures_are_saved(scores, tmp_path):
    lines = attribution.summarize(scores)
    assert [line.representation for line in lines] == list(MODELS)
    assert [line for line in lines if unexplained(line)] == []
    for line in lines:
        low = scores["class_effect_low"].sel(model=line.representation).to_numpy()
        assert line.value == pytest.approx((low[np.isfinite(low)] > 0).mean())
        assert line.interval.low < line.value < line.interval.high
    scores.to_netcdf(tmp_path / "scores.nc", engine="h5netcdf")
    read = xr.load_dataset(tmp_path / "scores.nc", engine="h5netcdf")
    drawn = attribution.plot(read)
    assert set(drawn) == {f"{kind}_{model}" for kind in ("units", "classes", "traversals") for model in MODELS}
    for key, figure in drawn.items():
        style.save(figure, read, tmp_path / key)
        assert (tmp_path / f"{key}.png").stat().st_size > 10_000
    regions = [text.get_text() for text in drawn["units_mmvm"].axes[0].get_yticklabels()]
    assert regions == ["CA1", "CA3"]
    first = drawn["classes_mmvm"].axes[0]
    assert {text.get_text() for text in first.texts} >= {str(unit) for unit in CARRIERS["mitt"]}


def test_effects_saved_by_earlier_versions_are_read(study, scores):
    effects = {model: unit_effects(study.units(model)) for model in MODELS}
    xr.testing.assert_identical(scores, attribution.compute(SimpleNamespace(**{**vars(study), "units": effects.get}), OPTIONS))


def test_a_run_without_effects_says_how_to_get_them(tmp_path):
    (tmp_path / "spec.yaml").write_text(to_yaml(ExperimentSpec.model_validate(SPEC)))
    with pytest.raises(RunFolderError, match=r"attribution: \{\}.*--resume"):
        attribution.compute(Study(tmp_path), attribution.Options())
