"""What matrices of animals by animals have in common: names along their sides, numbers in their cells."""

from collections.abc import Callable, Sequence

import numpy as np

from neuromvm.analysis.figures.style import Axes

CELLS_WITH_NUMBERS = 8  # animals up to which every cell carries its number


def side_names(axes: Axes, names: Sequence[str], *, left: bool, bottom: bool, row: str = "", column: str = "") -> None:
    """Name rows and columns of a square matrix, where no other panel of its grid names them.

    Parameters
    ----------
    axes
        With the matrix in it.
    names
        In its order.
    left, bottom
        Whether this panel names rows, and columns.
    row, column
        What they are, if that is to be said.
    """
    size = 6 if len(names) <= 2 * CELLS_WITH_NUMBERS else 4
    axes.set_xticks(range(len(names)), names if bottom else [], rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names if left else [], fontsize=size)
    axes.tick_params(length=0)
    axes.set_xlabel(column if bottom else "")
    axes.set_ylabel(row if left else "")


def write_numbers(axes: Axes, matrix: np.ndarray, black_above: float, written: Callable[[float], str] = "{:.2f}".format) -> None:
    """Write the number of every cell if they are few enough, black on the light colors of large values, else white."""
    if len(matrix) > CELLS_WITH_NUMBERS:
        return
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            color = "black" if value > black_above else "white"
            axes.text(column, row, written(value), ha="center", va="center", fontsize=5, color=color)


def without_zero(value: float) -> str:
    """Write a share as short as can be.

    Examples
    --------
    >>> without_zero(0.368)
    '.37'
    """
    return f"{value:.2f}".removeprefix("0")
