"""Base class of specs."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Frozen model that refuses unknown fields, so that a typo is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
