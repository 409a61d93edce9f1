"""A run folder: everything an experiment computed, readable without the code that made it.

``spec.yaml``, ``provenance.json``, ``recordings.nc``, ``splits.nc``, ``models/<name>/`` (metrics, pairs, checkpoints,
weights, latents, paths, agreement; units, traversals, transferred, imputed if analyses need them), ``refits/<row>/``,
``scores/<analysis>.nc``, ``figures/``, ``summary.json``, ``report.html``.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neuromvm import schema
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.data.design import DesignFlag, design_flags
from neuromvm.data.html import card
from neuromvm.data.memory import read_recordings
from neuromvm.data.windows import make_samples
from neuromvm.errors import RunFolderError, did_you_mean
from neuromvm.files import DELETE, read_dataset, read_json, read_lines, read_tree
from neuromvm.folders.records import Epoch, Summary, TrainingRecord
from neuromvm.folders.tensors import read_tensors
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.files import load_run_spec

LABELS = "labels"  # the null of refits on data whose labels are permuted


class Study:
    """An open run folder. Trees are read when first asked for.

    Parameters
    ----------
    path
        The run folder.

    Raises
    ------
    RunFolderError
        If it is not a run folder, or what is asked for has not been computed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._checked: set[str] = set()  # models whose weights have been read
        if not (self.path / "spec.yaml").is_file():
            raise RunFolderError(
                str(path),
                found="no spec.yaml",
                expected="a run folder",
                next_step="Make one: neuromvm run EXPERIMENT.yaml --out RUN",
            )

    @cached_property
    def spec(self) -> ExperimentSpec:
        """The experiment, defaults written out."""
        return load_run_spec(self.path / "spec.yaml")

    @cached_property
    def recordings(self) -> xr.DataTree:
        """Activity of every animal on the grid of the data spec."""
        return read_recordings(self.path / "recordings.nc")

    @cached_property
    def samples(self) -> xr.DataTree:
        """Windows, labels and match codes of every animal."""
        return make_samples(self.recordings, self.spec.samples)

    @cached_property
    def splits(self) -> xr.DataTree:
        """Which trials trained, validated and tested."""
        return read_splits(self.path / "splits.nc")

    @cached_property
    def design(self) -> list[DesignFlag]:
        """What makes trials of an animal hard to exchange, such as classes in few runs of trials."""
        return design_flags(self.samples, self.splits, self.spec.split.order or "onset")

    @property
    def models(self) -> list[str]:
        """Names of the models of the experiment."""
        return list(self.spec.models)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Versions, device, data hashes and command of the run."""
        return dict(read_json(self.path / "provenance.json", dict[str, Any]))

    def _repr_html_(self) -> str:
        summary = self.path / "summary.json"
        analyses = read_json(summary, Summary)["analyses"] if summary.is_file() else {}
        models = [
            {
                "model": name,
                "sharing": model.sharing.kind,
                "latents": model.latent,
                "fitted": "yes" if (self.path / "models" / name / "latents.nc").is_file() else "no",
            }
            for name, model in self.spec.models.items()
        ]
        facts = {
            "folder": self.path,
            "data": self.spec.data.spec,
            "split": self.spec.split.kind,
            "analyses": ", ".join(analyses) or "none computed",
            "report": "report.html" if (self.path / "report.html").is_file() else "none",
        }
        return card(f"Study {self.spec.name}", facts, pd.DataFrame(models))

    def model_folder(self, model: str) -> Path:
        """Return the folder of one model."""
        if model not in self.models:
            raise RunFolderError(str(self.path), found=f"no model {model!r}", next_step=did_you_mean(model, self.models))
        return self.path / "models" / model

    def latents(self, model: str) -> xr.DataTree:
        """Return posteriors of all samples, see :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`."""
        self._check_weights(model)
        return read_latents(self.model_folder(model) / "latents.nc")

    def paths(self, model: str) -> xr.DataTree | None:
        """Return latents followed in time, first replica only: of a model of paths or by windows slid over the grid.

        None if the model's latents are not paths and ``path_step`` was not set.
        """
        file = self.model_folder(model) / "paths.nc"
        return read_latents(file) if file.is_file() else None

    def agreement(self, model: str) -> xr.Dataset | None:
        """Return which animals agree and which latents carry nothing, see
        :func:`neuromvm.inference.agreement.posterior_agreement`.

        None in a run made before this was computed.
        """
        file = self.model_folder(model) / "agreement.nc"
        return read_dataset(file) if file.is_file() else None

    def units(self, model: str) -> xr.DataTree:
        """Return posterior means with each unit silenced, first replica only, see :func:`neuromvm.inference.ablation.ablate`.

        Runs of earlier versions hold the effects of units instead; the analysis ``attribution`` reads either.
        """
        return self._asked_for(model, "units.nc", "attribution")

    def traversals(self, model: str) -> xr.DataTree:
        """Return the activity that each latent stands for, first replica only, see
        :func:`neuromvm.inference.traversal.traverse`.
        """
        return self._asked_for(model, "traversals.nc", "attribution")

    def transferred(self, model: str) -> xr.DataTree:
        """Return each animal's activity decoded from each animal's latents, see :func:`neuromvm.inference.transfer.transfer`."""
        return self._asked_for(model, "transferred.nc", "coherence or spikes")

    def imputed(self, model: str) -> xr.DataTree:
        """Return each animal's activity imputed from all others, see :func:`neuromvm.inference.transfer.impute_each`."""
        return self._asked_for(model, "imputed.nc", "coherence")

    def _check_weights(self, model: str) -> None:
        """Raise RunFolderError if the weights that latents were inferred with are damaged; each model once."""
        file = self.model_folder(model) / "weights.safetensors"
        if model not in self._checked and file.is_file():
            read_tensors(file)
        self._checked.add(model)

    def _asked_for(self, model: str, name: str, analysis: str) -> xr.DataTree:
        file = self.model_folder(model) / name
        if not file.is_file():
            raise RunFolderError(
                str(file),
                found="not computed",
                expected=f"a run whose experiment has the analysis {analysis}",
                next_step=f"Add '{analysis.split()[0]}: {{}}' to its analyses: neuromvm run EXPERIMENT.yaml --out RUN --resume",
            )
        return read_tree(file)

    def rate_terms(self, model: str) -> list[str]:
        """Return the names of the terms of a model's rate: its animals, or ``joint``, or ``shared`` and ``private``."""
        return list(read_json(self.model_folder(model) / "training.json", TrainingRecord)["rate_terms"])

    def metrics(self, model: str) -> list[dict[str, Any]]:
        """Return one record an epoch, see :class:`neuromvm.training.trainer.EpochRecord`."""
        file = self.model_folder(model) / "metrics.jsonl"
        if not file.is_file():
            return []
        return read_lines(file, Epoch, "Delete the model's folder and resume the run")

    def scores(self, analysis: str) -> xr.Dataset:
        """Return the saved scores of an analysis."""
        file = self.path / "scores" / f"{analysis}.nc"
        scores = read_dataset(file)
        if scores.attrs.get("schema_version") != schema.VERSION:
            raise RunFolderError(
                str(file),
                found="scores of another version",
                next_step=f"Compute them again: neuromvm analyze {analysis} RUN",
            )
        return scores

    def refits(self, row: str, settings: list[str]) -> dict[str, xr.Dataset]:
        """Return the scores of a model or baseline refitted on null data, by the name of the null.

        Parameters
        ----------
        row
            The model or baseline.
        settings
            Its settings in the table; refits under other settings are left out, and of the null ``labels`` those within other
            blocks or by another rearrangement.

        Returns
        -------
        Name of a null -> scores of :func:`neuromvm.analysis.decoding.scoring.null_scores`, null data sets along ``permutation``.
        Empty if there are no refits.
        """
        folder = self.path / "refits" / row
        files: dict[str, list[Path]] = {}
        for file in sorted(folder.rglob("[0-9]*.nc")):
            files.setdefault(LABELS if file.parent == folder else file.parent.name.replace("_", " "), []).append(file)
        nulls = self.spec.nulls
        of_labels = {"within": nulls.within or "", "rearrangement": nulls.rearrangement}
        scores = {}
        for null, of_null in files.items():
            expected = {"settings": json.dumps(settings)} | (of_labels if null == LABELS else {})
            packs = [read_dataset(file) for file in of_null]
            packs = [pack for pack in packs if {"rearrangement": "permute", **pack.attrs}.items() >= expected.items()]
            if packs:
                joined = xr.concat(
                    packs, dim="permutation", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override"
                )
                scores[null] = joined.drop_duplicates("permutation").sortby("permutation")
        return scores

    def exchanged_scores(self, model: str, analysis: str, settings: str) -> xr.Dataset | None:
        """Return what an analysis computed on refits of a model with exchanged names, null data along ``permutation``.

        ``settings`` are the options on which it depends; None if there is nothing under these.
        """
        folder = refit_file(self.path, model, range(1, 2), CORRESPONDENCE).parent
        packs = [read_dataset(file) for file in sorted(folder.glob(f"{analysis}-*.nc"))]
        packs = [pack for pack in packs if pack.attrs.get("settings") == settings]
        if not packs:
            return None
        return xr.concat(packs, dim="permutation").drop_duplicates("permutation").sortby("permutation")

    @property
    def has_refits(self) -> bool:
        """Whether a row of the decoding table was fitted again with labels permuted."""
        return any((self.path / "refits").glob("*/*.nc"))

    @property
    def summary(self) -> dict[str, Any]:
        """Every score with its interval, floor, chance and n; see ``summary.json``."""
        file = self.path / "summary.json"
        if not file.is_file():
            raise RunFolderError(
                str(self.path), found="no summary.json", next_step="Compute scores: neuromvm analyze decoding RUN"
            )
        return dict(read_json(file, Summary, "Delete it and compute scores: neuromvm analyze decoding RUN"))


def read_splits(path: Path) -> xr.DataTree:
    """Return splits from a file, or raise RunFolderError if it is damaged."""
    splits = read_tree(path, {"part": ("split", "trial")})
    known = [int(part) for part in schema.Part]
    for animal, node in splits.children.items():
        if not np.isin(node["part"].to_numpy(), known).all():
            raise RunFolderError(str(path), found=f"{animal}/part: values that are no part of a split", next_step=DELETE)
    return splits


def read_latents(path: Path) -> xr.DataTree:
    """Return latents from a file, or raise RunFolderError if it is damaged or has NaN or infinity."""
    dims = ("replica", "trial", "window", "latent")
    return read_tree(path, {"latent_mean": dims, "latent_scale": dims}, finite=True)


def refit_file(run: Path, row: str, permutations: range, null: str = LABELS, analysis: str = "") -> Path:
    """Return the file of the refits of a row on consecutive null data sets; nulls but ``labels`` have a subfolder.

    Files hold scores of decoding, or with ``analysis`` what another analysis computed on the refits.
    """
    folder = run / "refits" / row
    name = f"{permutations[0]:05d}-{permutations[-1]:05d}.nc"
    return (folder if null == LABELS else folder / null.replace(" ", "_")) / (f"{analysis}-{name}" if analysis else name)
