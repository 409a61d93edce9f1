"""Joint models against MultiVae, with the same networks, initial weights, data and batches.

MultiVae decodes a sample from the product of one subset of animals, given by its row in the batch. With ``components: 1`` ours
decodes one subset drawn for each sample, which is as much work; the default of 15 gives a bound that varies less.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.networks import PAPER, Size, matched_samples, noise_samples, small, specs, trainer
from benchmarks.pairs import Pair, Side, Work

HIDDEN = 64
STACK = 32
LEARNING_RATE = 1e-3
COMPARED = 20  # samples
EPOCHS = 20  # of a whole training
SAME = "posterior means and decoded activity of both models with the same weights, to 1e-4"


def mopoe(components: int) -> dict[str, object]:
    """Return the sharing of a mixture of products, so many of them decoded for each sample."""
    return {"kind": "joint", "aggregation": "mixture_of_products", "components": components}


def pairs() -> list[Pair]:
    """Return single models and a stack against MultiVae's trainer, and against a bare loop around its model."""
    small_size = small(HIDDEN)
    hidden, stack = f"hidden_{HIDDEN}", f"hidden_{HIDDEN}_stack_{STACK}"
    comparisons = [
        _pair(hidden, small_size, _their_trainer, aim=1 / 8),
        _pair(f"{hidden}_bare", small_size, _their_model),
        _pair(f"{hidden}_compiled", small_size, _their_trainer, compiled=True, aim=1 / 8),
        _pair(f"{hidden}_15_subsets", small_size, _their_trainer, subsets=15),
        _pair(stack, small_size, _their_trainer, replicas=STACK, aim=1 / 25),
        _pair(f"{stack}_compiled", small_size, _their_trainer, replicas=STACK, compiled=True, aim=1 / 25),
        _pair(f"{stack}_bare", small_size, _their_model, replicas=STACK),
        _pair("paper", PAPER, _their_trainer, aim=1 / 2),
        _pair("paper_compiled", PAPER, _their_trainer, compiled=True, aim=1 / 2),
        _pair("paper_bare", PAPER, _their_model),
        _pair("paper_15_subsets", PAPER, _their_trainer, subsets=15),
    ]
    return [
        *comparisons,
        _whole_training(hidden, small_size, 1 / 8),
        *(pair._replace(name=f"{pair.name}_2_threads", threads=2) for pair in comparisons if pair.aim and "paper" in pair.name),
        _whole_training("paper", PAPER, 1 / 2),
        _whole_training("paper", PAPER, 1 / 2, compiled=True),
        # MultiVae's trainer uses the default of torch, a thread a core.
        comparisons[0]._replace(name=f"{comparisons[0].name}_default_threads", reference_threads=os.cpu_count() or 1),
    ]


def _pair(
    name: str,
    size: Size,
    theirs: Callable[[Size, Path], Work],
    replicas: int = 1,
    subsets: int = 1,
    compiled: bool = False,
    aim: float | None = None,
) -> Pair:
    """Return a pair of a stack of replicas, with so many subsets decoded for each sample, and a side of MultiVae."""
    ours = ", ".join([
        "MoPoE",
        *[f"a stack of {replicas}"] * (replicas > 1),
        *[f"{subsets} subsets a sample"] * (subsets > 1),
        *["compiled"] * compiled,
    ])  # fmt: skip
    return Pair(
        f"multivae_{name}",
        Side(ours, partial(_ours, size, replicas, subsets, compiled)),
        Side(f"MultiVae's {'trainer' if theirs is _their_trainer else 'model in a bare loop'}", partial(theirs, size)),
        "a sample",
        aim=aim,
        agreement=SAME,
        tolerance=1e-4,
        needs=("multivae",),
    )


def _whole_training(name: str, size: Size, aim: float, compiled: bool = False) -> Pair:
    """Return the pair that a user sees: from data in memory to a trained model in a folder, with all files of both sides."""
    return Pair(
        f"multivae_{name}_whole_training{'_compiled' * compiled}",
        Side(f"neuromvm.fit, {EPOCHS} epochs{', compiled' * compiled}", partial(_our_training, size, compiled)),
        Side(f"MultiVae's BaseTrainer.train, {EPOCHS} epochs", partial(_their_training, size)),
        "a sample",
        aim=aim,
        agreement=SAME,
        tolerance=1e-4,
        needs=("multivae",),
    )


def _our_training(size: Size, compiled: bool, folder: Path) -> Work:
    from neuromvm import fit

    samples, splits = noise_samples(size)
    model, training = specs(size, mopoe(1), epochs=EPOCHS, clip_norm=None, compile=compiled)

    def run() -> float:
        shutil.rmtree(folder / "run", ignore_errors=True)
        fit(samples, splits, model, training, folder=folder / "run", progress=False)
        return EPOCHS * size.samples

    return Work(run, partial(_our_answer, size))


def _their_training(size: Size, folder: Path) -> Work:
    def run() -> float:
        model, data = _their_model_and_data(size)
        training = _base_trainer(size, folder, model, data, EPOCHS)
        with _silence():
            training.train()
        return EPOCHS * size.samples

    return Work(run, partial(_their_answer, size))


def _ours(size: Size, replicas: int, subsets: int, compiled: bool, folder: Path) -> Work:
    epochs = trainer(size, mopoe(subsets), replicas, compile=compiled).run()

    def run() -> float:
        next(epochs)
        return replicas * size.samples

    return Work(run, partial(_our_answer, size))


def _our_answer(size: Size) -> dict[str, np.ndarray]:
    import torch

    model, data = trainer(size, mopoe(1)).model, matched_samples(size, mopoe(1))
    with torch.no_grad():
        means = model.encode({name: values[:COMPARED] for name, values in data.items()}).mean
        decoded = {name: model.decoders[name](means[number]) for number, name in enumerate(model.modalities)}
    return {name: values.numpy() for name, values in {"means": means, **decoded}.items()}


def _their_model_and_data(size: Size) -> tuple[Any, Any]:
    """Return MultiVae's MoPoE with the layers and weights of ours, and its data set."""
    from multivae.data.datasets.base import MultimodalBaseDataset
    from multivae.models import MoPoE, MoPoEConfig
    from multivae.models.base import BaseDecoder, BaseEncoder, ModelOutput
    from torch import nn

    class Encoder(BaseEncoder):
        def __init__(self, ours: Any) -> None:
            super().__init__()
            self.latent_dim = ours.latent
            self.trunk, self.mean = ours.trunk, ours.mean
            self.log_variance = nn.Linear(ours.mean.in_features, ours.latent)
            # A log variance is twice our log scale.
            self.log_variance.weight.data = 2 * ours.scale.log_scale.weight.detach()
            self.log_variance.bias.data = 2 * ours.scale.log_scale.bias.detach()

        def forward(self, values: Any) -> Any:
            hidden = self.trunk(values)
            return ModelOutput(embedding=self.mean(hidden), log_covariance=self.log_variance(hidden))

    class Decoder(BaseDecoder):
        def __init__(self, ours: Any) -> None:
            super().__init__()
            self.layers = ours

        def forward(self, latent: Any) -> Any:
            return ModelOutput(reconstruction=self.layers(latent))

    model, data = trainer(size, mopoe(1)).model, matched_samples(size, mopoe(1))
    shapes = {name: tuple(values.shape[1:]) for name, values in data.items()}
    config = MoPoEConfig(n_modalities=len(data), latent_dim=model.latent, input_dims=shapes)
    encoders = {name: Encoder(model.encoders[name]) for name in data}
    decoders = {name: Decoder(model.decoders[name]) for name in data}
    return MoPoE(config, encoders=encoders, decoders=decoders), MultimodalBaseDataset(data)


def _their_answer(size: Size) -> dict[str, np.ndarray]:
    import torch

    model, data = _their_model_and_data(size)
    with torch.no_grad():
        means = [model.encoders[name](values[:COMPARED]).embedding for name, values in data.data.items()]
        decoded = {name: model.decoders[name](mean).reconstruction for name, mean in zip(data.data, means, strict=True)}
    return {"means": torch.stack(means).numpy(), **{name: values.numpy() for name, values in decoded.items()}}


def _their_trainer(size: Size, folder: Path) -> Work:
    """Epochs of its trainer without its evaluation, checkpoints and the copy that it keeps of the best model."""
    model, data = _their_model_and_data(size)
    training = _base_trainer(size, folder, model, data, epochs=1)

    def run() -> float:
        with _silence():
            training.train_step(epoch=1)
        return size.samples

    return Work(run, partial(_their_answer, size))


def _base_trainer(size: Size, folder: Path, model: Any, data: Any, epochs: int) -> Any:
    import logging

    from multivae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.INFO)
    config = BaseTrainerConfig(
        output_dir=str(folder),
        per_device_train_batch_size=size.batch,
        num_epochs=epochs,
        learning_rate=LEARNING_RATE,
        no_cuda=True,
    )
    return BaseTrainer(model, data, training_config=config)


def _their_model(size: Size, folder: Path) -> Work:
    """Its model alone: batches by slicing and one optimiser."""
    import torch
    from multivae.data.datasets.base import MultimodalBaseDataset

    model, data = _their_model_and_data(size)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def run() -> float:
        order = torch.randperm(size.samples)
        for chosen in order.split(size.batch):
            batch = MultimodalBaseDataset({name: values[chosen] for name, values in data.data.items()})
            optimizer.zero_grad()
            model(batch).loss.backward()
            optimizer.step()
        return size.samples

    return Work(run, partial(_their_answer, size))


@contextlib.contextmanager
def _silence() -> Any:
    """Keep a progress bar off the terminal."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        yield
