"""The look of every figure, and how figures are saved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
import seaborn as sns
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = [
    "DOUBLE",
    "MANY",
    "SINGLE",
    "Axes",
    "Figure",
    "LineStyle",
    "applied",
    "caption",
    "colors",
    "handles",
    "legend",
    "line_styles",
    "markers",
    "save",
    "tidy",
]

LineStyle = Literal["-", "--", ":", "-."]

SINGLE, DOUBLE = 3.5, 7.2  # widths of one and two columns of a journal [inch]
MANY = 6  # number of names above which bands and clouds would hide each other, and are drawn differently
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
RC: dict[str, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,  # text stays text in an editor
    "svg.fonttype": "none",
    "svg.hashsalt": "neuromvm",
}


@contextmanager
def applied() -> Iterator[None]:
    """Draw in this style, whatever the user's settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)  # type: ignore[arg-type]
        yield


def colors(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Return a color for each name: up to ten are safe for the color-blind, more are hues, alternately dark and light."""
    palette = sns.color_palette("colorblind")
    if len(names) > len(palette):
        dark, light = (sns.husl_palette(len(names), s=0.9, l=lightness) for lightness in (0.45, 0.7))
        palette = [(light if number % 2 else dark)[number] for number in range(len(names))]
    return dict(zip(names, palette, strict=False))


def markers(names: Sequence[str]) -> dict[str, str]:
    """Return a marker for each name, different for neighboring hues."""
    return {name: MARKERS[number % len(MARKERS)] for number, name in enumerate(names)}


def line_styles(names: Sequence[str]) -> dict[str, LineStyle]:
    """Return a line style for each name: solid if colors suffice, else different for neighboring hues."""
    used = LINE_STYLES if len(names) > len(sns.color_palette("colorblind")) else LINE_STYLES[:1]
    return {name: used[number % len(used)] for number, name in enumerate(names)}


def handles(names: Sequence[str], labels: Sequence[str] | None = None, *, marked: bool = True) -> list[Artist]:
    """Return legend entries in the colors of names, with their markers or line styles; labels replace the names."""
    color, marker, line_style = colors(names), markers(names), line_styles(names)
    look: dict[str, dict[str, Any]] = {
        name: {"marker": marker[name], "markersize": 4} if marked else {"linestyle": line_style[name]} for name in names
    }
    return [
        Line2D([], [], color=color[name], label=label, **look[name]) for name, label in zip(names, labels or names, strict=True)
    ]


def legend(figure: Figure, entries: Sequence[Artist], title: str = "") -> None:
    """Add a legend right of all panels, in as many columns as its entries need."""
    columns = 1 + (len(entries) - 1) // 16
    figure.legend(
        handles=list(entries), loc="outside right upper", ncols=columns, title=title, alignment="left", handlelength=1.5
    )


def caption(figure: Figure, text: str) -> None:
    """Write the caption below the panels."""
    figure.supxlabel(text, fontsize=6, x=0.01, ha="left", wrap=True)


def save(figure: Figure, scores: xr.Dataset, path: Path) -> None:
    """Write ``path.png``, ``path.pdf`` and, with the numbers behind the figure, ``path.csv``; the bytes are reproducible."""
    with applied():
        figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    tidy(scores).to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g", lineterminator="\n")


def tidy(scores: xr.Dataset) -> pd.DataFrame:
    """Return scores as one table: variables over the same dims share rows."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, variable in scores.data_vars.items():
        groups.setdefault(tuple(map(str, variable.dims)), []).append(str(name))
    frames = [scores[names].to_dataframe().reset_index() for dims, names in groups.items() if dims]
    return pd.concat(frames, ignore_index=True)
