"""Conditions over columns of a table, such as ``snr > 4 and quality == 'good'``: which text is one. Nothing is executed."""

import ast
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

LONGEST, DEEPEST = 500, 30
ALLOWED: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Compare),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
    *(ast.In, ast.NotIn, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Set),
)
COLLECTIONS = (ast.List, ast.Tuple, ast.Set)
HELP = "use names of columns, numbers, texts in quotes, + - * / // %, comparisons, 'in [...]', 'and', 'or', 'not'"
QUOTED_OR_TICKED = re.compile(r"'[^']*'|\"[^\"]*\"|`([^`]+)`")


@dataclass(frozen=True)
class Condition:
    """A parsed condition; ``columns``: name in the tree -> column of the table, in the order of the text."""

    text: str
    tree: ast.expr
    columns: dict[str, str]


def parse_condition(text: str) -> Condition:
    """Return a condition, or raise ValueError that names what is not allowed. Names that are no identifiers stand in backticks.

    >>> list(parse_condition("`reaction time` < 1.5 and odor in ['A', 'B']").columns.values())
    ['reaction time', 'odor']
    """
    if len(text) > LONGEST:
        raise ValueError(f"a condition of {len(text)} characters; at most {LONGEST}")
    ticked: dict[str, str] = {}

    def replaced(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        name = f"ticked_{len(ticked)}"
        ticked[name] = match[1]
        return name

    try:
        tree = ast.parse(QUOTED_OR_TICKED.sub(replaced, text).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"condition {text!r} cannot be read ({error}); {HELP}") from error
    if _depth(tree) > DEEPEST:
        raise ValueError(f"a condition nested deeper than {DEEPEST}; write it as several filters")
    names, lists = [], 0
    for node in ast.walk(tree):
        _check_node(node, text)
        if isinstance(node, ast.Name):
            names.append((node.lineno, node.col_offset, node.id))
        lists += isinstance(node, COLLECTIONS) - sum(isinstance(part, ast.In | ast.NotIn) for part in getattr(node, "ops", ()))
    if lists:
        raise ValueError(f"condition {text!r} holds a list that does not follow 'in'; {HELP}")
    if not names:
        raise ValueError(f"condition {text!r} names no column; {HELP}")
    return Condition(text, tree.body, {name: ticked.get(name, name) for *_, name in sorted(names)})


def _check_node(node: ast.AST, text: str) -> None:
    """Raise ValueError unless a node of the tree is allowed where it is."""
    if not isinstance(node, ALLOWED):
        raise ValueError(f"condition {text!r} holds a {type(node).__name__}; {HELP}")
    if isinstance(node, ast.Constant) and type(node.value) not in (bool, int, float, str):
        raise ValueError(f"condition {text!r} holds {node.value!r}; {HELP}")
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) > 2**53:
        raise ValueError(f"condition {text!r} holds a number above 2**53, which columns do not resolve")
    if isinstance(node, COLLECTIONS) and not all(map(_is_literal, node.elts)):
        raise ValueError(f"condition {text!r}: a list holds numbers and texts alone")
    if isinstance(node, ast.Compare):
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.In | ast.NotIn) is not isinstance(right, COLLECTIONS):
                raise ValueError(f"condition {text!r}: 'in' is followed by a list such as ['A', 'B'], and only 'in' is")


def _is_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant))


def _depth(tree: ast.AST) -> int:
    """Return how many levels a tree has, without recursion."""
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _checked(text: str) -> str:
    parse_condition(text)
    return text


ConditionText = Annotated[str, AfterValidator(_checked)]
