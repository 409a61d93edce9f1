"""The look of every figure, and how figures are saved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from neuromvm.analysis.figures.palettes import colors_in_order
from neuromvm.analysis.figures.text import brief
from neuromvm.errors import ArgumentError
from neuromvm.files import replacing

__all__ = ["Axes", "Figure"]  # names of matplotlib that other modules take from here

SINGLE, DOUBLE = 3.5, 7.2  # widths of one and two columns of a journal [inch]
MANY = 6  # number of names above which bands and clouds would hide each other, and are drawn differently
LEGEND_ROW, LEGEND_HANDLE, LEGEND_LETTER = 0.15, 0.42, 0.056  # height of an entry, widths of its handle and of a letter [inch]
LEGEND_SHARE = 0.32  # of the width of a figure that a legend beside the panels may take
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


_AXES: ContextVar[Axes | None] = ContextVar("axes", default=None)  # of the user, to draw in


class Drawing(Figure):
    """A figure that a notebook displays once, in the style of this module whatever the user's settings are.

    ``shows`` says what it shows, ``words`` is its caption and ``numbers`` are those that it shows.
    """

    shows: str = ""
    words: str = ""
    numbers: xr.Dataset | None = None

    def draw(self, renderer: Any) -> None:
        """Draw it; names are text here too."""
        with applied():
            super().draw(renderer)

    def caption_share(self) -> float:
        """Return the share of the height that the caption takes, once the figure has been laid out."""
        if not self.words:
            return 0.0
        self.draw_without_rendering()
        box = next(text for text in self.texts if text.get_text() == self.words).get_window_extent()
        return float(np.clip((box.y1 + 2) / self.bbox.height, 0, 1))

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        with applied():
            self.savefig(picture, format="png", dpi=RC["figure.dpi"])
        return picture.getvalue()


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


@contextmanager
def drawn_in(axes: Axes | None) -> Iterator[None]:
    """Draw the next figures of one panel in axes of the user, without their captions."""
    token = _AXES.set(axes)
    try:
        yield
    finally:
        _AXES.reset(token)


def page(height: float, rows: int = 1, columns: int = 1, *, width: float = DOUBLE, **layout: Any) -> tuple[Figure, Any]:
    """Return a figure of a height [inch] and its panels, as ``Figure.subplots`` returns them.

    ArgumentError is raised for several panels in the axes of :func:`drawn_in`.
    """
    target = _AXES.get()
    if target is not None:
        if rows * columns > 1:
            problem = f"a figure of {rows * columns} panels, and axes for one"
            raise ArgumentError("ax", found=problem, next_step="Leave ax out, or select what fits in one panel")
        owner = target.get_figure(root=True)
        assert owner is not None
        return owner, target if layout.get("squeeze", True) else np.array([[target]])
    figure = Drawing(figsize=(width, height), layout="constrained")
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


def limits(values: Sequence[float]) -> str:
    """Return the range of values in words, or the value if they are the same.

    Examples
    --------
    >>> limits([0.25, 0.25]), limits([0.5, 0.25])
    ('0.25', '0.25 to 0.5')
    """
    return " to ".join(dict.fromkeys(f"{limit:.3g}" for limit in (min(values), max(values))))


def legend(figure: Figure, entries: Sequence[Artist], title: str = "") -> None:
    """Add a legend right of all panels, in as many columns as its entries need, or below them where that would be too wide."""
    if isinstance(target := _AXES.get(), Axes):
        target.legend(handles=list(entries), title=title, alignment="left", handlelength=1.5)
        return
    longest = max((len(str(entry.get_label())) for entry in entries), default=0)
    width = LEGEND_HANDLE + LEGEND_LETTER * max(longest, len(title) if len(entries) == 1 else 0)
    fitting = max(4, int((figure.get_figheight() - 0.9) / LEGEND_ROW))
    columns = -(-len(entries) // fitting)
    look: dict[str, Any] = {"handles": list(entries), "title": title, "alignment": "left", "handlelength": 1.5}
    if columns * width <= LEGEND_SHARE * figure.get_figwidth():
        figure.legend(loc="outside right upper", ncols=columns, **look)
        return
    columns = max(1, min(len(entries), int((figure.get_figwidth() - 0.3) / width)))
    rows = -(-len(entries) // columns) + bool(title)
    figure.set_figheight(figure.get_figheight() + rows * LEGEND_ROW + 0.1)
    figure.legend(loc="outside upper left", ncols=columns, **look)


def shades() -> ListedColormap:
    """Return the colors of numbers that have no end, those of labels that are quantities."""
    return ListedColormap(colors_in_order(256))


def thinned(names: Sequence[str], space: float, fontsize: float) -> list[str]:
    """Return names of ticks along a side [inch], '' for those that would overlap their neighbors when written across it."""
    every = max(1, -(-round(1e3 * len(names) * fontsize * 1.1 / 72) // round(1e3 * space)))
    return [brief(name, 20) if number % every == 0 else "" for number, name in enumerate(names)]


def only(scores: xr.Dataset, *names: str) -> xr.Dataset:
    """Return the named variables of scores, those that there are."""
    return scores[[name for name in names if name in scores]]


def caption(figure: Figure, text: str, shows: str = "", numbers: xr.Dataset | None = None) -> Figure:
    """Write the caption below the panels, and return the figure.

    ``shows`` says what the figure shows, for those who cannot see it, ``numbers`` are those that it shows.
    """
    if isinstance(figure, Drawing):
        figure.shows, figure.words, figure.numbers = shows, text, numbers
    if _AXES.get() is None:
        figure.supxlabel(text, fontsize=6, x=0.01, ha="left", wrap=True)
    return figure


def save(figure: Figure, scores: xr.Dataset, path: Path) -> None:
    """Write ``path.png``, ``path.pdf`` and, with the numbers behind the figure, ``path.csv``; the bytes are reproducible.

    The picture holds what it shows and its caption as text, and which part of its height the caption takes. The numbers are
    those of the figure; of figures that do not tell them, all scores.
    """
    numbers = scores
    with applied():
        told: dict[str, str] = {}
        if isinstance(figure, Drawing):
            numbers = scores if figure.numbers is None else figure.numbers
            told = {"Title": figure.shows, "Description": figure.words, "Comment": f"{figure.caption_share():.4f}"}
        pictures: list[tuple[str, dict[str, Any]]] = [("png", {"Software": None, **told}), ("pdf", {"CreationDate": None})]
        for kind, metadata in pictures:
            with replacing(path.with_suffix(f".{kind}")) as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)
    with replacing(path.with_suffix(".csv")) as temporary:
        tidy(numbers).to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


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
    table = pd.concat(frames, ignore_index=True)
    numbers = table.select_dtypes(np.floating).columns
    table[numbers] = table[numbers] + 0.0  # no signed zeros
    return table
