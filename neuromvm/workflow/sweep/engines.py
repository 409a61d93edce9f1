"""Where cells are computed: anything with one method, ``map``. Those in other files need packages of their own."""

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
    """An item, by its number, whose process ended without a result, and what is known of it."""

    number: int
    reason: str


class Engine(Protocol):
    """What computes the cells of a sweep."""

    @property
    def jobs(self) -> int | None:
        """Items computed at once; None if that is for others to say."""

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield what the function returns of each item, in the order in which they are finished.

        A process that dies takes no other item with it: it is :class:`Lost`, after another attempt where that is cheap.
        """


class Serial:
    """One item after the other, in this process."""

    jobs = 1

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield what the function returns of each item."""
        return map(function, items)


class Processes:
    """Worker processes of this machine, one thread each.

    Parameters
    ----------
    jobs
        Number of processes; by default that of the CPUs that this process may use.

    Examples
    --------
    >>> sorted(Processes(2).map(abs, [-1, 2, -3]))  # doctest: +SKIP
    [1, 2, 3]
    """

    def __init__(self, jobs: int | None = None) -> None:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self.jobs = cpus if jobs is None else jobs

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield what the function returns of each item.

        If a worker dies, those beside it are stopped too; each of their items is then done once more in a worker alone, so that
        an item that ends its process (too much memory) is found and the others are not held up.
        """
        waiting = deque(range(len(items)))
        while waiting:
            suspects = yield from self._together(function, items, waiting)
            for number in suspects:
                if (yield from self._together(function, items, deque([number]))):
                    yield Lost(number, "its process was killed twice; if not by you, then perhaps for want of memory")

    def _together(
        self, function: Callable[[Item], Value], items: Sequence[Item], waiting: deque[int]
    ) -> Generator[Value, None, list[int]]:
        """Take items from those waiting until none is left or a worker dies; return those in work at its death."""
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
    """Return every n-th of the items, beginning with the i-th, for a job array of anybody's own.

    Parameters
    ----------
    items
        In an order that is the same for all shards.
    text
        ``"i/n"``, i from 1 to n.

    Raises
    ------
    SpecError
        If it is not.

    Examples
    --------
    >>> shard("abcde", "1/2"), shard("abcde", "2/2")
    (['a', 'c', 'e'], ['b', 'd'])
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise SpecError(f"--shard {text}", found="no i/n with i from 1 to n", next_step="Example: --shard 3/16")
    return list(items[int(number) - 1 :: int(count)])
