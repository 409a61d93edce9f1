"""Replicas of one stack differ in null data, beta and how long they train, and each is what it would be alone."""

import numpy as np
import pytest
import torch

from neuromvm.data.permutation import permuted
from neuromvm.data.replicas import Replica
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec
from neuromvm.training import trainer as training
from neuromvm.training.checkpoints import load_latest_checkpoint, save_checkpoint
from neuromvm.training.fit import fitted_stack
from tests.conftest import tuned_recordings, with_trial_label
from tests.core.test_training import MODEL, SAMPLES, trainer_of

MODELS = {
    "corrupted": MODEL,
    "counts": ModelSpec.model_validate({**MODEL.model_dump(), "likelihood": "poisson"}),
    "resampled": ModelSpec(sharing="mmvm", latent=3, resample=0.5, targets="condition_means", networks="linear"),
    "bayes": ModelSpec(sharing="mmvm", latent=3, code="simplex", start="bayes", networks="linear", scale="constant"),
    "mlp": ModelSpec(sharing="mmvm", latent=3, networks={"kind": "mlp", "hidden": [5]}),
}


@pytest.fixture(params=[60, 3, 1], ids=["together", "in parts", "one by one"])
def largest(request, monkeypatch):
    """How many replicas are computed together at most."""
    monkeypatch.setattr(training, "largest_stack", lambda weights, rows, features: request.param)
    return request.param


@pytest.mark.usefixtures("largest")
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_null_data_in_a_stack_are_a_training_on_permuted_samples(model):
    stack = trainer_of([Replica(0, 0), Replica(1, 0, 5), Replica(0, 0, 7)], model)
    together = list(stack.run())
    alone = trainer_of([Replica(1, 0)], model, permuted(SAMPLES, 5))
    losses = [record.loss[0] for record in alone.run()]
    np.testing.assert_allclose([record.loss[1] for record in together], losses, rtol=1e-4)
    fitted = fitted_stack(model, stack)
    single = fitted_stack(model, alone)
    latents, expected = fitted.embed(SAMPLES), single.embed(permuted(SAMPLES, 5))
    assert latents["mitt"]["permutation"].values.tolist() == [0, 5, 7]
    for name in latents.children:
        np.testing.assert_allclose(latents[name].latent_mean[1], expected[name].latent_mean[0], rtol=1e-3, atol=1e-3)
        assert abs(latents[name].latent_mean[0] - latents[name].latent_mean[2]).max() > 0.1


def test_latents_of_null_data_stay_within_their_block():
    samples = with_trial_label(SAMPLES, "block", lambda animal: np.arange(animal.sizes["trial"]) // 12)
    stack = trainer_of([Replica(0, 0), Replica(0, 0, 5, "block")], samples=samples)
    weights = {name: torch.stack([value[0], value[0]]) for name, value in stack.weights().items()}
    fitted = fitted_stack(MODEL, stack)
    fitted.weights = weights
    fitted.scalers = {name: [scaler, scaler] for name, (scaler, _) in fitted.scalers.items()}
    for node in fitted.embed(samples).children.values():
        latents = node["latent_mean"].values[:, :, 0].reshape(2, -1, 12, 3)  # (replica, block, trial, latent)
        assert (latents[0] != latents[1]).any()
        np.testing.assert_array_equal(*np.sort(latents, axis=2))


def test_beta_is_a_replicas_own():
    stack = trainer_of([Replica(0, 0), Replica(0, 0, beta=20.0)])
    together = list(stack.run())
    for number, beta in enumerate((MODEL.beta, 20.0)):
        alone = trainer_of([Replica(0, 0)], MODEL.model_copy(update={"beta": beta}))
        np.testing.assert_allclose([one.loss[number] for one in together], [one.loss[0] for one in alone.run()], rtol=1e-4)


def stopping(replicas, **settings):
    return trainer_of(replicas, samples=NOISE, splits=NOISE_SPLITS, learning_rate=0.03, epochs=80, patience=4, **settings)


NOISE = make_samples(tuned_recordings({"mitt": (6, 36), "stella": (4, 48)}, tuning=0.5), SampleSpec(start=0, label=["odor"]))
NOISE_SPLITS = make_splits(NOISE, SplitSpec(repeats=2, validation=1 / 3))
EACH = [Replica(0, 0), Replica(1, 0), Replica(0, 3), Replica(1, 0, 2)]


@pytest.mark.usefixtures("largest")
def test_a_replica_that_stops_leaves_and_the_others_do_not_notice():
    stack = stopping(EACH)
    together, sizes = [], []
    for record in stack.run():
        together.append(record)
        sizes.append(len(stack.batches.replicas))
    assert sizes[0] == 4 > sizes[-2] >= 1
    for number, replica in enumerate(EACH):
        single = stopping([replica])
        alone = list(single.run())
        last = len(alone)
        losses = [record.loss[number] for record in together]
        np.testing.assert_allclose(losses[:last], [record.loss[0] for record in alone], rtol=1e-3)
        assert [record.stopped[number] for record in together].index(True) == last - 1
        assert set(losses[last - 1 :]) == {losses[last - 1]}
        for name, value in single.weights().items():
            torch.testing.assert_close(stack.weights()[name][number], value[0], rtol=1e-2, atol=1e-3)


@pytest.mark.usefixtures("largest")
def test_a_stack_that_some_have_left_goes_on_bit_for_bit(tmp_path):
    through = stopping(EACH)
    sizes, expected = [], []
    for record in through.run():
        expected.append(record._replace(seconds=0))
        sizes.append(len(through.batches.replicas))
    left = next(number for number, size in enumerate(sizes) if size < 4) + 1
    first = stopping(EACH)
    for record in first.run():
        if record.epoch == left:
            break
    save_checkpoint(tmp_path, first.state())
    second = stopping(EACH)
    second.restore(load_latest_checkpoint(tmp_path))
    assert [record._replace(seconds=0) for record in second.run()] == expected[left:]
    assert all(torch.equal(value, second.weights()[name]) for name, value in through.weights().items())


def test_permutations_share_the_draws_of_their_split_and_seed():
    batches = trainer_of([Replica(0, 0), Replica(1, 0), Replica(0, 0, 1)]).batches
    pairs = batches.epoch_pairs(3)
    np.testing.assert_array_equal(pairs[0], pairs[2])
    assert (pairs[0] != pairs[1]).any()
    noise = batches.noise(pairs[:, 0], batches.generators(3), (2, 4))
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])


def test_what_is_written_of_a_replica_is_what_it_has_of_its_own():
    assert Replica(0, 0, beta=0.0).about() == {"split": 0, "seed": 0, "beta": 0.0}
    assert Replica(1, 2).about() == {"split": 1, "seed": 2}
    assert Replica(**Replica(1, 2, 3, "block", 0.5).about()) == Replica(1, 2, 3, "block", 0.5)


def test_resampled_replicas_of_unequal_size_may_leave():
    recordings = tuned_recordings({"mitt": (6, 31), "stella": (4, 40)}, tuning=0.5)
    samples = make_samples(recordings, SampleSpec(start=0, label=["odor"]))
    splits = make_splits(samples, SplitSpec(kind="kfold", folds=3, validation=1 / 3))
    trainer = trainer_of(
        [Replica(split, 0) for split in range(3)], MODELS["resampled"], samples, splits, learning_rate=0.05, epochs=60, patience=3
    )
    sizes = [len(trainer.batches.replicas) for _ in trainer.run()]
    assert sizes[-2] < 3


@pytest.mark.usefixtures("largest")
def test_a_stack_that_has_stopped_altogether_is_restored(tmp_path):
    through = stopping(EACH)
    for _ in through.run():
        pass
    save_checkpoint(tmp_path, through.state())
    again = stopping(EACH)
    again.restore(load_latest_checkpoint(tmp_path))
    assert list(again.run()) == []
    assert all(torch.equal(value, again.weights()[name]) for name, value in through.weights().items())


def test_parts_are_of_about_equal_size_and_as_large_as_they_may_be(largest):
    parts = trainer_of(EACH)._take_step._parts
    assert (
        parts
        == {
            60: [slice(0, 4)],
            3: [slice(0, 2), slice(2, 4)],
            1: [slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4)],
        }[largest]
    )


def test_a_model_that_fills_a_processor_is_trained_one_replica_after_the_other():
    wide = ModelSpec(sharing="mmvm", latent=3, networks={"kind": "mlp", "hidden": [1200, 1200]})
    assert len(trainer_of(EACH[:2], wide)._take_step._parts) == 2
    assert len(trainer_of(EACH[:2], MODELS["mlp"])._take_step._parts) == 1
