"""Representations that decoders see: raw features, latents of a model, or alignments (:mod:`neuromvm.analysis.baselines`)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.classifiers import Classifier, Logistic
from neuromvm.data.activity_kinds import kind_of
from neuromvm.data.features import Scaler, features, fit_scaler
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SchemaError
from neuromvm.schema import is_fitted, is_scored

Floats = NDArray[np.floating]


class Training(NamedTuple):
    """Training-side samples of one animal in one split."""

    features: Floats  # (sample, feature)
    match: NDArray[np.int16]  # (sample,) code that paired samples share


def training_side(splits: xr.DataTree, split: int, animal: str) -> NDArray[np.bool_]:
    """Return which trials may be fitted on, ``(trial,)``: training and validation."""
    return is_fitted(splits[animal]["part"].to_numpy()[split])


def held_out(splits: xr.DataTree, split: int, animal: str) -> NDArray[np.bool_]:
    """Return which trials are scored, ``(trial,)``; they are held out unless :func:`in_sample`."""
    return is_scored(splits[animal]["part"].to_numpy()[split])


def ever_held_out(splits: xr.DataTree, animal: str) -> NDArray[np.bool_]:
    """Return which trials are scored in any split, ``(trial,)``."""
    return np.asarray(is_scored(splits[animal]["part"].to_numpy()).any(axis=0))


class Inputs:
    """Scaled features of every animal, as each split sees them.

    The transform, scale and clip of the spec that made the samples are applied, the scale fitted on training-side trials of the
    split.
    """

    def __init__(self, samples: xr.DataTree, splits: xr.DataTree) -> None:
        self._spec = spec = sample_spec(samples)
        self._activity = {name: node.to_dataset()["activity"] for name, node in samples.children.items()}
        self._features = {name: features(activity, spec) for name, activity in self._activity.items()}
        self._match = {name: node["match"].to_numpy() for name, node in samples.children.items()}
        self.animals = list(self._features)
        self.bins = next(iter(self._activity.values())).sizes["bin"]  # the same in all animals
        self._divide(splits)

    def in_splits(self, splits: xr.DataTree) -> Self:
        """Return the same samples in other splits, without a copy of their features."""
        inputs = copy(self)
        inputs._divide(splits)
        return inputs

    def _divide(self, splits: xr.DataTree) -> None:
        self.splits = next(iter(splits.children.values())).sizes["split"]
        self._sides = {(split, name): training_side(splits, split, name) for split in range(self.splits) for name in self.animals}
        self._scalers = {(split, name): self._scaler(split, name) for split in range(self.splits) for name in self.fitted(split)}

    def fitted(self, split: int) -> list[str]:
        """Return the animals with training-side trials, which scaling and alignment need."""
        return [name for name in self.animals if self._sides[split, name].any()]

    def scaled(self, split: int, animal: str) -> Floats:
        """Return the features of every trial, ``(trial, window, feature)``."""
        return self._scalers[split, animal](self._features[animal])

    def counts(self, animal: str) -> NDArray[np.unsignedinteger]:
        """Return the counts of every trial as recorded, ``(trial, window, feature)``; SchemaError if activity is not counts."""
        activity = self._activity[animal].transpose("trial", "window", "bin", "unit").to_numpy()
        if activity.dtype.kind not in "ui":
            raise SchemaError(f"animal {animal}", found=f"activity of type {activity.dtype}", expected="counts of spikes")
        return np.asarray(activity.reshape(*activity.shape[:2], -1))

    def training(self, split: int, animal: str) -> Training:
        """Return the training-side samples that have a match code."""
        side = self._sides[split, animal]
        match = self._match[animal][side]
        return Training(self.scaled(split, animal)[side][match >= 0].astype(np.float64), match[match >= 0])

    def _scaler(self, split: int, animal: str) -> Scaler:
        side = self._sides[split, animal]
        training = self._features[animal][side]
        flat = training.reshape(-1, training.shape[-1])
        activity = self._activity[animal]
        return fit_scaler(self._spec, flat, self._match[animal][side].reshape(-1), activity.sizes["unit"], kind_of(activity))


class Representation(ABC):
    """Features of the samples of every animal, as decoders see them.

    ``replicas`` are the split of each replica: a model has one for each split and seed, a baseline one for each split. ``shared``
    says whether all animals lie in one space, so that one decoder can be fitted on several animals. ``pools`` says that without
    such a space there is one decoder of all animals, whose samples are those seen by the source ``pooled``.
    """

    pools = False

    def __init__(self, replicas: Sequence[int], *, shared: bool) -> None:
        self.replicas = [int(split) for split in replicas]
        self.shared = shared

    @abstractmethod
    def classifier(self, replica: int) -> Classifier:
        """Return an unfitted classifier for a replica."""

    @abstractmethod
    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the samples of ``target`` as a decoder of ``source`` sees them ``(trial, window, feature)``; None if it cannot.

        No map of samples may have been fitted on trials held out.
        """


class Penalised(Representation):
    """Features read by logistic regressions; ``inverse_penalty`` is their C, or one for each split."""

    def __init__(self, replicas: Sequence[int], *, inverse_penalty: float | Sequence[float], shared: bool) -> None:
        super().__init__(replicas, shared=shared)
        self._inverse_penalty = inverse_penalty

    def classifier(self, replica: int) -> Classifier:
        """Return a logistic regression with the penalty of the split."""
        penalty = self._inverse_penalty
        return Logistic(penalty if isinstance(penalty, float | int) else penalty[self.replicas[replica]])

    def with_penalty(self, inverse_penalty: float) -> Self:
        """Return the same features, not fitted again, read with another penalty."""
        reread = copy(self)
        reread._inverse_penalty = inverse_penalty
        return reread


class Unaligned(Representation):
    """Features of each animal alone, which only its own decoder sees, in these splits or all."""

    def __init__(self, inputs: Inputs, classifier: Callable[[], Classifier], splits: Sequence[int] | None = None) -> None:
        super().__init__(range(inputs.splits) if splits is None else splits, shared=False)
        self.inputs, self._classifier = inputs, classifier

    def classifier(self, replica: int) -> Classifier:
        """Return the same classifier for every split."""
        return self._classifier()

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the features of the animal, if it has training trials."""
        split = self.replicas[replica]
        return self.own(split, target) if source == target and target in self.inputs.fitted(split) else None

    def own(self, split: int, animal: str) -> Floats:
        """Return the scaled features of an animal ``(trial, window, feature)``."""
        return self.inputs.scaled(split, animal)


class RawFeatures(Unaligned):
    """The scaled features themselves, read by logistic regression."""

    def __init__(self, inputs: Inputs, *, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        super().__init__(inputs, partial(Logistic, inverse_penalty), splits)


class Latents(Penalised):
    """Posterior means of a model's shared latents, each divided by its standard deviation over all animals' training sides.

    A common divisor keeps the alignment between animals as the model made it. Animals for which a replica has no latents (all
    NaN) are not seen. ``inverse_penalty`` is C of the logistic regressions, or one for each split.
    """

    def __init__(self, latents: xr.DataTree, splits: xr.DataTree, *, inverse_penalty: float | Sequence[float]) -> None:
        nodes = {name: node.to_dataset() for name, node in latents.children.items()}
        replicas = next(iter(nodes.values()))["split"].to_numpy().tolist()
        super().__init__(replicas, inverse_penalty=inverse_penalty, shared=True)
        self._means = {}
        for name, node in nodes.items():
            if node.sizes["trial"] != splits[name].sizes["trial"]:
                raise SchemaError(
                    f"latents/{name}",
                    found=f"{node.sizes['trial']} trials",
                    expected=f"{splits[name].sizes['trial']}, as in the splits",
                )
            # Latents that are private to an animal do not correspond between animals.
            shared = node.isel(latent=node["shared"].to_numpy()) if "shared" in node.coords else node
            self._means[name] = shared["latent_mean"].transpose("replica", "trial", "window", "latent").to_numpy()
        self._spread = [self._pooled_deviation(replica, splits) for replica in range(len(self.replicas))]

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the latents of the target, whatever the source."""
        values = self._means[target][replica]
        return None if np.isnan(values).all() else values / self._spread[replica]

    def _pooled_deviation(self, replica: int, splits: xr.DataTree) -> Floats:
        split = self.replicas[replica]
        training = [means[replica][training_side(splits, split, name)] for name, means in self._means.items()]
        flat = np.concatenate([values.reshape(-1, values.shape[-1]) for values in training])
        spread = np.nanstd(flat, axis=0, dtype=np.float64)
        return np.where(spread > 0, spread, 1.0)
