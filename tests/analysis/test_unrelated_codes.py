"""Animals that carry classes, each in a code of its own, read each other as often as luck would have it, and no oftener."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest

from neuromvm.analysis.decoding.nulls import cross_with_renamed_classes
from neuromvm.analysis.decoding.scoring import Resampling, score
from neuromvm.analysis.judged import null_in_words, values
from neuromvm.analysis.statistics.renamed_classes import Renaming

CLASSES = 4


def predictions_of(code, seed, trials=40, splits=2, error=0.2):
    """Return true labels, and what decoders say that read code (animal, class) of one animal by that of another."""
    random = np.random.default_rng(seed)
    animals = [f"rat{number}" for number in range(len(code))]
    labels = {name: random.permutation(np.resize(np.arange(CLASSES), trials)).astype(np.int16)[:, None] for name in animals}
    nodes = {}
    for name, written in zip(animals, code, strict=True):
        said = np.stack([read.argsort()[written[labels[name]]] for read in code])
        said = np.tile(said, (splits, 1, 1, 1))
        wrong = random.random(said.shape) < error
        said[wrong] = random.integers(0, CLASSES, wrong.sum())
        tested = (np.arange(trials) % splits) == np.arange(splits)[:, None]  # (split, trial)
        said = np.where(tested[:, None, :, None], said, -1).astype(np.int16)
        common = np.ones((splits, len(animals) + 2, CLASSES), dtype=bool)
        common[:, -2:] = False  # no decoders of several animals here
        missing = np.full((splits, 2, trials, 1), -1, dtype=np.int16)
        nodes[name] = xr.Dataset(
            {
                "predicted": (("replica", "decoder", "trial", "window"), np.concatenate([said, missing], axis=1)),
                "common": (("replica", "decoder", "class"), common),
            },
            coords={"decoder": [*animals, "others", "pooled"], "split": ("replica", np.arange(splits))},
        )
    samples = {name: xr.Dataset({"label": (("trial", "window"), labels[name])}) for name in animals}
    tree = xr.DataTree.from_dict(samples)
    tree.attrs = {"classes": json.dumps([str(code) for code in range(CLASSES)]), "label": "odor"}
    return tree, xr.DataTree.from_dict(nodes)


def judged(code, seed):
    samples, predictions = predictions_of(code, seed)
    scores = score({"model": predictions}, samples, Resampling(100, 500, seed), "")
    return scores.sel(representation="model", setting="cross", target="all animals")


def value_of(scores):
    return float(scores["score"].sel(unit_of_inference="trials", statistic="value"))


@pytest.mark.parametrize("animals", [2, 5])
def test_p_is_uniform_where_every_animal_has_its_own_code_and_that_of_permuted_labels_is_not(animals):
    renamed, permuted = [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        code = np.stack([random.permutation(CLASSES) for _ in range(animals)])
        samples, predictions = predictions_of(code, seed)
        one = judged(code, seed)
        null = cross_with_renamed_classes(predictions, samples, Renaming(list(samples.children), CLASSES, 500, seed))
        value = value_of(one)
        # Ties are many: few ways to name four classes.
        renamed.append(((null > value + 1e-9).sum() + (np.isclose(null, value).sum() + 1) * random.random()) / 501)
        permuted.append(float(one["null_score"].sel(null="labels", null_statistic="p")))
    assert kstest(renamed, "uniform").pvalue > 0.01
    assert np.mean(np.array(permuted) < 0.01) > 0.1


def test_a_common_code_is_found():
    one = judged(np.tile(np.arange(CLASSES), (5, 1)), 0)
    _, low, high, p = one["null_score"].sel(null="class names").values
    assert p < 0.01
    assert low < float(one["chance"]) < high < value_of(one)


def test_names_that_are_all_the_same_give_the_score_itself():
    samples, predictions = predictions_of(np.tile(np.arange(CLASSES), (3, 1)), 1)
    renaming = Renaming(list(samples.children), CLASSES, 5, 0)
    renaming.names = lambda animal, among: np.tile(among, (5, 1))
    value = value_of(judged(np.tile(np.arange(CLASSES), (3, 1)), 1))
    np.testing.assert_allclose(cross_with_renamed_classes(predictions, samples, renaming), value)


def test_an_animal_is_renamed_alike_whoever_reads_it():
    renaming = Renaming(["mitt", "stella"], CLASSES, 50, 0)
    recall = np.random.default_rng(0).random((1, CLASSES, CLASSES))
    there = renaming.accuracy(recall, np.ones(CLASSES, bool), "mitt", "stella")
    back = renaming.accuracy(recall.swapaxes(1, 2), np.ones(CLASSES, bool), "stella", "mitt")
    np.testing.assert_allclose(there, back)


def test_a_decoder_that_is_not_there_in_every_split_weighs_as_it_does_in_the_score():
    code = np.stack([np.random.default_rng(number).permutation(CLASSES) for number in range(3)])
    samples, predictions = predictions_of(code, 3)
    there = predictions["rat0"]["predicted"].copy()
    there[0, 1] = -1  # rat1's decoder, first split
    predictions["rat0"]["predicted"] = there
    renaming = Renaming(list(samples.children), CLASSES, 5, 0)
    renaming.names = lambda animal, among: np.tile(among, (5, 1))
    scores = values(score({"model": predictions}, samples, Resampling(100, 500), "")).sel(representation="model", setting="cross")
    np.testing.assert_allclose(cross_with_renamed_classes(predictions, samples, renaming), float(scores))


def test_places_along_a_track_have_no_such_null():
    samples, predictions = predictions_of(np.tile(np.arange(CLASSES), (3, 1)), 1)
    for name in samples.children:
        label = np.tile(np.arange(2, dtype=np.int16), (40, 1))
        samples[name] = xr.DataTree(xr.Dataset({"label": (("trial", "window"), label)}))
        predicted = np.tile(predictions[name]["predicted"].to_numpy(), 2)
        dataset = predictions[name].to_dataset().drop_vars("predicted")
        predictions[name] = xr.DataTree(dataset.assign(predicted=(("replica", "decoder", "trial", "window"), predicted)))
    scores = score({"model": predictions}, samples, Resampling(100, 500), "")
    assert scores["null_score"].sel(null="class names").isnull().all()
    assert null_in_words(scores, "class names").startswith("none: ")


def test_classes_that_are_not_shared_keep_out():
    common = np.array([True, False, True, True])
    recall = np.eye(CLASSES)[None] * 1.0
    recall[:, ~common] = np.nan
    found = Renaming(["mitt", "stella"], CLASSES, 200, 0).accuracy(recall, common, "mitt", "stella")
    assert set(found[:, 0].round(2).tolist()) == {0.0, 0.33, 1.0}
    alone = Renaming(["mitt", "stella"], CLASSES, 200, 0).accuracy(recall, np.eye(CLASSES, dtype=bool)[0], "mitt", "stella")
    assert np.isnan(alone).all()
