"""CEBRA: networks to a common sphere, on which samples of the same class are close, whatever their animal.

Contrastive learning over several sessions, with a network for each animal or one of the units of all of them; its discrete label
is the match code, as for all alignments. The method is that of the package ``cebra``, which is imported only where a baseline of
that name is asked for. Schneider, Lee & Mathis (2023). Learnable latent embeddings for joint behavioural and neural analysis.
*Nature* 617, 360-368.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.baselines.projections import Projections, fit_splits
from neuromvm.analysis.readouts.classifiers import Logistic
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training
from neuromvm.errors import SpecError, SplitError

PACKAGE = "cebra"
HIDDEN_UNITS = 128
BATCH = 64  # samples of each animal in an iteration
LEARNING_RATE = 1e-3
SMALLEST_TEMPERATURE = 0.1  # of a learned one
EXCHANGES = 10  # tries to exchange each sample with one of another animal

Codes = NDArray[np.integer]


class Contrast(NamedTuple):
    """Settings of an embedding."""

    dimensions: int  # of the space around the sphere
    iterations: int  # steps of training, each on 64 samples of every animal
    temperature: float | Literal["auto"] = 1.0  # auto: learned
    seed: int = 0  # of the weights and of the samples that are drawn
    unified: bool = False  # one network of the units of all animals, in place of one for each animal


class Embedded(NamedTuple):
    """The network that embeds an animal, and the divisor of its outputs."""

    network: Any  # torch.nn.Module
    inputs: int  # of the network
    first: int = 0  # input of the animal's first feature; inputs of absent animals are 0
    spread: Floats | float = 1.0  # (dimension,)

    def __call__(self, values: Floats) -> Floats:
        """Embed ``(..., feature)`` as ``(..., dimension)``."""
        torch = import_module("torch")
        flat = np.zeros((int(np.prod(values.shape[:-1])), self.inputs, 1), dtype=np.float32)
        flat[:, self.first : self.first + values.shape[-1], 0] = values.reshape(-1, values.shape[-1])
        with torch.no_grad():
            embedded = self.network(torch.from_numpy(flat)).numpy()
        return np.asarray(embedded.reshape(*values.shape[:-1], -1) / self.spread, dtype=np.float64)


def contrastive_embedding(training: Mapping[str, Training], settings: Contrast) -> dict[str, Embedded]:
    """Fit networks by contrast of samples with the same match code, of any animal, with all samples.

    Return for each animal a map to the sphere, each dimension divided by its standard deviation over all animals' samples. An
    animal may lack codes: the partner of a sample is of an animal that has the code. SpecError if the package is not installed,
    SplitError if an animal shares fewer than two codes with others.
    """
    require_package()
    codes = {name: set(side.match.tolist()) for name, side in training.items()}
    for name, of_animal in codes.items():
        shared = of_animal & set().union(*(codes[source] for source in codes if source != name))
        if len(shared) < 2:
            raise SplitError(
                "baseline cebra",
                found=f"{len(shared)} classes that {name} shares with other animals on the training side",
                expected="two, to contrast them",
                next_step="Leave 'cebra' out of baselines",
            )
    every = np.array(sorted(set().union(*codes.values())))
    features = [side.features.astype(np.float32) for side in training.values()]
    labels = [np.searchsorted(every, side.match) for side in training.values()]
    import_module(PACKAGE)
    with _global_seed(settings.seed):
        networks = (_unified_network if settings.unified else _networks_of_animals)(features, labels, settings)
    maps = dict(zip(training, networks, strict=True))
    spread = np.concatenate([maps[name](side.features) for name, side in training.items()]).std(axis=0)
    return {name: embedded._replace(spread=np.where(spread > 0, spread, 1.0)) for name, embedded in maps.items()}


def scores_by_others(
    training: Mapping[str, Training],
    target: str,
    features: Floats,
    settings: Contrast,
    *,
    inverse_penalty: float,
    classes: int,
) -> Floats:
    """Read samples of a target ``(sample, feature)`` with a decoder of all other animals' embeddings.

    ``training`` holds all animals, the target with the classes that it was labelled for. Return scores ``(sample, class)``, -inf
    for classes that no other animal has.
    """
    maps = contrastive_embedding(training, settings)
    return read_by_others(maps, training, target, features, inverse_penalty=inverse_penalty, classes=classes)


def read_by_others(
    maps: Mapping[str, Embedded],
    training: Mapping[str, Training],
    target: str,
    features: Floats,
    *,
    inverse_penalty: float,
    classes: int,
) -> Floats:
    """Read samples as :func:`scores_by_others` does, with maps that were fitted before."""
    sources = [name for name in training if name != target]
    embedded = np.concatenate([maps[name](training[name].features) for name in sources])
    decoder = Logistic(inverse_penalty).fit(embedded, np.concatenate([training[name].match for name in sources]))
    scores = np.full((len(features), classes), -np.inf)
    scores[:, decoder.classes_] = decoder.class_scores(maps[target](features))
    return scores


def _networks_of_animals(features: Sequence[Floats], labels: Sequence[Codes], settings: Contrast) -> list[Embedded]:
    """Train a network for each animal."""
    data, torch = import_module(f"{PACKAGE}.data"), import_module("torch")
    dataset = data.DatasetCollection(
        *(data.TensorDataset(values, discrete=codes) for values, codes in zip(features, labels, strict=True))
    )
    loader = data.DiscreteMultiSessionDataLoader(dataset, num_steps=settings.iterations, batch_size=BATCH)
    if any(len(np.unique(codes)) < len(np.unique(np.concatenate(labels))) for codes in labels):
        loader.sampler = PartnersInAnyAnimal(labels, np.random.default_rng(settings.seed))
    networks = torch.nn.ModuleList([_network(values.shape[1], settings) for values in features])
    dataset.configure_for(networks)
    _train("multi-session", networks, loader, settings)
    return [Embedded(network, values.shape[1]) for network, values in zip(networks, features, strict=True)]


def _unified_network(features: Sequence[Floats], labels: Sequence[Codes], settings: Contrast) -> list[Embedded]:
    """Train one network on samples with the same code side by side, one of each animal, with some of the animals absent."""
    data = import_module(f"{PACKAGE}.data")
    dataset = data.UnifiedDataset(
        *(
            # A last sample of zeros is that of an absent animal. Codes are asked for, and replaced with the sampler.
            data.TensorDataset(np.vstack([values, np.zeros_like(values[:1])]), continuous=np.append(codes, 0)[:, None] * 1.0)
            for values, codes in zip(features, labels, strict=True)
        )
    )
    loader = data.UnifiedLoader(dataset, num_steps=settings.iterations, batch_size=BATCH)
    loader.sampler = AnimalsSideBySide(labels, np.random.default_rng(settings.seed))
    network = _network(int(dataset.input_dimension), settings)
    dataset.configure_for(network)
    _train("unified-session", network, loader, settings)
    first = np.cumsum([0, *(values.shape[1] for values in features)]).tolist()
    return [Embedded(network, first[-1], start) for start in first[:-1]]


def _network(inputs: int, settings: Contrast) -> Any:
    """Return an untrained network that sees one sample at a time: trials are no time series."""
    return import_module(f"{PACKAGE}.models").init("offset1-model", inputs, HIDDEN_UNITS, settings.dimensions)


def _train(kind: str, network: Any, loader: Any, settings: Contrast) -> None:
    models, torch = import_module(f"{PACKAGE}.models"), import_module("torch")
    learned = settings.temperature == "auto"
    criterion = (
        models.LearnableCosineInfoNCE(temperature=1.0, min_temperature=SMALLEST_TEMPERATURE)
        if learned
        else models.FixedCosineInfoNCE(temperature=settings.temperature)
    )
    optimizer = torch.optim.Adam([*network.parameters(), *criterion.parameters()], lr=LEARNING_RATE)
    solvers = import_module(f"{PACKAGE}.solver")
    solver = solvers.init(kind, model=network, criterion=criterion, optimizer=optimizer, tqdm_on=False)
    solver.fit(loader)
    network.eval()


class _Members:
    """The samples of an animal by their code."""

    def __init__(self, labels: Codes, codes: int) -> None:
        self.count = np.bincount(labels, minlength=codes)  # (code,)
        self._samples, self._start = np.argsort(labels, kind="stable"), np.cumsum(self.count) - self.count

    @classmethod
    def of_animals(cls, labels: Sequence[Codes]) -> list["_Members"]:
        """Return the samples of each animal, by the codes of all."""
        codes = 1 + max(int(of_animal.max()) for of_animal in labels)
        return [cls(of_animal, codes) for of_animal in labels]

    def drawn(self, codes: Codes, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw a sample of each of the codes, which the animal has to have."""
        samples: NDArray[np.int64] = self._samples[self._start[codes] + random.integers(self.count[codes])]
        return samples


class PartnersInAnyAnimal:
    """Draws samples and partners with the same code where animals lack codes, in place of the sampler of the package.

    That one gives each sample to a random animal, which has to have its code. Here samples are exchanged between animals at
    random as long as both have the codes that they get, so all such assignments are equally probable.
    """

    def __init__(self, labels: Sequence[Codes], random: np.random.Generator) -> None:
        self._labels, self._random = labels, random
        self._members = _Members.of_animals(labels)
        self._has = np.array([members.count > 0 for members in self._members])  # (animal, code)

    def sample_prior(self, count: int) -> NDArray[np.int64]:
        """Draw samples of each animal, ``(animal, sample)``."""
        return np.stack([self._random.integers(len(codes), size=count) for codes in self._labels])

    def sample_conditional(self, reference: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return partners ``(animal, sample)``, the number of the sample that each is the partner of, and the inverse of that."""
        animals = np.repeat(np.arange(len(reference)), reference.shape[1])
        codes = np.concatenate([labels[samples] for labels, samples in zip(self._labels, reference, strict=True)])
        order = np.arange(len(codes))
        for _ in range(EXCHANGES):
            first, second = self._random.permutation(len(codes))[: len(codes) // 2 * 2].reshape(2, -1)
            allowed = self._has[animals[first], codes[order[second]]] & self._has[animals[second], codes[order[first]]]
            first, second = first[allowed], second[allowed]
            order[first], order[second] = order[second], order[first]
        asked = codes[order].reshape(reference.shape)
        partners = [members.drawn(of_animal, self._random) for members, of_animal in zip(self._members, asked, strict=True)]
        return np.stack(partners), order, np.argsort(order)


class AnimalsSideBySide:
    """Draws samples with the same code of all animals side by side, in place of the sampler of the package.

    An animal is absent where it lacks the code, and otherwise with probability one half, but never all of them. Its sample is
    then the one after the last. So the network learns to embed an animal alone, which is how it is read: the package would
    choose samples of the other animals by the label of the trial that is to be decoded.
    """

    def __init__(self, labels: Sequence[Codes], random: np.random.Generator) -> None:
        self._labels, self._random = labels, random
        self._members = _Members.of_animals(labels)

    def sample_prior(self, count: int) -> NDArray[np.int64]:
        """Draw codes as often as samples have them, and samples of the animals, ``(animal, sample)``."""
        return self._side_by_side(self._random.choice(np.concatenate(self._labels), size=count))

    def sample_conditional(self, reference: NDArray[np.int64]) -> NDArray[np.int64]:
        """Draw samples with the codes of others, ``(animal, sample)``."""
        codes = np.zeros(reference.shape[1], dtype=np.int64)
        for labels, samples in zip(self._labels, reference, strict=True):
            present = samples < len(labels)
            codes[present] = labels[samples[present]]
        return self._side_by_side(codes)

    def _side_by_side(self, codes: Codes) -> NDArray[np.int64]:
        has = np.array([members.count[codes] > 0 for members in self._members])
        number = np.where(has, self._random.random(has.shape), -1.0)
        present = (number > 0.5) | (number == number.max(axis=0))
        samples = np.empty(has.shape, dtype=np.int64)
        for animal, (labels, members) in enumerate(zip(self._labels, self._members, strict=True)):
            samples[animal] = len(labels)
            samples[animal, present[animal]] = members.drawn(codes[present[animal]], self._random)
        return samples


class ContrastiveEmbeddings(Projections):
    """Trials embedded by the networks of CEBRA; ``dimensions`` to ``seed`` and ``unified`` are those of
    :class:`Contrast`.
    """

    def __init__(
        self,
        inputs: Inputs,
        *,
        dimensions: int,
        iterations: int,
        temperature: float | Literal["auto"],
        seed: int,
        inverse_penalty: float,
        unified: bool = False,
        splits: Sequence[int] | None = None,
    ) -> None:
        if len(inputs.animals) < 2:
            raise SpecError("analysis decoding", found="cebra with one animal", next_step="Leave 'cebra' out of baselines")
        settings = Contrast(dimensions, iterations, temperature, seed, unified)

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
    torch = import_module("torch")
    states = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(states[0])  # noqa: NPY002
        torch.set_rng_state(states[1])
