"""MMVM against a plain training loop, restated from published code: one model, items fetched one by one, evaluation each epoch.

The rate is the published one, closed-form KLs between all pairs.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.networks import PAPER, Size, matched_samples, small, trainer
from benchmarks.pairs import Pair, Side, Work

PAIRWISE = {"kind": "mmvm", "rate": "pairwise"}
STACK = 32
LEARNING_RATE = 1e-3


class Case(NamedTuple):
    """A size, replicas in our stack and whether it is compiled, whether the loop evaluates, and the aim of the pair."""

    name: str
    size: Size
    replicas: int = 1
    compiled: bool = False
    evaluates: bool = False
    aim: float | None = None


def pairs() -> list[Pair]:
    """Return pairs at small and at the paper's size, with the loop's evaluation and without."""
    hidden_32, hidden_64, stack = small(32), small(64), f"stack_{STACK}"
    cases = [
        Case("hidden_64", hidden_64, evaluates=True),
        Case("hidden_64_no_evaluation", hidden_64),
        Case(f"hidden_64_{stack}", hidden_64, STACK, evaluates=True),
        # The aims of a stack against as many single trainings, here single trainings as they are written by hand.
        Case(f"hidden_32_{stack}_no_evaluation", hidden_32, STACK, aim=1 / 8),
        Case(f"hidden_32_{stack}_no_evaluation_compiled", hidden_32, STACK, compiled=True, aim=1 / 8),
        Case(f"hidden_64_{stack}_no_evaluation", hidden_64, STACK, aim=1 / 4),
        Case(f"hidden_64_{stack}_no_evaluation_compiled", hidden_64, STACK, compiled=True, aim=1 / 4),
        Case("paper", PAPER, evaluates=True),
        Case("paper_no_evaluation", PAPER),
        Case("paper_no_evaluation_compiled", PAPER, compiled=True),
    ]
    return [_pair(case) for case in cases]


def _pair(case: Case) -> Pair:
    ours = "MMVM trainer" if case.replicas == 1 else f"a stack of {case.replicas}"
    return Pair(
        f"published_loop_{case.name}",
        Side(f"{ours}{', compiled' * case.compiled}", partial(_ours, case)),
        Side("a plain loop" if case.evaluates else "a plain loop that never evaluates", partial(_loop, case)),
        "a sample",
        aim=case.aim,
        agreement="loss of an epoch's samples with the same weights at the posterior means, to 1e-4",
        tolerance=1e-4,
    )


def _ours(case: Case, folder: Path) -> Work:
    size = case.size
    epochs = trainer(size, PAIRWISE, case.replicas, compile=case.compiled).run()

    def run() -> float:
        next(epochs)
        return case.replicas * size.samples

    def answer() -> dict[str, np.ndarray]:
        import torch

        from neuromvm.models import Batch

        data = matched_samples(size, PAIRWISE)
        present, condition = torch.ones(len(data), size.samples), torch.zeros(size.samples, dtype=torch.long)
        model = trainer(size, PAIRWISE).model
        noise = torch.zeros(len(data), size.samples, model.latent)
        with torch.no_grad():
            loss = model.objective(Batch(data, data, present, condition), noise, beta=1.0).loss
        return {"loss": loss.numpy()}

    return Work(run, answer)


def _loop(case: Case, folder: Path) -> Work:
    import torch
    from torch.utils.data import DataLoader, Dataset

    size = case.size

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
        if case.evaluates:
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
            self.encoders, self.decoders = nn.ModuleList(ours.encoders.values()), nn.ModuleList(ours.decoders.values())

        def forward(self, batch: list[torch.Tensor], draws: bool) -> torch.Tensor:
            posteriors = [encoder(values) for encoder, values in zip(self.encoders, batch, strict=True)]
            loss = torch.zeros(len(batch[0]))
            for own_mean, own_scale in posteriors:
                for mean, scale in posteriors:
                    kl = torch.log(scale / own_scale) + (own_scale**2 + (own_mean - mean) ** 2) / (2 * scale**2) - 0.5
                    loss = loss + kl.sum(1) / len(posteriors)
            for (mean, scale), decoder, values in zip(posteriors, self.decoders, batch, strict=True):
                latent = mean + scale * torch.randn_like(scale) if draws else mean
                loss = loss + ((decoder(latent) - values) ** 2).sum(1)
            return loss.mean()

    return Plain()
