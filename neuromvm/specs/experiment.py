"""Spec of an experiment: data, samples, splits, models, training and analyses."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from neuromvm.errors import SpecError, did_you_mean
from neuromvm.specs.base import Spec
from neuromvm.specs.model import ModelSpec
from neuromvm.specs.samples import SampleSpec, SplitSpec
from neuromvm.specs.training import TrainingSpec


class DataChoice(Spec):
    """Which data set, and what of it."""

    spec: str = Field(..., description="Name of a spec in data_specs, or a YAML file, relative to the folder of the experiment")
    root: str | None = Field(
        None, description="Folder of the files, relative to that of the experiment, in place of the spec's own"
    )
    min_units: int | None = Field(None, ge=1, description="In place of the spec's own")
    animals: list[str] | None = Field(None, description="Use only these animals")


class NullSpec(Spec):
    """How often everything is fitted again on data whose labels are broken."""

    refits: int = Field(0, ge=0, description="Refits on null data; 0: labels of test trials are permuted, decoders not refitted")
    correspondence: int = Field(0, ge=0, description="Refits with the names of conditions exchanged within each animal")
    within: str | None = Field(None, description="Trial label (block, session) within which labels may be exchanged")
    rearrangement: Literal["permute", "shift"] = Field(
        "permute", description="permute: labels among trials; shift: all labels along the session, for drift and few runs a class"
    )
    jobs: int = Field(1, ge=1, description="Processes that share the refits")


class SharingSpec(Spec):
    """Whether animals share a code: conditions are held out in animals and read by the others, see ``neuromvm sharing``."""

    split: SplitSpec = Field(SplitSpec(kind="conditions"), description="Which conditions an animal lacks in each split")
    rows: list[str] | None = Field(None, description="Rows of linear methods; default: all")
    models: dict[str, list[str]] | None = Field(
        None, description="Row -> models among which one is chosen; default: each model of the experiment that shares latents"
    )
    few_labels: list[int] = Field([1, 2, 4], description="Labelled trials of each condition, in an animal with few; []: none")
    refits: int = Field(200, ge=0, description="Refits on data in which the names of conditions are exchanged within animals")
    model_refits: int | None = Field(None, ge=0, description="Of models, in place of refits: each is trained again")
    jobs: int = Field(1, ge=1, description="Processes that share the work")

    @field_validator("split")
    @classmethod
    def _holds_out_conditions(cls, split: SplitSpec) -> SplitSpec:
        if split.kind != "conditions":
            raise ValueError(f"sharing.split.kind is {split.kind!r}: only conditions are held out here. Set it to 'conditions'")
        return split


class ExperimentSpec(Spec):
    """Everything that a run computes."""

    name: str = Field(..., pattern=r"^[A-Za-z0-9_-]+$", description="Of the experiment: letters, digits, _ and -")
    description: str = Field("", description="What it asks, in a sentence")
    data: DataChoice
    samples: SampleSpec
    split: SplitSpec = SplitSpec()
    models: dict[str, ModelSpec] = Field(..., min_length=1)
    training: TrainingSpec = TrainingSpec()
    training_of: dict[str, dict[str, Any]] = Field({}, description="Model -> settings of its training that differ")
    analyses: dict[str, dict[str, Any]] = Field({}, description="Analysis -> its options")
    nulls: NullSpec = NullSpec()
    sharing: SharingSpec | None = Field(None, description="Also test whether animals share a code")

    def training_for(self, model: str) -> TrainingSpec:
        """Return the training of a model: ``training`` with the settings in ``training_of``."""
        return TrainingSpec.model_validate({**self.training.model_dump(), **self.training_of.get(model, {})})

    @field_validator("training_of")
    @classmethod
    def _known_settings(cls, training_of: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for model, settings in training_of.items():
            for setting in settings:
                if setting not in TrainingSpec.model_fields:
                    known = did_you_mean(setting, sorted(TrainingSpec.model_fields))
                    raise ValueError(f"{model}: unknown setting {setting!r} of training. {known}")
            try:
                TrainingSpec(**settings)
            except SpecError as error:
                raise ValueError(f"{model}: {error.found}") from error
        return training_of

    @model_validator(mode="after")
    def _models_can_be_trained(self) -> "ExperimentSpec":
        for model in self.training_of:
            if model not in self.models:
                raise ValueError(f"training_of: no model {model!r}. {did_you_mean(model, sorted(self.models))}")
        patience = {self.training_for(model).patience for model in self.models}
        if patience != {None} and self.split.validation == 0:
            raise ValueError("training.patience stops on validation trials: set split.validation above 0")
        groups = {} if self.sharing is None or self.sharing.models is None else self.sharing.models
        for group, models in groups.items():
            if unknown := [model for model in models if model not in self.models]:
                known = did_you_mean(unknown[0], list(self.models))
                raise ValueError(f"sharing.models.{group}: no model {unknown[0]!r}. {known}")
            if len({len(self.training_for(model).seeds) for model in models}) > 1:
                raise ValueError(
                    f"sharing.models.{group}: one of these models is chosen for each seed. Give them equally many seeds"
                )
        for name in self.models:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"model name {name!r}: use letters, digits, '_' and '-' (it becomes a folder)")
        return self
