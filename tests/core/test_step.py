"""How a step is computed changes how long it takes, not what is learned."""

import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from neuromvm.data.replicas import Replica
from neuromvm.errors import TrainingError
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.training import compiled
from neuromvm.training import fit as fitting
from neuromvm.training import step as stack_step
from neuromvm.training import trainer as training
from neuromvm.training.batches import StackBatches
from neuromvm.training.fit import batch_settings, fit, make_trainer
from neuromvm.training.trainer import StackTrainer
from tests.core.golden.make_losses import SAMPLES as THREE
from tests.core.golden.make_losses import SPLITS as THREE_SPLITS
from tests.core.golden.make_losses import golden_specs
from tests.core.test_stack import EACH, stopping
from tests.core.test_training import MODEL, SAMPLES, SPLITS, trainer_of

MOVING = {"kind": "mmvm", "standard_normal": {"kind": "linear"}}
CONSTANT = {"kind": "mmvm", "standard_normal": {"kind": "constant", "stop": 0.3}}
GOLDEN = {name: spec for name, spec in golden_specs().items() if "linear" in name and "normal" not in name}
OF_EACH = (
    ("gaussian", "laplace", "poisson"),
    ("negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial"),
)
PAIR = [Replica(0, 0), Replica(0, 1)]
can_compile = pytest.mark.skipif(
    os.environ.get("CXX") is None and not any(map(shutil.which, ("g++", "clang++"))), reason="needs a C++ compiler"
)


def check(model: ModelSpec, replicas: list[Replica], clip_norm: float | None = 50.0, weight_decay: float = 0.1) -> None:
    """Compare two epochs, compiled and not."""
    data = {"samples": THREE, "splits": THREE_SPLITS, "batch_size": 1000, "epochs": 2}
    data |= {"clip_norm": clip_norm, "weight_decay": weight_decay}
    trainers = [trainer_of(replicas, model, **data, compile=whether) for whether in (False, True)]
    plain, fast = ([record.loss for record in trainer.run()] for trainer in trainers)
    np.testing.assert_allclose(fast, plain, rtol=1e-4)
    for name, value in trainers[0].weights().items():
        torch.testing.assert_close(trainers[1].weights()[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", GOLDEN.values(), ids=GOLDEN.keys())
def test_gradients_recorded_as_a_function_of_tensors_are_the_gradients(model, monkeypatch):
    """The function that would be compiled is called without a compiler."""
    monkeypatch.setattr(stack_step, "compiled", lambda name, function, example: function)
    for replicas in (PAIR, PAIR[:1]):
        check(model, replicas)


def test_weight_decay_leaves_scales_of_noise_and_of_priors_alone():
    """After a step Adam's mean is a tenth of the gradient, to which decay adds a tenth of decay times weight."""
    model = ModelSpec(sharing="mmvae_plus", latent=3, networks="linear", scale="constant", likelihood="gaussian")
    scales = {
        name
        for animal in ("mitt", "stella")
        for name in (f"auxiliary.{animal}", f"likelihoods.{animal}.log_scale", f"encoders.{animal}.scale.log_scale")
    }
    added = {}
    for decay in (0.0, 0.5):
        trainer = trainer_of(PAIR[:1], model, epochs=1, batch_size=1000, weight_decay=decay)
        start = {name: torch.full_like(value, 0.3) for name, value in trainer.weights().items() if name in scales}
        assert start.keys() == scales
        training_spec = TrainingSpec(epochs=1, batch_size=1000, weight_decay=decay)
        trainer = make_trainer(model, training_spec, trainer.batches, start=start)
        before = {name: value.clone() for name, value in trainer.weights().items()}
        next(trainer.run())
        state = trainer.state().tensors
        added[decay] = {name: state[f"adam/exp_avg/{name}"] for name in before}
    for name, weight in before.items():
        expected = torch.zeros_like(weight) if name in scales else 0.1 * 0.5 * weight
        torch.testing.assert_close(added[0.5][name] - added[0.0][name], expected, rtol=1e-4, atol=1e-6)


def test_a_tensor_given_twice_is_told_from_two(monkeypatch):
    monkeypatch.setattr(compiled, "_compiled", {})
    monkeypatch.setattr(compiled, "_compile", lambda function, example: object())
    one, two = torch.ones(2), torch.ones(2)
    made = [compiled.compiled("sum", list, example) for example in ([one, one], [one, two], [two, two])]
    assert made[0] is made[2]
    assert made[0] is not made[1]


@can_compile
def test_a_compiled_step_is_the_step_and_is_compiled_once_a_process():
    model = MODEL.model_copy(update={"likelihood": ModelSpec(sharing="mmvm", likelihood="poisson").likelihood})
    before = len(compiled._compiled)
    check(model, PAIR)
    known = len(compiled._compiled)
    assert known == before + 1
    check(model, [Replica(0, 5, permutation=3), Replica(0, 6, beta=2.0)])  # other data, counts and weights of the rate
    assert len(compiled._compiled) == known


@can_compile
@pytest.mark.slow
def test_one_member_compiles():
    check(MODEL, PAIR[:1])


@can_compile
@pytest.mark.slow
def test_what_is_remembered_of_compiled_steps_goes_on_with_or_without_compiling():
    def trainer(whether: bool) -> StackTrainer:
        return trainer_of(PAIR[:1], MODEL, epochs=4, clip_norm=50.0, weight_decay=0.1, compile=whether)

    plain = [record.loss for record in trainer(False).run()]
    for before, after in ((True, False), (False, True), (True, True)):
        first, second = trainer(before), trainer(after)
        steps = first.run()
        found = [next(steps).loss, next(steps).loss]
        state = first.state()
        assert {float(value) for name, value in state.tensors.items() if name.startswith("adam/step")} == {
            2 * first.batches.steps
        }
        second.restore(state)
        np.testing.assert_allclose([*found, *(record.loss for record in second.run())], plain, rtol=1e-4)


@can_compile
@pytest.mark.slow
@pytest.mark.parametrize("model", GOLDEN.values(), ids=GOLDEN.keys())
def test_every_way_of_sharing_compiles(model):
    check(model, PAIR)


@can_compile
@pytest.mark.slow
def test_a_constant_share_of_the_standard_normal_compiles():
    check(ModelSpec.model_validate({**MODEL.model_dump(), "sharing": CONSTANT}), PAIR)


@can_compile
@pytest.mark.slow
@pytest.mark.parametrize("kinds", OF_EACH, ids="-".join)
def test_every_likelihood_compiles(kinds):
    each = {name: {"kind": kind} for name, kind in zip(("mitt", "stella", "barat"), kinds, strict=True)}
    content = {"sharing": "mmvm", "latent": 3, "networks": "convolution", "likelihood_of": each}
    check(ModelSpec.model_validate(content), PAIR[:1])


@can_compile
@pytest.mark.slow
def test_a_stack_in_parts_compiles(monkeypatch):
    """Parts of two sizes are compiled."""
    for largest, sizes in ((2, {1, 2}), (3, {2})):
        monkeypatch.setattr(training, "largest_stack", lambda weights, rows, features, found=largest: found)
        replicas = [Replica(0, seed) for seed in range(3 if largest == 2 else 4)]
        check(MODEL, replicas)
        assert trainer_of(replicas)._take_step._planned == sizes


@can_compile
@pytest.mark.slow
def test_a_compiled_stack_that_replicas_leave_learns_the_same():
    plain, fast = list(stopping(EACH).run()), list(stopping(EACH, compile=True).run())
    assert [one.stopped for one in fast] == [one.stopped for one in plain]
    np.testing.assert_allclose([one.loss for one in fast], [one.loss for one in plain], rtol=1e-3)


COMPILE = """
from neuromvm.errors import NeuromvmError
from tests.core.test_step import MODEL, PAIR, check
try:
    check(MODEL, PAIR)
except NeuromvmError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_without_a_compiler_one_is_asked_for(tmp_path):
    away = {"CXX": "/no/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env={**os.environ, **away}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("CompilerError")
    assert "C++ compiler" in done.stdout.split("Expected")[0]
    assert "leave compile out" in done.stdout


def test_what_moves_at_every_step_is_not_compiled():
    with pytest.raises(TrainingError, match="standard-normal share that moves"):
        trainer_of([Replica(0, 0)], ModelSpec.model_validate({**MODEL.model_dump(), "sharing": MOVING}), compile=True)


def advice(caplog, model: ModelSpec = MODEL, **settings) -> list[str]:
    """Return what a training says about itself."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "neuromvm.training.fit"):
        fit(SAMPLES, SPLITS, model, TrainingSpec(epochs=fitting.TIMED + 2, **settings), progress=False)
    return caplog.messages


def test_a_long_training_says_once_that_compiling_would_make_it_shorter(caplog, monkeypatch):
    assert advice(caplog) == []
    monkeypatch.setattr(fitting, "LONG", 0.0)
    (said,) = advice(caplog)
    assert "mmvm (2 replicas): about 0 minutes to go" in said
    assert "training.compile=true" in said
    assert advice(caplog, ModelSpec.model_validate({**MODEL.model_dump(), "sharing": MOVING})) == []


def losses(precision: str, device: str) -> list[float]:
    training = TrainingSpec(epochs=6, batch_size=9, learning_rate=0.01, precision=precision, device=device)
    settings = batch_settings(MODEL, training, SAMPLES.children)
    batches = StackBatches(SAMPLES, SPLITS, settings, [Replica(0, 0)], device=torch.device(device))
    return [record.loss[0] for record in make_trainer(MODEL, training, batches).run()]


def test_tf32_is_float32_where_there_is_no_gpu():
    assert losses("tf32", "cpu") == losses("float32", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tf32_changes_losses_by_less_than_a_percent_and_nothing_after_the_training():
    np.testing.assert_allclose(losses("tf32", "cuda"), losses("float32", "cuda"), rtol=0.01)
    assert not torch.backends.cuda.matmul.allow_tf32
