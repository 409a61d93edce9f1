"""Colors, markers and line styles of names: methods, labels and animals look the same in all figures of a run."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from neuromvm.analysis.figures.text import brief, ordered
from neuromvm.data.windows import classes

if TYPE_CHECKING:
    from neuromvm.folders.study import Study

LineStyle = Literal["-", "--", ":", "-."]
Color = tuple[float, float, float]

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
MODELS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c4a2f", "#6a3d9a")
BASELINES = {  # subdued, so that models stand out
    "raw": "#4d4d4d",
    "raw_lda": "#7f7f7f",
    "shrunk_lda": "#a6a6a6",
    "poisson_bayes": "#7b6d5d",
    "pca": "#b09f7e",
    "procrustes": "#5f7f95",
    "hyperalignment": "#8fa9b8",
    "srm": "#6f8f6f",
    "mcca": "#a0627a",
    "dynamics": "#8d84a8",
    "cebra": "#b08d57",
    "cebra_unified": "#c9a9a6",
}
LABELS_UNORDERED = (
    *("#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499", "#661100"),
    *("#6699cc", "#888888"),
)
ANIMALS_FIRST = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d", "#666666")
ORDERED_RANGE = 0.0, 0.92  # of viridis; the end is too light on white
QUANTITY = re.compile(r"\s*([-+−]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?)\s*(\D{0,8})", re.IGNORECASE)
Kind = Literal["methods", "labels", "animals", "others"]


class Run(NamedTuple):
    """All names of a run, in the order in which they take colors."""

    methods: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    animals: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


NO_RUN = Run()
_RUN: ContextVar[Run] = ContextVar("run", default=NO_RUN)


@contextmanager
def fixed(methods: Iterable[str], labels: Iterable[str], animals: Iterable[str]) -> Iterator[None]:
    """Give each name the color that it has among all names of a run, also in figures that show some of them."""
    token = _RUN.set(Run(tuple(methods), tuple(labels), tuple(animals)))
    try:
        yield
    finally:
        _RUN.reset(token)


def fixed_in(study: "Study") -> AbstractContextManager[None]:
    """Give the models, classes and animals of a run the same colors in all of its figures."""
    return fixed(study.models, ordered(classes(study.samples)), study.samples.children)


def are_quantities(names: Sequence[str]) -> bool:
    """Say whether names are numbers, with the same unit if any, and have an order therefore.

    >>> are_quantities(["1", "2", "10"]), are_quantities(["5 %", "10 %"]), are_quantities(["A", "B"]), are_quantities(["odor1"])
    (True, True, False, False)
    """
    matches = [QUANTITY.fullmatch(name) for name in names]
    return bool(names) and len({match[2].strip() if match else None for match in matches} - {None}) == 1 and all(matches)


def colors_in_order(count: int) -> list[Color]:
    """Return colors from dark to light for names that have an order."""
    shades = mpl.colormaps["viridis"](np.linspace(*ORDERED_RANGE, count))
    return [(float(red), float(green), float(blue)) for red, green, blue, _ in shades]


class Palette:
    """The looks of names of a kind."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def colors(self, names: Sequence[str]) -> dict[str, Color]:
        """Return a color for each name; beyond the palette they are hues, alternately dark and light."""
        known = self._known(names)
        if self.kind == "labels" and are_quantities(known):
            palette = dict(zip(known, colors_in_order(len(known)), strict=True))
        else:
            palette = dict(zip(known, self._palette(len(known)), strict=True))
        return {name: self._subdued(name) or palette[self._base(name)] for name in names}

    def markers(self, names: Sequence[str]) -> dict[str, str]:
        """Return a marker for each name, different for neighboring hues."""
        return {name: MARKERS[number % len(MARKERS)] for name, number in self._numbers(names).items()}

    def line_styles(self, names: Sequence[str]) -> dict[str, LineStyle]:
        """Return a line style for each name: solid if colors suffice, else different for neighboring hues."""
        known = self._known(names)
        suffices = len(known) <= len(self._first()) or (self.kind == "labels" and are_quantities(known))
        used = LINE_STYLES[:1] if suffices else LINE_STYLES
        return {name: used[number % len(used)] for name, number in self._numbers(names).items()}

    def handles(self, names: Sequence[str], labels: Sequence[str] | None = None, *, marked: bool = True) -> list[Artist]:
        """Return legend entries of names, with their markers or line styles; labels replace the names."""
        color, marker, line_style = self.colors(names), self.markers(names), self.line_styles(names)
        entries: list[Artist] = []
        for name, label in zip(names, labels or names, strict=True):
            look: dict[str, Any] = {"linestyle": line_style[name]}
            if marked:
                look = {"marker": marker[name], "markersize": 4, "linestyle": "-" if self.kind == "methods" else ""}
            entries.append(Line2D([], [], color=color[name], label=brief(label), **look))
        return entries

    def _known(self, names: Sequence[str]) -> list[str]:
        """Return the names that share out the palette: those of the run, and further ones."""
        of_run = list(getattr(_RUN.get(), self.kind))
        bases = [self._base(name) for name in names]
        known = of_run if set(of_run) & set(bases) else []
        return [name for name in dict.fromkeys([*known, *bases]) if not self._subdued(name)]

    def _numbers(self, names: Sequence[str]) -> dict[str, int]:
        """Return the rank of each name among those that are known; baselines follow in their own order."""
        known = self._known(names)
        fixed_names = list(BASELINES)
        return {name: fixed_names.index(name) + 1 if self._subdued(name) else known.index(self._base(name)) for name in names}

    def _base(self, name: str) -> str:
        """Return the method that a row belongs to: ``mmvm`` of ``mmvm decoder``."""
        if self.kind != "methods" or name in (methods := _RUN.get().methods) or name in BASELINES:
            return name
        bases = [base for base in (*methods, name.removesuffix(" decoder")) if name.startswith((f"{base} ", f"{base}_"))]
        return max(bases, key=len, default=name)

    def _subdued(self, name: str) -> Color | None:
        """Return the color of a baseline, None for other names."""
        return to_rgb(BASELINES[name]) if self.kind == "methods" and name in BASELINES else None

    def _first(self) -> list[Color]:
        """Return the colors that are told apart best."""
        named: dict[Kind, Sequence[Any]] = {
            "methods": MODELS,
            "labels": LABELS_UNORDERED,
            "animals": ANIMALS_FIRST,
            "others": sns.color_palette("colorblind"),
        }
        return [to_rgb(color) for color in named[self.kind]]

    def _palette(self, count: int) -> list[Color]:
        first = self._first()
        if count <= len(first):
            return first[:count]
        dark, light = (sns.husl_palette(count, s=0.9, l=lightness) for lightness in (0.45, 0.7))
        return [tuple((light if number % 2 else dark)[number]) for number in range(count)]


METHODS, CLASSES, ANIMALS = Palette("methods"), Palette("labels"), Palette("animals")
OTHERS = Palette("others")  # groups of a single figure
