"""Spec of an experiment: data, samples, splits, models, training and analyses."""

from typing import Any

from pydantic import Field, model_validator

from neuromvm.specs.base import Spec
from neuromvm.specs.model import ModelSpec
from neuromvm.specs.samples import SampleSpec, SplitSpec
from neuromvm.specs.training import TrainingSpec


class DataChoice(Spec):
    """Which data set, and what of it."""

    spec: str = Field(..., description="Name of a spec in data_specs, or path of a YAML file")
    root: str | None = Field(None, description="Folder of the files, in place of the spec's own")
    min_units: int | None = Field(None, ge=1, description="In place of the spec's own")
    animals: list[str] | None = Field(None, description="Use only these animals")


class ExperimentSpec(Spec):
    """Everything that a run computes."""

    name: str = Field(..., pattern=r"^[A-Za-z0-9_-]+$")
    description: str = ""
    data: DataChoice
    samples: SampleSpec
    split: SplitSpec = SplitSpec()
    models: dict[str, ModelSpec] = Field(..., min_length=1)
    training: TrainingSpec = TrainingSpec()
    analyses: dict[str, dict[str, Any]] = Field({}, description="Analysis -> its options")

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> "ExperimentSpec":
        if self.training.patience is not None and self.split.validation == 0:
            raise ValueError("training.patience stops on validation trials: set split.validation above 0")
        for name in self.models:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"model name {name!r}: use letters, digits, '_' and '-' (it becomes a folder)")
        return self
