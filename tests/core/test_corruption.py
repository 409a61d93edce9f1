"""Simulated trials, condition means as targets, simplex codes: what they are, and that test trials play no part in them."""

import numpy as np
import pytest
import torch

from neuromvm.data.replicas import Replica
from neuromvm.data.splits import make_splits
from neuromvm.data.trial_model import TrialModel
from neuromvm.data.windows import make_samples
from neuromvm.errors import SpecError
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from tests.conftest import tuned_recordings
from tests.core.test_training import trainer_of

SAMPLES = make_samples(
    tuned_recordings({"mitt": (6, 60), "stella": (4, 72)}), SampleSpec(start=0, bin_width=0.5, label="odor", scale="noise")
)
SPLITS = make_splits(SAMPLES, SplitSpec(repeats=2))
MODEL = ModelSpec(sharing="mmvm", latent=3, networks="linear", resample=0.5)


def training_side(name: str, split: int, scaler) -> tuple[np.ndarray, np.ndarray]:
    side = SPLITS[name]["part"].values[split] == Part.TRAIN
    values = np.sqrt(SAMPLES[name]["activity"].values[:, 0].reshape(len(side), -1).astype(np.float32))
    return scaler(values[side]), SAMPLES[name]["match"].values[side, 0]


def test_simulated_trials_have_the_shrunk_means_and_covariance_of_the_training_side():
    trainer = trainer_of([Replica(1, 0)], MODEL, SAMPLES, SPLITS, batch_size=10_000)
    batches = trainer.batches
    pairs = np.repeat(batches.epoch_pairs(0)[:, 0], 400, axis=1)
    batch = batches.batch(pairs, batches.generators(0))
    values, codes = training_side("mitt", 1, batches.scalers["mitt"][0])
    for condition in range(3):
        drawn = batch.inputs["mitt"][0][batch.condition[0] == condition].numpy()
        model = TrialModel.fit(values, codes, units=6, conditions=3, covariance_shrinkage=0.5)
        error = drawn.std(axis=0) / np.sqrt(len(drawn))
        assert (np.abs(drawn.mean(axis=0) - model.mean[condition]) < 5 * error).all()
        residual = values - np.stack([values[codes == code].mean(axis=0) for code in range(3)])[codes]
        sampled = residual.T @ residual / (len(residual) - 3)
        expected = 0.5 * sampled + 0.5 * np.eye(len(sampled)) * np.trace(sampled) / len(sampled)
        assert np.abs(np.cov(drawn.T) - expected).max() < 0.1 * np.abs(expected).max()
    # Targets are the recorded trials.
    index = torch.from_numpy(pairs[0, :, 0])
    torch.testing.assert_close(batch.targets["mitt"][0], batches.animals["mitt"].scaled(index[None])[0])


def test_condition_means_shrink_to_one_point_on_noise_and_stay_where_units_are_tuned():
    random = np.random.default_rng(0)
    codes = np.tile(np.arange(5), 8)
    noise = random.normal(size=(40, 30)).astype(np.float32)
    tuned = noise + 3 * random.normal(size=(5, 30))[codes].astype(np.float32)

    def kept(values: np.ndarray) -> float:
        model = TrialModel.fit(values, codes, units=10, conditions=5, covariance_shrinkage=0.8)
        raw = np.stack([values[codes == code].mean(axis=0) for code in range(5)])
        return float((model.mean - values.mean(axis=0)).std() / (raw - values.mean(axis=0)).std())

    assert kept(noise) < 0.3
    assert kept(tuned) > 0.95


def test_of_one_trial_a_condition_half_is_taken_for_signal():
    random = np.random.default_rng(0)
    values = random.normal(size=(15, 400)).astype(np.float32)
    model = TrialModel.fit(values, np.arange(15), units=100, conditions=15, covariance_shrinkage=0.5)
    centred, variance = values - values.mean(axis=0), values.var(axis=0, ddof=1)
    assert 0.4 < (model.mean - values.mean(axis=0)).std() / centred.std() < 0.6
    assert np.square(model.deviations).sum() + 400 * model.white**2 == pytest.approx(variance.sum() / 2, rel=1e-3)


@pytest.mark.parametrize("likelihood", ["squared_error", "poisson"])
def test_condition_means_are_those_of_the_training_side(likelihood):
    model = ModelSpec(sharing="mmvm", latent=3, networks="linear", likelihood=likelihood, targets="condition_means")
    batches = trainer_of([Replica(0, 0), Replica(1, 0)], model, SAMPLES, SPLITS).batches
    batch = batches.batch(batches.epoch_pairs(0)[:, 0], None)
    for number in range(2):
        values, codes = training_side("stella", number, batches.scalers["stella"][number])
        if likelihood == "poisson":
            side = SPLITS["stella"]["part"].values[number] == Part.TRAIN
            values = SAMPLES["stella"]["activity"].values[side, 0].reshape(side.sum(), -1).astype(np.float32)
        for row, condition in enumerate(batch.condition[number].tolist()):
            expected = values[codes == condition].mean(axis=0)
            np.testing.assert_allclose(batch.targets["stella"][number, row].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("settings", [{"resample": 0.5}, {"targets": "condition_means"}, {"start": "bayes", "code": "simplex"}])
def test_test_trials_play_no_part(settings):
    changed = SAMPLES.copy(deep=True)
    for name in changed.children:
        held_out = (SPLITS[name]["part"].values[0] == Part.TEST).nonzero()[0]
        changed[name]["activity"].values[held_out] = 200
        changed[name]["match"].values[held_out] = 0
    model = ModelSpec(**{"sharing": "mmvm", "latent": 3, "networks": "linear", **settings})
    one, other = (trainer_of([Replica(0, 0)], model, samples, SPLITS) for samples in (SAMPLES, changed))
    assert [record.loss for record in one.run()] == [record.loss for record in other.run()]


def test_members_of_a_stack_draw_the_same_trials_as_alone():
    replicas = [Replica(0, 0), Replica(1, 5)]
    stack = trainer_of(replicas, MODEL, SAMPLES, SPLITS)
    together = list(stack.run())
    for number, replica in enumerate(replicas):
        alone = list(trainer_of([replica], MODEL, SAMPLES, SPLITS, steps=stack.batches.steps).run())
        np.testing.assert_allclose([one.loss[number] for one in together], [one.loss[0] for one in alone], rtol=1e-4)


def test_simplex_codes_are_positive_and_add_up():
    model = ModelSpec(sharing="mmvm", latent=5, networks="linear", code="simplex", gain=3.0)
    latents = fit(SAMPLES, SPLITS, model, TrainingSpec(epochs=3), progress=False).embed(SAMPLES)["mitt"]["latent_mean"]
    assert (latents > 0).all()
    np.testing.assert_allclose(latents.sum("latent"), 3.0, rtol=1e-5)


def test_encoders_that_start_from_bayes_rule_are_linear_discriminants():
    model = ModelSpec(sharing="mmvm", latent=3, networks="linear", code="simplex", start="bayes", gain=1.0)
    trainer = trainer_of([Replica(0, 0)], model, SAMPLES, SPLITS)
    values, codes = training_side("mitt", 0, trainer.batches.scalers["mitt"][0])
    trial = TrialModel.fit(values, codes, units=6, conditions=3, covariance_shrinkage=model.start_shrinkage)
    covariance = trial.deviations.T @ trial.deviations + trial.white**2 * np.eye(values.shape[1])
    distance = values[:, None] - trial.mean
    log_probability = -0.5 * np.einsum("nkp,pq,nkq->nk", distance, np.linalg.inv(covariance), distance)
    expected = np.exp(log_probability - log_probability.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    mean, _ = trainer.model.encoders["mitt"](torch.from_numpy(values))
    np.testing.assert_allclose(mean.detach().numpy(), expected, atol=1e-3)


def test_bayes_rule_needs_a_latent_for_each_condition():
    model = ModelSpec(sharing="mmvm", latent=2, networks="linear", code="simplex", start="bayes")
    with pytest.raises(SpecError, match="at least 3"):
        trainer_of([Replica(0, 0)], model, SAMPLES, SPLITS)


def test_validation_trials_stay_out_of_what_early_stopping_judges():
    splits = make_splits(SAMPLES, SplitSpec(validation=1 / 3))
    model = ModelSpec(sharing="mmvm", latent=3, networks="linear", targets="condition_means")
    batches = trainer_of([Replica(0, 0)], model, SAMPLES, splits).batches
    training = splits["mitt"]["part"].values[0] == Part.TRAIN
    assert len(batches.trial_models(0, 0.5)["mitt"].deviations) == training.sum()
    counts = np.sqrt(SAMPLES["mitt"]["activity"].values[:, 0].reshape(len(training), -1).astype(np.float32))
    scaled = batches.scalers["mitt"][0](counts)[training & (SAMPLES["mitt"]["match"].values[:, 0] == 1)]
    batch = batches.batch(batches.epoch_pairs(0)[:, 0], None)
    found = batch.targets["mitt"][0][batch.condition[0] == 1][0]
    np.testing.assert_allclose(found.numpy(), scaled.mean(axis=0), atol=1e-5)


def test_latents_that_start_as_one_condition_share_its_probability():
    found = []
    for latent in (3, 5):
        model = ModelSpec(sharing="mmvm", latent=latent, networks="linear", code="simplex", start="bayes", gain=1.0)
        trainer = trainer_of([Replica(0, 0)], model, SAMPLES, SPLITS)
        values, _ = training_side("mitt", 0, trainer.batches.scalers["mitt"][0])
        found.append(trainer.model.encoders["mitt"](torch.from_numpy(values))[0].detach().numpy())
    three, five = found
    np.testing.assert_allclose(np.stack([five[:, [0, 3]].sum(1), five[:, [1, 4]].sum(1), five[:, 2]], axis=1), three, atol=1e-5)
