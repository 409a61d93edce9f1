"""What a setting means: its field in experiments, data specs and sweeps, in words."""

from pydantic import BaseModel

from neuromvm.errors import SpecError, did_you_mean
from neuromvm.specs import DataSpec, ExperimentSpec
from neuromvm.specs.fields import NAME, SettingInfo, find_setting, first_words, inner_spec, settings_of, tag_of
from neuromvm.specs.sweep import SweepSpec

FILES: dict[str, type[BaseModel]] = {"experiment": ExperimentSpec, "data spec": DataSpec, "sweep": SweepSpec}


def explain(path: str) -> list[str]:
    """Return lines that say what a setting is, in every kind of file that has it.

    ``path`` is a dotted path such as ``models.mmvm.initial_scale``; names of models, animals and labels are free, those of
    analyses are not. SpecError names the nearest setting if no kind of file has it.
    """
    found: dict[str, list[SettingInfo]] = {}
    errors: dict[str, SpecError] = {}
    for file, kind in FILES.items():
        try:
            found[file] = find_setting(kind, path, inner_spec_of)
        except SpecError as error:
            errors[file] = error
    begun = [file for file in errors if path.split(".")[0] in FILES[file].model_fields]
    if found and not (begun and all(map(_is_free_name, found.values()))):
        return [line for file, settings in found.items() for info in settings for line in _lines(info, file)]
    if begun:
        raise errors[begun[0]]
    first = path.split(".")[0]
    known = sorted({name for kind in FILES.values() for name in kind.model_fields})
    raise SpecError(
        path, found=f"no setting {first!r} of experiments, data specs or sweeps", next_step=did_you_mean(first, known)
    )


def top_settings() -> list[str]:
    """Return a line for each setting at the top of each kind of file."""
    lines = []
    for file, kind in FILES.items():
        lines.append(f"{file}: {first_words(kind)}")
        lines += [f"  {info.path}: {info.description}" for info in settings_of(kind)]
    return lines


def inner_spec_of(field: str, name: str) -> type[BaseModel] | None:
    """Return the options of an analysis, and what :func:`neuromvm.specs.fields.inner_spec` returns."""
    if field != "analyses" or name == NAME:
        return inner_spec(field, name)
    from neuromvm.analysis.pipeline import find_analysis  # imports what all analyses need

    return find_analysis(name).Options


def _is_free_name(settings: list[SettingInfo]) -> bool:
    """Return whether a path ends in a name that users choose, which any misspelled setting could be."""
    return all(info.path.endswith(f".{NAME}") and not info.kinds for info in settings)


def _lines(info: SettingInfo, file: str) -> list[str]:
    of_kind = f", kind {info.of_kind}" if info.of_kind else ""
    lines = [f"{info.path} ({file}{of_kind})", f"  {info.description}" if info.description else "", f"  {value_words(info)}"]
    for kind in info.kinds:
        tag = tag_of(kind)
        lines.append(f"  {f'kind {tag}: ' if tag and len(info.kinds) > 1 else ''}{first_words(kind)}")
        lines += [
            f"    {inner.path}: {inner.description} ({value_words(inner)})" for inner in settings_of(kind) if inner.path != "kind"
        ]
    return [line for line in lines if line]


def value_words(info: SettingInfo) -> str:
    """Return what a setting takes and its default."""
    return f"{info.takes}; {info.default if info.default == 'required' else f'default {info.default}'}"
