"""Engines compute the cells of a sweep: in this process, in worker processes, on SLURM or on a Dask cluster."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from neuromvm.errors import SpecError

Item = TypeVar("Item")
Value = TypeVar("Value")
# Names that submitit knows on every kind of cluster; all others are options of sbatch.
COMMON = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "stderr_to_stdout")
DEFAULTS = {"name": "neuromvm-sweep", "timeout_min": 24 * 60, "cpus_per_task": 1, "tasks_per_node": 1, "nodes": 1}
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


class Slurm:
    """A job array with one task for each item, at most ``jobs`` at once.

    A job that is preempted or runs out of time is queued again by submitit and continues. Interrupting the caller leaves jobs
    in the queue: their results are kept, and the same sweep called again skips them. ``folder`` holds submitit's job files and
    logs; every node must see it. ``parameters`` are submitit's (``timeout_min``) or sbatch's (``partition``). The cluster
    ``local`` runs jobs as processes of this machine; jobs are checked every ``poll`` seconds.
    """

    jobs: int | None = None  # the queue decides

    def __init__(
        self,
        folder: Path,
        jobs: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        cluster: Literal["slurm", "local"] = "slurm",
        poll: float = 5.0,
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise SpecError("engine slurm", found="no submitit", next_step="Install it: pip install 'neuromvm[slurm]'") from error
        self.poll, self.cluster = poll, cluster
        named = {
            key if key in COMMON else f"slurm_{key.removeprefix('slurm_')}": value
            for key, value in (DEFAULTS | dict(parameters or {})).items()
        }
        if jobs is not None:
            named["slurm_array_parallelism"] = jobs
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self.executor.update_parameters(**named)
        except RuntimeError as error:
            raise SpecError(
                "engine slurm", found=str(error), next_step="Call it on a login node, or use --engine processes here"
            ) from error
        except (NameError, TypeError, ValueError) as error:
            raise SpecError("--slurm", found=" ".join(str(error).split()), next_step="Example: --slurm partition=cpu") from error

    def submit(self, function: Callable[[Item], Value], items: Sequence[Item]) -> list[Any]:
        """Queue a job for each item, as one array; return submitit's jobs."""
        with self.executor.batch():
            jobs = [self.executor.submit(_Resumable(), function, item) for item in items]
        return jobs

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield the value of the function for each item as jobs end; a job that dies gives Lost."""
        waiting = dict(enumerate(self.submit(function, items)))
        try:
            while waiting:
                finished = [number for number, job in waiting.items() if job.done()]
                for number in finished:
                    yield _result(number, waiting.pop(number))
                if not finished:
                    time.sleep(self.poll)
        finally:
            if self.cluster == "local":
                for job in waiting.values():
                    job.cancel()


class _Resumable:
    """A call that submitit may queue again unchanged, since its results are on disk."""

    def __call__(self, function: Callable[[Item], Value], item: Item) -> Value:
        return function(item)

    def checkpoint(self, function: Callable[[Item], Value], item: Item) -> Any:
        """Return the submission for submitit to queue when the job is preempted."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, function, item)


def _result(number: int, job: Any) -> Any:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return job.result()
    except (FailedJobError, UncompletedJobError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return Lost(number, f"job {job.job_id}: {reason} Its log: {job.paths.stderr}")


class Dask:
    """A running cluster, by the address of its scheduler such as ``tcp://10.0.0.1:8786``, which answers in ``timeout`` seconds.

    The scheduler gives the item of a worker that dies to another worker. Workers should have one thread
    (``dask worker --nthreads 1``), and must see the folder of the sweep.
    """

    jobs: int | None = None  # workers come and go

    def __init__(self, address: str, timeout: float = 30.0) -> None:
        try:
            self.distributed: Any = import_module("distributed")
        except ImportError as error:
            raise SpecError(
                "engine dask", found="no distributed", next_step="Install it: pip install 'neuromvm[dask]'"
            ) from error
        try:
            self.client = self.distributed.Client(address, timeout=timeout)
        except (OSError, ValueError) as error:
            raise SpecError(
                f"--scheduler {address}",
                found="no Dask scheduler answers",
                next_step="Start one: dask scheduler, and beside it dask worker ADDRESS --nthreads 1",
            ) from error

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value | Lost]:
        """Yield the value of the function for each item, in the order in which they finish."""
        futures = [self.client.submit(function, item, pure=False) for item in items]
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in self.distributed.as_completed(futures):
                if future.status == "finished":
                    yield future.result()
                else:
                    yield Lost(numbers[future.key], f"{future.status}: {future.exception() if future.status == 'error' else ''}")
        finally:
            self.client.cancel([future for future in futures if not future.done()])
            self.client.close()


def shard(items: Sequence[Item], text: str) -> list[Item]:
    """Return every n-th of the items, beginning with the i-th, for the text ``"i/n"``; SpecError if it has another form.

    >>> shard("abcde", "1/2"), shard("abcde", "2/2")
    (['a', 'c', 'e'], ['b', 'd'])
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise SpecError(f"--shard {text}", found="no i/n with i from 1 to n", next_step="Example: --shard 3/16")
    return list(items[int(number) - 1 :: int(count)])
