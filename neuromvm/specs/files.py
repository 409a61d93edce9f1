"""Spec files: reading with overrides, and writing."""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML

from neuromvm.errors import SpecError, did_you_mean, shortened
from neuromvm.specs.base import Spec
from neuromvm.specs.data import DataSpec
from neuromvm.specs.experiment import ExperimentSpec
from neuromvm.specs.yaml_values import DEEPEST, LARGEST_TEXT, read_yaml

AnySpec = TypeVar("AnySpec", bound=Spec)


def load_data_spec(name_or_path: str, overrides: Sequence[str] = ()) -> DataSpec:
    """Return the data spec with this name in ``data_specs``, such as ``"odor_piriform"``, or in a YAML file ``"my_lab.yaml"``.

    ``overrides`` are settings ``"a.b=value"``, with values read as YAML.

    Raises
    ------
    SpecError
        If there is no such spec, it is not YAML, or a setting is unknown or out of range.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        return _parse(path, str(path), DataSpec, overrides)
    package = Path(__file__).parents[1]
    folder = package / "data_specs"  # in the installed package, or else at the top of a checkout
    folder = folder if folder.is_dir() else package.parent / "data_specs"
    shipped = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
    if name_or_path not in shipped:
        raise SpecError(
            f"data spec {name_or_path!r}",
            found="no such name in data_specs",
            next_step=f"{did_you_mean(name_or_path, sorted(shipped))}. Or give the path of a .yaml file",
        )
    return _parse(shipped[name_or_path], f"data_specs/{name_or_path}.yaml", DataSpec, overrides)


def load_experiment_spec(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentSpec:
    """Return the experiment in a YAML file, with overrides and errors as of :func:`load_data_spec`."""
    return _parse(Path(path), str(path), ExperimentSpec, overrides)


def to_yaml(spec: Spec) -> str:
    """Return a spec as YAML text, including defaults."""
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.representer.sort_base_mapping_type_on_output = False  # keep the order of models
    yaml.default_flow_style = False
    yaml.dump(spec.model_dump(mode="json"), stream)
    return stream.getvalue()


def _read(path: Path) -> str:
    if path.is_dir():
        raise SpecError(str(path), found="a folder", expected="a YAML file")
    if not path.is_file():
        siblings = sorted(map(str, path.parent.glob("*.yaml")))
        raise SpecError(str(path), found="no such file", next_step=did_you_mean(str(path), siblings) if siblings else "")
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            raise SpecError(str(path), found=f"{size} bytes", expected=f"a YAML spec of at most {LARGEST_TEXT} bytes")
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(str(path), found=f"not UTF-8 text ({error.reason})", expected="a YAML file in UTF-8") from error
    except OSError as error:
        raise SpecError(str(path), found=f"not readable ({error.strerror})", expected="a YAML file") from error


def _parse(path: Path, where: str, kind: type[AnySpec], overrides: Sequence[str]) -> AnySpec:
    content = read_mapping(path, where)
    for override in overrides:
        set_value(content, *parse_override(override), where=f"--set {shortened(override, 200)}")
    return validated(content, where, kind)


def validated(content: Mapping[str, Any], where: str, kind: type[AnySpec]) -> AnySpec:
    """Return settings as a spec, or raise SpecError with the setting that is unknown or out of range."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise _spec_error(where, error, kind) from error
    except (TypeError, ValueError, OverflowError, ArithmeticError, RecursionError, AttributeError, LookupError) as error:
        # a validator met a value that it does not foresee
        raise SpecError(where, found=f"settings that cannot be read ({type(error).__name__}: {error})") from error


def read_mapping(path: Path, where: str) -> dict[str, Any]:
    """Return the settings in a YAML file, ``where`` in messages, without validation."""
    content = read_yaml(_read(path), where)
    if not isinstance(content, dict):
        content_type = "an empty file" if content is None else f"a {type(content).__name__}"
        raise SpecError(where, found=content_type, expected="a mapping of settings")
    return content


def parse_override(override: str) -> tuple[str, Any]:
    """Return setting and value of ``"a.b=value"``; the value is read as YAML."""
    path, equals, value = override.partition("=")
    if not equals or not path:
        raise SpecError(f"--set {override}", found="no 'a.b=value'", next_step="Example: --set training.epochs=50")
    return path, read_yaml(value, f"--set {shortened(override, 200)}")


def set_value(content: dict[str, Any], path: str, value: Any, *, where: str) -> None:
    """Set the value at a dotted path of nested settings; missing groups are created."""
    *parents, setting = path.split(".")
    if len(parents) > DEEPEST:
        raise SpecError(where, found=f"{len(parents)} groups inside one another", expected=f"at most {DEEPEST}")
    node: Any = content
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise SpecError(where, found=f"{parent!r} is a value, not a group of settings")
    node[setting] = value


def _spec_error(where: str, error: ValidationError, kind: type[Spec]) -> SpecError:
    """Return an error for the first invalid setting, with the number of further ones."""
    problems = error.errors()
    problem = problems[0]
    setting = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = f"unknown setting '{setting}'"
        next_step = did_you_mean(str(problem["loc"][-1]), _settings_at(kind, problem["loc"][:-1]))
    elif problem["type"] == "missing":
        message, next_step = f"setting '{setting}' is missing", "Add it"
    else:
        value = problem.get("input")
        shown = "" if isinstance(value, Mapping) else f" (found {shown_value(value)})"
        message = f"'{setting}': {message}{shown}" if setting else message
        next_step = "Correct it and run again"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return SpecError(where, found=message + more, next_step=next_step)


def shown_value(value: object) -> str:
    """Return the start of how a value is written; whole numbers of thousands of digits have no decimal text."""
    try:
        return shortened(repr(value), 100)
    except ValueError:
        return f"a {type(value).__name__} too long to show"


def _settings_at(kind: type[Spec], location: tuple[int | str, ...]) -> list[str]:
    """Return the setting names at a location of a spec, within optional, mapped and tagged fields."""
    schema: dict[str, Any] = kind.model_json_schema()
    definitions = schema.get("$defs", {})
    node = schema
    for part in location:
        node = _resolve(node, definitions, part)
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or node
        if not isinstance(node, dict):
            return []
    node = _resolve(node, definitions, None)
    return sorted(node.get("properties", {}))


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
