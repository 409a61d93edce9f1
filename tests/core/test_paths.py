"""Priors of latent paths: their covariance, and divergences of codes as divergences of paths."""

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from neuromvm.build import build_model
from neuromvm.data.windows import WindowShape
from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal
from neuromvm.functional.paths import autoregressive_root, gaussian_process_root
from neuromvm.specs import ModelSpec

LAGS = (torch.arange(12)[:, None] - torch.arange(12)).abs().float()


def test_roots_are_those_of_their_covariance():
    autoregressive = autoregressive_root(12, 3.0)
    torch.testing.assert_close(autoregressive @ autoregressive.T, torch.exp(-LAGS / 3.0))
    smooth = gaussian_process_root(12, 3.0)
    torch.testing.assert_close(smooth @ smooth.T, torch.exp(-0.5 * (LAGS / 3.0) ** 2), atol=5e-3, rtol=0)
    assert smooth.shape[1] < 12


def test_an_autoregressive_code_is_its_innovations():
    code = torch.randn(12, generator=torch.Generator().manual_seed(0))
    decay = torch.exp(torch.tensor(-1 / 3.0))
    path = [code[0]]
    for innovation in code[1:]:
        path.append(decay * path[-1] + torch.sqrt(1 - decay**2) * innovation)
    torch.testing.assert_close(autoregressive_root(12, 3.0) @ code, torch.stack(path), rtol=1e-4, atol=1e-5)


def test_the_rate_of_a_code_is_the_rate_of_its_path():
    root = autoregressive_root(12, 3.0).double()
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(12, generator=generator, dtype=torch.float64)
    scale = torch.rand(12, generator=generator, dtype=torch.float64) + 0.2
    of_code = kl_to_standard_normal(Posteriors(mean, scale))
    posterior = MultivariateNormal(root @ mean, root @ torch.diag(scale**2) @ root.T)
    prior = MultivariateNormal(torch.zeros(12, dtype=torch.float64), root @ root.T)
    torch.testing.assert_close(of_code, kl_divergence(posterior, prior))


@pytest.mark.parametrize("smoothness", ["autoregressive", "gaussian_process"])
def test_untrained_posterior_scales_are_those_of_a_path_seen_through_unit_noise(smoothness):
    spec = ModelSpec(
        sharing="mmvm", scale="constant", networks={"kind": "convolution", "smoothness": smoothness, "timescale": 0.3}
    )
    model = build_model(spec, {"mitt": WindowShape(12, 5, 0.1)}, seed=0)
    _, scale = model.encoders["mitt"](torch.zeros(1, 60))
    root = model.decoders["mitt"].root
    expected = torch.linalg.inv(root.T @ root + torch.eye(root.shape[1])).diagonal().sqrt()
    torch.testing.assert_close(scale[0, : root.shape[1]], expected)
