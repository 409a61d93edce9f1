"""Networks run side by side give what each gives alone, and gradients too, whatever their widths and heads."""

import pytest
import torch
from torch import nn

from neuromvm.networks import ConstantScale, Decoder, Encoder, PredictedScale, SimplexMean, decoders_hidden, encode_together, mlp

ROWS, LATENT = 7, 3
WIDTHS = {
    "none hidden": ((), ()),
    "same": ((8, 6), (8, 6)),
    "too large to be copied": ((200, 200), (200, 200)),
    "of their own": ((8, 6), (9, 6)),
    "as many as they like": ((8,), (8, 8)),
}


def heads(kind, width):
    mean = SimplexMean(width, LATENT, gain=2.0) if kind == "simplex" else nn.Linear(width, LATENT)
    return mean, ConstantScale(torch.zeros(LATENT)) if kind == "constant" else PredictedScale(width, LATENT)


def gradients(networks):
    return [parameter.grad for network in networks for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("kind", ["predicted", "constant", "simplex"])
def test_encoders(widths, kind):
    torch.manual_seed(0)
    inputs = [torch.randn(ROWS, features) for features in (5, 4)]
    encoders = []
    for values, hidden in zip(inputs, widths, strict=True):
        width = hidden[-1] if hidden else values.shape[1]
        encoders.append(Encoder(mlp(values.shape[1], hidden), *heads(kind, width), LATENT))
    alone = [torch.stack(each) for each in zip(*(one(values) for one, values in zip(encoders, inputs, strict=True)), strict=True)]
    sum(values.square().sum() for values in alone).backward()
    expected = [gradient.clone() for gradient in gradients(encoders)]
    for encoder in encoders:
        encoder.zero_grad()
    together = encode_together(encoders, inputs)
    sum(values.square().sum() for values in together).backward()
    for found, value in zip([*together, *gradients(encoders)], [*alone, *expected], strict=True):
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_decoders(widths):
    torch.manual_seed(0)
    decoders = [Decoder(LATENT, hidden, 5) for hidden in widths]
    latents = [torch.randn(ROWS, LATENT) for _ in decoders]
    found = decoders_hidden(decoders, latents)
    for values, decoder, latent in zip(found, decoders, latents, strict=True):
        torch.testing.assert_close(decoder.readout(values), decoder(latent), rtol=1e-5, atol=1e-5)


def test_equal_layers_are_one_product(monkeypatch):
    called = []
    product = torch.baddbmm
    monkeypatch.setattr(torch, "baddbmm", lambda *given: called.append(given) or product(*given))
    encoders = [Encoder(mlp(features, [8, 8]), *heads("predicted", 8), LATENT) for features in (5, 4, 6)]
    encode_together(encoders, [torch.randn(ROWS, features) for features in (5, 4, 6)])
    assert len(called) == 2  # the second hidden layer, and the heads


@pytest.mark.parametrize(
    "layer", [nn.PReLU, lambda: nn.LayerNorm(8), lambda: nn.Linear(8, 8, bias=False)], ids=["prelu", "norm", "no bias"]
)
def test_layers_with_weights_of_their_own_are_each_run(layer):
    torch.manual_seed(0)
    inputs = [torch.randn(ROWS, 5), torch.randn(ROWS, 4)]
    encoders = [Encoder(nn.Sequential(nn.Linear(one.shape[1], 8), layer()), *heads("predicted", 8), LATENT) for one in inputs]
    with torch.no_grad():
        for number, encoder in enumerate(encoders):
            encoder.trunk[1].weight.mul_(1.0 + number)
    found = encode_together(encoders, inputs)[0]
    torch.testing.assert_close(found, torch.stack([one(values)[0] for one, values in zip(encoders, inputs, strict=True)]))


def test_an_encoder_of_another_kind_is_called_as_it_is():
    class Constant(nn.Module):
        def forward(self, inputs):
            return torch.zeros(len(inputs), LATENT), torch.ones(len(inputs), LATENT)

    mean, scale = encode_together([Constant(), Constant()], [torch.randn(ROWS, 5)] * 2)
    assert mean.shape == scale.shape == (2, ROWS, LATENT)
