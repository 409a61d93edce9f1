"""The strict base of every spec."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Frozen; refuses unknown fields, so that a typo is an error and not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
