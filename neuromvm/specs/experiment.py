"""Spec of an experiment: data, samples, splits, models, training and analyses."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from neuromvm.specs.base import Spec
from neuromvm.specs.data import Scalar


class DataChoice(Spec):
    """Which data set, and what of it."""

    spec: str = Field(..., description="Name of a spec in data_specs, or path of a YAML file")
    root: str | None = Field(None, description="Folder of the files, in place of the spec's own")
    min_units: int | None = Field(None, ge=1, description="In place of the spec's own")
    animals: list[str] | None = Field(None, description="Use only these animals")


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
    transform: Literal["none", "sqrt", "log1p"] = "sqrt"
    smooth: float | None = Field(
        None, gt=0, description="Standard deviation of Gaussian smoothing over the bins of a window [s or position]"
    )
    scale: Literal["none", "zscore", "noise"] = Field(
        "zscore",
        description="Fitted on the training side of each split: by the deviation of each feature, "
        "or by that of each unit within classes (noise), which keeps informative units large",
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

    kind: Literal["halves", "kfold", "chronological", "blocks", "leave_one_animal_out"] = "halves"
    folds: int = Field(5, ge=2, description="kfold and blocks: number of folds")
    repeats: int = Field(1, ge=1, description="halves and kfold: independent repetitions")
    train_share: float = Field(0.5, gt=0, lt=1, description="chronological: leading share of trials")
    order: str | None = Field(None, description="chronological and blocks: trial label that orders trials; default: their onset")
    block: str | None = Field(None, description="blocks: trial label that names the block; default: equal runs of trials")
    validation: float = Field(0.0, ge=0, le=0.5, description="Share of training-side trials kept for early stopping")
    seed: int = Field(0, ge=0)


class LinearNetworks(Spec):
    """One affine map an animal."""

    kind: Literal["linear"] = "linear"


class MLPNetworks(Spec):
    """Hidden layers with a leaky ReLU after each."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[int] = Field([64], min_length=1)


class SquaredErrorLikelihood(Spec):
    """Squared error of the scaled features, the published choice."""

    kind: Literal["squared_error"] = "squared_error"


class GaussianLikelihood(Spec):
    """Gaussian of the scaled features, with a variance learned for each."""

    kind: Literal["gaussian"] = "gaussian"


class PoissonLikelihood(Spec):
    """Poisson spike counts; the decoder gives the log rate of each unit and bin."""

    kind: Literal["poisson"] = "poisson"


class ModelSpec(Spec):
    """A model = networks + likelihood + one way of sharing."""

    sharing: Literal["independent", "mmvm"]
    rate: Literal["mixture", "pairwise"] = Field("mixture", description="mmvm: the published loss trains 'pairwise'")
    latent: int = Field(2, ge=1, description="Latent dimensions of each animal")
    beta: float = Field(1.0, ge=0, description="Weight of the rate")
    cross_reconstruction: float = Field(
        0.0, ge=0, le=1, description="Share of the reconstruction taken from other animals' latents of a matched sample"
    )
    networks: Annotated[LinearNetworks | MLPNetworks, Field(discriminator="kind")] = MLPNetworks()
    scale: Literal["predicted", "constant"] = Field("predicted", description="Posterior scale: from the input, or learned once")
    likelihood: Annotated[SquaredErrorLikelihood | GaussianLikelihood | PoissonLikelihood, Field(discriminator="kind")] = (
        SquaredErrorLikelihood()
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of input features hidden from the encoder in training")
    input_noise: float = Field(
        0.0, ge=0, description="Standard deviation of noise added to what the encoder sees in training [scaled features]"
    )

    @model_validator(mode="after")
    def _meaningful(self) -> "ModelSpec":
        for setting in ("rate", "cross_reconstruction"):
            if self.sharing == "independent" and getattr(self, setting) != type(self).model_fields[setting].default:
                raise ValueError(f"independent VAEs share nothing, so {setting!r} means nothing to them: leave it out")
        return self


class TrainingSpec(Spec):
    """How every model is trained."""

    epochs: int = Field(200, ge=1)
    batch_size: int = Field(128, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: the learning rate falls to 0 at the last epoch"
    )
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float | None = Field(None, gt=0, description="Largest gradient norm of a replica")
    pairing: Literal["redrawn", "published"] = Field(
        "redrawn", description="redrawn: new matched tuples each epoch, every sample used; published: i-th with i-th, fixed"
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1, description="One replica for each seed and split")
    patience: int | None = Field(None, ge=1, description="Stop a replica after so many epochs without a better validation loss")
    checkpoint_every: int = Field(50, ge=1, description="[epochs]")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"a seed occurs twice in {seeds}: the same training would count as two")
        return seeds

    threads: int = Field(1, ge=1, description="CPU threads; small models are many times faster on one than on two")


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
