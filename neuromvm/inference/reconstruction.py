"""How well activity of test trials is decoded from its own latents."""

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.features import features
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.schema import is_fitted, is_scored

Numbers = NDArray[np.floating]


@torch.no_grad()
def reconstruct(fitted: FittedStack, samples: xr.DataTree, animal: str, replica: int) -> NDArray[np.float32]:
    """Decode an animal's activity from its posterior means: ``(trial, window, feature)``, scaled as the encoder sees it.

    If the likelihood scores activity as recorded, its mean is transformed and scaled as the recorded activity is.
    """
    model = fitted.member(replica)
    likelihood = model.likelihood(animal)
    scaled = fitted.scaled(samples, animal, replica)
    mean, _ = model.encoders[animal](scaled.flatten(0, 1))
    expected = likelihood.mean(model.decoders[animal](mean)).reshape(scaled.shape).numpy()
    if not likelihood.scores_recorded():
        return np.asarray(expected, dtype=np.float32)
    activity = samples[animal]["activity"].transpose("trial", "window", "bin", "unit")
    recorded = activity.copy(data=expected.reshape(activity.shape))
    return np.asarray(fitted.scalers[animal][replica](features(recorded, fitted.trained_on)), dtype=np.float32)


def reconstruction_error(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree) -> xr.Dataset:
    """Score reconstructions of test trials, features scaled as on the training side.

    Returns
    -------
    ``error (replica, animal)``: mean squared error per scaled feature of activity decoded from the posterior mean of its own
    animal; ``error_of_mean``: that of the training side's mean activity, which a latent without information cannot beat. NaN
    for an animal without test trials or training side in the split. Coordinates ``split`` and ``seed``.

    Notes
    -----
    Joint models are trained to decode the posterior of all animals together; here each animal is encoded alone.
    """
    schema.expect_samples_with_splits(samples, splits)
    animals = list(fitted.scalers)
    error, of_mean = (np.full((len(fitted.replicas), len(animals)), np.nan) for _ in range(2))
    for number, replica in enumerate(fitted.replicas):
        for column, name in enumerate(animals):
            part = splits[name]["part"].to_numpy()[replica.split]
            used = (samples[name]["match"].to_numpy() >= 0).any(axis=1)
            training, tested = is_fitted(part) & used, is_scored(part) & used
            if not (training.any() and tested.any()):
                continue
            true = fitted.scaled(samples, name, number).numpy().astype(np.float64)
            decoded = reconstruct(fitted, samples, name, number)
            error[number, column] = np.square(decoded[tested] - true[tested]).mean()
            of_mean[number, column] = np.square(true[training].mean(axis=(0, 1)) - true[tested]).mean()
    units = {"units": "squared standard deviations of the scaled feature"}
    return xr.Dataset(
        {"error": (("replica", "animal"), error, units), "error_of_mean": (("replica", "animal"), of_mean, units)},
        coords={"animal": animals, **fitted.replica_coords("split", "seed")},
    )
