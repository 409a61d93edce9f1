"""Which rows of a table fulfil a condition such as ``rt < 1.5 and correct``; missing values make a condition unknown."""

import ast
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.labels import as_text
from neuromvm.errors import SpecError
from neuromvm.specs.expressions import Condition, parse_condition

Values = NDArray[Any]
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}


def unmet(
    text: str | None, column: Callable[[str, str], Values], setting: str, where: str
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return reasons to exclude rows: where the condition is false, and where it is unknown; none without a condition.

    ``column(name, setting)`` returns the values of a column or raises an error that names the columns there are. Logic has three
    values, as in SQL: a comparison with NaN is unknown, ``unknown or true`` is true, ``not unknown`` is unknown. SpecError is
    raised if texts are compared with numbers.
    """
    if text is None:
        return []
    condition = parse_condition(text)
    columns = {name: column(original, setting) for name, original in condition.columns.items()}
    truth = np.broadcast_to(_Evaluation(condition, columns, f"{where}, {setting}").truth(), len(next(iter(columns.values()))))
    return [(f"not {text}", truth == 0), (f"unknown whether {text}: a value is missing", np.isnan(truth))]


def columns_of(text: str | None) -> list[str]:
    """Return the columns that a condition names."""
    return [] if text is None else list(parse_condition(text).columns.values())


class _Evaluation:
    """Evaluation of a condition over columns; truth is 1, 0 or NaN for unknown."""

    def __init__(self, condition: Condition, columns: dict[str, Values], where: str) -> None:
        self.condition, self.columns, self.where = condition, columns, where

    def truth(self) -> Values:
        """Return the truth of each row."""
        with np.errstate(all="ignore"):
            return self._truth(self.condition.tree)

    def _truth(self, node: ast.expr) -> Values:
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(part) for part in node.values]
            is_and = isinstance(node.op, ast.And)
            decided, other = (0.0, 1.0) if is_and else (1.0, 0.0)
            any_decided = np.any(np.broadcast_arrays(*[part == decided for part in parts]), axis=0)
            any_unknown = np.any(np.broadcast_arrays(*[np.isnan(part) for part in parts]), axis=0)
            return np.where(any_decided, decided, np.where(any_unknown, np.nan, other))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return np.asarray(1.0 - self._truth(node.operand))
        if isinstance(node, ast.Compare):
            return self._compared(node)
        values = self._values(node)
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if values.dtype.kind == "U" or not np.isin(known, (0, 1)).all():
            raise self._error(f"{ast.unparse(node)} is {_kind(values)}, not true or false", "a comparison, such as x == 'yes'")
        return values

    def _compared(self, node: ast.Compare) -> Values:
        truth = np.asarray(1.0)
        left = self._values(node.left)
        for operator, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.In | ast.NotIn):
                assert isinstance(right_node, ast.List | ast.Tuple | ast.Set)  # as the spec requires
                items = [self._values(item) for item in right_node.elts]
                self._check_kinds(node, left, *items)
                matches = np.any([np.equal(left, item) for item in items], axis=0) if items else np.zeros(left.shape, dtype=bool)
                result, right = matches ^ isinstance(operator, ast.NotIn), np.asarray(0.0)
            else:
                right = self._values(right_node)
                self._check_kinds(node, left, right)
                result = COMPARISONS[type(operator)](left, right)
            unknown = _missing(left) | _missing(right)
            step = np.where(unknown, np.nan, result.astype(np.float64))
            truth = np.where((truth == 0) | (step == 0), 0.0, truth * step)
            left = right
        return truth

    def _values(self, node: ast.expr) -> Values:
        """Return numbers as float64, true and false as 1 and 0, or texts."""
        if isinstance(node, ast.Name):
            return _numbers_or_text(self.columns[node.id])
        if isinstance(node, ast.Constant):
            return np.asarray(node.value if isinstance(node.value, str) else float(node.value))  # type: ignore[arg-type]
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
            operand = self._numbers(node.operand)
            return np.asarray(-operand if isinstance(node.op, ast.USub) else operand)
        if isinstance(node, ast.BinOp):
            return np.asarray(ARITHMETIC[type(node.op)](self._numbers(node.left), self._numbers(node.right)))
        return self._truth(node)

    def _numbers(self, node: ast.expr) -> Values:
        values = self._values(node)
        if values.dtype.kind == "U":
            raise self._error(f"arithmetic with {ast.unparse(node)}, which is {_kind(values)}", "numbers")
        return values

    def _check_kinds(self, node: ast.Compare, *values: Values) -> None:
        if len({_kind(array) for array in values}) > 1:
            raise self._error(f"{ast.unparse(node)} compares text with numbers", "texts in quotes, numbers without")

    def _error(self, found: str, expected: str) -> SpecError:
        columns = ", ".join(f"{self.condition.columns[name]}: {_kind(values)}" for name, values in self.columns.items())
        return SpecError(self.where, found=found, expected=expected, next_step=f"Columns of the condition: {columns}")


def _numbers_or_text(values: Values) -> Values:
    """Return a column as float64 or text; a float32 becomes the shortest decimal number that it is stored for."""
    if values.dtype.kind not in "iufb":
        return as_text(values)
    is_short = values.dtype.kind == "f" and values.dtype.itemsize < 8
    return (values.astype(str) if is_short else values).astype(np.float64)


def _kind(values: Values) -> Literal["text", "numbers"]:
    return "text" if values.dtype.kind not in "iufb" else "numbers"


def _missing(values: Values) -> NDArray[np.bool_]:
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
