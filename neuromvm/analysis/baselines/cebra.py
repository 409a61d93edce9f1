"""CEBRA: a network an animal to one sphere, on which samples of the same class lie together, whichever animal they are of.

Contrastive learning over several sessions; its discrete label is what samples of a pair share, as for every other alignment. The
method is that of the package ``cebra``, which is only called, and only where a baseline of that name is asked for.

References
----------
Schneider, S., Lee, J. H. & Mathis, M. W. (2023). Learnable latent embeddings for joint behavioural and neural analysis.
*Nature* 617, 360-368.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from neuromvm.analysis.baselines.projections import Map, Projections
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training
from neuromvm.errors import SpecError, SplitError

PACKAGE = "cebra"
ARCHITECTURE = "offset1-model"  # sees one sample at a time: trials are no time series
UNITS = 128  # of the hidden layers
DRAWN = 64  # samples of each animal in an iteration
LEARNING_RATE = 1e-3
COLDEST = 0.1  # below which no temperature is learned


class Contrast(NamedTuple):
    """Settings of an embedding.

    Attributes
    ----------
    dimensions
        Of the space around the sphere.
    iterations
        Steps of training, each on 64 samples of every animal.
    temperature
        Of the contrast; ``auto``: learned.
    seed
        Of the weights and of the samples that are drawn.
    """

    dimensions: int
    iterations: int
    temperature: float | Literal["auto"] = 1.0
    seed: int = 0


class Embedded(NamedTuple):
    """The network of one animal, and what its outputs are divided by."""

    networks: Any  # cebra.CEBRA, of all animals
    place: int
    spread: Floats | float = 1.0  # (dimension,)

    def __call__(self, values: Floats) -> Floats:
        """Embed ``(..., feature)`` as ``(..., dimension)``."""
        flat = values.reshape(-1, values.shape[-1]).astype(np.float32)
        found = self.networks.transform(flat, session_id=self.place)
        return np.asarray(found.reshape(*values.shape[:-1], -1) / self.spread, dtype=np.float64)


def contrastive_embedding(training: Mapping[str, Training], settings: Contrast) -> dict[str, Embedded]:
    """Fit one network an animal by contrast of samples with the same match code, of any animal, and all others.

    Parameters
    ----------
    training
        Scaled features ``(sample, feature)`` and match codes of each animal's training side. Codes that an animal lacks are left
        out of all: a partner of such a code would be looked for in that animal.
    settings
        How.

    Returns
    -------
    For each animal a map to the sphere, each dimension divided by its standard deviation over all animals' samples.

    Raises
    ------
    SpecError
        If the package is not installed.
    SplitError
        If there are fewer than two codes that all animals have.

    Examples
    --------
    >>> contrastive_embedding(training, Contrast(8, 400))["mitt"](features).shape  # doctest: +SKIP
    (75, 8)
    """
    require_package()
    codes = np.array(sorted(set.intersection(*(set(one.match.tolist()) for one in training.values()))))
    if len(codes) < 2:
        raise SplitError(
            "baseline cebra",
            found=f"{len(codes)} classes that all animals have on the training side",
            expected="two, to contrast them",
            next_step="Leave 'cebra' out of baselines",
        )
    kept = {name: np.isin(one.match, codes) for name, one in training.items()}
    features = [one.features[kept[name]].astype(np.float32) for name, one in training.items()]
    labels = [np.searchsorted(codes, one.match[kept[name]]) for name, one in training.items()]
    learned = settings.temperature == "auto"
    networks = import_module(PACKAGE).CEBRA(
        model_architecture=ARCHITECTURE,
        num_hidden_units=UNITS,
        batch_size=DRAWN,
        learning_rate=LEARNING_RATE,
        max_iterations=settings.iterations,
        output_dimension=settings.dimensions,
        temperature_mode="auto" if learned else "constant",
        temperature=1.0 if learned else settings.temperature,
        min_temperature=COLDEST,
        device="cpu",
    )
    with _drawn_from(settings.seed):
        networks.fit(features, labels)
    maps = {name: Embedded(networks, place) for place, name in enumerate(training)}
    spread = np.concatenate([maps[name](one.features) for name, one in training.items()]).std(axis=0)
    return {name: one._replace(spread=np.where(spread > 0, spread, 1.0)) for name, one in maps.items()}


class ContrastiveEmbeddings(Projections):
    """Trials embedded by the networks of CEBRA."""

    def __init__(
        self, inputs: Inputs, settings: Contrast, *, inverse_penalty: float, splits: Sequence[int] | None = None
    ) -> None:
        if len(inputs.animals) < 2:
            raise SpecError("analysis decoding", found="cebra with one animal", next_step="Leave 'cebra' out of baselines")
        splits = range(inputs.splits) if splits is None else splits
        maps = [_fitted(inputs, split, settings) for split in splits]
        super().__init__(inputs, maps, splits, inverse_penalty=inverse_penalty, shared=True)


def require_package() -> None:
    """Refuse to go on without the package.

    Raises
    ------
    SpecError
        If it is not installed.
    """
    if find_spec(PACKAGE) is None:
        raise SpecError(
            "baseline cebra",
            found="the package cebra is not installed",
            next_step="Install it: pip install 'neuromvm[cebra]', or leave 'cebra' out of baselines",
        )


# The C of decoders is chosen among several for one embedding, and embeddings take their time: the last settings' are kept.
_LAST: "WeakKeyDictionary[Inputs, tuple[Contrast, dict[int, dict[str, Embedded]]]]" = WeakKeyDictionary()


def _fitted(inputs: Inputs, split: int, settings: Contrast) -> Mapping[str, Map]:
    if inputs not in _LAST or _LAST[inputs][0] != settings:
        _LAST[inputs] = (settings, {})
    of_split = _LAST[inputs][1]
    if split not in of_split:
        training = {name: inputs.training(split, name) for name in inputs.fitted(split)}
        of_split[split] = contrastive_embedding(training, settings) if len(training) > 1 else {}
    return of_split[split]


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """Seed what CEBRA draws from, the generators that a process shares: it takes no seed. They are left as they were found."""
    torch = sys.modules["torch"]  # which cebra has loaded
    before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        torch.set_rng_state(before[1])
