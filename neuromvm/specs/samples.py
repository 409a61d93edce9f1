"""Specs of samples (windows of trials with labels) and of splits of trials into training and test sides."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from neuromvm.specs.base import Spec
from neuromvm.specs.data import Scalar


class SampleSpec(Spec):
    """How trials become samples: windows, labels, features.

    A window of ``width`` slides in ``step`` over ``start..stop`` of the grid inside every trial; inside a window,
    activity is summed (counts) or averaged (floats) in bins of ``bin_width``. On a position grid the unit is one bin.
    """

    start: float | None = Field(None, description="[s] or position; default: start of the grid")
    stop: float | None = None
    width: float | None = Field(None, gt=0, description="Width of a window; default: stop - start, one window a trial")
    step: float | None = Field(None, gt=0, description="Step between windows; default: width")
    bin_width: float | None = Field(None, gt=0, description="Bins inside a window; default: the whole window")
    keep: dict[str, list[Scalar]] = Field({}, description="Keep trials whose label holds one of these values")
    label: list[str] = Field(..., min_length=1, description="What is decoded: trial labels, joined; 'window' adds the window")
    match: list[str] | None = Field(None, description="What paired samples share; default: label")
    transform: Literal["none", "sqrt", "log1p", "per_millisecond"] = Field(
        "sqrt", description="Of every number; per_millisecond: spikes divided by the bin's milliseconds, as in published files"
    )
    smooth: float | None = Field(
        None, gt=0, description="Standard deviation of Gaussian smoothing over the bins of a window [s or position]"
    )
    scale: Literal["none", "zscore", "noise"] = Field(
        "zscore",
        description="Fitted on the training side of each split: by the deviation of each feature, "
        "or by that of each unit within classes (noise), which keeps informative units large",
    )
    scale_shrinkage: float = Field(
        0.0, ge=0, le=1, description="scale noise: share of a unit's variance that is taken from the median unit"
    )
    clip: float | None = Field(None, gt=0, description="Largest absolute scaled value")
    path_step: float | None = Field(
        None, gt=0, description="Also embed windows slid by this step over the whole grid, to follow the latent in time"
    )

    @field_validator("label", "match", mode="before")
    @classmethod
    def _one_label(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _forward(self) -> "SampleSpec":
        if self.start is not None and self.stop is not None and self.stop <= self.start:
            raise ValueError(f"samples stop at {self.stop:g}, which is not after their start at {self.start:g}")
        return self

    @property
    def match_by(self) -> list[str]:
        """Labels that paired samples share."""
        return self.match if self.match is not None else self.label


class SplitSpec(Spec):
    """How trials are divided, before anything is windowed, scaled, paired or fitted."""

    kind: Literal["halves", "kfold", "chronological", "blocks", "leave_one_animal_out", "published"] = Field(
        "halves", description="published: trials that train are those that test, to reproduce published numbers only"
    )
    folds: int = Field(5, ge=2, description="kfold and blocks: number of folds")
    repeats: int = Field(1, ge=1, description="halves and kfold: independent repetitions")
    train_share: float = Field(0.5, gt=0, lt=1, description="chronological: leading share of trials")
    order: str | None = Field(None, description="chronological and blocks: trial label that orders trials; default: their onset")
    block: str | None = Field(None, description="blocks: trial label that names the block; default: equal runs of trials")
    validation: float = Field(0.0, ge=0, le=0.5, description="Share of training-side trials kept for early stopping")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _published_is_one_split(self) -> "SplitSpec":
        if self.kind == "published" and (self.validation > 0 or self.repeats > 1):
            raise ValueError("the published split is one, and all its trials train and test: leave out validation and repeats")
        return self
