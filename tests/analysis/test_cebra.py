"""The optional baseline: fitted on training sides only, with seeds of its own, and refused in words where it is not installed."""

import importlib.util

import numpy as np
import pytest

from neuromvm.analysis.baselines import cebra
from neuromvm.analysis.baselines.catalogue import BASELINES, baseline
from neuromvm.analysis.baselines.cebra import Contrast, contrastive_embedding, scores_by_others
from neuromvm.analysis.decoding import decoding, refit
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.judged import values
from neuromvm.analysis.pipeline import check_analyses
from neuromvm.analysis.readouts.representations import Inputs, Training, training_side
from neuromvm.analysis.report.headline import compare, sentences
from neuromvm.errors import SpecError, SplitError
from neuromvm.specs import ExperimentSpec, SplitSpec
from tests.analysis.simulation import poisoned, simulate

OPTIONS = Options(
    baselines=("mcca", "cebra", "cebra_unified"),
    canonical_components=3,
    cebra_dimensions=4,
    cebra_iterations=60,
    bootstraps=100,
    permutations=500,
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
    for name in ("cebra", "cebra_unified"):
        assert name in BASELINES
        assert name not in Options().baselines


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


def views(study, name):
    found = baseline(name, inputs_of(study), OPTIONS)
    names = list(study.samples.children)
    return {(source, target): found.seen(0, source, target) for source in names for target in names}


def test_what_animals_share_is_read_across_them_and_noise_is_not(study):
    scores = decoding.compute(study, OPTIONS)
    assert scores.attrs["chance"] == 0.25
    for name in ("cebra", "cebra_unified"):
        value = values(scores).sel(representation=name)
        assert value.sel(setting="cross") > 0.5
        assert value.sel(setting="within") > 0.5
    cross = {"representation": "cebra", "setting": "cross", "target": "all animals", "null": "labels", "null_statistic": "p"}
    assert scores["null_score"].sel(cross) < 0.01
    assert "decoders not refitted" in str(scores["null_kind"].sel(representation="cebra", null="labels").item())
    noise = decoding.compute(simulate(7, signal=0, splits=SplitSpec(kind="halves")), OPTIONS)
    assert noise["null_score"].sel(cross) > 0.01


@pytest.mark.parametrize("unified", [False, True])
def test_every_animal_lies_on_one_sphere_and_the_same_seed_gives_the_same(study, unified):
    settings = QUICK._replace(unified=unified)
    inputs = inputs_of(study)
    training = {name: inputs.training(0, name) for name in inputs.animals}
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    maps, again = (contrastive_embedding(training, settings) for _ in range(2))
    other = contrastive_embedding(training, settings._replace(seed=1))
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


@pytest.mark.parametrize("name", ["cebra", "cebra_unified"])
def test_test_trials_change_nothing_that_is_fitted(study, name):
    first, other = views(study, name), views(poisoned(study), name)
    for (source, target), seen in first.items():
        side = training_side(study.splits, 0, target)
        np.testing.assert_array_equal(seen[side], other[source, target][side])


def test_networks_of_complete_animals_are_those_of_the_package(study, monkeypatch):
    package = pytest.importorskip("cebra")
    monkeypatch.setattr(package.CEBRA, "_compute_offset", lambda networks: package.data.Offset(0, 1))  # draws nothing
    inputs = inputs_of(study)
    training = {name: inputs.training(0, name) for name in inputs.animals}
    maps = contrastive_embedding(training, QUICK)
    known = package.CEBRA(
        model_architecture="offset1-model",
        num_hidden_units=cebra.HIDDEN_UNITS,
        batch_size=cebra.BATCH,
        learning_rate=cebra.LEARNING_RATE,
        max_iterations=QUICK.iterations,
        output_dimension=QUICK.dimensions,
        temperature=1.0,
        device="cpu",
    )
    with cebra._global_seed(QUICK.seed):
        known.fit([side.features.astype(np.float32) for side in training.values()], [side.match for side in training.values()])
    for session, (name, side) in enumerate(training.items()):
        expected = known.transform(side.features.astype(np.float32), session_id=session)
        np.testing.assert_allclose(maps[name](side.features) * maps[name].spread, expected, atol=1e-5)


def test_partners_have_the_code_of_their_sample_in_an_animal_that_has_it():
    random = np.random.default_rng(0)
    labels = [np.repeat([0, 1, 2], 5), np.repeat([1, 2, 3], 7), np.repeat([0, 3], 4)]
    sampler = cebra.PartnersInAnyAnimal(labels, random)
    met = np.zeros((3, 3))
    for _ in range(50):
        reference = sampler.sample_prior(8)
        partners, order, inverse = sampler.sample_conditional(reference)
        codes = np.concatenate([of_animal[samples] for of_animal, samples in zip(labels, reference, strict=True)])
        partner_codes = np.concatenate([of_animal[samples] for of_animal, samples in zip(labels, partners, strict=True)])
        np.testing.assert_array_equal(partner_codes[inverse], codes)
        np.testing.assert_array_equal(order[inverse], np.arange(24))
        np.add.at(met, (np.repeat(np.arange(3), 8), np.repeat(np.arange(3), 8)[inverse]), 1)
    assert (met > 50).all()  # partners are of every animal
    # where all animals have all codes, every animal is as probable
    complete = cebra.PartnersInAnyAnimal([np.repeat([0, 1], 6)] * 3, random)
    animals = [complete.sample_conditional(complete.sample_prior(8))[2] // 8 for _ in range(300)]
    shares = np.array([np.bincount(np.concatenate([each[:8] for each in animals]), minlength=3)]) / 2400
    np.testing.assert_allclose(shares, 1 / 3, atol=0.04)


def test_animals_side_by_side_have_one_code_and_are_absent_where_they_lack_it():
    labels = [np.repeat([0, 1, 2], 5), np.repeat([1, 2, 3], 7), np.repeat([0, 3], 4)]
    sampler = cebra.AnimalsSideBySide(labels, np.random.default_rng(0))
    reference = sampler.sample_prior(500)
    codes = np.stack([np.append(of_animal, -1)[samples] for of_animal, samples in zip(labels, reference, strict=True)])
    assert (codes.max(axis=0) >= 0).all()
    assert ((codes == codes.max(axis=0)) | (codes == -1)).all()
    assert 0.4 < (codes[0] >= 0)[np.isin(codes.max(axis=0), [0, 1, 2])].mean() < 0.8
    partners = sampler.sample_conditional(reference)
    partner_codes = np.stack([np.append(of_animal, -1)[samples] for of_animal, samples in zip(labels, partners, strict=True)])
    np.testing.assert_array_equal(partner_codes.max(axis=0), codes.max(axis=0))


@pytest.mark.parametrize("unified", [False, True])
def test_a_class_that_an_animal_lacks_is_read_in_it_by_the_others(unified):
    """A decoder of the others reads trials of classes that the target was never labelled for, if animals share a code."""
    pytest.importorskip("cebra")
    shared = read_by_others(*animals_on_a_ring(0, shared=True), unified)
    private = [read_by_others(*animals_on_a_ring(seed, shared=False), unified) for seed in range(2)]
    assert shared > 0.7
    assert np.mean(private) < 0.5


LACKING = [1, 4, 7, 10]


def animals_on_a_ring(seed, *, shared):
    """Return training sides of animals whose twelve classes lie on a ring, and trials of four that the first animal lacks."""
    rng = np.random.default_rng(seed)
    training = {}
    for number in range(4):
        angle = 2 * np.pi * (np.arange(12) if shared else rng.permutation(12)) / 12
        codes = np.repeat(np.arange(12), 8)
        means = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)[codes] @ rng.standard_normal((2, 20))
        features = means + rng.standard_normal(means.shape)
        training[f"rat{number}"] = Training(features / features.std(axis=0), codes.astype(np.int16))
    features, codes = training["rat0"]
    lacks = np.isin(codes, LACKING)
    return training | {"rat0": Training(features[~lacks], codes[~lacks])}, Training(features[lacks], codes[lacks])


def read_by_others(training, trials, unified):
    """Return the share of trials of the first animal that a decoder of the others reads, among the classes that it lacks."""
    settings = Contrast(dimensions=4, iterations=80, unified=unified)
    scores = scores_by_others(training, "rat0", trials.features, settings, inverse_penalty=1.0, classes=13)
    assert np.isneginf(scores[:, 12]).all()
    scores = scores[:, LACKING]
    return np.mean(np.array(LACKING)[scores.argmax(axis=1)] == trials.match)


def test_an_animal_that_shares_no_class_with_others_is_refused(study):
    inputs = inputs_of(study)
    training = {name: inputs.training(0, name) for name in inputs.animals}
    apart = {
        name: Training(side.features[side.match == code], side.match[side.match == code])
        for code, (name, side) in enumerate(training.items())
    }
    with pytest.raises(SplitError, match="0 classes that rat0 shares"):
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
    assert refit.rows(study) == {"mcca": True, "cebra": False, "cebra_unified": False}
