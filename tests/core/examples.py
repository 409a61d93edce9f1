"""Examples for contract tests, found by discovery: every sharing of the spec union, and activity for every likelihood."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import torch
import xarray as xr

from neuromvm.likelihoods import LIKELIHOODS, Likelihood, Support
from neuromvm.models.published import PUBLISHED_AGGREGATIONS
from neuromvm.specs.model import AnySharing, Sharing
from tests.conftest import tuned_recordings

# Settings whose golden losses are on record by these names; whatever else the spec union holds is added by its defaults.
NAMED: dict[str, dict[str, Any]] = {
    "independent": {"kind": "independent"},
    "autoencoder": {"kind": "autoencoder", "cross_reconstruction": 0.5},
    "average": {"kind": "joint", "aggregation": "average"},
    "poe": {"kind": "joint", "aggregation": "product_of_experts"},
    "moe": {"kind": "joint", "aggregation": "mixture_of_experts"},
    "mopoe": {"kind": "joint", "aggregation": "mixture_of_products"},
    "mopoe-drawn": {"kind": "joint", "aggregation": "mixture_of_products", "components": 4},
    "mmvm": {"kind": "mmvm"},
    "mmvm-pairwise": {"kind": "mmvm", "rate": "pairwise"},
    "mmvm-normal": {"kind": "mmvm", "standard_normal": {"kind": "linear"}},
    "mmvm-cross": {"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.6},
    "mmvm-pooled": {"kind": "mmvm", "pooled": True},
    "mmvm-pooled-pairwise": {"kind": "mmvm", "pooled": True, "rate": "pairwise", "cross_reconstruction": 0.6},
    "mmvae_plus-elbo": {"kind": "mmvae_plus", "samples": 1},
    "mmvae_plus": {"kind": "mmvae_plus", "samples": 3},
}
# Reproductions of published oddities do not keep the laws on absent animals.
PUBLISHED = {f"published-{name}": {"kind": "published_joint", "aggregation": name} for name in PUBLISHED_AGGREGATIONS}


def smallest_settings(sharing: type[Sharing]) -> Iterator[dict[str, Any]]:
    """Yield the settings that a sharing needs: its kind, and every choice of a required setting."""
    settings: dict[str, Any] = {"kind": sharing.model_fields["kind"].default}
    choices = {
        name: get_args(field.annotation)
        for name, field in sharing.model_fields.items()
        if field.is_required() and get_origin(field.annotation) is Literal
    }
    if not choices:
        yield settings
    for name, values in choices.items():
        yield from (settings | {name: value} for value in values)


def discovered_sharings() -> dict[str, dict[str, Any]]:
    """Return name -> settings of every sharing: the named ones, and those of the spec union that no name has."""
    union = get_args(get_args(AnySharing)[0])
    known = [*PUBLISHED.values(), *NAMED.values()]
    kinds = {settings["kind"] for settings in known}
    added = {}
    for settings in (settings for sharing in union for settings in smallest_settings(sharing)):
        required = len(settings) > 1
        if settings not in known and (required or settings["kind"] not in kinds):
            added["-".join(str(value) for value in settings.values())] = settings
    return NAMED | added


SHARING = discovered_sharings()


def of_support(*supports: Support) -> dict[str, type[Likelihood]]:
    """Return the likelihoods of activity with one of these supports."""
    return {kind: likelihood for kind, likelihood in LIKELIHOODS.items() if likelihood.support in supports}


def activity_of(support: Support, rows: int, features: int, seed: int = 0) -> torch.Tensor:
    """Return activity ``(row, feature)`` that a likelihood of this support can score."""
    random = torch.Generator().manual_seed(seed)
    match support:
        case "real":
            return torch.randn(rows, features, generator=random)
        case "counts":
            return torch.poisson(torch.full((rows, features), 2.0), generator=random)
        case "binary":
            return torch.eye(features)[torch.randint(features, (rows,), generator=random)]
        case "positive":
            return torch.empty(rows, features).log_normal_(generator=random)


def recordings_of(support: Support, animals: dict[str, tuple[int, int]]) -> xr.DataTree:
    """Return tuned recordings, animal -> (units, trials), of activity that a likelihood of this support can score."""
    recordings = tuned_recordings(animals)
    children = {}
    for name, node in recordings.children.items():
        dataset = node.to_dataset(inherit=False)
        if support == "binary":
            dataset["spike_count"] = dataset["spike_count"].clip(max=1)
        elif support == "positive":
            amplitude = (dataset["spike_count"] + 0.5).astype("float32")
            dataset = dataset.drop_vars("spike_count").assign(event_amplitude=amplitude.assign_attrs(units="uV^2"))
        children[name] = xr.DataTree(dataset)
    return xr.DataTree(dataset=recordings.to_dataset(), children=children)
