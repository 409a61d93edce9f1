"""Representations of a run with their decoders, and the scores of each."""

import zlib
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.baselines.catalogue import BaselineOptions, baseline, missing
from neuromvm.analysis.continuous.bayes import BayesDecoder, Grid, Likelihood
from neuromvm.analysis.continuous.measures import MEASURES, measures_of
from neuromvm.analysis.continuous.options import RAW, DecoderName, Options
from neuromvm.analysis.continuous.prediction import READERS, STRETCH, Decoder, Inferred, Problem, Reader, Regressed
from neuromvm.analysis.continuous.prepared import Few, Prepared
from neuromvm.analysis.continuous.regression import Regression
from neuromvm.analysis.readouts.representations import Inputs, Latents, Representation
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats, LabelRows
from neuromvm.data.features import recorded_features


class Cell(NamedTuple):
    """Scores of one target by one decoder."""

    value: Floats  # (measure,)
    bootstrap: Floats  # (draw, measure)
    null: Floats  # (draw, measure)
    chance: Floats  # (measure,)
    predicted: Floats  # (trial, window), of the first replica that tests a sample

    @classmethod
    def absent(cls, shape: tuple[int, ...], options: Options, draws: int) -> "Cell":
        """Return a cell of a decoder that does not exist."""
        value, bootstrap, null = (np.full((*size, len(MEASURES)), np.nan) for size in ((), (options.bootstraps,), (draws,)))
        return cls(value, bootstrap, null, value, np.full(shape, np.nan))


class Rows:
    """Representations of a run and their decoders; ``omitted`` says what could not be scored, and why."""

    def __init__(self, prepared: Prepared, models: Sequence[str], few: Few, options: Options, settings: BaselineOptions) -> None:
        self._prepared, self._options, self._baseline_settings = prepared, options, settings
        absent = {str(name): reason for name in options.baselines if (reason := missing(name, prepared.samples))}
        self._baselines = [name for name in options.baselines if name not in absent]
        self.omitted = [f"{name}: {reason}" for name, reason in absent.items()]
        untrained = [f"{number} training trials a class" for number in options.trials if number not in few]
        for setting in [STRETCH] * (options.stretches > 0) + untrained if models else ():
            self.omitted.append(f"{', '.join(models)} with {setting}: trained on all training trials of the animal")
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

    def predicted(self, problems: Sequence[Problem]) -> list[tuple[str, str, str, str, Cell]]:
        """Return representation, decoder, reader and target with their scores in one setting."""
        predicted_labels: dict[tuple[str, str, str, str], _Predictions] = {}
        for problem in problems:
            for name, representation in self._representations(problem).items():
                for decoder, target in product(self._decoders, problem.targets):
                    recorded = self._recorded if self._reads_recorded(name, decoder) else None
                    reader = Reader(representation, problem, self._prepared.labels, self._prepared.null_labels, recorded)
                    fitted = self._decoder(decoder, name)
                    for kind in READERS[: 2 if representation.shared else 1]:
                        key = name, decoder, kind, target
                        if key not in predicted_labels:
                            shape = self._prepared.null_labels[kind][target].shape
                            predicted_labels[key] = _Predictions(len(representation.replicas), shape)
                        for replica, tested, labels, guess in reader.predictions(target, kind, fitted, self._prepared.scale):
                            predicted_labels[key].enter(replica, tested, labels, guess)
        return [(*key, self._cell(predictions, *key[2:])) for key, predictions in predicted_labels.items()]

    def _representations(self, problem: Problem) -> dict[str, Representation]:
        inputs = Inputs(problem.samples, problem.splits)
        fitted: dict[str, Representation] = {
            name: Latents(tree, problem.splits, inverse_penalty=1.0) for name, tree in problem.latents.items()
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
        if decoder == "bayes" or decoder == "bayes path":
            return Inferred(BayesDecoder(self._grid, self._likelihood(name), prepared.conditions, decoder == "bayes path"))
        regression = Regression(decoder, options.penalties, options.folds, options.kernel_width, options.kernel_samples)
        return Regressed(regression, prepared.scale)

    def _cell(self, predictions: "_Predictions", reader: str, target: str) -> Cell:
        """Score the predictions of a target."""
        labels, scale, options = self._prepared.null_labels[reader][target], self._prepared.scale, self._options
        columns = labels.shape[2]
        tested = np.asarray(np.isfinite(predictions.values[..., 0]).any(axis=(0, 2)))
        if not tested.any():
            return Cell.absent(labels.shape[:2], options, columns - 1)
        # Draws depend on the target and the tested trials only, so that representations can be compared draw by draw.
        rng = np.random.default_rng([options.seed, zlib.crc32(target.encode()), 1])
        drawn = over_trials.bootstrap(LabelRows.of(np.zeros((int(tested.sum()), 1), np.int16)), options.bootstraps, rng)
        weight = np.zeros((options.bootstraps, tested.size))
        weight[:, tested] = drawn[:, :, 0]
        unchanged, values = np.ones((1, tested.size)), predictions.values
        null = [measures_of(values[..., column], labels[..., column], scale, unchanged)[0] for column in range(1, columns)]
        return Cell(
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

    def enter(self, replica: int, tested: NDArray[np.bool_], labels: Floats, guess: float) -> None:
        """Enter the predictions of tested windows."""
        self.values[replica, tested] = labels
        self.guess[replica, tested] = guess


def _first_known(values: Floats) -> Floats:
    known = np.isfinite(values)
    true_values = np.take_along_axis(values, known.argmax(axis=0)[None], axis=0)[0]
    return np.where(known.any(axis=0), true_values, np.nan)
