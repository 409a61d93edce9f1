"""A stack of replicas against as many trainings one after the other."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.networks import PAPER, Size, noise_samples, small, specs, trainer
from benchmarks.pairs import Pair, Side, Work

MMVM = {"kind": "mmvm"}
COMPARED = 3  # epochs
CASES = (
    ("hidden_32", small(32), 32, 1 / 8),
    ("hidden_64", small(64), 32, 1 / 4),
    ("hidden_256", small(256), 32, 1.0),
    ("paper", PAPER, 4, 1.0),  # the time goes into products here: a stack must not be slower
)


class Ways(NamedTuple):
    """Whether the stack is compiled, and what it is compared with. Compiling takes longer than a short training of one."""

    stack: bool
    single: bool

    @property
    def suffix(self) -> str:
        """What it adds to the name of a pair."""
        return "_compiled" * self.stack + "_against_default" * (self.stack and not self.single)


def pairs() -> list[Pair]:
    """Return a pair for each size of the networks, and small ones compiled too: the stack, and what it is compared with."""
    alike, compiled, mixed = Ways(False, False), Ways(True, True), Ways(True, False)
    return [
        Pair(
            f"stack_{replicas}_{name}{way.suffix}",
            Side(f"a stack of {replicas}{', compiled' * way.stack}", partial(_stack, size, replicas, way.stack)),
            Side(f"one by one{', compiled' * way.single}", partial(_single, size, way.single)),
            "an epoch of a replica",
            aim=aim,
            agreement=f"losses of the first {COMPARED} epochs of the first replica, to 1e-4",
            tolerance=1e-4,
        )
        for name, size, replicas, aim in CASES
        for way in ((alike, compiled, mixed) if size.units != PAPER.units else (alike,))
    ]


def _stack(size: Size, replicas: int, compiled: bool, folder: Path) -> Work:
    from neuromvm.training.stack_size import stack_size

    epochs = trainer(size, MMVM, replicas, compile=compiled).run()

    def run() -> float:
        next(epochs)
        return replicas

    most = stack_size(noise_samples(size)[0], *specs(size, MMVM))
    answer = partial(_losses, size, replicas, compiled)
    return Work(run, answer, f"neuromvm.training.stack_size makes stacks of {most}")


def _single(size: Size, compiled: bool, folder: Path) -> Work:
    epochs = trainer(size, MMVM, compile=compiled).run()

    def run() -> float:
        next(epochs)
        return 1

    return Work(run, partial(_losses, size, 1, compiled=False))  # the compiled stack is held against what is not compiled


def _losses(size: Size, replicas: int, compiled: bool) -> dict[str, np.ndarray]:
    epochs = trainer(size, MMVM, replicas, compile=compiled).run()
    return {"loss": np.array([next(epochs).loss[0] for _ in range(COMPARED)])}
