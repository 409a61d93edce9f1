"""Which animals agree: how near their posteriors of matched held-out trials lie, and which latents carry nothing."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from neuromvm import schema
from neuromvm.data.pairing import RedrawnPairing
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.posterior_pairs import Numbers, Samples, TrialMeans, Tuples, other_condition, same_condition
from neuromvm.schema import is_fitted, is_scored
from neuromvm.specs import ModelSpec
from neuromvm.specs.sharing import AutoencoderSharing, IndependentSharing

OF_LATENTS = ("mean_variance", "signal_share", "information", "collapsed")
OF_ANIMALS = ("kl_to_mixture", "ceiling")
OF_PAIRS = ("agreement", "agreement_unmatched", "closer", "pairwise_kl")
SYMMETRIC = ("agreement", "agreement_unmatched")
WITH_ERROR = ("kl_to_mixture", "agreement", "agreement_unmatched", "closer")
IN_NATS = ("kl_to_mixture", "kl_to_mixture_error", "ceiling", "pairwise_kl", "information")
COLLAPSED = 0.01  # share of signal below which a latent carries nothing
LARGEST = 4_000_000  # animals * animals * tuples * latents of one draw, above which a draw takes fewer tuples
ROUNDING = 1e-10  # variance of equal numbers in single precision, relative to their square


def agreement(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, draws: int = 20, seed: int = 0) -> xr.Dataset:
    """Say how far the animals of a fitted model agree, and which latents are collapsed.

    Parameters
    ----------
    fitted
        The model.
    samples, splits
        What it was trained on.
    draws
        How often trials are matched anew; each draw takes one sample of every posterior.
    seed
        Of the matching and the samples.

    Returns
    -------
    See :func:`posterior_agreement`; in addition ``attrs["warnings"]``, sentences as JSON, see :func:`warnings_of`.

    Raises
    ------
    SchemaError
        If the samples are not those of the splits, or an animal is missing.

    Examples
    --------
    >>> about = agreement(fitted, samples, splits)  # doctest: +SKIP
    >>> about["agreement"].sel(animal="mitt", other="stella").mean("replica")  # doctest: +SKIP
    """
    schema.expect_splits(splits)
    return agreement_of(fitted.embed(samples), splits, fitted.spec, draws, seed)


def agreement_of(latents: xr.DataTree, splits: xr.DataTree, model: ModelSpec, draws: int = 20, seed: int = 0) -> xr.Dataset:
    """As :func:`agreement`, of latents that are inferred already."""
    about = posterior_agreement(latents, splits, draws, seed)
    return about.assign_attrs(warnings=json.dumps(warnings_of(about, shares_latents(model))))


def posterior_agreement(latents: xr.DataTree, splits: xr.DataTree, draws: int = 20, seed: int = 0) -> xr.Dataset:
    """Compare the posteriors of matched test trials of all animals.

    Trials are matched by condition, at random, again in every draw. Numbers are means over the test trials of ``animal`` with
    standard errors over them, which hold the trials of the others fixed. Latents private to an animal are not compared.

    Parameters
    ----------
    latents
        Of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`.
    splits
        Those of the training. A replica that tests fewer than two animals is described on trials it was trained on: ``side``.
    draws, seed
        As for :func:`agreement`.

    Returns
    -------
    With two animals or more

    ``kl_to_mixture (replica, animal)`` [nats]
        KL from a posterior to the equal mixture of those of its matched tuple; 0 if all agree, ``ceiling`` (log of the animals
        in a tuple, averaged) if none overlap. NaN for a model without noise, as are the next two.
    ``agreement (replica, animal, other)``
        1 - JSD / log 2, JSD being the Jensen-Shannon divergence between posteriors of two trials of the same condition: 1 if
        they are the same, 0 if they do not overlap. JSD / log 2 is how much of a bit one draw of the latent tells about which
        of the two animals it came from. On the diagonal two trials of one animal: what single trials allow for.
    ``agreement_unmatched (replica, animal, other)``
        The same for trials of different conditions.
    ``closer (replica, animal, other)``
        How often the trial of the same condition is nearer (in KL) than one of another condition; 0.5 if posteriors of the
        other animal say nothing about the condition. It does not saturate where posteriors are too narrow to overlap.
    ``pairwise_kl (replica, animal, other)`` [nats]
        KL(posterior of animal || posterior of other), same condition.
    ``kl_to_mixture_error, agreement_error, agreement_unmatched_error, closer_error``
        Standard errors.

    and for any number of animals

    ``mean_variance (replica, animal, latent)``
        Variance over samples of the posterior mean (the activity of a unit in Burda et al.).
    ``signal_share (replica, animal, latent)``
        ``mean_variance`` / (``mean_variance`` + mean posterior variance): free of the scale of a latent, which the mixture
        prior does not fix.
    ``information (replica, animal, latent)`` [nats]
        Mean KL from the posterior to the Gaussian with mean and variance of all of them: at most this much does the latent
        tell about which sample it came from.
    ``collapsed (replica, animal, latent)``
        Whether ``signal_share`` is below 0.01: the posterior is the same for every sample.
    ``trials (replica, animal)``
        Number of trials.

    Coordinates ``split, seed, side`` on replica, ``shared`` on latent.

    References
    ----------
    Sutter et al., Unity by Diversity, NeurIPS 2024. Burda et al., Importance Weighted Autoencoders, ICLR 2016.
    """
    schema.expect_tree(latents, "latent_mean", "latents", "Make them: fitted.embed(samples)")
    nodes = {name: node.to_dataset() for name, node in latents.children.items()}
    first = next(iter(nodes.values()))
    shared = first["shared"].to_numpy() if "shared" in first.coords else np.ones(first.sizes["latent"], dtype=bool)
    found, sides = [], []
    for replica in range(first.sizes["replica"]):
        animals, side = _sides(nodes, splits, replica)
        sides.append(side)
        one = _carried(animals)
        one["trials"] = np.array([len(np.unique(animal.trial[animal.code >= 0])) for animal in animals])
        if len(animals) > 1:
            chosen = [animal._replace(mean=animal.mean[:, shared], scale=animal.scale[:, shared]) for animal in animals]
            one |= _compared(chosen, np.random.default_rng([seed, replica]), draws)
        found.append(one)
    names = list(nodes)
    about = xr.Dataset(
        {key: (_dims(key), np.stack([one[key] for one in found]), _attrs(key)) for key in found[0]},
        {
            "animal": names,
            "latent": first["latent"].to_numpy(),
            "shared": ("latent", shared),
            **{key: ("replica", first[key].to_numpy()) for key in ("split", "seed")},
            "side": ("replica", sides),
        },
        {"draws": draws, "draws_seed": seed, "threshold": COLLAPSED},
    )
    return about.assign_coords(other=names) if len(names) > 1 else about


def shares_latents(spec: ModelSpec) -> bool:
    """Say whether the posteriors of a model's animals are meant to agree.

    Not those of models that share nothing, and not the factors of a product or an average, which may divide the work.
    """
    sharing = spec.sharing
    if isinstance(sharing, IndependentSharing):
        return False
    if isinstance(sharing, AutoencoderSharing):
        return sharing.cross_reconstruction > 0
    return getattr(sharing, "aggregation", "mixture_of_experts") in ("mixture_of_experts", "mixture_of_products")


def warnings_of(about: xr.Dataset, shares: bool) -> list[str]:
    """Write what is wrong in plain words, nothing if nothing is.

    Parameters
    ----------
    about
        Of :func:`posterior_agreement`.
    shares
        Whether animals are meant to agree.
    """
    said = []
    size = about.sizes["latent"]
    counts = about["collapsed"].sum("latent").median("replica").to_numpy().astype(int)
    for count in sorted(set(counts[counts > 0].tolist()), reverse=True):
        names = _listed([str(name) for name, own in zip(about["animal"].values, counts, strict=True) if own == count])
        carry = f"{count} of {size} latents of {names} carry nothing: their posterior is the same for every trial."
        said.append(f"{carry} Lower beta, or train fewer latents")
    if shares and "closer" in about:
        apart = _agree_with_none(about)
        if apart:
            said.append(
                f"the posteriors of {_listed(apart)} agree with none: trials of the same condition of other animals lie no "
                "closer than those of other conditions. Look at the training curves, the labels and the units of these animals"
            )
    return said


def _agree_with_none(about: xr.Dataset) -> list[str]:
    """Return the animals from which, and to which, no other animal is closer by two standard errors."""
    excess = (about["closer"] - 0.5 - 2 * about["closer_error"]).mean("replica")
    excess = excess.where(about["animal"] != about["other"])
    known = excess.notnull().any("other")
    best = np.fmax(excess.max("other").to_numpy(), excess.max("animal").to_numpy())
    return [
        str(name) for name, is_known, one in zip(about["animal"].values, known.values, best, strict=True) if is_known and one <= 0
    ]


def _dims(key: str) -> tuple[str, ...]:
    if key in OF_LATENTS:
        return ("replica", "animal", "latent")
    return ("replica", "animal", "other") if key.removesuffix("_error") in OF_PAIRS else ("replica", "animal")


def _attrs(key: str) -> dict[str, Any]:
    return {"units": "nats"} if key in IN_NATS else {}


def _sides(nodes: dict[str, xr.Dataset], splits: xr.DataTree, replica: int) -> tuple[list[Samples], str]:
    """Return the test side of a replica, or its training side where fewer than two animals (of several) are tested."""

    def side(chosen: Callable[[ArrayLike], NDArray[np.bool_]]) -> list[Samples]:
        return [_samples(node, chosen(_part(splits, name, node, replica)), replica) for name, node in nodes.items()]

    scored = side(is_scored)
    if sum(bool((animal.code >= 0).any()) for animal in scored) < min(2, len(scored)):
        return side(is_fitted), "training"
    fitted = any((is_scored(part) & is_fitted(part)).any() for part in (_part(splits, *one, replica) for one in nodes.items()))
    return scored, "training" if fitted else "test"


def _part(splits: xr.DataTree, name: str, node: xr.Dataset, replica: int) -> NDArray[np.integer]:
    part: NDArray[np.integer] = splits[name]["part"].to_numpy()[int(node["split"].to_numpy()[replica])]
    return part


def _samples(node: xr.Dataset, trials: NDArray[np.bool_], replica: int) -> Samples:
    """Flatten the windows of chosen ``trials (trial,)`` of an animal; others, or those without a posterior, take no part."""
    dims = ("trial", "window", "latent")
    mean, scale = (node[key].isel(replica=replica).transpose(*dims).to_numpy() for key in ("latent_mean", "latent_scale"))
    chosen = trials[:, None] & np.isfinite(mean).all(axis=2)
    code = np.where(chosen, node["match"].to_numpy(), -1).astype(np.int64)
    trial = np.broadcast_to(np.arange(len(code))[:, None], code.shape)
    flat_mean, flat_scale = (torch.from_numpy(np.nan_to_num(values).reshape(-1, values.shape[2])) for values in (mean, scale))
    return Samples(flat_mean, flat_scale, code.ravel(), trial.ravel())


def _carried(animals: Sequence[Samples]) -> dict[str, Numbers]:
    """Say what each latent of each animal carries, ``(animal, latent)``."""
    found: dict[str, list[Numbers]] = {key: [] for key in OF_LATENTS}
    for animal in animals:
        chosen = animal.code >= 0
        mean, variance = animal.mean.numpy()[chosen].astype(float), np.square(animal.scale.numpy()[chosen].astype(float))
        if not chosen.any():
            mean = variance = np.full((1, animal.mean.shape[1]), np.nan)
        spread, noise = mean.var(axis=0), variance.mean(axis=0)
        spread = np.where(spread <= ROUNDING * (np.square(mean).mean(axis=0) + noise), 0.0, spread)
        total = spread + noise
        share = np.divide(spread, total, out=np.zeros_like(total), where=total != 0)
        # The mean KL to a Gaussian of the same first two moments: the quadratic terms cancel, a ratio of scales is left.
        ratio = np.divide(total, variance, out=np.full_like(variance, np.nan), where=variance > 0)
        found["mean_variance"].append(spread)
        found["signal_share"].append(share)
        found["information"].append(0.5 * np.log(ratio).mean(axis=0))
        found["collapsed"].append(share < COLLAPSED)
    return {key: np.stack(values) for key, values in found.items()}


def _compared(animals: Sequence[Samples], random: np.random.Generator, draws: int) -> dict[str, Numbers]:
    """Compare animals over several draws of matched tuples: ``(animal, other)``, or ``(animal,)``."""
    trials = [int(animal.trial[-1]) + 1 for animal in animals]
    means = {key: TrialMeans(trials, len(animals)) for key in OF_PAIRS}
    means |= {key: TrialMeans(trials, 1) for key in OF_ANIMALS}
    pairing = RedrawnPairing([animal.code for animal in animals])
    most = max(50, LARGEST // (len(animals) ** 2 * max(1, animals[0].mean.shape[1])))
    # A model without noise has no densities to compare.
    without_noise = any(bool((animal.scale[animal.code >= 0] == 0).any()) for animal in animals)
    for _ in range(0 if without_noise else draws):
        tuples = Tuples(animals, pairing.draw(random)[:most], random)
        rate, ceiling, several = tuples.mixture()
        same = tuples.pairs(same_condition(tuples.code, random))
        away = other_condition(tuples.code, random)
        unlike = tuples.pairs(same_condition(tuples.code, random) if away is None else away)
        both = same.valid & unlike.valid & (away is not None)
        closer = (same.kl < unlike.kl).float() + 0.5 * (same.kl == unlike.kl).float()
        for place, trial in enumerate(tuples.trial):
            means["agreement"].add(place, trial, 1 - same.jensen_shannon[place] / math.log(2), same.valid[place])
            means["agreement_unmatched"].add(place, trial, 1 - unlike.jensen_shannon[place] / math.log(2), both[place])
            means["closer"].add(place, trial, closer[place], both[place])
            means["pairwise_kl"].add(place, trial, same.kl[place], same.valid[place])
            means["kl_to_mixture"].add(place, trial, rate[place, None], several[place, None])
            means["ceiling"].add(place, trial, ceiling[place, None], several[place, None])
    found = {}
    for key, mean in means.items():
        value, error = mean.result()
        if key in SYMMETRIC:  # the same divergence, averaged over the trials of either animal
            value, error = (value + value.T) / 2, (error + error.T) / 2
        found[key] = value
        if key in WITH_ERROR:
            found[f"{key}_error"] = error
    return {key: value[:, 0] if key.removesuffix("_error") in OF_ANIMALS else value for key, value in found.items()}


def _listed(names: Sequence[str], most: int = 6) -> str:
    names = list(names) if len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
