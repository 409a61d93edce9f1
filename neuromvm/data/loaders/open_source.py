"""Opening of a session of any source as a tree of arrays in the layout of NWB."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from neuromvm.data.loaders.array_tree import ArrayTree, MemoryTree
from neuromvm.data.loaders.hdf5 import sha256
from neuromvm.data.loaders.nwb_file import open_nwb
from neuromvm.specs.data import DataSpec
from neuromvm.specs.sources import NwbSource

SUBJECT_FIELDS = ("subject_id", "species", "sex", "age", "genotype")
READERS: dict[str, Callable[[Path, DataSpec], MemoryTree]] = {}  # kind of source -> reader of a session


@contextmanager
def open_session(path: Path, spec: DataSpec) -> Iterator[ArrayTree]:
    """Open the session at a path, which ``files`` of the spec matched, and close it at the end of the block.

    The source of the spec says what the path is. Errors are those of :func:`neuromvm.data.loaders.load_recordings`.
    """
    if isinstance(spec.source, NwbSource):
        with open_nwb(path) as file:
            yield file
    else:
        yield READERS[spec.source.kind](path, spec)


def session_header(path: Path, spec: DataSpec) -> dict[str, str]:
    """Return what a session says of its animal and itself, the names of its files and their SHA-256."""
    with open_session(path, spec) as tree:
        fields = {name: tree.text(f"general/subject/{name}") for name in SUBJECT_FIELDS}
        fields |= {"session_id": tree.text("general/session_id"), "identifier": tree.text("identifier")}
    fields |= {"source_file": path.name, "sha256": sha256(path)}
    return {name: text for name, text in fields.items() if text}
