"""Engines compute the cells of a sweep: classes with a method ``map``. SLURM and Dask have modules of their own."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import NamedTuple, Protocol, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from neuromvm.errors import SpecError

Item = TypeVar("Item")
Value = TypeVar("Value")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Lost(NamedTuple):
    """Number of an item whose process ended without a result, and the reason if known."""

    number: int
    reason: str


class Engine(Protocol):
    """Interface of an engine."""

    @property
    def jobs(self) -> int | None:
        """Items computed at once; None if unknown."""

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield the value of the function for each item, in the order in which they finish.

        An item whose process ends without a result gives :class:`Lost`; the other items are computed.
        """


class Serial:
    """Items one after another, in this process."""

    jobs = 1

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield the value of the function for each item."""
        return map(function, items)


class Processes:
    """Worker processes of this machine, one thread each; by default as many as CPUs that this process may use."""

    def __init__(self, jobs: int | None = None) -> None:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self.jobs = cpus if jobs is None else jobs

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield the value of the function for each item.

        If a worker dies, all workers are stopped. Each of their items is then computed once more, alone, so that an item that
        ends its process (for instance out of memory) is identified and the others are computed.
        """
        waiting = deque(range(len(items)))
        while waiting:
            for number in (yield from self._run(function, items, waiting)):
                if (yield from self._run(function, items, deque([number]))):
                    yield Lost(number, "its process was killed twice, possibly because it ran out of memory")

    def _run(
        self, function: Callable[[Item], Value], items: Sequence[Item], waiting: deque[int]
    ) -> Generator[Value, None, list[int]]:
        """Compute waiting items until none is left or a worker dies; return the items in work at its death."""
        pool = ProcessPoolExecutor(max_workers=min(self.jobs, len(waiting)), env=dict.fromkeys(THREADS, "1"))
        working: dict[Future[Value], int] = {}
        try:
            while waiting or working:
                while waiting and len(working) < self.jobs:
                    working[pool.submit(function, items[waiting[0]])] = waiting[0]
                    waiting.popleft()
                finished, _ = wait(working, return_when=FIRST_COMPLETED)
                for future in finished:
                    value = future.result()
                    del working[future]
                    yield value
        except BrokenProcessPool:
            return list(working.values())
        finally:
            pool.shutdown(wait=True, kill_workers=True)
        return []


def shard(items: Sequence[Item], text: str) -> list[Item]:
    """Return every n-th of the items, beginning with the i-th, for the text ``"i/n"``; SpecError if it has another form.

    >>> shard("abcde", "1/2"), shard("abcde", "2/2")
    (['a', 'c', 'e'], ['b', 'd'])
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise SpecError(f"--shard {text}", found="no i/n with i from 1 to n", next_step="Example: --shard 3/16")
    return list(items[int(number) - 1 :: int(count)])
