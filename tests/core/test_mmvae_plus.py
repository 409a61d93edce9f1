"""The importance-weighted bound: it tightens with samples, and approaches the evidence where that is known."""

import itertools
import math

import torch
from torch.distributions import MultivariateNormal

from neuromvm.build import build_model
from neuromvm.data.windows import WindowShape
from neuromvm.models import Batch
from neuromvm.specs import ModelSpec


def model_of(samples: int, windows: dict[str, WindowShape]):
    sharing = {"kind": "mmvae_plus", "private": 1, "samples": samples}
    return build_model(ModelSpec(sharing=sharing, latent=2, networks="linear", likelihood="gaussian"), windows, seed=0).double()


def bound(model, batch: Batch, seed: int) -> torch.Tensor:
    """Return the bound of every row, averaged over draws of noise, with its standard error."""
    draws, width = model.noise_shape
    rows = batch.available.shape[1]
    noise = torch.randn(draws, rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return -model.objective(batch, noise, beta=1.0).loss


def repeated(values: dict[str, torch.Tensor], rows: int) -> Batch:
    """Return one matched sample many times, so that the mean over rows is a mean over noise."""
    many = {name: one.expand(rows, -1) for name, one in values.items()}
    return Batch(many, many, torch.ones(len(values), rows, dtype=torch.float64), torch.zeros(rows, dtype=torch.long))


def test_more_samples_tighten_the_bound():
    windows = {"mitt": WindowShape(1, 4, 0.1), "stella": WindowShape(1, 3, 0.1)}
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.randn(window.features, generator=generator, dtype=torch.float64) for name, window in windows.items()}
    batch = repeated(values, 20_000)
    bounds = [bound(model_of(samples, windows), batch, seed=1).item() for samples in (1, 3, 10, 30)]
    assert all(before < after for before, after in itertools.pairwise(bounds))
    assert bounds[1] - bounds[0] > bounds[3] - bounds[2]  # and by less and less


def test_with_one_animal_and_many_samples_the_bound_is_the_evidence_of_a_linear_model():
    windows = {"mitt": WindowShape(1, 3, 0.1)}
    model = model_of(300, windows)
    values = {"mitt": torch.tensor([0.4, -0.3, 0.8], dtype=torch.float64)}
    layer = model.decoders["mitt"][1]
    covariance = layer.weight @ layer.weight.T + torch.eye(3, dtype=torch.float64)  # unit noise at the start
    evidence = MultivariateNormal(layer.bias, covariance).log_prob(values["mitt"]).item()
    found = torch.stack([bound(model, repeated(values, 200), seed) for seed in range(10)])
    assert abs(found.mean().item() - evidence) < 5 * found.std().item() / math.sqrt(10) + 0.01
    assert bound(model_of(1, windows), repeated(values, 20_000), seed=0).item() < evidence


def latents_of_stella(model, batch: Batch, noise: torch.Tensor) -> torch.Tensor:
    return model.latents_for("stella", model._draw(model.encode(batch.inputs), noise, batch.available))


def test_private_dimensions_of_others_never_reach_a_decoder():
    windows = {"mitt": WindowShape(1, 4, 0.1), "stella": WindowShape(1, 3, 0.1)}
    model = model_of(2, windows)
    values = {name: torch.ones(window.features, dtype=torch.float64) for name, window in windows.items()}
    batch = repeated(values, 5)
    noise = torch.randn(*model.noise_shape[:1], 5, model.noise_shape[1], dtype=torch.float64)
    before = latents_of_stella(model, batch, noise)
    with torch.no_grad():
        model.encoders["mitt"].mean.weight[2:] += 3.0  # private rows
    after = latents_of_stella(model, batch, noise)
    assert torch.equal(before, after)
