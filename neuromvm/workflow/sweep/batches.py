"""Cells to be computed, as plain text and numbers for another process, and batches of cells that train as one stack."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from neuromvm.folders.sweep import DONE, SweepFolder, stack_name
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.sweep import Selection
from neuromvm.training.stack_size import MOST_REPLICAS

Item = TypeVar("Item")


class CellTask(NamedTuple):
    """A cell to be computed, in plain text and numbers, so that it can go to another process or machine."""

    sweep: str  # folder of the sweep, seen from every worker
    cell: str
    experiment: dict[str, Any]
    data: str  # fingerprint of the recordings, which are in the folder data/ of the sweep
    select: dict[str, Any] | None

    @property
    def spec(self) -> ExperimentSpec:
        """The experiment of the cell."""
        return ExperimentSpec.model_validate(self.experiment)

    @property
    def selection(self) -> Selection | None:
        """How cells are selected; None if they are not."""
        return None if self.select is None else Selection.model_validate(self.select)

    @property
    def sweep_folder(self) -> SweepFolder:
        """The folder of the sweep."""
        return SweepFolder(self.sweep)

    @property
    def folder(self) -> Path:
        """The run folder of the cell."""
        return self.sweep_folder.cell_folder(self.cell)

    @property
    def recordings_file(self) -> Path:
        """The recordings of the cell, shared with other cells."""
        return self.sweep_folder.path / "data" / f"{self.data}.nc"

    @property
    def inner_file(self) -> Path | None:
        """The file of inner scores; None if cells are not selected."""
        return self.sweep_folder.inner_file(self.cell, self.selection)

    @property
    def done(self) -> bool:
        """Whether the cell has been computed, with inner scores if cells are selected."""
        return (self.folder / DONE).is_file() and (self.inner_file is None or self.inner_file.is_file())


Batch = tuple[CellTask, ...]
Outcome = Literal["done", "failed", "busy"]  # of a cell; busy: another process computes it


def stackable_groups(tasks: Sequence[CellTask]) -> list[Batch]:
    """Group cells that differ in betas and seeds alone: their models can be trained as stacks."""
    groups: dict[str, list[CellTask]] = {}
    for task in tasks:
        groups.setdefault(stack_name(task.spec, task.data), []).append(task)
    return [tuple(group) for group in groups.values()]


def cell_batches(tasks: Sequence[CellTask], size: int | None, jobs: int | None) -> list[Batch]:
    """Divide cells into batches of ``size``, each computed by one call of the engine, with stackable cells next to each other.

    Without a size, a batch holds stackable cells, as many as a stack holds and few enough for all ``jobs`` calls at once, or a
    single cell if the number of jobs is unknown.
    """
    groups = stackable_groups(tasks)
    if size is not None or jobs is None:
        ordered, size = [task for group in groups for task in group], size or 1
        return [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]
    share = -(-len(tasks) // jobs)
    return [tuple(batch) for group in groups for batch in divide_evenly(group, min(share, _most_cells(group)))]


def remaining_batches(tasks: Sequence[CellTask], size: int | None, jobs: int | None) -> list[Batch]:
    """Return the batches of all cells, without cells that are done, so that the checkpoint of an interrupted stack is found.

    If these are fewer than the jobs, the remaining cells are divided again.
    """
    waiting = [task for task in tasks if not task.done]
    names = {task.cell for task in waiting}
    batches = [tuple(task for task in batch if task.cell in names) for batch in cell_batches(tasks, size, jobs)]
    batches = [batch for batch in batches if batch]
    return batches if len(batches) >= (jobs or 1) else cell_batches(waiting, size, jobs)


def divide_evenly(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """Divide items into the fewest parts of at most ``most`` items, as equal as possible.

    >>> divide_evenly("abcdefg", 3)
    ['ab', 'cd', 'efg']
    """
    count = -(-len(items) // most)
    return [items[len(items) * number // count : len(items) * (number + 1) // count] for number in range(count)]


def _most_cells(group: Batch) -> int:
    """Return how many cells of a group make a full stack."""
    experiment = group[0].spec
    split = experiment.split
    splits = split.repeats * (split.folds if split.kind in ("kfold", "blocks") else 1)
    seeds = max(len(experiment.training_for(model).seeds) for model in experiment.models)
    return max(1, MOST_REPLICAS // (splits * seeds))
