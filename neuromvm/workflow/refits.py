"""Nulls that refit: hundreds of trainings on null data as stacks, in packs that several processes compute and save.

Null data are made by :mod:`neuromvm.data.permutation`; their latents are decoded and scored by
:mod:`neuromvm.analysis.decoding.refit`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from neuromvm.analysis.decoding import refit as null
from neuromvm.data.replicas import Replica
from neuromvm.errors import CompilerError, NeuromvmError, SpecError
from neuromvm.files import locked, write_tree
from neuromvm.folders.study import LABELS, Study, refit_file
from neuromvm.schema import in_sample
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.training.fit import train_stack
from neuromvm.training.stack_size import stack_size


class Pack(NamedTuple):
    """Refits that are computed at once: a model or baseline, its settings, and null data sets ``first`` to ``last``."""

    row: str
    settings: tuple[str, ...]
    first: int
    last: int

    @property
    def permutations(self) -> range:
        """Numbers of the null data."""
        return range(self.first, self.last + 1)


def refit(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec,
    permutations: Sequence[int],
    *,
    within: str | None = None,
    progress: bool = False,
) -> xr.DataTree:
    """Train a model on null data and infer the latents of the same null data.

    Parameters
    ----------
    samples, splits, model, training
        As of :func:`neuromvm.training.fit.fit`.
    permutations
        Numbers of the null data, from 1; see :mod:`neuromvm.data.permutation`.
    within
        Trial label within which activity is permuted.
    progress
        Show a bar.

    Returns
    -------
    Latents as of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`, a replica for each permutation, split and seed.
    """
    numbers_of_splits = next(iter(splits.children.values()))["split"].to_numpy()
    replicas = [
        Replica(int(split), seed, number, within)
        for number in permutations
        for split in numbers_of_splits
        for seed in training.seeds
    ]
    return train_stack(samples, splits, model, training, replicas, progress=progress).embed(samples)


def run_refits(study: Study, count: int, rows: Sequence[str] | None = None, *, jobs: int = 1, progress: bool = True) -> list[str]:
    """Refit models and baselines of a run on null data, and save their scores in the run folder.

    Parameters
    ----------
    study
        A run with scores of the analysis ``decoding``.
    count
        Number of null data sets; saved refits are not computed again.
    rows
        Models and baselines; default: all of the table but those that are refitted only where they are named.
    jobs
        Processes, each with the threads of the run's training.
    progress
        Show a bar.

    Returns
    -------
    One line for each null data set on which a row could not be fitted; it counts as reaching the score.

    Raises
    ------
    SpecError
        If the run's trials both train and test, or a row is not in its table.
    RunFolderError
        If the scores were saved by an earlier version.
    """
    if in_sample(study.splits):
        raise SpecError(
            "refits",
            found="trials that train and test",
            expected="held-out trials: scores of noise on which a model was fitted are no null",
            next_step="Use split.kind=halves or kfold",
        )
    unnamed = dict.fromkeys(study.models, True) | null.rows(study)
    known = list(unnamed)
    chosen = list(rows or (row for row in known if unnamed[row]))
    for row in chosen:
        if row not in known:
            raise SpecError("refits", found=f"no row {row!r} in the table of the run", expected=", ".join(known))
    with locked(study.path):
        packs = [pack for row in chosen for pack in _packs(study, row, count)]
        results = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(_compute)(study.path, pack) for pack in packs)
        with tqdm(total=len(packs), desc="refits", unit="pack", disable=None if progress else True) as bar:
            failed: list[str] = []
            for row, problems in results:
                failed += problems
                bar.set_postfix_str(row, refresh=False)
                bar.update()
    return failed


def _packs(study: Study, row: str, count: int) -> list[Pack]:
    """Divide the refits of a row that are not saved yet."""
    settings = tuple(null.settings_of(study, row))
    saved = study.refits(row, list(settings)).get(LABELS)
    computed = set() if saved is None else set(saved["permutation"].to_numpy().tolist())
    size = 10
    if row in study.models:
        training = study.spec.training_for(row)
        replicas = len(training.seeds) * next(iter(study.splits.children.values())).sizes["split"]
        size = max(1, stack_size(study.samples, study.spec.models[row], training) // replicas)
    missing = [number for number in range(1, count + 1) if number not in computed]
    runs: list[Pack] = []
    for number in missing:
        if runs and runs[-1].last == number - 1 and number - runs[-1].first < size:
            runs[-1] = runs[-1]._replace(last=number)
        else:
            runs.append(Pack(row, settings, number, number))
    return runs


def _compute(path: Path, pack: Pack) -> tuple[str, list[str]]:
    """Compute and save a pack; if it fails, compute its null data sets one by one, so that only the failing one is lost."""
    study = Study(path)
    try:
        scores = _scores(study, pack)
    except CompilerError:  # not caused by the null data
        raise
    except (NeuromvmError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        if pack.first < pack.last:
            singles = [_compute(path, pack._replace(first=number, last=number)) for number in pack.permutations]
            return pack.row, [problem for _, problems in singles for problem in problems]
        _save(study, pack, null.without_score(study, pack.first, study.spec.nulls.within))
        return pack.row, [f"{pack.row}, null data {pack.first}: {error}"]
    _save(study, pack, scores)
    return pack.row, []


def _save(study: Study, pack: Pack, scores: xr.Dataset) -> None:
    attrs = {"settings": json.dumps(list(pack.settings)), "within": study.spec.nulls.within or ""}
    write_tree(refit_file(study.path, pack.row, pack.first, pack.last), scores.assign_attrs(attrs))


def _scores(study: Study, pack: Pack) -> xr.Dataset:
    within = study.spec.nulls.within
    if pack.row in study.models:
        training = study.spec.training_for(pack.row)
        model = study.spec.models[pack.row]
        latents = refit(study.samples, study.splits, model, training, pack.permutations, within=within)
        return null.score_latents(study, pack.settings, latents, within)
    return null.score_baseline(study, pack.row, pack.settings, pack.permutations, within)
