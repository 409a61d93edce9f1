import numpy as np
import pytest

from neuromvm.analysis.decoding.choice import choose


def noisy(true, noise, seed=0):
    """Return accuracies of candidates ``(candidate,)``, other ones in each division, and the record of what was asked for."""
    asked = []

    def scored(number, wanted):
        asked.append(wanted.copy())
        rng = np.random.default_rng([seed, number])
        scores = true[:, None] + noise * rng.standard_normal(wanted.shape)
        return np.where(wanted, scores, np.nan)

    return scored, asked


def test_a_choice_that_does_not_change_needs_three_divisions():
    scored, asked = noisy(np.array([0.2, 0.6, 0.4]), 0)
    found = choose(scored, 3, 2, 10)
    assert found.candidate.tolist() == [1, 1]
    assert found.repeats.tolist() == [3, 3]
    assert found.share.tolist() == [1, 1]
    assert len(asked) == 3


def test_folds_are_drawn_again_where_the_choice_changes_and_no_more_where_it_is_settled():
    best = {0: (0, 0), 1: (0, 1), 2: (0, 1), 3: (0, 1), 4: (0, 1)}  # of each split
    asked = []

    def scored(number, wanted):
        asked.append(wanted.any(axis=0).tolist())
        scores = np.zeros((2, 2))
        scores[best[number], [0, 1]] = 0.1 + number  # later divisions outweigh earlier ones
        return scores

    found = choose(scored, 2, 2, 5)
    assert found.candidate.tolist() == [0, 1]
    assert found.repeats.tolist() == [3, 4]
    np.testing.assert_allclose(found.share, [1, 3 / 4])
    assert asked == [[True, True]] * 3 + [[False, True]]


def test_the_first_of_equals_is_chosen():
    scored, _ = noisy(np.array([0.2, 0.5, 0.5]), 0)
    assert choose(scored, 3, 1, 10).candidate.tolist() == [1]


def test_candidates_without_a_score_are_never_chosen():
    scored, _ = noisy(np.array([np.nan, 0.1, np.nan]), 0)
    assert choose(scored, 3, 1, 10).candidate.tolist() == [1]
    nothing, _ = noisy(np.full(3, np.nan), 0)
    assert choose(nothing, 3, 2, 10).repeats.tolist() == [0, 0]


def test_no_more_divisions_than_asked_for_and_only_the_better_candidates_after_the_first():
    scored, asked = noisy(np.zeros(40), 1)
    found = choose(scored, 40, 5, 4)
    assert (found.repeats <= 4).all()
    assert asked[0].all()
    assert all((wanted.sum(axis=0) <= 10).all() for wanted in asked[1:])


@pytest.mark.parametrize("most", [1, 10])
def test_repeats_choose_better_than_one_division(most):
    true = np.linspace(0.3, 0.4, 12)
    chosen = np.concatenate([choose(noisy(true, 0.04, seed)[0], 12, 50, most).candidate for seed in range(4)])
    assert true[chosen].mean() < 0.381 if most == 1 else true[chosen].mean() > 0.386
