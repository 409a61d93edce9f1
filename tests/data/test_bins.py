"""Counting on a grid, against integer arithmetic and numpy's histogram."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromvm.data.bins import average_frames, count_spikes, times_in_windows

ticks = st.integers(-2_000, 100_000)


def counts_of_ticks(spikes, onsets, start, width, bins):
    """Return counts by arithmetic on whole numbers only."""
    counts = np.zeros((len(onsets), bins, 1), dtype=int)
    for trial, onset in enumerate(onsets):
        for spike in spikes:
            position = (spike - onset - start) // width
            if 0 <= position < bins:
                counts[trial, position, 0] += 1
    return counts


@settings(max_examples=150, deadline=None)
@given(
    spikes=st.lists(ticks, max_size=40),
    onsets=st.lists(ticks, min_size=1, max_size=5),
    start=st.integers(-500, 500),
    width=st.integers(1, 300),
    bins=st.integers(1, 30),
    rate=st.sampled_from([1_000, 30_000, 32_000]),
)
def test_spikes_on_edges_fall_where_whole_numbers_put_them(spikes, onsets, start, width, bins, rate):
    # windows overlap and trials are unsorted in most examples
    spikes = sorted(spikes)
    counts = count_spikes([np.array(spikes) / rate], np.array(onsets) / rate, start / rate, width / rate, bins)
    np.testing.assert_array_equal(counts, counts_of_ticks(spikes, onsets, start, width, bins))


def test_a_spike_on_every_bin_edge_of_a_long_recording():
    spikes = np.arange(0, 4_000_000, 10) / 1000  # over an hour, each on a bin edge
    onsets = np.arange(1.0, 3900.0, 37.0)
    assert (count_spikes([spikes], onsets, -0.5, 0.01, 100) == 1).all()


def test_clock_that_counts_from_1970():
    begin = 1_700_000_000
    spikes = begin + np.arange(0, 5_000, 10) / 1000
    assert (count_spikes([spikes], begin + np.array([1.0, 2.5]), -0.5, 0.01, 100) == 1).all()


def test_agrees_with_numpy_histogram():
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 20, size)) for size in (0, 1, 500, 3_000)]
    onsets = rng.uniform(0, 20, 12)
    counts = count_spikes(trains, onsets, -0.7, 0.05, 31)
    for unit, train in enumerate(trains):
        for trial, onset in enumerate(onsets):
            edges = onset - 0.7 + 0.05 * np.arange(32)
            np.testing.assert_array_equal(counts[trial, :, unit], np.histogram(train[train < edges[-1]], edges)[0])


@pytest.mark.parametrize(("spikes", "dtype"), [(255, np.uint8), (256, np.uint16), (70_000, np.uint32)])
def test_counts_widen_instead_of_wrapping(spikes, dtype):
    few, many = np.array([0.5]), np.full(spikes, 0.5)
    counts = count_spikes([few, many, few], np.array([0.0]), 0.0, 1.0, 1)
    assert counts.dtype == dtype
    assert counts.ravel().tolist() == [1, spikes, 1]


def test_nothing_to_count():
    assert count_spikes([np.empty(0)], np.array([1.0]), 0.0, 0.1, 3).sum() == 0
    assert count_spikes([np.array([1.0])], np.empty(0), 0.0, 0.1, 3).shape == (0, 3, 1)
    assert count_spikes([], np.array([1.0]), 0.0, 0.1, 3).shape == (1, 3, 0)


def test_average_of_frames_is_the_mean_and_empty_bins_are_nan():
    rng = np.random.default_rng(1)
    frames = rng.normal(size=(50, 3))
    times = np.sort(rng.uniform(0, 10, 50))
    onsets = np.array([4.0, 1.0, 3.5])
    means = average_frames(frames, *times_in_windows(times, onsets, -0.5, 0.4, 5), (3, 5))
    empty = 0
    for trial, onset in enumerate(onsets):
        for position in range(5):
            low = onset - 0.5 + 0.4 * position
            inside = frames[(times >= low) & (times < low + 0.4)]
            empty += not len(inside)
            expected = inside.mean(axis=0) if len(inside) else np.full(3, np.nan)
            np.testing.assert_allclose(means[trial, position], expected, rtol=1e-5)
    assert empty  # the example has empty bins
