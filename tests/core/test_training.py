"""The stacked trainer: a stack is its members, test trials do not exist for it, and it continues as if never stopped."""

import itertools
import math

import numpy as np
import pytest
import torch
import xarray as xr

from neuromvm.data.replicas import Replica
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import RunFolderError, SchemaError, SplitError, TrainingError
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.batches import StackBatches
from neuromvm.training.checkpoints import load_latest_checkpoint, save_checkpoint
from neuromvm.training.device import choose_device
from neuromvm.training.fit import batch_settings, fit, make_trainer
from neuromvm.training.trainer import StackTrainer
from tests.conftest import tuned_recordings

MODEL = ModelSpec(
    sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.5},
    latent=3,
    dropout=0.3,
    input_noise=0.2,
    networks="linear",
)
SAMPLES = make_samples(tuned_recordings({"mitt": (6, 36), "stella": (4, 48)}), SampleSpec(start=0, label=["odor"]))
SPLITS = make_splits(SAMPLES, SplitSpec(repeats=2, validation=1 / 3))


def training_spec(**settings) -> TrainingSpec:
    return TrainingSpec(**{"epochs": 6, "batch_size": 9, "learning_rate": 0.01, **settings})


def trainer_of(replicas, model=MODEL, samples=SAMPLES, splits=SPLITS, steps=None, **settings) -> StackTrainer:
    training = training_spec(**settings)
    batches = StackBatches(
        samples,
        splits,
        batch_settings(model, training, samples.children),
        replicas,
        device=torch.device("cpu"),
        steps=steps,
    )
    return make_trainer(model, training, batches)


@pytest.mark.parametrize("likelihood", ["squared_error", "gaussian", "poisson"])
def test_a_stack_equals_its_members_trained_alone(likelihood):
    model = MODEL.model_copy(update={"likelihood": ModelSpec(sharing="mmvm", likelihood={"kind": likelihood}).likelihood})
    replicas = [Replica(0, 0), Replica(1, 0), Replica(0, 7)]
    stack = trainer_of(replicas, model, clip_norm=1.0)
    together = list(stack.run())
    for number, replica in enumerate(replicas):
        single = trainer_of([replica], model, clip_norm=1.0)
        alone = list(single.run())
        np.testing.assert_allclose([record.loss[number] for record in together], [record.loss[0] for record in alone], rtol=1e-4)
        for name, value in single.weights().items():
            torch.testing.assert_close(stack.weights()[name][number], value[0], rtol=1e-3, atol=1e-4)


def test_members_with_other_numbers_of_tuples_do_not_touch_each_other():
    samples = make_samples(tuned_recordings({"mitt": (6, 35), "stella": (4, 47)}), SampleSpec(start=0, label=["odor"]))
    splits = make_splits(samples, SplitSpec(kind="kfold", folds=4))
    replicas = [Replica(split, 0) for split in range(4)]
    stack = trainer_of(replicas, samples=samples, splits=splits)
    assert len({pairing.rows for pairing in stack.batches.pairings}) > 1
    together = list(stack.run())
    for number, replica in enumerate(replicas):
        single = trainer_of([replica], samples=samples, splits=splits, steps=stack.batches.steps)
        alone = list(single.run())
        np.testing.assert_allclose([record.loss[number] for record in together], [record.loss[0] for record in alone], rtol=1e-4)
        for name, value in single.weights().items():
            torch.testing.assert_close(stack.weights()[name][number], value[0], rtol=1e-3, atol=1e-4)


def test_patience_without_validation_is_refused():
    with pytest.raises(TrainingError, match=r"split\.validation"):
        trainer_of([Replica(0, 0)], splits=make_splits(SAMPLES, SplitSpec()), patience=3)


@pytest.mark.parametrize("change", ["model", "seeds", "data"])
def test_a_folder_of_another_training_is_refused(tmp_path, change):
    training = TrainingSpec(epochs=2)
    fit(SAMPLES, SPLITS, MODEL, training, folder=tmp_path, progress=False)
    again = fit(SAMPLES, SPLITS, MODEL, training, folder=tmp_path, progress=False)
    assert again.embed(SAMPLES).identical(FittedStack.load(tmp_path).embed(SAMPLES))
    samples, model = SAMPLES, MODEL
    if change == "model":
        model = MODEL.model_copy(update={"beta": 5.0})
    elif change == "seeds":
        training = TrainingSpec(epochs=2, seeds=[4])
    else:
        samples = SAMPLES.copy(deep=True)
        samples["mitt"]["activity"].values[0] += 1
    with pytest.raises(RunFolderError, match="another folder"):
        fit(samples, SPLITS, model, training, folder=tmp_path, progress=False)


def test_training_lowers_the_loss():
    records = list(trainer_of([Replica(0, 0)], epochs=40).run())
    assert np.mean([record.loss[0] for record in records[-5:]]) < 0.9 * records[0].loss[0]


def test_a_cosine_learning_rate_falls_from_epoch_to_epoch():
    falling = trainer_of([Replica(0, 0)], epochs=3, schedule="cosine")
    list(falling.run())
    # Half a cosine at 0, 1/3 and 2/3 of its length: shares 1, 3/4 and 1/4, trained here as epochs of constant rates.
    stages = [trainer_of([Replica(0, 0)], epochs=3, learning_rate=share * 0.01) for share in (1.0, 0.75, 0.25)]
    next(stages[0].run())
    for before, after in itertools.pairwise(stages):
        after.restore(before.state())
        next(after.run())
    for name, value in falling.weights().items():
        torch.testing.assert_close(value, stages[-1].weights()[name], rtol=1e-6, atol=1e-6)


def test_test_trials_do_not_exist_for_a_training():
    changed = SAMPLES.copy(deep=True)
    for name in changed.children:
        held_out = (SPLITS[name]["part"].values[0] == Part.TEST).nonzero()[0]
        changed[name]["activity"].values[held_out] = 200
        changed[name]["match"].values[held_out] = 0
    one, other = trainer_of([Replica(0, 0)]), trainer_of([Replica(0, 0)], samples=changed)
    for record, same in zip(one.run(), other.run(), strict=True):
        assert record.loss == same.loss
        assert record.validation_loss == same.validation_loss
    assert all(torch.equal(value, other.weights()[name]) for name, value in one.weights().items())


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_restored_training_goes_on_bit_for_bit(tmp_path, stop_after):
    replicas = [Replica(0, 0), Replica(1, 3)]
    through = trainer_of(replicas, patience=4, schedule="cosine")
    expected = [record._replace(seconds=0) for record in through.run()]
    first = trainer_of(replicas, patience=4, schedule="cosine")
    for record in first.run():
        if record.epoch == stop_after:
            break
    save_checkpoint(tmp_path, first.state())
    second = trainer_of(replicas, patience=4, schedule="cosine")
    second.restore(load_latest_checkpoint(tmp_path))
    assert [record._replace(seconds=0) for record in second.run()] == expected[stop_after:]
    assert all(torch.equal(value, second.weights()[name]) for name, value in through.weights().items())


def test_early_stopping_returns_the_weights_of_the_best_epoch():
    noise = make_samples(tuned_recordings({"mitt": (6, 36), "stella": (4, 48)}, tuning=0), SampleSpec(start=0, label=["odor"]))
    settings = {"model": MODEL.model_copy(update={"dropout": 0.0, "input_noise": 0.0}), "samples": noise, "learning_rate": 0.03}
    stopping = trainer_of([Replica(0, 0)], **settings, epochs=300, patience=5)
    losses = [record.validation_loss[0] for record in stopping.run()]
    best = int(np.argmin(losses)) + 1
    assert best + 5 == len(losses) < 300
    until_best = trainer_of([Replica(0, 0)], **settings, epochs=best)
    list(until_best.run())
    assert all(torch.equal(value, stopping.weights()[name]) for name, value in until_best.weights().items())


def test_a_damaged_checkpoint_is_named(tmp_path):
    trainer = trainer_of([Replica(0, 0)], epochs=1)
    list(trainer.run())
    save_checkpoint(tmp_path, trainer.state())
    file = tmp_path / "epoch-000001" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunFolderError, match="epoch-000001"):
        load_latest_checkpoint(tmp_path)


def test_a_loss_that_is_not_finite_is_an_error_with_its_replica():
    with pytest.raises(TrainingError, match=r"split 1, seed 0.*learning_rate"):
        list(trainer_of([Replica(1, 0)], learning_rate=1e30).run())


def test_a_loss_that_grows_is_said(caplog):
    fit(SAMPLES, SPLITS, MODEL, TrainingSpec(epochs=20, learning_rate=100.0), progress=False)
    assert "diverged" in caplog.text
    caplog.clear()
    fit(SAMPLES, SPLITS, MODEL, TrainingSpec(epochs=20), progress=False)
    assert "diverged" not in caplog.text


def test_an_animal_without_training_trials_is_refused():
    splits = make_splits(SAMPLES, SplitSpec(kind="leave_one_animal_out"))
    with pytest.raises(SplitError, match="without training trials"):
        trainer_of([Replica(0, 0)], splits=splits)


def test_fit_saves_loads_and_embeds_the_same(tmp_path):
    fitted = fit(SAMPLES, SPLITS, MODEL, TrainingSpec(epochs=3, seeds=[0, 1]), folder=tmp_path, progress=False)
    latents = fitted.embed(SAMPLES)
    assert latents["mitt"]["latent_mean"].dims == ("replica", "trial", "window", "latent")
    assert latents["mitt"]["split"].values.tolist() == [0, 0, 1, 1]
    assert latents["mitt"]["seed"].values.tolist() == [0, 1, 0, 1]
    assert FittedStack.load(tmp_path).embed(SAMPLES).identical(latents)
    fitted.save(str(tmp_path / "copy"))
    assert FittedStack.load(str(tmp_path / "copy")).embed(SAMPLES).identical(latents)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_an_animal_can_be_embedded_alone():
    fitted = fit(SAMPLES, SPLITS, MODEL, TrainingSpec(epochs=1), progress=False)
    alone = xr.DataTree(dataset=SAMPLES.to_dataset(), children={"mitt": SAMPLES["mitt"].copy()})
    latents = fitted.embed(alone)
    assert list(latents.children) == ["mitt"]
    assert latents["mitt"].identical(fitted.embed(SAMPLES)["mitt"])
    unknown = xr.DataTree(dataset=SAMPLES.to_dataset(), children={"rat": SAMPLES["mitt"].copy()})
    with pytest.raises(SchemaError, match=r"no animal 'mitt'.*trained on: mitt, stella"):
        fitted.embed(unknown)


def test_embedding_is_the_encoder_of_scaled_features():
    fitted = fit(SAMPLES, SPLITS, MODEL, TrainingSpec(epochs=2), progress=False)
    counts = np.sqrt(SAMPLES["stella"]["activity"].values[:, 0].reshape(48, -1).astype(np.float32))
    training = SPLITS["stella"]["part"].values[1] != Part.TEST
    scaled = (counts - counts[training].mean(0)) / counts[training].std(0)
    weight, bias = (fitted.weights[f"encoders.stella.mean.{kind}"][1].numpy() for kind in ("weight", "bias"))
    np.testing.assert_allclose(
        fitted.embed(SAMPLES)["stella"]["latent_mean"].values[1, :, 0], scaled @ weight.T + bias, atol=1e-4
    )


def test_dropout_hides_the_stated_share_and_keeps_the_mean():
    trainer = trainer_of([Replica(0, 0)], MODEL.model_copy(update={"input_noise": 0.0}), batch_size=1000)
    batches = trainer.batches
    batch = batches.batch(batches.epoch_pairs(0)[:, 0], batches.generators(0))
    hidden = torch.cat([(batch.inputs[name] == 0).float().flatten() for name in batch.inputs])
    shown = torch.cat([(batch.targets[name] == 0).float().flatten() for name in batch.targets])
    share, standard_error = (hidden.mean() - shown.mean()).item(), math.sqrt(0.3 * 0.7 / len(hidden))
    assert abs(share - 0.3) < 5 * standard_error
    kept = batch.inputs["mitt"] != 0
    torch.testing.assert_close(batch.inputs["mitt"][kept], batch.targets["mitt"][kept] / 0.7)


def test_input_noise_has_the_stated_deviation_and_leaves_targets_alone():
    trainer = trainer_of([Replica(0, 0)], MODEL.model_copy(update={"dropout": 0.0, "input_noise": 1.5}), batch_size=1000)
    batch = trainer.batches.batch(trainer.batches.epoch_pairs(0)[:, 0], trainer.batches.generators(0))
    noise = torch.cat([(batch.inputs[name] - batch.targets[name]).flatten() for name in batch.inputs])
    assert abs(noise.std().item() - 1.5) < 5 * 1.5 / math.sqrt(2 * len(noise))
    assert abs(noise.mean().item()) < 5 * 1.5 / math.sqrt(len(noise))


def test_an_absent_device_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(TrainingError, match="which has cpu"):
        choose_device("cuda")
    assert choose_device("auto").type in {"cpu", "mps"}


def test_samples_of_another_transform_are_not_embedded():
    fitted = fit(SAMPLES, SPLITS, MODEL, TrainingSpec(epochs=1), progress=False)
    other = make_samples(
        tuned_recordings({"mitt": (6, 36), "stella": (4, 48)}), SampleSpec(start=0, label="odor", transform="none")
    )
    with pytest.raises(SchemaError, match=r"samples\.transform"):
        fitted.embed(other)


def test_published_joint_models_refuse_tuples_in_which_an_animal_is_absent():
    model = ModelSpec(sharing={"kind": "published_joint", "aggregation": "average"}, latent=3, networks="linear")
    lacking = make_samples(tuned_recordings({"mitt": (6, 36), "stella": (4, 48)}), SampleSpec(start=0, label=["odor"]))
    lacking["mitt"]["match"].values[lacking["mitt"]["match"].values == 0] = 1
    with pytest.raises(SplitError, match="absent"):
        trainer_of([Replica(0, 0)], model, lacking)


@pytest.mark.parametrize("aggregation", ["mixture_of_experts", "mixture_of_products"])
def test_slices_of_the_published_mixtures_do_not_depend_on_padding(aggregation):
    model = ModelSpec(sharing={"kind": "published_joint", "aggregation": aggregation}, latent=3, networks="linear")
    samples = make_samples(tuned_recordings({"mitt": (6, 35), "stella": (4, 35)}), SampleSpec(start=0, label=["odor"]))
    splits = make_splits(samples, SplitSpec(kind="kfold", folds=4))
    replicas = [Replica(split, 0) for split in range(4)]
    stack = trainer_of(replicas, model, samples, splits, pairing="published")
    assert len({pairing.rows for pairing in stack.batches.pairings}) > 1
    together = list(stack.run())
    for number, replica in enumerate(replicas):
        alone = list(trainer_of([replica], model, samples, splits, steps=stack.batches.steps, pairing="published").run())
        for field in ("loss", "rate"):
            np.testing.assert_allclose(
                [getattr(record, field)[number] for record in together],
                [getattr(record, field)[0] for record in alone],
                rtol=1e-4,
            )


def test_windows_of_another_bin_width_are_not_embedded():
    fitted = fit(SAMPLES, SPLITS, MODEL, TrainingSpec(epochs=1), progress=False)
    recordings = tuned_recordings({"mitt": (6, 36), "stella": (4, 48)})
    half = make_samples(recordings, SampleSpec(start=0, stop=0.5, label="odor"))
    with pytest.raises(SchemaError, match=r"bins of 0\.5"):
        fitted.embed(half)
