"""Checks of loaded recordings: artefacts, drift, units that vanish, units recorded twice. They report, and remove nothing."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import spearmanr

from neuromvm.data.loaders.labels import as_text
from neuromvm.schema import activity, animals, grid_dim, time_order
from neuromvm.specs.data import DataSpec, QualityFilter, SpikeActivity

OUTLIER = 6.0  # robust z of a trial's population activity
DRIFT_P, DRIFT_SHARE = 0.001, 0.2  # of a unit's rank correlation with time; share of units that is worth a word
VANISHING_P = 1e-4  # probability of so many silent trials by chance, over all units
END_SHARE = 0.2  # of trials, first or last, in which a unit is silent
SAME_COUNTS, WIDEST_BIN, MOST_VALUES = 0.9, 0.1, 2e7  # correlation; [s]; values that are correlated


class Finding(NamedTuple):
    """What a check found in the recordings of an animal."""

    animal: str
    check: str  # artefact, drift, silent, vanishing, twins
    sentence: str


def findings(recordings: xr.DataTree) -> list[Finding]:
    """Return what looks wrong in recordings, animal by animal; nothing is removed.

    - ``artefact``: the activity of all units together is an outlier in a trial (robust z above 6: distance from the median in
      units of 1.4826 times the median absolute deviation, of the square root for counts);
    - ``drift``: the activity of more than a fifth of the units is rank-correlated with the order of trials in time (p < .001);
    - ``silent``: units without any activity in the windows;
    - ``vanishing``: units that are silent in the last (first) fifth of the trials, where their share of active trials before
      (after) makes that improbable (p < .0001 over all units);
    - ``twins``: units that share most of their spikes, if the recordings were loaded with ``activity.quality.twins``, or else
      whose counts in bins of at most 100 ms correlate above .9.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(3.0, (40, 5, 3)).astype(np.uint8)
    >>> counts[30:, :, 1] = 0
    >>> rat = xr.Dataset({"spike_count": (("trial", "time", "unit"), counts)}, coords={"unit": [0, 1, 2]})
    >>> time = xr.Variable("time", np.arange(5) * 0.5, {"bin_width": 0.5})
    >>> [finding.check for finding in findings(xr.DataTree.from_dict({"/": xr.Dataset(coords={"time": time}), "rat": rat}))]
    ['drift', 'vanishing']
    """
    reports = []
    for animal, dataset in animals(recordings):
        sums = trial_sums(dataset)
        if sums.size:
            by = _blocked_by(dataset)
            remark = f" (trials are in blocks of {by}, so this may be {by})" if by else ""
            sentences = [
                ("artefact", _artefacts(dataset, sums), ""),
                ("drift", _drift(sums), remark),
                ("silent", _silent(dataset, sums), ""),
                *[("vanishing", sentence, remark) for sentence in _vanishing(dataset, sums)],
                *[("twins", sentence, "") for sentence in _twins(dataset)],
            ]
            reports += [Finding(animal, check, sentence + end) for check, sentence, end in sentences if sentence]
    return reports


def with_twins(spec: DataSpec) -> DataSpec:
    """Return a spec whose recordings name units that were recorded twice, unless it says what to do with them."""
    if not isinstance(spec.activity, SpikeActivity) or (spec.activity.quality or QualityFilter()).twins != "ignore":
        return spec
    quality = (spec.activity.quality or QualityFilter()).model_copy(update={"twins": "report"})
    return spec.model_copy(update={"activity": spec.activity.model_copy(update={"quality": quality})})


def trial_sums(dataset: xr.Dataset) -> NDArray[np.float64]:
    """Return the activity of each unit in each trial ``(trial, unit)``, trials in the order of their onsets."""
    values = activity(dataset).sum(grid_dim(dataset), dtype=np.float64)
    return np.asarray(values.transpose("trial", "unit").to_numpy()[time_order(dataset)])


def mean_activity(dataset: xr.Dataset) -> NDArray[np.float64]:
    """Return the mean activity of each unit ``(unit,)``: spikes per second for counts on a time grid, else as recorded."""
    values = activity(dataset)
    grid = dataset[grid_dim(dataset)]
    bin_width = float(grid.attrs["bin_width"]) if values.name == "spike_count" and grid.name == "time" else 1.0
    return np.asarray(values.mean(("trial", grid.name), dtype=np.float64).to_numpy() / bin_width)


def _artefacts(dataset: xr.Dataset, sums: NDArray[np.float64]) -> str:
    population = sums.sum(axis=1)
    scaled = np.sqrt(population) if activity(dataset).name == "spike_count" else population
    centre = np.median(scaled)
    spread = 1.4826 * np.median(np.abs(scaled - centre))
    rows = np.flatnonzero(np.abs(scaled - centre) > OUTLIER * spread) if spread > 0 else np.empty(0, dtype=np.intp)
    if not rows.size:
        return ""
    times = population[rows] / max(float(np.median(population)), np.finfo(float).tiny)
    trials = dataset["trial"].to_numpy()[time_order(dataset)][rows] if "trial" in dataset.coords else rows
    return (
        f"population activity of trials {_some(trials)} is {times.min():.2g} to {times.max():.2g} times the median "
        f"({len(rows)} of {len(sums)} trials): movement, an electrical artefact, or lost units?"
    )


def _drift(sums: NDArray[np.float64]) -> str:
    varying = np.ptp(sums, axis=0) > 0
    if len(sums) < 10 or not varying.any():
        return ""
    order = np.arange(len(sums))
    drifting = sum(spearmanr(order, unit).pvalue < DRIFT_P for unit in sums[:, varying].T)
    if drifting <= DRIFT_SHARE * sums.shape[1]:
        return ""
    return f"activity of {drifting} of {sums.shape[1]} units rises or falls over the session (rank correlation, p < {DRIFT_P:g})"


def _silent(dataset: xr.Dataset, sums: NDArray[np.float64]) -> str:
    silent = np.flatnonzero((sums == 0).all(axis=0))
    return f"{_units(dataset, silent)} never active in the windows" if silent.size else ""


def _vanishing(dataset: xr.Dataset, sums: NDArray[np.float64]) -> list[str]:
    active = sums != 0
    length = round(END_SHARE * len(sums))
    sentences = []
    if length:
        for end, remaining, word in ((active[-length:], active[:-length], "last"), (active[:length], active[length:], "first")):
            chance = (1 - remaining.mean(axis=0)) ** length
            gone = np.flatnonzero(~end.any(axis=0) & (chance < VANISHING_P / sums.shape[1]))
            if gone.size:
                sentences.append(
                    f"{_units(dataset, gone)} silent in the {word} {length} of {len(sums)} trials, active before or after"
                )
    return sentences


def _twins(dataset: xr.Dataset) -> list[str]:
    units = dataset["unit"].to_numpy()
    if "twin" in dataset.coords:
        rows = zip(units, dataset["twin"].to_numpy(), dataset["twin_share"].to_numpy(), strict=True)
        return [
            f"{share:.0%} of the spikes of unit {unit} are those of unit {twin}: recorded twice? See activity.quality.twins"
            for unit, twin, share in rows
            if twin != ""
        ]
    grid = dataset[grid_dim(dataset)]
    values = activity(dataset)
    if values.name != "spike_count" or grid.name != "time" or float(grid.attrs["bin_width"]) > WIDEST_BIN:
        return []
    step = max(1, int(np.ceil(values.size / MOST_VALUES)))
    counts = values[::step].to_numpy().reshape(-1, len(units)).astype(np.float32)
    varying = np.flatnonzero(counts.std(axis=0) > 0)
    if varying.size < 2:
        return []
    correlation: NDArray[np.float64] = np.atleast_2d(np.corrcoef(counts[:, varying], rowvar=False))
    pairs = np.argwhere(np.triu(correlation > SAME_COUNTS, 1))
    width = float(grid.attrs["bin_width"])
    return [
        f"counts of units {units[varying[a]]} and {units[varying[b]]} correlate {correlation[a, b]:.2f} in bins of {width:g} s: "
        "one unit recorded twice? activity.quality.twins compares spike times"
        for a, b in pairs
    ]


def _blocked_by(dataset: xr.Dataset) -> str:
    """Return the first label whose values come in blocks of trials in time, or ''."""
    order = time_order(dataset)
    for name, values in dataset.coords.items():
        if values.dims != ("trial",) or values.dtype.kind == "f" or name in ("trial", "trial_id"):
            continue
        texts = as_text(values.to_numpy()[order])
        changes, classes = int((texts[1:] != texts[:-1]).sum()), len(np.unique(texts))
        if 1 < classes <= len(texts) / 3 and changes < 2 * classes:
            return str(name)
    return ""


def _units(dataset: xr.Dataset, rows: NDArray[np.intp]) -> str:
    names = dataset["unit"].to_numpy()[rows]
    return f"unit {names[0]} is" if len(names) == 1 else f"units {_some(names)} are"


def _some(names: NDArray[Any], most: int = 6) -> str:
    texts = [str(name) for name in names.tolist()]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
