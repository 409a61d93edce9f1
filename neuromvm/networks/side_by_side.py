"""The networks of all modalities side by side: layers of the same shape are one batched product.

Small networks spend their time on calling operations, not on multiplying. Layers that read or write activity differ from
animal to animal; those between, and the heads of encoders, mostly have one shape and are called once for all animals.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuromvm.networks.encoder import ConstantScale, Encoder, PredictedScale, bounded_scale
from neuromvm.networks.mlp import Decoder

LARGEST = 2**14  # weights of a layer that are worth copying into a batched product

Values = Tensor | list[Tensor]  # (modality, batch, width), or a tensor for each modality where widths differ


def encode_together(encoders: Sequence[nn.Module], inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return posterior means and scales ``(modality, batch, latent)`` of inputs ``(batch, feature)``."""
    known = [encoder for encoder in encoders if isinstance(encoder, Encoder)]
    if len(known) < len(encoders):
        return _stacked_pairs([encoder(values) for encoder, values in zip(encoders, inputs, strict=True)])
    hidden = run_together([encoder.trunk for encoder in known], list(inputs))
    if all(isinstance(encoder.scale, ConstantScale) for encoder in known):  # the same for all rows: expanded, not copied
        means = torch.stack([encoder.mean(values) for encoder, values in zip(known, hidden, strict=True)])
        scales = torch.stack([encoder.scale(values) for encoder, values in zip(known, hidden, strict=True)])
        return means, scales[:, None].expand_as(means)
    heads = [head for encoder in known if (head := _affine_heads(encoder)) is not None]
    if len(heads) < len(known):
        return _stacked_pairs([encoder.posterior(values) for encoder, values in zip(known, hidden, strict=True)])
    both = _affine([torch.cat(weights) for weights, _ in heads], [torch.cat(biases) for _, biases in heads], hidden)
    assert isinstance(both, Tensor)  # all encoders infer as many latents
    mean, log_scale = (half.contiguous() for half in both.chunk(2, -1))
    return mean, bounded_scale(log_scale)


def decoders_hidden(decoders: Sequence[Decoder], latents: Sequence[Tensor]) -> Values:
    """Return what the readouts of decoders read, ``(..., width)`` each, from latents ``(..., latent)``."""
    return run_together([decoder.layers for decoder in decoders], list(latents))


def run_together(networks: Sequence[nn.Module], values: list[Tensor]) -> Values:
    """Run networks, each on its own values ``(batch, width)``."""
    layers = [list(network) for network in networks if isinstance(network, nn.Sequential)]
    if len(layers) < len(networks) or len({len(each) for each in layers}) > 1:
        return [network(one) for network, one in zip(networks, values, strict=True)]
    found: Values = values
    for same in zip(*layers, strict=True):
        found = _run_layer(same, found)
    return found


def _run_layer(layers: Sequence[nn.Module], values: Values) -> Values:
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if len(linear) == len(layers) and all(layer.bias is not None for layer in linear):
        return _affine([layer.weight for layer in linear], [layer.bias for layer in linear], values)
    slopes = {layer.negative_slope if isinstance(layer, nn.LeakyReLU) else None for layer in layers}
    if isinstance(values, Tensor) and len(slopes) == 1 and None not in slopes:
        activated: Tensor = layers[0](values)
        return activated
    return [layer(one) for layer, one in zip(layers, values, strict=True)]


def _affine(weights: Sequence[Tensor], biases: Sequence[Tensor], values: Values) -> Values:
    """Multiply values with weights ``(out, width)`` and add biases ``(out,)``, together if that is faster."""
    if isinstance(values, Tensor) and _same_shapes(weights) and weights[0].numel() <= LARGEST:
        return torch.baddbmm(torch.stack(list(biases))[:, None], values, torch.stack(list(weights)).mT)
    each = [functional.linear(one, weight, bias) for one, weight, bias in zip(values, weights, biases, strict=True)]
    return torch.stack(each) if _same_shapes(each) else each


def _affine_heads(encoder: Encoder) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Return weights and biases of mean and log scale, or None if either is not an affine map of hidden values."""
    if isinstance(encoder.mean, nn.Linear) and isinstance(encoder.scale, PredictedScale):
        mean, log_scale = encoder.mean, encoder.scale.log_scale
        return (mean.weight, log_scale.weight), (mean.bias, log_scale.bias)
    return None


def _same_shapes(tensors: Sequence[Tensor]) -> bool:
    return len({tensor.shape for tensor in tensors}) == 1


def _stacked_pairs(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    means, scales = zip(*pairs, strict=True)
    return torch.stack(means), torch.stack(scales)
