"""Trials of a sequence of odors: which odor was presented at which position, in which run, and with what response.

The sequence is read from the labels: the odors of in-sequence trials, ordered by position. Odors and positions are numbered by
their place in the sequence, from 0; a trial is in sequence if both numbers are equal.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.data.features import features
from neuromvm.data.windows import make_samples, sample_spec
from neuromvm.errors import SchemaError, SplitError, did_you_mean
from neuromvm.specs import SampleSpec, SplitSpec
from neuromvm.specs.base import Spec
from neuromvm.specs.data import Scalar

Codes = NDArray[np.intp]
Mask = NDArray[np.bool_]
Labels = tuple[NDArray[np.str_], NDArray[np.float64], Mask, Mask]
TRUE, FALSE = ("1", "1.0", "True", "true"), ("0", "0.0", "-1", "-1.0", "False", "false")


class WindowOptions(Spec):
    """The window of activity that is analysed, and the resampling."""

    start: float = Field(0.1, description="Start of the window, relative to the event that trials are aligned to [s]")
    stop: float = Field(0.35, description="Its end [s]")
    bin_width: float | None = Field(None, gt=0, description="Bins inside the window [s]; default: the whole window")
    keep: dict[str, list[Scalar]] = Field({}, description="Keep trials whose label holds one of these values")
    bootstraps: int = Field(1000, ge=100, description="Resamples of trials, for intervals")
    permutations: int = Field(100, ge=19, description="Permutations of activity among trials, everything fitted again on each")
    seed: int = Field(0, ge=0, description="Of splits and resamples")


class DecoderOptions(WindowOptions):
    """The decoder of activity."""

    inverse_penalty: float = Field(0.02, gt=0, description="C of decoders of activity, features being scaled to 1 sd")
    folds: int = Field(5, ge=2, description="Folds of trials for activity; latents have the splits of the run")

    @property
    def split(self) -> SplitSpec:
        """Return the spec of the folds."""
        return SplitSpec(kind="kfold", folds=self.folds, seed=self.seed)


class SequenceTrials(NamedTuple):
    """Labels of one animal's trials, each ``(trial,)``."""

    odor: Codes  # number of the odor that was presented
    position: Codes  # position at which it was presented
    correct: Mask
    run: Codes  # number of the run through the sequence

    @property
    def in_sequence(self) -> Mask:
        """Whether the odor is the one due at the position."""
        return np.asarray(self.odor == self.position)

    @property
    def reference(self) -> Mask:
        """The correct in-sequence trials, on which decoders of the odor are fitted."""
        return self.in_sequence & self.correct

    def take(self, trials: Mask) -> "SequenceTrials":
        """Return a selection of trials."""
        return SequenceTrials(self.odor[trials], self.position[trials], self.correct[trials], self.run[trials])


class Animals(NamedTuple):
    """Samples of an odor sequence, the labels of each animal's trials, and the names of the odors in sequence."""

    samples: xr.DataTree
    trials: dict[str, SequenceTrials]
    known: dict[str, Mask]  # (trial,) trials of the original samples that are in ``samples``
    sequence: tuple[str, ...]

    def activity(self, name: str) -> Floats:
        """Return the features of the first window of each trial, ``(trial, feature)``."""
        return features(self.samples[name].to_dataset()["activity"], sample_spec(self.samples))[:, 0]


def trial_label(where: str, dataset: xr.Dataset, label: str) -> NDArray[np.generic]:
    """Return a label ``(trial,)``; if there is none, raise SchemaError, whose message begins with ``where``."""
    known = sorted(str(key) for key, coord in dataset.coords.items() if coord.dims == ("trial",))
    if label not in known:
        raise SchemaError(
            where,
            found=f"no trial label {label!r}",
            expected="the labels that the analysis reads, for sequences odor, position, in_sequence, correct and onset",
            next_step=did_you_mean(label, known),
        )
    return np.asarray(dataset[label].to_numpy())


def with_runs(recordings: xr.DataTree) -> xr.DataTree:
    """Return recordings with the trial label ``run``: by ``onset``, a new run begins where the position does not rise."""
    children = {}
    for name, node in recordings.children.items():
        dataset = node.to_dataset(inherit=False)
        order = np.argsort(trial_label(f"animal {name}", dataset, "onset"), kind="stable")
        position = trial_label(f"animal {name}", dataset, "position").astype(float)[order]
        run = np.empty(len(order), dtype=np.int64)
        run[order] = np.concatenate([[0], np.cumsum(np.diff(position) <= 0)])
        children[name] = xr.DataTree(dataset.assign_coords(run=("trial", run)))
    return xr.DataTree(dataset=recordings.to_dataset(), children=children)


def with_runs_of(samples: xr.DataTree, recordings: xr.DataTree) -> xr.DataTree:
    """Return samples with the trial label ``run`` of the recordings that they were cut from, see :func:`with_runs`."""
    children = {}
    for name, recorded in schema.animals(with_runs(recordings)):
        dataset = samples[name].to_dataset()
        run = recorded["run"].sel(trial=dataset["trial"].to_numpy()).to_numpy()
        children[name] = xr.DataTree(dataset.assign_coords(run=("trial", run)))
    return xr.DataTree(dataset=samples.to_dataset(), children=children)


def cut_sequence(recordings: xr.DataTree, spec: SampleSpec, options: WindowOptions, *, slide: float | None = None) -> xr.DataTree:
    """Cut one window out of every trial, or slide it over the grid by steps of ``slide`` [s].

    All trials are used that ``options.keep`` keeps, whatever the samples of the run were restricted to. Of ``spec``, that of the
    run's samples, only the transform is used. The recordings have the labels ``odor, position, in_sequence, correct, onset``.
    """
    start, stop = (options.start, options.stop) if slide is None else (None, None)
    window = {"start": start, "stop": stop, "step": slide, "width": round(options.stop - options.start, 9)}
    labels = {"keep": options.keep, "label": ["odor"], "match": ["position"]}
    cut = SampleSpec.model_validate({**window, **labels, "bin_width": options.bin_width, "transform": spec.transform})
    return make_samples(with_runs(recordings), cut)


def read_trials(samples: xr.DataTree) -> Animals:
    """Return the sequence, and the odor and position of every trial in it.

    Samples have the trial labels ``odor, position, in_sequence, correct``; without ``run``, each trial is a separate run. Trials
    whose odor or position does not occur in sequence are left out. Labels that contradict one another raise SchemaError.
    """
    labels = {name: _labels(name, dataset) for name, dataset in schema.animals(samples)}
    odors, positions = _sequence(labels)
    nodes, trials, known = {}, {}, {}
    for name, dataset in schema.animals(samples):
        odor, position, in_sequence, correct = labels[name]
        odor_code = np.array([odors.index(value) if value in odors else -1 for value in odor])
        position_code = np.array([positions.index(value) if value in positions else -1 for value in position])
        known[name] = (odor_code >= 0) & (position_code >= 0)
        contradicting = int((in_sequence != (odor_code == position_code))[known[name]].sum())
        if contradicting:
            raise SchemaError(
                f"animal {name}, label in_sequence",
                found=f"{contradicting} trials on which it contradicts odor and position, the sequence being {' '.join(odors)}",
                expected="true where the odor is the one due at the position, false elsewhere",
                next_step="Correct the labels, or leave trials out with 'keep'",
            )
        run = dataset["run"].to_numpy() if "run" in dataset.coords else np.arange(dataset.sizes["trial"])
        nodes[name] = dataset.isel(trial=known[name])
        trials[name] = SequenceTrials(odor_code, position_code, correct, run).take(known[name])
    return Animals(xr.DataTree.from_dict({"/": samples.to_dataset(), **nodes}), trials, known, tuple(odors))


def require_animals(analysis: str, scored: int, left_out: dict[str, str], next_step: str) -> None:
    """Raise SplitError with the reason for each animal if no animal is scored."""
    if not scored:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise SplitError(f"analysis {analysis}", found=f"no animal with enough trials ({reasons})", next_step=next_step)


def _labels(animal: str, dataset: xr.Dataset) -> Labels:
    """Return odor, position, and whether trials are in sequence and correct, as they are in the samples."""
    odor, position = (trial_label(f"animal {animal}", dataset, label) for label in ("odor", "position"))
    in_sequence, correct = (_truth(animal, dataset, label) for label in ("in_sequence", "correct"))
    return odor.astype(str), position.astype(np.float64), in_sequence, correct


def _truth(animal: str, dataset: xr.Dataset, label: str) -> Mask:
    values = trial_label(f"animal {animal}", dataset, label).astype(str)
    if not np.isin(values, TRUE + FALSE).all():
        unknown = sorted(set(values.tolist()) - {*TRUE, *FALSE})[:5]
        raise SchemaError(f"animal {animal}, label {label}", found=f"values {unknown}", expected="true and false, or 1 and 0")
    return np.isin(values, TRUE)


def _sequence(labels: dict[str, Labels]) -> tuple[list[str], list[float]]:
    """Return odors and positions of in-sequence trials of all animals, in order."""
    pairs: set[tuple[float, str]] = set()
    for odor, position, in_sequence, _ in labels.values():
        pairs |= set(zip(position[in_sequence], odor[in_sequence], strict=True))
    ordered = sorted(pairs)
    positions, odors = [position for position, _ in ordered], [odor for _, odor in ordered]
    if len(odors) < 2 or len(set(positions)) < len(positions) or len(set(odors)) < len(odors):
        raise SchemaError(
            "labels odor and position",
            found=f"in sequence: {', '.join(f'{odor} at {position:g}' for position, odor in ordered) or 'no trial'}",
            expected="at least two odors, each due at one position",
            next_step="Correct the labels, or choose trials of one sequence with 'keep'",
        )
    return odors, positions
