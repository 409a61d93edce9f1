"""Trainings that cells share: cells with the same model, data and splits train it once."""

import os
import shutil
from pathlib import Path

from neuromvm.errors import RunFolderError
from neuromvm.folders.sweep import SweepFolder


class SharedTrainings:
    """Finished model folders of a sweep by the hash of their settings and data.

    A cell takes finished trainings and gives its own. Cells do not wait for each other: if two train the same model at once,
    the results are equal and only one is kept.
    """

    def __init__(self, sweep: SweepFolder) -> None:
        self.path = sweep.path / "trainings"

    def __contains__(self, name: str) -> bool:
        return (self.path / name).is_dir()

    def take(self, name: str, folder: Path) -> None:
        """Fill a model folder with a finished training, if there is one; an unfinished training in it is replaced."""
        if (folder / "fitted.json").is_file() or name not in self:
            return
        shutil.rmtree(folder, ignore_errors=True)
        _share_files(self.path / name, folder)

    def give(self, name: str, folder: Path) -> None:
        """Keep a finished model folder, without its checkpoints, or files that a cell has added to one."""
        if name in self:
            _share_files(folder, self.path / name)
            return
        temporary = self.path / f".{name}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        _share_files(folder, temporary)
        try:
            temporary.rename(self.path / name)
        except OSError:  # another cell has given the same training
            shutil.rmtree(temporary)


def _share_files(source: Path, target: Path) -> None:
    """Share the files of a folder; ``fitted.json`` marks a model folder as complete and comes last."""
    target.mkdir(parents=True, exist_ok=True)
    files = [file for file in source.iterdir() if file.is_file() and not file.name.startswith(".")]
    for file in sorted(files, key=lambda file: file.name == "fitted.json"):
        share_file(file, target / file.name)


def share_file(source: Path, target: Path) -> None:
    """Link a file to a second name, or copy it where the file system has no links; RunFolderError if it does not exist.

    Files of a run are replaced and never changed in place, so a replacement under one name leaves the other as it was.
    """
    if target.is_file():
        return
    if not source.is_file():
        raise RunFolderError(str(source), found="no such file", next_step="Run the sweep again: it writes the file")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
