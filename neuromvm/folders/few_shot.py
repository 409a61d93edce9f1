"""Layout of few-shot trainings in a run folder, read without torch.

``few_shot/<model>/<animal>/``: ``base/``, the stack fitted without the animal; ``splits/k-<trials>.nc``, its few training
trials; ``adapted/k-<trials>.nc`` and ``scratch/k-<trials>.nc``, latents of all animals.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import xarray as xr

from neuromvm.errors import RunFolderError, SpecError
from neuromvm.folders.study import Study, read_latents, read_splits

ALL = "all"
Content = Literal["splits", "adapted", "scratch"]
Trials = int | None  # training trials a class of the new animal; None is all of them


class FewShotFolder:
    """The part of an open run folder that few-shot trainings fill."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.path = study.path / "few_shot"

    @property
    def models(self) -> list[str]:
        """Models of the run that have few-shot latents."""
        return [name for name in self.study.models if any(self.path.glob(f"{name}/*/adapted/k-*.nc"))]

    def animals(self, model: str) -> list[str]:
        """Return the animals to which a model was adapted, in the order of the run."""
        return [name for name in self.study.splits.children if any((self.path / model / name).glob("adapted/k-*.nc"))]

    def trials(self, model: str, animal: str) -> list[Trials]:
        """Return the numbers of training trials a class with latents ``adapted`` and ``scratch``, from few to all."""
        files = (self.path / model / animal / "adapted").glob("k-*.nc")
        adapted = [read_trials(file.stem.removeprefix("k-")) for file in files]
        return from_few_to_all([number for number in adapted if self.file(model, animal, "scratch", number).is_file()])

    def file(self, model: str, animal: str, content: Content, trials: Trials) -> Path:
        """Return the file of splits or latents; latents from scratch with all trials are those of the run."""
        if content == "scratch" and trials is None:
            return self.study.model_folder(model) / "latents.nc"
        return self.path / model / animal / content / f"k-{write_trials(trials)}.nc"

    def splits(self, model: str, animal: str, trials: Trials) -> xr.DataTree:
        """Return the splits in which an animal has few training trials."""
        return read_splits(self.file(model, animal, "splits", trials))

    def latents(self, model: str, animal: str, method: Literal["adapted", "scratch"], trials: Trials) -> xr.DataTree:
        """Return latents of all animals, or raise RunFolderError if this has not been trained."""
        file = self.file(model, animal, method, trials)
        if not file.is_file():
            raise RunFolderError(str(file), found="no such file", next_step=f"Train it: neuromvm few-shot {self.study.path}")
        return read_latents(file)


def write_trials(trials: Trials) -> str:
    """Write a number of trials a class as in file names and options.

    >>> write_trials(4), write_trials(None)
    ('4', 'all')
    """
    return ALL if trials is None else str(trials)


def read_trials(text: str) -> Trials:
    """Read what :func:`write_trials` writes; SpecError if it is neither a number above 0 nor ``all``.

    >>> read_trials("4"), read_trials("all")
    (4, None)
    """
    text = text.strip()
    if text == ALL:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SpecError(
            "trials", found=f"{text!r}", expected="numbers of training trials a class, or all", next_step="1,2,4,8,all"
        )
    return int(text)


def from_few_to_all(per_class: Sequence[Trials]) -> list[Trials]:
    """Sort numbers of trials a class, each once.

    >>> from_few_to_all([None, 4, 1, 4])
    [1, 4, None]
    """
    return sorted(set(per_class), key=lambda number: float("inf") if number is None else number)
