"""How many replicas of a model are computed together: as many as fit into memory, or 1 where a model is large."""

import itertools

import xarray as xr

from neuromvm.build import build_model
from neuromvm.data.windows import window_shape
from neuromvm.schema import animals
from neuromvm.specs import ModelSpec, TrainingSpec

LARGE = 2_000_000  # weights of a model that keeps a processor busy alone: a stack is then slower than its replicas in turn
MOST_REPLICAS = 60  # larger stacks are not faster on a core
MEMORY = 1e9  # [byte] of a stack in training
COPIES = 16  # of a batch that a step holds: inputs, targets, noise, and what the backward pass needs


def largest_stack(weights: int, rows: int, features: int) -> int:
    """Return how many replicas a step on a CPU should compute together, from weights of a replica, rows and features of a batch.

    Examples
    --------
    >>> largest_stack(10_000, 75, 500), largest_stack(12_000_000, 128, 3_705)
    (60, 1)
    """
    if weights > LARGE:
        return 1
    size = 4 * (5 * weights + COPIES * rows * features)  # weight, gradient, two moments of Adam, and the best weight so far
    return max(1, min(MOST_REPLICAS, int(MEMORY / size)))


def stack_parts(replicas: int, largest: int) -> list[slice]:
    """Divide a stack into parts of about equal size, of at most ``largest`` replicas.

    Examples
    --------
    >>> stack_parts(5, 2)
    [slice(0, 1, None), slice(1, 3, None), slice(3, 5, None)]
    """
    parts = -(-replicas // largest)
    return [slice(*bounds) for bounds in itertools.pairwise(replicas * part // parts for part in range(parts + 1))]


def stack_size(samples: xr.DataTree, model: ModelSpec, training: TrainingSpec) -> int:
    """Return how many replicas of a model train well as a stack: null data sets and cells of sweeps are grouped by it.

    Splits and seeds of a training are always one stack, whose steps are computed in parts of this size.
    """
    windows = {name: window_shape(dataset) for name, dataset in animals(samples)}
    weights = sum(parameter.numel() for parameter in build_model(model, windows, seed=0).parameters())
    rows = min(training.batch_size, max(node["label"].size for node in samples.children.values()))
    return largest_stack(weights, rows, sum(window.features for window in windows.values()))
