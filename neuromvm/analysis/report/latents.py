"""Section of the report: interactive clouds of the latents of the first replica of every model."""

import json
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from plotly.io import to_html

from neuromvm.analysis.figures.latents3d import CONFIG, IN_SAMPLE, TEST, cloud
from neuromvm.analysis.figures.text import ordered
from neuromvm.analysis.latents.projection import fit_pca, projected
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study
from neuromvm.schema import Part, is_fitted, is_scored

MOST_POINTS = 6000  # of a model; more make a report heavy
SPLIT = 0


class Cloud(NamedTuple):
    """A cloud of a model with its caption; html is '' and the caption says why if there is none."""

    model: str
    html: Markup
    caption: str


def clouds(study: Study) -> list[Cloud]:
    """Draw every model; the first cloud contains the plotting library."""
    drawn: list[Cloud] = []
    for number, model in enumerate(study.models):
        try:
            points, axes = samples_of(study, model)
        except RunFolderError as error:
            drawn.append(Cloud(model, Markup(""), f"No latents of {model}: {error}"))
            continue
        samples = len(points)
        points = points.iloc[:: -(-samples // MOST_POINTS)]
        figure = cloud(points, axes, study.samples.attrs["label"], ordered(json.loads(study.samples.attrs["classes"])))
        needs_library = not any(model_cloud.html for model_cloud in drawn)
        html = to_html(figure, CONFIG, include_plotlyjs=needs_library, full_html=False, div_id=f"cloud-{number}")
        caption = f"Latents of {model}, first replica (split {SPLIT}): {_shown_sentence(points)} {_axes_sentence(axes)}"
        if len(points) < samples:
            caption += f" Of {samples} samples, evenly spaced ones are drawn."
        # plotly writes names into JSON with <, > and / escaped, so nothing from a file can end the script
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
