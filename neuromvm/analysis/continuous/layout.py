"""Scores of all representations and decoders in the layout of :mod:`neuromvm.analysis.judged`."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.analysis import judged
from neuromvm.analysis.continuous.labels import WINDOW
from neuromvm.analysis.continuous.measures import ERRORS, MEASURES
from neuromvm.analysis.continuous.options import Options
from neuromvm.analysis.continuous.prediction import WITHIN
from neuromvm.analysis.continuous.prepared import Prepared
from neuromvm.analysis.continuous.rows import Cell
from neuromvm.analysis.judged import ALL_ANIMALS, LABELS
from neuromvm.analysis.readouts.decoders import OTHERS
from neuromvm.analysis.statistics import hierarchy
from neuromvm.analysis.statistics.over_trials import Floats, under_null
from neuromvm.schema import in_sample

Names = tuple[list[str], list[str], list[str]]  # of representations, decoders and settings
Cells = Mapping[tuple[str, str, str], Mapping[str, Cell]]  # (representation, decoder, setting) -> target -> scores
SHIFTS = {
    "session": "circular shifts of the label along the session of each animal",
    "trial": "circular shifts of the label within each trial",
}
RENAMED = "exchanges of the label's values in each animal, which keep neighbours and turn or reverse their order"
DIMS = ("representation", "decoder", "setting", "measure", "target")
GAINED = f"{OTHERS} - {WITHIN}"
COMPARED = "two decoders of the same trials are compared: the interval says whether they differ"
FITTED = "trials that were scored were fitted on"


def dataset_of(cells: Cells, prepared: Prepared, options: Options, omitted: list[str]) -> xr.Dataset:
    """Return the scores of all cells in the layout of :mod:`neuromvm.analysis.judged`."""
    names = representations, decoders, settings = _names(cells)
    animals, draws = list(prepared.samples.children), prepared.draws
    value, bootstrap, null, chance = (
        _with_gain(_stacked(cells, names, field, prepared, options), settings)
        for field in ("value", "bootstrap", "null", "chance")
    )
    gained = [setting.replace(OTHERS, GAINED) for setting in settings if setting.startswith(OTHERS)]
    absent = "" if draws else FITTED if in_sample(prepared.splits) else "no shifts were asked for"
    absent_of = [absent] * len(settings) + [COMPARED] * len(gained)
    rows, tested = len(representations), _tested_trials(cells, animals)
    subjects, seed = schema.subjects(prepared.samples), options.seed
    differences = [_judged(value - value[[row]], bootstrap - bootstrap[:, [row]], subjects, seed) for row in range(rows)]
    variables = {
        "score": ((*DIMS, "unit_of_inference", "statistic"), _judged(value, bootstrap, subjects, seed)),
        "difference": (("reference", *DIMS, "unit_of_inference", "statistic"), np.stack(differences)),
        "null_score": (("null", *DIMS, "null_statistic"), _under_null(value, null, len(settings))[None]),
        "null_absent": (("null", "setting"), [absent_of]),
        "null_kind": (("null", "setting"), [[_null_words(prepared, setting) for setting in settings + gained]]),
        "null_draws": (("null", "representation"), [[draws] * rows]),
        "chance": (DIMS, judged.with_mean(chance)),
        "trials": (("target",), np.array([sum(tested), *tested])),
        **_predicted(cells, names, gained, prepared),
    }
    coords = {
        "representation": representations,
        "decoder": decoders,
        "setting": settings + gained,
        "measure": list(MEASURES),
        "target": [ALL_ANIMALS, *animals],
        "reference": representations,
        "null": [LABELS],
        **judged.STATISTIC_COORDS,
    }
    return xr.Dataset(variables, coords, _attributes(prepared, options, representations, omitted))


def _names(cells: Cells) -> Names:
    """Return the names of representations, decoders and settings."""
    representations, decoders, settings = (list(dict.fromkeys(keys)) for keys in zip(*cells, strict=True))
    return representations, decoders, settings


def _stacked(cells: Cells, names: Names, field: str, prepared: Prepared, options: Options) -> Floats:
    """Return a field of all cells, ``(..., representation, decoder, setting, measure, animal)``."""
    arrays = []
    for key, (animal, labels) in product(product(*names), prepared.labels.items()):
        cell = cells.get(key, {}).get(animal)
        if cell is None:
            cell = Cell.absent(labels.values.shape, options, prepared.draws)
        arrays.append(getattr(cell, field))
    stacked = np.stack(arrays)  # (cell, ..., measure)
    shaped = stacked.reshape(*map(len, names), len(prepared.labels), *stacked.shape[1:])
    shaped = np.moveaxis(shaped, 3, -1)  # the animal last
    return np.moveaxis(shaped, 3, 0) if stacked.ndim == 3 else shaped  # draws first


def _with_gain(values: Floats, settings: list[str]) -> Floats:
    """Add, to ``(..., setting, measure, animal)``, what decoders of the others are better or worse than that of the animal."""
    gains = [
        values[..., [settings.index(setting)], :, :] - values[..., [settings.index(setting.replace(OTHERS, WITHIN))], :, :]
        for setting in settings
        if setting.startswith(OTHERS)
    ]
    return np.concatenate([values, *gains], axis=-3)


def _under_null(value: Floats, null: Floats, tested: int) -> Floats:
    """Return ``NULL_STATISTICS`` ``(..., target, null_statistic)``; errors are small, R2 is large where labels are read.

    Only the first ``tested`` settings have a null.
    """
    sign = np.where(np.isin(MEASURES, ERRORS), -1.0, 1.0)[:, None]
    mean, low, high, p = np.moveaxis(under_null(sign * judged.with_mean(value), sign * judged.with_mean(null)), -1, 0)
    under = np.stack([sign * mean, np.where(sign < 0, -high, low), np.where(sign < 0, -low, high), p], axis=-1)
    under[..., tested:, :, :, :] = np.nan
    return under


def _attributes(prepared: Prepared, options: Options, representations: list[str], omitted: list[str]) -> dict[str, Any]:
    """Return what scores say of the label and of how they were computed."""
    window = next(iter(prepared.samples.children.values())).to_dataset()["window"]
    along = str(window.attrs.get("dim", "time"))
    unit = ("s" if along == "time" else f"units of {along}") if options.label == WINDOW else f"units of {options.label}"
    return {
        "label": f"{along} of the window" if options.label == WINDOW else options.label,
        "unit": unit,
        "period": 0.0 if options.period is None else options.period,
        "reference": options.reference if options.reference in representations else "",
        "interval": f"95 % over {options.bootstraps} bootstrap draws of test trials within animal",
        "omitted": "; ".join(omitted),
        "windows": len(window),
        "splits": next(iter(prepared.splits.children.values())).sizes["split"],
        "in_sample": int(in_sample(prepared.splits)),
    }


def _judged(value: Floats, bootstrap: Floats, subjects: NDArray[np.intp], seed: int) -> Floats:
    """Return ``(..., target, unit_of_inference, statistic)`` of ``(..., animal)``: the mean first, over animals only for it."""
    statistics = judged.over_trials_alone(judged.with_mean(value), judged.with_mean(bootstrap))
    for index in np.ndindex(value.shape[:-1]):
        random = np.random.default_rng(seed)
        interval = hierarchy.over_animals(value[index], bootstrap[(slice(None), *index)], random, subjects)
        statistics[(*index, 0, 1, slice(1, None))] = interval.low, interval.high
    return statistics


def _null_words(prepared: Prepared, setting: str) -> str:
    """Say how labels were broken in a setting; '' for differences of settings."""
    if setting.startswith(GAINED):
        return ""
    broken = RENAMED if setting.startswith(OTHERS) else SHIFTS[prepared.kind]
    return f"{prepared.draws} {broken}, decoders fitted again, alignments and models not"


def _tested_trials(cells: Cells, animals: list[str]) -> list[int]:
    """Return the number of trials of each animal that any decoder is tested on."""
    tested = []
    for animal in animals:
        masks = [np.isfinite(of_targets[animal].predicted).any(axis=1) for of_targets in cells.values() if animal in of_targets]
        tested.append(int(np.any(masks, axis=0).sum()))
    return tested


def _predicted(
    cells: Cells, names: Names, gained: list[str], prepared: Prepared
) -> dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]:
    """Return the predictions of all samples that are tested, with their true labels; NaN for differences of settings."""
    places = {animal: np.nonzero(np.isfinite(labels.values)) for animal, labels in prepared.labels.items()}
    rows = []
    for key in product(*names):
        of_targets = cells.get(key, {})
        parts = [
            of_targets[animal].predicted[tested_places] if animal in of_targets else np.full(len(tested_places[0]), np.nan)
            for animal, tested_places in places.items()
        ]
        rows.append(np.concatenate(parts))
    predicted = np.array(rows, dtype=np.float32)
    tested = np.isfinite(predicted).any(axis=0)
    predicted = predicted[:, tested].reshape(*map(len, names), -1)
    predicted = np.pad(predicted, ((0, 0), (0, 0), (0, len(gained)), (0, 0)), constant_values=np.nan)
    true = np.concatenate([prepared.labels[animal].values[tested_places] for animal, tested_places in places.items()])
    of_sample = {
        "true": true,
        "animal": np.repeat(list(places), [len(trial) for trial, _ in places.values()]),
        "trial": np.concatenate([trial for trial, _ in places.values()]),
        "window": np.concatenate([window for _, window in places.values()]),
    }
    return {
        "predicted": (("representation", "decoder", "setting", "sample"), predicted),
        **{name: (("sample",), values[tested]) for name, values in of_sample.items()},
    }
