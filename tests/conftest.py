"""What all tests share: one thread, and small recordings with a known answer."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: two workers on two cores must not fight
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import xarray as xr

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real recordings that tests read where they exist."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real recordings (../shared/data) are not on this machine")
    return folder


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let child processes of a test receive SIGINT: children of a shell's background job inherit that it is ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def with_trial_label(tree: xr.DataTree, label: str, of: Callable[[xr.Dataset], np.ndarray]) -> xr.DataTree:
    """Return the tree with a label added to, or replaced on, the trials of every animal."""
    children = {
        name: xr.DataTree(node.to_dataset(inherit=False).assign_coords({label: ("trial", of(node.to_dataset()))}))
        for name, node in tree.children.items()
    }
    return xr.DataTree(dataset=tree.to_dataset(), children=children)


def tuned_recordings(
    animals: dict[str, tuple[int, int]], classes: str = "ABC", tuning: float = 1.0, seed: int = 0
) -> xr.DataTree:
    """Return Poisson recordings, animal -> (units, trials); each unit's rate depends on the odor; tuning 0 is pure noise."""
    random = np.random.default_rng(seed)
    bins, bin_width = 20, 0.1
    children = {}
    for name, (units, trials) in animals.items():
        odor = random.permutation(np.resize(list(classes), trials))
        gains = np.exp(tuning * random.normal(size=(len(classes), units)))
        rate = gains[[classes.index(one) for one in odor]][:, None] * np.ones((1, bins, 1))
        children[name] = xr.DataTree(
            xr.Dataset(
                {"spike_count": (("trial", "time", "unit"), random.poisson(0.3 * rate).astype(np.uint8))},
                coords={
                    "trial": np.arange(trials),
                    "unit": np.arange(units),
                    "odor": ("trial", odor),
                    "onset": ("trial", np.arange(trials) * 5.0),
                },
            )
        )
    time = -1 + bin_width * (np.arange(bins) + 0.5)
    return xr.DataTree(
        dataset=xr.Dataset(coords={"time": ("time", time, {"bin_width": bin_width, "units": "s"})}), children=children
    )
