"""Which files are which animals, and several sessions of one animal as one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import xarray as xr

from neuromvm.data.loaders.labels import as_text, shown
from neuromvm.errors import DataFormatError, SchemaError, SpecError, did_you_mean
from neuromvm.schema import Dropped, check_animal_name, dropped, with_dropped
from neuromvm.specs.data import DataSpec


@dataclass(frozen=True)
class Session:
    """One recording: the node it belongs to, its session name, its file and what that says of itself."""

    animal: str
    name: str
    path: Path
    attrs: dict[str, str]


def find_files(spec: DataSpec, folder: Path) -> list[Path]:
    """Return the files that the patterns of a spec match, sorted by name.

    Raises
    ------
    DataFormatError
        If the folder is missing, a pattern matches nothing, or a file lies outside the folder behind a link.
    """
    if not folder.is_dir():
        raise DataFormatError(
            f"data spec {spec.name!r}",
            found=f"no folder {str(folder)!r}",
            expected="the folder with the recordings",
            next_step="Set root in the data spec, data.root in the experiment, or --root on the command line",
        )
    files: set[Path] = set()
    for pattern in spec.files:
        try:
            matched = [path for path in folder.glob(pattern) if not path.is_dir() or path.suffix == ".nwb"]
        except (ValueError, NotImplementedError, IndexError) as error:
            raise SpecError(
                f"data spec {spec.name!r}", found=f"pattern {pattern!r}: {error}", expected="a glob pattern"
            ) from error
        if not matched:
            here = [path.name for path in folder.iterdir()]
            raise DataFormatError(
                f"data spec {spec.name!r}",
                found=f"nothing that matches {pattern!r} in {str(folder)!r}",
                next_step=f"The folder has: {shown(here) or 'nothing'}. Check 'root' and 'files'",
            )
        files.update(matched)
    check_inside(folder, files)
    return sorted(files)


def check_inside(folder: Path, files: Collection[Path]) -> None:
    """Raise DataFormatError if a file lies outside the folder behind a link."""
    inside = folder.resolve()
    for path in files:
        if not path.resolve().is_relative_to(inside):
            raise DataFormatError(
                str(path),
                found=f"a link that leaves the data folder, to {path.resolve()}",
                expected="files below the root",
                next_step="Set 'root' to a folder that holds the linked files too, or copy them",
            )


def name_sessions(spec: DataSpec, files: Sequence[Path], headers: Sequence[dict[str, str]]) -> list[Session]:
    """Return the sessions in order of file names, named after subject and, where a subject has several, session.

    Parameters
    ----------
    headers
        What each file says of itself, ``sha256`` included.

    Raises
    ------
    SchemaError
        If two files would become the same node or are copies of each other, or a name cannot serve as one.
    SpecError
        If 'exclude', 'rename' or 'shift' names an animal that is not there.
    """
    in_file = [_animal_of(spec, path, header) for path, header in zip(files, headers, strict=True)]
    subjects = [spec.rename.get(name, name) for name in in_file]
    sessions = []
    for path, header, subject in zip(files, headers, subjects, strict=True):
        session = header.get("session_id") or path.stem
        several = subjects.count(subject) > 1 and spec.sessions == "separate"
        name = f"{subject}_{session}" if several else subject
        sessions.append(Session(spec.rename.get(name, name), session, path, header))
    names = {*in_file, *subjects, *(session.animal for session in sessions)}
    names |= {f"{subject}_{session.name}" for subject, session in zip(subjects, sessions, strict=True)}
    # a shift is looked up by the name that the animal ends up with
    final = {session.animal for session in sessions}
    for setting, wanted, there in (
        ("exclude", spec.exclude, names),
        ("rename", spec.rename, names),
        ("shift", spec.shift, final),
    ):
        for name in wanted:
            if name not in there:
                raise SpecError(
                    f"data spec {spec.name!r}",
                    found=f"{setting}: no animal {name!r}",
                    next_step=did_you_mean(name, sorted(there)),
                )
    kept = [
        session
        for session, *other_names in zip(sessions, subjects, in_file, strict=True)
        if not {session.animal, *other_names} & set(spec.exclude)
    ]
    _check_names(spec, kept)
    return kept


def join_sessions(sessions: Sequence[Session], datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the trials of all sessions one after another, over the units whose ids all sessions have.

    Trials are numbered anew; ``session(trial)`` and ``trial_id(trial)`` say where each comes from.
    """
    if len(sessions) == 1:
        return datasets[0].assign_attrs(sessions[0].attrs)
    shared = reduce(np.intersect1d, [dataset["unit"].values for dataset in datasets])
    lines: dict[tuple[str, str], int] = {}
    for dataset in datasets:
        for line in dropped(dataset):
            lines[line.what, line.reason] = lines.get((line.what, line.reason), 0) + line.count
    absent = len({unit for dataset in datasets for unit in dataset["unit"].values.tolist()}) - len(shared)
    parts = []
    for session, dataset in zip(sessions, datasets, strict=True):
        part = dataset.sel(unit=shared).drop_attrs(deep=False)
        part = part.assign_coords(
            trial_id=("trial", dataset["trial"].values),
            session=("trial", np.full(dataset.sizes["trial"], session.name)),
        )
        parts.append(part.drop_vars("trial"))
    # columns of units that differ between sessions (rates, quality) are no property of the unit: keep those that agree
    columns = sorted({str(name) for part in parts for name in part.coords if "unit" in part[name].dims} - {"unit"})
    differ = [name for name in columns if not _agrees(name, parts)]
    parts = [part.drop_vars(differ, errors="ignore") for part in parts]
    joined = xr.concat(
        _with_equal_types(parts), dim="trial", data_vars="minimal", coords="minimal", compat="override", join="exact"
    )
    joined = joined.assign_coords(trial=np.arange(joined.sizes["trial"]))
    attrs = dict(sessions[0].attrs)
    for name in ("source_file", "sha256", "session_id", "identifier"):
        attrs[name] = ", ".join(session.attrs.get(name, "") for session in sessions)
    account = [
        *(Dropped(*key, count) for key, count in lines.items()),
        Dropped("units", "not in all sessions", absent),
        Dropped("columns of units", f"differ between sessions: {', '.join(differ)}", len(differ)),
    ]
    return with_dropped(joined.assign_attrs(attrs), account)


def _agrees(name: str, parts: Sequence[xr.Dataset]) -> bool:
    if not all(name in part.coords for part in parts):
        return False
    first = parts[0][name].reset_coords(drop=True)
    return all(part[name].reset_coords(drop=True).equals(first) for part in parts)


def _with_equal_types(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Return parts in which a label that is of several types (codes here, text there) is text throughout."""
    names = [name for name, values in parts[0].coords.items() if values.dims == ("trial",)]
    mixed = [name for name in names if len({part[name].dtype.kind for part in parts}) > 1]
    return [part.assign_coords({name: ("trial", as_text(part[name].values)) for name in mixed}) for part in parts]


def _animal_of(spec: DataSpec, path: Path, header: dict[str, str]) -> str:
    if spec.animal == "file":
        return path.stem
    if spec.animal == "folder":
        return path.absolute().parent.name.lower()
    if spec.animal not in header:
        raise DataFormatError(
            str(path),
            found=f"no {spec.animal}",
            expected="the name of the animal",
            next_step="Set 'animal: file' to name animals after files",
        )
    return header[spec.animal]


def _check_names(spec: DataSpec, sessions: Sequence[Session]) -> None:
    seen: dict[str, Session] = {}
    contents: dict[str, Session] = {}
    for session in sessions:
        twin = contents.setdefault(session.attrs["sha256"], session)
        if twin is not session:
            raise SchemaError(
                f"animal {session.animal!r}",
                found=f"{_told_apart(twin, session)} are copies of one recording",
                expected="different recordings, since a copy would pass for a second animal",
                next_step="Remove one of them",
            )
        check_animal_name(session.animal)
        # names become files, and some file systems do not tell cases apart
        key = session.animal.casefold()
        other = seen.setdefault(key, session)
        if other is not session and (spec.sessions == "separate" or other.animal != session.animal):
            raise SchemaError(
                f"animal {session.animal!r}",
                found=f"the same name in {_told_apart(other, session)}",
                expected="a name for every recording",
                next_step="Set 'animal: file', 'rename', or 'sessions: concatenate' in the data spec",
            )


def _told_apart(one: Session, other: Session) -> str:
    """Return the names of two files, or their paths where the names are the same."""
    names = (one.path.name, other.path.name) if one.path.name != other.path.name else (one.path, other.path)
    return f"{names[0]} and {names[1]}"
