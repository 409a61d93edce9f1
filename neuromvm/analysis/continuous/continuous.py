"""Analysis ``continuous``: how well is a continuous label (position, time, head direction) read within and across animals?

Decoders: :mod:`neuromvm.analysis.continuous.regression` and :mod:`~neuromvm.analysis.continuous.bayes`. Labels are predicted on
the test trials of the run; optionally with a stretch of the label held out of the animal, and with few training trials of it.
"""

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neuromvm.analysis import judged
from neuromvm.analysis.baselines.catalogue import BaselineOptions
from neuromvm.analysis.continuous.layout import dataset_of
from neuromvm.analysis.continuous.measures import ERRORS
from neuromvm.analysis.continuous.options import Options
from neuromvm.analysis.continuous.prepared import Few, Prepared, problems_of
from neuromvm.analysis.continuous.rows import Cell, Rows
from neuromvm.analysis.decoding.few_shot import new_animal
from neuromvm.analysis.judged import ALL_ANIMALS, LABELS
from neuromvm.analysis.scores import Absent, Counts, Difference, Score
from neuromvm.errors import SpecError, SplitError
from neuromvm.folders.few_shot import FewShotFolder
from neuromvm.schema import check_same_trials

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

__all__ = ["Options", "compute", "plot", "predict_label", "summarize"]


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Predict a label from every model of a run and the baselines; :func:`predict_label` says what is returned."""
    latents = {name: study.latents(name) for name in study.models}
    order = study.spec.split.order if options.order is None else options.order
    settings = BaselineOptions.model_validate(
        {key: value for key, value in study.spec.analyses.get("decoding", {}).items() if key in BaselineOptions.model_fields}
    )
    ordered = options.model_copy(update={"order": order})
    return predict_label(study.recordings, study.samples, study.splits, latents, ordered, settings, _few_shot(study, options))


def _few_shot(study: "Study", options: Options) -> Few:
    """Return what ``neuromvm few-shot`` trained, for each number of trials with which all models met all animals."""
    folder, animals = FewShotFolder(study), list(study.samples.children)
    trained = {
        number
        for number in options.trials
        if folder.models and all(number in folder.trials(model, animal) for model in folder.models for animal in animals)
    }
    return {number: {animal: new_animal(folder, animal, number) for animal in animals} for number in trained}


def predict_label(
    recordings: xr.DataTree,
    samples: xr.DataTree,
    splits: xr.DataTree,
    latents: Mapping[str, xr.DataTree],
    options: Options,
    settings: BaselineOptions | None = None,
    few: Few | None = None,
) -> xr.Dataset:
    """Predict a continuous label of test trials, within animals and by decoders of the other animals.

    Parameters
    ----------
    recordings, samples, splits
        Trees of :mod:`neuromvm.schema`.
    latents
        Name -> tree of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`.
    options
        The label, decoders and resampling.
    settings
        Components and ridges of baselines.
    few
        Training trials a class -> target -> splits and latents of models that were trained with so few trials of the target.

    Returns
    -------
    In the layout of :mod:`neuromvm.analysis.judged`, with the dims ``representation, decoder, setting, measure, target``:
    ``score, difference, null_score, chance``. Measures are mean and median absolute error in the label's unit, and R2; see
    :func:`neuromvm.analysis.continuous.measures.measures_of`. Chance predicts the mean label of the training samples. ``p`` is
    one-sided: errors are small, R2 is large. Settings ``others - within`` are differences, paired by draw, without a null.
    ``predicted (representation, decoder, setting, sample)`` with ``true, trial, window, animal (sample)``: predictions of test
    samples, of the first replica that tests them. ``trials (target)``. Attributes ``label, unit, period, reference, interval,
    omitted, windows, splits, in_sample``.

    Raises
    ------
    SchemaError
        If the label is no number, or unknown.
    SpecError
        If a model has the name of a baseline.
    SplitError
        If no trial can be tested.
    """
    check_same_trials(samples, splits)
    for name in latents:
        if name in options.baselines:
            raise SpecError(f"models.{name}", found="a model with the name of a baseline", next_step="Rename the model")
    prepared = Prepared.of(recordings, samples, splits, options)
    rows = Rows(prepared, list(latents), few or {}, options, settings or BaselineOptions())
    cells: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for setting, problems in problems_of(prepared, latents, few or {}, options):
        for name, decoder, reader, target, cell in rows.predicted(problems):
            cells.setdefault((name, decoder, ", ".join(filter(None, (reader, setting)))), {})[target] = cell
    if not any(np.isfinite(cell.value).any() for of_targets in cells.values() for cell in of_targets.values()):
        raise SplitError(
            "analysis continuous",
            found="no trial that any decoder can be tested on",
            expected="animals with trials on both sides of a split",
            next_step="Use split.kind=halves or kfold",
        )
    return dataset_of(cells, prepared, options, rows.omitted)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each measure, representation, decoder and setting that is scored."""
    lines = []
    for measure, setting, decoder, representation in product(
        *(scores[dim].values for dim in ("measure", "setting", "decoder", "representation"))
    ):
        cell = scores.sel(representation=representation, decoder=decoder, setting=setting, measure=measure)
        if np.isfinite(judged.value_of(cell["score"].sel(target=ALL_ANIMALS))):
            lines.append(_line(cell))
    return lines


def _line(cell: xr.Dataset) -> Score:
    mean, attrs = cell.sel(target=ALL_ANIMALS), cell.attrs
    scored = [animal for animal in judged.animals_of(cell) if np.isfinite(judged.value_of(cell["score"].sel(target=animal)))]
    return Score(
        what=_what(str(cell["measure"].item()), attrs),
        representation=str(cell["representation"].item()),
        setting=f"{cell['setting'].item()}, {cell['decoder'].item()}",
        value=judged.value_of(mean["score"]),
        n=Counts(len(scored), int(cell["trials"].sel(target=scored).sum()), int(attrs["windows"]), int(attrs["splits"])),
        interval=judged.interval_of(mean["score"]),
        resampled=attrs["interval"],
        over_animals=judged.interval_of(mean["score"], judged.ANIMALS),
        null=judged.null_of(mean, LABELS),
        chance=float(mean["chance"]),
        difference=_difference(mean, attrs["reference"]),
        in_sample=bool(attrs["in_sample"]),
    )


def _what(measure: str, attrs: Mapping[str, object]) -> str:
    """Say what is measured, of which label and in which unit."""
    if measure in ERRORS:
        return f"{measure.replace('error', 'absolute error')} of {attrs['label']} [{attrs['unit']}]"
    return f"R2 of {attrs['label']}" if not attrs["period"] else f"1 - ratio of circular variances of {attrs['label']}"


def _difference(cell: xr.Dataset, reference: str) -> Difference | Absent:
    if not reference:
        return Absent("what others are to be compared with was not decoded")
    if cell["representation"].item() == reference:
        return Absent("others are compared with it")
    return judged.difference_of(cell, reference, f"{reference} has no such score")


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the scores of every setting, and predicted against true labels."""
    from neuromvm.analysis.figures import continuous as figures  # here, so that computing needs no plotting library

    return {"settings": figures.settings(scores), "predictions": figures.predictions(scores)}
