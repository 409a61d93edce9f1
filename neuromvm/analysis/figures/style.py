"""The look of every figure, and how figures are saved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import pandas as pd
import seaborn as sns
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neuromvm.files import replacing

__all__ = ["Axes", "Figure"]  # names of matplotlib that other modules take from here

LineStyle = Literal["-", "--", ":", "-."]
Color = tuple[float, float, float]

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
    "text.parse_math": False,  # a label may hold dollar signs
    "pdf.fonttype": 42,  # text stays text in an editor
    "svg.fonttype": "none",
    "svg.hashsalt": "neuromvm",
}


class Panel(NamedTuple):
    """Axes in a grid of panels."""

    axes: Axes
    is_left: bool  # in the left column
    is_bottom: bool  # the lowest of its column


@contextmanager
def applied() -> Iterator[None]:
    """Draw in this style, whatever the user's settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)  # type: ignore[arg-type]
        yield


def page(height: float, rows: int = 1, columns: int = 1, *, width: float = DOUBLE, **layout: Any) -> tuple[Figure, Any]:
    """Return a figure of a height [inch] and its panels, as ``Figure.subplots`` returns them."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **layout)


def panels(count: int, most: int, margin: float, height: float, **layout: Any) -> tuple[Figure, list[Panel]]:
    """Return a figure with ``count`` panels of a height [inch], at most ``most`` in a row, and a margin above and below them."""
    columns = max(1, min(most, count))
    rows = max(1, -(-count // columns))
    figure, grid = page(margin + height * rows, rows, columns, squeeze=False, **layout)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    edges = [(number % columns == 0, number + columns >= count) for number in range(count)]
    return figure, [Panel(axes, *edge) for axes, edge in zip(grid.flat, edges, strict=False)]


def names_of(scores: xr.Dataset | xr.DataArray, dim: str = "representation") -> list[str]:
    """Return the names along a dim."""
    return [str(name) for name in scores[dim].values]


def point(axes: Axes, x: Any, value: Any, low: Any, high: Any, *, color: Any, marker: str = "o", linewidth: float = 1.2) -> None:
    """Draw a score with its interval, or several ``(point,)``."""
    axes.vlines(x, low, high, color=color, linewidth=linewidth)
    axes.plot(x, value, marker, color=color, markersize=4)


def aside(rank: int, count: int, width: float) -> float:
    """Return how far right of the middle of a group of points, ``width`` wide, the point of a rank is drawn."""
    return width * ((rank + 0.5) / count - 0.5)


def colors(names: Sequence[str]) -> dict[str, Color]:
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
    entries: list[Artist] = []
    for name, label in zip(names, labels or names, strict=True):
        look: dict[str, Any] = {"marker": marker[name], "markersize": 4} if marked else {"linestyle": line_style[name]}
        entries.append(Line2D([], [], color=color[name], label=label, **look))
    return entries


def limits(values: Sequence[float]) -> str:
    """Return the range of values in words, or the value if they are the same.

    Examples
    --------
    >>> limits([0.25, 0.25]), limits([0.5, 0.25])
    ('0.25', '0.25 to 0.5')
    """
    return " to ".join(dict.fromkeys(f"{limit:.3g}" for limit in (min(values), max(values))))


def legend(figure: Figure, entries: Sequence[Artist], title: str = "") -> None:
    """Add a legend right of all panels, in as many columns as its entries need."""
    columns = 1 + (len(entries) - 1) // 16
    figure.legend(
        handles=list(entries), loc="outside right upper", ncols=columns, title=title, alignment="left", handlelength=1.5
    )


def caption(figure: Figure, text: str) -> Figure:
    """Write the caption below the panels, and return the figure."""
    figure.supxlabel(text, fontsize=6, x=0.01, ha="left", wrap=True)
    return figure


def save(figure: Figure, scores: xr.Dataset, path: Path) -> None:
    """Write ``path.png``, ``path.pdf`` and, with the numbers behind the figure, ``path.csv``; the bytes are reproducible."""
    with applied():
        for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
            with replacing(path.with_suffix(f".{kind}")) as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)
    with replacing(path.with_suffix(".csv")) as temporary:
        tidy(scores).to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


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
