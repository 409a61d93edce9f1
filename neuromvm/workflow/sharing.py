"""Do animals share a code? Conditions are held out in animals, and all rows are fitted again where their names are exchanged.

:mod:`neuromvm.analysis.sharing.table` solves the problems, :mod:`neuromvm.data.correspondence` defines the null data. What was
computed is kept in the run folder, and is not computed again.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.sharing.few_labels import FEW_LABELS, FEW_ROWS, JUDGED_ROWS, few_labels_table
from neuromvm.analysis.sharing.fits import Fit, fits_of
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.analysis.sharing.table import LINEAR_ROWS, OWN_LABELS, solve_table
from neuromvm.data.correspondence import exchanged, exchanged_splits
from neuromvm.data.replicas import Replica
from neuromvm.errors import CompilerError, NeuromvmError, SpecError, did_you_mean
from neuromvm.files import claim, locked, write_tree
from neuromvm.folders.sharing import SharingFolder
from neuromvm.folders.study import Study
from neuromvm.inference.missing_conditions import predict_class_means
from neuromvm.training.fit import train_stack
from neuromvm.training.stack_size import stack_size
from neuromvm.workflow.null_data import compute, missing_numbers, of_number

LINEAR_BATCH = 20  # null data sets of a row that a process solves at once


class SharingBatch(NamedTuple):
    """A row, or a group of models, on consecutive null data sets; 0 is the data as they are."""

    source: str
    numbers: range


def run_sharing(
    study: Study,
    refits: int | None = None,
    sources: Sequence[str] | None = None,
    *,
    jobs: int | None = None,
    progress: bool = True,
) -> list[str]:
    """Hold out conditions and solve all rows, on the data and on null data; what is in the run folder is not computed again.

    Parameters
    ----------
    study
        A run.
    refits
        Null data sets; by default as the experiment says.
    sources
        Rows of linear methods and groups of models; by default all of the experiment.
    jobs
        Processes that share the work.
    progress
        Show a bar.

    Returns
    -------
    A line for each null data set on which a row could not be fitted: it counts as reaching the score, so that p is not too small.

    Raises
    ------
    SpecError
        If there is no such row, or the samples do not allow to hold out conditions.
    RunFolderError
        If the folder holds results of other splits.
    """
    folder = SharingFolder(study)
    if unknown := [row for row in folder.spec.rows or () if row not in ROWS]:
        raise SpecError("sharing.rows", found=f"no row {unknown[0]!r}", next_step=did_you_mean(unknown[0], list(ROWS)))
    by_default = sources_of(study)
    known = list(dict.fromkeys([*by_default, *ROWS]))
    chosen = list(sources or by_default)
    if unknown := [source for source in chosen if source not in known]:
        raise SpecError("sharing.rows", found=f"no row {unknown[0]!r}", next_step=did_you_mean(unknown[0], known))
    with locked(study.path):
        folder.splits()  # raises SplitError before anything is computed
        split = folder.spec.split.model_dump(mode="json")
        claim(folder.path / "sharing.json", {"split": split}, "held-out conditions", f"Delete {folder.path} to start again")
        batches = [batch for source in chosen for batch in _batches(folder, source, _count(folder, source, refits))]
        jobs = jobs or folder.spec.jobs
        return compute(_solve, study.path, batches, jobs=jobs, label="held-out conditions", progress=progress)


def sources_of(study: Study) -> list[str]:
    """Return the rows of linear methods and groups of models of an experiment."""
    spec = SharingFolder(study).spec
    linear = LINEAR_ROWS if spec.rows is None else (*spec.rows, OWN_LABELS)
    return [*linear, *([FEW_LABELS] if spec.few_labels else []), *groups_of(study)]


def groups_of(study: Study) -> dict[str, list[str]]:
    """Return the models of each group among which settings are chosen; by default each model that shares latents, alone."""
    groups = SharingFolder(study).spec.models
    if groups is not None:
        return dict(groups)
    shared = [name for name, model in study.spec.models.items() if model.sharing.kind != "independent"]
    return {name: [name] for name in shared if study.spec.training_for(name).epochs > 0}


def _count(folder: SharingFolder, source: str, refits: int | None) -> int:
    """Return how often a source is fitted again: as asked for, or as the experiment says."""
    if refits is not None:
        return refits
    of_models = folder.spec.model_refits
    return folder.spec.refits if of_models is None or source not in groups_of(folder.study) else of_models


def _batches(folder: SharingFolder, source: str, count: int) -> list[SharingBatch]:
    """Return what is missing of a source: its answers, and refits in batches that a stack holds."""
    batches = [] if folder.answers_file(source).is_file() else [SharingBatch(source, range(1))]
    if (source in ROWS and not ROWS[source].uses_others) or source == OWN_LABELS:  # there is no correspondence to lose
        return batches
    refits = folder.refits(source)
    done = np.array([]) if refits is None else refits["exchange"].to_numpy()
    return [*batches, *(SharingBatch(source, numbers) for numbers in missing_numbers(count, done, _batch_size(folder, source)))]


def _batch_size(folder: SharingFolder, source: str) -> int:
    study, groups = folder.study, groups_of(folder.study)
    if source not in groups:
        return LINEAR_BATCH
    splits = next(iter(folder.splits().children.values())).sizes["split"]
    sizes = []
    for model in groups[source]:
        training = study.spec.training_for(model)
        stacked = stack_size(folder.samples(), study.spec.models[model], training)
        sizes.append(stacked // (len(training.seeds) * splits))
    return max(1, min(sizes))


def _solve(path: Path, batch: SharingBatch) -> tuple[str, list[str]]:
    """Solve a batch and keep its accuracies; return its source and failures.

    A batch of null data that fails is divided, so that only those that cannot be fitted are lost.
    """
    folder = SharingFolder(Study(path))
    try:
        tables = _tables(folder, batch)
    except CompilerError:  # every batch would fail without a compiler
        raise
    except (NeuromvmError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        if batch.numbers == range(1):
            raise
        if len(batch.numbers) > 1:
            singles = [_solve(path, SharingBatch(batch.source, range(number, number + 1))) for number in batch.numbers]
            return batch.source, [failure for _, failures in singles for failure in failures]
        answers = folder.answers(batch.source).to_dataset()[["accuracy"]]
        _keep_refits(folder, batch, [xr.full_like(answers, np.nan)])
        return batch.source, [f"{batch.source}, null data {batch.numbers[0]}: {error}"]
    if batch.numbers == range(1):
        write_tree(folder.answers_file(batch.source), tables[0])
    else:
        _keep_refits(folder, batch, [table.to_dataset()[["accuracy"]] for table in tables])
    return batch.source, []


def _keep_refits(folder: SharingFolder, batch: SharingBatch, tables: Sequence[xr.Dataset]) -> None:
    accuracies = xr.concat(tables, dim=xr.DataArray(list(batch.numbers), dims="exchange", name="exchange"))
    write_tree(folder.refits_file(batch.source, batch.numbers), accuracies)


def _tables(folder: SharingFolder, batch: SharingBatch) -> list[xr.DataTree]:
    """Return the table of each null data set of a batch."""
    samples, splits = folder.samples(), folder.splits()
    renamed = {number: exchanged(samples, number) for number in batch.numbers}
    divided = {number: exchanged_splits(null_samples, splits) for number, null_samples in renamed.items()}
    groups = groups_of(folder.study)
    if batch.source == FEW_LABELS:
        labels, trials = folder.splits_of_labels(), folder.spec.few_labels
        rows = FEW_ROWS if batch.numbers == range(1) else JUDGED_ROWS
        return [xr.DataTree(few_labels_table(renamed[number], labels, trials, rows)) for number in batch.numbers]
    if batch.source not in groups:
        return [solve_table(renamed[number], divided[number], [batch.source]) for number in batch.numbers]
    fits: dict[int, dict[str, dict[int, list[Fit]]]] = {number: {} for number in batch.numbers}
    for model in groups[batch.source]:
        spec = folder.study.spec.models[model]
        # Without validation trials a training runs all its epochs.
        training = folder.study.spec.training_for(model).model_copy(update={"patience": None})
        numbers = next(iter(splits.children.values()))["split"].to_numpy().tolist()
        order = product(batch.numbers, numbers, training.seeds)
        replicas = [Replica(split, seed, exchange=number) for number, split, seed in order]
        fitted = train_stack(samples, splits, spec, training, replicas, progress=False)
        for number in batch.numbers:
            refitted = of_number(fitted, number)
            predictions = predict_class_means(refitted, renamed[number], divided[number])
            latents = refitted.embed(renamed[number])
            fits[number][model] = fits_of(predictions, latents, renamed[number], divided[number])
    return [solve_table(renamed[number], divided[number], [], {batch.source: fits[number]}) for number in batch.numbers]
