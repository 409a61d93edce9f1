"""Test tuples of all modalities: decoded from the joint posterior, as in training, and from one modality alone."""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from neuromvm import schema
from neuromvm.data.pairing import in_order
from neuromvm.errors import SplitError
from neuromvm.functional.gaussian import Posteriors, sample
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.imputation import drawn_latents, posteriors_of, test_codes
from neuromvm.likelihoods import Likelihood, Support
from neuromvm.models import Batch, MultimodalVAE

ROWS_AT_ONCE = 256  # tuples that are decoded together


class Decoded(NamedTuple):
    """A modality ``(tuple, feature)`` decoded from another, or itself; the true one, and its log-likelihood [nats]."""

    source: str
    target: str
    decoded: NDArray[np.float32]
    true: NDArray[np.float32]
    log_likelihood: NDArray[np.float32]  # (tuple,)
    match: NDArray[np.int16]  # (tuple,), code of the condition


@torch.no_grad()
def joint_reconstruction(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, *, seed: int = 0) -> xr.Dataset:
    """Score test tuples as the model decodes them in training, all modalities given.

    A joint model decodes each modality from a draw of its joint posterior, of a mixture from each component, with its weight;
    a model with a latent for each modality from a draw of that latent. ``inference.reconstruction.reconstruction_error`` encodes
    each modality alone, which joint models are not trained for.

    Parameters
    ----------
    fitted, samples, splits
        As trained on. The i-th test samples of a condition make a tuple.
    seed
        Of the draws of latents.

    Returns
    -------
    ``error (replica, animal)``: mean squared error per feature, in what the likelihood scores (scaled features; activity as
    recorded under likelihoods of counts or events); ``log_likelihood (replica, animal)`` [nats a sample].

    Raises
    ------
    SplitError
        If there are no test samples.
    """
    schema.expect_samples_with_splits(samples, splits)
    names = list(fitted.windows)
    error, log_likelihood = (np.full((len(fitted.replicas), len(names)), np.nan) for _ in range(2))
    for number in range(len(fitted.replicas)):
        pairs = scored_tuples(fitted, samples, splits, number)
        model, scored = fitted.member(number), fitted.member(number)
        scored.likelihoods = nn.ModuleDict({name: _ErrorOfMean(model.likelihood(name)) for name in names})
        generator, totals = torch.Generator().manual_seed(seed), torch.zeros(2, len(names))
        model.likelihood_weights = scored.likelihood_weights = {}
        whole = _Samples.of(fitted, model, samples, number)
        for start in range(0, len(pairs), ROWS_AT_ONCE):
            batch = whole.batch(pairs[start : start + ROWS_AT_ONCE])
            count, width = model.noise_shape
            noise = torch.randn(count, len(batch.condition), width, generator=generator)
            for row, of in enumerate((scored, model)):
                totals[row] += of.objective(batch, noise, 0.0).log_likelihood.sum(1)
        present = (pairs >= 0).sum(axis=0)
        features = np.array([fitted.windows[name].features for name in names])
        error[number], log_likelihood[number] = -totals[0].numpy() / present / features, totals[1].numpy() / present
    return xr.Dataset(
        {"error": (("replica", "animal"), error), "log_likelihood": (("replica", "animal"), log_likelihood, {"units": "nats"})},
        coords={"animal": names, **fitted.replica_coords("split", "seed")},
    )


@torch.no_grad()
def decoded_from_one(
    fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, replica: int, *, seed: int = 0
) -> Iterator[Decoded]:
    """Decode every modality of whole test tuples from each modality alone, itself included, by one draw of the latent.

    The latent of another modality is drawn from what the model knows of it, given the source
    (:meth:`neuromvm.models.MultimodalVAE.infer_absent`). ``decoded`` is the expectation of the decoder.
    """
    names = list(fitted.windows)
    pairs = scored_tuples(fitted, samples, splits, replica)
    pairs = pairs[(pairs >= 0).all(axis=1)]
    model, generator = fitted.member(replica), torch.Generator().manual_seed(seed)
    posteriors, available = posteriors_of(fitted, model, samples, replica, names, pairs)
    targets = _Samples.of(fitted, model, samples, replica).targets
    true = {name: targets[name][pairs[:, column]] for column, name in enumerate(names)}
    match = samples[names[0]]["match"].to_numpy().ravel()[pairs[:, 0]]
    for row, source in enumerate(names):
        alone = torch.zeros_like(available)
        alone[row] = 1
        for target in names:
            if target == source:
                noise = torch.randn(posteriors.mean[row].shape, generator=generator)
                latents = sample(Posteriors(posteriors.mean[row], posteriors.scale[row]), noise)
            else:
                latents = drawn_latents(model, posteriors, alone, target, 1, generator)[0]
            likelihood = model.likelihood(target)
            raw = torch.cat([model.decoders[target](part) for part in torch.split(latents, ROWS_AT_ONCE)])
            scores = likelihood.log_prob(raw, true[target]).numpy()
            yield Decoded(source, target, likelihood.mean(raw).numpy(), true[target].numpy(), scores, match)


def scored_tuples(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, replica: int) -> NDArray[np.int64]:
    """Return the test tuples of a replica ``(tuple, animal)``, numbers of samples; -1 where a modality is absent."""
    split = fitted.replicas[replica].split
    pairs = in_order([test_codes(samples, splits, name, split) for name in fitted.windows])
    if not len(pairs):
        raise SplitError(f"split {split}", found="no test trials", expected="at least one")
    return pairs


class _ErrorOfMean(Likelihood):
    """Minus the squared error of what another likelihood expects, in place of its log-likelihood."""

    support: ClassVar[Support] = "real"

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__(likelihood.features, likelihood.units, likelihood.exposure)
        self.likelihood = likelihood

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return minus the squared error, summed over features."""
        return -(self.likelihood.mean(raw) - target).square().sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the expected activity."""
        return self.likelihood.mean(raw)

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw activity."""
        return self.likelihood.sample(raw, generator)


def _recorded(samples: xr.DataTree, name: str, features: int) -> Tensor:
    """Return activity as recorded ``(sample, feature)``."""
    activity = samples[name]["activity"].transpose("trial", "window", "bin", "unit").to_numpy()
    return torch.from_numpy(activity.reshape(-1, features).astype(np.float32))


class _Samples(NamedTuple):
    """Modality -> what its encoder sees and its likelihood scores ``(sample, feature)``, and match codes ``(sample,)``."""

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    match: dict[str, Tensor]

    @classmethod
    def of(cls, fitted: FittedStack, model: MultimodalVAE, samples: xr.DataTree, replica: int) -> "_Samples":
        """Return the samples of all modalities as a replica sees them."""
        inputs = {name: fitted.scaled(samples, name, replica).flatten(0, 1) for name in model.modalities}
        targets = {
            name: _recorded(samples, name, values.shape[1]) if model.likelihood(name).scores_recorded() else values
            for name, values in inputs.items()
        }
        match = {name: torch.from_numpy(samples[name]["match"].to_numpy().ravel().astype(np.int64)) for name in inputs}
        return cls(inputs, targets, match)

    def batch(self, pairs: NDArray[np.int64]) -> Batch:
        """Return tuples ``(tuple, animal)`` as a batch."""
        present = torch.from_numpy(pairs >= 0)
        rows = dict(zip(self.inputs, torch.from_numpy(np.maximum(pairs, 0)).unbind(1), strict=True))
        inputs, targets = ({name: values[rows[name]] for name, values in of.items()} for of in (self.inputs, self.targets))
        codes = torch.stack([self.match[name][index] for name, index in rows.items()], dim=1)
        return Batch(inputs, targets, present.T.float(), codes.masked_fill(~present, -1).amax(1))
