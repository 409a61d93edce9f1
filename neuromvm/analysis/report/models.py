"""Sections of the report on each model: training curves, agreement between animals, and interactive clouds of latents."""

import json
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from markupsafe import Markup

from neuromvm.analysis.figures.agreement import agreement as agreement_figure
from neuromvm.analysis.figures.latents3d import CONFIG, IN_SAMPLE, TEST, cloud
from neuromvm.analysis.figures.text import counted, ordered, span
from neuromvm.analysis.figures.training import curves, history
from neuromvm.analysis.latents.agreement_warnings import agreement_warnings
from neuromvm.analysis.latents.projection import fit_pca, projected
from neuromvm.analysis.report.embedded import embedded_figure
from neuromvm.analysis.report.tables import number
from neuromvm.data.pairing import simplex_conditions
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study
from neuromvm.schema import Part, is_fitted, is_scored

MOST_POINTS = 6000  # of a cloud; more make a report heavy
SPLIT = 0


class Section(NamedTuple):
    """Sentence, figure (base64 PNG, '' if nothing was computed) and warnings of a model."""

    model: str
    sentence: str
    data: str = ""
    warnings: Sequence[str] = ()


class Cloud(NamedTuple):
    """A cloud of a model with its caption; html is '' and the caption says why if there is none."""

    model: str
    html: Markup
    caption: str


def trainings(study: Study) -> list[Section]:
    """Return the training curves of every model."""
    return [_training(study, model) for model in study.models]


def _training(study: Study, model: str) -> Section:
    try:
        records = study.metrics(model)
    except RunFolderError as error:
        return Section(model, f"Its record of epochs cannot be read. {error}")
    planned = study.spec.training_for(model).epochs
    if not records and planned == 0:
        return Section(model, "Not trained, as the experiment says: the model as it starts.")
    if not records:
        return Section(model, "No epoch is recorded. Go on with the run: neuromvm run EXPERIMENT.yaml --out RUN --resume")
    epochs = history(records, list(study.samples.children), study.rate_terms(model))
    seconds, trained = sum(record["seconds"] for record in records), int(epochs["epoch"][-1])
    sentence = (
        f"{counted(epochs.sizes['replica'], 'replica')}, {trained} of {planned} epochs, {number(seconds)} s; mean loss at the "
        f"last epoch {number(float(epochs['loss'][-1].mean()))}. {_end(epochs['stopped'].to_numpy(), trained, planned)}"
    )
    return Section(model, sentence, embedded_figure(partial(curves, epochs)))


def _end(stopped: np.ndarray, trained: int, planned: int) -> str:
    """Describe how a training ended."""
    early = stopped[np.isfinite(stopped)].astype(int).tolist()
    if early:
        return f"Early stopping ended {len(early)} of {counted(len(stopped), 'replica')}, at epoch {span(early)}."
    if trained < planned:
        return "The training was cut off and can be resumed."
    return "No replica was stopped early: the loss need not have settled, look at the curves."


def agreements(study: Study) -> list[Section]:
    """Describe the agreement between animals and the collapsed latents of every model."""
    return [_agreement(study, model) for model in study.models]


def _agreement(study: Study, model: str) -> Section:
    try:
        agreement = study.agreement(model)
    except RunFolderError as error:
        return Section(model, f"What was computed cannot be read. {error}")
    if agreement is None:
        return Section(model, "Not computed. Finish the run: neuromvm run EXPERIMENT.yaml --out RUN --resume")
    conditions = simplex_conditions(study.samples, study.spec.models[model])
    warnings = [sentence[0].upper() + sentence[1:] for sentence in agreement_warnings(agreement, conditions)]
    sentence = f"{_pairs_sentence(agreement)} {_latents_sentence(agreement)}"
    return Section(model, sentence, embedded_figure(partial(agreement_figure, agreement)), warnings)


def _pairs_sentence(agreement: xr.Dataset) -> str:
    """Compare agreement between animals with that within an animal and that of other conditions."""
    if "agreement" not in agreement:
        return "One animal: there is nothing to agree with."
    if not np.isfinite(agreement["agreement"]).any():
        return "A model without noise has no posteriors to compare."
    across = agreement["animal"] != agreement["other"]
    side = "test" if (agreement["side"] == "test").all() else "fitted"

    def mean(key: str, where: xr.DataArray | bool = True) -> str:
        return number(float(agreement[key].where(where).mean()))

    return (
        f"Posteriors of two {side} trials of the same condition agree to {mean('agreement', across)} between animals (1: the "
        f"same, 0: no overlap), to {mean('agreement', ~across)} within an animal, which is what single trials allow for, and "
        f"between animals in other conditions to {mean('agreement_unmatched', across)}. The trial of the same condition is the "
        f"nearer one in {float(agreement['closer'].where(across).mean()):.0%} of the cases (50% if animals have nothing in "
        f"common). KL to the mixture of all animals: {mean('kl_to_mixture')} of at most {mean('ceiling')} nats."
    )


def _latents_sentence(agreement: xr.Dataset) -> str:
    """Count the latents that are not collapsed, and give the information in all of them."""
    size = agreement.sizes["latent"]
    active = size - agreement["collapsed"].sum("latent").mean("replica")
    least, most = (f"{float(count):.3g}" for count in (active.min(), active.max()))
    count = least if least == most else f"{least} to {most}, depending on the animal,"
    sentence = f"Of {counted(size, 'latent')}, {count} carry something"
    if np.isfinite(agreement["information"]).any():
        information = number(float(agreement["information"].sum("latent").mean()))
        sentence += f"; all together tell at most {information} nats about which sample it was (mean over animals)"
    return f"{sentence}."


def clouds(study: Study) -> list[Cloud]:
    """Draw the first replica of every model as data that the page draws."""
    drawn: list[Cloud] = []
    for index, model in enumerate(study.models):
        try:
            points, axes = samples_of(study, model)
        except RunFolderError as error:
            drawn.append(Cloud(model, Markup(""), f"No latents of {model}: {error}"))
            continue
        samples = len(points)
        points = points.iloc[:: -(-samples // MOST_POINTS)]
        figure = cloud(points, axes, study.samples.attrs["label"], ordered(json.loads(study.samples.attrs["classes"])))
        content = json.dumps({"figure": json.loads(str(figure.to_json())), "config": CONFIG}, separators=(",", ":"))
        for mark in "<>&/":  # so that no name from a file ends the script
            content = content.replace(mark, f"\\u{ord(mark):04x}")
        html = f'<div id="cloud-{index}"></div><script type="application/json" data-of="cloud-{index}">{content}</script>'
        caption = f"Latents of {model}, first replica (split {SPLIT}): {_shown_sentence(points)} {_axes_sentence(axes)}"
        if len(points) < samples:
            caption += f" Of {samples} samples, evenly spaced ones are drawn."
        drawn.append(Cloud(model, Markup(html), caption))  # noqa: S704
    return drawn


def samples_of(study: Study, model: str) -> tuple[pd.DataFrame, list[str]]:
    """Return labelled samples of the first replica on at most three axes, and the names of the axes.

    Columns ``animal, trial, window, label, part`` and one for each axis; ``part`` is ``test``, ``training`` or both.
    """
    shown = projected(study.latents(model), study.splits, SPLIT, fit_pca, axes=3)
    classes = np.array(json.loads(study.samples.attrs["classes"]))
    frames = []
    for animal, values in shown.values.items():
        node = study.samples[animal].to_dataset()
        part = study.splits[animal]["part"].to_numpy()[SPLIT]
        labels = node["label"].to_numpy()
        finite = np.isfinite(values).all(axis=-1)
        trial, window = np.nonzero((labels >= 0) & finite & (part != Part.UNUSED)[:, None])
        columns = {
            "animal": np.full(len(trial), animal),
            "trial": node["trial"].to_numpy()[trial],
            "window": node["window"].to_numpy()[window],
            "label": classes[labels[trial, window]],
            "part": np.select([is_scored(part) & is_fitted(part), is_scored(part)], [IN_SAMPLE, TEST], "training")[trial],
        }
        columns |= {name: values[trial, window, axis] for axis, name in enumerate(shown.axes)}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True), shown.axes


def _shown_sentence(points: pd.DataFrame) -> str:
    counts = points["part"].value_counts()
    if IN_SAMPLE in counts:
        return f"{counts[IN_SAMPLE]} samples of trials that were both trained on and scored."
    tested = counts.get(TEST, 0)
    return f"{tested} samples of test trials shown at first, {len(points) - tested} of training trials through the menu."


def _axes_sentence(axes: list[str]) -> str:
    if axes[0].startswith("PC"):
        return "Axes: principal components of training trials, with their share of the variance; the rest is not seen here."
    return "Axes: the latents themselves."
