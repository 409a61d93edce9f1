"""An interactive figure of latents in two or three dimensions."""

import itertools
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from neuromvm.analysis.figures.palettes import ANIMALS, CLASSES, Palette

# Supported in 2-D and 3-D plots. In 3-D, symbols are glyphs of a font: "x" is an emoji that many systems lack.
SYMBOLS = ("circle", "square", "diamond", "cross", "circle-open", "square-open", "diamond-open")
LONGEST = 24  # characters of a name in the legend
TEST, IN_SAMPLE = "test", "training and test"  # what a trial was used for
# Plotly shows by default a button that uploads the data of a figure to its servers; it is off to keep recordings local.
CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False, "plotlyServerURL": ""}
CAMERA = {"eye": {"x": 1.5, "y": 1.5, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.15}}


def cloud(points: pd.DataFrame, axes: Sequence[str], label: str, classes: Sequence[str]) -> go.Figure:
    """Draw samples in two or three dimensions, colored by label or by animal, with a menu for the colors and the trials shown.

    ``points`` have a row for each sample: ``animal, trial, window, label, part`` and coordinates, in columns named by ``axes``
    (one to three). ``label`` says what the labels are, e.g. ``odor``; ``classes`` are all labels in their order.
    """
    animals = list(dict.fromkeys(points["animal"].tolist()))
    groups = {"label": list(classes), "animal": animals}
    traces: list[Any] = []
    shown: list[tuple[str, bool]] = []  # what colors a trace, and whether it holds test trials
    for key, is_test in itertools.product(groups, (True, False)):
        for index, name in enumerate(groups[key]):
            chosen = points[(points[key] == name) & (points["part"].isin((TEST, IN_SAMPLE)) == is_test)]
            if len(chosen):
                palette = CLASSES if key == "label" else ANIMALS
                traces.append(_trace(chosen, axes, groups[key], index, palette, is_test=is_test))
                shown.append((key, is_test))
    buttons: list[dict[str, Any]] = []
    tested = "trials trained on and scored" if IN_SAMPLE in set(points["part"]) else "test trials"
    for trials, key in itertools.product((tested, "all trials (training: small)"), groups):
        title = label if key == "label" else key
        visible = [key == of and (trials != tested or is_test) for of, is_test in shown]
        state = {"visible": visible, "showlegend": _first_of_group(traces, visible)}
        args = [state, {"legend.title.text": _shown(title)}]
        buttons.append({"label": _shown(f"by {title}, {trials}"), "method": "update", "args": args})
    for trace, is_visible, is_named in zip(traces, *buttons[0]["args"][0].values(), strict=True):
        trace.update(visible=is_visible, showlegend=is_named)
    figure = go.Figure(traces)
    figure.update_layout(**_layout(axes, _shown(label), buttons))
    return figure


def _trace(
    points: pd.DataFrame, axes: Sequence[str], names: Sequence[str], index: int, palette: Palette, *, is_test: bool
) -> Any:
    name = names[index]
    red, green, blue = (round(255 * part) for part in palette.colors(names)[name])
    columns = [points[name].round(4) for name in axes]
    if len(columns) == 1:
        columns.append(pd.Series(np.zeros(len(points)), index=points.index))
    three = len(columns) == 3
    described = points[["animal", "trial", "window", "label", "part"]].itertuples(index=False)
    return (go.Scatter3d if three else go.Scatter)(
        **dict(zip("xyz", columns, strict=False)),
        mode="markers",
        name=_shown(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"),
        legendgroup=name,
        marker={
            "color": f"rgb({red},{green},{blue})",
            "symbol": SYMBOLS[index % len(SYMBOLS)],
            "size": (4 if three else 7) if is_test else (2 if three else 4),
            "opacity": 0.85 if is_test else 0.4,
        },
        customdata=[[_shown(str(value)) for value in sample] for sample in described],
        hovertemplate="%{customdata[3]}<br>%{customdata[0]}<br>trial %{customdata[1]}, window %{customdata[2]}<br>"
        "%{customdata[4]}<extra></extra>",
    )


def _first_of_group(traces: Sequence[Any], visible: Sequence[bool]) -> list[bool]:
    """Return for each trace whether the legend names it: the first visible trace of each group."""
    groups = [trace.legendgroup if is_visible else None for trace, is_visible in zip(traces, visible, strict=True)]
    return [is_visible and groups.index(groups[index]) == index for index, is_visible in enumerate(visible)]


def _shown(text: str) -> str:
    """Escape text, since Plotly interprets a subset of HTML."""
    return escape(text, quote=False)


def _layout(axes: Sequence[str], label: str, buttons: list[dict[str, Any]]) -> dict[str, Any]:
    titles = {f"{axis}axis": {"title": {"text": _shown(name)}} for axis, name in zip("xyz", axes, strict=False)}
    above = {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    below = {"yanchor": "top", "y": -0.02 if len(axes) == 3 else -0.16}
    layout: dict[str, Any] = {
        "height": 640,
        "margin": {"l": 10, "r": 10, "t": 50, "b": 10},
        "paper_bgcolor": "white",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "legend": {"title": {"text": label, "side": "top"}, "itemsizing": "constant", "orientation": "h", **below},
        "updatemenus": [{"buttons": buttons, **above, "direction": "down", "showactive": True}],
    }
    return layout | ({"scene": {**titles, "camera": CAMERA}} if len(axes) == 3 else {"template": "simple_white", **titles})
