"""Classes read from the latents of each modality alone by logistic regression, as the benchmarks of the paper do."""

import numpy as np
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuromvm.errors import SplitError
from neuromvm.schema import is_fitted, is_scored

ITERATIONS = 10_000


def latent_accuracy(latents: xr.DataTree, splits: xr.DataTree, *, most: int = 10_000, seed: int = 0) -> xr.DataArray:
    """Return the accuracy of test samples by a logistic regression on posterior means of training samples.

    Parameters
    ----------
    latents
        Of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`, each modality encoded alone, one window a trial.
    splits
        Of the samples.
    most
        Training samples of a modality that are used at most, drawn by ``seed``.

    Returns
    -------
    ``(replica, modality)``, the share of test samples classified correctly. Latents are standardised on the training side.

    Raises
    ------
    SplitError
        If a modality has no training or test samples in the split of a replica.
    """
    names = list(latents.children)
    scores = np.full((latents[names[0]].sizes["replica"], len(names)), np.nan)
    for column, name in enumerate(names):
        means = latents[name]["latent_mean"].transpose("replica", "trial", "window", "latent").to_numpy()[:, :, 0]
        labels = latents[name]["label"].to_numpy()[:, 0]
        for replica, split in enumerate(latents[name]["split"].to_numpy()):
            part = splits[name]["part"].to_numpy()[split]
            training, test = (np.flatnonzero(side(part) & (labels >= 0)) for side in (is_fitted, is_scored))
            if not len(training) or not len(test):
                raise SplitError(f"modality {name}, split {split}", found="no training or no test samples", expected="both")
            training = np.random.default_rng(seed).permutation(training)[:most]
            decoder = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
            decoder.fit(means[replica, training], labels[training])
            scores[replica, column] = decoder.score(means[replica, test], labels[test])
    return xr.DataArray(scores, dims=("replica", "modality"), coords={"modality": names}, name="latent_accuracy")
