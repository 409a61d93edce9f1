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
    "legend",
    "line_styles",
    "markers",
    "save",
    "tidy",
]

LineStyle = Literal["-", "--", ":", "-."]

SINGLE, DOUBLE = 3.5, 7.2  # widths of one and two columns of a journal [inch]
MANY = 6  # names above which bands and clouds hide one another, so that they are drawn in another way
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
    """Give each name a color: up to ten that the color-blind can tell apart, more as hues, dark and light in turn."""
    palette = sns.color_palette("colorblind")
    if len(names) > len(palette):
        dark, light = (sns.husl_palette(len(names), s=0.9, l=lightness) for lightness in (0.45, 0.7))
        palette = [(light if place % 2 else dark)[place] for place in range(len(names))]
    return dict(zip(names, palette, strict=False))


def markers(names: Sequence[str]) -> dict[str, str]:
    """Give each name a marker; neighbors in hue differ in it."""
    return {name: MARKERS[place % len(MARKERS)] for place, name in enumerate(names)}


def line_styles(names: Sequence[str]) -> dict[str, LineStyle]:
    """Give each name a line: solid where :func:`colors` tells all apart, else neighbors in hue differ in it."""
    used = LINE_STYLES if len(names) > len(sns.color_palette("colorblind")) else LINE_STYLES[:1]
    return {name: used[place % len(used)] for place, name in enumerate(names)}


def legend(figure: Figure, handles: Sequence[Artist], title: str = "") -> None:
    """Put one legend right of all panels, in as many columns as its entries need."""
    columns = 1 + (len(handles) - 1) // 16
    figure.legend(
        handles=list(handles), loc="outside right upper", ncols=columns, title=title, alignment="left", handlelength=1.5
    )


def caption(figure: Figure, text: str) -> None:
    """Write below the panels what lines, bands and bars are."""
    figure.supxlabel(text, fontsize=6, x=0.01, ha="left", wrap=True)


def save(figure: Figure, scores: xr.Dataset, path: Path) -> None:
    """Write ``path.png``, ``path.pdf`` and, with the numbers behind the figure, ``path.csv``; the same bytes every time."""
    with applied():
        figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    tidy(scores).to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g", lineterminator="\n")


def tidy(scores: xr.Dataset) -> pd.DataFrame:
    """Return scores as one table: variables over the same dims are columns of the same rows, their statistics too."""
    for name, variable in scores.data_vars.items():
        for dim in {"statistic", "null_statistic"} & set(variable.dims):
            columns = {f"{name}_{statistic}": variable.sel({dim: statistic}, drop=True) for statistic in variable[dim].values}
            scores = scores.drop_vars(str(name)).assign(columns)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, variable in scores.data_vars.items():
        groups.setdefault(tuple(map(str, variable.dims)), []).append(str(name))
    frames = [scores[names].to_dataframe().reset_index() for dims, names in groups.items() if dims]
    return pd.concat(frames, ignore_index=True)
