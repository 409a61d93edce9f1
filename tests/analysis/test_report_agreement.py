"""A run says which animals agree: in its folder, its log, its summary and its report."""

import logging
import shutil

import numpy as np
import pytest

from neuromvm.analysis.figures.agreement import agreement as drawn
from neuromvm.analysis.pipeline import analyze
from neuromvm.analysis.report.document import render
from neuromvm.analysis.report.models import agreements
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.files import read_dataset, write_tree
from neuromvm.folders.study import Study
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow.experiment import run_experiment
from tests.analysis.test_report import Page

SPEC = {
    "name": "tiny",
    "samples": {"label": ["odor"], "start": 0.1, "stop": 0.35, "keep": {"odor": ["A", "B", "C"]}},
    "split": {"kind": "halves"},
    # a rate that outweighs everything leaves the encoder of the second model nothing to say
    "models": {
        "mmvm": {"sharing": "mmvm", "latent": 3, "networks": "linear"},
        "silent": {"sharing": "independent", "latent": 2, "networks": "linear", "beta": 1e4},
    },
    "training": {"epochs": 150, "learning_rate": 0.02, "device": "cpu"},
    "analyses": {"attribution": {}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    sizes = {"mitt": {"units": 10, "trials": 90}, "stella": {"units": 8, "trials": 80}}
    write_experiment(folder / "data", SimulationConfig(animals=sizes), seed=2)
    spec = ExperimentSpec.model_validate(SPEC | {"data": {"spec": "simulated_rats", "root": str(folder / "data")}})
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("neuromvm").addHandler(handler)
    study = run_experiment(spec, folder / "run", progress=False)
    logging.getLogger("neuromvm").removeHandler(handler)
    analyze(study, "attribution")
    return study, said


def test_a_run_holds_what_it_says(run):
    study, said = run
    about = study.agreement("mmvm")
    assert about["agreement"].dims == ("replica", "animal", "other")
    assert np.isfinite(about["kl_to_mixture"]).all()
    assert study.agreement("silent")["collapsed"].all()
    assert "silent: 2 of 2 latents of mitt and stella carry nothing: their posterior is the same for every trial." in "".join(
        said
    )
    assert not any(line.startswith("silent: the posteriors") for line in said)  # nobody asked its animals to agree
    assert set(study.units("mmvm").children) == set(study.traversals("silent").children) == {"mitt", "stella"}


def test_the_summary_counts_collapsed_latents(run):
    models = run[0].summary["models"]
    assert models["silent"]["collapsed_latents"] == {"mitt": 2, "stella": 2}
    assert models["mmvm"]["collapsed_latents"]["mitt"] < 3
    assert 0 <= models["mmvm"]["kl_to_mixture"]["stella"] <= np.log(2) + 0.1


def test_the_report_shows_it(run):
    page = Page(render(run[0]))
    text = " ".join(page.text)
    assert "Which animals agree, and which latents carry nothing" in text
    assert "2 of 2 latents of mitt and stella carry nothing" in text
    about = run[0].agreement("mmvm")
    across = float(about["agreement"].where(about["animal"] != about["other"]).mean())
    assert f"agree to {across:.3f} between animals" in text
    assert sum("Agreement between the animals of" in attrs.get("alt", "") for tag, attrs in page.elements if tag == "img") == 2
    assert "Activity that is decoded when one latent moves" in text
    assert ("a", {"href": "#agreement"}) in page.elements


def test_a_run_made_before_names_what_to_do(run, tmp_path):
    shutil.copytree(run[0].path, tmp_path / "run")
    study = Study(tmp_path / "run")
    (study.path / "models" / "mmvm" / "agreement.nc").unlink()
    (study.path / "models" / "silent" / "agreement.nc").write_bytes(b"no netCDF")
    assert study.agreement("mmvm") is None
    first, second = agreements(study)
    assert "Not computed. Finish the run" in first.sentence
    assert "cannot be read" in second.sentence
    assert "Not computed" in render(study)


def test_resuming_computes_what_is_missing_and_gives_the_same(run, tmp_path):
    shutil.copytree(run[0].path, tmp_path / "run")
    file = tmp_path / "run" / "models" / "mmvm" / "agreement.nc"
    before = read_dataset(file)
    file.unlink()
    study = run_experiment(run[0].spec, tmp_path / "run", resume=True, progress=False)
    assert before.identical(study.agreement("mmvm"))


@pytest.mark.parametrize("animals", [1, 2, 12])
def test_the_figure_fits_any_number_of_animals(run, animals):
    about = run[0].agreement("mmvm")
    if animals == 1:
        about = about.isel(animal=[0]).drop_dims("other")
    else:
        chosen = np.resize([0, 1], animals)
        names = [f"rat_{place}" for place in range(animals)]
        about = about.isel(animal=chosen, other=chosen).assign_coords(animal=names, other=names)
    figure = drawn(about)
    assert len(figure.axes) == (1 if animals == 1 else 4)
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert len(numbers) == (4 if animals == 2 else 0)
    assert ("without their common beginning, rat_" in figure.get_supxlabel()) == (animals > 1)


def test_a_model_without_noise_shows_its_latents_alone(run, tmp_path):
    about = run[0].agreement("mmvm")
    without = about.assign({key: about[key] * np.nan for key in ("agreement", "agreement_unmatched", "information")})
    shutil.copytree(run[0].path, tmp_path / "run")
    write_tree(tmp_path / "run" / "models" / "mmvm" / "agreement.nc", without)
    first = agreements(Study(tmp_path / "run"))[0]
    assert first.sentence.startswith("A model without noise has no posteriors to compare. Of 3 latents")
    assert first.data
