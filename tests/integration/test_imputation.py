"""Activity of an absent animal: better than its mean response where trials are shared events, equal to it where they are not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.special import xlogy

from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import ArgumentError
from neuromvm.inference.imputation import impute
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit

REPEATS, ODORS, BINS = 100, "ABC", 4
UNITS = {"mitt": 20, "stella": 16, "barat": 18}
MODEL = ModelSpec(
    sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 1.0},
    latent=4,
    beta=0.02,
    networks="linear",
    scale="constant",
    likelihood="negative_binomial",  # what is not explained makes counts vary more than Poisson
    input_noise=0.3,
)
TRAINING = TrainingSpec(epochs=100, learning_rate=0.01, schedule="cosine")


def recordings(shared_trials: float, seed: int = 0) -> xr.DataTree:
    """Return animals that see the same events: rates depend on the odor and on what an event adds, the same for all animals."""
    random = np.random.default_rng(seed)
    odor = np.repeat(np.arange(len(ODORS)), REPEATS)
    repeat = np.tile(np.arange(REPEATS), len(ODORS))
    event = random.normal(size=(len(odor), 2))
    children = {}
    for name, units in UNITS.items():
        tuning, loading = 1.0 * random.normal(size=(len(ODORS), units)), random.normal(size=(2, units))
        own = event if shared_trials else random.normal(size=event.shape)
        rate = np.exp(0.7 + tuning[odor] + 0.35 * own @ loading)
        counts = random.poisson(rate[:, None] * np.ones((1, BINS, 1))).astype(np.uint8)
        children[name] = xr.DataTree(
            xr.Dataset(
                {"spike_count": (("trial", "time", "unit"), counts)},
                coords={
                    "trial": np.arange(len(odor)),
                    "unit": np.arange(units),
                    "odor": ("trial", np.array(list(ODORS))[odor]),
                    "repeat": ("trial", repeat),
                    "quarter": ("trial", repeat % 4),
                    "onset": ("trial", 5.0 * np.arange(len(odor))),
                },
            )
        )
    time = ("time", 0.1 * (np.arange(BINS) + 0.5), {"bin_width": 0.1, "units": "s"})
    return xr.DataTree(dataset=xr.Dataset(coords={"time": time}), children=children)


def deviance(counts: np.ndarray, rate: np.ndarray) -> float:
    """Return the mean Poisson deviance of counts [nats]; squared errors would be ruled by the units that fire most."""
    return 2 * (xlogy(counts, counts) - xlogy(counts, rate) - counts + rate).mean()


class Imputed:
    """Errors of imputation and of the odor's mean response, on the same held-out events."""

    def __init__(self, shared_trials: bool, target: str = "stella") -> None:
        # Events that are not shared are matched by odor alone, as recordings of different days are.
        match = ["odor", "repeat"] if shared_trials else ["odor"]
        samples = make_samples(recordings(shared_trials), SampleSpec(label="odor", match=match))
        # An event is on one side of the split in all animals.
        self.splits = make_splits(samples, SplitSpec(kind="blocks", block="quarter", folds=4))
        fitted = fit(samples, self.splits, MODEL, TRAINING, progress=False)
        self.imputed = impute(fitted, samples, self.splits, target, draws=100)
        node = samples[target]
        counts = node["activity"].values[:, 0, 0].astype(float)
        odor = node["label"].values[:, 0]
        self.ours, self.theirs, self.inside = [], [], []
        for replica, split in enumerate(self.imputed["split"].values):
            training = self.splits[target]["part"].values[split] == Part.TRAIN
            one = self.imputed.isel(replica=replica, bin=0)
            for place, code in enumerate(one["match"].values):
                if code < 0:
                    continue
                trial = int(one["trial"].values[place, 0])  # events have the same number in all animals
                assert not training[trial]
                mean_response = counts[training & (odor == odor[trial])].mean(0)
                self.ours.append(deviance(counts[trial], one["mean"].values[place]))
                self.theirs.append(deviance(counts[trial], mean_response))
                low, high = (one[side].values[place] for side in ("low", "high"))
                self.inside.append(np.mean((low <= counts[trial]) & (counts[trial] <= high)))

    def gain(self) -> tuple[float, float]:
        """Return the share of the mean response's error that imputation saves, and its standard error."""
        saved = (np.array(self.theirs) - np.array(self.ours)) / np.mean(self.theirs)
        return saved.mean(), saved.std() / np.sqrt(len(saved))


def test_imputation_beats_the_mean_response_where_events_are_shared():
    found = Imputed(shared_trials=True)
    gain, error = found.gain()
    assert len(found.ours) == 3 * REPEATS
    assert gain > 0.3
    assert gain > 5 * error
    assert np.mean(found.inside) > 0.95


def test_imputation_equals_the_mean_response_where_trials_are_not_shared():
    found = Imputed(shared_trials=False)
    gain, _ = found.gain()
    # Two hundredths of the deviance are the price of estimating a map from 225 training trials.
    assert -0.04 < gain < 0.01
    assert 0.95 < np.mean(found.inside) < 0.99


def test_unknown_animals_and_a_target_among_those_given_are_refused():
    samples = make_samples(recordings(0), SampleSpec(label="odor"))
    splits = make_splits(samples, SplitSpec())
    fitted = fit(samples, splits, MODEL, TrainingSpec(epochs=1), progress=False)
    for target, given, words in (("stela", None, "Did you mean 'stella'"), ("stella", ["stella"], "other than 'stella'")):
        with pytest.raises(ArgumentError, match=words):
            impute(fitted, samples, splits, target, given)


@pytest.mark.parametrize(
    "sharing",
    [
        "independent",
        {"kind": "joint", "aggregation": "product_of_experts"},
        {"kind": "joint", "aggregation": "mixture_of_products", "components": 3},
        "mmvae_plus",
        "mmvm",
    ],
)
def test_every_way_of_sharing_imputes_finite_activity_of_the_target_from_any_subset(sharing):
    samples = make_samples(recordings(1), SampleSpec(label="odor"))
    splits = make_splits(samples, SplitSpec())
    fitted = fit(samples, splits, ModelSpec(sharing=sharing, latent=3), TrainingSpec(epochs=2), progress=False)
    for given in (["mitt"], ["mitt", "barat"]):
        imputed = impute(fitted, samples, splits, "stella", given, draws=20)
        assert imputed["mean"].shape == (1, 150, 1, 16)
        assert np.isfinite(imputed["mean"]).all()
        assert (imputed["low"] <= imputed["high"]).all()
    again = impute(fitted, samples, splits, "stella", ["mitt", "barat"], draws=20)
    assert torch.equal(torch.from_numpy(again["mean"].values), torch.from_numpy(imputed["mean"].values))


def test_imputed_activity_is_in_the_units_of_the_samples():
    samples = make_samples(recordings(1), SampleSpec(label="odor"))
    splits = make_splits(samples, SplitSpec())
    fitted = fit(samples, splits, ModelSpec(sharing="mmvm", latent=3), TrainingSpec(epochs=1), progress=False)
    (scaler,), unit = fitted.scalers["stella"], np.arange(16, dtype=np.float32)
    fitted.scalers["stella"] = [replace(scaler, center=0 * unit, spread=1 + 0 * unit)]
    scaled = impute(fitted, samples, splits, "stella", draws=20)
    fitted.scalers["stella"] = [replace(scaler, center=unit - 5, spread=1 + unit)]
    imputed = impute(fitted, samples, splits, "stella", draws=20)
    for name in ("mean", "low", "high"):
        np.testing.assert_allclose(imputed[name], scaled[name] * (1 + unit) + unit - 5, rtol=1e-4, atol=1e-4)
