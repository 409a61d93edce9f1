"""Spec of a sweep: an experiment and the settings that vary."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from neuromvm.errors import did_you_mean
from neuromvm.specs.base import Spec
from neuromvm.specs.files import (
    data_choice,
    experiment_settings,
    find_shipped,
    is_file_name,
    parse_override,
    read_mapping,
    set_value,
    shipped_sweeps,
    validated,
)


class Drawn(Spec):
    """Distribution of the values of a setting: exactly one of the fields."""

    uniform: tuple[float, float] | None = Field(None, description="Between two numbers")
    log_uniform: tuple[float, float] | None = Field(None, description="Between two numbers above 0, uniformly on a log scale")
    integer: tuple[int, int] | None = Field(None, description="A whole number, both ends included")
    choice: list[Any] | None = Field(None, min_length=1, description="One of these")

    @model_validator(mode="after")
    def _one_rising(self) -> "Drawn":
        ranges = self.model_dump(exclude_none=True)
        if len(ranges) != 1:
            raise ValueError(f"give one of {', '.join(type(self).model_fields)}, not {' and '.join(ranges) or 'nothing'}")
        (name, value), *_ = ranges.items()
        if name != "choice" and not value[0] < value[1]:
            raise ValueError(f"{name}: {value[0]:g} to {value[1]:g} does not rise")
        if name == "log_uniform" and value[0] <= 0:
            raise ValueError(f"log_uniform: {value[0]:g} is not above 0")
        return self


class RandomSearch(Spec):
    """Settings drawn at random. A larger ``n`` adds draws to those of a smaller one; fields are drawn independently."""

    n: int = Field(..., ge=1, description="Number of draws")
    seed: int = Field(0, ge=0, description="Of the draws")
    over: dict[str, Drawn] = Field(..., min_length=1, description="Dotted path of a setting -> where its values come from")


class Selection(Spec):
    """Choice of a cell for each split, from trials of its training side."""

    metric: Literal["within", "cross", "others", "pooled"] = Field(
        "cross", description="Balanced accuracy of the analysis decoding, in this setting, on inner test trials"
    )
    inner_folds: int = Field(3, ge=2, description="Folds of the training side of every split")
    seed: int = Field(0, ge=0, description="Of the inner folds")


class SweepSpec(Spec):
    """An experiment and the settings that vary. The path ``models.*`` refers to every model (``beta``: to all with a rate)."""

    name: str = Field(..., pattern=r"^[A-Za-z0-9_-]+$", description="Of the sweep: letters, digits, _ and -")
    description: str = Field("", description="What it asks, in a sentence")
    experiment: dict[str, Any] = Field(..., description="As in an experiment's YAML; in a file also the path of one, beside it")
    grid: dict[str, list[Any]] = Field({}, description="Dotted path of a setting -> its values; every combination is a cell")
    random: RandomSearch | None = Field(None, description="Draws, made for every combination of the grid")
    select: Selection | None = Field(None, description="Choose a cell for every split by inner folds of its training side")

    @property
    def fields(self) -> list[str]:
        """Paths of the settings that vary."""
        return [*self.grid, *(self.random.over if self.random is not None else ())]

    @model_validator(mode="after")
    def _varies(self) -> "SweepSpec":
        if not self.fields:
            raise ValueError("nothing is varied: give 'grid' or 'random'")
        for field in self.fields:
            if self.fields.count(field) > 1:
                raise ValueError(f"{field!r} is in grid and in random")
            if not self.grid.get(field, [field]):
                raise ValueError(f"grid: {field!r} has no values")
        models = self.experiment.get("models")
        known = sorted(models) if isinstance(models, dict) else []
        for field in self.fields:
            group, model, setting = (*field.split(".", 2), "", "")[:3]
            if group == "models" and (not setting or model not in [*known, "*"]):
                raise ValueError(f"{field!r}: no setting of a model. {did_you_mean(model, known)}")
            if self.select is not None and group not in ("models", "training", "training_of"):
                raise ValueError(
                    f"select compares models on the same samples and splits: it cannot choose {field!r}. Leave one out"
                )
        return self


def load_sweep_spec(name_or_path: str | Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """Return the shipped sweep with this name, or that in a YAML file.

    ``experiment: odors.yaml`` is relative to the folder of the sweep, and paths in a file to its folder.

    ``overrides`` are settings ``"a.b=value"`` of the experiment; errors are those of :func:`neuromvm.load_data_spec`.
    """
    path, shipped = Path(name_or_path), shipped_sweeps()
    if not is_file_name(path, shipped):
        path = find_shipped(str(name_or_path), shipped, "sweep", "the sweeps that are shipped")
    content = read_mapping(path, str(path))
    if isinstance(content.get("experiment"), str):
        content["experiment"] = experiment_settings(path.parent / content["experiment"])
    elif isinstance(content.get("experiment"), dict) and isinstance(content["experiment"].get("data"), dict):
        content["experiment"]["data"] = data_choice(path, content["experiment"]["data"])
    if isinstance(content.get("experiment"), dict):
        for override in overrides:
            set_value(content["experiment"], *parse_override(override), where=f"--set {override}")
    return validated(content, str(path), SweepSpec)
