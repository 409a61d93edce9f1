"""A fitted stack of models, which turns samples into labelled latents."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.func import functional_call

from neuromvm import schema
from neuromvm.build import build_model
from neuromvm.data.activity_kinds import transform_of
from neuromvm.data.features import FLOAT, Scaler, features
from neuromvm.data.html import card
from neuromvm.data.memory import row_blocks
from neuromvm.data.replicas import Replica
from neuromvm.data.windows import WindowShape, sample_spec, window_shape
from neuromvm.errors import ArgumentError, RunFolderError, SchemaError, did_you_mean, expect
from neuromvm.files import read_json, readable, write_atomically
from neuromvm.folders.tensors import TRAIN_AGAIN, check_shapes, read_tensors, write_tensors
from neuromvm.models import MultimodalVAE
from neuromvm.networks import PathDecoder
from neuromvm.specs import ModelSpec, SampleSpec

VERSION = 1
WEIGHT, SIDES = "weight/", ("center", "spread")  # beginnings of the names of tensors


class FittedStack:
    """Replicas of one model after training, with the scaling each was trained under.

    Parameters
    ----------
    spec, trained_on
        Of the model, and of the samples.
    replicas
        Split and seed of each member.
    weights
        Parameter or buffer -> ``(replica, ...)``.
    scalers, windows
        Animal -> one scaler a replica, and the shape of its windows.
    conditions
        Names of the match codes, by which samples were paired.
    """

    def __init__(
        self,
        spec: ModelSpec,
        replicas: Sequence[Replica],
        weights: dict[str, Tensor],
        scalers: dict[str, list[Scaler]],
        windows: dict[str, WindowShape],
        trained_on: SampleSpec,
        conditions: Sequence[str] = (),
    ) -> None:
        self.spec, self.replicas, self.scalers, self.trained_on = spec, list(replicas), scalers, trained_on
        self.windows, self.conditions = windows, tuple(conditions)
        self.weights = {name: value.detach().cpu() for name, value in weights.items()}

    def __repr__(self) -> str:
        size = f"{len(self.replicas)} replicas, {self.spec.latent} latents"
        return f"FittedStack({self.spec.sharing.kind}, {size}, animals: {', '.join(self.scalers)})"

    def first_replica(self) -> "FittedStack":
        """Return a stack of the first replica alone."""
        return self.subset([0])

    def subset(self, replicas: Sequence[int]) -> "FittedStack":
        """Return a stack of some of the replicas, given by their indices."""
        indices = list(replicas)
        return FittedStack(
            self.spec,
            [self.replicas[index] for index in indices],
            {name: value[indices] for name, value in self.weights.items()},
            {name: [scalers[index] for index in indices] for name, scalers in self.scalers.items()},
            self.windows,
            self.trained_on,
            self.conditions,
        )

    def member(self, replica: int) -> MultimodalVAE:
        """Return one replica as a module of its own, in evaluation mode."""
        model = build_model(self.spec, self.windows, seed=0)
        model.load_state_dict({name: value[replica] for name, value in self.weights.items()}, strict=True)
        return model.eval()

    @torch.no_grad()
    def embed(self, samples: xr.DataTree) -> xr.DataTree:
        """Infer the posterior of every sample in every replica.

        Samples hold animals trained on, all or some of them, with the same units and bins, else a SchemaError is raised; trials
        and windows may differ. Other animals in ``samples`` have no encoder and are left out.

        Returns
        -------
        One node an animal: ``latent_mean`` and ``latent_scale`` ``(replica, trial, window, latent)``, float32, labels copied;
        coords ``split``, ``seed``, ``permutation`` and ``exchange`` on replica, ``shared`` on latent: False where a latent is
        private to its animal. A replica trained on null data sees the same null data (:mod:`neuromvm.data.permutation`).
        """
        schema.expect_samples(samples)
        model = self.member(0)
        nodes = {}
        for name in self._known(samples):
            dataset = samples[name].to_dataset()
            mean, scale = self._posteriors(model.encoders[name], name, samples)
            for number, replica in enumerate(self.replicas):
                if replica.permutation:
                    source = replica.null_data(name, dataset).samples()
                    for values in (mean, scale):
                        values[number] = values[number].flatten(0, 1)[source].reshape(values[number].shape)
            nodes[name] = xr.DataTree(self._node(dataset[["label", "match"]], mean.numpy(), scale.numpy(), model.shared_latents))
        return xr.DataTree(dataset=xr.Dataset(attrs=samples.attrs), children=nodes)

    def transform(self, samples: xr.DataTree, animal: str | None = None) -> xr.DataTree:
        """Infer latents as :meth:`embed` does, also of one animal alone: ``fitted.transform(samples["rat1"])``.

        Parameters
        ----------
        samples
            Samples of animals trained on, some or all of them, or the node of one animal. A new session must have the units of
            the trained one, and the same bins.
        animal
            Whose encoder reads samples of a single animal, which may have another name: a later session ``rat1_day2`` of
            ``rat1``.

        Returns
        -------
        What :meth:`embed` returns; a session read by the encoder of ``animal`` keeps its own name.
        """
        expect(
            samples, xr.DataTree, "samples", 'Make them: make_samples(recordings, SampleSpec(start=0, stop=1, label=["odor"]))'
        )
        if "activity" in samples.data_vars:
            name = samples.name or animal or ""
            samples = xr.DataTree(
                dataset=xr.Dataset(attrs=samples.root.attrs), children={name: xr.DataTree(samples.to_dataset())}
            )
        if animal is None:
            return self.embed(samples)
        if len(samples.children) != 1:
            raise ArgumentError("animal", found=f"samples of {len(samples.children)} animals", expected="samples of one")
        if animal not in self.scalers:
            raise ArgumentError("animal", found=f"no animal {animal!r}", next_step=did_you_mean(animal, list(self.scalers)))
        ((name, node),) = samples.children.items()
        renamed = xr.DataTree(dataset=samples.to_dataset(), children={animal: xr.DataTree(node.to_dataset())})
        latents = self.embed(renamed)
        return xr.DataTree(dataset=latents.to_dataset(), children={name: xr.DataTree(latents[animal].to_dataset())})

    def _repr_html_(self) -> str:
        replicas = f"{len(self.replicas)} ({len({replica.split for replica in self.replicas})} splits)"
        facts = {
            "sharing": self.spec.sharing.kind,
            "networks": self.spec.networks.kind,
            "likelihood": self.spec.likelihood.kind,
            "latents": self.spec.latent,
            "beta": self.spec.beta,
            "replicas": replicas,
        }
        shapes = [
            {"animal": name, "units": window.units, "bins": window.bins, "bin width": window.bin_width}
            for name, window in self.windows.items()
        ]
        return card("Fitted model", facts, pd.DataFrame(shapes))

    @torch.no_grad()
    def embed_paths(self, samples: xr.DataTree) -> xr.DataTree | None:
        """Infer the latent path of every trial, of one window, where the model's latents are paths; else return None.

        The result is as that of :meth:`embed`, ``window`` being the bins of the trial and ``latent_scale`` the deviation of a
        path in each bin.
        """
        schema.expect_samples(samples)
        model = self.member(0)
        roots = {name: decoder.root for name, decoder in model.decoders.items() if isinstance(decoder, PathDecoder)}
        if not roots:
            return None
        nodes = {}
        for name in self._known(samples):
            dataset, root = samples[name].to_dataset(), roots[name]
            if dataset.sizes["window"] != 1:
                raise SchemaError(
                    f"samples/{name}", found=f"{dataset.sizes['window']} windows a trial", expected="one, the whole path"
                )
            code_mean, code_scale = (
                values[:, :, 0].reshape(len(values), dataset.sizes["trial"], -1, root.shape[1])
                for values in self._posteriors(model.encoders[name], name, samples)
            )
            mean = (code_mean @ root.T).transpose(2, 3).numpy()
            scale = (code_scale.square() @ root.square().T).sqrt().transpose(2, 3).numpy()
            window = self.windows[name]
            centre = float(dataset["window"][0]) + window.bin_width * (np.arange(window.bins) - (window.bins - 1) / 2)
            labels = dataset[["label", "match"]].isel(window=np.zeros(window.bins, dtype=int))
            attrs = {**dataset["window"].attrs, "width": window.bin_width}
            labels = labels.assign_coords(window=("window", np.round(centre, 9), attrs))
            nodes[name] = xr.DataTree(self._node(labels, mean, scale, model.shared_latents // root.shape[1]))
        return xr.DataTree(dataset=xr.Dataset(attrs=samples.attrs), children=nodes)

    def scaled(self, samples: xr.DataTree, animal: str, replica: int) -> Tensor:
        """Return the features of an animal as its encoder sees them, ``(trial, window, feature)``."""
        self._check_animal(animal, samples)
        activity = samples[animal].to_dataset()["activity"]
        return torch.from_numpy(self.scalers[animal][replica](features(activity, self.trained_on)))

    def _posteriors(self, encoder: nn.Module, name: str, samples: xr.DataTree) -> tuple[Tensor, Tensor]:
        """Return mean and scale in each replica ``(replica, trial, window, latent)``, encoded in blocks that fit into memory."""
        activity = samples[name].to_dataset()["activity"]
        prefix = f"encoders.{name}."
        weights = {key.removeprefix(prefix): value for key, value in self.weights.items() if key.startswith(prefix)}
        means: list[Tensor] = []
        scales: list[Tensor] = []
        trials, windows = activity.sizes["trial"], activity.sizes["window"]
        for block in row_blocks(trials, self.windows[name].features * windows * FLOAT):
            values = features(activity.isel(trial=block), self.trained_on)
            posteriors = []
            for number, scaler in enumerate(self.scalers[name]):
                member = {key: value[number] for key, value in weights.items()}
                posteriors.append(functional_call(encoder, member, (torch.from_numpy(scaler(values)).flatten(0, 1),)))
            means.append(torch.stack([mean for mean, _ in posteriors]))
            scales.append(torch.stack([scale for _, scale in posteriors]))
        mean, scale = (torch.cat(blocks, dim=1).reshape(len(self.replicas), trials, windows, -1) for blocks in (means, scales))
        return mean, scale

    def save(self, folder: str | Path) -> None:
        """Write ``weights.safetensors`` and ``fitted.json``; they hold numbers and text only, no pickle."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"weight/{name}": value.numpy() for name, value in self.weights.items()}
        for name, scalers in self.scalers.items():
            tensors[f"center/{name}"] = np.stack([scaler.center for scaler in scalers])
            tensors[f"spread/{name}"] = np.stack([scaler.spread for scaler in scalers])
        content = {
            "version": VERSION,
            "model": self.spec.model_dump(mode="json"),
            "replicas": [replica.about() for replica in self.replicas],
            "animals": {name: window._asdict() for name, window in self.windows.items()},
            "conditions": list(self.conditions),
            "samples": self.trained_on.model_dump(mode="json"),
        }
        write_tensors(folder / "weights.safetensors", tensors)
        write_atomically(folder / "fitted.json", json.dumps(content, indent=1).encode())

    @classmethod
    def load(cls, folder: str | Path) -> "FittedStack":
        """Read what :meth:`save` wrote, to the CPU.

        Raises
        ------
        RunFolderError
            If a file is missing, damaged or of another version, or weights are not those of the model or not finite.
        """
        folder = Path(folder)
        file, tensor_file = folder / "fitted.json", folder / "weights.safetensors"
        for path in (file, tensor_file):
            if not path.is_file():
                raise RunFolderError(str(folder), found=f"no {path.name}", expected="a fitted model")
        content = read_json(file, dict[str, Any], TRAIN_AGAIN)
        if content.get("version") != VERSION:
            raise RunFolderError(str(folder), found=f"version {content.get('version')}", expected=f"version {VERSION}")
        tensors = read_tensors(tensor_file)
        with readable(file, TRAIN_AGAIN):
            trained_on, spec = SampleSpec.model_validate(content["samples"]), ModelSpec.model_validate(content["model"])
            replicas = TypeAdapter(list[Replica]).validate_python(content["replicas"])
            windows = TypeAdapter(dict[str, WindowShape]).validate_python(content["animals"])
            conditions = TypeAdapter(list[str]).validate_python(content.get("conditions", []))
            if not replicas or not windows:
                raise RunFolderError(str(file), found="no replicas or no animals", next_step=TRAIN_AGAIN)
        scaling = {f"{side}/{name}": (len(replicas), window.features) for name, window in windows.items() for side in SIDES}
        check_shapes(tensor_file, {name: value for name, value in tensors.items() if not name.startswith(WEIGHT)}, scaling)
        weights = {key.removeprefix(WEIGHT): value for key, value in tensors.items() if key.startswith(WEIGHT)}
        with readable(file, TRAIN_AGAIN):
            model = build_model(spec, windows, seed=0)
        shapes = {name: (len(replicas), *value.shape) for name, value in model.state_dict().items()}
        check_shapes(tensor_file, weights, shapes)
        scalers = {
            name: [
                Scaler(center, spread, trained_on.clip)
                for center, spread in zip(*(tensors[f"{side}/{name}"] for side in SIDES), strict=True)
            ]
            for name in windows
        }
        stacked = {name: torch.from_numpy(value) for name, value in weights.items()}
        return cls(spec, replicas, stacked, scalers, windows, trained_on, conditions)

    def check_settings(self, samples: xr.DataTree, settings: Sequence[str]) -> None:
        """Raise SchemaError unless samples were made with the settings of :class:`SampleSpec` that the stack was trained on."""
        spec = sample_spec(samples)
        for setting in settings:
            value, trained = getattr(spec, setting), getattr(self.trained_on, setting)
            if value != trained:
                raise SchemaError(f"samples.{setting}", found=f"{value}", expected=f"{trained}, as trained on")

    def check_transform(self, name: str, samples: xr.DataTree) -> None:
        """Raise SchemaError unless samples of an animal are transformed as those that the stack was trained on."""
        activity = samples[name].to_dataset()["activity"]
        found, trained = (transform_of(activity, spec.transform) for spec in (sample_spec(samples), self.trained_on))
        if found != trained:
            raise SchemaError("samples.transform", found=found, expected=f"{trained}, as trained on")

    def replica_coords(self, *fields: str) -> dict[str, Any]:
        """Return fields of the replicas as coordinates along ``replica``."""
        return {field: ("replica", [getattr(replica, field) for replica in self.replicas]) for field in fields}

    def _known(self, samples: xr.DataTree) -> list[str]:
        """Return the animals of samples that were trained on; raise SchemaError if there is none, or one does not fit."""
        known = [name for name in self.scalers if name in samples.children]
        for name in known or self.scalers:
            self._check_animal(name, samples)
        return known

    def _check_animal(self, name: str, samples: xr.DataTree) -> None:
        if name not in samples.children:
            raise SchemaError(
                "samples", found=f"no animal {name!r}", expected=f"the animals trained on: {', '.join(self.scalers)}"
            )
        self.check_settings(samples, ("smooth",))
        self.check_transform(name, samples)
        shape, trained = window_shape(samples[name].to_dataset()), self.windows[name]
        if shape.features != trained.features:
            expected = f"{trained.features}, as trained on (bins times units)"
            raise SchemaError(f"samples/{name}", found=f"{shape.features} features", expected=expected)
        if not np.isclose(shape.bin_width, trained.bin_width):
            expected = f"bins of {trained.bin_width:g}, as trained on"
            raise SchemaError(f"samples/{name}", found=f"bins of {shape.bin_width:g}", expected=expected)

    def _node(self, labels: xr.Dataset, mean: np.ndarray, scale: np.ndarray, shared: int) -> xr.Dataset:
        dims = ("replica", "trial", "window", "latent")
        node = labels.assign(latent_mean=(dims, mean), latent_scale=(dims, scale))
        coords = {
            "replica": np.arange(len(self.replicas)),
            "latent": np.arange(mean.shape[-1]),
            "shared": ("latent", np.arange(mean.shape[-1]) < shared),
        }
        return node.assign_coords(coords | self.replica_coords("split", "seed", "permutation", "exchange"))
