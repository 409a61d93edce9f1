"""Do models of counts fire like the animals? Mean rates, Fano factors and mean responses of draws, against test trials.

References
----------
Gelman, A., Meng, X.-L. & Stern, H. (1996). Posterior predictive assessment of model fitness. *Stat. Sinica* 6, 733-807.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.flat_score import Score
from neuromvm.analysis.generated.activity import flattened, scored_rows
from neuromvm.analysis.generated.rates import counts_of
from neuromvm.analysis.readouts.representations import Floats, held_out, training_side
from neuromvm.analysis.statistics.over_trials import interval, mean_of_scored

QUANTITIES = ("mean_rate", "fano_factor")
DRAWS = 1000


def check(samples: xr.DataTree, splits: xr.DataTree, transferred: Mapping[str, xr.DataTree]) -> xr.Dataset:
    """Compare draws of every decoder of counts, from the animal's own latents, with its test trials.

    Parameters
    ----------
    samples, splits
        Recorded counts, and the training side.
    transferred
        Model -> tree of :func:`neuromvm.inference.transfer.transfer`; those without draws of counts are left out.

    Returns
    -------
    Over the units of all animals, means over splits: ``mean_rate_data, fano_factor_data (checked, unit)`` [counts a bin; none],
    the same with ``_model``; ``response_correlation (checked, unit)``, between mean responses to labels (by window and bin) in
    test trials and those expected by the model, and ``response_ceiling (checked, unit)``, between test and training-side trials.
    Fano factors are of counts of a window, variance over mean within labels. NaN where a unit does not vary. Without a model of
    counts the dataset is empty.
    """
    found = {name: _check_model(samples, splits, tree) for name, tree in transferred.items() if _draws(tree)}
    if not found:
        return xr.Dataset()
    return xr.concat(list(found.values()), dim="checked", join="outer").assign_coords(checked=list(found))


def _draws(tree: xr.DataTree) -> bool:
    return any("drawn" in tree[name][name] for name in tree.children)


def _check_model(samples: xr.DataTree, splits: xr.DataTree, tree: xr.DataTree) -> xr.Dataset:
    parts = []
    for name in (one for one in tree.children if "drawn" in tree[one][one]):
        node, made = samples[name].to_dataset(), tree[name][name].to_dataset()
        counts, units = counts_of(node["activity"], name), node.sizes["unit"]
        labels, count = node["label"].to_numpy(), splits[name].sizes["split"]
        each = []
        for number in range(count):
            rows = scored_rows(tree, samples, splits, name, number)
            if rows is None:
                continue
            tested, training = held_out(splits, number, name), training_side(splits, number, name)
            expected, drawn = (flattened(made[key].isel(row=rows)) for key in ("activity", "drawn"))
            known = np.unique(labels[tested])
            data, model, ceiling = (
                _responses(values, of, known, units)
                for values, of in (
                    (counts[tested], labels[tested]),
                    (expected, labels[tested]),
                    (counts[training], labels[training]),
                )
            )
            each.append(
                np.stack(
                    [
                        counts[tested].reshape(-1, units).mean(axis=0),
                        drawn.reshape(-1, units).mean(axis=0),
                        fano_factors(counts[tested], labels[tested], units),
                        fano_factors(drawn, labels[tested], units),
                        _correlation(data, model),
                        _correlation(data, ceiling),
                    ]
                )
            )
        means = mean_of_scored(np.stack(each), axis=0)
        keys = [f"{one}_{side}" for one in QUANTITIES for side in ("data", "model")] + [
            "response_correlation",
            "response_ceiling",
        ]
        parts.append(
            xr.Dataset(
                {key: ("unit", one) for key, one in zip(keys, means, strict=True)}, coords={"of_animal": ("unit", [name] * units)}
            )
        )
    return xr.concat(parts, dim="unit")


def fano_factors(counts: Floats, labels: NDArray[np.integer], units: int) -> Floats:
    """Return variance over mean of a window's counts, within labels and pooled over them: ``(unit,)``, 1 for Poisson counts.

    Parameters
    ----------
    counts
        ``(trial, window, output)``, bin-major.
    labels
        ``(trial, window)``.
    units
        Number of units.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(3.0, size=(4000, 1, 1))
    >>> fano_factors(counts, np.zeros((4000, 1), int), units=1).round(1).tolist()
    [1.0]
    """
    whole = counts.reshape(*counts.shape[:2], -1, units).sum(axis=2)
    squares, free, total, number = np.zeros(units), 0, np.zeros(units), 0
    for window in range(whole.shape[1]):
        for label in np.unique(labels[:, window]):
            some = whole[labels[:, window] == label, window]
            if len(some) > 1:
                squares += np.square(some - some.mean(axis=0)).sum(axis=0)
                free += len(some) - 1
                total += some.sum(axis=0)
                number += len(some)
    fired = total > 0
    return np.where(fired, (squares / max(free, 1)) / np.where(fired, total / max(number, 1), 1), np.nan)


def _responses(counts: Floats, labels: NDArray[np.integer], known: Sequence[int] | NDArray[np.integer], units: int) -> Floats:
    """Return mean counts ``(label and window, bin, unit)``, NaN where a label does not occur in a window."""
    by_unit = counts.reshape(*counts.shape[:2], -1, units)
    found = []
    for window in range(by_unit.shape[1]):
        for label in known:
            some = by_unit[labels[:, window] == label, window]
            found.append(some.mean(axis=0) if len(some) else np.full(by_unit.shape[2:], np.nan))
    return np.stack(found)


def _correlation(one: Floats, other: Floats) -> Floats:
    """Return Pearson's correlation of mean responses ``(unit,)``, NaN where one does not vary."""
    first, second = (values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (one, other))
    both = np.isfinite(first[:, 0]) & np.isfinite(second[:, 0])
    if both.sum() < 3:
        return np.full(first.shape[1], np.nan)
    first, second = (values[both] - values[both].mean(axis=0) for values in (first, second))
    size = np.sqrt(np.square(first).sum(axis=0) * np.square(second).sum(axis=0))
    return np.where(size > 1e-12, (first * second).sum(axis=0) / np.maximum(size, 1e-12), np.nan)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each model of counts and check; the median over an animal's units, averaged over animals."""
    if "checked" not in scores.dims:
        return []
    lines = []
    for model in scores["checked"].values:
        one = scores.sel(checked=model)
        ratios = {
            f"{name.replace('_', ' ')} of model over data": one[f"{name}_model"]
            / one[f"{name}_data"].where(one[f"{name}_data"] > 0)
            for name in QUANTITIES
        }
        for what, values in {**ratios, "correlation of mean responses": one["response_correlation"]}.items():
            of_animal = scores["of_animal"].values
            value, low, high, animals = _over_units(values, of_animal)
            if values.name == "response_correlation":
                gap, gap_low, gap_high, _ = _over_units(values, of_animal, one["response_ceiling"])
                about: dict[str, Any] = {
                    "chance": 0.0,
                    "baseline": "training-side mean responses",
                    "difference": gap,
                    "difference_low": gap_low,
                    "difference_high": gap_high,
                }
            else:
                about = {"chance_kind": "none: a ratio to the data", "baseline": "none: the data are what it is a ratio to"}
            lines.append(
                Score(
                    what=what,
                    representation=str(model),
                    setting="own",
                    value=value,
                    low=low,
                    high=high,
                    interval=f"95 % over {DRAWS} bootstrap draws of the units of each animal",
                    null_kind="none: a check of draws from latents that have seen the spikes, best at 1",
                    **about,
                    n_animals=animals,
                    n_trials=int(scores["trials"].sum()),
                    n_windows=int(scores.attrs["windows"]),
                    n_splits=int(scores.attrs["splits"]),
                    in_sample=True,
                )
            )
    return lines


def _over_units(
    values: xr.DataArray, animals: NDArray[np.generic], reference: xr.DataArray | None = None
) -> tuple[float, float, float, int]:
    """Return the mean over animals of the median over units, its bootstrap interval over units, and the number of animals.

    With a reference, of the difference between both medians, over the units that have both.
    """
    columns = np.stack([one.to_numpy() for one in (values, reference) if one is not None], axis=-1)
    random = np.random.default_rng(0)
    medians: list[Floats] = []
    draws: list[Floats] = []
    for name in dict.fromkeys(animals.tolist()):
        own = columns[animals == name]
        own = own[np.isfinite(own).all(axis=1)]
        if len(own):
            drawn = own[random.integers(len(own), size=(DRAWS, len(own)))]
            for kept, median in ((medians, np.median(own, axis=0)), (draws, np.median(drawn, axis=1))):
                kept.append(median[..., 0] - (median[..., 1] if reference is not None else 0))
    if not medians:
        return np.nan, np.nan, np.nan, 0
    low, high = interval(np.mean(draws, axis=0))
    return float(np.mean(medians)), float(low), float(high), len(medians)
