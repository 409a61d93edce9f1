"""Section of the report: agreement between animals and collapsed latents of each model."""

from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.figures.agreement import agreement as agreement_figure
from neuromvm.analysis.figures.text import counted
from neuromvm.analysis.latents.agreement_warnings import agreement_warnings
from neuromvm.analysis.report.results import embedded_figure
from neuromvm.analysis.report.tables import number
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study


class Agreement(NamedTuple):
    """Sentence, warnings and figure (base64 PNG, '' if nothing was computed) of one model."""

    model: str
    sentence: str
    warnings: list[str]
    data: str


def agreements(study: Study) -> list[Agreement]:
    """Describe every model."""
    return [_agreement(study, model) for model in study.models]


def _agreement(study: Study, model: str) -> Agreement:
    try:
        agreement = study.agreement(model)
    except RunFolderError as error:
        return Agreement(model, f"What was computed cannot be read. {error}", [], "")
    if agreement is None:
        return Agreement(model, "Not computed. Finish the run: neuromvm run EXPERIMENT.yaml --out RUN --resume", [], "")
    warnings = [sentence[0].upper() + sentence[1:] for sentence in agreement_warnings(agreement)]
    sentence = f"{_pairs_sentence(agreement)} {_latents_sentence(agreement)}"
    return Agreement(model, sentence, warnings, embedded_figure(partial(agreement_figure, agreement)))


def _pairs_sentence(agreement: xr.Dataset) -> str:
    """Compare agreement between animals with that within an animal and that of other conditions."""
    if "agreement" not in agreement:
        return "One animal: there is nothing to agree with."
    if not np.isfinite(agreement["agreement"]).any():
        return "A model without noise has no posteriors to compare."
    across = agreement["animal"] != agreement["other"]
    side = "test" if (agreement["side"] == "test").all() else "fitted"

    def mean(key: str, where: xr.DataArray) -> str:
        return number(float(agreement[key].where(where).mean()))

    rate, ceiling = (number(float(agreement[key].mean())) for key in ("kl_to_mixture", "ceiling"))
    return (
        f"Posteriors of two {side} trials of the same condition agree to {mean('agreement', across)} between animals (1: the "
        f"same, 0: no overlap), to {mean('agreement', ~across)} within an animal, which is what single trials allow for, and "
        f"between animals in other conditions to {mean('agreement_unmatched', across)}. The trial of the same condition is the "
        f"nearer one in {float(agreement['closer'].where(across).mean()):.0%} of the cases (50% if animals have nothing in "
        f"common). KL to the mixture of all animals: {rate} of at most {ceiling} nats."
    )


def _latents_sentence(agreement: xr.Dataset) -> str:
    """Count the latents that are not collapsed, and give the information in all of them."""
    size = agreement.sizes["latent"]
    active = size - agreement["collapsed"].sum("latent").mean("replica")
    information = number(float(agreement["information"].sum("latent").mean()))
    least, most = (f"{float(count):.3g}" for count in (active.min(), active.max()))
    count = least if least == most else f"{least} to {most}, depending on the animal,"
    sentence = f"Of {counted(size, 'latent')}, {count} carry something"
    if np.isfinite(agreement["information"]).any():
        sentence += f"; all together tell at most {information} nats about which sample it was (mean over animals)"
    return f"{sentence}."
