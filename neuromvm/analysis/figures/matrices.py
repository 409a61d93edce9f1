"""Matrices of animals by animals: names along their sides, numbers in their cells."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.colorbar import Colorbar
from matplotlib.image import AxesImage

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure

CELLS_WITH_NUMBERS = 8  # number of animals up to which numbers are written into cells


def draw_matrix(
    axes: Axes, values: np.ndarray, limits: tuple[float, float], names: Sequence[str], *, left: bool, bottom: bool = True
) -> AxesImage:
    """Draw a square matrix with :func:`side_names` and :func:`write_numbers`; ``limits`` are those of the colors."""
    image = axes.imshow(values, cmap="viridis", vmin=limits[0], vmax=limits[1])
    write_numbers(axes, values, lambda value: value > sum(limits) / 2)
    side_names(axes, names, left=left, bottom=bottom)
    return image


def draw_pairs(
    matrices: xr.DataArray,
    animals: Sequence[str],
    heights: tuple[float, float],
    limits: tuple[float, float],
    numbers: tuple[Callable[[float], bool], Callable[[float], str]],
    *,
    sides: tuple[str, str],
    label: str,
    most: int = 0,
    cmap: str = "viridis",
    extend: str = "neither",
) -> tuple[Figure, dict[str, Axes], Colorbar]:
    """Draw a matrix ``(source, target)`` for each representation; return the figure, axes by representation, and the color bar.

    ``heights`` are those of the margin and between rows of panels [inch], ``limits`` those of the colors, ``numbers`` what
    :func:`write_numbers` takes, ``sides`` the labels of rows and columns, ``most`` the number of panels in a row.
    """
    names, most = style.names_of(matrices), most or (4 if len(animals) <= CELLS_WITH_NUMBERS else 2)
    side = min(2.8, (style.DOUBLE - 1.3) / min(most, len(names)))
    figure, panels = style.panels(len(names), most, heights[0], side + heights[1])
    for (axes, is_left, is_bottom), name in zip(panels, names, strict=True):
        matrix = matrices.sel(representation=name).transpose("source", "target").to_numpy()
        image = axes.imshow(matrix, cmap=cmap, vmin=limits[0], vmax=limits[1])
        axes.set_title(name)
        side_names(axes, animals, left=is_left, bottom=is_bottom, row=sides[0], column=sides[1])
        write_numbers(axes, matrix, *numbers)
    shrink = min(1.0, 2.5 / (side * -(-len(names) // most)))
    bar = figure.colorbar(image, ax=figure.axes, shrink=shrink, label=label, extend=extend)
    return figure, {name: panel.axes for name, panel in zip(names, panels, strict=True)}, bar


def side_names(axes: Axes, names: Sequence[str], *, left: bool, bottom: bool, row: str = "", column: str = "") -> None:
    """Name rows (if ``left``) and columns (if ``bottom``) of a square matrix; ``row`` and ``column`` label the two sides."""
    size = 6 if len(names) <= 2 * CELLS_WITH_NUMBERS else 5
    shown = style.thinned(names, _side(axes), size)
    axes.set_xticks(range(len(names)), shown if bottom else [], rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), shown if left else [], fontsize=size)
    axes.tick_params(length=0)
    axes.set(xlabel=column if bottom else "", ylabel=row if left else "")


def _side(axes: Axes) -> float:
    """Return about how long the side of a matrix is [inch], before constrained layout moves it."""
    grid = axes.get_subplotspec()
    figure = axes.get_figure(root=True)
    assert figure is not None
    columns, rows = (grid.get_gridspec().ncols, grid.get_gridspec().nrows) if grid is not None else (1, 1)
    return 0.8 * min(figure.get_figwidth() / columns, figure.get_figheight() / rows)


def write_numbers(
    axes: Axes,
    matrix: np.ndarray,
    is_light: Callable[[float], bool],
    written: Callable[[float], str] = "{:z.2f}".format,
    fontsize: float = 5,
) -> None:
    """Write values into the cells of a small matrix, black on light colors, else white."""
    if len(matrix) > CELLS_WITH_NUMBERS:
        return
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            color = "black" if is_light(value) else "white"
            axes.text(column, row, written(value), ha="center", va="center", fontsize=fontsize, color=color)


def without_zero(value: float) -> str:
    """Format a share without the leading zero: ``.37``."""
    return f"{value:z.2f}".removeprefix("0")
