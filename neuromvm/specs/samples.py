"""Specs of samples (windows of trials with labels) and of splits of trials into training and test sides."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from neuromvm.specs.base import Spec
from neuromvm.specs.data import Scalar


class SampleSpec(Spec):
    """How trials become samples: windows, labels, features.

    A window of ``width`` slides in ``step`` over ``start..stop`` of the grid inside every trial; inside a window,
    activity is summed (counts) or averaged (all else) in bins of ``bin_width``. On a position grid the unit is one bin.
    """

    start: float | None = Field(None, description="[s] or position; default: start of the grid")
    stop: float | None = Field(None, description="[s] or position; default: end of the grid")
    width: float | None = Field(None, gt=0, description="Width of a window; default: stop - start, one window a trial")
    step: float | None = Field(None, gt=0, description="Step between windows; default: width")
    bin_width: float | None = Field(
        None, gt=0, description="Bins inside a window; default: the whole window, in images and texts each pixel and position"
    )
    keep: dict[str, list[Scalar]] = Field({}, description="Keep trials whose label holds one of these values")
    label: list[str] = Field(..., min_length=1, description="What is decoded: trial labels, joined; 'window' adds the window")
    match: list[str] | None = Field(None, description="What paired samples share; default: label")
    missing: Literal["refuse", "drop_trials", "drop_units"] = Field(
        "refuse",
        description="Activity that is NaN or infinite: refused by name, or every trial, or unit, with some of it is left out and "
        "counted",
    )
    transform: Literal["auto", "none", "sqrt", "log1p", "per_millisecond"] = Field(
        "auto",
        description="Of every number; auto: the square root, or none for activity that can be negative and for texts; "
        "per_millisecond: spikes divided by the bin's milliseconds, as in published files",
    )
    smooth: float | None = Field(
        None, gt=0, description="Standard deviation of Gaussian smoothing over the bins of a window [s or position]"
    )
    scale: Literal["none", "zscore", "noise"] = Field(
        "zscore",
        description="Fitted on the training side of each split: by the deviation of each feature, "
        "or by that of each unit within classes (noise), which keeps informative units large; pixels and texts are not scaled",
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

    kind: Literal["halves", "kfold", "chronological", "blocks", "conditions", "leave_one_animal_out", "published"] = Field(
        "halves",
        description="conditions: no training trial of an animal is of its held-out conditions, to see whether others tell them; "
        "published: trials that train are those that test, to reproduce published numbers only",
    )
    folds: int = Field(5, ge=2, description="kfold and blocks: number of folds")
    repeats: int = Field(1, ge=1, description="halves, kfold and random conditions: independent repetitions")
    train_share: float = Field(0.5, gt=0, lt=1, description="chronological: leading share of trials")
    order: str | None = Field(
        None,
        description="chronological and blocks: trial label that orders trials; default: their onset. Contiguous conditions: "
        "trial label that orders conditions; default: their names, numbers in them by size",
    )
    block: str | None = Field(None, description="blocks: trial label that names the block; default: equal runs of trials")
    held_out: int | None = Field(
        None, ge=2, description="conditions: how many are held out in a split; default: a fifth of them, at least 2"
    )
    choice: Literal["random", "contiguous"] = Field(
        "random", description="conditions: held out at random, or in runs along their order"
    )
    by: str | None = Field(
        None,
        description="conditions: hold out all conditions with the same value of this label (all left laps; a block, a session, "
        "a time), a value in each split, not the same in all animals",
    )
    lacking: Literal["every_animal", "one_animal"] = Field(
        "every_animal",
        description="conditions: in each split every animal lacks conditions of its own, or one animal does and the others have "
        "all; the latter needs as many times more splits as there are animals",
    )
    validation: float = Field(0.0, ge=0, le=0.5, description="Share of training-side trials kept for early stopping")
    seed: int = Field(0, ge=0, description="Of random choices of trials and conditions")

    @model_validator(mode="after")
    def _conditions_are_held_out_in_runs_once(self) -> "SplitSpec":
        if self.kind == "conditions" and self.repeats > 1 and (self.choice == "contiguous" or self.by is not None):
            raise ValueError("contiguous conditions, and those held out by a label, are divided in one way: leave out repeats")
        return self

    @model_validator(mode="after")
    def _published_is_one_split(self) -> "SplitSpec":
        if self.kind == "published" and (self.validation > 0 or self.repeats > 1):
            raise ValueError("the published split is one, and all its trials train and test: leave out validation and repeats")
        return self
