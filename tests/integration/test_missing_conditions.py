"""Class means predicted for an animal that was never labelled for them: by hand for linear decoders, and on simulated codes."""

import numpy as np
import pytest
import xarray as xr

from neuromvm import schema
from neuromvm.data.features import features
from neuromvm.data.splits import make_splits, without_animal
from neuromvm.data.windows import make_samples, sample_spec
from neuromvm.errors import ArgumentError
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.missing_conditions import predict_class_means
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit

CLASSES, REPEATS, SPLITS = 8, 12, 2
UNITS = {"mitt": 25, "stella": 18, "barat": 20, "buchanan": 22}
HELD_OUT = {"mitt": [0, 1], "stella": [2, 3], "barat": [4, 5], "buchanan": [6, 5]}
NOWHERE = 7  # on no animal's training side in the split 1
TRAINING = TrainingSpec(epochs=60, learning_rate=0.01)


def simulated_samples(shared: bool, seed: int = 0) -> xr.DataTree:
    """Return counts of animals whose units read class codes in three dimensions: the same codes, or codes of each animal."""
    random = np.random.default_rng(seed)
    odor = np.repeat(np.arange(CLASSES), REPEATS)
    code = random.normal(size=(CLASSES, 3))
    children = {}
    for name, units in UNITS.items():
        code = code if shared else random.normal(size=code.shape)
        rate = np.exp(1.5 + 0.5 * (code @ random.normal(size=(3, units)))[odor])
        counts = random.poisson(rate[:, None]).astype(np.uint16)
        coords = {
            "trial": np.arange(len(odor)),
            "unit": np.arange(units),
            "odor": ("trial", odor),
            "rewarded": ("trial", odor % 2),
            "onset": ("trial", 1.0 * np.arange(len(odor))),
        }
        children[name] = xr.DataTree(xr.Dataset({"spike_count": (("trial", "time", "unit"), counts)}, coords))
    time = ("time", [0.1], {"bin_width": 0.2, "units": "s"})
    return make_samples(
        xr.DataTree(xr.Dataset(coords={"time": time}), children=children), SampleSpec(label=["rewarded"], match=["odor"])
    )


def splits_without_classes(samples: xr.DataTree) -> xr.DataTree:
    """Return splits in which classes of each animal are not on its training side: HELD_OUT, in the split 1 also NOWHERE."""
    splits = make_splits(samples, SplitSpec(kind="halves", repeats=SPLITS))
    nodes = {}
    for name, node in schema.animals(splits):
        code = samples[name]["match"].to_numpy()[:, 0]
        parts = np.where(np.isin(code, HELD_OUT[name]), Part.TEST, Part.TRAIN) * np.ones((SPLITS, 1), dtype=np.int8)
        parts[1, code == NOWHERE] = Part.TEST
        nodes[name] = node.assign(part=(("split", "trial"), parts.astype(np.int8)))
    return xr.DataTree.from_dict({"/": splits.to_dataset(), **nodes})


def fitted_to(samples: xr.DataTree, splits: xr.DataTree, **settings: object) -> FittedStack:
    sharing = {"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9}
    model = {"sharing": sharing, "latent": 4, "beta": 0.1, "networks": "linear", "scale": "constant", "input_noise": 0.3}
    return fit(samples, splits, ModelSpec(**{**model, **settings}), TRAINING, progress=False)


def true_means(samples: xr.DataTree, fitted: FittedStack, name: str, trials: np.ndarray) -> np.ndarray:
    """Return the mean scaled features of each class among trials ``(class, feature)``, NaN without any; of the replica 0."""
    values = fitted.scalers[name][0](features(samples[name].to_dataset()["activity"], sample_spec(samples)))[:, 0]
    codes = samples[name]["match"].to_numpy()[:, 0]
    chosen = [values[trials & (codes == code)] for code in range(CLASSES)]
    return np.stack([block.mean(axis=0) if len(block) else np.full(values.shape[1], np.nan) for block in chosen])


def correlation_in_held_out(samples: xr.DataTree, fitted: FittedStack, splits: xr.DataTree) -> float:
    """Return the mean correlation over units of predicted and true means of held-out classes, each minus the mean of the seen."""
    predicted, pairs = predict_class_means(fitted, samples, splits), []
    for name, held_out in HELD_OUT.items():
        true = true_means(samples, fitted, name, np.ones(samples[name].sizes["trial"], dtype=bool))
        seen = np.setdiff1d(np.arange(CLASSES), held_out)
        guess = predicted[name]["predicted"].to_numpy()[0]
        pairs += [np.corrcoef(guess[code], true[code] - true[seen].mean(axis=0))[0, 1] for code in held_out]
    return float(np.mean(pairs))


@pytest.fixture(scope="module")
def samples() -> xr.DataTree:
    return simulated_samples(shared=True)


@pytest.fixture(scope="module")
def splits(samples: xr.DataTree) -> xr.DataTree:
    return splits_without_classes(samples)


@pytest.fixture(scope="module")
def fitted(samples: xr.DataTree, splits: xr.DataTree) -> FittedStack:
    return fitted_to(samples, splits)


def test_linear_decoders_by_hand(samples: xr.DataTree, splits: xr.DataTree, fitted: FittedStack) -> None:
    """The mean of decoded means is the decoded mean; the mean residual of the seen classes is taken off."""
    target, sources = "stella", ["mitt", "barat", "buchanan"]
    node = predict_class_means(fitted, samples, splits)[target]
    latents = []
    for name in sources:
        training = splits[name]["part"].to_numpy()[0] == Part.TRAIN
        means = true_means(samples, fitted, name, training)
        weight, bias = (fitted.weights[f"encoders.{name}.mean.{part}"][0].numpy() for part in ("weight", "bias"))
        latents.append(means @ weight.T + bias)
    assert node["animal"].to_numpy().tolist() == sources
    np.testing.assert_allclose(node["latent_mean"].to_numpy()[0], np.stack(latents), atol=1e-4)
    weight, bias = (fitted.weights[f"decoders.{target}.1.{part}"][0].numpy() for part in ("weight", "bias"))
    decoded = np.nanmean(latents, axis=0) @ weight.T + bias
    seen = np.setdiff1d(np.arange(CLASSES), HELD_OUT[target])
    residual = true_means(samples, fitted, target, splits[target]["part"].to_numpy()[0] == Part.TRAIN) - decoded
    np.testing.assert_allclose(node["predicted"].to_numpy()[0], decoded + residual[seen].mean(axis=0), atol=1e-4)
    assert node["seen"].to_numpy()[0].nonzero()[0].tolist() == seen.tolist()
    assert node["class"].to_numpy().tolist() == [str(code) for code in range(CLASSES)]
    assert node["split"].to_numpy().tolist() == [0, 1]


def test_class_of_no_source_is_missing(samples: xr.DataTree, splits: xr.DataTree, fitted: FittedStack) -> None:
    for _, node in schema.animals(predict_class_means(fitted, samples, splits)):
        missing = np.isnan(node["predicted"].to_numpy()).all(axis=2)
        assert np.argwhere(missing).tolist() == [[1, NOWHERE]]
        assert np.isnan(node["predicted"].to_numpy()).sum() == node.sizes["feature"]


def test_test_trials_take_no_part(samples: xr.DataTree, splits: xr.DataTree, fitted: FittedStack) -> None:
    """Labels and activity of trials off the training side may be anything."""
    changed = samples.copy(deep=True)
    for name in HELD_OUT:
        off = splits[name]["part"].to_numpy()[0] != Part.TRAIN
        changed[name]["activity"][off] = 0
        changed[name]["match"][off] = -1
    expected, result = (predict_class_means(fitted.first_replica(), tree, splits) for tree in (samples, changed))
    for name in HELD_OUT:
        xr.testing.assert_equal(expected[name].to_dataset(), result[name].to_dataset())


@pytest.mark.parametrize("settings", [{}, {"networks": {"kind": "mlp", "hidden": [16]}}, {"likelihood": "poisson"}])
def test_shared_codes_predict_held_out_classes(settings: dict[str, object]) -> None:
    """Predictions correlate with the truth where animals share codes, and do not where each has codes of its own."""
    correlations = []
    for shared in (True, False):
        samples = simulated_samples(shared)
        splits = splits_without_classes(samples)
        correlations.append(correlation_in_held_out(samples, fitted_to(samples, splits, **settings), splits))
    assert correlations[0] > 0.6
    assert abs(correlations[1]) < 0.3


def test_private_latents_are_left_out(samples: xr.DataTree, splits: xr.DataTree) -> None:
    """Activity predicted from other animals does not depend on what is private to them."""
    fitted = fitted_to(samples, splits, sharing={"kind": "mmvae_plus", "private": 2, "samples": 1})
    expected = predict_class_means(fitted, samples, splits)["stella"]["predicted"].to_numpy()
    for name in ("mitt", "barat", "buchanan"):
        fitted.weights[f"encoders.{name}.mean.bias"][:, 4:] += 5
    np.testing.assert_array_equal(predict_class_means(fitted, samples, splits)["stella"]["predicted"].to_numpy(), expected)


def test_single_animal_is_refused(samples: xr.DataTree, splits: xr.DataTree) -> None:
    for name in ("barat", "buchanan", "mitt"):
        samples, splits = without_animal(samples, name), without_animal(splits, name)
    with pytest.raises(ArgumentError, match="at least two animals"):
        predict_class_means(fitted_to(samples, splits, sharing="independent"), samples, splits)
