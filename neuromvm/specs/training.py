"""Spec of training: optimiser, pairing, seeds, early stopping."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from neuromvm.specs.base import Spec

# Settings that do not change results, except by rounding.
NEUTRAL = {"device", "threads", "checkpoint_every", "compile"}


class TrainingSpec(Spec):
    """How every model is trained."""

    epochs: int = Field(200, ge=0, description="Passes through the samples; 0: the model as it starts, to see what training adds")
    batch_size: int = Field(128, ge=2, description="Matched tuples of samples in a step")
    learning_rate: float = Field(1e-3, gt=0, description="Of Adam, at the start")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: the learning rate falls to 0 at the last epoch"
    )
    weight_decay: float = Field(0.0, ge=0, description="Decay of weights in each step of Adam")
    clip_norm: float | None = Field(None, gt=0, description="Largest gradient norm of a replica")
    pairing: Literal["redrawn", "published"] = Field(
        "redrawn", description="redrawn: new matched tuples each epoch, every sample used; published: i-th with i-th, fixed"
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1, description="One replica for each seed and split")
    patience: int | None = Field(None, ge=1, description="Stop a replica after so many epochs without a better validation loss")
    checkpoint_every: int = Field(50, ge=1, description="Epochs between checkpoints, from which --resume continues")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: a GPU if there is one")

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"a seed occurs twice in {seeds}: the same training would count as two")
        return seeds

    compile: bool = Field(
        False,
        description="Compile the step: 1.5 to 2 times as fast on a CPU, after half a minute for each model and size of a stack; "
        "needs a C++ compiler",
    )
    precision: Literal["float32", "tf32"] = Field(
        "float32", description="tf32: matrix products with factors rounded to 10 bits, on GPUs that can; float32 elsewhere"
    )
    threads: int = Field(1, ge=1, description="CPU threads; small models are many times faster on one than on two")
