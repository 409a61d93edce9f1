"""The linear counterpart of a model adapted to a new animal: maps of all known animals frozen, a regression for the new one."""

from collections.abc import Mapping

import numpy as np
from sklearn.linear_model import Ridge

from neuromvm.analysis.baselines.mcca import scaled_maps
from neuromvm.analysis.baselines.procrustes import class_means
from neuromvm.analysis.baselines.projections import LinearMap, Map, Projections, fit_splits
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training
from neuromvm.errors import SplitError


class FrozenCanonicalVariates(Projections):
    """Canonical variates of known animals, and a map of a new animal onto them by ridge regression.

    The maps of the known animals are fitted without the new animal. In the objective of multiset canonical correlation, with
    these maps fixed, the best map of one more animal is the regression of its whitened features on the variates of the known
    animals; over infinitely many draws of matched samples these are the class means. Each variate of the new animal is then
    scaled to the spread of the class means, since a penalised regression shrinks it and the decoders are not refitted.
    ``map_ridge`` is added to the covariance of the new animal's scaled features.
    """

    def __init__(
        self, inputs: Inputs, animal: str, *, components: int, ridge: float, map_ridge: float, inverse_penalty: float
    ) -> None:
        def fit(training: Mapping[str, Training]) -> dict[str, LinearMap]:
            known = {name: side for name, side in training.items() if name != animal}
            maps = scaled_maps(known, components, ridge)
            return {**maps, animal: LinearMap(0.0, map_onto(training[animal], known, maps, map_ridge))}

        super().__init__(inputs, fit_splits(inputs, None, fit), None, inverse_penalty=inverse_penalty, shared=True)


def map_onto(new: Training, known: Mapping[str, Training], maps: Mapping[str, Map], ridge: float) -> Floats:
    """Regress the canonical variates of known animals on the features of a new animal, ``(feature, component)``.

    ``maps`` are those of the known animals; SplitError if these have no class of the new one.
    """
    codes = np.unique(np.concatenate([side.match for side in known.values()]))
    variates = {name: maps[name](side.features) for name, side in known.items()}
    means = {}
    for code in codes:
        having = [name for name, side in known.items() if code in side.match]
        means[int(code)] = np.mean([class_means(variates[name], known[name].match, code[None])[0] for name in having], axis=0)
    labelled = np.isin(new.match, codes)
    if not labelled.any():
        raise SplitError("linear map", found="a new animal without any class of the others", expected="common classes")
    target, features = np.stack([means[int(code)] for code in new.match[labelled]]), new.features[labelled]
    weights = Ridge(alpha=ridge * len(features), fit_intercept=False).fit(features, target).coef_.T
    size = np.sqrt(np.square(features @ weights).mean(axis=0))
    return np.asarray(weights * np.sqrt(np.square(target).mean(axis=0)) / np.where(size > 0, size, 1))
