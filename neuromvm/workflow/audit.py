"""Audit of an experiment: its own pipeline on data that hold nothing, and on data whose test trials were tampered with.

A pipeline that scores above chance on noise will do so on recordings. Three questions are asked. Does any trial, spike or
statistic cross a split? Does any score leave chance when labels are permuted, or when activity is Poisson noise? And what can
scores of this experiment mean, and what not?
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
import xarray as xr
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from neuromvm import schema
from neuromvm.analysis.decoding.audit import caveats, scores_without_signal, verdicts
from neuromvm.data.matched_noise import matched_noise
from neuromvm.data.permutation import permuted
from neuromvm.data.replicas import Replica
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.schema import is_fitted, is_scored
from neuromvm.specs import ExperimentSpec
from neuromvm.training.batches import StackBatches
from neuromvm.training.fit import batch_settings, fit
from neuromvm.training.trainer import StackTrainer
from neuromvm.workflow.experiment import load_experiment_recordings

Kind = Literal["labels permuted", "matched noise"]
KINDS: tuple[Kind, ...] = ("labels permuted", "matched noise")


class Check(NamedTuple):
    """One thing looked for, whether it was as it should be, and what was found."""

    what: str
    passed: bool
    found: str


class Audit(NamedTuple):
    """What an audit found.

    Attributes
    ----------
    checks
        Whether anything crosses a split.
    scores
        Each score of the pipeline on data that hold nothing, against chance; see
        :func:`neuromvm.analysis.decoding.audit.verdicts`.
    caveats
        In words, what scores of this experiment can and cannot mean.
    """

    checks: list[Check]
    scores: xr.Dataset
    caveats: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing crosses a split and no score leaves its null."""
        return all(check.passed for check in self.checks) and not bool(self.scores["fails"].any())


def audit(spec: ExperimentSpec, *, draws: int = 10, jobs: int = 1, progress: bool = True) -> Audit:
    """Audit an experiment; nothing is written.

    Parameters
    ----------
    spec
        The experiment; its options of the analysis ``decoding`` are used.
    draws
        Data sets without signal of each kind: labels permuted within animal, and noise that matches the rates of units.
    jobs
        Processes.
    progress
        Show a bar.

    Raises
    ------
    NeuromvmError
        If the experiment itself cannot be run.

    Examples
    --------
    >>> found = audit(load_experiment_spec("experiment.yaml"))  # doctest: +SKIP
    >>> found.passed, found.checks, found.caveats  # doctest: +SKIP
    """
    recordings = load_experiment_recordings(spec)
    samples = make_samples(recordings, spec.samples)
    splits = make_splits(samples, spec.split)
    checks = list(crossings(spec, recordings, samples, splits))
    tasks = [(kind, number) for number in range(1, draws + 1) for kind in KINDS]
    work = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_score_without_signal)(spec, recordings, samples, splits, *task) for task in tasks
    )
    found = list(tqdm(work, total=len(tasks), desc="audit", unit="data set", disable=None if progress else True))
    by_kind = [xr.concat(found[place :: len(KINDS)], dim="draw", combine_attrs="override") for place in range(len(KINDS))]
    scores = xr.concat(by_kind, dim=xr.DataArray(list(KINDS), dims="kind"), combine_attrs="override")
    return Audit(checks, verdicts(scores), caveats(spec, recordings, samples, splits))


def crossings(spec: ExperimentSpec, recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree) -> Iterator[Check]:
    """Look for trials, spikes and statistics that are on both sides of a split.

    Parameters
    ----------
    spec
        The experiment.
    recordings, samples, splits
        Its trees.
    """
    both = {
        name: int((is_fitted(node["part"]) & is_scored(node["part"])).any(axis=0).sum()) for name, node in schema.animals(splits)
    }
    shared = {name: count for name, count in both.items() if count}
    said = ", ".join(f"{count} trials of {name}" for name, count in shared.items())
    yield Check("no trial is fitted and scored", not shared, f"{said} both train and test" if shared else "none in any split")
    yield _overlaps(recordings, samples, splits)
    for name in spec.models:
        yield _ignores_test_trials(spec, name, samples, splits)


def _overlaps(recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree) -> Check:
    """Say whether the windows of a training trial and of a test trial of an animal overlap in time, so that they share spikes."""
    what = "no spike is on both sides"
    found, known = [], False
    for name, node in schema.animals(samples):
        window = node["window"]
        if "onset" not in node.coords or str(window.attrs.get("dim", "time")) != "time":
            continue
        known = True
        span = float(window[-1] - window[0]) + float(window.attrs.get("width", 0))
        onset = node["onset"].to_numpy()
        first, second = np.nonzero(np.abs(onset[:, None] - onset) < span - 1e-9)
        part = splits[name]["part"].to_numpy()
        fitted, scored = is_fitted(part), is_scored(part)
        apart = (first != second) & fitted[:, first] & scored[:, second]
        if apart.any():
            found.append(f"{int(apart.any(axis=0).sum())} pairs of trials of {name}")
    if not known:
        return Check(what, True, "trials have no onset in seconds: could not be looked at")
    return Check(
        what, not found, f"windows overlap in {', '.join(found)}" if found else "windows of trials do not overlap in time"
    )


def _ignores_test_trials(spec: ExperimentSpec, name: str, samples: xr.DataTree, splits: xr.DataTree) -> Check:
    """Say whether scaling, pairs and weights of a model stay the same, bit for bit, when activity of test trials is replaced."""
    what = f"{name}: scaling, pairs and training ignore test trials"
    true, tampered = (_trained(spec, name, each, splits) for each in (samples, _tampered(samples, splits)))
    for what_of, before, after in zip(("scaling", "pairs", "weights"), true, tampered, strict=True):
        if any(not np.array_equal(one, other) for one, other in zip(before, after, strict=True)):
            return Check(what, False, f"{what_of} changed with the activity of test trials")
    return Check(what, True, "the same, bit for bit, with other activity in the test trials of the first split")


def _trained(spec: ExperimentSpec, name: str, samples: xr.DataTree, splits: xr.DataTree) -> tuple[list[np.ndarray], ...]:
    training = spec.training_for(name)
    replicas = [Replica(0, training.seeds[0])]
    settings = batch_settings(spec.models[name], training, samples.children)
    batches = StackBatches(samples, splits, settings, replicas, device=torch.device("cpu"))
    trainer = StackTrainer(spec.models[name], training.model_copy(update={"epochs": min(training.epochs, 2)}), batches)
    for _ in trainer.run():
        pass
    scaling = [one for each in batches.scalers.values() for one in (each[0].center, each[0].spread)]
    return scaling, [batches.epoch_pairs(0)], [value.numpy() for value in trainer.weights().values()]


def _tampered(samples: xr.DataTree, splits: xr.DataTree) -> xr.DataTree:
    """Give the test trials of the first split the activity of other test trials, reversed in time and twice as strong."""
    children = {}
    for name, node in schema.animals(samples):
        activity = node["activity"].transpose("trial", "window", "bin", "unit")
        values = activity.to_numpy().copy()
        scored = np.flatnonzero(is_scored(splits[name]["part"].to_numpy()[0]))
        values[scored] = values[scored[::-1], :, ::-1] * 2 + 1
        children[name] = xr.DataTree(node.assign(activity=activity.copy(data=values)))
    return xr.DataTree(dataset=samples.to_dataset(), children=children)


def _score_without_signal(
    spec: ExperimentSpec, recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, kind: Kind, number: int
) -> xr.Dataset:
    """Run the pipeline on one data set without signal."""
    make: dict[Kind, Callable[[], xr.DataTree]] = {
        # Among all trials, blocks or not: scores are compared with guessing.
        "labels permuted": lambda: permuted(samples, number),
        "matched noise": lambda: make_samples(matched_noise(recordings, number), spec.samples),
    }
    empty = make[kind]()
    latents = {
        name: fit(empty, splits, model, spec.training_for(name), progress=False).embed(empty)
        for name, model in spec.models.items()
    }
    return scores_without_signal(spec, empty, splits, latents)
