"""The linear counterpart of a model adapted to a new animal: maps of all others frozen, one regression for the new one."""

from collections.abc import Mapping

import numpy as np
from sklearn.linear_model import Ridge

from neuromvm.analysis.baselines.mcca import multiset_cca
from neuromvm.analysis.baselines.procrustes import class_means
from neuromvm.analysis.readouts.classifiers import Classifier, Logistic
from neuromvm.analysis.readouts.representations import Floats, Inputs, Representation, Training
from neuromvm.errors import SplitError


class FrozenCanonicalVariates(Representation):
    """Canonical variates of the other animals, and a map of the new one onto them by ridge regression.

    The maps of the others are fitted without the new animal. In the objective of multiset canonical correlation, with these
    maps fixed, the best map of one more animal is the regression of its whitened features on the variates of the others; over
    endless draws of matched samples those are their class means. Each variate of the new animal is then
    scaled to the spread that the class means have, since a penalised regression shrinks it and the decoders are not refitted.

    Parameters
    ----------
    inputs
        Features of all animals, as splits with few trials of the new one see them.
    animal
        The new one.
    components, ridge
        As in :func:`neuromvm.analysis.baselines.mcca.multiset_cca`, of the other animals.
    map_ridge
        Added to the covariance of the new animal's scaled features.
    inverse_penalty
        ``C`` of the decoders.
    """

    def __init__(
        self, inputs: Inputs, animal: str, *, components: int, ridge: float, map_ridge: float, inverse_penalty: float
    ) -> None:
        super().__init__(range(inputs.splits), shared=True)
        self._inputs, self._inverse_penalty = inputs, inverse_penalty
        self.maps: list[dict[str, Floats]] = []
        for split in self.replicas:
            others = {name: inputs.training(split, name) for name in inputs.fitted(split) if name != animal}
            maps = multiset_cca(others, components, ridge)
            spread = np.concatenate([one.features @ maps[name] for name, one in others.items()]).std(axis=0)
            maps = {name: one / spread for name, one in maps.items()}
            self.maps.append({**maps, animal: map_onto(inputs.training(split, animal), others, maps, map_ridge)})

    def classifier(self, replica: int) -> Classifier:
        """Return a logistic regression."""
        return Logistic(self._inverse_penalty)

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the target's canonical variates, whatever the source."""
        if target not in self.maps[replica]:
            return None
        variates: Floats = self._inputs.scaled(self.replicas[replica], target) @ self.maps[replica][target]
        return variates


def map_onto(new: Training, others: Mapping[str, Training], maps: Mapping[str, Floats], ridge: float) -> Floats:
    """Regress the canonical variates of other animals on the features of a new one, ``(feature, component)``.

    Parameters
    ----------
    new, others
        Training sides.
    maps
        Of the others, ``(feature, component)``.
    ridge
        In units of the variance of a scaled feature.

    Raises
    ------
    SplitError
        If no class of the new animal is known of the others.
    """
    codes = np.unique(np.concatenate([one.match for one in others.values()]))
    variates = {name: one.features @ maps[name] for name, one in others.items()}
    aim = {}
    for code in codes:
        means = [class_means(variates[name], one.match, np.array([code])) for name, one in others.items() if code in one.match]
        aim[int(code)] = np.mean(means, axis=0)[0]
    known = np.isin(new.match, codes)
    if not known.any():
        raise SplitError("linear map", found="a new animal without any class of the others", expected="common classes")
    wanted = np.stack([aim[int(code)] for code in new.match[known]])
    features = new.features[known]
    fitted = Ridge(alpha=ridge * len(features), fit_intercept=False).fit(features, wanted).coef_.T
    reached = np.sqrt(np.square(features @ fitted).mean(axis=0))
    return np.asarray(fitted * np.sqrt(np.square(wanted).mean(axis=0)) / np.where(reached > 0, reached, 1))
