"""A new animal joins a fitted stack: the others stay as they were, bit for bit, and nothing is learned from test trials."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import Ridge

from neuromvm.data.permutation import permuted as permuted_samples
from neuromvm.data.splits import few_trials, make_splits, trial_strata, without_animal
from neuromvm.data.windows import make_samples
from neuromvm.errors import ArgumentError, RunFolderError, SchemaError, SpecError, SplitError, TrainingError
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.likelihoods import LIKELIHOODS
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.adapt import TRAINING_AFTER, adapt
from neuromvm.training.checkpoints import load_latest_checkpoint, save_checkpoint
from neuromvm.training.fit import fit, make_trainer
from neuromvm.training.trainer import StackTrainer
from tests.conftest import tuned_recordings
from tests.core.test_training import trainer_of, training_spec

PARTS = {"latent": 3, "networks": "linear", "dropout": 0.3, "input_noise": 0.2}
MODEL = ModelSpec(sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.5}, **PARTS)
RECORDINGS = tuned_recordings({"mitt": (6, 36), "stella": (4, 48), "barat": (5, 42)})
SAMPLES = make_samples(RECORDINGS, SampleSpec(start=0, label=["odor"]))
SPLITS = make_splits(SAMPLES, SplitSpec(repeats=2))
NEW = "stella"  # neither the first nor the last
OTHERS = without_animal(SAMPLES, NEW), without_animal(SPLITS, NEW)
FEW = few_trials(SAMPLES, SPLITS, NEW, per_class=2)
SHORT = TrainingSpec(epochs=6, learning_rate=0.01, seeds=[0, 3])
ONE_EPOCH = TrainingSpec(epochs=1, seeds=[0, 3])
LIKELIHOOD_OF = {"likelihood_of": {"mitt": "poisson", "barat": "negative_binomial"}}


@pytest.fixture(scope="module")
def base() -> FittedStack:
    return fit(*OTHERS, MODEL, SHORT, progress=False)


def models() -> dict[str, ModelSpec]:
    shared = [
        "independent",
        "autoencoder",
        "mmvae_plus",
        {"kind": "joint", "aggregation": "product_of_experts"},
        {"kind": "published_joint", "aggregation": "average"},
        {"kind": "mmvm", "pooled": True},
    ]
    found = {str(sharing): ModelSpec(sharing=sharing, **PARTS) for sharing in shared}
    return {**found, "pairwise": MODEL, "likelihoods": ModelSpec(sharing="mmvm", **PARTS, **LIKELIHOOD_OF)}


@pytest.mark.parametrize("name", models())
def test_only_the_new_animal_is_trained(name):
    base = fit(*OTHERS, models()[name], SHORT, progress=False)
    before = {key: value.clone() for key, value in base.weights.items()}
    one, more = (adapt(base, SAMPLES, FEW, SHORT.model_copy(update={"epochs": epochs}), progress=False) for epochs in (1, 3))
    assert list(one.scalers) == list(SAMPLES.children)
    for key, value in before.items():
        assert torch.equal(base.weights[key], value)
        assert torch.equal(more.weights[key], value)
    new = set(more.weights) - set(before)
    assert new
    assert all(NEW in key.split(".") for key in new)
    assert any(not torch.equal(more.weights[key], one.weights[key]) for key in new if key.startswith("encoders"))
    assert any(not torch.equal(more.weights[key], one.weights[key]) for key in new if key.startswith("decoders"))
    latents, known = more.embed(SAMPLES), base.embed(SAMPLES)
    for animal in known.children:
        assert latents[animal].to_dataset().identical(known[animal].to_dataset())


def test_an_animal_that_starts_from_the_others_stays_there_and_one_that_cannot_is_refused(base, monkeypatch):
    monkeypatch.setitem(TRAINING_AFTER, "random", SHORT)
    assert recorded_epochs(base, start="others") == 0
    assert recorded_epochs(base) == recorded_epochs(base, start="random") == SHORT.epochs
    refused = [{"sharing": "independent"}, {"sharing": "mmvae_plus"}, {"sharing": "autoencoder"}, {"networks": "mlp"}]
    for one in refused:
        other = fit(*OTHERS, ModelSpec.model_validate({**MODEL.model_dump(), **one}), ONE_EPOCH, progress=False)
        with pytest.raises(SpecError, match="linear networks, shared latents"):
            adapt(other, SAMPLES, FEW, start="others", progress=False)
    with pytest.raises(SpecError, match="scaled features"):
        adapt(base, SAMPLES, FEW, start="others", likelihood_of={NEW: {"kind": "poisson"}}, progress=False)


def recorded_epochs(base: FittedStack, **how) -> int:
    with tempfile.TemporaryDirectory() as folder:
        adapt(base, SAMPLES, FEW, folder=folder, progress=False, **how)
        return len((Path(folder) / "metrics.jsonl").read_text().splitlines())


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"scale": "constant"},
        {"likelihood": "gaussian"},
        {"likelihood": "laplace", "code": "simplex"},
        {"sharing": {"kind": "autoencoder", "cross_reconstruction": 0.5}},
        {"sharing": {"kind": "joint", "aggregation": "mixture_of_experts"}},
    ],
)
def test_the_start_is_the_regression_on_latents_of_the_others(more):
    model = ModelSpec.model_validate({**MODEL.model_dump(), **more})
    base = fit(*OTHERS, model, SHORT, progress=False)
    adapted = adapt(base, SAMPLES, FEW, start="others", progress=False)
    latents = adapted.embed(SAMPLES)
    for replica, split in enumerate(latents["mitt"]["split"].values):
        side = {name: FEW[name]["part"].values[split] == Part.TRAIN for name in SAMPLES.children}
        match = {name: SAMPLES[name]["match"].values[side[name], 0] for name in side}
        node = {name: latents[name].to_dataset().isel(replica=replica, trial=side[name], window=0) for name in side}
        seen = {name: node[name]["latent_mean"].values.astype(float) for name in side}
        code = {name: logits(values) if model.code == "simplex" else values for name, values in seen.items()}
        means = [[code[name][match[name] == one].mean(axis=0) for name in side if name != NEW] for one in range(3)]
        wanted = np.mean(means, axis=1)[match[NEW]]
        features = adapted.scaled(SAMPLES, NEW, replica).numpy()[side[NEW], 0].astype(float)
        strength = np.linalg.eigvalsh(np.cov(features.T, bias=True))
        ridge = Ridge(alpha=len(features) * np.average(strength, weights=strength)).fit(features, wanted).predict(features)
        axes = np.linalg.svd(wanted - wanted.mean(axis=0), full_matrices=False)[2][:2]
        for axis in axes:
            assert np.corrcoef(code[NEW] @ axis, ridge @ axis)[0, 1] > 0.9999
            assert (code[NEW] @ axis).std() == pytest.approx((wanted @ axis).std(), rel=1e-3)
        if "autoencoder" not in str(more):
            scales = [np.log(node[name]["latent_scale"].values).mean(axis=0) for name in side if name != NEW]
            assert np.log(node[NEW]["latent_scale"].values) == pytest.approx(np.tile(np.mean(scales, axis=0), (6, 1)), abs=1e-4)


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_parameters_at_a_standard_deviation_have_it(kind):
    noise = np.array([0.5, 1.0, 2.0])
    log_scale = LIKELIHOODS[kind](3).parameters_at(torch.from_numpy(noise))["log_scale"]
    density = {"gaussian": stats.norm, "laplace": stats.laplace}[kind](scale=np.exp(log_scale.numpy()))
    assert density.std() == pytest.approx(noise, rel=1e-6)


def logits(values: np.ndarray) -> np.ndarray:
    return np.log(values) - np.log(values).mean(axis=1, keepdims=True)


def test_training_goes_on_from_the_start(base):
    trainings = [TrainingSpec(epochs=epochs, learning_rate=1e-3) for epochs in (0, 1, 9)]
    start, near, far = (adapt(base, SAMPLES, FEW, one, start="others", progress=False) for one in trainings)
    drawn = adapt(base, SAMPLES, FEW, trainings[0], progress=False)
    key = f"encoders.{NEW}.mean.weight"
    moved = [float((one.weights[key] - start.weights[key]).abs().max()) for one in (near, far, drawn)]
    assert 0 < moved[0] < moved[1] < moved[2]
    again = adapt(base, SAMPLES, FEW, start="others", progress=False)
    assert all(torch.equal(value, again.weights[name]) for name, value in start.weights.items())


def test_null_data_of_a_replica_are_what_its_start_sees(base):
    null = FittedStack(
        base.spec,
        [replica._replace(permutation=1) for replica in base.replicas],
        base.weights,
        base.scalers,
        base.windows,
        base.trained_on,
        base.conditions,
    )
    key = f"encoders.{NEW}.mean.weight"
    one, other = (adapt(stack, SAMPLES, FEW, start="others", progress=False).weights[key] for stack in (base, null))
    permuted = permuted_samples(SAMPLES, 1)
    alone = adapt(base, permuted, FEW, start="others", progress=False).weights[key]
    assert not torch.allclose(one, other)
    assert torch.allclose(other, alone, atol=1e-6)


def test_every_trained_weight_changes_from_its_start(base):
    start = adapt(base, SAMPLES, FEW, TrainingSpec(epochs=0), progress=False)
    trained = adapt(base, SAMPLES, FEW, SHORT, progress=False)
    assert all(not torch.equal(start.weights[key], trained.weights[key]) for key in set(trained.weights) - set(base.weights))


def test_other_splits_than_trained_on_do_not_move_the_old_animals(base):
    other = make_splits(SAMPLES, SplitSpec(repeats=2, seed=5))
    latents, known = adapt(base, SAMPLES, other, SHORT, progress=False).embed(SAMPLES), base.embed(SAMPLES)
    assert latents["mitt"].to_dataset().identical(known["mitt"].to_dataset())


@pytest.mark.parametrize("start", ["random", "others"])
def test_test_and_unused_trials_have_no_influence(base, start):
    changed = SAMPLES.copy(deep=True)
    single = {name: node.to_dataset().isel(split=[0]) for name, node in FEW.children.items()}
    splits = type(FEW).from_dict({"/": FEW.to_dataset(), **single})
    first = FittedStack(
        base.spec,
        base.replicas[:1],
        {key: value[:1] for key, value in base.weights.items()},
        {name: each[:1] for name, each in base.scalers.items()},
        base.windows,
        base.trained_on,
    )
    for name in changed.children:
        unseen = np.flatnonzero(splits[name]["part"].values[0] != Part.TRAIN)
        assert len(unseen) > 5
        changed[name]["activity"].values[unseen] = 200
        changed[name]["match"].values[unseen] = 0
    one, other = (adapt(first, samples, splits, SHORT, start=start, progress=False) for samples in (SAMPLES, changed))
    assert all(torch.equal(value, other.weights[key]) for key, value in one.weights.items())
    assert np.array_equal(one.scalers[NEW][0].center, other.scalers[NEW][0].center)


def test_training_trials_have_influence(base):
    changed = SAMPLES.copy(deep=True)
    seen = np.flatnonzero(FEW["mitt"]["part"].values[0] == Part.TRAIN)
    changed["mitt"]["activity"].values[seen[0]] = 200
    one, other = (adapt(base, samples, FEW, SHORT, progress=False) for samples in (SAMPLES, changed))
    assert not torch.equal(one.weights[f"encoders.{NEW}.mean.weight"], other.weights[f"encoders.{NEW}.mean.weight"])


@pytest.mark.parametrize("stop_after", [2, 5])
def test_a_restored_adaptation_goes_on_bit_for_bit(base, tmp_path, stop_after):
    def trainer() -> StackTrainer:
        settings = {"schedule": "cosine", "clip_norm": 1.0}
        plain = trainer_of(base.replicas, MODEL, SAMPLES, FEW, **settings)
        return make_trainer(MODEL, training_spec(**settings), plain.batches, frozen=base.weights)

    through = trainer()
    expected = [record._replace(seconds=0) for record in through.run()]
    first = trainer()
    for record in first.run():
        if record.epoch == stop_after:
            break
    assert not any("mitt" in key for key in first.state().tensors if "log_baseline" not in key)
    save_checkpoint(tmp_path, first.state())
    second = trainer()
    second.restore(load_latest_checkpoint(tmp_path))
    assert [record._replace(seconds=0) for record in second.run()] == expected[stop_after:]
    assert second.weights().keys() == through.weights().keys()
    assert all(torch.equal(value, second.weights()[name]) for name, value in through.weights().items())


def test_a_folder_keeps_an_adaptation_and_refuses_another_base(base, tmp_path):
    adapted = adapt(base, SAMPLES, FEW, SHORT, folder=tmp_path, progress=False)
    assert FittedStack.load(tmp_path).embed(SAMPLES).identical(adapted.embed(SAMPLES))
    other = fit(*OTHERS, MODEL, SHORT.model_copy(update={"epochs": 2}), progress=False)
    with pytest.raises(RunFolderError, match="kept"):
        adapt(other, SAMPLES, FEW, SHORT, folder=tmp_path, progress=False)
    adapt(base, SAMPLES, FEW, SHORT, folder=tmp_path / "drawn", progress=False)
    with pytest.raises(RunFolderError, match="other start"):
        adapt(base, SAMPLES, FEW, SHORT, start="others", folder=tmp_path / "drawn", progress=False)


def test_early_stopping_needs_validation_trials_of_the_new_animal(base):
    patient = SHORT.model_copy(update={"patience": 2, "epochs": 30})
    splits = make_splits(SAMPLES, SplitSpec(repeats=2, validation=1 / 3))
    assert adapt(base, SAMPLES, splits, patient, progress=False).embed(SAMPLES)
    with pytest.raises(TrainingError, match=r"no validation trials of stella.*patience"):
        adapt(base, SAMPLES, few_trials(SAMPLES, splits, NEW, 4), patient, progress=False)


def test_several_new_animals_join_at_once():
    alone = SAMPLES, SPLITS
    for name in (NEW, "barat"):
        alone = tuple(without_animal(tree, name) for tree in alone)
    base = fit(*alone, MODEL, SHORT, progress=False)
    adapted = adapt(base, SAMPLES, SPLITS, SHORT, progress=False)
    assert list(adapted.embed(SAMPLES).children) == list(SAMPLES.children)
    both = adapt(base, SAMPLES, SPLITS, start="others", progress=False).weights
    assert all(torch.equal(value, both[key]) for key, value in base.weights.items())
    one = adapt(base, without_animal(SAMPLES, "barat"), without_animal(SPLITS, "barat"), start="others", progress=False).weights
    assert all(torch.equal(one[key], both[key]) for key in one if NEW in key)


def test_a_new_animal_may_have_its_own_likelihood(base):
    adapted = adapt(base, SAMPLES, FEW, SHORT, likelihood_of={NEW: {"kind": "poisson"}}, progress=False)
    assert adapted.spec.likelihood_of[NEW].kind == "poisson"
    assert f"likelihoods.{NEW}.log_baseline" in adapted.weights
    with pytest.raises(SpecError, match="no new animal 'mitt'"):
        adapt(base, SAMPLES, FEW, SHORT, likelihood_of={"mitt": {"kind": "poisson"}}, progress=False)


def test_wrong_arguments_are_refused(base):
    with pytest.raises(SchemaError, match="no new animal"):
        adapt(base, *OTHERS, SHORT, progress=False)
    with pytest.raises(SchemaError, match="no animal 'mitt'"):
        adapt(base, without_animal(SAMPLES, "mitt"), SPLITS, SHORT, progress=False)
    with pytest.raises(SplitError, match="split 1, which a replica was trained on"):
        adapt(base, SAMPLES, make_splits(SAMPLES, SplitSpec(repeats=1)), SHORT, progress=False)
    with pytest.raises(ArgumentError, match="'fitted'"):
        adapt(MODEL, SAMPLES, SPLITS, SHORT)
    nothing = FEW.copy(deep=True)
    nothing[NEW]["part"].values[:] = Part.UNUSED
    with pytest.raises(SplitError, match="without training trials"):
        adapt(base, SAMPLES, nothing, SHORT, progress=False)


@pytest.mark.parametrize("setting", ["transform", "smooth", "scale", "clip", "bin_width", "stop"])
def test_samples_made_in_another_way_are_refused(base, setting):
    value = {"transform": "log1p", "smooth": 0.1, "scale": "noise", "clip": 3.0, "bin_width": 0.5, "stop": 0.5}[setting]
    other = make_samples(RECORDINGS, SampleSpec(start=0, label=["odor"]).model_copy(update={setting: value}))
    with pytest.raises(SchemaError, match="as trained on"):
        adapt(base, other, SPLITS, SHORT, progress=False)


def test_frozen_weights_of_another_model_are_refused(base):
    plain = trainer_of(base.replicas, MODEL, SAMPLES, FEW)
    with pytest.raises(TrainingError, match="no weight of this name"):
        make_trainer(MODEL, training_spec(), plain.batches, frozen={"encoders.nobody.mean.bias": torch.zeros(4, 3)})
    with pytest.raises(TrainingError, match=r"encoders\.mitt\.mean\.bias"):
        make_trainer(MODEL, training_spec(), plain.batches, frozen={"encoders.mitt.mean.bias": torch.zeros(4, 2)})
    with pytest.raises(TrainingError, match="every parameter"):
        make_trainer(MODEL, training_spec(), plain.batches, frozen=plain.weights())


def test_few_trials_keeps_so_many_of_each_class_and_more_of_the_same():
    splits = make_splits(SAMPLES, SplitSpec(repeats=2, validation=1 / 3))
    strata = trial_strata(SAMPLES[NEW].to_dataset())
    before = splits[NEW]["part"].values
    kept = {}
    for per_class in (1, 2, 5, 100, None):
        few = few_trials(SAMPLES, splits, NEW, per_class)
        part = few[NEW]["part"].values
        training_side = np.isin(before, (Part.TRAIN, Part.VALIDATION))
        assert ((part == Part.TEST) == (before == Part.TEST)).all()
        assert not (part == Part.VALIDATION).any()
        kept[per_class] = part == Part.TRAIN
        assert not (kept[per_class] & ~training_side).any()
        for split in range(2):
            counts, there = (np.bincount(strata[side[split]], minlength=3) for side in (kept[per_class], training_side))
            assert counts.tolist() == np.minimum(there, 1000 if per_class is None else per_class).tolist()
        assert few.attrs == splits.attrs
        assert few["mitt"].to_dataset().identical(splits["mitt"].to_dataset())
    assert (kept[1] <= kept[2]).all()
    assert (kept[2] <= kept[5]).all()
    assert (kept[100] == kept[None]).all()
    assert not np.array_equal(kept[1][0], kept[1][1])
    again, other = (few_trials(SAMPLES, splits, NEW, 1, seed)[NEW]["part"].values == Part.TRAIN for seed in (0, 1))
    assert np.array_equal(again, kept[1])
    assert not np.array_equal(other, kept[1])
    with pytest.raises(SplitError, match="Did you mean 'stella'"):
        few_trials(SAMPLES, splits, "stela", 1)
    with pytest.raises(SplitError, match="at least 1"):
        few_trials(SAMPLES, splits, NEW, 0)
