"""Analysis ``groups``: do two groups of animals (young and aged, control and treated) differ in the saved scores of a run?

The animal is the unit: trials, units and splits of an animal are one number, and what is permuted is which animals make a group.
"""

import json
from collections.abc import Mapping
from math import comb
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, field_validator

from neuromvm.analysis.consistency.between_animals import OWN_NULL
from neuromvm.analysis.consistency.group_tests import (
    Comparison,
    among,
    block_mean,
    compare_animals,
    compare_pairs,
    group_members,
    own_group,
)
from neuromvm.analysis.flat_score import NAN, REASON, Score
from neuromvm.analysis.judged import TRIALS, check_judged, is_difference
from neuromvm.analysis.statistics.over_trials import Floats
from neuromvm.errors import RunFolderError, SpecError, did_you_mean
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

AMONG, OWN = "among", "own group"
FITTED = "none: the scored trials were fitted on, and groups may differ in how closely they were fitted"


class Options(Spec):
    """Two groups of animals and the analysis whose scores are compared."""

    groups: dict[str, tuple[str, ...]] = Field(..., description="Name -> animals of the run; two groups of at least 2")
    analysis: Literal["decoding", "consistency"] = Field("decoding", description="Whose saved scores are compared")
    representations: tuple[str, ...] | None = Field(None, description="Models and baselines; default: all that are saved")
    permutations: int = Field(10000, ge=999, description="Of group labels, where there are more ways than this")
    seed: int = Field(0, ge=0, description="Of the permutations")

    @field_validator("groups")
    @classmethod
    def _two_disjoint_groups(cls, groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if len(groups) != 2:
            raise ValueError(f"two groups are compared, not {len(groups)} ({', '.join(groups)})")
        for name, animals in groups.items():
            if len(set(animals)) < 2:
                raise ValueError(f"group {name!r} has {len(set(animals))} animal: at least 2 are needed to know how animals vary")
        first, second = groups.values()
        twice = sorted((set(first) & set(second)) | {one for each in (first, second) for one in each if each.count(one) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} named twice: an animal is in one group, once")
        return groups


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Compare two groups in the saved scores of a run; :func:`compare_groups` says what is returned.

    Raises
    ------
    SpecError
        If an animal or a representation is unknown.
    RunFolderError
        If the scores have not been computed.
    """
    known = list(study.samples.children)
    for group, animals in options.groups.items():
        for animal in animals:
            if animal not in known:
                where = f"analyses.groups.groups.{group}"
                raise SpecError(where, found=f"no animal {animal!r} in the run", next_step=did_you_mean(animal, known))
    file = study.path / "scores" / f"{options.analysis}.nc"
    if not file.is_file():
        command = f"neuromvm analyze {options.analysis} {study.path}"
        raise RunFolderError(str(file), found="not computed", next_step=f"Compute it first: {command}")
    units = {name: study.samples[name].sizes["unit"] for name in known}
    return compare_groups(study.scores(options.analysis), options, units)


def compare_groups(scores: xr.Dataset, options: Options, units: Mapping[str, int]) -> xr.Dataset:
    """Compare two groups of animals in the scores of ``decoding`` or ``consistency``.

    Parameters
    ----------
    scores
        Of :func:`neuromvm.analysis.decoding.decoding.compute` or :func:`neuromvm.analysis.consistency.consistency.compute`.
    options
        Groups, which representations, permutations.
    units
        Animal -> recorded units: shown, since groups that differ in them differ in scores, too.

    Returns
    -------
    ``difference, low, high, p, smallest_p, null_mean, null_low, null_high, hedges_g (representation, comparison)``. Comparisons
    are: each setting of decoding, mean of the first group minus that of the second; ``among``, pairs of animals within the first
    group minus pairs within the second; ``own group``, pairs within a group minus pairs of two groups; of consistency, the last
    two for each measure. The interval is Welch's (of pairs: each animal is left out in turn, on both axes); ``p`` is two-sided,
    of all ways to make groups of these sizes, or of a sample of them. ``animal_value (representation, setting, animal)``; ``block
    (representation, matrix, source_group, target_group)``, means over pairs of two animals; ``units, trials (animal)``;
    ``group(animal)``.

    Raises
    ------
    SpecError
        If a representation is unknown.
    """
    if options.analysis == "decoding":
        check_judged(scores, options.analysis)
    saved = [str(name) for name in scores["representation"].values]
    names = list(options.representations or saved)
    for name in names:
        if name not in saved:
            found = f"no scores of {name!r} in {options.analysis}"
            raise SpecError("analyses.groups.representations", found=found, next_step=did_you_mean(name, saved))
    (first, one), (second, other) = options.groups.items()
    animals = [*one, *other]
    chosen = scores.sel(representation=names, source=animals, target=animals)
    first_group = np.isin(animals, one)
    values, matrices = _scores_of(chosen, options.analysis)
    in_sample = bool(scores.attrs.get("in_sample", 0))
    members = group_members(first_group, options.permutations, np.random.default_rng(options.seed))
    comparisons: dict[str, list[Comparison]] = {}
    for setting, each in values.items():
        comparisons[setting] = [compare_animals(row, first_group, members) for row in each]
    for prefix, each in matrices.items():
        for kind, statistic in ((AMONG, among), (OWN, own_group)):
            comparisons[prefix + kind] = [compare_pairs(pairs, statistic, first_group, members) for pairs in each]
    dims = ("representation", "comparison")
    variables: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {
        key: (dims, np.array([[getattr(one, key) for one in column] for column in comparisons.values()]).T)
        for key in Comparison._fields
    }
    if in_sample:
        for key in ("p", "smallest_p", "null_mean", "null_low", "null_high"):
            variables[key] = (dims, np.full((len(names), len(comparisons)), NAN))
    blocks = np.array([[_blocks(pairs, first_group) for pairs in each] for each in matrices.values()])
    every = np.array(list(values.values())).reshape(len(values), len(names), len(animals))
    variables |= {
        "animal_value": (("representation", "setting", "animal"), every.swapaxes(0, 1)),
        "block": (("representation", "matrix", "source_group", "target_group"), blocks.swapaxes(0, 1)),
        "units": (("animal",), np.array([units[name] for name in animals])),
        "trials": (("animal",), chosen["trials"].to_numpy()),
    }
    ways, sides = comb(len(animals), len(one)), [first, second]
    exact = len(members) == ways
    drawn = f"all {ways} ways to make them" if exact else f"{len(members)} of {ways} ways to make them, drawn at random"
    return xr.Dataset(
        variables,
        coords={
            "representation": names,
            "comparison": list(comparisons),
            "setting": list(values),
            "animal": animals,
            "group": ("animal", np.where(first_group, first, second)),
            "matrix": [name.removesuffix(": ") or "accuracy" for name in matrices],
            "source_group": sides,
            "target_group": sides,
        },
        attrs={
            "analysis": options.analysis,
            "groups": json.dumps(options.groups),
            "null": FITTED if in_sample else f"animals permuted between groups, {drawn}; two-sided; scores as they were saved",
            "interval": "95 %, Welch's t over animals; of pairs, each animal left out as source and target (jackknife)",
            "permutations": 0 if in_sample else len(members) - exact,
            "in_sample": int(in_sample),
            "windows": int(scores.attrs.get("windows", 0)),
            "splits": int(scores.attrs.get("splits", scores.sizes.get("split", 0))),
            "label": scores.attrs.get("label", ""),
        },
    )


def _scores_of(scores: xr.Dataset, analysis: str) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return scores of animals, setting -> ``(representation, animal)``, and of pairs, ``(representation, source, target)``."""
    if analysis == "decoding":
        settings = [setting for setting in map(str, scores["setting"].values) if not is_difference(setting)]
        of_animals = scores["score"].sel(unit_of_inference=TRIALS, statistic="value").transpose("representation", "target", ...)
        values = {setting: of_animals.sel(setting=setting).to_numpy() for setting in settings}
        return values, {"": scores["accuracy"].mean("split").transpose("representation", "source", "target").to_numpy()}
    pairs = {}
    for measure in scores["measure"].values:
        null = None if scores.attrs["in_sample"] else OWN_NULL[str(measure)]
        found = scores["pair_value"] if null is None else scores["pair_calibrated"].sel(null=null)
        pairs[f"{measure}: "] = found.sel(measure=measure).transpose("representation", "source", "target").to_numpy()
    return {}, pairs


def _blocks(pairs: Floats, first: NDArray[np.bool_]) -> Floats:
    """Return the mean over pairs of two animals within and between groups, ``(source group, target group)``."""
    groups, mean = (first[None].astype(float), (~first)[None].astype(float)), block_mean(pairs)
    return np.array([[mean(source, target)[0] for target in groups] for source in groups])


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return one line for each representation and comparison that exists."""
    groups, lines = json.loads(scores.attrs["groups"]), []
    first, second = groups
    for representation in scores["representation"].values:
        for comparison in map(str, scores["comparison"].values):
            one = scores.sel(representation=representation, comparison=comparison)
            if not np.isfinite(one["difference"]):
                continue
            least = f"; p cannot be below {float(one['smallest_p']):.3g}" if np.isfinite(one["smallest_p"]) else ""
            lines.append(
                Score(
                    what=f"difference between groups in {scores.attrs['analysis']}: {comparison}",
                    representation=str(representation),
                    setting="pairs in a group - pairs of two groups" if comparison.endswith(OWN) else f"{first} - {second}",
                    value=float(one["difference"]),
                    low=float(one["low"]),
                    high=float(one["high"]),
                    interval=scores.attrs["interval"] if np.isfinite(one["low"]) else "none: needs 3 animals in each group",
                    null_kind=scores.attrs["null"] + least,
                    null_n=int(scores.attrs["permutations"]),
                    floor=float(one["null_mean"]),
                    floor_low=float(one["null_low"]),
                    floor_high=float(one["null_high"]),
                    p=float(one["p"]),
                    chance=0.0,
                    baseline=f"{REASON}the score is itself a difference",
                    n_animals=scores.sizes["animal"],
                    n_trials=int(scores["trials"].sum()),
                    n_windows=int(scores.attrs["windows"]),
                    n_splits=int(scores.attrs["splits"]),
                    in_sample=bool(scores.attrs["in_sample"]),
                )
            )
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw every animal of both groups with the difference, and who reads whom."""
    from neuromvm.analysis.figures import groups as figures  # here, so that computing needs no plotting library

    drawn = {"blocks": figures.blocks(scores)}
    if scores.sizes["setting"]:
        drawn["animals"] = figures.animals(scores)
    return drawn
