"""MMVM against a plain training loop, restated from published code: one model, items fetched one by one, evaluation each epoch.

The rate is the published one, closed-form KLs between all pairs.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.networks import PAPER, Size, matched_samples, small, trainer
from benchmarks.pairs import Pair, Side, Work

PAIRWISE = {"kind": "mmvm", "rate": "pairwise"}
HIDDEN = 64
STACK = 32
LEARNING_RATE = 1e-3


def pairs() -> list[Pair]:
    """Return pairs at small and at the paper's size, with the loop's evaluation and without."""
    cases = [
        (f"hidden_{HIDDEN}", small(HIDDEN), 1, True),
        (f"hidden_{HIDDEN}_no_evaluation", small(HIDDEN), 1, False),
        (f"hidden_{HIDDEN}_stack_{STACK}", small(HIDDEN), STACK, True),
        ("paper", PAPER, 1, True),
        ("paper_no_evaluation", PAPER, 1, False),
    ]
    return [
        Pair(
            f"published_loop_{name}",
            Side("MMVM trainer" if replicas == 1 else f"a stack of {replicas}", partial(_ours, size, replicas)),
            Side("a plain loop" if evaluates else "a plain loop that never evaluates", partial(_loop, size, evaluates)),
            "a sample",
            agreement="loss of an epoch's samples with the same weights at the posterior means, to 1e-4",
            tolerance=1e-4,
        )
        for name, size, replicas, evaluates in cases
    ]


def _ours(size: Size, replicas: int, folder: Path) -> Work:
    epochs = trainer(size, PAIRWISE, replicas).run()

    def run() -> float:
        next(epochs)
        return replicas * size.samples

    def answer() -> dict[str, np.ndarray]:
        import torch

        from neuromvm.models import Batch

        data = matched_samples(size, PAIRWISE)
        everyone, condition = torch.ones(len(data), size.samples), torch.zeros(size.samples, dtype=torch.long)
        model = trainer(size, PAIRWISE).model
        noise = torch.zeros(len(data), size.samples, model.latent)
        with torch.no_grad():
            loss = model.objective(Batch(data, data, everyone, condition), noise, beta=1.0).loss
        return {"loss": loss.numpy()}

    return Work(run, answer)


def _loop(size: Size, evaluates: bool, folder: Path) -> Work:
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Tuples(Dataset):
        """Matched samples, fetched one at a time."""

        def __init__(self, activity: list[np.ndarray]) -> None:
            self.activity = activity

        def __len__(self) -> int:
            return len(self.activity[0])

        def __getitem__(self, index: int) -> list[torch.Tensor]:
            return [torch.tensor(animal[index]) for animal in self.activity]

    data = Tuples([values.numpy() for values in matched_samples(size, PAIRWISE).values()])
    model = _plain_model(size)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(data, batch_size=size.batch, shuffle=True)
    in_order = DataLoader(data, batch_size=size.batch)

    def run() -> float:
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = model(batch, draws=True)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if evaluates:
            with torch.no_grad():
                total += sum(model(batch, draws=True).item() for batch in in_order)
        return size.samples

    def answer() -> dict[str, np.ndarray]:
        with torch.no_grad():
            losses = [_plain_model(size)(batch, draws=False) for batch in in_order]
        return {"loss": torch.stack(losses).mean().numpy()}

    return Work(run, answer)


def _plain_model(size: Size) -> Any:
    """Return a module with our starting weights that encodes, compares all pairs of posteriors and decodes, animal by animal."""
    import torch
    from torch import nn

    ours = trainer(size, PAIRWISE).model

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoders, self.decoders = (nn.ModuleList(one.values()) for one in (ours.encoders, ours.decoders))

        def forward(self, batch: list[torch.Tensor], draws: bool) -> torch.Tensor:
            posteriors = [encoder(values) for encoder, values in zip(self.encoders, batch, strict=True)]
            loss = torch.zeros(len(batch[0]))
            for own_mean, own_scale in posteriors:
                for mean, scale in posteriors:
                    each = torch.log(scale / own_scale) + (own_scale**2 + (own_mean - mean) ** 2) / (2 * scale**2) - 0.5
                    loss = loss + each.sum(1) / len(posteriors)
            for (mean, scale), decoder, values in zip(posteriors, self.decoders, batch, strict=True):
                latent = mean + scale * torch.randn_like(scale) if draws else mean
                loss = loss + ((decoder(latent) - values) ** 2).sum(1)
            return loss.mean()

    return Plain()
