"""Settings that do not fit the data are said before training, with both numbers and the setting that would."""

import logging

import pytest

import neuromvm as nm
from neuromvm.analysis.latents.agreement_warnings import agreement_warnings
from neuromvm.data.pairing import condition_count
from neuromvm.data.simulate import simulate_codes
from neuromvm.inference.agreement import posterior_agreement
from neuromvm.training.misfits import misfits

SIMPLEX = {"sharing": "mmvm", "networks": "linear", "scale": "constant", "code": "simplex"}


@pytest.fixture(scope="module")
def made():
    recordings = simulate_codes(2, 13, trials=6, units=20, seed=0)
    samples = nm.make_samples(recordings, nm.SampleSpec(label=["condition"]))
    return samples, nm.make_splits(samples, nm.SplitSpec(kind="halves"))


def test_latents_of_a_simplex_code_are_compared_with_conditions(made, caplog):
    samples, splits = made
    assert condition_count(samples) == 13
    (sentence,) = misfits(nm.ModelSpec(latent=16, **SIMPLEX), samples, splits)
    assert "16 latents for 13 conditions" in sentence
    assert "3 are left over" in sentence
    assert sentence.endswith("Set latent to 13")
    (sentence,) = misfits(nm.ModelSpec(latent=10, **SIMPLEX), samples, splits)
    assert "10 latents for 13 conditions" in sentence
    assert misfits(nm.ModelSpec(latent=13, **SIMPLEX), samples, splits) == []
    assert misfits(nm.ModelSpec(latent=16, sharing="mmvm", networks="linear"), samples, splits) == []
    with caplog.at_level(logging.WARNING, "neuromvm"):
        nm.fit(samples, splits, nm.ModelSpec(latent=16, **SIMPLEX), nm.TrainingSpec(epochs=1), progress=False)
    assert "16 latents for 13 conditions" in caplog.text


def test_latents_of_linear_networks_are_compared_with_features(made):
    samples, splits = made
    (sentence,) = misfits(nm.ModelSpec(latent=24, sharing="mmvm", networks="linear"), samples, splits)
    assert "24 latents, and no animal with more than 20 features" in sentence
    assert misfits(nm.ModelSpec(latent=24, sharing="mmvm", networks="mlp"), samples, splits) == []


def test_single_training_trials_and_single_animals_are_said():
    recordings = simulate_codes(1, 5, trials=2, units=20, seed=0)
    samples = nm.make_samples(recordings, nm.SampleSpec(label=["condition"]))
    splits = nm.make_splits(samples, nm.SplitSpec(kind="halves"))
    sentences = misfits(nm.ModelSpec(latent=5, start="bayes", **SIMPLEX), samples, splits)
    assert [words for words in ("one training trial", "with one animal") for line in sentences if words in line] == [
        "one training trial",
        "with one animal",
    ]


def test_smoothing_of_one_bin_is_said(made):
    _, splits = made
    samples = nm.make_samples(simulate_codes(2, 13, trials=6, units=20, seed=0), nm.SampleSpec(label=["condition"], smooth=0.1))
    (sentence,) = misfits(nm.ModelSpec(latent=4, sharing="mmvm", networks="linear"), samples, splits)
    assert "samples.smooth" in sentence


def test_collapsed_latents_of_a_simplex_code_are_explained(made):
    samples, splits = made
    fitted = nm.fit(samples, splits, nm.ModelSpec(latent=16, **SIMPLEX), nm.TrainingSpec(epochs=1), progress=False)
    about = posterior_agreement(fitted.embed(samples), splits)
    about["collapsed"][:] = False
    about["collapsed"][..., :3] = True
    said = agreement_warnings(about, 13)[0]
    assert "A simplex code of 13 conditions fills 13 latents. Set latent to 13" in said
    assert "Lower beta" in agreement_warnings(about)[0]
    assert "does not tell" in agreement_warnings(about, 16)[0]
