"""Labels decoded from the spikes of each theta phase, with nulls that permute trials or phases."""

import zlib
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.discriminant import fit_discriminants
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.circular import Floats
from neuromvm.analysis.statistics.over_trials import LabelRows, Tally, mean_of_scored
from neuromvm.data.permutation import draw_permutation
from neuromvm.errors import AlignmentError, SchemaError
from neuromvm.schema import THETA_PHASE, is_fitted, is_scored

Codes = NDArray[np.int8]


class PhaseBins(NamedTuple):
    """Spikes and time of each trial at each phase."""

    counts: Floats  # (trial, phase, unit)
    occupancy: Floats  # (trial, phase) [s]

    def rates(self) -> Floats:
        """Return spikes a second ``(trial, phase, unit)``; 0 where no time was spent."""
        time = self.occupancy[:, :, None]
        return np.asarray(np.divide(self.counts, time, out=np.zeros_like(self.counts), where=time > 0))

    def turned(self, shift: NDArray[np.integer]) -> "PhaseBins":
        """Return the bins with the cycle of each trial shifted by a number of phases ``(trial,)``."""
        trials, phases = self.occupancy.shape
        source = (np.arange(phases) - shift[:, None]) % phases
        trial = np.arange(trials)[:, None]
        return PhaseBins(self.counts[trial, source], self.occupancy[trial, source])


def phase_centres(phases: int) -> Floats:
    """Return the centres of equal parts of the cycle, from 0 to 2 pi [rad]; 0 is the peak of the field potential."""
    return np.asarray(2 * np.pi * (np.arange(phases) + 0.5) / phases)


def phase_codes(angles: Floats, phases: int) -> Codes:
    """Return the number of the part of the cycle in which each angle lies, -1 where it is NaN."""
    known = np.isfinite(angles)
    part = np.floor(np.mod(np.where(known, angles, 0), 2 * np.pi) * (phases / (2 * np.pi)))
    return np.asarray(np.where(known, np.minimum(part, phases - 1), -1).astype(np.int8))  # rounding may give 2 pi


def bin_by_phase(counts: NDArray[np.number], codes: Codes, phases: int, bin_width: float) -> PhaseBins:
    """Sum spikes ``(trial, time, unit)`` and time over the bins of each phase; bins ``(trial, time)`` with code -1 are left out.

    ``bin_width`` is in seconds.
    """
    members = (codes[:, None, :] == np.arange(phases)[:, None]).astype(np.float64)  # (trial, phase, time)
    return PhaseBins(members @ counts.astype(np.float64), members.sum(axis=2) * bin_width)


FEWEST = 2  # training trials that a class must have to be decoded
CYCLE = 1 / 8  # [s] nominal duration of a theta cycle


class Resampling(NamedTuple):
    """How phases are permuted, and the numbers of draws; with 0 permutations there is no null."""

    phase_null: Literal["shift", "exchange"] = "shift"
    permutations: int = 200
    bootstraps: int = 1000
    seed: int = 0


class PhasedSpikes(NamedTuple):
    """Spikes and theta phase of one animal in a window of its trials, with labels and sides of splits."""

    name: str
    counts: NDArray[np.number]  # (trial, time, unit)
    angles: Floats  # (trial, time) [rad], NaN where unknown
    labels: NDArray[np.int16]  # (trial,)
    parts: NDArray[np.int8]  # (split, trial)
    bin_width: float  # [s]
    phases: int
    samples: xr.Dataset  # of these trials; their labels say which trials a permutation may exchange
    left_out: int  # labelled trials that spend too little time at a phase

    def bins(self, order: NDArray[np.integer] | slice = slice(None)) -> PhaseBins:
        """Return the spikes at each phase; ``order (trial,)`` names the trial whose phases each trial takes."""
        codes = phase_codes(self.angles, self.phases)[order]
        return bin_by_phase(self.counts, codes, self.phases, self.bin_width)


class Decoded(NamedTuple):
    """Balanced accuracy at each phase, mean over splits; NaN where nothing can be scored."""

    accuracy: Floats  # (phase,)
    bootstrap: Floats  # (draw, phase)
    label_null: Floats  # (draw, phase); a single draw of NaN if there is no null
    phase_null: Floats  # (draw, phase)
    rate: Floats  # (phase,) [Hz], mean over units
    chance: float
    tested: int  # number of distinct test trials


def phased_spikes(
    name: str,
    recordings: xr.DataTree,
    samples: xr.DataTree,
    splits: xr.DataTree,
    window: tuple[float, float],
    phases: int,
    least_occupancy: float,
) -> PhasedSpikes:
    """Return the spikes of the labelled trials of an animal that spend enough time at every phase.

    Time bins whose centre lies in ``window`` (start, stop [s]) are used. ``least_occupancy`` is the time that a trial must spend
    at each phase, as a share of the duration of the window divided by ``phases``.
    """
    node, sampled = recordings[name].to_dataset(), samples[name].to_dataset()
    _check_phase(name, node)
    labels = sampled["label"].to_numpy()
    if (labels != labels[:, :1]).any():
        raise SchemaError(
            f"samples/{name}",
            found="windows of a trial with different labels",
            expected="one label for each trial, since a trial is decoded as a whole",
            next_step="Run the analysis on an experiment whose samples.label has no 'window'",
        )
    trials = node.indexes["trial"].get_indexer(sampled.indexes["trial"])
    if (trials < 0).any():
        raise SchemaError(f"samples/{name}", found="trials that the recordings lack", expected="samples of these recordings")
    bin_width = _bin_width(name, node, phases)
    inside = _inside(name, node["time"].to_numpy(), bin_width, window)
    counts = node["spike_count"].to_numpy()[trials][:, inside]
    angles = node[THETA_PHASE].transpose("trial", "time").to_numpy()[trials][:, inside]
    share = inside.sum() * bin_width / phases
    bins = bin_by_phase(counts, phase_codes(angles, phases), phases, bin_width)
    complete, labelled = (bins.occupancy >= least_occupancy * share).all(axis=1), labels[:, 0] >= 0
    used = complete & labelled
    if not used.any():
        raise AlignmentError(
            f"recordings/{name}",
            found=f"no trial that spends {least_occupancy * share:.3g} s at each of {phases} theta phases",
            expected="all phases in every trial that is decoded",
            next_step="Widen start..stop, decode fewer phases, lower least_occupancy, or bin the recordings more finely",
        )
    parts, left_out = splits[name]["part"].to_numpy()[:, used], int((labelled & ~complete).sum())
    sampled = sampled.isel(trial=used)
    return PhasedSpikes(name, counts[used], angles[used], labels[used, 0], parts, bin_width, phases, sampled, left_out)


def decode_phases(spikes: PhasedSpikes, classes: int, resampling: Resampling, within: str | None = None) -> Decoded:
    """Decode the label at every phase, with intervals over test trials and two nulls that refit every decoder.

    Features are the square roots of the rates of all units at a phase, scaled on the training side. All phases are scored on the
    same trials. The label null permutes spikes and phases of trials jointly. The phase null shifts the cycle of each trial by a
    random number of phases (``shift``), or permutes phases among trials and keeps spikes (``exchange``). ``classes`` is the
    number of label codes, ``within`` a trial label within which trials are exchangeable.
    """
    bins, trials = spikes.bins(), len(spikes.labels)
    rate = bins.counts.sum(axis=(0, 2)) / (bins.occupancy.sum(axis=0) * bins.counts.shape[2])
    no_draws = np.full((1, spikes.phases), np.nan)
    codes, known = _predict(bins, spikes, classes)
    tested = (codes[:, 0] >= 0).any(axis=0)
    if not tested.any():
        return Decoded(no_draws[0], no_draws, no_draws, no_draws, rate, np.nan, 0)
    rows = LabelRows.of(spikes.labels[tested][:, None])
    unchanged = over_trials.as_they_are(rows)

    def accuracy(codes: NDArray[np.int16], known: NDArray[np.bool_], assignments: Floats = unchanged) -> Floats:
        return _accuracy(codes[:, :, tested], known, rows, assignments)

    rng = np.random.default_rng([resampling.seed, zlib.crc32(spikes.name.encode())])
    bootstrap = accuracy(codes, known, over_trials.bootstrap(rows, resampling.bootstraps, rng))
    label_null, phase_null = [], []
    for draw in range(1, resampling.permutations + 1):
        order = draw_permutation(spikes.name, spikes.samples, draw, within=within).trial
        permuted = PhaseBins(bins.counts[order], bins.occupancy[order])
        if resampling.phase_null == "shift":
            broken = bins.turned(rng.integers(spikes.phases, size=trials))
        else:
            broken = spikes.bins(rng.permutation(trials))
        label_null.append(accuracy(*_predict(permuted, spikes, classes))[0])
        phase_null.append(accuracy(*_predict(broken, spikes, classes))[0])
    scored_classes = known.any(axis=0) & (np.bincount(spikes.labels[tested], minlength=classes) > 0)
    return Decoded(
        accuracy(codes, known)[0],
        bootstrap,
        np.array(label_null) if label_null else no_draws,
        np.array(phase_null) if phase_null else no_draws,
        rate,
        float(1 / scored_classes.sum()),
        int(tested.sum()),
    )


def _predict(bins: PhaseBins, spikes: PhasedSpikes, classes: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Fit decoders on the training side; return codes ``(split, phase, trial)``, -1 where not tested, and known classes.

    ``(split, class)`` says which classes the decoders were fitted on.
    """
    features = np.sqrt(bins.rates())
    predicted = np.full((len(spikes.parts), spikes.phases, len(spikes.labels)), -1, dtype=np.int16)
    known = np.zeros((len(spikes.parts), classes), dtype=bool)
    for split, part in enumerate(spikes.parts):
        side, scored = is_fitted(part), is_scored(part)
        enough = np.flatnonzero(np.bincount(spikes.labels[side], minlength=classes) >= FEWEST)
        if len(enough) < 2 or not scored.any():
            continue
        training = side & np.isin(spikes.labels, enough)
        decoders = fit_discriminants(features[training], spikes.labels[training])
        positions = np.diagonal(decoders.predict(features[scored]), axis1=1, axis2=2)  # (trial, phase), by the same phase
        predicted[split][:, scored] = enough[positions].T
        known[split, enough] = True
    return predicted, known


def _accuracy(codes: NDArray[np.int16], known: NDArray[np.bool_], rows: LabelRows, assignments: Floats) -> Floats:
    """Return balanced accuracy ``(draw, phase)``, mean over splits, over the classes that the decoders of a split know."""
    splits, phases, trials = codes.shape
    codes = codes.reshape(splits * phases, trials)
    votes = (codes[:, :, None, None] == np.arange(known.shape[1])).astype(np.float32)
    tally = Tally.of(votes, codes >= 0, np.repeat(known, phases, axis=0), rows)
    return mean_of_scored(tally.balanced_accuracy(assignments).reshape(-1, splits, phases), axis=1)


def _check_phase(name: str, node: xr.Dataset) -> None:
    if "spike_count" not in node or "time" not in node.dims:
        raise SchemaError(f"recordings/{name}", found=f"{', '.join(map(str, node.data_vars))}", expected="spike_count in time")
    if THETA_PHASE not in node.coords:
        raise SchemaError(
            f"recordings/{name}",
            found=f"no {THETA_PHASE}",
            expected="the theta phase of every bin",
            next_step="Set 'lfp' in the data spec (lfp: {} takes the only field potential of a file) and run again",
        )


def _bin_width(name: str, node: xr.Dataset, phases: int) -> float:
    bin_width = float(node["time"].attrs["bin_width"])
    if bin_width > CYCLE / phases + 1e-9:
        raise AlignmentError(
            f"recordings/{name}",
            found=f"bins of {bin_width:g} s",
            expected=f"at most {CYCLE / phases:.3g} s, an eighth of a second divided into {phases} phases",
            next_step="Lower grid.bin_width in the data spec, or decode fewer phases",
        )
    return bin_width


def _inside(name: str, time: Floats, bin_width: float, window: tuple[float, float]) -> NDArray[np.bool_]:
    start, stop = float(time[0]) - bin_width / 2, float(time[-1]) + bin_width / 2
    inside = (time > window[0]) & (time < window[1])
    if window[0] < start - 1e-6 or window[1] > stop + 1e-6 or not inside.any():
        raise AlignmentError(
            f"recordings/{name}",
            found=f"a window from {window[0]:g} to {window[1]:g} s",
            expected=f"a window inside the grid, {start:g} to {stop:g} s",
            next_step="Change start or stop of the analysis",
        )
    return np.asarray(inside)
