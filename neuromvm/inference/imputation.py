"""Activity of an animal in trials in which only other animals were recorded."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.data.pairing import in_order
from neuromvm.errors import ArgumentError, SplitError, did_you_mean
from neuromvm.functional.gaussian import Posteriors
from neuromvm.inference.decoded import kind_of, unscaled
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.models import MultimodalVAE

ROWS_AT_ONCE = 64  # tuples whose draws are in memory together


@torch.no_grad()
def impute(
    fitted: FittedStack,
    samples: xr.DataTree,
    splits: xr.DataTree,
    target: str,
    given: Sequence[str] | None = None,
    *,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Decode the activity of an absent animal from the latents of other animals, in test trials.

    Parameters
    ----------
    fitted
        Trained on the target too: its decoder is used, its encoder is not.
    samples, splits
        As trained on. Tuples join the i-th test sample of a condition of every given animal; where trials with the same match
        code are the same event in all animals (simultaneous recordings), tuples are those events.
    target, given
        The animal to impute, and the animals recorded; by default all others.
    draws, seed
        Draws of latents, and of activity, for each tuple, and their seed.
    level
        Share of the draws inside the interval.

    Returns
    -------
    ``mean, low, high (replica, tuple, bin, unit)``: expected activity and predictive interval, the likelihood's noise included.
    ``attrs["kind"]`` says of what: ``count``, ``probability``, activity as recorded, or transformed activity as in the samples
    without scaling. ``match (replica, tuple)``, and ``trial, window (replica, tuple, animal)``, -1 where absent or padding.

    Raises
    ------
    ArgumentError
        If an animal is unknown, or the target is among those given.
    SplitError
        If no given animal has a test trial.

    Notes
    -----
    The predictive interval is as good as the likelihood: with ``targets: condition_means`` a learned variance is that of means,
    not of trials, and the interval is too narrow. The latent is drawn from the model's distribution for an absent animal
    (:meth:`neuromvm.models.MultimodalVAE.infer_absent`): for the MMVM the equal mixture of the posteriors of the animals given.
    """
    animals = list(fitted.scalers)
    schema.expect_samples_with_splits(samples, splits)
    if draws < 2 or not 0 < level < 1:
        raise ArgumentError("draws or level", found=f"{draws} draws, level {level:g}", expected="at least 2, between 0 and 1")
    if given is None:
        sources = [name for name in animals if name != target]
    else:
        sources = [given] if isinstance(given, str) else list(given)
    _check_names(animals, target, sources)
    window = fitted.windows[target]
    imputed = []
    for number, replica in enumerate(fitted.replicas):
        pairs = in_order([test_codes(samples, splits, name, replica.split) for name in sources])
        if len(pairs) == 0:
            raise SplitError(f"split {replica.split}", found=f"no test trials of {', '.join(sources)}", expected="at least one")
        model = fitted.member(number)
        generator = torch.Generator().manual_seed(seed + number)
        (mean, scale), available = posteriors_of(fitted, model, samples, number, sources, pairs)
        blocks = (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(pairs), ROWS_AT_ONCE))
        parts = [
            _predict(model, Posteriors(mean[:, rows], scale[:, rows]), available[:, rows], target, draws, level, generator)
            for rows in blocks
        ]
        values = unscaled(fitted, model.likelihood(target), target, number, torch.cat(parts, 1))
        imputed.append((pairs, values.reshape(3, len(pairs), window.bins, window.units).numpy()))
    kind = kind_of(fitted, fitted.member(0).likelihood(target))
    return _labelled(fitted, samples, target, sources, imputed).assign_attrs(kind=kind)


def _check_names(animals: list[str], target: str, sources: list[str]) -> None:
    for name in [target, *sources]:
        if name not in animals:
            raise ArgumentError("target or given", found=f"no animal {name!r}", next_step=did_you_mean(name, animals))
    if target in sources or not sources:
        raise ArgumentError("argument 'given'", found=f"{sources}", expected=f"animals other than {target!r}, at least one")


def test_codes(samples: xr.DataTree, splits: xr.DataTree, animal: str, split: int) -> NDArray[np.int16]:
    """Return the match codes of test samples ``(trial * window,)``, -1 elsewhere."""
    tested = schema.is_scored(splits[animal]["part"].to_numpy()[split])
    return np.where(tested[:, None], samples[animal]["match"].to_numpy(), np.int16(-1)).astype(np.int16).ravel()


def posteriors_of(
    fitted: FittedStack, model: MultimodalVAE, samples: xr.DataTree, replica: int, sources: list[str], pairs: NDArray[np.int64]
) -> tuple[Posteriors, Tensor]:
    """Return the posteriors of tuples ``(modality, tuple, latent)``, standard normal where absent, and which are present."""
    shape = (len(model.modalities), len(pairs), model.latent)
    mean, scale, available = torch.zeros(shape), torch.ones(shape), torch.zeros(shape[:2])
    for column, name in enumerate(sources):
        present = torch.from_numpy(pairs[:, column] >= 0)
        values = fitted.scaled(samples, name, replica).flatten(0, 1)[pairs[present.numpy(), column]]
        modality = model.modalities.index(name)
        mean[modality, present], scale[modality, present] = model.encoders[name](values)
        available[modality, present] = 1
    return Posteriors(mean, scale), available


def _predict(
    model: MultimodalVAE,
    posteriors: Posteriors,
    available: Tensor,
    target: str,
    draws: int,
    level: float,
    generator: torch.Generator,
) -> Tensor:
    """Return mean, low and high ``(3, tuple, feature)`` as the likelihood of the target scores it."""
    rows = available.shape[1]
    latents = drawn_latents(model, posteriors, available, target, draws, generator)
    raw = model.decoders[target](latents.flatten(0, 1))
    likelihood = model.likelihood(target)
    drawn = likelihood.sample(raw, generator).reshape(draws, rows, -1)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2])
    return torch.cat([likelihood.mean(raw).reshape(draws, rows, -1).mean(0, keepdim=True), torch.quantile(drawn, tails, dim=0)])


def drawn_latents(
    model: MultimodalVAE, posteriors: Posteriors, available: Tensor, target: str, draws: int, generator: torch.Generator
) -> Tensor:
    """Draw the latents ``(draw, tuple, latent)`` of an absent modality, given posteriors of those available."""
    rows = available.shape[1]
    count, width = model.noise_shape
    noise = torch.randn(count, rows, width, generator=generator)
    (mean, scale), weight = model.infer_absent(posteriors, noise, available, target)
    chosen = torch.multinomial(weight.T, draws, replacement=True, generator=generator).T  # (draw, tuple)
    row = torch.arange(rows)
    return mean[chosen, row] + scale[chosen, row] * torch.randn(draws, rows, model.latent, generator=generator)


def _labelled(
    fitted: FittedStack,
    samples: xr.DataTree,
    target: str,
    sources: list[str],
    imputed: list[tuple[NDArray[np.int64], NDArray[np.float32]]],
) -> xr.Dataset:
    """Join the pairs and activity of replicas, padded to the longest, with labels of the trials that they were decoded from."""
    longest, replicas = max(len(pairs) for pairs, _ in imputed), len(imputed)
    window = fitted.windows[target]
    values = np.full((3, replicas, longest, window.bins, window.units), np.nan, dtype=np.float32)
    match = np.full((replicas, longest), -1, dtype=np.int16)
    trial = np.full((replicas, longest, len(sources)), -1, dtype=np.int64)
    window_of = np.full_like(trial, -1)
    for number, (pairs, activity) in enumerate(imputed):
        values[:, number, : len(pairs)] = activity
        for column, name in enumerate(sources):
            codes = samples[name]["match"].to_numpy()
            windows, present = codes.shape[1], pairs[:, column] >= 0
            chosen = pairs[present, column]
            trial[number, : len(pairs), column][present] = samples[name]["trial"].to_numpy()[chosen // windows]
            window_of[number, : len(pairs), column][present] = chosen % windows
            match[number, : len(pairs)][present] = codes.ravel()[chosen]
    dims = ("replica", "tuple", "bin", "unit")
    return xr.Dataset(
        {
            **{statistic: (dims, array) for statistic, array in zip(("mean", "low", "high"), values, strict=True)},
            "match": (("replica", "tuple"), match),
            "trial": (("replica", "tuple", "animal"), trial),
            "window": (("replica", "tuple", "animal"), window_of),
        },
        coords={
            "animal": sources,
            "unit": samples[target]["unit"].to_numpy(),
            **fitted.replica_coords("split", "seed"),
        },
        attrs={"target": target, "classes": samples[target]["match"].attrs["classes"]},
    )
