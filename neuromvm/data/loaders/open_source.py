"""Opening of a session of any source as a tree of arrays in the layout of NWB."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256 as new_sha256
from pathlib import Path
from types import MappingProxyType

from neuromvm.data.loaders.array_tree import ArrayTree, MemoryTree
from neuromvm.data.loaders.foreign_file import foreign_file
from neuromvm.data.loaders.hdf5 import sha256
from neuromvm.data.loaders.mapped_arrays import mapped_tree
from neuromvm.data.loaders.mat import read_mat
from neuromvm.data.loaders.npz import read_npz
from neuromvm.data.loaders.nwb_file import NwbFile, open_nwb
from neuromvm.data.loaders.phy import phy_files, read_phy
from neuromvm.data.loaders.remote import RemoteFile, open_remote
from neuromvm.data.loaders.spike_tables import read_spike_tables, spike_table_files
from neuromvm.data.loaders.stat_matrix import read_stat_matrix, stat_matrix_files
from neuromvm.data.loaders.suite2p import read_suite2p, suite2p_files
from neuromvm.data.loaders.trial_file import folder_header
from neuromvm.data.loaders.zarr_tree import folder_sha256, open_zarr
from neuromvm.specs.data import DataSpec, RoiActivity, Scalar, SpikeActivity
from neuromvm.specs.sources import FolderSource, MappedSource, NwbSource, OtherSource, PhySource, Suite2pSource

SUBJECT_FIELDS = ("subject_id", "species", "sex", "age", "genotype")
MOST_NAMES = 4  # of files of a session, in its attributes
MAPPED = {"npz": read_npz, "mat": read_mat}
READERS: Mapping[str, Callable[[Path, DataSpec], MemoryTree]] = MappingProxyType(
    {"spike_times": read_spike_tables, "phy": read_phy, "suite2p": read_suite2p, "stat_matrix": read_stat_matrix}
)
FILES: Mapping[str, Callable[[Path, DataSpec], list[Path]]] = MappingProxyType(
    {"spike_times": spike_table_files, "phy": phy_files, "suite2p": suite2p_files, "stat_matrix": stat_matrix_files}
)


@contextmanager
def open_session(path: Path | RemoteFile, spec: DataSpec) -> Iterator[ArrayTree]:
    """Open the session at a path, which ``files`` of the spec matched, and close it at the end of the block.

    The source of the spec says what the path is. Errors are those of :func:`neuromvm.data.loaders.load_recordings`.
    """
    if isinstance(spec.source, NwbSource) or isinstance(path, RemoteFile):
        with _open_nwb(path) as file:
            yield file
    else:
        yield _tree(path, spec)


def _open_nwb(path: Path | RemoteFile) -> AbstractContextManager[NwbFile]:
    """Open an NWB file, a folder as NWB-Zarr, or a file behind a URL."""
    if isinstance(path, RemoteFile):
        return open_remote(path)
    return open_zarr(path) if path.is_dir() else open_nwb(path)


def session_header(path: Path | RemoteFile, spec: DataSpec) -> dict[str, str]:
    """Return what a session says of its animal and itself, the names of its files and their SHA-256."""
    source = spec.source
    if isinstance(path, RemoteFile):
        with open_remote(path) as file:
            fields = _texts(file)
        fields |= {"source_file": path.name, "source_url": str(path), "sha256": path.sha256}
        return {name: text for name, text in fields.items() if text}
    if isinstance(source, FolderSource):
        fields = folder_header(path, source)
    elif isinstance(source, NwbSource):
        with _open_nwb(path) as file:
            fields = _texts(file)
    elif isinstance(source, MappedSource):
        fields = _texts(_tree(path, spec, only="general/"))
    else:
        fields = {"subject_id": path.absolute().parent.name, "session_id": path.stem.removesuffix("_BehaviorMatrix")}
    if isinstance(source, OtherSource):
        fields = {str(name): text for name, text in source.subject.items()} | {
            name: text for name, text in fields.items() if text
        }
    files = session_files(path, spec)
    names = ", ".join(file.name for file in files[:MOST_NAMES])
    fields["source_file"] = names if len(files) <= MOST_NAMES else f"{names}, ... ({len(files)} files)"
    digests = [folder_sha256(file) if file.is_dir() else sha256(file) for file in files]
    fields["sha256"] = digests[0] if len(digests) == 1 else new_sha256(" ".join(digests).encode()).hexdigest()
    return {name: text for name, text in fields.items() if text}


def session_files(path: Path, spec: DataSpec) -> list[Path]:
    """Return all files of the session at a path."""
    files = FILES.get(spec.source.kind)
    return [path] if files is None else files(path, spec)


def with_filters_of_source(spec: DataSpec) -> DataSpec:
    """Return the spec with the filters that its source implies: good clusters of phy, and regions of suite2p that are cells.

    ``activity.keep`` of the spec takes precedence for the same column.
    """
    activity, source = spec.activity, spec.source
    implied: dict[str, list[Scalar]] = {}
    if isinstance(source, PhySource) and source.groups is not None:
        implied = {"group": list(source.groups)}
    elif isinstance(source, Suite2pSource) and source.only_cells:
        implied = {"iscell": [True]}
    if not implied or not isinstance(activity, SpikeActivity | RoiActivity):
        return spec
    return spec.model_copy(update={"activity": activity.model_copy(update={"keep": implied | activity.keep})})


def _tree(path: Path, spec: DataSpec, only: str = "") -> MemoryTree:
    """Return the arrays of a session that is not NWB; of mapped ones, ``only`` those whose paths begin so."""
    with foreign_file(path, f"a session of the source {spec.source.kind!r}"):
        if isinstance(spec.source, MappedSource):
            return mapped_tree(path, spec, lambda names: MAPPED[spec.source.kind](path, names), only)
        return READERS[spec.source.kind](path, spec)


def _texts(tree: ArrayTree) -> dict[str, str]:
    fields = {name: tree.text(f"general/subject/{name}") for name in SUBJECT_FIELDS}
    return fields | {"session_id": tree.text("general/session_id"), "identifier": tree.text("identifier")}
