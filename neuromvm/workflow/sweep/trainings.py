"""Trainings that cells share: two cells with the same model, data and splits train it once."""

import os
import shutil
from pathlib import Path

from neuromvm.errors import RunFolderError
from neuromvm.folders.sweep import SweepFolder

CHECKPOINTS = "checkpoints"


class SharedTrainings:
    """Finished model folders by the hash of what they depend on.

    A cell takes what is there and gives what it has trained. Nothing waits: where two cells train the same at once, both
    results are the same and the first is kept.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, sweep: SweepFolder) -> "SharedTrainings":
        """Return those of a sweep."""
        return cls(sweep.path / "trainings")

    def __contains__(self, name: str) -> bool:
        return (self.path / name).is_dir()

    def take(self, name: str, folder: Path) -> bool:
        """Fill a model folder with a finished training, if there is one; say whether."""
        if (folder / "fitted.json").is_file() or name not in self:
            return False
        # What was begun there is replaced: the finished training is what it would have become.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # fitted.json says that the rest is whole, so it comes last.
        for file in sorted((self.path / name).iterdir(), key=lambda file: file.name == "fitted.json"):
            share_file(file, folder / file.name)
        return True

    def give(self, name: str, folder: Path) -> None:
        """Keep a finished model folder for other cells, without its checkpoints."""
        target = self.path / name
        if name in self:  # what a cell has made of it since, such as latents, is shared too
            for file in _whole(folder):
                share_file(file, target / file.name)
            return
        temporary = self.path / f".{name}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for file in _whole(folder):
            share_file(file, temporary / file.name)
        try:
            temporary.rename(target)
        except OSError:  # another cell was quicker
            shutil.rmtree(temporary)


def _whole(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]


def share_file(source: Path, target: Path) -> None:
    """Let a file appear in a second place, as a second name where the file system can.

    Files of a run are never changed in place, only replaced: the other name keeps what it had.

    Raises
    ------
    RunFolderError
        If the source is not there.
    """
    if target.is_file():
        return
    if not source.is_file():
        raise RunFolderError(str(source), found="no such file", next_step="Run the sweep again: it makes it anew")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
