"""What an analysis of a continuous label starts from: labels, those of the null, and what is trained and tested."""

import zlib
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.analysis.continuous.labels import Labels, Scale, continuous_label, null_kind, renamed, shifted, time_order
from neuromvm.analysis.continuous.options import Options
from neuromvm.analysis.continuous.prediction import READERS, STRETCH, WITHIN, Problem, plain, with_few_trials, with_stretches
from neuromvm.analysis.decoding.few_shot import NewAnimal
from neuromvm.analysis.readouts.decoders import OTHERS
from neuromvm.analysis.statistics.over_trials import Floats
from neuromvm.schema import in_sample

Few = Mapping[int, Mapping[str, NewAnimal]]  # training trials a class -> target -> what models inferred with so few trials


class Prepared(NamedTuple):
    """Labels of every animal, true and as they are under the null hypotheses."""

    samples: xr.DataTree
    splits: xr.DataTree
    scale: Scale
    labels: dict[str, Labels]
    null_labels: dict[str, dict[str, Floats]]  # reader -> animal -> (trial, window, 1 + draw), the true label first
    conditions: int
    kind: Literal["session", "trial"]  # of shifts, the null of decoders of the animal itself
    draws: int

    @classmethod
    def of(cls, recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, options: Options) -> "Prepared":
        """Read the label and draw its null labels; errors are those of ``predict_label``."""
        scale = Scale(options.period)
        values = continuous_label(options.label, recordings, samples, scale)
        names = {animal: _condition(animal, samples, options.condition) for animal in samples.children}
        known = np.unique(np.concatenate(list(names.values())))
        kind = null_kind(values, options.null)
        draws = 0 if in_sample(splits) else options.permutations
        labels: dict[str, Labels] = {}
        null_labels: dict[str, dict[str, Floats]] = {reader: {} for reader in READERS}
        for animal, node in samples.children.items():
            order = time_order(animal, node.to_dataset(), options.order)
            labels[animal] = Labels(values[animal], order, np.searchsorted(known, names[animal]))
            rng = np.random.default_rng([options.seed, zlib.crc32(animal.encode())])
            null_labels[WITHIN][animal] = shifted(labels[animal], kind, draws, rng)
            null_labels[OTHERS][animal] = renamed(values[animal], scale, draws, rng)
        return cls(samples, splits, scale, labels, null_labels, len(known), kind, draws)


def _condition(animal: str, samples: xr.DataTree, condition: str | None) -> NDArray[np.str_]:
    node = samples[animal].to_dataset()
    if condition is None:
        return np.zeros(node.sizes["trial"], dtype="<U1")
    return np.asarray(schema.trial_label(animal, node, condition).to_numpy().astype(str))


def problems_of(
    prepared: Prepared, latents: Mapping[str, xr.DataTree], few: Few, options: Options
) -> list[tuple[str, list[Problem]]]:
    """Return the words of every setting, '' for the run's own trials, and what is trained and tested in it."""
    samples, splits = prepared.samples, prepared.splits
    settings = [("", plain(samples, splits, latents))]
    if options.stretches and not in_sample(splits):
        settings.append((STRETCH, with_stretches(samples, splits, prepared.labels, options.stretches)))
    for number in () if in_sample(splits) else options.trials:
        words = f"{number} training trial{'s' if number > 1 else ''} a class"
        settings.append((words, with_few_trials(samples, splits, number, options.seed, few.get(number, {}))))
    return settings
