"""Several trainings as one stack, each then kept as if it had been done alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from neuromvm.data.replicas import Replica
from neuromvm.errors import TrainingError
from neuromvm.files import read_dataset, read_json, write_atomically, write_json, write_tree
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.training import NEUTRAL
from neuromvm.training.fit import train_stack


class Part(NamedTuple):
    """One of several trainings: what :func:`neuromvm.training.fit.fit` would be given."""

    model: ModelSpec
    training: TrainingSpec
    folder: Path

    def replicas(self, splits: xr.DataTree) -> list[Replica]:
        """Return its members, in the order of a training alone, each with the beta of its model."""
        numbers = next(iter(splits.children.values()))["split"].to_numpy()
        return [Replica(int(split), seed, beta=self.model.beta) for split in numbers for seed in self.training.seeds]


def fit_together(samples: xr.DataTree, splits: xr.DataTree, parts: Sequence[Part], folder: Path) -> None:
    """Train models that differ in beta and seeds alone as one stack, and give each the folder that it alone would have.

    Parameters
    ----------
    samples, splits
        As for :func:`neuromvm.training.fit.fit`.
    parts
        The trainings. Their folders get all that ``fit`` writes, but for checkpoints; a record's seconds are the part's share.
    folder
        Where the stack is trained; an unfinished training of the same parts is continued.

    Raises
    ------
    TrainingError
        If parts differ in more, or a loss of any of them is not finite.

    Notes
    -----
    A member draws from its seed and split alone, so the parts are what they would be alone, to rounding: a product of stacked
    matrices may be summed in another order.

    Examples
    --------
    >>> parts = [Part(model.model_copy(update={"beta": beta}), training, out / str(beta)) for beta in (0, 1)]  # doctest: +SKIP
    >>> fit_together(samples, splits, parts, out / "stack")  # doctest: +SKIP
    """
    model, training = parts[0].model, parts[0].training
    for part in parts:
        same = _but(part.model, "beta") == _but(model, "beta") and _but(part.training, "seeds") == _but(training, "seeds")
        if not same:
            raise TrainingError(
                "trainings of a stack", found="other settings of model or training", expected="none but beta and seeds differ"
            )
    replicas = list(dict.fromkeys(replica for part in parts for replica in part.replicas(splits)))
    fitted = train_stack(samples, splits, model, training, replicas, folder=folder, progress=False)
    about, pairs = read_json(folder / "training.json"), read_dataset(folder / "pairs.nc")
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for part in parts:
        members = [replicas.index(replica) for replica in part.replicas(splits)]
        alone = _members(fitted, members, part.model)
        settings = {
            "model": part.model.model_dump(mode="json"),
            "training": part.training.model_dump(mode="json", exclude=NEUTRAL),
            "replicas": [replica.about() for replica in alone.replicas],
        }
        write_json(part.folder / "training.json", about | settings)
        lines = [json.dumps(record) + "\n" for record in _records(records, members)]
        write_atomically(part.folder / "metrics.jsonl", "".join(lines).encode())
        write_tree(part.folder / "pairs.nc", pairs.isel(replica=members))
        alone.save(part.folder)  # fitted.json says that the rest is whole, so it comes last


def _but(spec: ModelSpec | TrainingSpec, field: str) -> dict[str, Any]:
    return spec.model_dump(exclude={field})


def _members(stack: FittedStack, members: list[int], model: ModelSpec) -> FittedStack:
    """Return some members of a stack as a stack of their own, whose beta is that of their model."""
    return FittedStack(
        model,
        [stack.replicas[member]._replace(beta=None) for member in members],
        {name: value[members] for name, value in stack.weights.items()},
        {name: [each[member] for member in members] for name, each in stack.scalers.items()},
        stack.windows,
        stack.trained_on,
        stack.conditions,
    )


def _records(records: list[dict[str, Any]], members: list[int]) -> list[dict[str, Any]]:
    """Return the epochs of some members: until the last of them has stopped, others may go on."""
    own = []
    for record in records:
        mine = {key: [value[member] for member in members] if isinstance(value, list) else value for key, value in record.items()}
        own.append(mine | {"seconds": round(record["seconds"] * len(members) / len(record["loss"]), 4)})
        if all(mine["stopped"]):
            break
    return own
