"""Files and folders of other formats that a data spec for NWB names: what they are, and what to do with them."""

from pathlib import Path

NWB_WANTED = "Name its format as 'source' in the data spec, or write it as NWB first: neuromvm data convert"
FOLDERS = (
    (("params.py", "spike_clusters.npy", "spike_times.npy"), "a folder of phy or kilosort"),
    (("stat.npy", "F.npy", "spks.npy", "ops.npy"), "a folder of suite2p"),
)
HEADS = (
    (b"MATLAB 5.0 MAT-file", "a .mat file of version 5"),
    (b"PK\x03\x04", "a zip archive, such as .npz"),
    (b"\x93NUMPY", "a .npy file"),
    (b"\x1f\x8b", "a file compressed by gzip: unpack it"),
    (b"\x89PNG", "an image"),
    (b"SQLite format 3", "a database"),
)
TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".json", ".yaml", ".yml")


def kind_of_folder(path: Path) -> tuple[str, str]:
    """Return what a folder is, and the next step."""
    names = {file.name for file in path.iterdir()}
    plane = path / "plane0"
    if plane.is_dir():
        names |= {file.name for file in plane.iterdir()}
    for marks, kind in FOLDERS:
        if names & set(marks):
            return kind, NWB_WANTED
    kind = "a folder, and none of phy, suite2p or Zarr, which holds .zgroup or zarr.json"
    return kind, "Name the files in it: 'files' are patterns such as 'sub-*/*.nwb'"


def kind_of_file(path: Path, head: bytes) -> tuple[str, str] | None:
    """Return what a file is by its first bytes and its ending, and the next step; None if that is unknown."""
    for start, kind in HEADS:
        if head.startswith(start):
            return f"not HDF5: {kind}", NWB_WANTED
    if path.suffix.lower() in TEXT_ENDINGS:
        return f"not HDF5: a text file {path.suffix.lower()}", NWB_WANTED
    return None
