"""A training step against its matrix products alone, the least work that it can be."""

import itertools
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.networks import PAPER, Size, trainer
from benchmarks.pairs import Pair, Side, Work

MMVM = {"kind": "mmvm"}
CLIP_NORM = 100.0


def pairs() -> list[Pair]:
    """Return the pairs at the paper's size: an epoch's draws, forward, backward and Adam, with and without clipping."""
    return [
        Pair(
            f"step_paper{'_clipped' * clips}{'_compiled' * compiled}_{threads}_thread{'s' * (threads > 1)}",
            Side(
                f"MMVM trainer{', gradients clipped' * clips}{', compiled' * compiled}",
                partial(_step, PAPER, CLIP_NORM if clips else None, compiled),
            ),
            Side("matrix products", partial(_products, PAPER)),
            "a step",
            threads=threads,
            aim=1.25,
            agreement="operations of products, counted in the trainer (not compiled) and from the shapes, within 1 %",
            tolerance=0.01,
        )
        for threads, compiled, clips in itertools.product((1, 2), (False, True), (False, True))
    ]


class Layer(NamedTuple):
    """A linear layer; an input layer needs no gradient of its activity."""

    inputs: int
    outputs: int
    is_input: bool

    def operations(self, rows: int) -> int:
        """Multiplications and additions of a step."""
        return (2 if self.is_input else 3) * 2 * rows * self.inputs * self.outputs


def layers(size: Size) -> list[Layer]:
    """Return the linear layers of the model of this size."""
    from torch import nn

    return [
        Layer(module.in_features, module.out_features, ".trunk.0" in name)
        for name, module in trainer(size, MMVM).model.named_modules()
        if isinstance(module, nn.Linear)
    ]


def _step(size: Size, clip_norm: float | None, compiled: bool, folder: Path) -> Work:
    from torch.utils.flop_counter import FlopCounterMode

    training = trainer(size, MMVM, clip_norm=clip_norm, compile=compiled)
    epochs = training.run()

    def run() -> float:
        next(epochs)
        return training.batches.steps

    def answer() -> dict[str, np.ndarray]:
        counted = trainer(size, MMVM, clip_norm=clip_norm)  # operations inside compiled code are not counted
        with FlopCounterMode(display=False) as counter:
            next(counted.run())
        return {"operations a step": np.array(counter.get_total_flops() / counted.batches.steps)}

    return Work(run, answer)


def _products(size: Size, folder: Path) -> Work:
    import torch

    model_layers = layers(size)
    operands = []
    for layer in model_layers:
        values, gradient = torch.randn(size.batch, layer.inputs), torch.randn(size.batch, layer.outputs)
        weight = torch.randn(layer.outputs, layer.inputs)
        operands.append((values, weight, gradient, *map(torch.empty_like, (gradient, weight, values)), layer.is_input))
    operations = float(sum(layer.operations(size.batch) for layer in model_layers))

    def run() -> float:
        for values, weight, gradient, out, of_weight, of_values, is_input in operands:
            torch.mm(values, weight.T, out=out)
            torch.mm(gradient.T, values, out=of_weight)
            if not is_input:
                torch.mm(gradient, weight, out=of_values)
        return 1

    return Work(run, lambda: {"operations a step": np.array(operations)})
