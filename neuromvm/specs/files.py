"""Spec files: reading with overrides, and writing."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML

from neuromvm.errors import SpecError, did_you_mean, shortened
from neuromvm.specs.base import Spec
from neuromvm.specs.data import DataSpec
from neuromvm.specs.experiment import ExperimentSpec
from neuromvm.specs.invalid import spec_error
from neuromvm.specs.yaml_values import DEEPEST, LARGEST_TEXT, read_yaml

AnySpec = TypeVar("AnySpec", bound=Spec)


def load_data_spec(name_or_path: str, overrides: Sequence[str] = ()) -> DataSpec:
    """Return the data spec with this name in ``data_specs``, such as ``"odor_piriform"``, or in a YAML file ``"my_lab.yaml"``.

    A relative ``root`` in a YAML file is a folder beside the file; without one, ``root`` is the folder of the file. That of a
    shipped spec, and of ``overrides``, is relative to the working directory. ``overrides`` are settings ``"a.b=value"``, with
    values read as YAML.

    Raises
    ------
    SpecError
        If there is no such spec, it is not YAML, or a setting is unknown or out of range.
    """
    path = Path(name_or_path)
    if is_yaml(path):
        content = read_mapping(path, str(path))
        content["root"] = beside(path, content.get("root", "."))
        return _with_overrides(content, str(path), DataSpec, overrides)
    file = find_shipped(name_or_path, shipped_data_specs(), "data spec", "data_specs")
    where = f"data_specs/{name_or_path}.yaml"
    return _with_overrides(read_mapping(file, where), where, DataSpec, overrides)


def load_experiment_spec(name_or_path: str | Path, overrides: Sequence[str] = ()) -> ExperimentSpec:
    """Return the shipped experiment with this name, such as ``"demo"``, or that in a YAML file ``"my_experiment.yaml"``.

    ``data.spec``, if it is a file, and ``data.root`` of a YAML file are relative to the folder of the file; those of
    ``overrides`` to the working directory. Errors are those of :func:`load_data_spec`.
    """
    path, shipped = Path(name_or_path), shipped_experiments()
    if is_file_name(path, shipped):
        return _with_overrides(experiment_settings(path), str(path), ExperimentSpec, overrides)
    file = find_shipped(str(name_or_path), shipped, "experiment", "the experiments that are shipped")
    where = f"experiments/{file.name}"
    return _with_overrides(read_mapping(file, where), where, ExperimentSpec, overrides)


def load_run_spec(path: Path) -> ExperimentSpec:
    """Return the experiment in ``spec.yaml`` of a run folder, whose paths are as the run had them."""
    return validated(read_mapping(path, str(path)), str(path), ExperimentSpec)


def experiment_settings(path: Path) -> dict[str, Any]:
    """Return the settings in the YAML file of an experiment, without validation, with paths beside the file made absolute."""
    content = read_mapping(path, str(path))
    if isinstance(content.get("data"), dict):
        content["data"] = data_choice(path, content["data"])
    return content


def data_choice(file: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings ``data`` of an experiment in a file, with paths beside the file made absolute."""
    chosen = dict(data)
    spec = chosen.get("spec")
    if isinstance(spec, str) and is_yaml(Path(spec)):
        chosen["spec"] = beside(file, spec)
    if chosen.get("root") is not None:
        chosen["root"] = beside(file, chosen["root"])
    return chosen


def beside(file: Path, path: Any) -> Any:
    """Return a path that is relative to the folder of a file as an absolute one; other values stay, to be refused later."""
    if not isinstance(path, str) or not path.isprintable() or path.startswith("~"):
        return path
    return os.path.normpath(file.absolute().parent / path)


def shipped_data_specs() -> dict[str, Path]:
    """Return the data specs that are shipped, by name."""
    return _yaml_files(_shipped_folder("data_specs", "data_specs"))


def shipped_experiments() -> dict[str, Path]:
    """Return the experiments that are shipped, by name."""
    return {name: file for name, file in _experiment_files().items() if not name.endswith("_sweep")}


def shipped_sweeps() -> dict[str, Path]:
    """Return the sweeps that are shipped, by name."""
    return {name: file for name, file in _experiment_files().items() if name.endswith("_sweep")}


def _experiment_files() -> dict[str, Path]:
    return _yaml_files(_shipped_folder("experiments", "analysis/experiments"))


def _shipped_folder(name: str, in_checkout: str) -> Path:
    """Return a folder of the installed package, or else of a checkout."""
    package = Path(__file__).parents[1]
    return package / name if (package / name).is_dir() else package.parent / in_checkout


def _yaml_files(folder: Path) -> dict[str, Path]:
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))}


def is_yaml(path: Path) -> bool:
    """Return whether a path is that of a YAML file, not the name of a shipped spec."""
    return path.suffix in {".yaml", ".yml"}


def check_new(path: Path, spared: str = "nothing") -> None:
    """Raise SpecError unless a path ends like YAML and does not exist; ``spared`` is never replaced."""
    if not is_yaml(path):
        raise SpecError(str(path), found=f"the ending {path.suffix!r}", expected=".yaml")
    if path.exists():
        next_step = f"Name another, or remove it: {spared} is replaced"
        raise SpecError(str(path), found="a file", expected="a new one", next_step=next_step)


def spec_name(text: str, default: str) -> str:
    """Return a name for a spec from a text, or the default where no letter or digit is left.

    >>> spec_name("my lab", "experiment"), spec_name("?", "experiment")
    ('my_lab', 'experiment')
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or default


def is_file_name(path: Path, shipped: Collection[str]) -> bool:
    """Return whether a path is that of a file or folder of the user; a folder may have the name of a shipped spec."""
    return is_yaml(path) or path.is_file() or (path.exists() and str(path) not in shipped)


def find_shipped(name: str, files: Mapping[str, Path], what: str, where: str) -> Path:
    """Return the file of a shipped spec, or raise SpecError with the names that there are."""
    if name not in files:
        raise SpecError(
            f"{what} {name!r}",
            found=f"no such name in {where}",
            next_step=f"{did_you_mean(name, sorted(files))}. Or give the path of a .yaml file",
        )
    return files[name]


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


def _with_overrides(content: dict[str, Any], where: str, kind: type[AnySpec], overrides: Sequence[str]) -> AnySpec:
    for override in overrides:
        set_value(content, *parse_override(override), where=f"--set {shortened(override, 200)}")
    return validated(content, where, kind)


def validated(content: Mapping[str, Any], where: str, kind: type[AnySpec]) -> AnySpec:
    """Return settings as a spec, or raise SpecError with the setting that is unknown or out of range."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise spec_error(where, error, kind) from error
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
