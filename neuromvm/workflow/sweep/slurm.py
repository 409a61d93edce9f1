"""Jobs of a SLURM cluster through submitit."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from neuromvm.errors import SpecError
from neuromvm.workflow.sweep.engines import Item, Lost, Value

# Names that submitit knows on every kind of cluster; all others are options of sbatch.
COMMON = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "stderr_to_stdout")
DEFAULTS = {"name": "neuromvm-sweep", "timeout_min": 24 * 60, "cpus_per_task": 1, "tasks_per_node": 1, "nodes": 1}


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
