"""Reconstruction errors against scikit-learn and against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from neuromvm.data.features import features
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.reconstruction import reconstruct, reconstruction_error
from neuromvm.schema import is_fitted, is_scored
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from tests.conftest import tuned_recordings

TRAINING = TrainingSpec(epochs=1, seeds=[0, 1])


def study(**settings):
    recordings = tuned_recordings({"mitt": (7, 60), "stella": (6, 54)})
    samples = make_samples(recordings, SampleSpec(start=0.0, stop=0.8, bin_width=0.4, label="odor", **settings))
    return samples, make_splits(samples, SplitSpec(kind="halves", repeats=2))


def with_weights(fitted: FittedStack, changed: dict[str, torch.Tensor]) -> FittedStack:
    """Return the stack with some weights of every replica replaced."""
    weights = {name: changed[name].expand_as(value) if name in changed else value for name, value in fitted.weights.items()}
    return FittedStack(
        fitted.spec, fitted.replicas, weights, fitted.scalers, fitted.windows, fitted.trained_on, fitted.conditions
    )


def test_an_autoencoder_with_principal_axes_has_the_error_of_scikit_learn():
    samples, splits = study()
    spec = ModelSpec(sharing="autoencoder", latent=3, networks="linear")
    fitted = fit(samples, splits, spec, TrainingSpec(epochs=1, seeds=[5]), progress=False)
    values = features(samples["mitt"]["activity"], fitted.trained_on)[:, 0]
    part = splits["mitt"]["part"].to_numpy()[0]
    scaler = fitted.scalers["mitt"][0]
    training, tested = scaler(values[is_fitted(part)]), scaler(values[is_scored(part)])
    pca = PCA(3).fit(training)
    axes = torch.from_numpy(pca.components_.astype(np.float32))
    names = [name for name in fitted.weights if ".mitt." in name]
    encoder, decoder = (
        next(n for n in names if n.startswith(side) and n.endswith("weight")) for side in ("encoders", "decoders")
    )
    changed = {name: torch.zeros_like(fitted.weights[name][0]) for name in names if name.endswith("bias")}
    error = reconstruction_error(with_weights(fitted, {**changed, encoder: axes, decoder: axes.T}), samples, splits)
    expected = np.square(pca.inverse_transform(pca.transform(tested)) - tested).mean()
    assert float(error["error"].sel(animal="mitt")[0]) == pytest.approx(expected, rel=1e-4)
    of_mean = np.square(training.mean(axis=0) - tested).mean()
    assert float(error["error_of_mean"].sel(animal="mitt")[0]) == pytest.approx(of_mean, rel=1e-5)


def test_expected_counts_are_transformed_and_scaled_as_counts_are():
    samples, splits = study()
    spec = ModelSpec(sharing="independent", latent=2, networks="linear", likelihood="poisson")
    fitted = fit(samples, splits, spec, TRAINING, progress=False)
    # A decoder that gives 10 Hz whatever it is given, so 4 spikes in a bin of 0.4 s.
    changed = {name: torch.zeros(1) for name in fitted.weights if name.startswith("decoders.mitt.")}
    fixed = with_weights(fitted, {**changed, "likelihoods.mitt.log_baseline": torch.log(torch.tensor([10.0]))})
    decoded = reconstruct(fixed, samples, "mitt", replica=2)
    scaler = fixed.scalers["mitt"][2]
    expected = (np.sqrt(4) - scaler.center) / scaler.spread
    np.testing.assert_allclose(decoded, np.broadcast_to(expected, decoded.shape), rtol=1e-4, atol=1e-5)


def test_errors_are_of_test_trials_and_of_every_replica():
    samples, splits = study(scale="none")
    fitted = fit(samples, splits, ModelSpec(sharing="mmvm", latent=2, networks="linear"), TRAINING, progress=False)
    found = reconstruction_error(fitted, samples, splits)
    assert found["split"].values.tolist() == [0, 0, 1, 1]
    assert found["seed"].values.tolist() == [0, 1, 0, 1]
    louder = samples.copy(deep=True)
    for name, node in louder.children.items():
        tested = is_scored(splits[name]["part"].to_numpy()[0])
        node["activity"].values[~tested] += 3
    again = reconstruction_error(fitted, louder, splits)
    np.testing.assert_array_equal(found["error"][:2], again["error"][:2])
    assert (found["error"][2:] != again["error"][2:]).all()


def test_training_brings_the_error_below_that_of_the_mean():
    samples, splits = study()
    spec = ModelSpec(sharing="autoencoder", latent=4, networks="linear")
    fitted = fit(samples, splits, spec, TrainingSpec(epochs=200, learning_rate=0.01), progress=False)
    found = reconstruction_error(fitted, samples, splits)
    assert (found["error"] < 0.95 * found["error_of_mean"]).all()
