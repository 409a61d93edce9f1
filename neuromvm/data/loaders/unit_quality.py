"""Quality of units from their spike times: rate, presence, violations of the refractory period, units recorded twice."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.labels import exclude
from neuromvm.schema import Dropped
from neuromvm.specs.data import QualityFilter

Times = NDArray[np.float64]


class Twins(NamedTuple):
    """Units ``unit`` and ``other`` (positions), and ``share``: the spikes of the smaller one that both have."""

    unit: int
    partner: int
    share: float


def judge_units(
    times: Sequence[Times], recorded: Sequence[Times], ids: NDArray[Any], quality: QualityFilter
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_], list[Dropped]]:
    """Return the metrics of units as columns ``(unit,)``, which units pass the filters of a spec, and the account of the others.

    ``times`` are sorted spike times, ``recorded`` disjoint intervals ``(interval, 2)`` [s], of each unit with its id.
    """
    trains = list(zip(times, recorded, strict=True))
    duration = np.array([float(np.diff(pieces, axis=1).sum()) for pieces in recorded])
    rate = np.array([len(train) for train in times]) / np.where(duration > 0, duration, np.nan)
    presence = np.array([presence_ratio(train, pieces, quality.presence_bin) for train, pieces in trains])
    refractory = quality.refractory, quality.censored
    violations = np.array([isi_violations(train, span, *refractory) for train, span in zip(times, duration, strict=True)])
    columns: dict[str, NDArray[Any]] = {
        "recording_rate": rate,
        "presence_ratio": presence,
        "isi_violations_ratio": violations,
    }
    reasons = []
    if quality.min_rate is not None:
        reasons.append((f"rate over the recording below {quality.min_rate:g} Hz", ~(rate >= quality.min_rate)))
    if quality.min_presence is not None:
        unknown = np.isnan(presence)
        reasons.append((f"presence ratio unknown: recorded for less than {quality.presence_bin:g} s", unknown))
        reasons.append((f"presence ratio below {quality.min_presence:g}", presence < quality.min_presence))
    if quality.max_isi_violations is not None:
        reasons.append((f"ISI violations ratio above {quality.max_isi_violations:g}", violations > quality.max_isi_violations))
    selected, dropped = exclude(np.ones(len(times), dtype=bool), "units", reasons)
    if quality.twins != "ignore":
        columns |= _twin_columns(times, ids, selected, quality)
    if quality.twins == "remove":
        reason = f"at least {quality.twin_share:g} of its spikes are those of a unit with more spikes: recorded twice"
        selected, lines = exclude(selected, "units", [(reason, columns["twin_share"] > 0)])
        dropped += lines
    return columns, selected, dropped


def presence_ratio(times: Times, recorded: NDArray[np.float64], bin_width: float) -> float:
    """Return the share of whole bins of the recording in which a unit fires, NaN if no bin is whole.

    As in the Allen Institute's ecephys pipeline and spikeinterface; a remainder shorter than a bin is left out.

    Parameters
    ----------
    times
        Sorted spike times ``(spike,)`` [s].
    recorded
        Disjoint intervals ``(interval, 2)`` [s].
    bin_width
        [s]

    Examples
    --------
    >>> presence_ratio(np.array([1.0, 2.0, 25.0]), np.array([[0.0, 39.0]]), 10.0)
    0.6666666666666666
    """
    filled = bins = 0
    for start, stop in recorded:
        whole = int(np.floor((stop - start) / bin_width + 1e-9))
        if whole:
            edges = start + bin_width * np.arange(whole + 1)
            filled += int(np.count_nonzero(np.diff(np.searchsorted(times, edges))))
            bins += whole
    return filled / bins if bins else np.nan


def isi_violations(times: Times, duration: float, refractory: float = 0.0015, censored: float = 0.0) -> float:
    """Return the rate of contaminating spikes relative to that of the unit, from intervals below the refractory period.

    ``violations * duration / (2 * spikes ** 2 * (refractory - censored))``: Hill, Mehta & Kleinfeld (2011) J Neurosci 31:8699, as
    ``isi_violations_ratio`` of spikeinterface and the Allen Institute. 0: none; .5: one contaminating spike for two; 1 and above:
    as many coincidences as two unrelated units would have. 0 without spikes.

    Parameters
    ----------
    times
        Sorted spike times ``(spike,)`` [s].
    duration
        Of the recording [s].
    refractory, censored
        Intervals below ``refractory`` [s] are violations; below ``censored`` [s] the sorter detects none.

    Examples
    --------
    >>> isi_violations(np.array([0.0, 0.001, 1.0, 2.0]), 3.0)
    62.5
    """
    if not len(times):
        return 0.0
    violations = int(np.count_nonzero(np.diff(times) < refractory))
    return violations * duration / (2 * len(times) ** 2 * (refractory - censored))


def find_twins(times: Sequence[Times], least_share: float = 0.5, tolerance: float = 0.0004) -> list[Twins]:
    """Return the pairs of units of which the one with fewer spikes shares at least ``least_share`` of them with the other.

    A spike is shared if the other unit has one within ``tolerance`` [s], the definition of ``find_redundant_units`` of
    spikeinterface. Unrelated units at ``r`` Hz share about ``2 * tolerance * r`` of their spikes.
    """
    units = len(times)
    spikes = np.concatenate([np.empty(0), *times])
    owner = np.repeat(np.arange(units), [len(train) for train in times])
    order = np.argsort(spikes, kind="stable")
    spikes, owner = spikes[order], owner[order]
    shared = _shared_spikes(spikes, owner, units, tolerance)
    sizes = np.array([len(train) for train in times])
    pairs = []
    for unit, partner in zip(*np.triu_indices(units, 1), strict=True):
        small, large = (unit, partner) if sizes[unit] <= sizes[partner] else (partner, unit)
        share = shared[small, large] / max(sizes[small], 1)
        if sizes[small] and share >= least_share:
            pairs.append(Twins(int(small), int(large), float(min(share, 1.0))))
    return pairs


def _shared_spikes(spikes: Times, owner: NDArray[np.intp], units: int, tolerance: float) -> NDArray[np.int64]:
    """Return for each ``(unit, other)`` the number of spikes of the unit near which the other unit has one.

    ``spikes (spike,)`` of all units are sorted, ``owner (spike,)`` is their unit.
    """
    near = []
    earlier = np.arange(len(spikes) - 1)
    lag = 1
    while earlier.size:
        earlier = earlier[spikes[earlier + lag] - spikes[earlier] <= tolerance]
        near += [earlier * units + owner[earlier + lag], (earlier + lag) * units + owner[earlier]]
        lag += 1
        earlier = earlier[earlier + lag < len(spikes)]
    # a spike counts once for each other unit, however many spikes of it are near
    cells = np.unique(np.concatenate([np.empty(0, dtype=np.intp), *near]))
    pairs = owner[cells // units] * units + cells % units
    return np.bincount(pairs, minlength=units * units).reshape(units, units)


def _twin_columns(
    times: Sequence[Times], ids: NDArray[Any], selected: NDArray[np.bool_], quality: QualityFilter
) -> dict[str, NDArray[Any]]:
    """Return for each unit the kept unit with more spikes that has most of its spikes (``''``: none), and their share."""
    rows = np.flatnonzero(selected).tolist()
    names, shares = ids.astype(str), np.zeros(len(ids))
    twin = np.full(len(ids), "", dtype=names.dtype)
    for pair in find_twins([times[row] for row in rows], quality.twin_share, quality.twin_tolerance):
        unit, partner = rows[pair.unit], rows[pair.partner]
        if pair.share > shares[unit]:
            twin[unit], shares[unit] = names[partner], pair.share
    return {"twin": twin, "twin_share": shares}
