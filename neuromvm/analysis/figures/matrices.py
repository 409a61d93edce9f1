"""Matrices of animals by animals: names along their sides, numbers in their cells."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.image import AxesImage

from neuromvm.analysis.figures.style import Axes

CELLS_WITH_NUMBERS = 8  # number of animals up to which numbers are written into cells


def draw_matrix(
    axes: Axes, values: np.ndarray, limits: tuple[float, float], names: Sequence[str], *, left: bool, bottom: bool
) -> AxesImage:
    """Draw a square matrix with :func:`side_names` and :func:`write_numbers`; ``limits`` are those of the colors."""
    image = axes.imshow(values, cmap="viridis", vmin=limits[0], vmax=limits[1])
    write_numbers(axes, values, sum(limits) / 2)
    side_names(axes, names, left=left, bottom=bottom)
    return image


def side_names(axes: Axes, names: Sequence[str], *, left: bool, bottom: bool, row: str = "", column: str = "") -> None:
    """Name rows and columns of a square matrix.

    Parameters
    ----------
    axes
        The panel of the matrix.
    names
        In the order of the matrix.
    left, bottom
        Whether this panel names rows, and columns.
    row, column
        Labels of the two sides.
    """
    size = 6 if len(names) <= 2 * CELLS_WITH_NUMBERS else 4
    axes.set_xticks(range(len(names)), names if bottom else [], rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names if left else [], fontsize=size)
    axes.tick_params(length=0)
    axes.set_xlabel(column if bottom else "")
    axes.set_ylabel(row if left else "")


def write_numbers(axes: Axes, matrix: np.ndarray, black_above: float, written: Callable[[float], str] = "{:.2f}".format) -> None:
    """Write values into the cells of a small matrix, black on the light colors of large values, else white."""
    if len(matrix) > CELLS_WITH_NUMBERS:
        return
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            color = "black" if value > black_above else "white"
            axes.text(column, row, written(value), ha="center", va="center", fontsize=5, color=color)


def without_zero(value: float) -> str:
    """Format a share without the leading zero.

    Examples
    --------
    >>> without_zero(0.368)
    '.37'
    """
    return f"{value:.2f}".removeprefix("0")
