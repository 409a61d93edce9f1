"""What units carry and what latents stand for, against the numbers of linear networks."""

import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.linear_model import LogisticRegression

from neuromvm.analysis.latents.unit_effects import unit_effects
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import ArgumentError
from neuromvm.inference.ablation import ablate
from neuromvm.inference.traversal import traverse
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from tests.conftest import tuned_recordings

BINS, LATENT = 4, 3


def fitted_with(sharing="mmvm", transform="sqrt", **settings):
    recordings = tuned_recordings({"mitt": (12, 60), "stella": (9, 48)})
    mitt = recordings["mitt"].to_dataset(inherit=False).assign_coords(region=("unit", ["CA1"] * 5 + ["CA3"] * 7))
    recordings["mitt"] = xr.DataTree(mitt)
    samples = make_samples(recordings, SampleSpec(label=["odor"], bin_width=0.5, transform=transform))
    splits = make_splits(samples, SplitSpec())
    model = ModelSpec(sharing=sharing, latent=LATENT, networks={"kind": "linear"}, beta=0.01, **settings)
    return fit(samples, splits, model, TrainingSpec(epochs=30), progress=False), samples, splits


@pytest.fixture(scope="module")
def linear():
    fitted, samples, splits = fitted_with()
    weight = fitted.weights["encoders.mitt.mean.weight"]
    weight[0].reshape(LATENT, BINS, 12)[:, :, 7] = 0  # one unit that the encoder does not see
    return fitted, samples, splits


def of_mitt(fitted, samples, splits):
    """Return weights (latent, bin, unit), scaled features (trial, bin, unit) and which trials train and test."""
    weight = fitted.weights["encoders.mitt.mean.weight"][0].double().numpy().reshape(LATENT, BINS, 12)
    values = fitted.scaled(samples, "mitt", 0).double().numpy().reshape(-1, BINS, 12)
    part = splits["mitt"]["part"].values[0]
    return weight, values, np.isin(part, (Part.TRAIN, Part.VALIDATION)), part == Part.TEST


def test_silence_moves_a_linear_latent_by_weight_times_deviation(linear):
    weight, values, training, tested = of_mitt(*linear)
    deviation = values[tested] - values[training].mean(axis=0)
    moved = np.einsum("lbu,tbu->tul", weight, deviation)
    spread = np.einsum("lbu,tbu->tl", weight, values[training]).std(axis=0)
    effects = unit_effects(ablate(*linear))["mitt"]
    np.testing.assert_allclose(effects["latent_effect"], np.sqrt(np.square(moved).mean(axis=0)) / spread, rtol=1e-4, atol=1e-6)
    assert effects["region"].values.tolist() == ["CA1"] * 5 + ["CA3"] * 7


def test_a_unit_without_weight_has_no_effect(linear):
    effects = unit_effects(ablate(*linear))["mitt"].to_dataset().isel(unit=7)
    for key in ("latent_effect", "class_effect", "class_effect_error"):
        np.testing.assert_allclose(effects[key], 0, atol=1e-6)
    assert (unit_effects(ablate(*linear))["mitt"]["latent_effect"].isel(unit=0) > 0.01).all()


def test_loss_of_a_class_is_that_of_a_decoder_fitted_by_hand(linear):
    weight, values, training, tested = of_mitt(*linear)
    label = linear[1]["mitt"]["label"].values[:, 0]
    bias = linear[0].weights["encoders.mitt.mean.bias"][0].double().numpy()
    means = np.einsum("lbu,tbu->tl", weight, values) + bias
    spread = means[training].std(axis=0)
    decoder = LogisticRegression(C=1.0, max_iter=1000).fit(means[training] / spread, label[training])
    silenced = values.copy()
    silenced[:, :, 3] = values[training].mean(axis=0)[:, 3]
    after = np.einsum("lbu,tbu->tl", weight, silenced) + bias
    chosen = tested & (label == 1)
    each = [decoder.predict_log_proba(one[chosen] / spread)[:, 1] for one in (means, after)]
    loss = each[0] - each[1]
    effects = unit_effects(ablate(*linear))["mitt"].to_dataset().sel({"class": "B"}).isel(unit=3)
    assert float(effects["class_effect"]) == pytest.approx(loss.mean(), rel=1e-3, abs=1e-5)
    assert float(effects["class_effect_error"]) == pytest.approx(loss.std(ddof=1) / np.sqrt(chosen.sum()), rel=1e-3, abs=1e-5)
    assert float(effects["trials"]) == chosen.sum()
    assert float(effects["class_log_probability"]) == pytest.approx(each[0].mean(), rel=1e-3)
    assert effects["class_effect_low"] < effects["class_effect"] < effects["class_effect_high"]


def test_test_trials_do_not_enter_what_is_fitted(linear):
    fitted, samples, splits = linear
    changed = samples.copy(deep=True)
    label = changed["mitt"]["label"].values
    tested = splits["mitt"]["part"].values[0] == Part.TEST
    label[tested] = (label[tested] + 1) % 3
    before, after = (unit_effects(ablate(fitted, one, splits))["mitt"] for one in (samples, changed))
    xr.testing.assert_identical(before["latent_effect"], after["latent_effect"])
    xr.testing.assert_identical(traverse(fitted, samples, splits), traverse(fitted, changed, splits))


def test_a_linear_decoder_gives_straight_lines_with_its_weights_as_slopes():
    fitted, samples, splits = fitted_with(transform="none")
    moved = traverse(fitted, samples, splits, steps=5, extent=2.0)["mitt"].to_dataset()
    weight = fitted.weights["decoders.mitt.1.weight"][0].numpy().reshape(BINS, 12, LATENT)
    spread = fitted.scalers["mitt"][0].spread.reshape(BINS, 12, 1)
    slope = np.diff(moved["activity"].transpose("bin", "unit", "latent", "step").values, axis=-1)
    expected = weight * spread * moved["deviation"].values / 0.5  # deviations, in bins of 0.5 s
    np.testing.assert_allclose(slope, np.repeat(expected[..., None], 4, axis=-1), rtol=1e-3, atol=1e-4)
    assert moved["activity"].attrs["units"] == "Hz"
    means = [fitted.embed(samples)[name]["latent_mean"].values[0] for name in ("mitt", "stella")]
    training = [np.isin(splits[name]["part"].values[0], (Part.TRAIN, Part.VALIDATION)) for name in ("mitt", "stella")]
    pooled = np.concatenate([one[side, 0] for one, side in zip(means, training, strict=True)])
    np.testing.assert_allclose(moved["center"], pooled.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(moved["deviation"], pooled.std(axis=0), rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "units"),
    [
        ({}, "square root of spikes a bin"),
        ({"transform": "log1p"}, "log(1 + spikes a bin)"),
        ({"likelihood": "poisson"}, "Hz"),
    ],
)
def test_activity_is_a_rate_only_where_that_can_be_said(settings, units):
    fitted, samples, splits = fitted_with(**settings)
    moved = traverse(fitted, samples, splits)["mitt"]["activity"]
    assert moved.attrs["units"] == units
    if units == "Hz":
        assert (moved > 0).all()
        rate = samples["mitt"]["activity"].mean(("trial", "window", "bin")) / 0.5
        assert np.corrcoef(moved.sel(step=0).isel(latent=0).mean("bin"), rate)[0, 1] > 0.9


def test_private_latents_move_about_their_own_mean():
    fitted, samples, splits = fitted_with(sharing={"kind": "mmvae_plus", "private": 2})
    mitt, stella = (traverse(fitted, samples, splits)[name].to_dataset() for name in ("mitt", "stella"))
    same = mitt["deviation"].values == stella["deviation"].values
    assert same.tolist() == mitt["shared"].values.tolist() == [True] * LATENT + [False] * 2


def test_a_replica_that_is_not_there_is_refused(linear):
    with pytest.raises(ArgumentError, match="0 to 0"):
        ablate(*linear, replica=1)
    with pytest.raises(ArgumentError, match="two steps"):
        traverse(*linear, steps=1)


def test_weights_are_left_as_they_were(linear):
    before = {key: value.clone() for key, value in linear[0].weights.items()}
    ablate(*linear)
    traverse(*linear)
    assert all(torch.equal(before[key], value) for key, value in linear[0].weights.items())
