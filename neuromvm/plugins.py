"""Steps that live outside the library, found by name: neuromvm never imports analysis."""

from importlib.metadata import entry_points
from typing import Any

from neuromvm.errors import RunFolderError


def step(name: str) -> Any:
    """Return what stands behind a step of the entry point group ``neuromvm.pipeline``.

    Raises
    ------
    RunFolderError
        If nothing is installed under that name.
    """
    found = entry_points(group="neuromvm.pipeline", name=name)
    if not found:
        raise RunFolderError(
            f"step {name!r}", found="not installed", next_step="Install the whole distribution: pip install neuromvm"
        )
    return next(iter(found)).load()
