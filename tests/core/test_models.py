"""What every model must do, whatever its sharing, networks and likelihood."""

import itertools

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call, stack_module_state

from neuromvm.build import build_model
from neuromvm.data.windows import WindowShape
from neuromvm.errors import ShapeError
from neuromvm.likelihoods import LIKELIHOODS, SquaredError
from neuromvm.models import Batch, IndependentVAE
from neuromvm.specs import ModelSpec
from tests.core.examples import NAMED, PUBLISHED, SHARING, activity_of

WINDOWS = {"mitt": WindowShape(4, 3, 0.1), "stella": WindowShape(4, 2, 0.1), "barat": WindowShape(4, 2, 0.1)}
FEATURES = {name: window.features for name, window in WINDOWS.items()}
NETWORKS = {
    "linear": "linear",
    "mlp": {"kind": "mlp", "hidden": [6, 5]},
    "published": "published",
    "convolution": {"kind": "convolution", "hidden": 3, "kernel": 3},
    "residual": {"kind": "residual", "channels": 2, "smallest": 2},
    "ar1": {"kind": "convolution", "hidden": 3, "kernel": 3, "smoothness": "autoregressive"},
}


def specs(sharing, networks, likelihoods) -> dict[str, ModelSpec]:
    """Return every combination, with predicted and constant scales in turn."""
    found = {}
    for number, (share, network, likelihood) in enumerate(itertools.product(sharing, networks, likelihoods)):
        found[f"{share} {network} {likelihood}"] = ModelSpec(
            sharing=(SHARING | PUBLISHED)[share],
            networks=NETWORKS[network],
            likelihood=likelihood,
            scale=("predicted", "constant")[number % 2],
            latent=3,
        )
    return found


EVERY = specs(SHARING | PUBLISHED, NETWORKS, LIKELIHOODS)
# What a likelihood cannot change is asked of one likelihood.
FEWER = specs(SHARING, NETWORKS, ["gaussian"])
every_model = pytest.mark.parametrize("spec", EVERY.values(), ids=EVERY)
every_sharing = pytest.mark.parametrize("spec", FEWER.values(), ids=FEWER)


def batch_of(rows: int, seed: int = 0, support: str = "counts") -> Batch:
    values = {name: activity_of(support, rows, width, seed + number) for number, (name, width) in enumerate(FEATURES.items())}
    return Batch(values, values, torch.ones(len(FEATURES), rows), torch.arange(rows) // 2)


def noise_of(model, rows: int, seed: int = 1) -> torch.Tensor:
    draws, width = model.noise_shape
    return torch.randn(draws, rows, width, generator=torch.Generator().manual_seed(seed))


@every_model
def test_loss_is_the_stated_reduction_and_reaches_every_parameter(spec):
    model = build_model(spec, WINDOWS, seed=0)
    batch = batch_of(6, support=model.likelihood("mitt").support)
    objective = model.objective(batch, noise_of(model, 6), beta=0.7, progress=0.5)
    assert objective.log_likelihood.shape == (3, 6)
    assert objective.rate.shape == (len(model.rate_terms), 6)
    expected = (0.7 * objective.rate.sum(0) - objective.log_likelihood.sum(0)).mean()
    if getattr(spec.sharing, "samples", 1) == 1:
        torch.testing.assert_close(objective.loss, expected)
    else:
        assert objective.loss < expected  # importance weighting tightens the bound
    objective.loss.backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0] == []


@every_sharing
def test_a_stack_gives_each_replica_the_loss_and_gradient_of_a_single_model(spec):
    singles = [build_model(spec, WINDOWS, seed) for seed in (0, 1)]
    batches, noises = [batch_of(5, seed) for seed in (3, 4)], [noise_of(singles[0], 5, seed) for seed in (5, 6)]
    parameters, buffers = stack_module_state(singles)
    stacked = Batch(
        *(
            {name: torch.stack([getattr(one, field)[name] for one in batches]) for name in FEATURES}
            for field in ("inputs", "targets")
        ),
        torch.stack([one.available for one in batches]),
        torch.stack([one.condition for one in batches]),
    )

    def one(parameters, buffers, batch, noise):
        return functional_call(singles[0], (parameters, buffers), (batch, noise, 0.5)).loss

    losses = torch.func.vmap(one)(parameters, buffers, stacked, torch.stack(noises))
    losses.sum().backward()
    for number, (model, batch, noise) in enumerate(zip(singles, batches, noises, strict=True)):
        single = model.objective(batch, noise, 0.5).loss
        torch.testing.assert_close(losses[number], single, rtol=1e-5, atol=1e-5)
        single.backward()
        for name, value in model.named_parameters():
            torch.testing.assert_close(parameters[name].grad[number], value.grad, rtol=1e-3, atol=1e-4)


@every_sharing
def test_values_of_an_absent_animal_do_not_matter(spec):
    model = build_model(spec, WINDOWS, seed=0)
    batch = batch_of(4)
    batch.available[1, :2] = 0
    before = model.objective(batch, noise_of(model, 4), 1.0).loss
    batch.inputs["stella"][:2] = 1.0
    batch.targets["stella"][:2] = 1.0
    torch.testing.assert_close(model.objective(batch, noise_of(model, 4), 1.0).loss, before)


@every_sharing
def test_a_row_without_any_animal_does_not_count(spec):
    model = build_model(spec, WINDOWS, seed=0)
    short, long = batch_of(4), batch_of(4)
    kept = Batch(
        {n: v[:3] for n, v in short.inputs.items()},
        {n: v[:3] for n, v in short.targets.items()},
        short.available[:, :3],
        short.condition[:3],
    )
    long.available[:, 3] = 0
    torch.testing.assert_close(
        model.objective(long, noise_of(model, 4), 1.0).loss, model.objective(kept, noise_of(model, 4)[:, :3], 1.0).loss
    )


def test_models_say_what_their_latents_have_in_common():
    settings = NAMED | PUBLISHED | {"plain autoencoder": {"kind": "autoencoder"}}
    models = {name: build_model(ModelSpec(sharing=sharing), WINDOWS, seed=0) for name, sharing in settings.items()}
    apart = {"independent", "plain autoencoder"}
    factors = {"average", "poe", "published-average", "published-product_of_experts"}
    private = {"mmvae_plus", "mmvae_plus-elbo"}
    assert {name for name, model in models.items() if not model.shares_latents} == apart | factors
    assert {name for name, model in models.items() if model.has_private_latents} == private
    assert {name for name, model in models.items() if not model.has_common_space} == apart | private


def test_order_of_rows_is_irrelevant():
    model = build_model(ModelSpec(sharing={"kind": "mmvm", "cross_reconstruction": 0.5}, latent=3), WINDOWS, seed=0)
    batch, noise, order = batch_of(6), noise_of(model, 6), torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = Batch(
        {n: v[order] for n, v in batch.inputs.items()},
        {n: v[order] for n, v in batch.targets.items()},
        batch.available,
        batch.condition[order],
    )
    one, other = model.objective(batch, noise, 1.0), model.objective(shuffled, noise[:, order], 1.0)
    torch.testing.assert_close(one.log_likelihood[:, order], other.log_likelihood)


def test_cross_reconstruction_weights_sum_to_one_over_those_present():
    model = build_model(ModelSpec(sharing={"kind": "mmvm", "cross_reconstruction": 0.6}, latent=3), WINDOWS, seed=0)
    batch = batch_of(3)._replace(available=torch.tensor([[1.0, 1, 0], [1, 0, 1], [1, 0, 0]]))
    shared = model.share(model.encode(batch.inputs), noise_of(model, 3), batch, 1.0)
    mitt = shared.sources.weight + torch.tensor([[1.0], [0], [0]]) * shared.own_weight
    torch.testing.assert_close(mitt[:, 0], torch.tensor([0.4, 0.3, 0.3]))
    torch.testing.assert_close(mitt[:, 1], torch.tensor([1.0, 0.0, 0.0]))  # alone: from its own latent
    torch.testing.assert_close(shared.sources.latents, shared.own)


def test_an_absent_animal_is_inferred_with_the_final_share_of_the_standard_normal():
    schedule = {"kind": "linear", "start": 0.8, "stop": 0.1}
    model = build_model(ModelSpec(sharing={"kind": "mmvm", "standard_normal": schedule}, latent=3), WINDOWS, seed=0)
    posteriors = model.encode(batch_of(2).inputs)
    available = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    components, weight = model.infer_absent(posteriors, noise_of(model, 2), available, "barat")
    torch.testing.assert_close(weight.T, torch.tensor([[0.45, 0.45, 0.0, 0.1], [0.9, 0.0, 0.0, 0.1]]))
    torch.testing.assert_close(components.mean, torch.cat([posteriors.mean, torch.zeros(1, 2, 3)]))
    torch.testing.assert_close(components.scale, torch.cat([posteriors.scale, torch.ones(1, 2, 3)]))


@pytest.mark.parametrize("components", [15, 12])
def test_the_rate_of_a_joint_mixture_is_the_weighted_mean_over_its_components(components):
    windows = WINDOWS | {"buchanan": WindowShape(4, 2, 0.1)}
    sharing = {"kind": "joint", "aggregation": "mixture_of_products", "components": components}
    model = build_model(ModelSpec(sharing=sharing, latent=3), windows, seed=0)
    inputs = {name: torch.rand(6, window.features) for name, window in windows.items()}
    batch = Batch(inputs, inputs, torch.ones(4, 6), torch.arange(6))
    posteriors, noise = model.encode(inputs), noise_of(model, 6)
    (mean, scale), weight = model.aggregation(posteriors, batch.available, noise[..., 3:])
    assert len(mean) == components
    divergence = kl_divergence(Normal(mean, scale), Normal(torch.zeros_like(mean), torch.ones_like(scale))).sum(-1)
    rate = model.share(posteriors, noise, batch, 1.0).rate
    torch.testing.assert_close(rate, (weight * divergence).sum(0, keepdim=True))


def test_weights_come_from_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (build_model(ModelSpec(sharing="mmvm"), WINDOWS, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    key = "encoders.mitt.mean.weight"
    assert torch.equal(one.state_dict()[key], same.state_dict()[key])
    assert not torch.equal(one.state_dict()[key], other.state_dict()[key])


def test_parts_for_other_modalities_are_refused():
    model = build_model(ModelSpec(sharing="independent"), WINDOWS, seed=0)
    with pytest.raises(ShapeError, match="stella"):
        IndependentVAE(dict(model.encoders), {"mitt": model.decoders["mitt"]}, {"mitt": SquaredError(12)})


@every_sharing
def test_an_absent_animal_puts_nothing_infinite_into_a_gradient(spec):
    model, batch = build_model(spec, WINDOWS, seed=0), batch_of(4)
    batch.available[1, :2] = 0
    with torch.autograd.set_detect_anomaly(True):
        model.objective(batch, noise_of(model, 4), 1.0).loss.backward()
