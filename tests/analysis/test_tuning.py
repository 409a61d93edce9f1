import json

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from neuromvm.analysis.baselines import mcca
from neuromvm.analysis.baselines.catalogue import BASELINES, PENALTIES, SplitBySplit, baseline
from neuromvm.analysis.baselines.mcca import scaled_maps
from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.decoding.tuning import inner_folds, training_accuracy, tuned_options, tuned_penalties
from neuromvm.analysis.judged import values
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, RawFeatures, held_out, training_side
from neuromvm.errors import SplitError
from neuromvm.schema import Part
from neuromvm.specs import SplitSpec
from tests.analysis.simulation import poisoned, shared_latents, simulate, study_of, with_node

SMALL = {
    "raw": {"raw_inverse_penalty": (1e-5, 0.1)},
    "raw_lda": {"lda_shrinkage": ("auto", 0.5)},
    "shrunk_lda": {"mean_lda_shrinkage": (1.0, 0.5)},
    "poisson_bayes": {"prior_trials": (100.0, 1.0)},
    "pca": {"principal_components": (1, 4)},
    "procrustes": {"principal_components": (1, 4)},
    "hyperalignment": {"principal_components": (1, 4)},
    "srm": {"response_components": (1, 3)},
    "mcca": {"canonical_components": (1, 3), "ridge": (3.0, 300.0)},
    "dynamics": {"dynamics_dimensions": (1, 3)},
}
OPTIONS = Options(tune=True, inner_folds=2, inner_repeats=3, bootstraps=100, permutations=500)
MANY = (20, 24, 28)  # trials of a class, enough to tell which settings are better


@pytest.fixture(autouse=True)
def _small_grids(monkeypatch):
    for name, grid in SMALL.items():
        monkeypatch.setitem(BASELINES, name, BASELINES[name]._replace(grid=grid))


def test_every_training_trial_is_held_out_once_and_no_other():
    study = simulate(repeats=(10, 7, 6))
    inner = inner_folds(study.samples, study.splits, 4)
    assert inner.folds == 3  # the smallest class has three training trials
    for name, node in inner.splits.children.items():
        labels = study.samples[name]["label"].values[:, 0]
        for split in range(2):
            side = training_side(study.splits, split, name)
            parts = node["part"].values[split * 3 : split * 3 + 3]
            np.testing.assert_array_equal((parts == Part.TEST).sum(axis=0), side)
            np.testing.assert_array_equal((parts == Part.TRAIN).sum(axis=0), 2 * side)
            counts = np.array([np.bincount(labels[part == Part.TEST], minlength=4) for part in parts])
            assert (np.ptp(counts, axis=0) <= 1).all()


def test_a_class_with_one_training_trial_cannot_be_divided():
    study = simulate(repeats=(10, 7, 2))
    with pytest.raises(SplitError, match="one training trial"):
        inner_folds(study.samples, study.splits, 3)


def test_test_trials_have_no_say_in_what_is_chosen():
    study = simulate(signal=0.4, splits=SplitSpec(kind="halves"))
    assert tuned_options(study.samples, study.splits, OPTIONS) == tuned_options(poisoned(study).samples, study.splits, OPTIONS)


def test_test_latents_have_no_say_in_the_penalty():
    study = simulate(splits=SplitSpec(kind="halves"))
    for noise in (0.3, 3.0):
        latents = changed = shared_latents(study, noise=noise, seeds=2)
        for name, node in latents.children.items():
            dataset = node.to_dataset().copy(deep=True)
            dataset["latent_mean"].values[:, held_out(study.splits, 0, name)] = np.nan
            changed = with_node(changed, name, dataset)
        found = [tuned_penalties(one, study.samples, study.splits, OPTIONS) for one in (latents, changed)]
        assert found[0] == found[1]
        assert found[0].settings[0] in PENALTIES
        assert found[0].repeats[0] >= 3


def test_accuracy_is_that_of_scikit_learn_on_the_same_folds():
    study = simulate(signal=0.5)
    inner = inner_folds(study.samples, study.splits, 2)
    raw = RawFeatures(Inputs(study.samples, inner.splits), inverse_penalty=0.1)
    expected = np.zeros((4, 3))
    for column, (name, node) in enumerate(study.samples.children.items()):
        values = np.sqrt(node["activity"].values.reshape(node.sizes["trial"], -1).astype(float))
        labels = node["label"].values[:, 0]
        for fold, part in enumerate(inner.splits[name]["part"].values):
            train, test = part == Part.TRAIN, part == Part.TEST
            scaler = StandardScaler().fit(values[train])
            fitted = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000, class_weight="balanced")
            fitted.fit(scaler.transform(values[train]), labels[train])
            expected[fold, column] = balanced_accuracy_score(labels[test], fitted.predict(scaler.transform(values[test])))
    np.testing.assert_allclose(training_accuracy(raw, study.samples, inner.splits), expected.mean(axis=1))


def test_accuracy_of_what_can_be_compared_is_across_animals():
    study = simulate()
    inner = inner_folds(study.samples, study.splits, 2)
    aligned = baseline("mcca", Inputs(study.samples, inner.splits), Options(canonical_components=3))
    found = training_accuracy(aligned, study.samples, inner.splits)
    predicted = decode(aligned, study.samples, inner.splits)
    scores = []
    for target, node in predicted.children.items():
        labels = study.samples[target]["label"].values[:, 0]
        for source in set(study.samples.children) - {target}:
            codes = node["predicted"].sel(decoder=source).values[..., 0]
            scores.append([balanced_accuracy_score(labels[one >= 0], one[one >= 0]) for one in codes])
    np.testing.assert_allclose(found, np.mean(scores, axis=0))


def test_what_is_needed_is_chosen_in_every_split():
    study = simulate(repeats=MANY)
    tuned = tuned_options(study.samples, study.splits, OPTIONS)
    assert set(tuned) == set(OPTIONS.baselines)
    found = {name: one.settings for name, one in tuned.items()}
    assert all(len(of) == 2 for of in found.values())
    assert {one.raw_inverse_penalty for one in found["raw"]} == {0.1}
    assert {one.principal_components for one in found["procrustes"]} == {4}
    assert {one.canonical_components for one in found["mcca"]} == {3}
    given = tuned_options(study.samples, study.splits, OPTIONS.model_copy(update={"tune": False}))["mcca"]
    assert {one.ridge for one in given.settings} == {OPTIONS.ridge}
    assert given.repeats == [0, 0]


def test_one_division_is_enough_where_it_is_asked_for():
    study = simulate()
    options = OPTIONS.model_copy(update={"inner_repeats": 1, "baselines": ("raw",)})
    assert tuned_options(study.samples, study.splits, options)["raw"].repeats == [1, 1]
    assert "divided anew" not in decoding.compare(study.samples, study.splits, {}, options).attrs["settings"]


def test_an_alignment_is_fitted_once_for_all_penalties_and_read_as_if_it_were_fitted_for_each(monkeypatch):
    grid = {"canonical_components": (2, 3), "canonical_inverse_penalty": (0.01, 1.0)}
    monkeypatch.setitem(BASELINES, "mcca", BASELINES["mcca"]._replace(grid=grid))
    study = simulate()
    inputs, fitted = Inputs(study.samples, study.splits), []
    candidates = [
        Options(canonical_components=number, canonical_inverse_penalty=penalty) for number in (2, 3) for penalty in (0.01, 1.0)
    ]
    assert BASELINES["mcca"].by_alignment(candidates) == [[0, 1], [2, 3]]
    monkeypatch.setattr(mcca, "scaled_maps", lambda *given, **named: fitted.append(1) or scaled_maps(*given, **named))
    shared = list(BASELINES["mcca"].fit_each(inputs, candidates[:2], [0, 1]))
    assert len(fitted) == 2  # splits
    for candidate, representation in zip(candidates[:2], shared, strict=True):
        alone = decode(BASELINES["mcca"].fit(inputs, candidate, [0, 1]), study.samples, study.splits)
        xr.testing.assert_equal(decode(representation, study.samples, study.splits), alone)


def test_candidates_with_more_components_than_dimensions_are_passed_over(monkeypatch):
    study = simulate()
    monkeypatch.setitem(BASELINES, "mcca", BASELINES["mcca"]._replace(grid={"canonical_components": (500, 3)}))
    found = tuned_options(study.samples, study.splits, OPTIONS.model_copy(update={"baselines": ("mcca",)}))
    assert [one.canonical_components for one in found["mcca"].settings] == [3, 3]


@pytest.mark.parametrize("name", list(SMALL))
def test_each_split_is_fitted_with_its_own_settings(name):
    study = simulate(splits=SplitSpec(kind="halves", repeats=3))
    setting, (one, other) = next(iter(SMALL[name].items()))
    inputs = Inputs(study.samples, study.splits)
    pair = [Options(**{setting: value}) for value in (one, other)]
    mixed = baseline(name, inputs, [pair[0], pair[1], pair[0]])
    assert isinstance(mixed, SplitBySplit)
    found = decode(mixed, study.samples, study.splits)
    whole = [decode(baseline(name, inputs, options), study.samples, study.splits) for options in pair]
    for split, of in enumerate((0, 1, 0)):
        for target in study.samples.children:
            xr.testing.assert_equal(
                found[target].to_dataset().isel(replica=split), whole[of][target].to_dataset().isel(replica=split)
            )


def test_scores_keep_what_was_chosen(tmp_path):
    plain = simulate(repeats=MANY)
    study = study_of(plain.samples, plain.splits, {"ideal": shared_latents(plain)})
    options = OPTIONS.model_copy(update={"baselines": ("raw", "mcca")})
    scores = decoding.compute(study, options)
    scores.to_netcdf(tmp_path / "decoding.nc", engine="h5netcdf")
    saved = xr.load_dataset(tmp_path / "decoding.nc", engine="h5netcdf")
    assert saved["chosen"].dims == ("representation", "split")
    assert json.loads(str(saved["chosen"].sel(representation="mcca").values[0]))["canonical_components"] == 3
    assert "chosen on 2 inner folds" in saved.attrs["settings"]
    assert "mcca: canonical_components 3; ridge 3 (best in " in saved.attrs["settings"]
    assert "divided anew until choices did not change, 3 times at most" in saved.attrs["settings"]
    assert (saved["inner_repeats"] >= 3).all()
    assert ((saved["chosen_share"] > 0) & (saved["chosen_share"] <= 1)).all()
    assert values(scores).sel(representation="mcca", setting="cross") > 0.5
    again = decoding.compute(study, options)
    xr.testing.assert_identical(scores, again)


def test_noise_stays_at_the_floor_when_settings_are_tuned():
    p = []
    for seed in range(6):
        noise = simulate(seed, signal=0, repeats=(6, 6, 6), units=(6, 6, 6))
        found = decoding.compute(noise, OPTIONS.model_copy(update={"baselines": ("raw", "mcca")}))
        p.append(found["null_score"].sel(null="labels", target="all animals", null_statistic="p").mean().item())
    assert abs(np.mean(p) - 0.5) < 4 * np.sqrt(1 / 12 / 6)
