"""Analysis ``unit_activity``: single units in test trials, as recorded, as a model reconstructs them, and as it imputes them."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.figures.text import ordered
from neuromvm.analysis.readouts.representations import Floats, held_out, training_side
from neuromvm.analysis.scores import Score
from neuromvm.data.features import features
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SpecError
from neuromvm.schema import activity as activity_of
from neuromvm.schema import grid_dim, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

NEEDS = ("transferred", "imputed")
RECORDED, RECONSTRUCTED, IMPUTED = "recorded", "reconstructed", "imputed"
MOST_FIGURES = 3  # animals of a run that are drawn


class Options(Spec):
    """Which units are shown, of the first seed of one split."""

    model: str | None = Field(None, description="Default: the first model of the run that animals share")
    split: int = Field(0, ge=0)
    units: int = Field(3, ge=1, le=6, description="Units of an animal, those that tell conditions apart best in training trials")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Gather the activity of some units of every animal of a run; see :func:`unit_activity`."""
    shared = [name for name, model in study.spec.models.items() if model.sharing.kind != "independent"]
    model = options.model or next(iter([*shared, *study.models]))
    trees = study.transferred(model), study.imputed(model)
    return unit_activity(study.samples, study.splits, *trees, options, study.recordings).assign_attrs(model=model)


def unit_activity(
    samples: xr.DataTree,
    splits: xr.DataTree,
    transferred: xr.DataTree,
    imputed: xr.DataTree,
    options: Options | None = None,
    recordings: xr.DataTree | None = None,
) -> xr.Dataset:
    """Gather test trials of single units as recorded, reconstructed from their own latents, and imputed from other animals.

    Parameters
    ----------
    samples, splits
        What the model was trained on.
    transferred, imputed
        Of :func:`neuromvm.inference.transfer.transfer` and :func:`neuromvm.inference.transfer.impute_each`.
    options
        Split and number of units.
    recordings
        For the spikes of the whole trial; without them there are none.

    Returns
    -------
    ``value (row, time, place)``: activity of the units in the places of an animal, with coordinates ``animal, kind, condition``
    of rows (``recorded``, ``reconstructed`` and ``imputed``); rows of a condition are in the order of its trials, or of tuples.
    ``unit (animal, place)``, names of units. ``spike_time, spike_row, spike_count (spike)`` with coordinates ``spike_animal,
    spike_place, spike_condition``: nonzero bins of test trials on the grid of the recordings, ``spike_trials (animal)`` their
    number. Attribute ``unit``: Hz for counts,
    otherwise activity as the model scores it, before scaling.

    Raises
    ------
    SpecError
        If the model does not reconstruct trials of this split.
    """
    options = options or Options()
    classes, rows, units, spikes = json.loads(samples.attrs["classes"]), [], {}, []
    spike_trials: list[int] = []
    unit = ""
    for animal in transferred.children:
        node = samples[animal].to_dataset()
        decoded = transferred[f"{animal}/{animal}"].to_dataset()
        is_count = decoded.attrs["kind"] == "count"
        unit = "Hz" if is_count else str(decoded.attrs["kind"])
        factor = 1 / float(node["activity"].attrs["bin_width"]) if is_count else 1.0
        recorded = _as_scored(samples, animal, is_count=is_count) * factor
        shown = _telling_units(recorded, node, training_side(splits, options.split, animal), options.units)
        names = node["unit"].to_numpy() if "unit" in node.coords else np.arange(recorded.shape[-1])
        units[animal] = [str(name) for name in names[shown]] + [""] * (options.units - len(shown))
        tested = held_out(splits, options.split, animal)
        sheets = {RECORDED: _Sheet.of(recorded[tested][..., shown], node["label"].to_numpy()[tested], len(classes))}
        generated = transferred[animal].to_dataset()
        of_split = generated["split"].to_numpy() == options.split
        if not of_split.any():
            raise SpecError("option split", found=f"{options.split}", expected="a split with reconstructed test trials")
        values = decoded["activity"].to_numpy()[of_split][..., shown] * factor
        sheets[RECONSTRUCTED] = _Sheet.of(values, generated["label"].to_numpy()[of_split], len(classes))
        if animal in imputed.children:
            sheets[IMPUTED] = _imputed_sheet(imputed[animal].to_dataset(), node, options.split, shown, factor, len(classes))
        rows += [_rows(sheet, animal, kind, classes, _times(node), options.units) for kind, sheet in sheets.items()]
        if recordings is not None:
            spikes.append(_spikes(recordings[animal].to_dataset(), node, tested, shown, classes, animal))
            spike_trials.append(int((node["label"].to_numpy()[tested, 0] >= 0).sum()))
    names_of_places = (("animal", "place"), np.array(list(units.values())))
    dataset = xr.concat(rows, "row").assign(unit=names_of_places).assign_coords(animals=("animal", list(units)))
    if spikes:
        dataset = xr.merge([dataset.assign(spike_trials=("animal", spike_trials)), xr.concat(spikes, "spike")])
    return dataset.assign_attrs(
        label=samples.attrs.get("label", "label"),
        classes=samples.attrs["classes"],
        unit=unit,
        split=options.split,
        grid=str(next(iter(samples.children.values()))["window"].attrs.get("dim", "time")),
        in_sample=int(in_sample(splits)),
    )


class _Sheet(NamedTuple):
    """Rows of activity, sorted by condition: ``values (row, time, unit)``, ``condition (row,)`` codes."""

    values: Floats
    condition: NDArray[np.intp]

    @classmethod
    def of(cls, values: Floats, labels: NDArray[np.integer], classes: int) -> "_Sheet":
        """Sort ``values (trial, window, bin, unit)`` by the labels ``(trial, window)``; rows are filled window by window."""
        windows, bins, units = values.shape[1:]
        sheets, conditions = [np.empty((0, windows * bins, units))], []
        for code in range(classes):
            members = [np.flatnonzero(labels[:, window] == code) for window in range(windows)]
            sheet = np.full((max(map(len, members)), windows, bins, units), np.nan)
            for window, trials in enumerate(members):
                sheet[: len(trials), window] = values[trials, window]
            sheets.append(sheet.reshape(len(sheet), windows * bins, units))
            conditions += [code] * len(sheet)
        return cls(np.concatenate(sheets), np.array(conditions, dtype=np.intp))


def _as_scored(samples: xr.DataTree, animal: str, *, is_count: bool) -> Floats:
    """Return activity ``(trial, window, bin, unit)`` as recorded for models of counts, otherwise transformed."""
    values = samples[animal].to_dataset()["activity"].transpose("trial", "window", "bin", "unit")
    if is_count:
        return values.to_numpy().astype(float)
    return features(values, sample_spec(samples)).reshape(values.shape).astype(float)


def _telling_units(recorded: Floats, node: xr.Dataset, side: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Return the units whose mean over a window differs most between conditions, relative to trials of a condition."""
    values, labels = recorded[side].mean(axis=2).reshape(-1, recorded.shape[-1]), node["label"].to_numpy()[side].ravel()
    codes = np.unique(labels[labels >= 0])
    means = np.array([values[labels == code].mean(axis=0) for code in codes])
    within = np.mean([values[labels == code].var(axis=0) for code in codes], axis=0)
    return np.argsort(-means.var(axis=0) / (within + 1e-9), kind="stable")[:count]


def _times(node: xr.Dataset) -> Floats:
    """Return the centre of each bin of each window, one after the other."""
    activity = node["activity"]
    bins, width = activity.sizes["bin"], float(activity.attrs["bin_width"])
    offsets = width * (np.arange(bins) - (bins - 1) / 2)
    return np.asarray(np.round((node["window"].to_numpy()[:, None] + offsets).ravel(), 9))


def _imputed_sheet(
    imputed: xr.Dataset, node: xr.Dataset, split: int, shown: NDArray[np.intp], factor: float, classes: int
) -> _Sheet:
    """Sort imputed tuples by the condition that their match code stands for in the animal."""
    replica = int(np.flatnonzero(imputed["split"].to_numpy() == split)[0])
    of_split = imputed.isel(replica=replica)
    match, window = of_split["match"].to_numpy(), of_split["window"].transpose("tuple", "animal").to_numpy().max(axis=1)
    known = dict(zip(node["match"].to_numpy().ravel().tolist(), node["label"].to_numpy().ravel().tolist(), strict=True))
    condition = np.array([known.get(code, -1) if code >= 0 else -1 for code in match.tolist()])
    values = of_split["mean"].transpose("tuple", "bin", "unit").to_numpy()[..., shown] * factor
    windows = node.sizes["window"]
    spread = np.zeros((len(values), windows, *values.shape[1:]))
    labels = np.full((len(values), windows), -1)
    present = np.flatnonzero(window >= 0)
    spread[present, window[present]], labels[present, window[present]] = values[present], condition[present]
    return _Sheet.of(spread, labels, classes)


def _rows(sheet: _Sheet, animal: str, kind: str, classes: Sequence[str], times: Floats, places: int) -> xr.Dataset:
    """Return rows with their coordinates; places without a unit are NaN."""
    order = np.argsort(times, kind="stable")
    values = np.full((*sheet.values.shape[:2], places), np.nan)
    values[..., : sheet.values.shape[-1]] = sheet.values[:, order]
    count = len(values)
    coords = {
        "time": times[order],
        "row_animal": ("row", [animal] * count),
        "kind": ("row", [kind] * count),
        "condition": ("row", [classes[code] for code in sheet.condition]),
    }
    return xr.Dataset({"value": (("row", "time", "place"), values)}, coords)


def _spikes(
    recording: xr.Dataset,
    node: xr.Dataset,
    tested: NDArray[np.bool_],
    shown: NDArray[np.intp],
    classes: Sequence[str],
    animal: str,
) -> xr.Dataset:
    """Return the nonzero bins of test trials on the grid of a recording, trials sorted by condition."""
    labels = node["label"].to_numpy()[tested, 0]
    ranks = np.array([ordered(list(classes)).index(name) for name in classes])
    labelled = np.flatnonzero(labels >= 0)
    order = labelled[np.argsort(ranks[labels[labelled]], kind="stable")]
    trials = node["trial"].to_numpy()[tested][order]
    grid = grid_dim(recording)
    values = activity_of(recording).transpose("trial", grid, "unit").sel(trial=trials).isel(unit=shown).to_numpy()
    row, bin_number, place = np.nonzero(values)
    columns: Mapping[str, NDArray[np.generic]] = {
        "spike_time": recording[grid].to_numpy()[bin_number],
        "spike_row": row,
        "spike_count": values[row, bin_number, place],
        "spike_place": place,
        "spike_animal": np.full(len(row), animal),
        "spike_condition": np.array(classes, dtype=np.str_)[labels[order][row]],
    }
    named = xr.Dataset({name: ("spike", column) for name, column in columns.items()})
    return named.set_coords(["spike_place", "spike_animal", "spike_condition"])


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return no lines: this analysis has figures only."""
    return []


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw rasters and PSTHs of the first animals."""
    from neuromvm.analysis.figures import units  # imported here: computing needs no plotting library

    drawn: dict[str, Figure] = {}
    for animal in scores["animals"].values[:MOST_FIGURES].tolist():
        drawn |= {f"rasters-{animal}": units.rasters(scores, animal), f"psths-{animal}": units.psths(scores, animal)}
    return drawn
