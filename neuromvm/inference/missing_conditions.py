"""Activity that classes would evoke in an animal that was never labelled for them, predicted from the animals that were."""

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.data.features import Floats, Transform
from neuromvm.data.held_out import conditions
from neuromvm.data.permutation import draw_permutation
from neuromvm.errors import ArgumentError
from neuromvm.inference.decoded import without_private
from neuromvm.inference.fitted_stack import FittedStack

Means = NDArray[np.float64]


@torch.no_grad()
def predict_class_means(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree) -> xr.DataTree:
    r"""Predict the mean activity of every class in every animal from the training side of all other animals.

    Sessions of one animal (:func:`neuromvm.schema.subjects`) do not predict each other.

    Parameters
    ----------
    fitted
        A stack of at least two animals, see :func:`neuromvm.fit`.
    samples, splits
        As trained on. An animal may lack classes on its training side; its trials of other parts are not used.

    Returns
    -------
    One node a target: ``predicted (replica, class, feature)``, float32, in the scaled features that the target's encoder sees;
    ``latent_mean (replica, animal, class, latent)``, float32, the mean latents of the other animals; ``seen (replica, class)``,
    whether the target's training side has the class. NaN where a class is on the training side of no other animal, or of not
    this animal. Coordinates: ``class``, ``animal`` and, on replica, ``split``, ``seed`` and ``permutation``.

    Raises
    ------
    ArgumentError
        If the stack has a single animal.

    Notes
    -----
    With z_sc the mean over training samples of class c of the posterior means of animal s, D the decoder of the target (its
    expectation) and S the classes that both the target and another animal have,

    .. math::

        p_c = \frac{1}{|A_c|} \sum_{s \in A_c} D(z_{sc}), \qquad
        \mathrm{predicted}_c = p_c + \frac{1}{|S|} \sum_{k \in S} (\bar x_k - p_k)

    over the animals A_c other than the target that have class c. The target's own labels enter by the mean residual of its seen
    classes alone, and by the training of its decoder. Latents that are private to another animal (MMVAE+) are at 0. Where the
    likelihood scores activity as recorded, the expectation is transformed and scaled, which is not the expectation of transformed
    activity: the mean residual removes what of this difference the classes have in common.
    """
    schema.expect_samples_with_splits(samples, splits)
    animals = list(fitted.scalers)
    if len(animals) < 2:
        raise ArgumentError("argument 'fitted'", found=f"a model of {', '.join(animals)} alone", expected="at least two animals")
    names = conditions(samples)
    latents = _latent_means(fitted, samples, splits, len(names))
    nodes = {}
    for target in animals:
        sources = schema.other_animals(samples, target)
        means = np.stack([latents[name] for name in sources], axis=1)
        own = _feature_means(fitted, samples, splits, target, len(names))
        decoded = np.stack([_decoded(fitted, samples, target, number, values) for number, values in enumerate(means)])
        predicted = _mean_of_present(decoded, axis=1)
        offset = _mean_of_present(own - predicted, axis=1)
        nodes[target] = xr.Dataset(
            {
                "predicted": (("replica", "class", "feature"), (predicted + offset[:, None]).astype(np.float32)),
                "latent_mean": (("replica", "animal", "class", "latent"), means.astype(np.float32)),
                "seen": (("replica", "class"), np.isfinite(own).any(axis=2)),
            },
            coords={"class": names, "animal": sources, **fitted.replica_coords("split", "seed", "permutation")},
        )
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=dict(samples.attrs)), **nodes})


def _latent_means(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, classes: int) -> dict[str, Means]:
    """Return the mean latents of each animal's training side ``(replica, class, latent)``, NaN where it lacks a class."""
    embedded, means = fitted.embed(samples), {}
    for name in fitted.scalers:
        latents = embedded[name]["latent_mean"].to_numpy()
        codes = [_training_codes(samples, splits, name, replica.split) for replica in fitted.replicas]
        pairs = zip(latents.reshape(len(latents), -1, latents.shape[-1]), codes, strict=True)
        means[name] = np.stack([_class_means(values, code, classes) for values, code in pairs])
    return means


def _feature_means(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, animal: str, classes: int) -> Means:
    """Return the mean scaled features of an animal's training side ``(replica, class, feature)``, NaN where it lacks a class."""
    means = []
    for number, replica in enumerate(fitted.replicas):
        values = fitted.scaled(samples, animal, number).flatten(0, 1).numpy()
        if replica.permutation:
            dataset = samples[animal].to_dataset()
            values = values[draw_permutation(animal, dataset, replica.permutation, within=replica.within).samples()]
        means.append(_class_means(values, _training_codes(samples, splits, animal, replica.split), classes))
    return np.stack(means)


def _training_codes(samples: xr.DataTree, splits: xr.DataTree, animal: str, split: int) -> NDArray[np.int16]:
    """Return the condition of each sample of the training side ``(trial * window,)``, -1 elsewhere."""
    fitted = schema.is_fitted(splits[animal]["part"].to_numpy()[split])
    return np.where(fitted[:, None], samples[animal]["match"].to_numpy(), np.int16(-1)).astype(np.int16).ravel()


def _class_means(values: Floats, codes: NDArray[np.int16], classes: int) -> Means:
    """Return the mean of values ``(sample, feature)`` of each class ``(class, feature)``, NaN without samples."""
    members = (codes == np.arange(classes)[:, None]).astype(np.float64)
    counts = members.sum(axis=1, keepdims=True)
    return np.asarray(members @ values / np.where(counts > 0, counts, np.nan))


def _decoded(fitted: FittedStack, samples: xr.DataTree, target: str, replica: int, latents: Means) -> Means:
    """Return the target's scaled features expected from latents of other animals, ``(animal, class, feature)``."""
    model = fitted.member(replica)
    likelihood = model.likelihood(target)
    seen = without_private(model, torch.from_numpy(latents.astype(np.float32)))
    expected: Tensor = likelihood.mean(model.decoders[target](seen.flatten(0, 1)))
    values: Floats = expected.numpy()
    if likelihood.scores_recorded():
        transform = Transform.of(samples[target].to_dataset()["activity"], fitted.trained_on)
        values = fitted.scalers[target][replica](transform(values))
    return values.reshape(*latents.shape[:2], -1).astype(np.float64)


def _mean_of_present(values: Means, axis: int) -> Means:
    """Return the mean over an axis of the values that are not NaN, NaN where all are."""
    present = np.isfinite(values)
    count = present.sum(axis=axis)
    return np.asarray(np.where(present, values, 0).sum(axis=axis) / np.where(count > 0, count, np.nan))
