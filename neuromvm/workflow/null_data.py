"""Work on null data sets, which sharing and refits have in common: what is missing, in batches that processes share."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike

from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.progress import Progress

Batch = TypeVar("Batch")


def missing_numbers(count: int, done: ArrayLike, size: int) -> list[range]:
    """Return the numbers 1 to ``count`` that are not done, in runs of consecutive numbers of at most ``size``.

    >>> missing_numbers(7, [3], 2)
    [range(1, 3), range(4, 6), range(6, 8)]
    """
    missing = np.setdiff1d(np.arange(1, count + 1), done)
    runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
    starts = [(start, int(run[-1])) for run in runs if run.size for start in run[::size].tolist()]
    return [range(start, min(start + size - 1, end) + 1) for start, end in starts]


def compute(
    work: Callable[[Path, Batch], tuple[str, list[str]]],
    path: Path,
    batches: Sequence[Batch],
    *,
    jobs: int,
    label: str,
    progress: bool,
) -> list[str]:
    """Share batches among processes; ``work`` computes a batch of a run folder and returns what it was and its failures.

    Return the failures of all batches. The bar is called ``label``.
    """
    failed: list[str] = []
    done: Iterable[tuple[str, list[str]]] = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(work)(path, batch) for batch in batches
    )
    with Progress(len(batches), label, "batch", shown=progress) as bar:
        for name, failures in done:
            failed += failures
            bar.advance(note=name)
    return failed


def of_number(fitted: FittedStack, number: int) -> FittedStack:
    """Return the replicas of a null data set of exchanged names, to be used with samples that have these names."""
    subset = fitted.subset([index for index, replica in enumerate(fitted.replicas) if replica.exchange == number])
    subset.replicas = [replica._replace(exchange=0) for replica in subset.replicas]
    return subset
