"""The bridge out: a fitted stack of models turns samples into labelled latents."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from neuromvm import schema
from neuromvm.build import build_model
from neuromvm.data.batches import Replica, StackBatches
from neuromvm.data.features import Scaler, features
from neuromvm.data.windows import sample_spec
from neuromvm.errors import RunFolderError, SchemaError
from neuromvm.folders import read_json, write_atomically
from neuromvm.models import MultimodalVAE
from neuromvm.specs.experiment import ModelSpec, SampleSpec

VERSION = 1


class FittedStack:
    """Replicas of one model after training, with the scaling each was trained under.

    Parameters
    ----------
    spec
        The architecture.
    replicas
        Split and seed of each member.
    weights
        Parameter or buffer -> ``(replica, ...)``.
    scalers
        Animal -> one scaler a replica.
    trained_on
        Spec of the samples.
    """

    def __init__(
        self,
        spec: ModelSpec,
        replicas: Sequence[Replica],
        weights: dict[str, Tensor],
        scalers: dict[str, list[Scaler]],
        trained_on: SampleSpec,
    ) -> None:
        self.spec, self.replicas, self.scalers, self.trained_on = spec, list(replicas), scalers, trained_on
        self.weights = {name: value.detach().cpu() for name, value in weights.items()}

    def __repr__(self) -> str:
        animals = ", ".join(self.scalers)
        return f"FittedStack({self.spec.sharing}, {len(self.replicas)} replicas, {self.spec.latent} latents, animals: {animals})"

    @classmethod
    def of(cls, spec: ModelSpec, batches: StackBatches, weights: dict[str, Tensor]) -> "FittedStack":
        """Join trained weights with the scaling of their data."""
        return cls(spec, batches.replicas, weights, batches.scalers, batches.sample_spec)

    def first_replica(self) -> "FittedStack":
        """Return a stack of the first replica alone."""
        return FittedStack(
            self.spec,
            self.replicas[:1],
            {name: value[:1] for name, value in self.weights.items()},
            {name: each[:1] for name, each in self.scalers.items()},
            self.trained_on,
        )

    def member(self, replica: int) -> MultimodalVAE:
        """Return one replica as a module of its own, in evaluation mode."""
        model = build_model(self.spec, {name: len(each[0].center) for name, each in self.scalers.items()}, seed=0)
        model.load_state_dict({name: value[replica] for name, value in self.weights.items()}, strict=True)
        return model.eval()

    @torch.no_grad()
    def embed(self, samples: xr.DataTree) -> xr.DataTree:
        """Infer the posterior of every sample in every replica.

        Parameters
        ----------
        samples
            Made with the same animals, units and bins as those trained on; windows may differ.

        Returns
        -------
        One node an animal: ``latent_mean`` and ``latent_scale`` ``(replica, trial, window, latent)``, float32, labels copied;
        coords ``split`` and ``seed`` on replica.

        Raises
        ------
        SchemaError
            If an animal is missing or its features differ in number.

        Examples
        --------
        >>> latents = fitted.embed(samples)  # doctest: +SKIP
        >>> latents["mitt"].latent_mean.dims  # doctest: +SKIP
        ('replica', 'trial', 'window', 'latent')
        """
        schema.expect_tree(samples, "activity", "samples", "Make them: make_samples(recordings, SampleSpec(...))")
        values = {name: self._features(name, samples) for name in self.scalers}
        posteriors: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in self.scalers}
        for number in range(len(self.replicas)):
            model = self.member(number)
            for name, array in values.items():
                scaled = torch.from_numpy(self.scalers[name][number](array).reshape(-1, array.shape[2]))
                mean, scale = model.encoders[name](scaled)
                shape = (*array.shape[:2], self.spec.latent)
                posteriors[name].append((mean.reshape(shape).numpy(), scale.reshape(shape).numpy()))
        return xr.DataTree(
            dataset=xr.Dataset(attrs=samples.attrs),
            children={name: xr.DataTree(self._node(samples[name].to_dataset(), posteriors[name])) for name in values},
        )

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``fitted.json``; they hold numbers and text only, no pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"weight/{name}": value.contiguous() for name, value in self.weights.items()}
        for name, each in self.scalers.items():
            tensors[f"center/{name}"] = torch.from_numpy(np.stack([scaler.center for scaler in each]))
            tensors[f"spread/{name}"] = torch.from_numpy(np.stack([scaler.spread for scaler in each]))
        about = {
            "version": VERSION,
            "model": self.spec.model_dump(mode="json"),
            "replicas": [replica._asdict() for replica in self.replicas],
            "animals": list(self.scalers),
            "samples": self.trained_on.model_dump(mode="json"),
        }
        write_atomically(folder / "weights.safetensors", save(tensors))
        write_atomically(folder / "fitted.json", json.dumps(about, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> "FittedStack":
        """Read what :meth:`save` wrote, on the CPU whatever device it was trained on.

        Raises
        ------
        RunFolderError
            If a file is missing or of another version.
        """
        try:
            about = read_json(folder / "fitted.json")
            tensors = load((folder / "weights.safetensors").read_bytes())
        except FileNotFoundError as error:
            raise RunFolderError(str(folder), found=f"no {Path(error.filename).name}", expected="a fitted model") from error
        except SafetensorError as error:
            raise RunFolderError(
                str(folder / "weights.safetensors"),
                found=f"damaged ({error})",
                next_step="Delete fitted.json beside it and resume the run: training goes on from its last checkpoint",
            ) from error
        if about["version"] != VERSION:
            raise RunFolderError(str(folder), found=f"version {about['version']}", expected=f"version {VERSION}")
        weights = {key.removeprefix("weight/"): value for key, value in tensors.items() if key.startswith("weight/")}
        trained_on = SampleSpec.model_validate(about["samples"])
        scalers = {
            name: [
                Scaler(center, spread, trained_on.clip)
                for center, spread in zip(tensors[f"center/{name}"].numpy(), tensors[f"spread/{name}"].numpy(), strict=True)
            ]
            for name in about["animals"]
        }
        replicas = [Replica(**replica) for replica in about["replicas"]]
        return cls(ModelSpec.model_validate(about["model"]), replicas, weights, scalers, trained_on)

    def _features(self, name: str, samples: xr.DataTree) -> np.ndarray:
        if name not in samples.children:
            raise SchemaError(
                "samples", found=f"no animal {name!r}", expected=f"the animals trained on: {', '.join(self.scalers)}"
            )
        spec = sample_spec(samples)
        for setting in ("transform", "smooth"):
            if getattr(spec, setting) != getattr(self.trained_on, setting):
                raise SchemaError(
                    f"samples.{setting}",
                    found=f"{getattr(spec, setting)}",
                    expected=f"{getattr(self.trained_on, setting)}, as trained on",
                )
        values = features(samples[name].to_dataset()["activity"], spec)
        trained = len(self.scalers[name][0].center)
        if values.shape[2] != trained:
            raise SchemaError(
                f"samples/{name}", found=f"{values.shape[2]} features", expected=f"{trained}, as trained on (bins times units)"
            )
        return values

    def _node(self, samples: xr.Dataset, posteriors: list[tuple[np.ndarray, np.ndarray]]) -> xr.Dataset:
        dims = ("replica", "trial", "window", "latent")
        node = samples[["label", "match"]].assign(
            latent_mean=(dims, np.stack([mean for mean, _ in posteriors])),
            latent_scale=(dims, np.stack([scale for _, scale in posteriors])),
        )
        return node.assign_coords(
            replica=np.arange(len(self.replicas)),
            latent=np.arange(self.spec.latent),
            split=("replica", [replica.split for replica in self.replicas]),
            seed=("replica", [replica.seed for replica in self.replicas]),
        )
