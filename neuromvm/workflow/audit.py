"""Audit of an experiment: its pipeline on data without signal, and a check that test trials change nothing in training.

A pipeline that scores above chance on noise will do so on recordings. The audit asks whether a trial, a spike or a statistic
crosses a split, whether a score leaves chance on permuted labels or Poisson noise, and what scores of the experiment can mean.
"""

from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
import xarray as xr
from joblib import Parallel, delayed

from neuromvm import schema
from neuromvm.analysis.decoding.audit import scores_without_signal, verdicts
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.report.caveats import caveats
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.analysis.sharing.table import AMONG, solve_table
from neuromvm.data.correspondence import exchanged, exchanged_splits
from neuromvm.data.design import design_flags
from neuromvm.data.permutation import matched_noise, permuted
from neuromvm.data.replicas import Replica
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples, single_windows
from neuromvm.folders.study import Study
from neuromvm.progress import steps
from neuromvm.schema import is_fitted, is_scored
from neuromvm.specs import ExperimentSpec, SharingSpec
from neuromvm.training.batches import StackBatches
from neuromvm.training.fit import batch_settings, fit, make_trainer
from neuromvm.workflow.experiment import load_experiment_recordings

Kind = Literal["labels permuted", "matched noise"]
KINDS: tuple[Kind, ...] = ("labels permuted", "matched noise")
EXCHANGED = "exchanged names"  # the kind of null data in which animals share no code


class Check(NamedTuple):
    """A property that a split should have, whether it holds, and the evidence in words."""

    claim: str
    passed: bool
    evidence: str


class Audit(NamedTuple):
    """Checks whether anything crosses a split, scores of the pipeline on data without signal, and what scores can mean in words.

    ``scores`` are those of :func:`neuromvm.analysis.decoding.audit.verdicts`, against chance.
    """

    checks: list[Check]
    scores: xr.Dataset
    caveats: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing crosses a split and no score leaves its null."""
        return all(check.passed for check in self.checks) and not bool(self.scores["fails"].any())


def audit(spec: ExperimentSpec, *, draws: int = 10, jobs: int = 1, progress: bool = True) -> Audit:
    """Audit an experiment with ``draws`` data sets without signal of each kind; no file is written.

    Kinds are labels permuted within animal, and noise that matches the rates of units. The experiment's options of the analysis
    ``decoding`` are used. With ``sharing`` in the experiment there is a third kind, names of conditions exchanged within each
    animal, on which linear rows that use other animals are scored on held-out conditions. Raises NeuromvmError if the experiment
    itself cannot be run.
    """
    recordings = load_experiment_recordings(spec)
    samples = make_samples(recordings, spec.samples)
    splits = make_splits(samples, spec.split)
    checks = list(crossings(spec, recordings, samples, splits))
    tasks = list(product(KINDS, range(1, draws + 1)))
    work = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_score_without_signal)(spec, recordings, samples, splits, *task) for task in tasks
    )
    scores = list(steps(work, "audit", "data set", total=len(tasks), shown=progress))
    by_kind = [xr.concat(of_kind, dim="draw", combine_attrs="override") for of_kind in (scores[:draws], scores[draws:])]
    kinds: list[str] = list(KINDS)
    if spec.sharing is not None:
        by_kind.append(_scores_with_exchanged_names(spec.sharing, samples, draws, jobs))
        kinds.append(EXCHANGED)
    drawn = xr.concat(by_kind, dim=xr.DataArray(kinds, dims="kind"), join="outer", combine_attrs="override")
    shared = [name for name, model in spec.models.items() if model.sharing.kind != "independent"]
    baselines = Options.model_validate(spec.analyses.get("decoding", {})).baselines
    planned = SimpleNamespace(
        spec=spec,
        recordings=recordings,
        samples=samples,
        splits=splits,
        design=design_flags(samples, splits, spec.split.order or "onset"),
        has_refits=spec.nulls.refits > 0,
        models=list(spec.models),
    )
    return Audit(checks, verdicts(drawn), caveats(cast(Study, planned), shared, [*spec.models, *baselines]))


def crossings(spec: ExperimentSpec, recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree) -> Iterator[Check]:
    """Yield the checks for trials, spikes and statistics that are on both sides of a split."""
    parts = {name: node["part"].to_numpy() for name, node in schema.animals(splits)}
    counts = {name: int((is_fitted(part) & is_scored(part)).any(axis=0).sum()) for name, part in parts.items()}
    shared = [f"{count} trials of {name}" for name, count in counts.items() if count]
    evidence = f"{', '.join(shared)} both train and test" if shared else "none in any split"
    yield Check("no trial is fitted and scored", not shared, evidence)
    yield _overlaps(samples, splits)
    yield from (_ignores_test_trials(spec, name, samples, splits) for name in spec.models)


def _overlaps(samples: xr.DataTree, splits: xr.DataTree) -> Check:
    """Say whether the windows of a training trial and of a test trial of an animal overlap in time, so that they share spikes."""
    claim = "no spike is on both sides"
    overlapping = []
    timed = {name: node for name, node in schema.animals(samples) if "onset" in node.coords}
    timed = {name: node for name, node in timed.items() if str(node["window"].attrs.get("dim", "time")) == "time"}
    for name, node in timed.items():
        window = node["window"]
        span = float(window[-1] - window[0]) + float(window.attrs.get("width", 0))
        onset = node["onset"].to_numpy()
        fit_trial, score_trial = np.nonzero(np.abs(onset[:, None] - onset) < span - 1e-9)
        part = splits[name]["part"].to_numpy()
        crossing = (fit_trial != score_trial) & is_fitted(part)[:, fit_trial] & is_scored(part)[:, score_trial]
        if crossing.any():
            overlapping.append(f"{int(crossing.any(axis=0).sum())} pairs of trials of {name}")
    if not timed:
        return Check(claim, True, "not checked: trials have no onset in seconds")
    if overlapping:
        return Check(claim, False, f"windows overlap in {', '.join(overlapping)}")
    return Check(claim, True, "windows of trials do not overlap in time")


def _ignores_test_trials(spec: ExperimentSpec, name: str, samples: xr.DataTree, splits: xr.DataTree) -> Check:
    """Say whether scaling, pairs and weights of a model stay the same, bit for bit, when activity of test trials is replaced."""
    claim = f"{name}: scaling, pairs and training ignore test trials"
    before, after = _trained(spec, name, samples, splits), _trained(spec, name, _tampered(samples, splits), splits)
    changed = [quantity for quantity in before if not all(map(np.array_equal, before[quantity], after[quantity]))]
    if changed:
        return Check(claim, False, f"{changed[0]} changed with the activity of test trials")
    return Check(claim, True, "the same, bit for bit, with other activity in the test trials of the first split")


def _trained(spec: ExperimentSpec, name: str, samples: xr.DataTree, splits: xr.DataTree) -> dict[str, list[np.ndarray]]:
    """Train the first replica of a model for at most two epochs; return arrays of ``scaling``, ``pairs`` and ``weights``."""
    training = spec.training_for(name)
    replicas = [Replica(0, training.seeds[0])]
    settings = batch_settings(spec.models[name], training, samples.children)
    batches = StackBatches(samples, splits, settings, replicas, device=torch.device("cpu"))
    trainer = make_trainer(spec.models[name], training.model_copy(update={"epochs": min(training.epochs, 2)}), batches)
    for _ in trainer.run():
        pass
    return {
        "scaling": [values for scalers in batches.scalers.values() for values in (scalers[0].center, scalers[0].spread)],
        "pairs": [batches.epoch_pairs(0)],
        "weights": [weight.numpy() for weight in trainer.weights().values()],
    }


def _tampered(samples: xr.DataTree, splits: xr.DataTree) -> xr.DataTree:
    """Give the test trials of the first split the activity of other test trials, reversed in time and twice as strong."""
    children = {}
    for name, node in schema.animals(samples):
        activity = node["activity"].transpose("trial", "window", "bin", "unit").copy()
        scored = np.flatnonzero(is_scored(splits[name]["part"].to_numpy()[0]))
        activity[scored] = activity.to_numpy()[scored[::-1], :, ::-1] * 2 + 1
        children[name] = xr.DataTree(node.assign(activity=activity))
    return xr.DataTree(dataset=samples.to_dataset(), children=children)


def _scores_with_exchanged_names(sharing: SharingSpec, samples: xr.DataTree, draws: int, jobs: int) -> xr.Dataset:
    """Score held-out conditions on data sets with exchanged names, ``value, chance (draw, representation, setting)``.

    The names of held-out conditions are as good as drawn at random, whatever is fitted: among them chance is 1 / their number.
    """
    single = single_windows(samples)
    splits = make_splits(single, sharing.split)
    rows = [row for row in sharing.rows or ROWS if ROWS[row].uses_others]
    work = Parallel(n_jobs=jobs)(delayed(_score_exchanged)(single, splits, rows, number) for number in range(1, draws + 1))
    scores: xr.Dataset = xr.concat(work, dim="draw")
    return scores


def _score_exchanged(samples: xr.DataTree, splits: xr.DataTree, rows: list[str], number: int) -> xr.Dataset:
    renamed = exchanged(samples, number)
    table = solve_table(renamed, exchanged_splits(renamed, splits), rows).to_dataset().sel(among=[AMONG[0]])
    scores = xr.Dataset({"value": table["accuracy"], "chance": table["chance"]}).rename(row="representation", among="setting")
    return scores.mean(["split", "target"])


def _score_without_signal(
    spec: ExperimentSpec, recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, kind: Kind, number: int
) -> xr.Dataset:
    """Run the pipeline on one data set without signal."""
    if kind == "labels permuted":  # among all trials, not within blocks: scores are compared with guessing
        empty = permuted(samples, number)
    else:
        empty = make_samples(matched_noise(recordings, number), spec.samples)
    latents = {
        name: fit(empty, splits, model, spec.training_for(name), progress=False).embed(empty)
        for name, model in spec.models.items()
    }
    return scores_without_signal(spec, empty, splits, latents)
