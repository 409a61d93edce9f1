"""The cells of a sweep: one experiment for every combination of settings."""

import zlib
from copy import deepcopy
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from neuromvm.specs import ExperimentSpec
from neuromvm.specs.files import set_value, validated
from neuromvm.specs.sweep import Drawn, RandomSearch, SweepSpec

DIGITS = 4  # significant digits of drawn numbers


class Variation(NamedTuple):
    """The settings of one cell, as written in the sweep, and the experiment that results."""

    settings: dict[str, Any]
    experiment: ExperimentSpec


def variations(sweep: SweepSpec) -> list[Variation]:
    """Return every combination of a sweep, checked: the grid with its last field varying fastest, within each the random draws.

    Combinations that result in the same experiment occur once. SpecError names the combination with a wrong setting.

    >>> experiment = {"name": "odors", "data": {"spec": "simulated_rats"}, "samples": {"label": "odor"}}
    >>> experiment["models"] = {"mmvm": {"sharing": "mmvm"}, "bound": {"sharing": "autoencoder"}}
    >>> sweep = SweepSpec(name="rates", experiment=experiment, grid={"models.*.beta": [0.01, 0.1]})
    >>> [[model.beta for model in cell.experiment.models.values()] for cell in variations(sweep)]
    [[0.01, 1.0], [0.1, 1.0]]
    """
    cells: dict[str, Variation] = {}
    draws = [{}] if sweep.random is None else draw(sweep.random)
    for values, drawn in product(product(*sweep.grid.values()), draws):
        settings = {**dict(zip(sweep.grid, values, strict=True)), **drawn}
        experiment = _experiment(sweep, settings)
        cells.setdefault(experiment.model_dump_json(), Variation(settings, experiment))
    return list(cells.values())


def draw(search: RandomSearch) -> list[dict[str, Any]]:
    """Return the settings of a random search; each field has a generator of its own.

    >>> search = RandomSearch(n=3, over={"training.learning_rate": Drawn(log_uniform=(1e-4, 1e-2))})
    >>> all(1e-4 <= settings["training.learning_rate"] <= 1e-2 for settings in draw(search))
    True
    """
    generators = {field: np.random.default_rng([search.seed, zlib.crc32(field.encode())]) for field in search.over}
    return [{field: _draw(drawn, generators[field]) for field, drawn in search.over.items()} for _ in range(search.n)]


def _draw(drawn: Drawn, random: np.random.Generator) -> Any:
    if drawn.choice is not None:
        return drawn.choice[int(random.integers(len(drawn.choice)))]
    if drawn.integer is not None:
        return int(random.integers(drawn.integer[0], drawn.integer[1], endpoint=True))
    if drawn.uniform is not None:
        return float(f"{random.uniform(*drawn.uniform):.{DIGITS}g}")
    assert drawn.log_uniform is not None
    low, high = np.log(drawn.log_uniform)
    return float(f"{np.exp(random.uniform(low, high)):.{DIGITS}g}")


def _experiment(sweep: SweepSpec, settings: dict[str, Any]) -> ExperimentSpec:
    where = f"sweep {sweep.name}, {', '.join(f'{field}={value}' for field, value in settings.items())}"
    content = deepcopy(sweep.experiment)
    for field, value in settings.items():
        for path in _paths(field, sweep.experiment.get("models", {})):
            set_value(content, path, deepcopy(value), where=where)
    return validated(content, where, ExperimentSpec)


def _paths(field: str, models: dict[str, Any]) -> list[str]:
    """Return the paths that ``models.*`` stands for; beta excludes plain autoencoders, which have no rate."""
    if not field.startswith("models.*."):
        return [field]
    setting = field.removeprefix("models.*.")
    sharings = {name: model.get("sharing") if isinstance(model, dict) else None for name, model in models.items()}
    kinds = {name: sharing.get("kind") if isinstance(sharing, dict) else sharing for name, sharing in sharings.items()}
    return [f"models.{name}.{setting}" for name, kind in kinds.items() if setting != "beta" or kind != "autoencoder"]
