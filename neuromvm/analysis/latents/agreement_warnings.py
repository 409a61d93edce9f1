"""Warnings about the latents of a model: collapsed latents, and animals whose posteriors agree with no other animal."""

import numpy as np
import xarray as xr

from neuromvm.analysis.figures.text import listed
from neuromvm.specs import ModelSpec
from neuromvm.specs.model import AutoencoderSharing, IndependentSharing

STANDARD_ERRORS = 2.0  # by which ``closer`` has to exceed 0.5


def agreement_warnings(agreement: xr.Dataset, model: ModelSpec) -> list[str]:
    """Return sentences, without a full stop, about what is wrong with the latents of a model.

    ``agreement`` is of :meth:`neuromvm.folders.study.Study.agreement`. Animals are compared only if the posteriors of the model
    are meant to agree, see :func:`shares_latents`.
    """
    warnings = []
    size = agreement.sizes["latent"]
    counts = agreement["collapsed"].sum("latent").median("replica").astype(int)
    for count in sorted(set(counts.values[counts.values > 0].tolist()), reverse=True):
        animals = listed(agreement["animal"].values[counts.values == count].astype(str).tolist())
        warnings.append(
            f"{count} of {size} latents of {animals} carry nothing: their posterior is the same for every trial. "
            "Lower beta, or train fewer latents"
        )
    if shares_latents(model) and "closer" in agreement and (isolated := _isolated_animals(agreement)):
        warnings.append(
            f"the posteriors of {listed(isolated)} agree with none: trials of the same condition of other animals lie no "
            "closer than those of other conditions. Look at the training curves, the labels and the units of these animals"
        )
    return warnings


def shares_latents(model: ModelSpec) -> bool:
    """Return whether the posteriors of a model's animals are meant to agree.

    They are not in models that share nothing, nor for the factors of a product or an average, which may divide the information.
    """
    sharing = model.sharing
    if isinstance(sharing, IndependentSharing):
        return False
    if isinstance(sharing, AutoencoderSharing):
        return sharing.cross_reconstruction > 0
    return getattr(sharing, "aggregation", "mixture_of_experts") in ("mixture_of_experts", "mixture_of_products")


def _isolated_animals(agreement: xr.Dataset) -> list[str]:
    """Return the animals from which, and to which, no other animal is closer by two standard errors."""
    excess = (agreement["closer"] - 0.5 - STANDARD_ERRORS * agreement["closer_error"]).mean("replica")
    excess = excess.where(agreement["animal"] != agreement["other"])
    best = np.fmax(excess.max("other").to_numpy(), excess.max("animal").to_numpy())
    isolated = excess.notnull().any("other").to_numpy() & (best <= 0)
    return [str(name) for name in agreement["animal"].values[isolated]]
