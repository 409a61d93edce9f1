"""A training step against its matrix products alone, which nothing can do without."""

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
    found = []
    for threads, way in itertools.product((1, 2), (Way(), Way(clips=True), Way(compiled=True), Way(clips=True, compiled=True))):
        found.append(
            Pair(
                f"step_paper{way.suffix}_{threads}_thread{'s' if threads > 1 else ''}",
                Side(f"MMVM trainer{way.said}", partial(_step, PAPER, way)),
                Side("matrix products", partial(_products, PAPER)),
                "a step",
                threads=threads,
                aim=1.25,
                agreement="operations of products, counted in the trainer (not compiled) and from the shapes, within 1 %",
                tolerance=0.01,
            )
        )
    return found


class Way(NamedTuple):
    """How we step: whether gradients are clipped, and whether the step is compiled."""

    clips: bool = False
    compiled: bool = False

    @property
    def suffix(self) -> str:
        """What it adds to the name of a pair."""
        return "_clipped" * self.clips + "_compiled" * self.compiled

    @property
    def said(self) -> str:
        """What the table says."""
        return ", gradients clipped" * self.clips + ", compiled" * self.compiled


class Layer(NamedTuple):
    """A linear layer; the gradient of the activity that an animal's first layer reads is never needed."""

    inputs: int
    outputs: int
    first: bool

    def operations(self, rows: int) -> int:
        """Multiplications and additions of a step."""
        return (2 if self.first else 3) * 2 * rows * self.inputs * self.outputs


def layers(size: Size) -> list[Layer]:
    """Return the linear layers of the model of this size."""
    from torch import nn

    model = trainer(size, MMVM).model
    named = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return [Layer(one.in_features, one.out_features, ".trunk.0" in name) for name, one in named]


def _step(size: Size, way: Way, folder: Path) -> Work:
    from torch.utils.flop_counter import FlopCounterMode

    clip_norm = CLIP_NORM if way.clips else None
    training = trainer(size, MMVM, clip_norm=clip_norm, compile=way.compiled)
    epochs = training.run()

    def run() -> float:
        next(epochs)
        return training.batches.steps

    def answer() -> dict[str, np.ndarray]:
        seen = trainer(size, MMVM, clip_norm=clip_norm)  # operations inside compiled code are not counted
        with FlopCounterMode(display=False) as counter:
            next(seen.run())
        return {"operations a step": np.array(counter.get_total_flops() / seen.batches.steps)}

    return Work(run, answer)


def _products(size: Size, folder: Path) -> Work:
    import torch

    found = layers(size)
    held = []
    for layer in found:
        values, gradient = torch.randn(size.batch, layer.inputs), torch.randn(size.batch, layer.outputs)
        weight = torch.randn(layer.outputs, layer.inputs)
        held.append((values, weight, gradient, *map(torch.empty_like, (gradient, weight, values)), layer.first))

    def run() -> float:
        for values, weight, gradient, out, of_weight, of_values, first in held:
            torch.mm(values, weight.T, out=out)
            torch.mm(gradient.T, values, out=of_weight)
            if not first:
                torch.mm(gradient, weight, out=of_values)
        return 1

    return Work(run, lambda: {"operations a step": np.array(float(sum(layer.operations(size.batch) for layer in found)))})
