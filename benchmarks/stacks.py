"""A stack of replicas against as many trainings one after the other."""

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.networks import PAPER, Size, noise_samples, small, specs, trainer
from benchmarks.pairs import Pair, Side, Work

MMVM = {"kind": "mmvm"}
COMPARED = 3  # epochs
CASES = (
    ("hidden_32", small(32), 32, 1 / 8),
    ("hidden_64", small(64), 32, 1 / 4),
    ("hidden_256", small(256), 32, 1.0),
    ("paper", PAPER, 4, 1.0),  # most time is spent in matrix products: a stack must not be slower
)


# Whether the stack and the single trainings are compiled, and the end of the name of the pair. Compiling one model takes longer
# than a short training, so a compiled stack is compared with single trainings that are not compiled too.
DEFAULT = (False, False, "")
COMPILED = ((True, True, "_compiled"), (True, False, "_compiled_against_default"))


def pairs() -> list[Pair]:
    """Return a pair for each size of the networks, small ones compiled too: a stack, and single trainings."""
    return [
        Pair(
            f"stack_{replicas}_{name}{suffix}",
            Side(f"a stack of {replicas}{', compiled' * stack}", partial(_stack, size, replicas, stack)),
            Side(f"one by one{', compiled' * single}", partial(_single, size, single)),
            "an epoch of a replica",
            aim=aim,
            agreement=f"losses of the first {COMPARED} epochs of the first replica, to 1e-4",
            tolerance=1e-4,
        )
        for name, size, replicas, aim in CASES
        for stack, single, suffix in ((DEFAULT,) if size == PAPER else (DEFAULT, *COMPILED))
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

    return Work(run, partial(_losses, size, 1, compiled=False))  # a compiled stack is compared with a model that is not compiled


def _losses(size: Size, replicas: int, compiled: bool) -> dict[str, np.ndarray]:
    epochs = trainer(size, MMVM, replicas, compile=compiled).run()
    return {"loss": np.array([next(epochs).loss[0] for _ in range(COMPARED)])}
