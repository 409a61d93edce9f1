"""Checkpoints of a stack in training: safetensors and JSON, the last two kept."""

import json
import re
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from neuromvm.errors import RunFolderError
from neuromvm.files import write_atomically
from neuromvm.training.trainer import StackState

KEPT = 2


def save_checkpoint(folder: Path, state: StackState) -> None:
    """Write the state to ``epoch-NNNNNN``; ``state.json`` is written last and marks the checkpoint as complete."""
    target = folder / f"epoch-{state.epoch:06d}"
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    progress = {"epoch": state.epoch, "best_loss": state.best_loss, "best_epoch": state.best_epoch}
    write_atomically(target / "state.safetensors", save(tensors))
    write_atomically(target / "state.json", json.dumps(progress).encode())
    for checkpoint in _whole(folder)[:-KEPT]:
        shutil.rmtree(checkpoint)


def load_latest_checkpoint(folder: Path) -> StackState | None:
    """Return the newest whole checkpoint, or None if there is none; raises RunFolderError if it is damaged."""
    whole = _whole(folder)
    if not whole:
        return None
    try:
        progress = json.loads((whole[-1] / "state.json").read_text())
        tensors = load((whole[-1] / "state.safetensors").read_bytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise RunFolderError(
            str(whole[-1]), found=f"a damaged checkpoint ({error})", next_step="Delete this folder and resume from the one before"
        ) from error
    return StackState(progress["epoch"], tensors, progress["best_loss"], progress["best_epoch"])


def _whole(folder: Path) -> list[Path]:
    folders = folder.glob("epoch-*") if folder.is_dir() else ()
    return sorted(path for path in folders if re.fullmatch(r"epoch-\d{6}", path.name) and (path / "state.json").is_file())
