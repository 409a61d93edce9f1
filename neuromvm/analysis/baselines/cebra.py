"""CEBRA: a network for each animal to a common sphere, on which samples of the same class are close, whatever their animal.

Contrastive learning over several sessions; its discrete label is the match code, as for all alignments. The method is that of
the package ``cebra``, which is imported only where a baseline of that name is asked for. Schneider, Lee & Mathis (2023).
Learnable latent embeddings for joint behavioural and neural analysis. *Nature* 617, 360-368.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np

from neuromvm.analysis.baselines.projections import Projections, fit_splits
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training
from neuromvm.errors import SpecError, SplitError

PACKAGE = "cebra"


class Contrast(NamedTuple):
    """Settings of an embedding."""

    dimensions: int  # of the space around the sphere
    iterations: int  # steps of training, each on 64 samples of every animal
    temperature: float | Literal["auto"] = 1.0  # auto: learned
    seed: int = 0  # of the weights and of the samples that are drawn


class Embedded(NamedTuple):
    """The network of an animal, and the divisor of its outputs."""

    networks: Any  # cebra.CEBRA, of all animals
    session: int
    spread: Floats | float = 1.0  # (dimension,)

    def __call__(self, values: Floats) -> Floats:
        """Embed ``(..., feature)`` as ``(..., dimension)``."""
        flat = values.reshape(-1, values.shape[-1]).astype(np.float32)
        embedded = self.networks.transform(flat, session_id=self.session)
        return np.asarray(embedded.reshape(*values.shape[:-1], -1) / self.spread, dtype=np.float64)


def contrastive_embedding(training: Mapping[str, Training], settings: Contrast) -> dict[str, Embedded]:
    """Fit a network for each animal by contrast of samples with the same match code, of any animal, with all samples.

    Return for each animal a map to the sphere, each dimension divided by its standard deviation over all animals' samples. Codes
    that an animal lacks are left out of all: CEBRA looks for a partner of each code in every animal. SpecError if the package is
    not installed, SplitError if there are fewer than two codes that all animals have.
    """
    require_package()
    codes = np.array(sorted(set.intersection(*(set(side.match.tolist()) for side in training.values()))))
    if len(codes) < 2:
        raise SplitError(
            "baseline cebra",
            found=f"{len(codes)} classes that all animals have on the training side",
            expected="two, to contrast them",
            next_step="Leave 'cebra' out of baselines",
        )
    common = {name: np.isin(side.match, codes) for name, side in training.items()}
    features = [side.features[common[name]].astype(np.float32) for name, side in training.items()]
    labels = [np.searchsorted(codes, side.match[common[name]]) for name, side in training.items()]
    learned = settings.temperature == "auto"
    networks = import_module(PACKAGE).CEBRA(
        model_architecture="offset1-model",  # sees one sample at a time: trials are no time series
        num_hidden_units=128,
        batch_size=64,  # samples of each animal in an iteration
        learning_rate=1e-3,
        max_iterations=settings.iterations,
        output_dimension=settings.dimensions,
        temperature_mode="auto" if learned else "constant",
        temperature=1.0 if learned else settings.temperature,
        min_temperature=0.1,  # of a learned temperature
        device="cpu",
    )
    with _global_seed(settings.seed):
        networks.fit(features, labels)
    maps = {name: Embedded(networks, session) for session, name in enumerate(training)}
    spread = np.concatenate([maps[name](side.features) for name, side in training.items()]).std(axis=0)
    return {name: embedded._replace(spread=np.where(spread > 0, spread, 1.0)) for name, embedded in maps.items()}


class ContrastiveEmbeddings(Projections):
    """Trials embedded by the networks of CEBRA; ``dimensions`` to ``seed`` are those of :class:`Contrast`."""

    def __init__(
        self,
        inputs: Inputs,
        *,
        dimensions: int,
        iterations: int,
        temperature: float | Literal["auto"],
        seed: int,
        inverse_penalty: float,
        splits: Sequence[int] | None = None,
    ) -> None:
        if len(inputs.animals) < 2:
            raise SpecError("analysis decoding", found="cebra with one animal", next_step="Leave 'cebra' out of baselines")
        settings = Contrast(dimensions, iterations, temperature, seed)

        def fit(training: Mapping[str, Training]) -> dict[str, Embedded]:
            return contrastive_embedding(training, settings) if len(training) > 1 else {}

        super().__init__(inputs, fit_splits(inputs, splits, fit), splits, inverse_penalty=inverse_penalty, shared=True)


def require_package() -> None:
    """Raise SpecError unless the package is installed."""
    if find_spec(PACKAGE) is None:
        raise SpecError(
            "baseline cebra",
            found="the package cebra is not installed",
            next_step="Install it: pip install 'neuromvm[cebra]', or leave 'cebra' out of baselines",
        )


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators of numpy and torch, since CEBRA takes no seed, and restore their state afterwards."""
    torch = sys.modules["torch"]  # which cebra has loaded
    states = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(states[0])  # noqa: NPY002
        torch.set_rng_state(states[1])
