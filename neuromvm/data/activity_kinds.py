"""Kinds of activity: how each is binned, transformed and modelled; the table of docs/activity_kinds.md."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import xarray as xr

from neuromvm import schema
from neuromvm.errors import SchemaError, SpecError

TransformName = Literal["none", "sqrt", "log1p", "per_millisecond"]
OF_NUMBERS = ("squared_error", "gaussian", "laplace")
OF_AMPLITUDES = (*OF_NUMBERS, "gamma")
OF_COUNTS = (
    *("poisson", "negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial"),
    *("bernoulli", "categorical"),
)


class ActivityKind(NamedTuple):
    """What a kind of activity is, what merged bins hold, its transforms (the default first) and likelihoods that fit.

    ``scaled``: whether ``samples.scale`` applies. Pixels and one-hot tokens have a common scale already.
    """

    meaning: str
    merged: Literal["sum", "mean"]
    transforms: tuple[TransformName, ...]
    likelihoods: tuple[str, ...]
    scaled: bool = True


KINDS = {
    "counts": ActivityKind("spikes in a bin", "sum", ("sqrt", "none", "log1p", "per_millisecond"), OF_NUMBERS + OF_COUNTS),
    "rates": ActivityKind("spikes a second, smoothed or estimated", "mean", ("sqrt", "none", "log1p"), OF_AMPLITUDES),
    "fluorescence": ActivityKind("fluorescence, ΔF/F, z-scores: whatever can be negative", "mean", ("none",), OF_NUMBERS),
    "amplitudes": ActivityKind(
        "inferred events (deconvolved calcium)",
        "mean",
        ("sqrt", "none", "log1p"),
        (*OF_AMPLITUDES, "bernoulli", "categorical"),
    ),
    "power": ActivityKind("power of a field potential in frequency bands", "mean", ("sqrt", "none", "log1p"), OF_AMPLITUDES),
    "image": ActivityKind(
        "pixels of an image as bins, its channels as units", "mean", ("none",), (*OF_NUMBERS, "bernoulli"), scaled=False
    ),
    "tokens": ActivityKind(
        "positions in a text as bins, its vocabulary, one-hot, as units", "mean", ("none",), ("categorical",), scaled=False
    ),
    "vector": ActivityKind("numbers without order, one bin", "mean", ("none",), OF_NUMBERS),
}


def kind_of(activity: xr.DataArray) -> str:
    """Return the kind of the activity of an animal, of recordings or of samples.

    Without ``attrs["activity_kind"]``, spike counts are counts; other recordings are ``amplitudes``, or ``fluorescence`` if a
    number is negative.
    """
    variable = variable_of(activity)
    declared = activity.attrs.get(schema.ACTIVITY_KIND)
    if declared in schema.ACTIVITY_KINDS and schema.ACTIVITY_KINDS[declared].variable == variable:
        return str(declared)
    if variable == "spike_count":
        return "counts"
    in_samples = "kind" in activity.attrs  # the kind of recordings was stored when they were cut
    return "fluorescence" if not in_samples and schema.can_be_negative(activity) else "amplitudes"


def kinds_of(recordings: Mapping[str, xr.DataArray]) -> dict[str, str]:
    """Return the kind of the activity of each animal; if one of those without a declared kind is negative, all of them can be."""
    kinds = {animal: kind_of(activity) for animal, activity in recordings.items()}
    guessed = {
        animal
        for animal, activity in recordings.items()
        if schema.ACTIVITY_KIND not in activity.attrs and variable_of(activity) != "spike_count"
    }
    if any(kinds[animal] == "fluorescence" for animal in guessed):
        kinds |= dict.fromkeys(guessed, "fluorescence")
    return kinds


def variable_of(activity: xr.DataArray) -> str:
    """Return the name of the variable of recordings that holds the activity, or that samples were cut from."""
    return str(activity.attrs.get("kind", activity.name))


def transform_of(activity: xr.DataArray, transform: str) -> TransformName:
    """Return the transform for the activity of an animal, see :func:`fitting_transform`."""
    return fitting_transform(kind_of(activity), transform)


def fitting_transform(kind: str, transform: str) -> TransformName:
    """Return the transform for a kind of activity: that of the spec, or for ``auto`` the default of the kind.

    Raises SchemaError if the transform of the spec does not fit: a square root or logarithm of negative numbers has no value.
    """
    fitting, (variable, negative, _) = KINDS[kind].transforms, schema.ACTIVITY_KINDS[kind]
    if transform == "auto":
        return fitting[0]
    for name in fitting:
        if name == transform:
            return name
    of_spikes = transform == "per_millisecond"
    raise SchemaError(
        f"samples.transform={transform}",
        found=variable if of_spikes or not negative else f"{variable} of kind {kind}, which can be negative",
        expected="spike_count" if of_spikes else f"activity that is not negative, or {' or '.join(fitting)}",
        next_step=f"Leave samples.transform out, or set it to {' or '.join(fitting)}",
    )


def common_transform(kinds: Iterable[str], transform: str) -> str:
    """Return the transform of all kinds, or ``auto`` if theirs differ; errors are those of :func:`fitting_transform`."""
    transforms = {fitting_transform(kind, transform) for kind in kinds}
    return transforms.pop() if len(transforms) == 1 else "auto"


def check_likelihood(animal: str, activity: xr.DataArray, likelihood: str) -> None:
    """Raise SpecError unless a likelihood, by its name in a spec, fits the kind of activity of an animal."""
    kind = kind_of(activity)
    if likelihood not in KINDS[kind].likelihoods:
        raise SpecError(
            f"likelihood of animal {animal}",
            found=f"{likelihood}, and activity of kind {kind}: {KINDS[kind].meaning}",
            expected=f"one of {', '.join(KINDS[kind].likelihoods)}",
            next_step="Choose another likelihood; if the activity is of another kind, say so in its attrs['activity_kind']",
        )


def kinds_table() -> str:
    """Return the table of kinds in Markdown."""
    rows = ["| kind | what it is | variable | numbers | merged bins | transforms, the default first | likelihoods |"]
    rows.append("|" + "---|" * 7)
    for name, kind in KINDS.items():
        variable, negative, _ = schema.ACTIVITY_KINDS[name]
        numbers = {"counts": "0, 1, 2, ...", "tokens": "0 or 1"}.get(name, "any" if negative else "0 or more")
        transforms, likelihoods = ", ".join(kind.transforms), ", ".join(kind.likelihoods)
        rows.append(f"| `{name}` | {kind.meaning} | `{variable}` | {numbers} | {kind.merged} | {transforms} | {likelihoods} |")
    return "\n".join(rows) + "\n"
