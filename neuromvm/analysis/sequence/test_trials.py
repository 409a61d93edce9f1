"""Test trials of each replica of a representation, and the draws of their distances."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.decoder import trial_orders
from neuromvm.analysis.sequence.distances import Products, distances, nearness, parted_slopes
from neuromvm.analysis.sequence.inputs import Inputs
from neuromvm.analysis.sequence.means import Draws, shuffled_within
from neuromvm.analysis.sequence.trials import Codes, Mask, SequenceTrials
from neuromvm.schema import is_scored

ATTEMPTS = 20  # draws of out-of-sequence trials until their odor lags and position lags differ


class ScoredTrials(NamedTuple):
    """Test trials of one animal; a trial has a row for each replica that tests it."""

    values: Floats  # (row, feature)
    trial: Codes  # (row,) number among the animal's trials
    replica: Codes  # (row,)

    @classmethod
    def of(cls, inputs: Inputs, trials: Mask) -> "ScoredTrials":
        """Return the scored trials of a selection ``(trial,)``."""
        replica, trial = np.nonzero(is_scored(inputs.parts) & trials)
        values = np.broadcast_to(inputs.values, (len(inputs.parts), *inputs.values.shape[-2:]))
        return cls(values[replica, trial], trial, replica)

    def times(self, columns: "ScoredTrials", run: Codes) -> Products:
        """Return products of trials of the same replica and of different runs; ``run (trial,)``."""
        counted = (self.replica[:, None] == columns.replica) & (run[self.trial][:, None] != run[columns.trial])
        return Products.of(self.values, columns.values, counted)


def runs_drawn(run: Codes, used: Mask, draws: int, random: np.random.Generator) -> Floats:
    """Draw n - 1 of the n runs with replacement; return how often each trial counts, ``(draw, trial)``."""
    runs = np.unique(run[used])
    times = random.multinomial(max(1, len(runs) - 1), np.full(len(runs), 1 / len(runs)), size=draws)
    weight = np.zeros((draws, len(run)))
    weight[:, used] = times[:, np.searchsorted(runs, run[used])]
    return weight


def relabelled_distances(
    products: Products, rows: ScoredTrials, odor: Codes, name: str, dataset: xr.Dataset, odors: int, permutations: int
) -> Floats:
    """Return distances ``(permutation, odor, odor)``, odors being permuted among trials; all rows of a trial have one odor."""
    used = np.unique(rows.trial)
    permuted = []
    for order in list(trial_orders(name, dataset.isel(trial=used), permutations))[1:]:
        relabelled = odor.copy()
        relabelled[used] = odor[used][order]
        permuted.append(distances(products, relabelled[rows.trial], odors)[0])
    return np.stack(permuted)


def parted_draws(
    reference: ScoredTrials,
    out: ScoredTrials,
    trials: SequenceTrials,
    weight: Floats,
    odors: int,
    permutations: int,
    random: np.random.Generator,
) -> Draws:
    """Return the slopes of out-of-sequence trials on odor lag and position lag, with draws.

    ``reference`` has in-sequence trials, ``weight (draw, trial)`` says how often each counts. Out-of-sequence trials are
    resampled too. In null draws, odors are exchanged within position (first slope) and positions within odor (second slope).
    """
    products = out.times(reference, trials.run)
    codes = trials.odor[reference.trial]
    near = nearness(products, codes, odors)[0]

    def slopes(odor: Codes, position: Codes, near: Floats = near, counts: Floats | None = None) -> Floats:
        return parted_slopes(near, odor[out.trial], position[out.trial], counts)

    members = np.unique(out.trial)
    resampled = []
    for near_drawn in nearness(products, codes, odors, weight[:, reference.trial]):
        for _ in range(ATTEMPTS):
            times = np.bincount(random.choice(members, len(members) - 1), minlength=len(trials.odor)).astype(np.float64)
            drawn = slopes(trials.odor, trials.position, near_drawn, times[out.trial])
            if np.isfinite(drawn).all():
                break
        resampled.append(drawn)
    null = np.empty((permutations, 2))
    for draw in range(permutations):
        for index, label in enumerate(("odor", "position")):
            labels = {"odor": trials.odor.copy(), "position": trials.position.copy()}
            held = labels["position" if label == "odor" else "odor"]
            labels[label][members] = labels[label][members][shuffled_within(held[members], random)]
            null[draw, index] = slopes(labels["odor"], labels["position"])[index]
    return Draws(slopes(trials.odor, trials.position), np.array(resampled), null)
