"""Agreement of animals: divergences between their posteriors of matched held-out trials, and the signal in each latent."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.pairing import RedrawnPairing
from neuromvm.inference.posterior_pairs import Numbers, Samples, TrialMeans, Tuples, other_condition, same_condition
from neuromvm.schema import is_fitted, is_scored

OF_LATENTS = ("mean_variance", "signal_share", "information", "collapsed")
OF_ANIMALS = ("kl_to_mixture", "ceiling")
OF_PAIRS = ("agreement", "agreement_unmatched", "closer", "pairwise_kl")
SYMMETRIC = ("agreement", "agreement_unmatched")
WITH_ERROR = ("kl_to_mixture", "agreement", "agreement_unmatched", "closer")
IN_NATS = ("kl_to_mixture", "kl_to_mixture_error", "ceiling", "pairwise_kl", "information")
COLLAPSED = 0.01  # share of signal below which a latent is collapsed
LARGEST = 4_000_000  # animals * animals * tuples * latents of one draw, above which a draw takes fewer tuples
ROUNDING = 1e-10  # variance of equal numbers in single precision, relative to their square


def posterior_agreement(
    latents: xr.DataTree, splits: xr.DataTree, draws: int = 20, seed: int = 0, *, shares_latents: bool = True
) -> xr.Dataset:
    """Compare the posteriors of matched test trials of all animals.

    Trials are matched by condition, at random, again in every draw. Numbers are means over the test trials of ``animal`` with
    standard errors over them; the trials of ``other`` count as fixed. Latents private to an animal are not compared.

    Parameters
    ----------
    latents
        Of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`.
    splits
        Splits of the training. A replica that tests fewer than two animals is described on its training trials: ``side``.
    draws, seed
        Number of matchings, each with one sample of every posterior, and the seed of both.
    shares_latents
        Whether the posteriors are meant to agree (:attr:`neuromvm.models.MultimodalVAE.shares_latents`); kept as an attribute.

    Returns
    -------
    With two animals or more

    ``kl_to_mixture (replica, animal)`` [nats]
        KL from a posterior to the equal mixture of the posteriors of its matched tuple; 0 if all agree, ``ceiling`` (log of the
        animals in a tuple, averaged) if none overlap. NaN for a model without noise, as are the next two.
    ``agreement, agreement_unmatched (replica, animal, other)``
        1 - JSD / log 2, JSD being the Jensen-Shannon divergence between posteriors of two trials of the same condition, or of
        different conditions: 1 if they are the same, 0 if they do not overlap. JSD / log 2 is the information in bits that one
        sample of the latent gives about which of the two animals it came from. On the diagonal two trials of one animal: the
        limit set by single trials.
    ``closer (replica, animal, other)``
        How often the trial of the same condition is nearer (in KL) than a trial of another condition; 0.5 if posteriors of the
        other animal do not depend on the condition. It does not saturate where posteriors are too narrow to overlap.
    ``pairwise_kl (replica, animal, other)`` [nats]
        KL(posterior of animal || posterior of other), same condition.
    ``kl_to_mixture_error, agreement_error, agreement_unmatched_error, closer_error``
        Standard errors.

    and for any number of animals

    ``mean_variance (replica, animal, latent)``
        Variance over samples of the posterior mean (the activity of a unit in Burda et al., ICLR 2016).
    ``signal_share (replica, animal, latent)``
        ``mean_variance`` / (``mean_variance`` + mean posterior variance): free of the scale of a latent, which the mixture
        prior does not fix.
    ``information (replica, animal, latent)`` [nats]
        Mean KL from the posterior to the Gaussian with mean and variance of all posteriors: an upper bound of the information
        in the latent about which sample it came from.
    ``collapsed (replica, animal, latent)``
        Whether ``signal_share`` is below 0.01: the posterior is the same for every sample.
    ``trials (replica, animal)``
        Number of trials.

    Coordinates ``split, seed, side`` on replica, ``shared`` on latent.
    """
    schema.expect_splits(splits)
    schema.expect_tree(latents, "latent_mean", "latents", "Make them: fitted.embed(samples)")
    nodes = {name: node.to_dataset() for name, node in latents.children.items()}
    node = next(iter(nodes.values()))
    shared = node["shared"].to_numpy() if "shared" in node.coords else np.ones(node.sizes["latent"], dtype=bool)
    measures: list[dict[str, Numbers]] = []
    sides = []
    for replica in range(node.sizes["replica"]):
        animals, side = _described_samples(nodes, splits, replica)
        sides.append(side)
        measures.append(_signal_of_latents(animals))
        measures[-1]["trials"] = np.array([len(np.unique(animal.trial[animal.code >= 0])) for animal in animals])
        if len(animals) > 1:
            comparable = [animal._replace(mean=animal.mean[:, shared], scale=animal.scale[:, shared]) for animal in animals]
            measures[-1] |= _divergences(comparable, np.random.default_rng([seed, replica]), draws)
    agreement = xr.Dataset(
        {
            key: (_dims(key), np.stack([replica[key] for replica in measures]), {"units": "nats"} if key in IN_NATS else {})
            for key in measures[0]
        },
        {
            "animal": list(nodes),
            "latent": node["latent"].to_numpy(),
            "shared": ("latent", shared),
            **{key: ("replica", node[key].to_numpy()) for key in ("split", "seed")},
            "side": ("replica", sides),
        },
        {"draws": draws, "draws_seed": seed, "threshold": COLLAPSED, "shares_latents": int(shares_latents)},
    )
    return agreement.assign_coords(other=list(nodes)) if len(nodes) > 1 else agreement


def _dims(key: str) -> tuple[str, ...]:
    if key in OF_LATENTS:
        return ("replica", "animal", "latent")
    return ("replica", "animal", "other") if key.removesuffix("_error") in OF_PAIRS else ("replica", "animal")


def _described_samples(nodes: dict[str, xr.Dataset], splits: xr.DataTree, replica: int) -> tuple[list[Samples], str]:
    """Return the test side of a replica, or its training side where fewer than two animals (of several) are tested."""
    parts = {name: splits[name]["part"].to_numpy()[int(node["split"].to_numpy()[replica])] for name, node in nodes.items()}
    tested = [_samples(node, is_scored(parts[name]), replica) for name, node in nodes.items()]
    if sum(bool((animal.code >= 0).any()) for animal in tested) < min(2, len(tested)):
        return [_samples(node, is_fitted(parts[name]), replica) for name, node in nodes.items()], "training"
    trained_on = any((is_scored(part) & is_fitted(part)).any() for part in parts.values())
    return tested, "training" if trained_on else "test"


def _samples(node: xr.Dataset, trials: NDArray[np.bool_], replica: int) -> Samples:
    """Flatten the windows of an animal; code -1 where ``trials (trial,)`` is False or a sample has no posterior."""
    dims = ("trial", "window", "latent")
    mean, scale = (node[key].isel(replica=replica).transpose(*dims).to_numpy() for key in ("latent_mean", "latent_scale"))
    described = trials[:, None] & np.isfinite(mean).all(axis=2)
    code = np.where(described, node["match"].to_numpy(), -1).astype(np.int64)
    trial = np.broadcast_to(np.arange(len(code))[:, None], code.shape)
    flat_mean, flat_scale = (torch.from_numpy(np.nan_to_num(values).reshape(-1, values.shape[2])) for values in (mean, scale))
    return Samples(flat_mean, flat_scale, code.ravel(), trial.ravel())


def _signal_of_latents(animals: Sequence[Samples]) -> dict[str, Numbers]:
    """Return the measures ``OF_LATENTS``, each ``(animal, latent)``."""
    measures: list[tuple[Numbers, ...]] = []
    for animal in animals:
        described = animal.code >= 0
        mean, variance = animal.mean.numpy()[described].astype(float), np.square(animal.scale.numpy()[described].astype(float))
        if not described.any():
            mean = variance = np.full((1, animal.mean.shape[1]), np.nan)
        signal, noise = mean.var(axis=0), variance.mean(axis=0)
        signal = np.where(signal <= ROUNDING * (np.square(mean).mean(axis=0) + noise), 0.0, signal)
        total = signal + noise
        share = np.divide(signal, total, out=np.zeros_like(total), where=total != 0)
        # The mean KL to a Gaussian of the same mean and variance: the quadratic terms cancel and the ratio of scales remains.
        ratio = np.divide(total, variance, out=np.full_like(variance, np.nan), where=variance > 0)
        measures.append((signal, share, 0.5 * np.log(ratio).mean(axis=0), share < COLLAPSED))
    return {key: np.stack(values) for key, values in zip(OF_LATENTS, zip(*measures, strict=True), strict=True)}


def _divergences(animals: Sequence[Samples], random: np.random.Generator, draws: int) -> dict[str, Numbers]:
    """Compare animals over several draws of matched tuples: ``(animal, other)``, or ``(animal,)``."""
    trials = [int(animal.trial[-1]) + 1 for animal in animals]
    means = {key: TrialMeans(trials, len(animals)) for key in OF_PAIRS}
    means |= {key: TrialMeans(trials, 1) for key in OF_ANIMALS}
    pairing = RedrawnPairing([animal.code for animal in animals])
    most_tuples = max(50, LARGEST // (len(animals) ** 2 * max(1, animals[0].mean.shape[1])))
    # A model without noise has no densities to compare.
    without_noise = any(bool((animal.scale[animal.code >= 0] == 0).any()) for animal in animals)
    for _ in range(0 if without_noise else draws):
        tuples = Tuples(animals, pairing.draw(random)[:most_tuples], random)
        rate, ceiling, several = tuples.mixture()
        matched = tuples.pairs(same_condition(tuples.code, random))
        partner = other_condition(tuples.code, random)
        unmatched = tuples.pairs(same_condition(tuples.code, random) if partner is None else partner)
        comparable = matched.valid & unmatched.valid & (partner is not None)
        closer = (matched.kl < unmatched.kl).float() + 0.5 * (matched.kl == unmatched.kl).float()
        measures = {
            "agreement": (1 - matched.jensen_shannon / math.log(2), matched.valid),
            "agreement_unmatched": (1 - unmatched.jensen_shannon / math.log(2), comparable),
            "closer": (closer, comparable),
            "pairwise_kl": (matched.kl, matched.valid),
            "kl_to_mixture": (rate[:, None], several[:, None]),
            "ceiling": (ceiling[:, None], several[:, None]),
        }
        for key, (values, valid) in measures.items():
            for animal, trial in enumerate(tuples.trial):
                means[key].add(animal, trial, values[animal], valid[animal])
    results = {}
    for key, mean in means.items():
        value, error = mean.result()
        if key in SYMMETRIC:  # the same divergence, averaged over the trials of either animal
            value, error = (value + value.T) / 2, (error + error.T) / 2
        if key in OF_ANIMALS:
            value, error = value[:, 0], error[:, 0]
        results[key] = value
        if key in WITH_ERROR:
            results[f"{key}_error"] = error
    return results
