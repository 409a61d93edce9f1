"""Analysis ``continuous``: how well is a continuous label (position, time, head direction) read within and across animals?

Decoders: :mod:`neuromvm.analysis.continuous.regression` and :mod:`~neuromvm.analysis.continuous.bayes`. Labels are predicted on
the test trials of the run; optionally with a stretch of the label held out of the animal, and with few training trials of it.
"""

import zlib
from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis import judged
from neuromvm.analysis.baselines.catalogue import BaselineOptions, baseline, missing
from neuromvm.analysis.continuous.bayes import BayesDecoder, Grid, Likelihood
from neuromvm.analysis.continuous.labels import Labels, NullKind, Scale, continuous_label, null_kind, shifted, time_order
from neuromvm.analysis.continuous.measures import ERRORS, MEASURES, measures_of
from neuromvm.analysis.continuous.prediction import (
    READERS,
    STRETCH,
    Decoder,
    Inferred,
    Problem,
    Reader,
    Regressed,
    plain,
    with_few_trials,
    with_stretches,
)
from neuromvm.analysis.continuous.regression import Regression
from neuromvm.analysis.judged import ALL_ANIMALS, LABELS
from neuromvm.analysis.readouts.representations import Inputs, Latents, Representation
from neuromvm.analysis.scores import Absent, Counts, Difference, Score
from neuromvm.analysis.statistics import hierarchy, over_trials
from neuromvm.analysis.statistics.over_trials import Floats, LabelRows, mean_of_scored, under_null
from neuromvm.data.features import recorded_features
from neuromvm.errors import SpecError, SplitError
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

RAW = "raw"
BaselineName = Literal["raw", "pca", "hyperalignment", "srm", "mcca"]
DecoderName = Literal["ridge", "kernel ridge", "bayes", "bayes path"]
NOT_REFITTED = "was trained on all training trials of the animal"
SHIFTS = {
    "session": "circular shifts of the label along the session of each animal",
    "trial": "circular shifts of the label within each trial",
}
DIMS = ("representation", "decoder", "setting", "measure", "target")


class Options(Spec):
    """The label, decoders and resampling. Settings of baselines are those of the run's analysis ``decoding``."""

    label: str = Field(..., description="'window', a trial label that is a number, or a label along the grid (theta_phase)")
    period: float | None = Field(None, gt=0, description="Of a circular label, in its unit: 360, 6.2832; default: a line")
    condition: str | None = Field(None, description="bayes: trial label that tuning depends on as well (direction of running)")
    baselines: tuple[BaselineName, ...] = (RAW, "mcca")
    decoders: tuple[DecoderName, ...] = Field(("ridge", "kernel ridge", "bayes", "bayes path"), min_length=1)
    likelihood: Likelihood | Literal["auto"] = Field(
        "auto", description="bayes on raw activity; auto: poisson for counts, else gaussian; other representations: gaussian"
    )
    bins: int = Field(50, ge=3, description="bayes: places of the label, if it has more different values")
    tuning_width: float | None = Field(
        None, gt=0, description="bayes: standard deviation of the smoothing of tuning curves, in the label's unit; default: range/20"
    )
    penalties: tuple[float, ...] = Field(
        (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0), min_length=1, description="ridge: of which one is chosen on training trials"
    )
    folds: int = Field(4, ge=2, description="ridge: folds of training trials (across animals: of training animals)")
    kernel_width: float = Field(1.0, gt=0, description="kernel ridge: in units of the median distance between samples")
    kernel_samples: int = Field(1000, ge=10, description="kernel ridge: most samples that are fitted")
    stretches: int = Field(0, ge=0, description="Stretches of the label, each held out of every animal in turn; 0: none")
    trials: tuple[int, ...] = Field((), description="Also with so many training trials of each class of the animal: [1, 2, 4]")
    null: NullKind = Field("auto", description="Labels are shifted along the session, or within each trial (auto: see the page)")
    order: str | None = Field(None, description="Trial label that orders trials in time; default: that of the split, or onset")
    reference: str = Field("mcca", description="Representation with which the others are compared, draw by draw")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    permutations: int = Field(100, ge=0, description="Shifts of labels, with all decoders fitted again; 0: no null")
    seed: int = Field(0, ge=0, description="Of the resamples and shifts")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Predict a label from every model of a run and the baselines; :func:`predict_label` says what is returned."""
    latents = {name: study.latents(name) for name in study.models}
    order = study.spec.split.order if options.order is None else options.order
    settings = BaselineOptions.model_validate(
        {key: value for key, value in study.spec.analyses.get("decoding", {}).items() if key in BaselineOptions.model_fields}
    )
    return predict_label(
        study.recordings, study.samples, study.splits, latents, options.model_copy(update={"order": order}), settings
    )


def predict_label(
    recordings: xr.DataTree,
    samples: xr.DataTree,
    splits: xr.DataTree,
    latents: Mapping[str, xr.DataTree],
    options: Options,
    settings: BaselineOptions | None = None,
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

    Returns
    -------
    In the layout of :mod:`neuromvm.analysis.judged`, with the dims ``representation, decoder, setting, measure, target``:
    ``score, difference, null_score, chance``. Measures are mean and median absolute error in the label's unit, and R2; see
    :func:`neuromvm.analysis.continuous.measures.measures_of`. Chance predicts the mean label of the training samples. ``p`` is
    one-sided: errors are small, R2 is large. ``predicted (representation, decoder, setting, sample)`` with ``true, trial,
    window, animal (sample)``: predictions of test samples, of the first replica that tests them. ``trials (target)``. Attributes
    ``label, unit, period, reference, interval, omitted, windows, splits, in_sample``.

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
    for name in options.baselines:
        if name in latents:
            raise SpecError(f"models.{name}", found="a model with the name of a baseline", next_step="Rename the model")
    prepared = _Prepared.of(recordings, samples, splits, options)
    rows = _Rows(prepared, latents, options, settings or BaselineOptions())
    cells: dict[tuple[str, str, str], dict[str, _Cell]] = {}
    for setting, problems in _settings(samples, splits, prepared.labels, options):
        for name, decoder, reader, target, cell in rows.predicted(setting, problems):
            cells.setdefault((name, decoder, ", ".join(filter(None, (reader, setting)))), {})[target] = cell
    if not any(np.isfinite(cell.value).any() for of_targets in cells.values() for cell in of_targets.values()):
        raise SplitError(
            "analysis continuous",
            found="no trial that any decoder can be tested on",
            expected="animals with trials on both sides of a split",
            next_step="Use split.kind=halves or kfold",
        )
    return _dataset(cells, prepared, options, rows.omitted)


class _Cell(NamedTuple):
    """Scores of one target by one decoder."""

    value: Floats  # (measure,)
    bootstrap: Floats  # (draw, measure)
    null: Floats  # (draw, measure)
    chance: Floats  # (measure,)
    predicted: Floats  # (trial, window), of the first replica that tests a sample

    @classmethod
    def absent(cls, shape: tuple[int, ...], options: Options, draws: int) -> "_Cell":
        """Return a cell of a decoder that does not exist."""
        sizes = ((), (options.bootstraps,), (draws,), ())
        return cls(*(np.full((*size, len(MEASURES)), np.nan) for size in sizes), np.full(shape, np.nan))


class _Prepared(NamedTuple):
    """Labels of every animal with their shifts, and how they are resampled."""

    samples: xr.DataTree
    splits: xr.DataTree
    scale: Scale
    labels: dict[str, Labels]
    shifted: dict[str, Floats]  # (trial, window, 1 + draw)
    conditions: int
    kind: Literal["session", "trial"]

    @classmethod
    def of(cls, recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, options: Options) -> "_Prepared":
        scale = Scale(options.period)
        values = continuous_label(options.label, recordings, samples, scale)
        names = {animal: _condition(animal, samples, options.condition) for animal in samples.children}
        known = np.unique(np.concatenate(list(names.values())))
        kind = null_kind(values, options.null)
        draws = 0 if in_sample(splits) else options.permutations
        labels, shifts = {}, {}
        for animal, node in samples.children.items():
            order = time_order(animal, node.to_dataset(), options.order)
            labels[animal] = Labels(values[animal], order, np.searchsorted(known, names[animal]))
            shifts[animal] = shifted(labels[animal], kind, draws, np.random.default_rng([options.seed, zlib.crc32(animal.encode())]))
        return cls(samples, splits, scale, labels, shifts, len(known), kind)


def _condition(animal: str, samples: xr.DataTree, condition: str | None) -> np.ndarray:
    node = samples[animal].to_dataset()
    if condition is None:
        return np.zeros(node.sizes["trial"], dtype="<U1")
    return schema.trial_label(animal, node, condition).to_numpy().astype(str)


def _settings(
    samples: xr.DataTree, splits: xr.DataTree, labels: Mapping[str, Labels], options: Options
) -> list[tuple[str, list[Problem]]]:
    """Return the words of every setting, '' for the run's own trials, and what is trained and tested in it."""
    settings = [("", plain(samples, splits))]
    if options.stretches > 1 and not in_sample(splits):
        settings.append((STRETCH, with_stretches(samples, splits, labels, options.stretches)))
    for number in () if in_sample(splits) else options.trials:
        words = f"{number} training trial{'s' if number > 1 else ''} a class"
        settings.append((words, with_few_trials(samples, splits, number, options.seed)))
    return settings


class _Rows:
    """Representations of a run and their decoders; ``omitted`` says what could not be scored, and why."""

    def __init__(
        self, prepared: _Prepared, latents: Mapping[str, xr.DataTree], options: Options, settings: BaselineOptions
    ) -> None:
        self._prepared, self._options, self._latents, self._baseline_settings = prepared, options, latents, settings
        absent = {str(name): reason for name in options.baselines if (reason := missing(name, prepared.samples))}
        self._baselines = [name for name in options.baselines if name not in absent]
        self.omitted = [f"{name}: {reason}" for name, reason in absent.items()]
        if options.stretches == 1:
            self.omitted.append("stretches: one stretch is the whole label")
        if latents and (options.stretches or options.trials):
            self.omitted.append(f"{', '.join(latents)} with stretches held out or few trials: {NOT_REFITTED}")
        self._recorded = {
            animal: recorded_features(node.to_dataset()["activity"]).astype(np.float64)
            for animal, node in prepared.samples.children.items()
        }
        known = np.concatenate([labels.values[np.isfinite(labels.values)] for labels in prepared.labels.values()])
        self._grid = Grid.over(known, options.bins, options.tuning_width, prepared.scale)
        single = next(iter(prepared.labels.values())).values.shape[1] == 1
        self._decoders = [name for name in options.decoders if not (single and name == "bayes path")]
        if len(self._decoders) < len(options.decoders):
            self.omitted.append("bayes path: trials have one window")

    def predicted(self, setting: str, problems: list[Problem]) -> "list[tuple[str, str, str, str, _Cell]]":
        """Return representation, decoder, reader and target with their scores in a setting."""
        found: dict[tuple[str, str, str, str], _Predictions] = {}
        for problem in problems:
            for name, representation in self._representations(setting, problem).items():
                for decoder, target in product(self._decoders, problem.targets):
                    recorded = self._recorded if self._reads_recorded(name, decoder) else None
                    reader = Reader(representation, problem, self._prepared.labels, self._prepared.shifted, recorded)
                    fitted = self._decoder(decoder, name)
                    for kind in READERS[: 2 if representation.shared else 1]:
                        key = name, decoder, kind, target
                        if key not in found:
                            shape = self._prepared.shifted[target].shape
                            found[key] = _Predictions(len(representation.replicas), shape)
                        for replica, tested, labels, guess in reader.predictions(target, kind, fitted, self._prepared.scale):
                            found[key].enter(replica, tested, labels, guess)
        return [(*key, self._cell(predictions, key[3])) for key, predictions in found.items()]

    def _representations(self, setting: str, problem: Problem) -> dict[str, Representation]:
        inputs = Inputs(problem.samples, problem.splits)
        models = {} if setting else self._latents
        fitted: dict[str, Representation] = {
            name: Latents(tree, problem.splits, inverse_penalty=1.0) for name, tree in models.items()
        }
        return fitted | {name: baseline(name, inputs, self._baseline_settings) for name in self._baselines}

    def _likelihood(self, name: str) -> Likelihood:
        """Return the likelihood of raw activity as asked for, and of every other representation a normal one."""
        if name != RAW:
            return "gaussian"
        if self._options.likelihood != "auto":
            return self._options.likelihood
        counts = all(node["activity"].dtype.kind in "ui" for node in self._prepared.samples.children.values())
        return "poisson" if counts else "gaussian"

    def _reads_recorded(self, name: str, decoder: str) -> bool:
        return decoder.startswith("bayes") and self._likelihood(name) != "gaussian"

    def _decoder(self, decoder: DecoderName, name: str) -> Decoder:
        options, prepared = self._options, self._prepared
        if decoder in ("bayes", "bayes path"):
            return Inferred(BayesDecoder(self._grid, self._likelihood(name), prepared.conditions, decoder == "bayes path"))
        regression = Regression(decoder, options.penalties, options.folds, options.kernel_width, options.kernel_samples)
        return Regressed(regression, prepared.scale)

    def _cell(self, predictions: "_Predictions", target: str) -> _Cell:
        """Score the predictions of a target."""
        labels, scale, options = self._prepared.shifted[target], self._prepared.scale, self._options
        columns = labels.shape[2]
        tested = np.isfinite(predictions.values[..., 0]).any(axis=(0, 2))
        if not tested.any():
            return _Cell.absent(labels.shape[:2], options, columns - 1)
        # Draws depend on the target and the tested trials only, so that representations can be compared draw by draw.
        rng = np.random.default_rng([options.seed, zlib.crc32(target.encode()), 1])
        drawn = over_trials.bootstrap(LabelRows.of(np.zeros((int(tested.sum()), 1), np.int16)), options.bootstraps, rng)
        weight = np.zeros((options.bootstraps, len(tested)))
        weight[:, tested] = drawn[:, :, 0]
        unchanged, values = np.ones((1, len(tested))), predictions.values
        null = [measures_of(values[..., column], labels[..., column], scale, unchanged)[0] for column in range(1, columns)]
        return _Cell(
            measures_of(values[..., 0], labels[..., 0], scale, unchanged)[0],
            measures_of(values[..., 0], labels[..., 0], scale, weight),
            np.array(null).reshape(-1, len(MEASURES)),
            measures_of(predictions.guess, labels[..., 0], scale, unchanged)[0],
            _first_known(values[..., 0]),
        )


class _Predictions:
    """Predictions of one target in all replicas, NaN where not tested."""

    def __init__(self, replicas: int, shape: tuple[int, ...]) -> None:
        self.values = np.full((replicas, *shape), np.nan, dtype=np.float32)  # (replica, trial, window, column)
        self.guess = np.full((replicas, *shape[:2]), np.nan)

    def enter(self, replica: int, tested: np.ndarray, labels: Floats, guess: float) -> None:
        """Enter the predictions of tested windows."""
        self.values[replica, tested] = labels
        self.guess[replica, tested] = guess


def _first_known(values: Floats) -> Floats:
    known = np.isfinite(values)
    first = np.take_along_axis(values, known.argmax(axis=0)[None], axis=0)[0]
    return np.where(known.any(axis=0), first, np.nan)


def _dataset(
    cells: Mapping[tuple[str, str, str], Mapping[str, _Cell]], prepared: _Prepared, options: Options, omitted: list[str]
) -> xr.Dataset:
    """Return the scores of all cells in the layout of :mod:`neuromvm.analysis.judged`."""
    representations, decoders, settings = (list(dict.fromkeys(keys)) for keys in zip(*cells, strict=True))
    animals = list(prepared.samples.children)
    draws = prepared.shifted[animals[0]].shape[2] - 1

    def stacked(field: str) -> Floats:
        """Return a field ``(..., representation, decoder, setting, measure, animal)``."""
        of_cells = []
        for key in product(representations, decoders, settings):
            of_targets = cells.get(key, {})
            arrays = []
            for animal in animals:
                shape = prepared.labels[animal].values.shape
                arrays.append(getattr(of_targets.get(animal, _Cell.absent(shape, options, draws)), field))
            of_cells.append(np.stack(arrays, axis=-1))
        joined = np.stack(of_cells, axis=-3)
        return joined.reshape(*joined.shape[:-3], len(representations), len(decoders), len(settings), *joined.shape[-2:])

    value, bootstrap, null = stacked("value"), stacked("bootstrap"), stacked("null")
    sign = np.where(np.isin(MEASURES, ERRORS), -1.0, 1.0)[:, None]
    under = under_null(sign * judged.with_mean(value), sign * judged.with_mean(null))
    lows_and_highs = np.where(sign[..., None] < 0, -under[..., [2, 1]], under[..., [1, 2]])
    under = np.concatenate([sign[..., None] * under[..., :1], lows_and_highs, under[..., 3:]], axis=-1)
    differences = [_judged(value - value[[index]], bootstrap - bootstrap[:, [index]], options.seed) for index in range(len(value))]
    tested = [is_tested.sum() for is_tested in _ever_tested(cells, animals)]
    absent = "" if draws else "trials that were scored were fitted on" if in_sample(prepared.splits) else "no shifts were asked for"
    variables = {
        "score": ((*DIMS, "unit_of_inference", "statistic"), _judged(value, bootstrap, options.seed)),
        "difference": (("reference", *DIMS, "unit_of_inference", "statistic"), np.stack(differences)),
        "null_score": (("null", *DIMS, "null_statistic"), under[None]),
        "null_absent": (("null", "representation"), [[absent] * len(representations)]),
        "null_kind": (("null", "representation"), [[_null_words(prepared.kind, draws)] * len(representations)]),
        "null_draws": (("null", "representation"), [[draws] * len(representations)]),
        "chance": (DIMS, judged.with_mean(stacked("chance"))),
        "trials": (("target",), np.array([sum(tested), *tested])),
        **_predicted(cells, (representations, decoders, settings), prepared),
    }
    coords = {
        "representation": representations,
        "decoder": decoders,
        "setting": settings,
        "measure": list(MEASURES),
        "target": [ALL_ANIMALS, *animals],
        "reference": representations,
        "null": [LABELS],
        **judged.STATISTIC_COORDS,
    }
    node = prepared.samples[animals[0]].to_dataset()
    along = str(node["window"].attrs.get("dim", "time"))
    unit = ("s" if along == "time" else f"units of {along}") if options.label == "window" else f"units of {options.label}"
    attrs = {
        "label": f"{along} of the window" if options.label == "window" else options.label,
        "unit": unit,
        "period": 0.0 if options.period is None else options.period,
        "reference": options.reference if options.reference in representations else "",
        "interval": f"95 % over {options.bootstraps} bootstrap draws of test trials within animal",
        "omitted": "; ".join(omitted),
        "windows": node.sizes["window"],
        "splits": next(iter(prepared.splits.children.values())).sizes["split"],
        "in_sample": int(in_sample(prepared.splits)),
    }
    return xr.Dataset(variables, coords, attrs)


def _judged(value: Floats, bootstrap: Floats, seed: int) -> Floats:
    """Return ``(..., target, unit_of_inference, statistic)`` of ``(..., animal)``: the mean first, over animals only for it."""
    statistics = judged.over_trials_alone(judged.with_mean(value), judged.with_mean(bootstrap))
    for index in np.ndindex(value.shape[:-1]):
        interval = hierarchy.over_animals(value[index], bootstrap[(slice(None), *index)], np.random.default_rng(seed))
        statistics[(*index, 0, 1, slice(1, None))] = interval.low, interval.high
    return statistics


def _null_words(kind: str, draws: int) -> str:
    return f"{draws} {SHIFTS[kind]}, decoders fitted again, alignments and models not"


def _ever_tested(cells: Mapping[tuple[str, str, str], Mapping[str, _Cell]], animals: list[str]) -> list[np.ndarray]:
    tested = []
    for animal in animals:
        masks = [np.isfinite(of[animal].predicted).any(axis=1) for of in cells.values() if animal in of]
        tested.append(np.any(masks, axis=0))
    return tested


def _predicted(
    cells: Mapping[tuple[str, str, str], Mapping[str, _Cell]], names: tuple[list[str], list[str], list[str]], prepared: _Prepared
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Return the predictions of all samples that are tested, with their true labels."""
    animals = list(prepared.samples.children)
    places = [np.nonzero(np.isfinite(labels.values)) for labels in prepared.labels.values()]
    rows = []
    for key in product(*names):
        of_targets = cells.get(key, {})
        rows.append(
            np.concatenate(
                [
                    of_targets[animal].predicted[place] if animal in of_targets else np.full(len(place[0]), np.nan)
                    for animal, place in zip(animals, places, strict=True)
                ]
            )
        )
    predicted = np.array(rows, dtype=np.float32)
    tested = np.isfinite(predicted).any(axis=0)
    shape = [len(of_dim) for of_dim in names]
    true = np.concatenate([prepared.labels[animal].values[place] for animal, place in zip(animals, places, strict=True)])
    return {
        "predicted": (("representation", "decoder", "setting", "sample"), predicted[:, tested].reshape(*shape, -1)),
        "true": (("sample",), true[tested]),
        "animal": (("sample",), np.repeat(animals, [len(place[0]) for place in places])[tested]),
        "trial": (("sample",), np.concatenate([place[0] for place in places])[tested]),
        "window": (("sample",), np.concatenate([place[1] for place in places])[tested]),
    }


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each measure, representation, decoder and setting that is scored."""
    lines = []
    for measure, setting, decoder, representation in product(*(scores[dim].values for dim in ("measure", "setting", "decoder", "representation"))):
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
