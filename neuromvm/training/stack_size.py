"""How many replicas of a model are computed together: as many as fit, and one where a stack is slower than one by one."""

import xarray as xr

from neuromvm.build import build_model
from neuromvm.data.windows import window_shape
from neuromvm.schema import animals
from neuromvm.specs import ModelSpec, TrainingSpec

LARGE = 2_000_000  # weights of a model that keeps the processor busy alone: a stack of them is slower than one by one
MOST_REPLICAS = 60  # more together are no quicker on one core, and a pack of refits that is cut off is lost
MEMORY = 1e9  # [byte] of a stack in training
COPIES = 16  # of a batch that a step holds: inputs, targets, noise, and what the backward pass needs


def largest_stack(weights: int, rows: int, features: int) -> int:
    """Return how many replicas a step on a CPU should compute together.

    Parameters
    ----------
    weights
        Of one replica.
    rows, features
        Of its batches, features of all animals.

    Examples
    --------
    >>> largest_stack(10_000, 75, 500), largest_stack(12_000_000, 128, 3_705)
    (60, 1)
    """
    if weights > LARGE:
        return 1
    each = 4 * (5 * weights + COPIES * rows * features)  # a weight, its gradient, two moments and the best so far
    return max(1, min(MOST_REPLICAS, int(MEMORY / each)))


def stack_size(samples: xr.DataTree, model: ModelSpec, training: TrainingSpec) -> int:
    """Return how many replicas of a model train well as one stack.

    It divides null data sets and cells of sweeps into stacks. Splits and seeds of one training are always one stack, whose steps
    are computed in parts of this size.

    Examples
    --------
    >>> stack_size(samples, ModelSpec(sharing="mmvm"), TrainingSpec())  # doctest: +SKIP
    60
    """
    windows = {name: window_shape(dataset) for name, dataset in animals(samples)}
    weights = sum(one.numel() for one in build_model(model, windows, seed=0).parameters())
    rows = min(training.batch_size, max(node["label"].size for node in samples.children.values()))
    return largest_stack(weights, rows, sum(one.features for one in windows.values()))
