"""Test tuples decoded from all modalities, and from one alone, against what is worked out by hand."""

import numpy as np
import pytest
import torch

from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.inference.reconstruction import reconstruction_error
from neuromvm.inference.whole_tuples import decoded_from_one, joint_reconstruction
from neuromvm.inference.whole_tuples import scored_tuples as tuples_of
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from tests.conftest import tuned_recordings

RECORDINGS = tuned_recordings({"mitt": (7, 60), "stella": (6, 54)})
SAMPLES = make_samples(RECORDINGS, SampleSpec(start=0.0, stop=0.8, bin_width=0.4, label="odor"))
SPLITS = make_splits(SAMPLES, SplitSpec(kind="halves"))


def fitted(sharing, **settings):
    spec = ModelSpec(sharing=sharing, latent=3, networks="linear", **settings)
    return fit(SAMPLES, SPLITS, spec, TrainingSpec(epochs=40, learning_rate=0.01, seeds=[0, 1]), progress=False)


def joint(aggregation):
    return {"kind": "joint", "aggregation": aggregation}


def test_without_noise_the_joint_error_of_separate_latents_is_that_of_each_alone():
    model = fitted("autoencoder")
    both = joint_reconstruction(model, SAMPLES, SPLITS)
    alone = reconstruction_error(model, SAMPLES, SPLITS)["error"]
    tuples = tuples_of(model, SAMPLES, SPLITS, 0)
    counted = (tuples >= 0).sum(axis=0)  # every test sample occurs once
    assert counted.tolist() == [int((SPLITS[name]["part"] == 3).sum()) for name in SAMPLES.children]
    np.testing.assert_allclose(both["error"], alone, rtol=1e-4)
    features = [model.windows[name].features for name in SAMPLES.children]
    np.testing.assert_allclose(-both["log_likelihood"], both["error"] * np.array(features), rtol=1e-4)  # squared error


def test_the_joint_error_of_an_average_is_that_of_its_joint_posterior():
    model = fitted(joint("average"), beta=1e-6, scale="constant", initial_scale=0.01)
    member, tuples = model.member(0), tuples_of(model, SAMPLES, SPLITS, 0)
    tuples = tuples[(tuples >= 0).all(axis=1)]
    scaled = {name: model.scaled(SAMPLES, name, 0).flatten(0, 1)[tuples[:, column]] for column, name in enumerate(model.scalers)}
    with torch.no_grad():
        mean = sum(member.encoders[name](values)[0] for name, values in scaled.items()) / 2
        by_hand = [float((member.decoders[name](mean) - values).square().mean()) for name, values in scaled.items()]
    whole = joint_reconstruction(model, SAMPLES, SPLITS)["error"][0]
    np.testing.assert_allclose(whole, by_hand, rtol=0.1)  # posteriors are narrow, and a few tuples lack a modality


@pytest.mark.parametrize("sharing", ["mmvm", "mmvae_plus", joint("mixture_of_experts"), joint("product_of_experts")])
def test_log_likelihoods_of_tuples_are_those_of_the_objective(sharing):
    model = fitted(sharing, likelihood="gaussian")
    found = joint_reconstruction(model, SAMPLES, SPLITS, seed=3)
    other = joint_reconstruction(model, SAMPLES, SPLITS, seed=4)
    assert np.isfinite(found["log_likelihood"]).all()
    np.testing.assert_allclose(found["log_likelihood"], other["log_likelihood"], rtol=0.1)  # of other draws
    heavy = fitted(sharing, likelihood="gaussian", likelihood_weight_of={"mitt": 1.0})
    np.testing.assert_allclose(joint_reconstruction(heavy, SAMPLES, SPLITS, seed=3)["error"], found["error"], rtol=0.05)


def test_what_is_decoded_from_one_modality_uses_no_other():
    model = fitted("mmvm", scale="constant", initial_scale=0.01, beta=0.1)
    changed = SAMPLES.copy(deep=True)
    changed["stella"]["activity"] = changed["stella"]["activity"] * 0
    before = {(each.source, each.target): each for each in decoded_from_one(model, SAMPLES, SPLITS, 0)}
    after = {(each.source, each.target): each for each in decoded_from_one(model, changed, SPLITS, 0)}
    assert set(before) == {(source, target) for source in SAMPLES.children for target in SAMPLES.children}
    np.testing.assert_array_equal(before["mitt", "stella"].decoded, after["mitt", "stella"].decoded)
    assert np.abs(before["stella", "mitt"].decoded - after["stella", "mitt"].decoded).max() > 0.1
    own = before["mitt", "mitt"]
    np.testing.assert_allclose(-own.log_likelihood, np.square(own.decoded - own.true).sum(1), rtol=1e-4)
    error = {pair: np.square(each.decoded - each.true).mean() for pair, each in before.items()}
    assert error["mitt", "mitt"] < error["stella", "mitt"]


def test_counts_are_compared_as_recorded():
    model = fitted("mmvm", likelihood="poisson")
    each = next(iter(decoded_from_one(model, SAMPLES, SPLITS, 0)))
    assert (each.true == np.round(each.true)).all()
    assert (each.decoded > 0).all()
    assert joint_reconstruction(model, SAMPLES, SPLITS)["error"].min() > 0
