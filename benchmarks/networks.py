"""Networks that are timed, and samples of noise of their size."""

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from neuromvm.specs import ModelSpec, TrainingSpec
    from neuromvm.training.batches import StackBatches
    from neuromvm.training.trainer import StackTrainer

CONDITIONS = 4
ENDLESS = 10**6  # epochs: a side stops when it has been timed


class Size(NamedTuple):
    """Features of each animal, and tuples in a batch and an epoch."""

    units: tuple[int, ...]
    bins: int
    batch: int
    steps: int
    networks: dict[str, object]

    @property
    def samples(self) -> int:
        """Tuples of an epoch."""
        return self.batch * self.steps


# 10 bins of 92, 79, 104, 49 and 46 units, and networks as wide as their input: those of the paper.
PAPER = Size((92, 79, 104, 49, 46), 10, 128, 4, {"kind": "published"})


def small(*hidden: int) -> Size:
    """Return five animals of about 100 features and hidden layers of these widths."""
    return Size((92, 110, 104, 98, 96), 1, 72, 8, {"kind": "mlp", "hidden": list(hidden)})


def noise_samples(size: Size) -> "tuple[xr.DataTree, xr.DataTree]":
    """Return samples and splits of a size: every trial is trained on, conditions are equally frequent in all animals."""
    import xarray as xr

    from neuromvm.schema import Part
    from neuromvm.specs import SampleSpec

    random, classes = np.random.default_rng(0), [chr(ord("A") + number) for number in range(CONDITIONS)]
    samples, splits = {}, {}
    for number, units in enumerate(size.units):
        codes = random.permutation(np.resize(np.arange(CONDITIONS, dtype=np.int16), size.samples))
        counts = random.poisson(1.0, (size.samples, 1, size.bins, units)).astype(np.uint8)
        activity = xr.DataArray(counts, dims=("trial", "window", "bin", "unit"), attrs={"bin_width": 0.01})
        label = xr.DataArray(codes[:, None], dims=("trial", "window"), attrs={"classes": json.dumps(classes)})
        trials = {"trial": np.arange(size.samples)}
        samples[f"rat{number}"] = xr.Dataset(
            {"activity": activity, "label": label, "match": label}, coords={**trials, "window": [0.0]}
        )
        part = np.full((1, size.samples), Part.TRAIN, dtype=np.int8)
        splits[f"rat{number}"] = xr.Dataset({"part": (("split", "trial"), part)}, coords={"split": [0], **trials})
    tree = xr.DataTree.from_dict(samples)
    tree.attrs = {"sample_spec": SampleSpec(label=["odor"], transform="none").model_dump_json()}
    return tree, xr.DataTree.from_dict(splits)


def specs(size: Size, sharing: dict[str, object], **settings: object) -> "tuple[ModelSpec, TrainingSpec]":
    """Return a model of this size, and a training that never ends with these settings."""
    from neuromvm.specs import ModelSpec, TrainingSpec

    model = ModelSpec.model_validate({"sharing": sharing, "networks": size.networks})
    training = TrainingSpec.model_validate({"epochs": ENDLESS, "batch_size": size.batch, "device": "cpu", **settings})
    return model, training


def batches(size: Size, sharing: dict[str, object], replicas: int = 1) -> "StackBatches":
    """Return the batches of a stack whose replicas differ in seed."""
    import torch

    from neuromvm.data.replicas import Replica
    from neuromvm.training.batches import StackBatches
    from neuromvm.training.fit import batch_settings

    samples, splits = noise_samples(size)
    settings = batch_settings(*specs(size, sharing), samples.children)
    members = [Replica(0, seed) for seed in range(replicas)]
    return StackBatches(samples, splits, settings, members, device=torch.device("cpu"))


def trainer(size: Size, sharing: dict[str, object], replicas: int = 1, **settings: object) -> "StackTrainer":
    """Return the trainer that ``neuromvm.fit`` runs, with these settings of the training."""
    from neuromvm.training.fit import make_trainer

    return make_trainer(*specs(size, sharing, **settings), batches(size, sharing, replicas))


def matched_samples(size: Size, sharing: dict[str, object]) -> "dict[str, Tensor]":
    """Return the scaled samples of one epoch, animal -> ``(sample, feature)``; those of a row are of the same condition."""
    source = batches(size, sharing)
    epoch = source.batch(source.epoch_pairs(0).reshape(1, size.samples, -1), None)
    return {name: values[0] for name, values in epoch.inputs.items()}
