"""Nulls that refit: models and baselines are fitted again on null data, in batches that processes share and that are kept.

:mod:`neuromvm.data.permutation` and :mod:`neuromvm.data.correspondence` define null data;
:mod:`neuromvm.analysis.decoding.refit` decodes and scores their latents.
"""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.decoding import refit as null_fits
from neuromvm.data.correspondence import CORRESPONDENCE, exchanged
from neuromvm.data.permutation import Rearrangement
from neuromvm.data.replicas import Replica
from neuromvm.errors import CompilerError, NeuromvmError, SpecError
from neuromvm.files import locked, write_tree
from neuromvm.folders.study import LABELS, Study, refit_file
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.schema import in_sample
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.training.fit import train_stack
from neuromvm.training.stack_size import stack_size
from neuromvm.workflow.compared_refits import comparisons
from neuromvm.workflow.null_data import compute, missing_numbers, of_number


class RefitBatch(NamedTuple):
    """Refits of one row of the table under its settings, on consecutive null data sets of a null, numbered from 1."""

    row: str
    settings: tuple[str, ...]
    permutations: range
    null: str = LABELS


def refit(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec,
    permutations: Sequence[int],
    *,
    within: str | None = None,
    null: str = LABELS,
    rearrangement: Rearrangement = "permute",
    progress: bool = False,
) -> xr.DataTree:
    """Train a model on null data and infer the latents of the same null data.

    ``permutations`` number the null data from 1. For the null ``labels`` activity is permuted or shifted, as ``rearrangement``
    says, within equal values of the trial label ``within``, see :mod:`neuromvm.data.permutation`; for ``scrambled
    correspondence`` names of conditions are exchanged, see :mod:`neuromvm.data.correspondence`. Latents have a replica for each
    null data set, split and seed.
    """
    return _train(samples, splits, model, training, permutations, within, null, rearrangement, progress=progress).embed(samples)


def _train(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec,
    permutations: Sequence[int],
    within: str | None,
    null: str,
    rearrangement: Rearrangement,
    *,
    progress: bool = False,
) -> FittedStack:
    """Train the replicas of :func:`refit`."""
    numbers = next(iter(splits.children.values()))["split"].to_numpy().tolist()
    order = product(permutations, numbers, training.seeds)
    if null == CORRESPONDENCE:
        replicas = [Replica(split, seed, exchange=number) for number, split, seed in order]
    else:
        replicas = [Replica(split, seed, number, within, rearrangement=rearrangement) for number, split, seed in order]
    return train_stack(samples, splits, model, training, replicas, progress=progress)


def run_refits(
    study: Study,
    count: int,
    rows: Sequence[str] | None = None,
    *,
    null: str = LABELS,
    jobs: int = 1,
    progress: bool = True,
) -> list[str]:
    """Refit models and baselines of a run on ``count`` null data sets, and save their scores in the run folder.

    ``null`` is ``labels`` or ``scrambled correspondence``; the latter leaves out rows that read one animal alone. By default all
    rows of the table but ``cebra``, ``cebra_unified`` and ``dynamics`` are refitted; refits in the folder are not made again.
    Where labels move along the session (``nulls.rearrangement: shift``, of the null ``labels``) there are no more refits than
    distinct shifts of any animal. Returns a line for each null data set on which a row could not be fitted: it counts as a null
    score above the observed one, so that p is not too small. Raises SpecError if trials both train and test or a row is not in
    the table, SchemaError if names of conditions cannot be exchanged, RunFolderError if the scores are of an earlier version.
    """
    if in_sample(study.splits):
        raise SpecError(
            "refits",
            found="trials that train and test",
            expected="held-out trials: a fit to noise that is scored on the same noise is no null",
            next_step="Use split.kind=halves or kfold",
        )
    by_default = dict.fromkeys(study.models, True) | null_fits.rows(study)
    chosen = list(rows or (row for row, default in by_default.items() if default))
    if unknown := [row for row in chosen if row not in by_default]:
        raise SpecError("refits", found=f"no row {unknown[0]!r} in the table of the run", expected=", ".join(by_default))
    if null == CORRESPONDENCE:
        exchanged(study.samples, 1)
        chosen = [row for row in chosen if null_fits.reads_others(study, row)]
    elif study.spec.nulls.rearrangement == "shift":
        count = min(count, null_fits.fewest_shifts(study))
    with locked(study.path):
        batches = [batch for row in chosen for batch in _batches(study, row, count, null)]
        return compute(_refit, study.path, batches, jobs=jobs, label="refits", progress=progress)


def _batches(study: Study, row: str, count: int, null: str) -> list[RefitBatch]:
    """Divide the refits of a row that are missing, a stack of replicas or ten baselines in each batch."""
    settings = tuple(null_fits.settings_of(study, row))
    refits = study.refits(row, list(settings)).get(null)
    done = np.array([] if refits is None else refits["permutation"])
    for analysis, comparison in comparisons(study, row, null).items():
        compared = study.exchanged_scores(row, analysis, comparison.settings)
        done = np.intersect1d(done, np.array([]) if compared is None else compared["permutation"].to_numpy())
    size = 10
    if row in study.models:
        training = study.spec.training_for(row)
        replicas = len(training.seeds) * next(iter(study.splits.children.values())).sizes["split"]
        size = max(1, stack_size(study.samples, study.spec.models[row], training) // replicas)
    return [RefitBatch(row, settings, numbers, null) for numbers in missing_numbers(count, done, size)]


def _refit(path: Path, batch: RefitBatch) -> tuple[str, list[str]]:
    """Refit one batch and keep its scores; return its row and its failures.

    A batch that fails is divided into single null data sets, so that only those that cannot be fitted are lost.
    """
    study, failures = Study(path), []
    nulls = study.spec.nulls
    try:
        scores, of_analyses = _scores(study, batch)
    except CompilerError:  # every batch would fail without a compiler
        raise
    except (NeuromvmError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        if len(batch.permutations) > 1:
            singles = [_refit(path, batch._replace(permutations=range(number, number + 1))) for number in batch.permutations]
            return batch.row, [failure for _, single_failures in singles for failure in single_failures]
        number, compared = batch.permutations[0], comparisons(study, batch.row, batch.null)
        scores = null_fits.without_score(study, number, batch.null)
        of_analyses = {name: comparison.empty(number) for name, comparison in compared.items()}
        failures = [f"{batch.row}, null data {batch.permutations[0]}: {error}"]
    attributes = {
        "settings": json.dumps(list(batch.settings)),
        "within": nulls.within or "",
        "rearrangement": nulls.rearrangement,
    }
    for analysis, comparison in comparisons(study, batch.row, batch.null).items():
        file = refit_file(path, batch.row, batch.permutations, batch.null, analysis)
        write_tree(file, of_analyses[analysis].assign_attrs(settings=comparison.settings))
    write_tree(refit_file(path, batch.row, batch.permutations, batch.null), scores.assign_attrs(attributes))
    return batch.row, failures


def _scores(study: Study, batch: RefitBatch) -> tuple[xr.Dataset, dict[str, xr.Dataset]]:
    """Return the scores of decoding, and what other analyses compute on refits of a model."""
    row, null, numbers = batch.row, batch.null, batch.permutations
    if row not in study.models:
        return null_fits.score_baseline(study, row, batch.settings, numbers, null), {}
    model, training = study.spec.models[row], study.spec.training_for(row)
    nulls = study.spec.nulls
    fitted = _train(study.samples, study.splits, model, training, numbers, nulls.within, null, nulls.rearrangement)
    scores = null_fits.score_latents(study, batch.settings, fitted.embed(study.samples), null)
    refits = {number: of_number(fitted, number) for number in numbers} if null == CORRESPONDENCE else {}
    return scores, {
        analysis: xr.concat([comparison.compute(refits[number], number) for number in numbers], dim="permutation")
        for analysis, comparison in comparisons(study, row, null).items()
    }
