"""How the consistency of activity between animals falls when the units that matter most to it are left out.

Units of an animal are ranked on the training side of a split: by the score of the animal with each other animal, as training
trials give it, without the unit. The most influential units of every animal are then left out of its test trials, and as a
reference as many units drawn at random. All measures are computed from inner products of class means, which are sums over units,
so no mean is computed again. The question is that of arXiv:2605.05907: whether a score rests on a few units.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.consistency.between_animals import Measure, scored_pairs
from neuromvm.analysis.consistency.class_means import Layout, Side
from neuromvm.analysis.consistency.similarity import Products
from neuromvm.analysis.readouts.representations import Floats, Representation, held_out, training_side
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.hierarchy import between_animals, mean_of_pairs, over_pairs
from neuromvm.schema import subjects

FEWEST_KEPT = 2  # units of an animal
KIND = "{draws} draws of as many units of each animal at random, in place of the most influential ones"


class UnitProducts(NamedTuple):
    """What each unit of an animal adds to inner products of class means, each ``(unit, condition, condition)``."""

    fitted: Floats  # fitted with fitted
    cross: Floats  # held with fitted
    held: Floats  # held with held
    apart: Floats  # of held-out trials, over pairs of different trials
    fitted_apart: Floats  # the same of fitted trials

    @classmethod
    def of(
        cls, representation: Representation, replica: int, animal: str, samples: xr.DataTree, splits: xr.DataTree, layout: Layout
    ) -> "UnitProducts":
        """Average an animal's trials of each condition for each unit; features are flattened ``(bin, unit)``."""
        node, split = samples[animal].to_dataset(), representation.replicas[replica]
        values = representation.seen(replica, animal, animal)
        assert values is not None  # the layout has asked for training trials of every animal
        codes, units = layout.conditions(node["label"].to_numpy()), node.sizes["unit"]
        sides = [side(splits, split, animal) for side in (training_side, held_out)]
        products = []
        for unit in range(units):
            of_unit = values[..., unit::units]
            fitted, held = (Side(of_unit[trials], codes[trials], len(layout.groups)) for trials in sides)
            means = fitted.means(), held.means()
            products.append((*Products.of(*means), held.apart(means[1]), fitted.apart(means[0])))
        return cls(*(np.stack(arrays) for arrays in zip(*products, strict=True)))

    def kept(self, weights: Floats) -> tuple[Products, Floats]:
        """Return products, and products over different held-out trials, of the units with weight 1 ``(draw, unit)``."""
        fitted, cross, held, apart, _ = (np.tensordot(weights, products, axes=1) for products in self)
        return Products(fitted, cross, held), apart

    def kept_of_training(self, weights: Floats) -> tuple[Products, Floats]:
        """Return the same with training trials in place of held-out ones."""
        fitted, apart = (np.tensordot(weights, products, axes=1) for products in (self.fitted, self.fitted_apart))
        return Products(fitted, fitted, fitted), apart


def falls(
    representation: Representation,
    samples: xr.DataTree,
    splits: xr.DataTree,
    layout: Layout,
    measures: Sequence[Measure],
    numbers: Sequence[int],
    *,
    ridge: float,
    draws: int,
    seed: int,
) -> xr.Dataset:
    """Leave the most influential units of every animal out, and as many at random.

    ``representation`` holds activity, with the units of the samples. ``numbers`` of units that would leave an animal fewer than
    two are passed over.

    Returns
    -------
    Mean over ordered pairs of animals and splits, ``(measure, left_out)``: ``without_value``, the score without the units;
    ``fall``, by how much it is lower than with all units, with ``fall_low, fall_high``; and of units at random ``fall_null_mean,
    fall_null_low, fall_null_high, fall_p``. Attribute ``null_units`` says in words what was drawn.
    """
    animals = list(samples.children)
    units = [samples[animal].sizes["unit"] for animal in animals]
    numbers = [number for number in numbers if number <= min(units) - FEWEST_KEPT]
    kept_at_random = [
        [_without_random(count, number, draws, animal, seed) for animal, count in zip(animals, units, strict=True)]
        for number in numbers
    ]
    replicas = []
    for replica in range(len(representation.replicas)):
        products = [UnitProducts.of(representation, replica, animal, samples, splits, layout) for animal in animals]
        values = np.empty((len(measures), len(numbers), 2 + draws, len(animals), len(animals)))
        for row, measure in enumerate(measures):
            order = influence_order(products, measure, layout, ridge)
            for column, (number, at_random) in enumerate(zip(numbers, kept_at_random, strict=True)):
                kept = [
                    of_animal.kept(np.vstack([np.ones(len(ranked)), _without(ranked[:number], len(ranked)), drawn]))
                    for of_animal, ranked, drawn in zip(products, order, at_random, strict=True)
                ]
                values[row, column] = between_animals(scored_pairs(measure, kept, layout, ridge), subjects(samples))
        replicas.append(values)
    return _summary(over_trials.mean_of_scored(np.stack(replicas), axis=0), measures, numbers, subjects(samples))


def influence_order(products: Sequence[UnitProducts], measure: Measure, layout: Layout, ridge: float) -> list[NDArray[np.intp]]:
    """Return the units of each animal, those first without which its training trials are least consistent with other animals'.

    A linear map is scored on conditions that it was not fitted on, since training trials are one side only.
    """
    on_training: Measure = "new conditions" if measure == "linear map" else measure
    order = []
    for animal in products:
        units = len(animal.held)
        without = animal.kept_of_training(1 - np.eye(units))
        score = np.zeros(units)
        for partner in products:
            if partner is not animal:
                inner, apart = partner.kept_of_training(np.ones((1, len(partner.held))))
                whole = Products(*(_repeated(product, units) for product in inner)), _repeated(apart, units)
                score += mean_of_pairs(scored_pairs(on_training, [without, whole], layout, ridge))
        order.append(np.argsort(score, kind="stable"))
    return order


def _summary(values: Floats, measures: Sequence[Measure], numbers: Sequence[int], of_subject: NDArray[np.intp]) -> xr.Dataset:
    """Summarise ``(measure, left_out, draw, source, target)``: all units, without the most influential, at random."""
    lost = values[:, :, :1] - values[:, :, 1:]
    means = np.moveaxis(mean_of_pairs(lost), 2, 0)
    judged = over_trials.judged(means[0], means[:0], means[1:])
    bounds = [[over_pairs(pairs, of_subject)[1:3] for pairs in of_measure] for of_measure in lost[:, :, 0]]
    low, high = np.moveaxis(np.reshape(bounds, (*means.shape[1:], 2)), -1, 0)
    arrays = {"without_value": mean_of_pairs(values[:, :, 1]), "fall": means[0], "fall_low": low, "fall_high": high}
    arrays |= {f"fall_{key}": judged[key] for key in ("null_mean", "null_low", "null_high", "p")}
    coords = {"measure": list(measures), "left_out": np.array(numbers, dtype=np.int64)}
    draws = values.shape[2] - 2
    variables = {key: (("measure", "left_out"), array) for key, array in arrays.items()}
    return xr.Dataset(variables, coords, {"null_units": KIND.format(draws=draws), "null_units_draws": draws})


def _without(left_out: NDArray[np.intp], units: int) -> Floats:
    return np.where(np.isin(np.arange(units), left_out), 0.0, 1.0)


def _without_random(units: int, number: int, draws: int, animal: str, seed: int) -> Floats:
    """Return weights that leave units of an animal out at random, ``(draw, unit)``, the same in all splits."""
    random = np.random.default_rng([seed, number, zlib.crc32(animal.encode())])
    return np.stack([_without(random.permutation(units)[:number], units) for _ in range(draws)])


def _repeated(products: Floats, draws: int) -> Floats:
    return np.broadcast_to(products, (draws, *products.shape[1:]))
