"""Pairs match conditions, lose no sample, and differ between draws only where they should."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromvm.data.pairing import PublishedPairing, RedrawnPairing

animals = st.lists(st.lists(st.integers(-1, 3), min_size=1, max_size=25).map(np.array), min_size=1, max_size=4)


@given(codes=animals, seed=st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_redrawn_pairs_match_and_use_every_sample(codes, seed):
    pairing = RedrawnPairing(codes)
    pairs = pairing.draw(np.random.default_rng(seed))
    assert pairs.shape == (pairing.rows, len(codes))
    conditions = [{int(codes[a][s]) for a, s in enumerate(row) if s >= 0} for row in pairs]
    assert all(len(one) == 1 for one in conditions)
    for animal, code in enumerate(codes):
        used, times = np.unique(pairs[:, animal][pairs[:, animal] >= 0], return_counts=True)
        assert set(used.tolist()) == set(np.flatnonzero(code >= 0).tolist())
        for condition in set(code[code >= 0].tolist()):
            counts = times[code[used] == condition]
            assert counts.max() - counts.min() <= 1  # samples return equally often
    longest = [max((code == one).sum() for code in codes) for one in range(4)]
    assert pairing.rows == sum(longest)


def test_redrawn_pairs_differ_between_draws_and_repeat_with_the_seed():
    codes = [np.resize([0, 1], 40), np.resize([0, 1], 40)]
    pairing = RedrawnPairing(codes)
    one, same, other = (pairing.draw(np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert {tuple(row) for row in one} != {tuple(row) for row in other}


def test_partners_are_drawn_evenly():
    pairing = RedrawnPairing([np.zeros(4, int), np.zeros(4, int)])
    draws = np.concatenate([pairing.draw(np.random.default_rng(seed)) for seed in range(2000)])
    counts = np.histogram2d(draws[:, 0], draws[:, 1], bins=4)[0]
    expected = len(draws) / 16
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_published_pairs_are_the_ith_trials_cut_to_the_smallest_animal():
    codes = [np.array([0, 1, 0, 0, 2]), np.array([1, 0, 0, 1])]
    pairs = PublishedPairing(codes).draw(np.random.default_rng(0))
    assert sorted(map(tuple, pairs.tolist())) == [(0, 1), (1, 0), (2, 2)]
