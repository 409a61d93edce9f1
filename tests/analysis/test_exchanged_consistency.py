"""The null of scrambled correspondence of consistency: models fitted again with the names of conditions exchanged."""

import numpy as np
import pytest
import xarray as xr

from neuromvm.analysis.consistency.consistency import Options, compare_animals, summarize
from neuromvm.analysis.consistency.refit import compare_exchanged, without_values
from neuromvm.analysis.readouts.representations import Inputs, Latents, RawFeatures
from neuromvm.data.correspondence import exchanged
from neuromvm.data.simulate.codes import simulate_codes
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from neuromvm.workflow.refits import refit

OPTIONS = Options(permutations=99)
SHARING = {"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9}
MODEL = ModelSpec(sharing=SHARING, latent=3, beta=0.01, networks="linear", scale="constant")
TRAINING = TrainingSpec(epochs=30, learning_rate=0.03)


def data(share, seed, animals=4):
    recordings = simulate_codes(animals, 6, 16, 20, share=share, signal=0.5, seed=seed)
    samples = make_samples(recordings, SampleSpec(label=["condition"]))
    return samples, make_splits(samples, SplitSpec(kind="halves", repeats=1, seed=seed))


def compared(share, seed, refits):
    samples, splits = data(share, seed)
    latents = fit(samples, splits, MODEL, TRAINING, progress=False).embed(samples)
    null = refit(samples, splits, MODEL, TRAINING, range(1, refits + 1), null="scrambled correspondence")
    drawn = []
    for number in range(1, refits + 1):
        nodes = {name: node.to_dataset() for name, node in null.children.items()}
        of_number = {name: node.isel(replica=node["exchange"].to_numpy() == number) for name, node in nodes.items()}
        drawn.append(compare_exchanged(exchanged(samples, number), splits, xr.DataTree.from_dict(of_number), number, 1.0))
    representations = {
        "mmvm": Latents(latents, splits, inverse_penalty=1.0),
        "raw": RawFeatures(Inputs(samples, splits), inverse_penalty=1.0),
    }
    return compare_animals(samples, splits, representations, OPTIONS, {"mmvm": xr.concat(drawn, dim="permutation")})


def test_a_shared_code_is_told_from_exchanged_names():
    scores = compared(1.0, 0, refits=19)
    p = scores["correspondence_p"]
    assert (p.sel(measure=["new conditions", "dissimilarities", "cka"]) <= 0.05).all()
    assert scores["correspondence_draws"].to_series().to_dict() == {"mmvm": 19, "raw": 99}
    lines = [line for line in summarize(scores) if line.setting == "between animals, scrambled correspondence"]
    assert [line.representation for line in lines] == ["mmvm"] * 4
    line = lines[1]
    assert (line.null.draws, line.value) == (19, pytest.approx(float(scores["value"].sel(representation="mmvm")[1])))
    assert line.null.p == 0.05
    assert line.null.kind.startswith("refits: ")


def test_refits_that_failed_count_as_reaching_every_value():
    samples, splits = data(1.0, 2, animals=3)
    raw = RawFeatures(Inputs(samples, splits), inverse_penalty=1.0)
    raw.shared = True  # as a model is that was fitted with names
    animals = list(samples.children)
    failed = xr.concat([without_values(animals, number) for number in range(1, 5)], dim="permutation")

    def of_raw(values):
        return compare_animals(samples, splits, {"raw": raw}, OPTIONS, {"raw": values}).sel(representation="raw")

    scores = of_raw(failed)
    assert (scores["correspondence_p"] == 1).all()
    assert str(scores["correspondence_kind"].item()).endswith("; 4 of 4 failed and count as reaching the score")
    failed["value"].values[1:] = -100
    scores = of_raw(failed)
    np.testing.assert_allclose(scores["correspondence_p"], 2 / 5)
    assert "; 1 of 4 failed" in str(scores["correspondence_kind"].item())


def test_exchanging_names_is_the_null_of_conditions_for_what_is_fitted_to_each_animal_alone():
    """Independent check: exchange the names in the samples and compare animals again."""
    samples, splits = data(0.5, 1, animals=3)

    def value(renamed):
        raw = {"raw": RawFeatures(Inputs(renamed, splits), inverse_penalty=1.0)}
        return compare_animals(renamed, splits, raw, OPTIONS).sel(representation="raw")

    scores = value(samples)
    xr.testing.assert_allclose(
        scores["correspondence_p"].drop_vars("null", errors="ignore"), scores["p"].sel(null="conditions", drop=True)
    )
    drawn = np.array([value(exchanged(samples, number))["value"].to_numpy() for number in range(1, 25)])
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    np.testing.assert_array_less(np.abs(drawn.mean(axis=0) - scores["correspondence_mean"].to_numpy()), 4 * error)


def test_a_model_without_refits_has_no_such_null_and_says_why():
    samples, splits = data(1.0, 2, animals=3)
    latents = fit(samples, splits, MODEL, TRAINING.model_copy(update={"epochs": 1}), progress=False).embed(samples)
    scores = compare_animals(samples, splits, {"mmvm": Latents(latents, splits, inverse_penalty=1.0)}, OPTIONS)
    assert np.isnan(scores["correspondence_p"]).all()
    assert "neuromvm refit RUN --null correspondence" in str(scores["correspondence_kind"].item())
    assert not any("scrambled" in line.setting for line in summarize(scores))


@pytest.mark.slow
def test_private_codes_do_not_seem_shared():
    """Under the null of conditions, a model that was not fitted again passes too often."""
    found = [compared(0.0, 100 + seed, refits=19).sel(representation="mmvm") for seed in range(20)]
    p = np.array([scores["correspondence_p"].to_numpy() for scores in found])
    assert ((p <= 0.05).mean(axis=0) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 20)).all()
    assert (np.abs(p.mean(axis=0) - 0.525) < 3 * np.sqrt(1 / 12 / 20)).all()
