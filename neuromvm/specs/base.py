"""Base class of specs."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic._internal._model_construction import ModelMetaclass  # the class of models has no public name that is typed

from neuromvm.specs.invalid import spec_error


class SpecClass(ModelMetaclass):
    """Class of specs: a spec made in Python from wrong settings raises SpecError, as one in a YAML file does.

    Validation of nested settings does not call the class, so errors there keep their place in the outer spec.
    """

    def __call__(cls, *arguments: Any, **settings: Any) -> Any:  # noqa: N805
        """Make a spec, or raise SpecError with the wrong setting and the nearest right one."""
        try:
            return super().__call__(*arguments, **settings)
        except ValidationError as error:
            raise spec_error(cls.__name__, error, cls) from error  # type: ignore[arg-type]


class Spec(BaseModel, metaclass=SpecClass):
    """Frozen model that refuses unknown fields, so that a typo is an error; SpecError names the nearest spelling."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
