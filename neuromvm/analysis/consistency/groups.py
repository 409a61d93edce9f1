"""Analysis ``groups``: do two groups of animals (young and aged, control and treated) differ in the saved scores of a run?

The animal is the unit: trials, units and splits of an animal are one number, and what is permuted is which animals make a group.
"""

import json
from collections.abc import Mapping
from itertools import product
from math import comb, nan
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, field_validator

from neuromvm.analysis.consistency import group_tests
from neuromvm.analysis.consistency.between_animals import OWN_NULL
from neuromvm.analysis.consistency.group_tests import Comparison, among, compare, compare_animals, own_group
from neuromvm.analysis.judged import TRIALS, check_judged, is_difference
from neuromvm.analysis.scores import ABSENT_PREFIX, Absent, Counts, Score, saved_interval, saved_null
from neuromvm.analysis.statistics.over_trials import Floats
from neuromvm.errors import RunFolderError, SpecError, did_you_mean
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

AMONG, OWN = "among", "own group"
UNTESTED = dict.fromkeys(("p", "smallest_p", "null_mean", "null_low", "null_high"), nan)
FITTED = f"{ABSENT_PREFIX}the scored trials were fitted on, and groups may differ in how closely they were fitted"


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
        named = [animal for animals in groups.values() for animal in animals]
        if repeated := sorted({animal for animal in named if named.count(animal) > 1}):
            raise ValueError(f"{', '.join(repeated)} named twice: an animal is in one group, once")
        return groups


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Compare two groups in the saved scores of a run; :func:`compare_groups` says what is returned."""
    known = list(study.samples.children)
    for group, animal in ((group, animal) for group, animals in options.groups.items() for animal in animals):
        if animal not in known:
            setting = f"analyses.groups.groups.{group}"
            raise SpecError(setting, found=f"no animal {animal!r} in the run", next_step=did_you_mean(animal, known))
    file = study.path / "scores" / f"{options.analysis}.nc"
    if not file.is_file():
        command = f"neuromvm analyze {options.analysis} {study.path}"
        raise RunFolderError(str(file), found="not computed", next_step=f"Compute it first: {command}")
    units = {name: study.samples[name].sizes["unit"] for name in known}
    return compare_groups(study.scores(options.analysis), options, units)


def compare_groups(scores: xr.Dataset, options: Options, units: Mapping[str, int]) -> xr.Dataset:
    """Compare two groups of animals in the saved scores of ``decoding`` or ``consistency``.

    ``units`` are the numbers of recorded units of the animals: groups that differ in it differ in scores, too.

    Returns
    -------
    ``difference, low, high, p, smallest_p, null_mean, null_low, null_high, hedges_g (representation, comparison)``. Comparisons
    are each setting of decoding, mean of the first group minus that of the second; ``among``, pairs of animals within the first
    group minus pairs within the second; ``own group``, pairs within a group minus pairs of two groups; of consistency, the last
    two for each measure. The interval is Welch's (of pairs: each animal is left out in turn, on both axes); ``p`` is two-sided,
    of all ways to make groups of these sizes, or of a sample of them. ``animal_value (representation, setting, animal)``; ``block
    (representation, matrix, source_group, target_group)``, means over pairs of two animals; ``units, trials (animal)``;
    ``group(animal)``.
    """
    if options.analysis == "decoding":
        check_judged(scores, options.analysis)
    names = _representations(scores, options)
    animals = [animal for group in options.groups.values() for animal in group]
    chosen = scores.sel(representation=names, source=animals, target=animals)
    groups = np.array([group for group, members in options.groups.items() for _ in members])
    sides = list(options.groups)
    members = groups == sides[0]
    values, matrices = _scores_of(chosen, options.analysis)
    in_sample = bool(scores.attrs.get("in_sample", 0))
    permuted = group_tests.group_members(members, options.permutations, np.random.default_rng(options.seed))
    comparisons = _comparisons(values, matrices, members, permuted, in_sample=in_sample)
    tests = np.array(list(comparisons.values()))
    means = [_block_means(of_matrix, members) for of_matrix in matrices.values()]
    animal_values = np.array(list(values.values())).reshape(len(values), len(names), len(animals))
    ways = comb(len(animals), int(members.sum()))
    exact = len(permuted) == ways
    drawn = f"all {ways} ways to make them" if exact else f"{len(permuted)} of {ways} ways to make them, drawn at random"
    return xr.Dataset(
        {
            **{key: (("comparison", "representation"), tests[..., field]) for field, key in enumerate(Comparison._fields)},
            "animal_value": (("setting", "representation", "animal"), animal_values),
            "block": (("matrix", "representation", "source_group", "target_group"), means),
            "units": (("animal",), [units[animal] for animal in animals]),
            "trials": (("animal",), chosen["trials"].to_numpy()),
        },
        coords={
            "representation": names,
            "comparison": list(comparisons),
            "setting": list(values),
            "animal": animals,
            "group": ("animal", groups),
            "matrix": [name.removesuffix(": ") or "accuracy" for name in matrices],
            "source_group": sides,
            "target_group": sides,
        },
        attrs={
            "analysis": options.analysis,
            "groups": json.dumps(options.groups),
            "null": FITTED if in_sample else f"animals permuted between groups, {drawn}; two-sided; scores as they were saved",
            "interval": "95 %, Welch's t over animals; of pairs, each animal left out as source and target (jackknife)",
            "permutations": 0 if in_sample else len(permuted) - exact,
            "in_sample": int(in_sample),
            "windows": int(scores.attrs.get("windows", 0)),
            "splits": int(scores.attrs.get("splits", scores.sizes.get("split", 0))),
            "label": scores.attrs.get("label", ""),
        },
    ).transpose("representation", ...)


def _representations(scores: xr.Dataset, options: Options) -> list[str]:
    saved = [str(name) for name in scores["representation"].values]
    for name in options.representations or ():
        if name not in saved:
            absent = f"no scores of {name!r} in {options.analysis}"
            raise SpecError("analyses.groups.representations", found=absent, next_step=did_you_mean(name, saved))
    return list(options.representations or saved)


def _comparisons(
    values: Mapping[str, Floats],
    matrices: Mapping[str, Floats],
    members: NDArray[np.bool_],
    permuted: NDArray[np.bool_],
    *,
    in_sample: bool,
) -> dict[str, list[Comparison]]:
    """Return the comparisons of each representation, without tests if the scored trials were fitted on."""
    comparisons = {setting: [compare_animals(row, members, permuted) for row in rows] for setting, rows in values.items()}
    for prefix, of_matrix in matrices.items():
        for kind, statistic in ((AMONG, among), (OWN, own_group)):
            comparisons[prefix + kind] = [compare(statistic(pairs), members, permuted) for pairs in of_matrix]
    if in_sample:
        return {name: [test._replace(**UNTESTED) for test in tests] for name, tests in comparisons.items()}
    return comparisons


def _scores_of(scores: xr.Dataset, analysis: str) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return scores of animals, setting -> ``(representation, animal)``, and of pairs, ``(representation, source, target)``."""
    if analysis == "decoding":
        settings = [setting for setting in map(str, scores["setting"].values) if not is_difference(setting)]
        of_animals = scores["score"].sel(unit_of_inference=TRIALS, statistic="value").transpose("representation", "target", ...)
        values = {setting: of_animals.sel(setting=setting).to_numpy() for setting in settings}
        return values, {"": scores["accuracy"].mean("split").transpose("representation", "source", "target").to_numpy()}
    pairs = {}
    for measure in map(str, scores["measure"].values):
        fitted = bool(scores.attrs["in_sample"])
        matrix = scores["pair_value"] if fitted else scores["pair_calibrated"].sel(null=OWN_NULL[measure])
        pairs[f"{measure}: "] = matrix.sel(measure=measure).transpose("representation", "source", "target").to_numpy()
    return {}, pairs


def _block_means(matrix: Floats, members: NDArray[np.bool_]) -> list[list[list[float]]]:
    """Return means over pairs of two animals within and between groups, ``[representation][source group][target group]``."""
    groups = members[None].astype(float), (~members)[None].astype(float)
    means = [group_tests.block_mean(pairs) for pairs in matrix]
    return [[[float(mean(source, target)[0]) for target in groups] for source in groups] for mean in means]


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return one line for each representation and comparison that exists."""
    cells = product(scores["representation"].values, scores["comparison"].values)
    tests = [scores.sel(representation=representation, comparison=comparison) for representation, comparison in cells]
    return [_line(test) for test in tests if np.isfinite(test["difference"])]


def _line(score: xr.Dataset) -> Score:
    representation, comparison = str(score["representation"].item()), str(score["comparison"].item())
    attrs, words = score.attrs, str(score.attrs["null"])
    if not attrs["in_sample"]:
        words = f"{words}; p cannot be below {float(score['smallest_p']):.3g}"
    known = bool(np.isfinite(score["low"]))
    return Score(
        f"difference between groups in {attrs['analysis']}: {comparison}",
        representation,
        "pairs in a group - pairs of two groups" if comparison.endswith(OWN) else " - ".join(json.loads(attrs["groups"])),
        float(score["difference"]),
        Counts(score.sizes["animal"], int(score["trials"].sum()), int(attrs["windows"]), int(attrs["splits"])),
        interval=saved_interval(score) if known else Absent("needs 3 animals in each group"),
        resampled=attrs["interval"],
        null=saved_null(score, words, attrs["permutations"]),
        chance=0.0,
        difference=Absent("the score is itself a difference"),
        in_sample=bool(attrs["in_sample"]),
    )


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw every animal of both groups with the difference, and who reads whom."""
    from neuromvm.analysis.figures import groups as figures  # here, so that computing needs no plotting library

    drawn = {"blocks": figures.blocks(scores)}
    if scores.sizes["setting"]:
        drawn["animals"] = figures.animals(scores)
    return drawn
