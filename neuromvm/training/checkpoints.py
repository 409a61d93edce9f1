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
    """Write the state below its epoch's name; ``state.json`` comes last and makes the checkpoint whole."""
    target = folder / f"epoch-{state.epoch:06d}"
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    about = {"epoch": state.epoch, "best_loss": state.best_loss, "best_epoch": state.best_epoch}
    write_atomically(target / "state.safetensors", save(tensors))
    write_atomically(target / "state.json", json.dumps(about).encode())
    for old in _whole(folder)[:-KEPT]:
        shutil.rmtree(old)


def load_latest_checkpoint(folder: Path) -> StackState | None:
    """Return the newest whole checkpoint, or None if there is none.

    Raises
    ------
    RunFolderError
        If it is damaged.
    """
    whole = _whole(folder)
    if not whole:
        return None
    try:
        about = json.loads((whole[-1] / "state.json").read_text())
        tensors = load((whole[-1] / "state.safetensors").read_bytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise RunFolderError(
            str(whole[-1]), found=f"a damaged checkpoint ({error})", next_step="Delete this folder and resume from the one before"
        ) from error
    return StackState(about["epoch"], tensors, about["best_loss"], about["best_epoch"])


def _whole(folder: Path) -> list[Path]:
    found = folder.glob("epoch-*") if folder.is_dir() else ()
    return sorted(path for path in found if re.fullmatch(r"epoch-\d{6}", path.name) and (path / "state.json").is_file())
