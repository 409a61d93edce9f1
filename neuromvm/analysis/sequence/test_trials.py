"""Test trials as each replica of a representation has them, and the draws of their distances."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.distances import Products, distances, nearness, parted_slopes
from neuromvm.analysis.sequence.inputs import View
from neuromvm.analysis.sequence.means import Draws, shuffled_within
from neuromvm.analysis.sequence.trials import SequenceTrials, WindowOptions
from neuromvm.data.permutation import draw_permutation
from neuromvm.schema import is_scored

Codes = NDArray[np.intp]
ATTEMPTS = 20


class Rows(NamedTuple):
    """Test trials of one animal as each replica has them; a trial occurs once for each replica that tests it."""

    values: Floats  # (row, feature)
    trial: Codes  # (row,) number among the animal's trials
    replica: Codes  # (row,)

    @classmethod
    def of(cls, view: View, trials: NDArray[np.bool_]) -> "Rows":
        """Collect the scored ones among some trials."""
        replica, trial = np.nonzero(is_scored(view.parts) & trials)
        values = np.broadcast_to(view.values, (len(view.parts), *view.values.shape[-2:]))
        return cls(values[replica, trial], trial, replica)

    def times(self, other: "Rows", run: Codes) -> Products:
        """Multiply rows of the same replica and of different runs; ``run (trial,)``."""
        counted = (self.replica[:, None] == other.replica) & (run[self.trial][:, None] != run[other.trial])
        return Products.of(self.values, other.values, counted)


def runs_drawn(run: Codes, used: NDArray[np.bool_], draws: int, random: np.random.Generator) -> Floats:
    """Draw one run less than there are, with replacement; return how often each trial counts, ``(draw, trial)``."""
    runs = np.unique(run[used])
    times = random.multinomial(max(1, len(runs) - 1), np.full(len(runs), 1 / len(runs)), size=draws)
    weight = np.zeros((draws, len(run)))
    weight[:, used] = times[:, np.searchsorted(runs, run[used])]
    return weight


def relabelled_distances(
    products: Products,
    rows: Rows,
    odor: Codes,
    used: NDArray[np.bool_],
    dataset: xr.Dataset,
    name: str,
    odors: int,
    options: WindowOptions,
) -> Floats:
    """Return distances ``(permutation, odor, odor)`` of odors permuted among trials; a trial has one odor in all its rows."""
    chosen, found = dataset.isel(trial=used), []
    for permutation in range(1, options.permutations + 1):
        relabelled = odor.copy()
        relabelled[used] = odor[used][draw_permutation(name, chosen, permutation).trial]
        found.append(distances(products, relabelled[rows.trial], odors)[0])
    return np.stack(found)


def parted_draws(
    rows: Rows, out: Rows, trials: SequenceTrials, weight: Floats, odors: int, options: WindowOptions, random: np.random.Generator
) -> Draws:
    """Return the two slopes of out-of-sequence trials, on drawn trials, and with each label exchanged within the other."""
    products = out.times(rows, trials.run)
    codes = trials.odor[rows.trial]
    near = nearness(products, codes, odors)[0]

    def slopes(odor: Codes, position: Codes, nearness: Floats = near, counts: Floats | None = None) -> Floats:
        return parted_slopes(nearness, odor[out.trial], position[out.trial], counts)

    members = np.unique(out.trial)
    resampled = []
    for near_drawn in nearness(products, codes, odors, weight[:, rows.trial]):
        for _ in range(ATTEMPTS):  # few of the trials alone may not part the lags: then others are drawn
            times = np.bincount(random.choice(members, len(members) - 1), minlength=len(trials.odor)).astype(np.float64)
            found = slopes(trials.odor, trials.position, near_drawn, times[out.trial])
            if np.isfinite(found).all():
                break
        resampled.append(found)
    null = np.empty((options.permutations, 2))
    for one in null:
        for place, (moved, held) in enumerate(((trials.odor, trials.position), (trials.position, trials.odor))):
            exchanged = moved.copy()
            exchanged[members] = moved[members][shuffled_within(held[members], random)]
            labels = (exchanged, held) if place == 0 else (held, exchanged)
            one[place] = slopes(*labels)[place]
    return Draws(slopes(trials.odor, trials.position), np.array(resampled), null)
