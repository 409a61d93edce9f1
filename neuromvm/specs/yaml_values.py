"""YAML text as plain values, within limits of size, depth and repetition that are checked before values are made."""

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from neuromvm.errors import SpecError

LARGEST_TEXT = 200_000  # [bytes]
MOST_MARKS = 20_000  # commas, colons, dashes and lines: what takes time to parse
DEEPEST = 60
MOST_VALUES = 50_000  # after aliases are written out
LONGEST_NUMBER = 100  # [characters]
PLAIN = (str, bool, int, float, type(None))


def read_yaml(text: str, where: str) -> Any:
    """Return YAML text as mappings, lists, text, numbers and booleans of its own, without parts that are shared.

    Raises
    ------
    SpecError
        If the text is not YAML, has a value of another type (a date, a set, binary data, a tag), names itself in an alias, or
        exceeds a limit. Limits are checked before the values are made, so that a small text cannot take much time or memory.
    """
    _check_text(text, where)
    reader = YAML(typ="safe", pure=True)
    try:
        root = reader.compose(text)
        if root is None:
            return None
        _check_size(root, where)
        value = reader.constructor.construct_document(root)
    except YAMLError as error:
        raise SpecError(where, found=f"not valid YAML: {error}") from error
    except SpecError:
        raise
    except Exception as error:  # constructors raise whatever the text of a value makes Python raise
        raise SpecError(
            where,
            found=f"a value that cannot be read ({type(error).__name__}: {error})",
            expected="text, numbers, true or false, lists and mappings",
            next_step="Put the value in quotes, or correct it",
        ) from error
    return _plain(value, where, "")


def _check_text(text: str, where: str) -> None:
    if len(text) > LARGEST_TEXT:
        raise SpecError(where, found=f"{len(text)} characters", expected=f"settings of at most {LARGEST_TEXT}")
    marks = sum(map(text.count, ",:-?\n"))
    if marks > MOST_MARKS:
        raise SpecError(where, found=f"{marks} commas, colons, dashes and lines", expected=f"settings with at most {MOST_MARKS}")
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    if deepest > DEEPEST or re.search(rf"^(?:[ \t]*[-?:][ \t]+){{{DEEPEST}}}|^ {{{20 * DEEPEST}}}", text, re.MULTILINE):
        raise _too_deep(where)


def _too_deep(where: str) -> SpecError:
    return SpecError(where, found="lists or mappings that are too deep", expected=f"at most {DEEPEST} inside one another")


def _check_size(root: Node, where: str) -> None:
    """Refuse aliases that name themselves or unfold into many values, and numbers of many digits."""
    sizes: dict[int, int | None] = {}

    def size_of(node: Node, depth: int) -> int:
        if depth > DEEPEST:
            raise _too_deep(where)
        if isinstance(node, ScalarNode):
            if str(node.tag).endswith((":int", ":float")) and len(node.value) > LONGEST_NUMBER:
                raise SpecError(where, found=f"a number of {len(node.value)} characters ({node.value[:20]}...)")
            return 1
        key = id(node)
        if key in sizes and sizes[key] is None:
            raise SpecError(where, found="an alias (*name) inside of what it names", next_step="Write the values out")
        if (known := sizes.get(key)) is not None:
            return known
        sizes[key] = None
        parts: list[Node] = []
        if isinstance(node, SequenceNode):
            parts = list(node.value)
        elif isinstance(node, MappingNode):
            parts = [part for pair in node.value for part in pair]
        size = 1 + sum(size_of(part, depth + 1) for part in parts)
        if size > MOST_VALUES:
            raise SpecError(
                where,
                found=f"aliases that unfold into more than {MOST_VALUES} values",
                expected="a spec",
                next_step="Write the values out",
            )
        sizes[key] = size
        return size

    size_of(root, 0)


def _plain(value: Any, where: str, setting: str) -> Any:
    """Return a copy of a value, or raise SpecError naming the setting that has a value of another type."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, PLAIN):
                raise SpecError(where, found=f"{setting or 'settings'}: a key that is a {type(key).__name__}", expected="text")
        return {key: _plain(item, where, f"{setting}.{key}" if setting else str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, where, setting) for item in value]
    if isinstance(value, PLAIN):
        return value
    raise SpecError(
        where,
        found=f"{setting or 'a value'}: a {type(value).__name__} ({value})",
        expected="text, numbers, true or false, lists and mappings",
        next_step="Put a text that looks like a date in quotes",
    )
