"""What a worker is given, in plain text and numbers: cells, and packs of cells that can be trained together."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from neuromvm.folders.sweep import DONE, SweepFolder
from neuromvm.folders.sweep_hashes import stack_name
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.sweep import Selection
from neuromvm.training.stack_size import MOST_REPLICAS


class Task(NamedTuple):
    """A cell to be done, in plain text and numbers, so that it can go to another process or machine."""

    sweep: str  # folder of the sweep, seen from every worker
    cell: str
    experiment: dict[str, Any]
    data: str  # fingerprint of the recordings, which lie in the sweep's data/
    select: dict[str, Any] | None

    @property
    def spec(self) -> ExperimentSpec:
        """The experiment of the cell."""
        return ExperimentSpec.model_validate(self.experiment)

    @property
    def selection(self) -> Selection | None:
        """How cells are selected, if they are."""
        return None if self.select is None else Selection.model_validate(self.select)


class Outcome(NamedTuple):
    """What became of a cell; ``busy``: another process is at work on it."""

    cell: str
    state: Literal["done", "failed", "busy"]
    seconds: float
    error: str = ""


Pack = tuple[Task, ...]


def is_done(task: Task) -> bool:
    """Say whether a cell has been done, with the inner scores that are asked for."""
    sweep = SweepFolder(task.sweep)
    inner = sweep.inner_file(task.cell, task.selection)
    return (sweep.cell_folder(task.cell) / DONE).is_file() and (inner is None or inner.is_file())


def alike(tasks: Sequence[Task]) -> list[Pack]:
    """Join cells that differ in betas and seeds alone: their models can be trained as stacks."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(stack_name(task.spec, task.data), []).append(task)
    return [tuple(group) for group in groups.values()]


def packs(tasks: Sequence[Task], size: int | None, jobs: int | None) -> list[Pack]:
    """Join cells to packs, each done by one call of the engine: cells that can be trained together come together.

    Parameters
    ----------
    tasks
        The cells.
    size
        Cells of a pack, whatever they are. None: cells that can be trained together, as many as a stack holds and no more than
        leave work for all jobs.
    jobs
        Calls at once; None: any number, so that a pack is one cell.
    """
    groups = alike(tasks)
    if size is not None or jobs is None:
        ordered, size = [task for group in groups for task in group], size or 1
        return [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]
    share = -(-len(tasks) // jobs)
    return [pack for group in groups for pack in _evenly(group, min(share, _most_cells(group)))]


def packs_ahead(tasks: Sequence[Task], size: int | None, jobs: int | None) -> list[Pack]:
    """Return the packs of what is not done.

    They are parts of the packs of all cells, so that a stack that was cut off in training is found again, unless these are too
    few for the jobs.
    """
    waiting = [task for task in tasks if not is_done(task)]
    left = {task.cell for task in waiting}
    kept = [tuple(task for task in pack if task.cell in left) for pack in packs(tasks, size, jobs)]
    kept = [pack for pack in kept if pack]
    return kept if len(kept) >= (jobs or 1) else packs(waiting, size, jobs)


def _most_cells(group: Pack) -> int:
    """Say how many cells of a group make a full stack."""
    experiment = group[0].spec
    split = experiment.split
    splits = split.repeats * (split.folds if split.kind in ("kfold", "blocks") else 1)
    seeds = max(len(experiment.training_for(model).seeds) for model in experiment.models)
    return max(1, MOST_REPLICAS // (splits * seeds))


def _evenly(group: Pack, most: int) -> list[Pack]:
    count = -(-len(group) // most)
    return [group[len(group) * number // count : len(group) * (number + 1) // count] for number in range(count)]
