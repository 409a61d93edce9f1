"""Recordings of modalities that are not neural: images, texts as token sequences, and vectors, a node each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.from_arrays import Labels, checked_columns
from neuromvm.errors import ArgumentError, SchemaError, SplitError
from neuromvm.schema import Part

PARTS = {"train": Part.TRAIN, "validation": Part.VALIDATION, "test": Part.TEST}
LARGEST_BYTE = 255  # of images stored as bytes


def recordings_of_modalities(
    modalities: Mapping[str, Any],
    labels: Mapping[str, Any],
    *,
    kinds: Mapping[str, str] | None = None,
    vocabulary: Mapping[str, int] | None = None,
) -> xr.DataTree:
    """Return recordings in which every modality is a node, as an animal is; they are used like recordings of animals.

    Parameters
    ----------
    modalities
        Modality -> images ``(sample, row, column, channel)``, numbers or bytes (which become 0 to 1); texts ``(sample,
        position)``, integer tokens; or vectors ``(sample, feature)``, floats.
    labels
        Label -> value of each sample ``(sample,)``, the same in all modalities; or modality -> such a dict, or a DataFrame, which
        modalities with other samples need. Samples with equal labels are paired, see ``SampleSpec.match``.
    kinds
        Modality -> ``image``, ``tokens`` or ``vector`` where its dims do not tell, as of grey images ``(sample, row, column)``.
    vocabulary
        Modality -> number of tokens that a text can have; default: the largest that occurs, plus 1.

    Returns
    -------
    One node a modality with ``event_amplitude (trial, position, unit)``, see :mod:`neuromvm.schema`. The positions of an image
    are its pixels, row by row, and its units the channels; those of a text its positions and tokens, one-hot.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong type or a kind is unknown.
    SchemaError
        If dims, types, lengths or names do not fit.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> pairs = {"photo": random.random((6, 8, 8, 3)), "caption": random.integers(0, 9, (6, 5))}
    >>> recordings = recordings_of_modalities(pairs, {"animal": ["cat", "dog"] * 3}, vocabulary={"caption": 9})
    >>> [tuple(recordings[name].sizes[dim] for dim in ("trial", "position", "unit")) for name in ("photo", "caption")]
    [(6, 64, 3), (6, 5, 9)]
    """
    if not isinstance(modalities, Mapping) or not isinstance(labels, Mapping):
        raise ArgumentError(
            "modalities and labels", found=type(labels).__name__, expected="dicts: modality -> array, label -> values"
        )
    schema.check_animal_names(map(str, modalities))
    nodes = {}
    for name, array_like in modalities.items():
        values = np.asarray(array_like)
        kind = (kinds or {}).get(name) or _kind_of(name, values)
        array = _flattened(name, values, kind, (vocabulary or {}).get(name))
        of_modality = labels[name] if isinstance(labels.get(name), Mapping | pd.DataFrame) else labels
        coords: dict[str, Any] = {
            **checked_columns(name, "trial", array, _common(of_modality)),
            "unit": np.arange(array.sizes["unit"]),
            "position": ("position", np.arange(array.sizes["position"]) + 0.5, {"bin_width": 1.0}),
        }
        nodes[name] = xr.Dataset({"event_amplitude": array}, coords)
    root = xr.Dataset(attrs={"schema_version": schema.VERSION})
    return schema.validate_recordings(xr.DataTree.from_dict({"/": root, **nodes}))


def splits_by_label(samples: xr.DataTree, label: str = "part") -> xr.DataTree:
    """Return the one split that a trial label says: ``train``, ``validation`` and ``test``; other trials are unused.

    Modalities that were recorded together are divided together, which random splits of each do not do.

    Raises SplitError if a modality has no training or no test trials.
    """
    nodes = {}
    for name, dataset in schema.animals(samples):
        words = schema.trial_label(name, dataset, label).to_numpy().astype(str)
        part = np.full(len(words), Part.UNUSED, dtype=np.int8)
        for word, side in PARTS.items():
            part[words == word] = side
        for word in ("train", "test"):
            if not (part == PARTS[word]).any():
                problem = f"no trial with {label} {word!r}; values are {', '.join(sorted(set(words.tolist()))[:10])}"
                raise SplitError(f"modality {name}", found=problem, expected="train, test and, if wanted, validation")
        coords = {"trial": dataset["trial"].to_numpy(), "split": [0]}
        nodes[name] = xr.Dataset({"part": (("split", "trial"), part[None])}, coords)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs={"kind": "given", "seed": 0}), **nodes})


def images_of(activity: xr.DataArray) -> NDArray[np.float32]:
    """Return the images ``(trial, row, column, channel)`` of samples with one window; SchemaError if they are something else."""
    if schema.EXTENT not in activity.attrs or activity.sizes["window"] != 1:
        raise SchemaError("samples", found=f"activity of {dict(activity.sizes)}", expected="images, one window a trial")
    values = activity.transpose("trial", "window", "bin", "unit").to_numpy()
    return np.asarray(values.reshape(len(values), *map(int, activity.attrs[schema.EXTENT]), -1), dtype=np.float32)


def _kind_of(name: str, values: NDArray[np.generic]) -> str:
    """Return the kind of a modality that its dims and type tell, or raise SchemaError."""
    if values.dtype.kind in "biuf":
        if values.ndim == 4:
            return "image"
        if values.ndim == 2:
            return "tokens" if values.dtype.kind in "iu" else "vector"
    raise SchemaError(
        f"modality {name}",
        found=f"{values.dtype} of shape {values.shape}",
        expected="images (sample, row, column, channel), integer tokens (sample, position) or floats (sample, feature)",
        next_step=f"Say what it is, for example kinds={{{name!r}: 'image'}}" if values.ndim == 3 else "",
    )


def _flattened(name: str, values: NDArray[np.generic], kind: str, vocabulary: int | None) -> xr.DataArray:
    """Return a modality as activity ``(trial, position, unit)``."""
    attrs: dict[str, Any] = {schema.ACTIVITY_KIND: kind}
    array: NDArray[Any]
    wrong = SchemaError(f"modality {name}", found=f"{values.dtype} of shape {values.shape}", expected=f"what {kind} are made of")
    if kind == "image" and values.ndim in (3, 4) and values.size:
        attrs[schema.EXTENT] = list(values.shape[1:3])
        scale = LARGEST_BYTE if values.dtype == np.uint8 else 1
        array = (values.astype(np.float32) / scale).reshape(len(values), values.shape[1] * values.shape[2], -1)
    elif kind == "tokens" and values.ndim == 2 and values.dtype.kind in "iu" and values.size:
        largest = int(values.max())
        size = largest + 1 if vocabulary is None else vocabulary
        if values.min() < 0 or largest >= size:
            raise SchemaError(f"modality {name}", found=f"tokens {values.min()} to {largest}", expected=f"0 to {size - 1}")
        array = np.zeros((*values.shape, size), dtype=np.uint8)
        np.put_along_axis(array, values[..., None].astype(np.int64), 1, axis=-1)
    elif kind == "vector" and values.ndim == 2 and values.size:
        array = values.astype(np.float32)[:, None, :]
    elif kind not in ("image", "tokens", "vector"):
        raise ArgumentError("argument 'kinds'", found=f"{name}: {kind!r}", expected="image, tokens or vector")
    else:
        raise wrong
    return xr.DataArray(array, dims=("trial", "position", "unit"), attrs=attrs)


def _common(labels: Mapping[str, Any] | pd.DataFrame) -> Labels:
    """Return labels of samples; entries for single modalities are left out."""
    return {str(key): values for key, values in labels.items() if not isinstance(values, Mapping | pd.DataFrame)}
