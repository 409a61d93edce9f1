"""What is wrong with settings that pydantic refuses, as one SpecError: setting, value, what could stand there, next step."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from neuromvm.errors import SpecError, did_you_mean, shortened

Location = Sequence[int | str]
CHOICES = {"literal_error": "expected", "union_tag_invalid": "expected_tags"}  # type of a problem -> where it lists its choices


def spec_error(where: str, error: ValidationError, kind: type[BaseModel], inside: Sequence[str] = ()) -> SpecError:
    """Return an error for the first invalid setting of a spec, with the number of further ones.

    ``kind`` is the class that refused the settings; ``inside`` is the path of these settings, which messages begin with.
    """
    problems = error.errors()
    problem = problems[0]
    location: tuple[int | str, ...] = problem["loc"]
    setting = ".".join(str(part) for part in (*inside, *location))
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    next_step = "Correct it and run again"
    if problem["type"] == "extra_forbidden":
        message = f"unknown setting '{setting}'"
        next_step = did_you_mean(str(location[-1]), settings_at(kind, location[:-1]))
    elif problem["type"] == "missing":
        message, next_step = f"setting '{setting}' is missing", "Add it"
    elif problem["type"] == "union_tag_not_found":
        message, next_step = f"'{setting}': no 'kind'", did_you_mean("", tags_at(kind, location))
    elif problem["type"] in CHOICES:
        context: Mapping[str, Any] = problem["ctx"]
        given = str(context.get("tag", value))
        message = f"'{setting}': no choice is {shown_value(given)}"
        next_step = did_you_mean(given, re.findall(r"'([^']*)'", str(context[CHOICES[problem["type"]]])))
    elif setting:
        shown = "" if isinstance(value, Mapping) else f" (found {shown_value(value)})"
        message = f"'{setting}': {message}{shown}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return SpecError(where, found=message + more, next_step=next_step)


def shown_value(value: object) -> str:
    """Return the start of how a value is written; whole numbers of thousands of digits have no decimal text."""
    try:
        return shortened(repr(value), 100)
    except ValueError:
        return f"a {type(value).__name__} too long to show"


def settings_at(kind: type[BaseModel], location: Location) -> list[str]:
    """Return the setting names at a location of a spec, within optional, mapped and tagged fields."""
    schema: dict[str, Any] = kind.model_json_schema()
    definitions = schema.get("$defs", {})
    node = _node_at(schema, location)
    return [] if node is None else sorted(_resolve(node, definitions, None).get("properties", {}))


def tags_at(kind: type[BaseModel], location: Location) -> list[str]:
    """Return the kinds that settings at a location of a spec can have; none if they have no kind."""
    node = _node_at(kind.model_json_schema(), location) or {}
    node = next((option for option in node.get("anyOf", [node]) if "discriminator" in option), node)
    return sorted(node.get("discriminator", {}).get("mapping", {}))


def _node_at(schema: dict[str, Any], location: Location) -> dict[str, Any] | None:
    definitions = schema.get("$defs", {})
    node: Any = schema
    for part in location:
        node = _resolve(node, definitions, part)
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or node
        if not isinstance(node, dict):
            return None
    return dict(node)


def _resolve(node: dict[str, Any], definitions: dict[str, Any], part: int | str | None) -> dict[str, Any]:
    """Return the node that references and unions point to; ``part`` may be the tag of a union."""
    while True:
        if "$ref" in node:
            node = definitions[node["$ref"].rpartition("/")[2]]
        elif part is not None and "discriminator" in node and part in node["discriminator"]["mapping"]:
            node = definitions[node["discriminator"]["mapping"][part].rpartition("/")[2]]
        elif "anyOf" in node:
            node = next(option for option in node["anyOf"] if option.get("type") != "null")
        else:
            return node
