"""Fields of specs by their dotted paths: what they mean, what they take and their defaults, from the spec classes."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from neuromvm.errors import SpecError, did_you_mean
from neuromvm.specs.training import TrainingSpec

NAME = "NAME"  # stands in paths for a name that users choose
BOUNDS = ((annotated_types.Ge, "ge", "from"), (annotated_types.Gt, "gt", "above"), (annotated_types.Le, "le", "to"))
BASIC = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null", Any: "any value"}
Inner = Callable[[str, str], type[BaseModel] | None]  # field that maps names to settings, name -> spec of these settings


class SettingInfo(NamedTuple):
    """A field of a spec: dotted path, what it takes, its default ('required' without) and what it means.

    ``kinds`` are the spec classes whose fields it holds, if it is a group of settings; ``of_kind`` is the kind of the group that
    has the field, where groups of other kinds do not.
    """

    path: str
    takes: str
    default: str
    description: str
    kinds: tuple[type[BaseModel], ...] = ()
    of_kind: str = ""


def inner_spec(field: str, name: str) -> type[BaseModel] | None:
    """Return the spec of the settings that a field maps names to, where the annotation does not say it."""
    return TrainingSpec if field == "training_of" else None


def find_setting(kind: type[BaseModel], path: str, inner: Inner = inner_spec) -> list[SettingInfo]:
    """Return the fields at a dotted path of a spec, one for each kind of group that has it.

    Parts of the path are fields, names that users choose (of models, animals, labels) and kinds of groups, which may be left
    out.
    ``inner`` gives the spec of settings that the annotation of a field leaves open.

    Raises
    ------
    SpecError
        If there is no such field; the message names the nearest one and all fields of that place.
    """
    places: list[tuple[type[BaseModel], str, str]] = [(kind, "", "")]  # spec, path so far, kind of the group
    parts = path.split(".")
    found: list[SettingInfo] = []
    number = 0
    while number < len(parts):
        part = parts[number]
        tagged = [place for place in places if part == tag_of(place[0]) and part not in place[0].model_fields]
        if tagged and number:
            places, number = tagged, number + 1
            continue
        found = [_info(spec, part, before, tag) for spec, before, tag in places if part in spec.model_fields]
        if not found:
            raise _unknown(path, part, [spec for spec, _, _ in places])
        number += 1
        field = next(spec for spec, _, _ in places if part in spec.model_fields).model_fields[part]
        if number < len(parts) and _is_mapping(field.annotation):
            spec = inner(part, parts[number])
            found = [info._replace(path=f"{info.path}.{NAME}") for info in found]
            if spec is not None:
                found = [info._replace(kinds=(spec,)) for info in found]
            number += 1
        places = [(spec, info.path, tag_of(spec) if len(info.kinds) > 1 else "") for info in found for spec in info.kinds]
        if number < len(parts) and not places:
            raise SpecError(path, found=f"{'.'.join(parts[:number])!r} is a value, not a group of settings")
    return found


def settings_of(kind: type[BaseModel], path: str = "", of_kind: str = "") -> Iterator[SettingInfo]:
    """Yield the fields of a spec; ``path`` is that of the spec."""
    for name in kind.model_fields:
        yield _info(kind, name, path, of_kind)


def first_words(kind: type[BaseModel]) -> str:
    """Return the first paragraph of the docstring of a spec."""
    paragraph = re.split(r"\n\s*\n", (kind.__doc__ or "").strip())[0]
    return " ".join(paragraph.split())


def tag_of(kind: type[BaseModel]) -> str:
    """Return the value of ``kind`` that stands for a spec in a YAML file, '' if it has none."""
    field = kind.model_fields.get("kind")
    tags = () if field is None else get_args(field.annotation)
    return str(tags[0]) if len(tags) == 1 else ""


def _info(spec: type[BaseModel], name: str, before: str, of_kind: str) -> SettingInfo:
    field = spec.model_fields[name]
    kinds = tuple(dict.fromkeys(_specs_in(field.annotation)))
    path = f"{before}.{name}" if before else name
    return SettingInfo(path, _takes(field), _default(field), field.description or _words_of(kinds), kinds, of_kind)


def _words_of(kinds: Sequence[type[BaseModel]]) -> str:
    return first_words(kinds[0]) if len(kinds) == 1 else ""


def _unknown(path: str, part: str, specs: Sequence[type[BaseModel]]) -> SpecError:
    known = sorted({name for spec in specs for name in spec.model_fields})
    return SpecError(path, found=f"no setting {part!r}", next_step=did_you_mean(part, known))


def _is_mapping(annotation: Any) -> bool:
    return any(get_origin(part) in (dict, Mapping) for part in _alternatives(annotation))


def _alternatives(annotation: Any) -> list[Any]:
    """Return the members of a union, with what is annotated or named in them; others are their only member."""
    if hasattr(annotation, "__metadata__"):
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [part for member in get_args(annotation) for part in _alternatives(member)]
    return [annotation]


def _specs_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for part in _alternatives(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part
        elif get_origin(part) in (dict, Mapping, list, tuple):
            for member in get_args(part):
                yield from _specs_in(member)


def _takes(field: FieldInfo) -> str:
    words, null, _ = _words(field.annotation).partition(" or null")
    return words + _limits(field.metadata) + null


def _words(annotation: Any) -> str:
    """Return what an annotation takes, in words."""
    if hasattr(annotation, "__metadata__"):
        return _words(get_args(annotation)[0]) + _limits(annotation.__metadata__)
    members = [part for part in _members(annotation) if part is not NoneType]
    or_null = " or null" if NoneType in _members(annotation) else ""
    if len(members) > 1:
        specs = [member for member in members if isinstance(member, type) and issubclass(member, BaseModel)]
        if len(specs) == len(members):
            return f"settings of a kind: {', '.join(filter(None, map(tag_of, specs)))}{or_null}"
        return " or ".join(dict.fromkeys(map(_words, members))) + or_null
    (member,) = members
    if hasattr(member, "__metadata__"):
        return _words(member) + or_null
    return _single(member) + or_null


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _single(annotation: Any) -> str:
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"one of {', '.join(map(_shown, members))}" if len(members) > 1 else _shown(members[0])
    if origin is list or (origin is tuple and len(members) == 2 and members[1] is Ellipsis):
        return f"a list: {_words(members[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_words, members))}]" if members else "[]"
    if origin in (dict, Mapping):
        return f"{NAME}: {_words(members[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "settings"
    return BASIC.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _limits(metadata: Sequence[Any]) -> str:
    """Return the bounds in the metadata of an annotation, '' without."""
    words = [f"{word} {getattr(limit, name):g}" for kind, name, word in BOUNDS for limit in metadata if isinstance(limit, kind)]
    words += [f"below {limit.lt:g}" for limit in metadata if isinstance(limit, annotated_types.Lt)]
    words += [f"{limit.min_length} or more" for limit in metadata if isinstance(limit, annotated_types.MinLen)]
    return f" ({', '.join(words)})" if words else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        differing = value.model_dump(mode="json", exclude_defaults=True)
        tag = tag_of(type(value)) or differing.get("kind", "")
        return str(tag) if tag and set(differing) <= {"kind"} else json.dumps(differing).replace('"', "")
    return _shown(value)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_shown(item)}' for key, item in value.items())}}}"
    return f"{value:.9g}" if isinstance(value, float) else str(value) if value != "" else "''"
