"""Expected spike counts of test trials, estimated from training-side trials: mean rates, condition means, and readouts.

Counts and rates are ``(trial, window, output)``, output = bin * units + unit, as features are. Rates are counts a bin.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import xlogy
from sklearn.linear_model import RidgeCV

from neuromvm.analysis.generated.activity import flattened
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.errors import SchemaError

LARGEST_LOG_RATE, MOST_STEPS, TOLERANCE = 20.0, 50, 1e-6
RIDGE_PENALTIES = tuple(np.logspace(0, 5, 11))
PRIOR_TRIALS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # weights of the mean of all conditions in a condition mean


def counts_of(activity: xr.DataArray, animal: str) -> Floats:
    """Return spike counts ``(trial, window, output)``; raise SchemaError if the activity is no count of spikes."""
    kind = activity.attrs.get("kind", "spike_count")
    if kind != "spike_count":
        raise SchemaError(
            f"samples/{animal}",
            found=f"activity of kind {kind}",
            expected="spike_count: bits per spike are of spikes",
            next_step="Leave the analysis spikes out of an experiment on calcium imaging",
        )
    return flattened(activity.transpose("trial", "window", "bin", "unit"))


def mean_rates(counts: Floats, units: int) -> Floats:
    """Return the mean rate of each unit, repeated over bins: ``(output,)`` [counts a bin].

    Half a count in an additional sample keeps the rate of a unit that is silent on the training side above 0.

    Examples
    --------
    >>> import numpy as np
    >>> mean_rates(np.array([[[0.0, 3.0, 0.0, 4.0]], [[0.0, 2.0, 0.0, 4.0]]]), units=2).round(2).tolist()
    [0.1, 2.7, 0.1, 2.7]
    """
    flat = counts.reshape(-1, units)
    return np.tile((flat.sum(axis=0) + 0.5) / (len(flat) + 1), counts.shape[-1] // units)


def condition_means(training: Floats, condition: NDArray[np.integer], target: NDArray[np.integer], units: int) -> Floats:
    """Return for each target trial the mean counts of its condition over training-side trials: the peri-stimulus histogram.

    ``(target trial, window, output)`` from training-side counts ``(trial, window, output)`` and the conditions of training-side
    and target trials ``(trial,)``; above 0. The mean of few trials is noise; it is drawn towards the mean of all conditions, see
    :func:`shrunken_means`. That is also the mean of a condition without training-side trials.
    """
    prior = (training.sum(axis=0) + mean_rates(training, units)) / (len(training) + 1)
    return shrunken_means(training, condition, target, prior, lambda rates: float((rates - xlogy(training, rates)).sum()))


def shrunken_means(
    training: Floats,
    condition: NDArray[np.integer],
    target: NDArray[np.integer],
    prior: Floats,
    loss: Callable[[Floats], float],
) -> Floats:
    """Return means of conditions, as :func:`condition_means`, drawn towards ``prior (window, output)``.

    The weight of the prior, in trials, is that of :data:`PRIOR_TRIALS` under which each training-side trial is predicted best
    from the others; ``loss`` is that of expectations of all training-side trials ``(trial, window, output)``.
    """
    codes, index = np.unique(condition, return_inverse=True)
    sums = np.zeros((len(codes), *training.shape[1:]))
    np.add.at(sums, index, training)
    number = np.bincount(index, minlength=len(codes))[:, None, None].astype(float)
    weight = min(PRIOR_TRIALS, key=lambda trials: loss((sums[index] - training + trials * prior) / (number[index] - 1 + trials)))
    means = np.concatenate([(sums + weight * prior) / (number + weight), prior[None]])
    row = {int(code): position for position, code in enumerate(codes)}
    return np.asarray(means[[row.get(int(code), len(codes)) for code in target]])


def codes_of(known: NDArray[np.integer], unknown: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the rows of codes ``(trial, window)`` of two sets of trials, equal rows alike: ``(trial,)`` for each set."""
    number = np.unique(np.concatenate([known, unknown]), axis=0, return_inverse=True)[1].reshape(-1)
    return number[: len(known)], number[len(known) :]


class PoissonReadout:
    """A Poisson regression, log link and ridge penalty, of every output on the same features.

    The optimum is that of :class:`sklearn.linear_model.PoissonRegressor`; the hundreds of outputs of every animal, split and
    representation are fitted at once. Features ``(sample, feature)`` have about unit variance; half the penalty times the sum of
    squared weights is added to the mean loss. A log link extrapolates without bound: rates are kept between half a count in all
    training-side samples and the largest training-side count of the output. An output without spikes has the mean rate of its
    unit.
    """

    def __init__(self, features: Floats, counts: Floats, units: int, penalty: float) -> None:
        self._lowest, self._highest = _limits(counts)
        fires = counts.any(axis=0)
        self._weight = np.zeros((features.shape[1] + 1, counts.shape[1]))
        self._weight[-1] = np.log(mean_rates(counts[:, None], units))
        self._weight[:, fires] = _poisson_regressions(features, counts[:, fires], penalty)

    def __call__(self, features: Floats) -> Floats:
        """Return rates ``(..., output)`` of ``(..., feature)``."""
        log_rate = features @ self._weight[:-1] + self._weight[-1]
        return np.asarray(np.exp(np.clip(log_rate, np.log(self._lowest), np.log(self._highest))))


def _poisson_regressions(features: Floats, counts: Floats, penalty: float) -> Floats:
    """Return weights, the intercept last, ``(feature + 1, output)``: Newton's method, steps halved where they overshoot."""
    design = np.column_stack([features, np.ones(len(features))])
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    ridge = np.append(np.full(features.shape[1], penalty), 0.0)
    weight = np.zeros((design.shape[1], counts.shape[1]))
    weight[-1] = np.log(counts.mean(axis=0))

    def loss(trial: Floats) -> Floats:
        log_rate = np.minimum(design @ trial, LARGEST_LOG_RATE)
        return np.asarray((np.exp(log_rate) - counts * log_rate).mean(axis=0) + 0.5 * ridge @ trial**2)

    current = loss(weight)
    for _ in range(MOST_STEPS):
        rate = np.exp(np.minimum(design @ weight, LARGEST_LOG_RATE))
        gradient = design.T @ (rate - counts) / len(design) + ridge[:, None] * weight
        if np.abs(gradient).max(initial=0.0) < TOLERANCE:
            break
        curvature = (products.T @ rate).T.reshape(-1, len(ridge), len(ridge)) / len(design) + np.diag(ridge + 1e-10)
        step = np.linalg.solve(curvature, gradient.T[..., None])[..., 0].T
        size = np.ones(counts.shape[1])
        for _ in range(MOST_STEPS):
            after = loss(weight - size * step)
            worse = after > current + 1e-12
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        weight, current = np.where(after <= current + 1e-12, weight - size * step, weight), np.minimum(after, current)
    return weight


def fit_readout(
    features: Floats,
    counts: Floats,
    units: int,
    penalties: Sequence[float],
    condition: NDArray[np.integer] | None = None,
) -> PoissonReadout:
    """Fit a Poisson regression with the penalty under which either half of the training side predicts the other best.

    Features and counts are ``(trial, window, feature)`` and ``(trial, window, output)``; the halves are every other trial. With
    the condition of each trial, the mean counts of the other trials of its condition are fitted, see :func:`means_of_others`:
    latents that have seen the counts of a trial hold its deviation from the condition, and a readout fitted to these is
    overconfident.
    """

    def parts(trials: NDArray[np.intp]) -> tuple[Floats, Floats]:
        chosen = counts[trials] if condition is None else means_of_others(counts[trials], condition[trials])
        return features[trials].reshape(-1, features.shape[-1]), chosen.reshape(-1, counts.shape[-1])

    trials = np.arange(len(features))
    if len(penalties) == 1 or len(features) < 4:
        return PoissonReadout(*parts(trials), units, max(penalties))
    halves = parts(trials[::2]), parts(trials[1::2])

    def log_probability(penalty: float) -> float:
        total = 0.0
        for fitted, (test_features, test_counts) in (halves, halves[::-1]):
            rates = PoissonReadout(*fitted, units, penalty)(test_features)
            total += float((test_counts * np.log(rates) - rates).sum())
        return total

    return PoissonReadout(*parts(trials), units, max(penalties, key=log_probability))


def means_of_others(counts: Floats, condition: NDArray[np.integer]) -> Floats:
    """Return for each trial the mean counts of the other trials of its condition ``(trial, ...)``; of a single trial, its counts.

    Examples
    --------
    >>> import numpy as np
    >>> means_of_others(np.array([1.0, 3.0, 5.0, 7.0]), np.array([0, 0, 0, 1])).tolist()
    [4.0, 3.0, 2.0, 7.0]
    """
    codes, index, number = np.unique(condition, return_inverse=True, return_counts=True)
    sums = np.zeros((len(codes), *counts.shape[1:]))
    np.add.at(sums, index, counts)
    divisor = number[index].reshape(-1, *[1] * (counts.ndim - 1)) - 1
    return np.where(divisor > 0, (sums[index] - counts) / np.maximum(divisor, 1), counts)


class RidgeReadout:
    """A linear regression of every output on the same features; rates are cut off as in :class:`PoissonReadout`.

    Its ridge penalty is that of :data:`RIDGE_PENALTIES` which predicts each training-side sample best from the others. Counts
    ``(sample, output)`` may be means of matched samples.
    """

    def __init__(self, features: Floats, counts: Floats) -> None:
        self._lowest, self._highest = _limits(counts)
        self._model = RidgeCV(alphas=RIDGE_PENALTIES).fit(features, counts)

    def __call__(self, features: Floats) -> Floats:
        """Return rates ``(..., output)`` of ``(..., feature)``."""
        flat = self._model.predict(features.reshape(-1, features.shape[-1])).reshape(*features.shape[:-1], -1)
        return np.asarray(np.clip(flat, self._lowest, self._highest))


def log_likelihood(counts: Floats, rates: Floats) -> Floats:
    """Return the Poisson log-likelihood of every trial under the rates of every trial ``(trial, trial of rates)`` [nats].

    Without the logarithm of the factorial, which does not depend on the rates.
    """
    flat = rates.reshape(len(rates), -1)
    return np.asarray(counts.reshape(len(counts), -1) @ np.log(flat).T - flat.sum(axis=1))


def saturated(counts: Floats) -> Floats:
    """Return the log-likelihood of every trial under its own counts as rates ``(trial,)``, as :func:`log_likelihood` counts."""
    return np.asarray((xlogy(counts, counts) - counts).reshape(len(counts), -1).sum(axis=1))


def _limits(counts: Floats) -> tuple[Floats, Floats]:
    """Return the lowest and highest rate ``(output,)`` that a readout may predict."""
    return np.full(counts.shape[1], 0.5 / (len(counts) + 1)), np.maximum(counts.max(axis=0), 1.0)
