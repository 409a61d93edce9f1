"""The optional baseline: fitted on training sides only, with seeds of its own, and refused in words where it is not installed."""

import importlib.util

import numpy as np
import pytest

from neuromvm.analysis.baselines import cebra
from neuromvm.analysis.baselines.catalogue import BASELINES, baseline
from neuromvm.analysis.baselines.cebra import Contrast, contrastive_embedding
from neuromvm.analysis.decoding import decoding, refit
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.judged import values
from neuromvm.analysis.pipeline import check_analyses
from neuromvm.analysis.readouts.representations import Inputs, training_side
from neuromvm.analysis.report.headline import compare, sentences
from neuromvm.errors import SpecError, SplitError
from neuromvm.specs import ExperimentSpec, SplitSpec
from tests.analysis.simulation import poisoned, simulate

OPTIONS = Options(
    baselines=("mcca", "cebra"), canonical_components=3, cebra_dimensions=4, cebra_iterations=60, bootstraps=100, permutations=500
)
QUICK = Contrast(dimensions=4, iterations=60)


def experiment(**options):
    return ExperimentSpec.model_validate(
        {
            "name": "small",
            "data": {"spec": "simulated_rats"},
            "samples": {"label": ["odor"]},
            "models": {"mmvm": {"sharing": "mmvm", "latent": 3}},
            "analyses": {"decoding": options},
        }
    )


@pytest.fixture
def not_installed(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(cebra, "find_spec", lambda name: None if name == "cebra" else find(name))


def test_it_is_no_row_unless_it_is_named():
    assert "cebra" in BASELINES
    assert "cebra" not in Options().baselines


@pytest.mark.usefixtures("not_installed")
def test_without_the_package_the_experiment_is_refused_before_training():
    with pytest.raises(SpecError, match=r"pip install 'neuromvm\[cebra\]'"):
        check_analyses(experiment(baselines=["mcca", "cebra"]))
    check_analyses(experiment(baselines=["mcca"]))
    study = simulate()
    with pytest.raises(SpecError, match="not installed"):
        baseline("cebra", Inputs(study.samples, study.splits), OPTIONS)
    with pytest.raises(SpecError, match="not installed"):
        refit.settings_of(study, "cebra")


def test_the_headline_does_not_call_it_linear():
    line = {
        "what": "accuracy",
        "setting": "within",
        "low": 0.1,
        "high": 0.9,
        "p": 0.01,
        "n_animals": 3,
        "n_trials": 9,
        "n_splits": 1,
    }
    line |= {"floor": 0.1, "floor_low": 0.05, "floor_high": 0.15}
    rows = [{**line, "representation": name, "value": value} for name, value in (("mmvm", 0.5), ("cebra", 0.6), ("mcca", 0.4))]
    said = " ".join(sentences(compare(rows, None, ["mmvm"], ["mmvm"])[0]))
    assert "baseline cebra" in said
    assert "linear baseline cebra" not in said


@pytest.fixture(scope="module")
def study():
    pytest.importorskip("cebra")
    return simulate(splits=SplitSpec(kind="halves"))


def inputs_of(study):
    return Inputs(study.samples, study.splits)


def views(study, options=OPTIONS):
    found = baseline("cebra", inputs_of(study), options)
    names = list(study.samples.children)
    return {(source, target): found.seen(0, source, target) for source in names for target in names}


def test_what_animals_share_is_read_across_them_and_noise_is_not(study):
    scores = decoding.compute(study, OPTIONS)
    value = values(scores).sel(representation="cebra")
    assert scores.attrs["chance"] == 0.25
    assert value.sel(setting="cross") > 0.5
    assert value.sel(setting="within") > 0.5
    cross = {"representation": "cebra", "setting": "cross", "target": "all animals", "null": "labels", "null_statistic": "p"}
    assert scores["null_score"].sel(cross) < 0.01
    assert "decoders not refitted" in str(scores["null_kind"].sel(representation="cebra", null="labels").item())
    noise = decoding.compute(simulate(7, signal=0, splits=SplitSpec(kind="halves")), OPTIONS)
    assert noise["null_score"].sel(cross) > 0.01


def test_every_animal_lies_on_one_sphere_and_the_same_seed_gives_the_same(study):
    inputs = inputs_of(study)
    training = {name: inputs.training(0, name) for name in inputs.animals}
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    maps, again = (contrastive_embedding(training, QUICK) for _ in range(2))
    other = contrastive_embedding(training, QUICK._replace(seed=1))
    # the caller's draws go on as if nothing had been drawn
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    everything = []
    for name, one in training.items():
        embedded = maps[name](one.features)
        np.testing.assert_array_equal(embedded, again[name](one.features))
        assert not np.allclose(embedded, other[name](one.features))
        np.testing.assert_allclose(np.linalg.norm(embedded * maps[name].spread, axis=1), 1, atol=1e-5)
        everything.append(embedded)
    np.testing.assert_allclose(np.concatenate(everything).std(axis=0), 1, atol=1e-5)


def test_test_trials_change_nothing_that_is_fitted(study):
    first, other = views(study), views(poisoned(study))
    for (source, target), seen in first.items():
        side = training_side(study.splits, 0, target)
        np.testing.assert_array_equal(seen[side], other[source, target][side])


def test_a_class_that_an_animal_lacks_has_no_partner_in_another_class(study):
    """Without code 1 in one animal, codes are those of the others; a relabelling of what is left is the same problem."""
    inputs = inputs_of(study)
    training = {name: inputs.training(0, name) for name in inputs.animals}
    one = training["rat1"]
    lacking = training | {"rat1": type(one)(one.features[one.match != 1], one.match[one.match != 1])}
    without = {
        name: type(side)(side.features[side.match != 1], np.where(side.match > 1, side.match - 1, side.match)[side.match != 1])
        for name, side in training.items()
    }
    maps, expected = contrastive_embedding(lacking, QUICK), contrastive_embedding(without, QUICK)
    for name, side in training.items():
        embedded, known = maps[name](side.features), expected[name](side.features)
        np.testing.assert_allclose(embedded * maps[name].spread, known * expected[name].spread, atol=1e-5)
    apart = {
        name: type(side)(side.features[side.match == code], side.match[side.match == code])
        for code, (name, side) in enumerate(training.items())
    }
    with pytest.raises(SplitError, match="0 classes that all animals have"):
        contrastive_embedding(apart, QUICK)


def test_settings_are_tuned_as_those_of_other_rows_and_an_embedding_is_fitted_once_for_all_penalties(study, monkeypatch):
    grid = {"cebra_iterations": (1, 60), "cebra_inverse_penalty": (0.01, 1.0)}
    monkeypatch.setitem(BASELINES, "cebra", BASELINES["cebra"]._replace(grid=grid))
    fitted = []

    def counted(training, settings):
        fitted.append(settings.iterations)
        return contrastive_embedding(training, settings)

    monkeypatch.setattr(cebra, "contrastive_embedding", counted)
    tuned = OPTIONS.model_copy(update={"tune": True, "inner_folds": 2, "inner_repeats": 1, "baselines": ("cebra",)})
    scores = decoding.compute(study, tuned)
    assert '"cebra_iterations": 60' in scores["chosen"].sel(representation="cebra").values[0]
    assert fitted == [1, 1, 60, 60, 60]  # two inner folds each, then the split itself


def test_its_options_are_checked():
    for wrong in ({"cebra_temperature": 0}, {"cebra_dimensions": 1}, {"cebra_temperature": "warm"}):
        with pytest.raises(SpecError, match=r"analyses\.decoding\.cebra"):
            check_analyses(experiment(baselines=["mcca"], **wrong))


def test_only_rows_that_are_named_are_refitted_with_it(study):
    table = decoding.compute(study, OPTIONS)
    study.scores = lambda name: table
    assert refit.rows(study) == {"mcca": True, "cebra": False}
