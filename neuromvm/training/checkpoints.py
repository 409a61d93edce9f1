"""Checkpoints of a stack in training: safetensors and JSON, the last two kept."""

import json
import re
import shutil
from pathlib import Path

import torch

from neuromvm.files import read_json, write_atomically
from neuromvm.folders.records import CheckpointState
from neuromvm.folders.tensors import read_tensors, write_tensors
from neuromvm.training.trainer import StackState

KEPT = 2
DELETE_FOLDER = "Delete the folder of this checkpoint and resume from the one before"


def save_checkpoint(folder: Path, state: StackState) -> None:
    """Write the state to ``epoch-NNNNNN``; ``state.json`` is written last and marks the checkpoint as complete."""
    target = folder / f"epoch-{state.epoch:06d}"
    progress = {"epoch": state.epoch, "best_loss": state.best_loss, "best_epoch": state.best_epoch}
    write_tensors(target / "state.safetensors", {name: value.detach().cpu().numpy() for name, value in state.tensors.items()})
    write_atomically(target / "state.json", json.dumps(progress).encode())
    remove_other_checkpoints(folder)


def remove_other_checkpoints(folder: Path) -> None:
    """Remove all checkpoints but the newest whole ones, also what a killed process has written or removed in part."""
    for checkpoint in _checkpoints(folder) - set(_whole(folder)[-KEPT:]):
        shutil.rmtree(checkpoint)


def load_latest_checkpoint(folder: Path) -> StackState | None:
    """Return the newest whole checkpoint, or None if there is none; raises RunFolderError if it is damaged."""
    whole = _whole(folder)
    if not whole:
        return None
    progress = read_json(whole[-1] / "state.json", CheckpointState, DELETE_FOLDER)
    arrays = read_tensors(whole[-1] / "state.safetensors", DELETE_FOLDER, incomplete={"last"})
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    return StackState(progress["epoch"], tensors, progress["best_loss"], progress["best_epoch"])


def _whole(folder: Path) -> list[Path]:
    return sorted(path for path in _checkpoints(folder) if (path / "state.json").is_file())


def _checkpoints(folder: Path) -> set[Path]:
    folders = folder.glob("epoch-*") if folder.is_dir() else ()
    return {path for path in folders if re.fullmatch(r"epoch-\d{6}", path.name)}
