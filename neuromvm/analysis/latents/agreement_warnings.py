"""Warnings about the latents of a model: collapsed latents, and animals whose posteriors agree with no other animal."""

import numpy as np
import xarray as xr

from neuromvm.analysis.figures.text import listed

STANDARD_ERRORS = 2.0  # by which ``closer`` has to exceed 0.5


def agreement_warnings(agreement: xr.Dataset, conditions: int | None = None) -> list[str]:
    """Return sentences, without a full stop, about what is wrong with the latents of a model.

    ``conditions`` is how many conditions a simplex code has; None: the code is free.

    Animals are compared only if the attribute ``shares_latents`` of :meth:`neuromvm.folders.study.Study.agreement` says that the
    posteriors of the model are meant to agree; files of earlier versions do not have it.
    """
    warnings = []
    size = agreement.sizes["latent"]
    counts = agreement["collapsed"].sum("latent").median("replica").astype(int)
    for count in sorted(set(counts.values[counts.values > 0].tolist()), reverse=True):
        animals = listed(agreement["animal"].values[counts.values == count].astype(str).tolist())
        warnings.append(
            f"{count} of {size} latents of {animals} carry nothing: their posterior is the same for every trial. "
            f"{_remedy(count, size, conditions)}"
        )
    if agreement.attrs.get("shares_latents") and "closer" in agreement and (isolated := _isolated_animals(agreement)):
        warnings.append(
            f"the posteriors of {listed(isolated)} agree with none: trials of the same condition of other animals lie no "
            "closer than those of other conditions. Look at the training curves, the labels and the units of these animals"
        )
    return warnings


def _remedy(count: int, size: int, conditions: int | None) -> str:
    """Return why latents carry nothing, if that is known, and what to do."""
    if conditions is None:
        return "Lower beta, or train fewer latents"
    if size > conditions:
        return f"A simplex code of {conditions} conditions fills {conditions} latents. Set latent to {conditions}"
    return f"The code does not tell {count} of {conditions} conditions apart. Lower beta, or look at these conditions' trials"


def _isolated_animals(agreement: xr.Dataset) -> list[str]:
    """Return the animals from which, and to which, no other animal is closer by two standard errors."""
    excess = (agreement["closer"] - 0.5 - STANDARD_ERRORS * agreement["closer_error"]).mean("replica")
    excess = excess.where(agreement["animal"] != agreement["other"])
    best = np.fmax(excess.max("other").to_numpy(), excess.max("animal").to_numpy())
    isolated = excess.notnull().any("other").to_numpy() & (best <= 0)
    return [str(name) for name in agreement["animal"].values[isolated]]
