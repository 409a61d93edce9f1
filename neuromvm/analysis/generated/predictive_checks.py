"""Do models of counts fire like the animals? Mean rates, Fano factors and mean responses of draws, against test trials.

References
----------
Gelman, A., Meng, X.-L. & Stern, H. (1996). Posterior predictive assessment of model fitness. *Stat. Sinica* 6, 733-807.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.generated.activity import flattened, scored_rows
from neuromvm.analysis.generated.rates import counts_of
from neuromvm.analysis.judged import ALL_ANIMALS
from neuromvm.analysis.readouts.representations import Floats, held_out, training_side
from neuromvm.analysis.scores import Absent, Counts, Difference, Interval, Score
from neuromvm.analysis.statistics.over_trials import interval, mean_of_scored

MEAN_RATE, FANO_FACTOR, CORRELATION = "mean rate", "fano factor", "correlation of mean responses"
QUANTITIES = (MEAN_RATE, FANO_FACTOR, CORRELATION)
RECORDED, MODEL = "recorded", "model"
DRAWS = 1000


def check(samples: xr.DataTree, splits: xr.DataTree, transferred: Mapping[str, xr.DataTree]) -> xr.Dataset:
    """Compare draws of every decoder of counts, from the animal's own latents, with its test trials.

    Returns ``check (checked, quantity, activity, unit)`` for each model, means over splits, of the units of all animals
    (``of_animal``); ``transferred`` is of :func:`neuromvm.inference.transfer.transfer`. ``activity`` is ``recorded`` or
    ``model``; quantities are the ``mean rate`` [counts a bin], the ``fano factor`` of the counts of a window within labels, and
    the ``correlation of mean responses`` to labels (by window and bin) in test trials with those of training-side trials
    (``recorded``) or those that the model expects (``model``). NaN where a unit does not vary. Models without draws of counts are
    left out.
    """
    drawn = {name: [animal for animal in tree.children if "drawn" in tree[animal][animal]] for name, tree in transferred.items()}
    checks = {name: _check_model(samples, splits, transferred[name], animals) for name, animals in drawn.items() if animals}
    if not checks:
        return xr.Dataset()
    return xr.concat(list(checks.values()), dim="checked", join="outer").assign_coords(checked=list(checks))


def _check_model(samples: xr.DataTree, splits: xr.DataTree, tree: xr.DataTree, animals: list[str]) -> xr.Dataset:
    of_animals = []
    for animal in animals:
        of_splits = [_check_split(samples, splits, tree, animal, split) for split in range(splits[animal].sizes["split"])]
        of_animals.append(mean_of_scored(np.stack([checks for checks in of_splits if checks is not None]), axis=0))
    of_animal = np.repeat(animals, [checks.shape[-1] for checks in of_animals])
    return xr.Dataset(
        {"check": (("quantity", "activity", "unit"), np.concatenate(of_animals, axis=-1))},
        {"quantity": list(QUANTITIES), "activity": [RECORDED, MODEL], "of_animal": ("unit", of_animal)},
    )


def _check_split(samples: xr.DataTree, splits: xr.DataTree, tree: xr.DataTree, animal: str, split: int) -> Floats | None:
    """Return ``(quantity, activity, unit)`` of one animal; None where the model was not trained on the split."""
    rows = scored_rows(tree, samples, splits, animal, split)
    if rows is None:
        return None
    node, generated = samples[animal].to_dataset(), tree[animal][animal].to_dataset()
    counts, units, labels = counts_of(node["activity"], animal), node.sizes["unit"], node["label"].to_numpy()
    tested, training = held_out(splits, split, animal), training_side(splits, split, animal)
    expected, drawn = (flattened(generated[key].isel(row=rows)) for key in ("activity", "drawn"))
    test_counts, test_labels = counts[tested], labels[tested]
    classes = np.unique(test_labels)
    responses = _responses(test_counts, test_labels, classes, units)
    references = (
        _responses(counts[training], labels[training], classes, units),
        _responses(expected, test_labels, classes, units),
    )
    return np.stack(
        [
            np.stack([values.reshape(-1, units).mean(axis=0) for values in (test_counts, drawn)]),
            np.stack([fano_factors(values, test_labels, units) for values in (test_counts, drawn)]),
            np.stack([_correlation(responses, reference) for reference in references]),
        ]
    )


def fano_factors(counts: Floats, labels: NDArray[np.integer], units: int) -> Floats:
    """Return variance over mean of a window's counts, within labels and pooled over them: ``(unit,)``, 1 for Poisson counts.

    ``counts`` are ``(trial, window, output)``, bin-major, ``labels (trial, window)``.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(3.0, size=(4000, 1, 1))
    >>> fano_factors(counts, np.zeros((4000, 1), int), units=1).round(1).tolist()
    [1.0]
    """
    by_window = counts.reshape(*counts.shape[:2], -1, units).sum(axis=2)
    squares, free, total, number = np.zeros(units), 0, np.zeros(units), 0
    for window in range(by_window.shape[1]):
        for label in np.unique(labels[:, window]):
            of_label = by_window[labels[:, window] == label, window]
            if len(of_label) > 1:
                squares += np.square(of_label - of_label.mean(axis=0)).sum(axis=0)
                free += len(of_label) - 1
                total += of_label.sum(axis=0)
                number += len(of_label)
    fired = total > 0
    return np.where(fired, (squares / max(free, 1)) / np.where(fired, total / max(number, 1), 1), np.nan)


def _responses(counts: Floats, labels: NDArray[np.integer], classes: NDArray[np.integer], units: int) -> Floats:
    """Return mean counts ``(label and window, bin, unit)``, NaN where a label does not occur in a window."""
    by_unit = counts.reshape(*counts.shape[:2], -1, units)
    responses = []
    for window in range(by_unit.shape[1]):
        for label in classes:
            of_label = by_unit[labels[:, window] == label, window]
            responses.append(of_label.mean(axis=0) if len(of_label) else np.full(by_unit.shape[2:], np.nan))
    return np.stack(responses)


def _correlation(responses: Floats, reference: Floats) -> Floats:
    """Return Pearson's correlation of mean responses ``(unit,)``, NaN where a unit does not vary."""
    x, y = (values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (responses, reference))
    exist = np.isfinite(x[:, 0]) & np.isfinite(y[:, 0])
    if exist.sum() < 3:
        return np.full(x.shape[1], np.nan)
    x, y = (values[exist] - values[exist].mean(axis=0) for values in (x, y))
    size = np.sqrt(np.square(x).sum(axis=0) * np.square(y).sum(axis=0))
    return np.where(size > 1e-12, (x * y).sum(axis=0) / np.maximum(size, 1e-12), np.nan)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each model of counts and quantity; the median over an animal's units, averaged over animals."""
    if "checked" not in scores.dims:
        return []
    trials, animals = int(scores["trials"].sel(target=ALL_ANIMALS)), scores["of_animal"].to_numpy()
    lines = []
    for model, quantity in product(scores["checked"].values, QUANTITIES):
        checks = scores["check"].sel(checked=model, quantity=quantity)
        recorded, generated = (checks.sel(activity=activity).to_numpy() for activity in (RECORDED, MODEL))
        is_ratio = quantity != CORRELATION
        values = generated / np.where(recorded > 0, recorded, np.nan) if is_ratio else generated
        value, bounds, count = _over_units(values[:, None], animals)
        difference: Difference | Absent = Absent("the data are what it is a ratio to")
        if not is_ratio:
            gap = _over_units(np.stack([generated, recorded], axis=1), animals)[:2]
            difference = Difference("training-side mean responses", *gap)
        lines.append(
            Score(
                what=f"{quantity} of model over data" if is_ratio else quantity,
                representation=str(model),
                setting="own",
                value=value,
                n=Counts(count, trials, int(scores.attrs["windows"]), int(scores.attrs["splits"])),
                interval=bounds,
                resampled=f"95 % over {DRAWS} bootstrap draws of the units of each animal",
                null=Absent("a check of draws from latents that have seen the spikes, best at 1"),
                chance=Absent("a ratio to the data") if is_ratio else 0.0,
                difference=difference,
                in_sample=True,
            )
        )
    return lines


def _over_units(values: Floats, animals: NDArray[np.str_]) -> tuple[float, Interval, int]:
    """Return the mean over animals of the median over units, its bootstrap interval over units, and the number of animals.

    Of two columns ``(unit, column)``, the difference between their medians, over the units that have both.
    """
    random = np.random.default_rng(0)
    medians, draws = [], []
    for animal in dict.fromkeys(animals.tolist()):
        of_animal = values[(animals == animal) & np.isfinite(values).all(axis=1)]
        if len(of_animal):
            drawn = of_animal[random.integers(len(of_animal), size=(DRAWS, len(of_animal)))]
            medians.append(np.subtract.reduce(np.median(of_animal, axis=0)))
            draws.append(np.subtract.reduce(np.median(drawn, axis=1), axis=-1))
    if not medians:
        return np.nan, Interval(np.nan, np.nan), 0
    low, high = interval(np.mean(draws, axis=0))
    return float(np.mean(medians)), Interval(float(low), float(high)), len(medians)
