"""Decoding from many latents: sums over moments give what every latent decoded by itself gives, in less memory."""

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from neuromvm.build import build_model
from neuromvm.data.replicas import Replica
from neuromvm.data.windows import WindowShape
from neuromvm.models import Batch, MultimodalVAE, base
from neuromvm.specs import ModelSpec
from tests.core.golden.make_losses import SAMPLES, SPLITS
from tests.core.test_step import can_compile
from tests.core.test_training import trainer_of

ROWS, LATENT = 6, 4
ANIMALS = {f"rat{number}": WindowShape(2, 3 + number, 0.1) for number in range(7)}
LINEAR = ModelSpec(
    sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.6}, latent=LATENT, networks="linear", scale="constant"
)
KINDS = {
    "squared error": {},
    "gaussian": {"likelihood": {"kind": "gaussian"}},
    "autoencoder": {"sharing": {"kind": "autoencoder", "cross_reconstruction": 0.6}},
    "mixture of experts": {"sharing": {"kind": "joint", "aggregation": "mixture_of_experts"}},
    "drawn subsets": {"sharing": {"kind": "joint", "aggregation": "mixture_of_products", "components": 9}},
}


def spec_of(kind: str) -> ModelSpec:
    return ModelSpec.model_validate({**LINEAR.model_dump(), **KINDS[kind]})


def batch_of(animals: dict[str, WindowShape], rows: int = ROWS) -> Batch:
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.randn(rows, window.features, generator=generator) for name, window in animals.items()}
    available = (torch.rand(len(animals), rows, generator=generator) > 0.3).float()
    available[:, 0] = torch.eye(len(animals))[2]  # one animal alone
    available[:, 1] = 0  # nobody: padding
    available[:, 2] = 1
    return Batch(values, values, available, torch.zeros(rows, dtype=torch.long))


def found(spec: ModelSpec, batch: Batch) -> list[torch.Tensor]:
    """Return the log-likelihoods, the loss and the gradient of every weight."""
    model = build_model(spec, ANIMALS, seed=0)
    draws, width = model.noise_shape
    noise = torch.randn(draws, ROWS, width, generator=torch.Generator().manual_seed(1))
    objective = model.objective(batch, noise, 0.5)
    gradients = torch.autograd.grad(objective.loss, list(model.parameters()), materialize_grads=True)
    return [objective.log_likelihood, objective.loss, *gradients]


@pytest.fixture
def moments(monkeypatch):
    """Return a function that turns moments on or off; at the end they must have been used as last said."""
    states, calls = [False], []
    linear_errors, reconstruct = MultimodalVAE._linear_errors, base._reconstruct_linearly

    def use(used: bool) -> None:
        states[0] = used
        calls.clear()
        monkeypatch.setattr(MultimodalVAE, "_linear_errors", linear_errors if used else lambda model, targets: [])

    monkeypatch.setattr(base, "_reconstruct_linearly", lambda *arguments: (calls.append(1), reconstruct(*arguments))[1])
    yield use
    assert bool(calls) is states[0]


@pytest.mark.parametrize("kind", KINDS)
def test_sums_over_moments_are_sums_over_latents(kind, moments):
    spec, batch = spec_of(kind), batch_of(ANIMALS)
    moments(False)
    expected = found(spec, batch)
    moments(True)
    for one, other in zip(found(spec, batch), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_what_is_absent_is_never_used(moments):
    moments(True)
    batch = batch_of(ANIMALS)
    poisoned = {
        name: torch.where(present[:, None] > 0, values, 30.0)
        for (name, values), present in zip(batch.inputs.items(), batch.available, strict=True)
    }
    for one, other in zip(found(LINEAR, batch._replace(inputs=poisoned, targets=poisoned)), found(LINEAR, batch), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_stacks_train_alike(kind, moments):
    losses = []
    for used in (False, True):
        moments(used)
        trainer = trainer_of([Replica(0, 0), Replica(0, 1)], spec_of(kind), SAMPLES, SPLITS, batch_size=1000, epochs=3)
        losses.append([record.loss for record in trainer.run()])
    np.testing.assert_allclose(*losses, rtol=1e-4)


@can_compile
@pytest.mark.slow
def test_moments_compile(moments):
    moments(True)
    data = {"samples": SAMPLES, "splits": SPLITS, "batch_size": 1000, "epochs": 2}
    plain, fast = (
        [record.loss for record in trainer_of([Replica(0, 0), Replica(0, 1)], spec_of("gaussian"), **data, compile=how).run()]
        for how in (False, True)
    )
    np.testing.assert_allclose(fast, plain, rtol=1e-4)


def numbers_in_a_step(animals: int) -> int:
    """Return how many numbers all arrays of a step hold, forward and backward."""
    windows = {f"rat{number}": WindowShape(1, 5, 0.1) for number in range(animals)}
    model, batch = build_model(LINEAR, windows, seed=0), batch_of(windows)

    def loss(noise: torch.Tensor) -> torch.Tensor:
        return model.objective(batch, noise, 0.5).loss

    recorded = make_fx(torch.func.grad(loss))(torch.randn(animals, ROWS, LATENT))
    values = [node.meta.get("val") for node in recorded.graph.nodes]
    return sum(one.numel() for one in values if isinstance(one, torch.Tensor))


def test_a_step_grows_with_animals_not_with_their_pairs(monkeypatch):
    assert numbers_in_a_step(24) < 2.1 * numbers_in_a_step(12)
    monkeypatch.setattr(MultimodalVAE, "_linear_errors", lambda model, targets: [])
    assert numbers_in_a_step(24) > 3 * numbers_in_a_step(12)
