"""Assignment of files to animals and sessions, names of animals, and joining of the sessions of an animal."""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import xarray as xr

from neuromvm import schema
from neuromvm.data.loaders.labels import as_text, shown
from neuromvm.data.loaders.remote import RemoteFile, find_assets, is_url
from neuromvm.errors import DataFormatError, MissingTableError, SchemaError, SpecError, did_you_mean
from neuromvm.schema import Dropped, check_animal_name, dropped, with_dropped
from neuromvm.specs.data import DataSpec

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """One recording: the animal (node), the name of the session, the file, and attributes from its header."""

    animal: str
    name: str
    path: Path | RemoteFile
    attrs: dict[str, str]


def find_files(spec: DataSpec, folder: Path) -> list[Path | RemoteFile]:
    """Return the files of a spec, sorted by name: below a folder, at URLs, and assets of a dandiset."""
    if spec.dandi is not None:
        return [*find_assets(spec.dandi, spec.files)]
    remote = [RemoteFile.from_url(url) for url in sorted(set(spec.files)) if is_url(url)]
    patterns = [pattern for pattern in spec.files if not is_url(pattern)]
    return [*(files_below(spec, folder, patterns) if patterns else []), *remote]


def files_below(spec: DataSpec, folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files below a folder that patterns match, sorted by name."""
    if not folder.is_dir():
        raise DataFormatError(
            f"data spec {spec.name!r}",
            found=f"no folder {str(folder)!r}",
            expected="the folder with the recordings",
            next_step="Set root in the data spec, data.root in the experiment, or --root on the command line",
        )
    files: set[Path] = set()
    for pattern in patterns:
        try:
            paths = list(folder.glob(pattern))
            # a pattern that matches folders only names recordings of another format, which their reader describes
            matched = [path for path in paths if not path.is_dir() or path.suffix in {".nwb", ".zarr"}] or paths
        except (ValueError, NotImplementedError, IndexError) as error:
            problem = f"pattern {pattern!r}: {error}"
            raise SpecError(f"data spec {spec.name!r}", found=problem, expected="a glob pattern") from error
        if not matched:
            names = [path.name for path in folder.iterdir()]
            raise DataFormatError(
                f"data spec {spec.name!r}",
                found=f"nothing that matches {pattern!r} in {str(folder)!r}",
                next_step=f"The folder has: {shown(names) or 'nothing'}. Check 'root' and 'files'",
            )
        files.update(matched)
    check_inside(folder, files)
    return sorted(files)


def check_inside(folder: Path, files: Collection[Path]) -> None:
    """Raise DataFormatError if a file is a link that leaves the folder."""
    inside = folder.resolve()
    for path in files:
        if not path.resolve().is_relative_to(inside):
            raise DataFormatError(
                str(path),
                found=f"a link that leaves the data folder, to {path.resolve()}",
                expected="files below the root",
                next_step="Set 'root' to a folder with the linked files, or copy them",
            )


def name_sessions(spec: DataSpec, files: Sequence[Path | RemoteFile], headers: Sequence[dict[str, str]]) -> list[Session]:
    """Return the sessions of files with ``headers``, in order, named after subject and, if a subject has several, session."""
    original = [_animal_of(spec, path, header) for path, header in zip(files, headers, strict=True)]
    subjects = [spec.rename.get(name, name) for name in original]
    several = [subjects.count(subject) > 1 and spec.sessions == "separate" for subject in subjects]
    names = [header.get("session_id") or _stem(path) for path, header in zip(files, headers, strict=True)]
    animals = [f"{subject}_{name}" if long else subject for subject, name, long in zip(subjects, names, several, strict=True)]
    animals = [spec.rename.get(animal, animal) for animal in animals]
    safe = safe_names(animals)
    sessions, aliases = [], []
    for path, header, name, subject, session, animal in zip(files, headers, original, subjects, names, animals, strict=True):
        attrs = header if safe[animal] == animal else header | {"original_name": animal}
        sessions.append(Session(spec.rename.get(safe[animal], safe[animal]), session, path, attrs))
        aliases.append({name, subject, animal, safe[animal], sessions[-1].animal})
    known = {f"{subject}_{session.name}" for subject, session in zip(subjects, sessions, strict=True)}.union(*aliases)
    _check_settings_of_animals(spec, known, {session.animal for session in sessions})
    remaining = [session for session, names in zip(sessions, aliases, strict=True) if not names & set(spec.exclude)]
    _check_names(spec, remaining)
    changed = {session.attrs["original_name"]: session.animal for session in remaining if "original_name" in session.attrs}
    if changed:
        pairs = ", ".join(f"{name!r} is {animal}" for name, animal in changed.items())
        LOG.warning("Names that cannot be nodes, files and modules were changed (set 'rename' to choose them): %s", pairs)
    return remaining


def _check_settings_of_animals(spec: DataSpec, known: set[str], animals: set[str]) -> None:
    """Raise SpecError if a setting is of an animal that no file has; ``known`` are all names of ``animals``."""
    for setting, allowed in (("exclude", known), ("rename", known), ("shift", animals)):
        for name in getattr(spec, setting):
            if name not in allowed:
                next_step = did_you_mean(name, sorted(allowed))
                raise SpecError(f"data spec {spec.name!r}", found=f"{setting}: no animal {name!r}", next_step=next_step)


def safe_names(names: Sequence[str]) -> dict[str, str]:
    """Return name -> name that can be a tree node, file and module; names that can are unchanged, and new ones differ from all.

    Names that can but differ in case only are unchanged too: such recordings are refused with their files. See
    :func:`neuromvm.schema.safe_names`.

    >>> safe_names(["M 10", "rat/1", "Žofie", "mitt", "rat 1"])
    {'M 10': 'M_10', 'rat/1': 'rat_1', 'Žofie': 'Zofie', 'mitt': 'mitt', 'rat 1': 'rat_1_2'}
    """
    safe = schema.safe_names(names, "_")
    return {name: name if schema.is_animal_name(name) else new for name, new in safe.items()}


def join_sessions(sessions: Sequence[Session], datasets: Sequence[xr.Dataset], match_units: str | None = None) -> xr.Dataset:
    """Return the trials of all sessions one after another, over the units that all sessions have.

    Units with the same value of the column ``match_units`` are the same; ``"id"``: those with the same id. By default ids must
    not be mere row numbers in all files, which say nothing about units: DataFormatError is raised. Trials get new numbers;
    ``session(trial)`` and ``trial_id(trial)`` are their session and number in it.
    """
    if len(sessions) == 1:
        return datasets[0].assign_attrs(sessions[0].attrs)
    if match_units is None and all(map(_are_row_numbers, datasets)):
        raise DataFormatError(
            f"animal {sessions[0].animal}",
            found=f"units numbered by row in {shown([session.path.name for session in sessions])}, which does not match them",
            expected="ids that are those of the same units in all files",
            next_step="Set match_units in the data spec to the column of units that says so, or to 'id' if the rows are matched",
        )
    if match_units not in (None, "id"):
        datasets = [_with_units_of(match_units, session, dataset) for session, dataset in zip(sessions, datasets, strict=True)]
    shared = reduce(np.intersect1d, [dataset["unit"].values for dataset in datasets])
    absent = len({unit for dataset in datasets for unit in dataset["unit"].values.tolist()}) - len(shared)
    parts = []
    for session, dataset in zip(sessions, datasets, strict=True):
        names = np.full(dataset.sizes["trial"], session.name)
        part = dataset.sel(unit=shared).drop_attrs(deep=False)
        part = part.assign_coords(trial_id=("trial", dataset["trial"].values), session=("trial", names))
        parts.append(part.drop_vars("trial"))
    # unit columns that differ between sessions (rates, quality) are not properties of the unit
    columns = sorted({str(name) for part in parts for name in part.coords if "unit" in part[name].dims} - {"unit"})
    differ = [name for name in columns if not _agrees(name, parts)]
    parts = _with_labels_of_one_type([part.drop_vars(differ, errors="ignore") for part in parts])
    joined = xr.concat(parts, dim="trial", data_vars="minimal", coords="minimal", compat="override", join="exact")
    joined = joined.assign_coords(trial=np.arange(joined.sizes["trial"]))
    attrs = dict(sessions[0].attrs)
    for name in ("source_file", "sha256", "session_id", "identifier"):
        attrs[name] = ", ".join(session.attrs.get(name, "") for session in sessions)
    account = [
        *_total_account(datasets),
        Dropped("units", "not in all sessions", absent),
        Dropped("columns of units", f"differ between sessions: {', '.join(differ)}", len(differ)),
    ]
    return with_dropped(joined.assign_attrs(attrs), account)


def _are_row_numbers(dataset: xr.Dataset) -> bool:
    """Return whether ids of units are numbers of rows, from 0 or 1; units that were left out are counted in."""
    ids = dataset["unit"].to_numpy()
    if ids.dtype.kind not in "iu" or (np.diff(ids.astype(np.int64)) <= 0).any():
        return False
    rows = len(ids) + sum(line.count for line in dropped(dataset) if line.what == "units")
    return not len(ids) or bool(ids[0] >= 0 and (ids[-1] < rows or (ids[0] >= 1 and ids[-1] <= rows)))


def _with_units_of(column: str, session: Session, dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with the values of a column of units in place of their ids."""
    columns = [str(name) for name, values in dataset.coords.items() if values.dims == ("unit",) and name != "unit"]
    name = f"unit_{column}" if f"unit_{column}" in columns else column
    if name not in columns:
        next_step = did_you_mean(column, [*columns, "id"])
        raise MissingTableError(str(session.path), found=f"match_units: no column {column!r} of units", next_step=next_step)
    values = dataset[name].to_numpy()
    texts = as_text(values)
    named = np.flatnonzero(texts != "")
    if len(np.unique(texts[named])) < len(named):
        problem = f"match_units: values of the column {column!r} that several units share"
        raise DataFormatError(str(session.path), found=problem, expected="one unit for each value")
    matched = dataset.isel(unit=named).drop_vars(name).assign_coords(unit=values[named])
    return with_dropped(matched, [Dropped("units", f"{column} has no value", len(values) - len(named))])


def _with_labels_of_one_type(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Turn labels of trials whose types differ between sessions into text."""
    labels = [name for name, values in parts[0].coords.items() if values.dims == ("trial",)]
    mixed = [name for name in labels if len({part[name].dtype.kind for part in parts}) > 1]
    return [part.assign_coords({name: ("trial", as_text(part[name].values)) for name in mixed}) for part in parts]


def _total_account(datasets: Sequence[xr.Dataset]) -> list[Dropped]:
    """Add up what was dropped in all sessions."""
    counts: Counter[tuple[str, str]] = Counter()
    for dataset in datasets:
        for line in dropped(dataset):
            counts[line.what, line.reason] += line.count
    return [Dropped(*key, count) for key, count in counts.items()]


def _agrees(name: str, parts: Sequence[xr.Dataset]) -> bool:
    if not all(name in part.coords for part in parts):
        return False
    column = parts[0][name].reset_coords(drop=True)
    return all(part[name].reset_coords(drop=True).equals(column) for part in parts)


def _stem(path: Path | RemoteFile) -> str:
    """Return the name of a file without .nwb, .nwb.zarr or another ending."""
    return path.stem.removesuffix(".nwb")


def _animal_of(spec: DataSpec, path: Path | RemoteFile, header: dict[str, str]) -> str:
    if spec.animal == "file":
        return _stem(path)
    if spec.animal == "folder":
        return (path.folder if isinstance(path, RemoteFile) else path.absolute().parent.name).lower()
    if spec.animal not in header:
        raise DataFormatError(
            str(path),
            found=f"no {spec.animal}",
            expected="the name of the animal",
            next_step="Set 'animal: file' to name animals after files",
        )
    return header[spec.animal]


def _check_names(spec: DataSpec, sessions: Sequence[Session]) -> None:
    by_name: dict[str, Session] = {}
    by_content: dict[str, Session] = {}
    for session in sessions:
        twin = by_content.setdefault(session.attrs.get("sha256", str(session.path)), session)
        if twin is not session:
            raise SchemaError(
                f"animal {session.animal!r}",
                found=f"{_file_names(twin, session)} are copies of one recording",
                expected="different recordings, since a copy would count as a second animal",
                next_step="Remove one of them",
            )
        check_animal_name(session.animal)
        # names become files, and some file systems ignore case
        namesake = by_name.setdefault(session.animal.casefold(), session)
        if namesake is not session and (spec.sessions == "separate" or namesake.animal != session.animal):
            raise SchemaError(
                f"animal {session.animal!r}",
                found=f"the same name in {_file_names(namesake, session)}",
                expected="a name for every recording",
                next_step="Set 'animal: file', 'rename', or 'sessions: concatenate' in the data spec",
            )


def _file_names(session: Session, twin: Session) -> str:
    """Return the names of two files, or their paths if the names are equal."""
    same_name = session.path.name == twin.path.name
    return f"{session.path} and {twin.path}" if same_name else f"{session.path.name} and {twin.path.name}"
