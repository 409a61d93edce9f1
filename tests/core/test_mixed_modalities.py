"""Spikes of one animal, calcium events of another: one model, a likelihood of its own for each."""

import numpy as np
import pytest
import xarray as xr

from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import SpecError
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.imputation import impute
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from tests.conftest import tuned_recordings

MODEL = ModelSpec(sharing="mmvm", latent=3, networks="linear", likelihood="poisson", likelihood_of={"stella": "gaussian"})


@pytest.fixture(scope="module")
def samples() -> xr.DataTree:
    recordings = tuned_recordings({"mitt": (6, 60), "stella": (4, 60)})
    calcium = recordings["stella"].to_dataset(inherit=False)
    amplitude = np.random.default_rng(0).gamma(2.0, 0.3, calcium["spike_count"].shape) * calcium["spike_count"]
    calcium = calcium.drop_vars("spike_count").assign(event_amplitude=amplitude.astype(np.float32))
    children = {"mitt": recordings["mitt"], "stella": xr.DataTree(calcium)}
    mixed = xr.DataTree(dataset=recordings.to_dataset(), children={name: node.copy() for name, node in children.items()})
    return make_samples(mixed, SampleSpec(start=0, bin_width=0.5, label="odor"))


def test_counts_are_scored_as_counts_and_amplitudes_as_scaled_features(samples, tmp_path):
    splits = make_splits(samples, SplitSpec())
    fitted = fit(samples, splits, MODEL, TrainingSpec(epochs=5), folder=tmp_path, progress=False)
    assert {name: type(one).__name__ for name, one in fitted.member(0).likelihoods.items()} == {
        "mitt": "Poisson",
        "stella": "Gaussian",
    }
    counts = impute(fitted, samples, splits, "mitt", draws=20)
    assert counts.attrs["kind"] == "count"
    assert (counts["low"].values >= 0).all()
    assert impute(fitted, samples, splits, "stella", draws=20).attrs["kind"].startswith("transformed")
    # Starting rates are those of the training side, per second.
    training = samples["mitt"]["activity"].values[splits["mitt"]["part"].values[0] == 1].reshape(30, -1)
    np.testing.assert_allclose(
        np.exp(fitted.weights["likelihoods.mitt.log_baseline"][0].numpy()), (training.sum(0) + 0.5) / 31 / 0.5, rtol=1e-5
    )
    assert FittedStack.load(tmp_path).embed(samples).identical(fitted.embed(samples))


def test_a_likelihood_of_an_unknown_animal_is_refused(samples):
    model = MODEL.model_copy(update={"likelihood_of": {"stela": MODEL.likelihood}})
    with pytest.raises(SpecError, match="Did you mean 'stella'"):
        fit(samples, make_splits(samples, SplitSpec()), model, TrainingSpec(epochs=1), progress=False)


def test_activity_that_a_likelihood_cannot_score_is_refused_with_the_animal(samples):
    model = ModelSpec(sharing="mmvm", likelihood_of={"mitt": "bernoulli"})
    with pytest.raises(SpecError, match="likelihood of animal mitt"):
        fit(samples, make_splits(samples, SplitSpec()), model, TrainingSpec(epochs=1), progress=False)
