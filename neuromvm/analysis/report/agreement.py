"""Which animals of each model agree, and which latents carry nothing, for the report."""

import json
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.figures.agreement import agreement
from neuromvm.analysis.figures.text import counted
from neuromvm.analysis.report.results import embedded_figure
from neuromvm.analysis.report.tables import number
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study


class Agreement(NamedTuple):
    """What is said of one model, its warnings, and the figure, '' if nothing was computed."""

    model: str
    sentence: str
    warnings: list[str]
    data: str


def agreements(study: Study) -> list[Agreement]:
    """Describe every model."""
    return [_agreement(study, model) for model in study.models]


def _agreement(study: Study, model: str) -> Agreement:
    try:
        about = study.agreement(model)
    except RunFolderError as error:
        return Agreement(model, f"What was computed cannot be read. {error}", [], "")
    if about is None:
        return Agreement(model, "Not computed. Finish the run: neuromvm run EXPERIMENT.yaml --out RUN --resume", [], "")
    said = [one[0].upper() + one[1:] for one in json.loads(about.attrs["warnings"])]
    return Agreement(model, " ".join([*_pairs(about), *_latents(about)]), said, embedded_figure(partial(agreement, about)))


def _pairs(about: xr.Dataset) -> list[str]:
    """Say how far posteriors of different animals agree, beside those of one animal and of other conditions."""
    if "agreement" not in about:
        return ["One animal: there is nothing to agree with."]
    if not np.isfinite(about["agreement"]).any():
        return ["A model without noise has no posteriors to compare."]
    across = about["animal"] != about["other"]
    side = "test" if (about["side"] == "test").all() else "fitted"

    def mean(key: str, where: xr.DataArray) -> str:
        return number(float(about[key].where(where).mean()))

    rate, ceiling = (number(float(about[key].mean())) for key in ("kl_to_mixture", "ceiling"))
    return [
        f"Posteriors of two {side} trials of the same condition agree to {mean('agreement', across)} between animals (1: the "
        f"same, 0: no overlap), to {mean('agreement', ~across)} within an animal, which is what single trials allow for, and "
        f"between animals in other conditions to {mean('agreement_unmatched', across)}. The trial of the same condition is the "
        f"nearer one in {float(about['closer'].where(across).mean()):.0%} of the cases (50% if animals have nothing in common). "
        f"KL to the mixture of all animals: {rate} of at most {ceiling} nats.",
    ]


def _latents(about: xr.Dataset) -> list[str]:
    """Say how many latents carry something."""
    size = about.sizes["latent"]
    active = size - about["collapsed"].sum("latent").mean("replica")
    information = number(float(about["information"].sum("latent").mean()))
    few, many = (f"{float(one):.3g}" for one in (active.min(), active.max()))
    count = few if few == many else f"{few} to {many}, depending on the animal,"
    said = f"Of {counted(size, 'latent')}, {count} carry something"
    if np.isfinite(about["information"]).any():
        said += f"; all together tell at most {information} nats about which sample it was (mean over animals)"
    return [f"{said}."]
