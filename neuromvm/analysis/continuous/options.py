"""Options of the analysis ``continuous``."""

from typing import Literal

from pydantic import Field, field_validator

from neuromvm.analysis.continuous.bayes import Likelihood
from neuromvm.analysis.continuous.labels import NullKind
from neuromvm.specs.base import Spec

RAW = "raw"
BaselineName = Literal["raw", "pca", "hyperalignment", "srm", "mcca"]
DecoderName = Literal["ridge", "kernel ridge", "bayes", "bayes path"]


class Options(Spec):
    """The label, decoders and resampling. Settings of baselines are those of the run's analysis ``decoding``."""

    label: str = Field(..., description="'window', a trial label that is a number, or a label along the grid (theta_phase)")
    period: float | None = Field(None, gt=0, description="Of a circular label, in its unit: 360, 6.2832; default: a line")
    condition: str | None = Field(None, description="bayes: trial label that tuning depends on as well (direction of running)")
    baselines: tuple[BaselineName, ...] = ("raw", "mcca")
    decoders: tuple[DecoderName, ...] = Field(("ridge", "kernel ridge", "bayes", "bayes path"), min_length=1)
    likelihood: Likelihood | Literal["auto"] = Field(
        "auto", description="bayes on raw activity; auto: poisson for counts, else gaussian; other representations: gaussian"
    )
    bins: int = Field(50, ge=3, description="bayes: places of the label, if it has more different values")
    tuning_width: float | None = Field(
        None,
        gt=0,
        description="bayes: standard deviation of the smoothing of tuning curves, in the label's unit; default: range/20",
    )
    penalties: tuple[float, ...] = Field(
        (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0), min_length=1, description="ridge: of which one is chosen on training trials"
    )
    folds: int = Field(4, ge=2, description="ridge: folds of training trials (across animals: of training animals)")
    kernel_width: float = Field(1.0, gt=0, description="kernel ridge: in units of the median distance between samples")
    kernel_samples: int = Field(1000, ge=10, description="kernel ridge: most samples that are fitted")
    stretches: int = Field(0, ge=0, description="Stretches of the label, each held out of every animal in turn; 0: none")
    trials: tuple[int, ...] = Field((), description="Also with so many training trials of each class of the animal: [1, 2, 4]")
    null: NullKind = Field("auto", description="Labels are shifted along the session, or within each trial (auto: see the page)")
    order: str | None = Field(None, description="Trial label that orders trials in time; default: that of the split, or onset")
    reference: str = Field("mcca", description="Representation with which the others are compared, draw by draw")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    permutations: int = Field(100, ge=0, description="Shifts of labels, with all decoders fitted again; 0: no null")
    seed: int = Field(0, ge=0, description="Of the resamples and shifts")

    @field_validator("stretches")
    @classmethod
    def _not_the_whole_label(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one stretch is the whole label; give 2 at least, or 0 for none")
        return value
