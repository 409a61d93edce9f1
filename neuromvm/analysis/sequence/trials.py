"""Trials of a sequence of odors: which odor came at which place, in which run through the sequence, and with what response.

The sequence is not told but found: the odors of in-sequence trials in the order of their positions. An odor and a position
then are both *places* in the sequence, 0 for the first, and a trial is in sequence where they are equal.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm import schema
from neuromvm.data.windows import make_samples
from neuromvm.errors import SchemaError, SplitError, did_you_mean
from neuromvm.specs import SampleSpec
from neuromvm.specs.base import Spec
from neuromvm.specs.data import Scalar

TRUE, FALSE = ("1", "1.0", "True", "true"), ("0", "0.0", "-1", "-1.0", "False", "false")


class WindowOptions(Spec):
    """The window that decoders and distances see, and the resampling; common to the analyses of sequences."""

    start: float = Field(0.1, description="Start of the window, relative to the event that trials are aligned to [s]")
    stop: float = Field(0.35, description="Its end [s]")
    bin_width: float | None = Field(None, gt=0, description="Bins inside the window [s]; default: the whole window")
    keep: dict[str, list[Scalar]] = Field({}, description="Keep trials whose label holds one of these values")
    bootstraps: int = Field(1000, ge=100, description="Resamples of trials, for intervals")
    permutations: int = Field(100, ge=19, description="Permutations of activity among trials, everything fitted again on each")
    seed: int = Field(0, ge=0, description="Of splits and resamples")


class SequenceTrials(NamedTuple):
    """Labels of one animal's trials, each ``(trial,)``."""

    odor: NDArray[np.intp]  # place in the sequence of the odor that was presented
    position: NDArray[np.intp]  # place in the sequence at which it was
    correct: NDArray[np.bool_]
    run: NDArray[np.intp]  # number of the run through the sequence

    @property
    def in_sequence(self) -> NDArray[np.bool_]:
        """Whether the odor was the one due."""
        return np.asarray(self.odor == self.position)

    def take(self, trials: NDArray[np.bool_]) -> "SequenceTrials":
        """Return some of the trials."""
        return SequenceTrials(self.odor[trials], self.position[trials], self.correct[trials], self.run[trials])


class Animals(NamedTuple):
    """Samples of an odor sequence: what each animal's trials are, and the names of the odors in sequence."""

    samples: xr.DataTree
    trials: dict[str, SequenceTrials]
    kept: dict[str, NDArray[np.bool_]]  # (trial,) of the samples given
    sequence: tuple[str, ...]


def with_runs(recordings: xr.DataTree) -> xr.DataTree:
    """Return recordings with the trial label ``run``: a new run through the sequence begins where the position does not rise.

    Parameters
    ----------
    recordings
        With the trial labels ``position`` and ``onset`` [s].
    """
    children = {}
    for name, node in recordings.children.items():
        dataset = node.to_dataset(inherit=False)
        order = np.argsort(_label(name, dataset, "onset"), kind="stable")
        position = _label(name, dataset, "position").astype(float)[order]
        run = np.empty(len(order), dtype=np.int64)
        run[order] = np.concatenate([[0], np.cumsum(np.diff(position) <= 0)])
        children[name] = xr.DataTree(dataset.assign_coords(run=("trial", run)))
    return xr.DataTree(dataset=recordings.to_dataset(), children=children)


def cut_sequence(recordings: xr.DataTree, spec: SampleSpec, options: WindowOptions, *, slide: float | None = None) -> xr.DataTree:
    """Cut one window out of every trial, or slide it over the whole trial.

    All trials are taken that ``options.keep`` keeps, whatever the samples of the run were restricted to.

    Parameters
    ----------
    recordings
        One node an animal, with the labels ``odor, position, in_sequence, correct, onset``.
    spec
        Of the run's samples; its transform is used.
    options
        The window.
    slide
        Step by which the window is slid over the grid [s]; default: it stays where it is.
    """
    width = round(options.stop - options.start, 9)
    placed = (
        {"start": options.start, "stop": options.stop, "step": None}
        if slide is None
        else {"start": None, "stop": None, "step": slide}
    )
    changed = SampleSpec.model_validate(
        {
            **placed,
            "width": width,
            "bin_width": options.bin_width,
            "keep": options.keep,
            "label": ["odor"],
            "match": ["position"],
            "transform": spec.transform,
        }
    )
    return make_samples(with_runs(recordings), changed)


def read_trials(samples: xr.DataTree) -> Animals:
    """Find the sequence, and the place of every trial in it.

    Parameters
    ----------
    samples
        With the trial labels ``odor, position, in_sequence, correct``; without ``run`` each trial is a run of its own.

    Returns
    -------
    Trials whose odor or position does not occur in sequence are left out of the samples; ``kept`` says which were not.

    Raises
    ------
    SchemaError
        If no trial is in sequence, an odor is in sequence at two positions, or ``in_sequence`` contradicts odor and position.
    """
    sequence, places = _sequence(samples)
    nodes, trials, kept = {}, {}, {}
    for name, dataset in schema.animals(samples):
        odor = np.array([sequence.index(one) if one in sequence else -1 for one in _names(name, dataset, "odor")])
        position = np.array([places.index(one) if one in places else -1 for one in _places(name, dataset)])
        known = (odor >= 0) & (position >= 0)
        said = _truth(name, dataset, "in_sequence")
        if (said != (odor == position))[known].any():
            count = int((said != (odor == position))[known].sum())
            raise SchemaError(
                f"animal {name}, label in_sequence",
                found=f"{count} trials on which it contradicts odor and position, the sequence being {' '.join(sequence)}",
                expected="true where the odor is the one due at the position, false elsewhere",
                next_step="Mend the labels, or leave trials out with 'keep'",
            )
        run = dataset["run"].to_numpy() if "run" in dataset.coords else np.arange(dataset.sizes["trial"])
        nodes[name], kept[name] = dataset.isel(trial=known), known
        trials[name] = SequenceTrials(odor, position, _truth(name, dataset, "correct"), run).take(known)
    return Animals(xr.DataTree.from_dict({"/": samples.to_dataset(), **nodes}), trials, kept, tuple(sequence))


def with_runs_of(samples: xr.DataTree, recordings: xr.DataTree) -> xr.DataTree:
    """Return samples with the trial label ``run`` of the recordings that they were cut from, see :func:`with_runs`."""
    children = {}
    for name, recorded in schema.animals(with_runs(recordings)):
        run = recorded["run"].drop_vars([key for key in recorded["run"].coords if key not in ("trial", "run")])
        children[name] = xr.DataTree(
            samples[name].to_dataset().assign_coords(run=run.sel(trial=samples[name]["trial"].to_numpy()))
        )
    return xr.DataTree(dataset=samples.to_dataset(), children=children)


def refuse_without_animals(analysis: str, kept: int, left_out: dict[str, str], next_step: str) -> None:
    """Raise SplitError, with the reason of each, if all animals were left out."""
    if not kept:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise SplitError(f"analysis {analysis}", found=f"no animal with enough trials ({reasons})", next_step=next_step)


def _sequence(samples: xr.DataTree) -> tuple[list[str], list[float]]:
    """Return odors and positions of in-sequence trials of all animals, in order."""
    pairs: set[tuple[float, str]] = set()
    for name, dataset in schema.animals(samples):
        due = _truth(name, dataset, "in_sequence")
        pairs |= set(zip(_places(name, dataset)[due], _names(name, dataset, "odor")[due], strict=True))
    ordered = sorted(pairs)
    places, odors = [place for place, _ in ordered], [odor for _, odor in ordered]
    if len(odors) < 2 or len(set(places)) < len(places) or len(set(odors)) < len(odors):
        raise SchemaError(
            "labels odor and position",
            found=f"in sequence: {', '.join(f'{odor} at {place:g}' for place, odor in ordered) or 'no trial'}",
            expected="at least two odors, each due at one position",
            next_step="Mend the labels, or choose trials of one sequence with 'keep'",
        )
    return odors, places


def _names(animal: str, dataset: xr.Dataset, label: str) -> NDArray[np.str_]:
    return np.asarray(_label(animal, dataset, label).astype(str))


def _places(animal: str, dataset: xr.Dataset) -> NDArray[np.float64]:
    return np.asarray(_label(animal, dataset, "position").astype(np.float64))


def _truth(animal: str, dataset: xr.Dataset, label: str) -> NDArray[np.bool_]:
    values = _names(animal, dataset, label)
    if not np.isin(values, TRUE + FALSE).all():
        other = sorted(set(values.tolist()) - {*TRUE, *FALSE})[:5]
        raise SchemaError(f"animal {animal}, label {label}", found=f"values {other}", expected="true and false, or 1 and 0")
    return np.isin(values, TRUE)


def _label(animal: str, dataset: xr.Dataset, label: str) -> NDArray[np.generic]:
    known = sorted(str(key) for key, coord in dataset.coords.items() if coord.dims == ("trial",))
    if label not in known:
        raise SchemaError(
            f"animal {animal}",
            found=f"no trial label {label!r}",
            expected="labels odor, position, in_sequence, correct and onset",
            next_step=did_you_mean(label, known),
        )
    return np.asarray(dataset[label].to_numpy())
