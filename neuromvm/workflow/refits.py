"""Nulls that refit: hundreds of trainings on null data as stacks, in packs that processes share and that are kept when done.

What null data are, :mod:`neuromvm.data.permutation` says; how latents of them are decoded and scored is an analysis's business,
which is found by the entry point group ``neuromvm.pipeline``.
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
from neuromvm.folders.study import Study, refit_file
from neuromvm.schema import in_sample
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.training.fit import train_stack
from neuromvm.training.stack_size import stack_size


class Pack(NamedTuple):
    """Refits that are made in one go: a row of the table, its settings, and the null data from number ``first`` to ``last``."""

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

    Examples
    --------
    >>> null = refit(samples, splits, model, training, range(1, 101))  # doctest: +SKIP
    """
    first = next(iter(splits.children.values()))
    replicas = [
        Replica(int(split), seed, number, within)
        for number in permutations
        for split in first["split"].to_numpy()
        for seed in training.seeds
    ]
    return train_stack(samples, splits, model, training, replicas, progress=progress).embed(samples)


def run_refits(study: Study, count: int, rows: Sequence[str] | None = None, *, jobs: int = 1, progress: bool = True) -> list[str]:
    """Refit models and baselines of a run on null data, and keep their scores in the run folder.

    Parameters
    ----------
    study
        A run with scores of the analysis ``decoding``.
    count
        Null data sets 1 to so many; those that are there are not made again.
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
    """
    if in_sample(study.splits):
        raise SpecError(
            "refits",
            found="trials that train and test",
            expected="held-out trials: what is fitted to noise and scored on the same noise is no null",
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
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(_make)(study.path, pack) for pack in packs)
        with tqdm(total=len(packs), desc="refits", unit="pack", disable=None if progress else True) as bar:
            failed: list[str] = []
            for row, problems in done:
                failed += problems
                bar.set_postfix_str(row, refresh=False)
                bar.update()
    return failed


def _packs(study: Study, row: str, count: int) -> list[Pack]:
    """Divide the refits of a row that are not there yet."""
    settings = tuple(null.settings_of(study, row))
    there = study.refits(row, list(settings))
    made = set() if there is None else set(there["permutation"].to_numpy().tolist())
    size = 10
    if row in study.models:
        training = study.spec.training_for(row)
        replicas = len(training.seeds) * next(iter(study.splits.children.values())).sizes["split"]
        size = max(1, stack_size(study.samples, study.spec.models[row], training) // replicas)
    missing = [number for number in range(1, count + 1) if number not in made]
    runs: list[Pack] = []
    for number in missing:
        if runs and runs[-1].last == number - 1 and number - runs[-1].first < size:
            runs[-1] = runs[-1]._replace(last=number)
        else:
            runs.append(Pack(row, settings, number, number))
    return runs


def _make(path: Path, pack: Pack) -> tuple[str, list[str]]:
    """Make one pack and keep its scores; if it fails, one by one, so that one null data set does not cost the others."""
    study = Study(path)
    try:
        scores = _scores(study, pack)
    except CompilerError:  # the machine's, not the null data's
        raise
    except (NeuromvmError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        if pack.first < pack.last:
            singles = [_make(path, pack._replace(first=number, last=number)) for number in pack.permutations]
            return pack.row, [problem for _, problems in singles for problem in problems]
        _keep(study, pack, null.without_score(study, pack.first, study.spec.nulls.within))
        return pack.row, [f"{pack.row}, null data {pack.first}: {error}"]
    _keep(study, pack, scores)
    return pack.row, []


def _keep(study: Study, pack: Pack, scores: xr.Dataset) -> None:
    about = {"settings": json.dumps(list(pack.settings)), "within": study.spec.nulls.within or ""}
    write_tree(refit_file(study.path, pack.row, pack.first, pack.last), scores.assign_attrs(about))


def _scores(study: Study, pack: Pack) -> xr.Dataset:
    within = study.spec.nulls.within
    if pack.row in study.models:
        training = study.spec.training_for(pack.row)
        model = study.spec.models[pack.row]
        latents = refit(study.samples, study.splits, model, training, pack.permutations, within=within)
        return null.score_latents(study, pack.settings, latents, within)
    return null.score_baseline(study, pack.row, pack.settings, pack.permutations, within)
