"""The first paragraph: what the shared models reach, beside the best linear baseline, in words that follow from the numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import xarray as xr

from neuromvm.analysis.baselines.catalogue import BASELINES
from neuromvm.analysis.decoding.decoding import RENAMED
from neuromvm.analysis.figures.text import counted
from neuromvm.analysis.judged import ALL_ANIMALS, difference_of
from neuromvm.analysis.report.tables import interval
from neuromvm.analysis.scores import Absent

Row = Mapping[str, Any]  # a line of summary.json, see neuromvm.analysis.scores.Score
Verdict = Literal["ahead", "behind", "tie", "alone"]
READ = {
    "cross": "Across animals (the decoder of one animal reads another through a map made with labels)",
    "within": "Within animals (each reads its own test trials)",
}
SIGNIFICANT = 0.05  # largest p at which a score is called above its floor
VERDICTS: dict[int, Verdict] = {1: "ahead", -1: "behind", 0: "tie"}  # by the sign of a difference


class Difference(NamedTuple):
    """A model minus a baseline, paired by draw, and in how many splits it has the same sign."""

    value: float
    low: float
    high: float
    alike: int = 1
    splits: int = 1

    @property
    def sign(self) -> int:
        """Return 1 or -1 if the interval leaves 0 out and every split agrees (intervals omit the variation of fits), else 0."""
        if self.alike < self.splits:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    @property
    def evidence(self) -> str:
        """Write the difference with its interval and the number of splits."""
        splits = f"of the same sign in {self.alike} of {self.splits} splits" if self.splits > 1 else "in one split"
        return f"paired difference {interval(self.value, self.low, self.high, signed=True)}, {splits}"


class Comparison(NamedTuple):
    """The best shared model and the best linear baseline in one setting."""

    setting: str
    model: Row
    models: int  # among which the best was chosen
    baseline: Row | None
    baselines: int
    difference: Difference | None
    renamed: Row | None = None  # the model's score against what it would be with classes renamed after the fit

    @property
    def verdict(self) -> Verdict:
        """Say what the interval of the paired difference allows to say; without it, whether the two intervals overlap."""
        if self.baseline is None or self.model.get("in_sample"):
            return "alone"
        if self.difference is not None:
            return VERDICTS[self.difference.sign]
        if self.model["low"] > self.baseline["high"]:
            return "ahead"
        return "behind" if self.model["high"] < self.baseline["low"] else "tie"


def compare(
    rows: Sequence[Row],
    scores: xr.Dataset | None,
    shared: Sequence[str],
    models: Sequence[str],
    discriminants: Sequence[str] = (),
) -> list[Comparison]:
    """Pick the best shared model and the best linear baseline of each setting.

    ``rows`` are the lines of ``summary.json`` of the analysis ``decoding``, ``scores`` its saved scores with paired differences.
    Rows that are not in ``models`` are baselines. Models in ``discriminants`` read each animal alone and are compared within.
    """
    comparisons = []
    for setting in READ:
        scored = [row for row in rows if row["setting"] == setting and row["value"] is not None]
        scored = [row for row in scored if row["p"] is not None or row.get("in_sample")]
        excluded = discriminants if setting == "cross" else ()
        ours = [row for row in scored if row["representation"] in shared and row["representation"] not in excluded]
        baselines = [row for row in scored if row["representation"] not in models]
        if not ours:
            continue
        model = max(ours, key=lambda row: float(row["value"]))
        baseline = max(baselines, key=lambda row: float(row["value"]), default=None)
        difference = None
        if baseline is not None and scores is not None:
            difference = paired_difference(scores, baseline["representation"], model["representation"], setting)
        renamed = _renamed(rows, model["representation"]) if setting == "cross" else None
        comparisons.append(Comparison(setting, model, len(ours), baseline, len(baselines), difference, renamed))
    return comparisons


def _renamed(rows: Sequence[Row], representation: str) -> Row | None:
    """Return the line of *cross* against the null of renamed classes, if there is such a null."""
    lines = [row for row in rows if (row["setting"], row["representation"]) == (RENAMED, representation)]
    return lines[0] if lines and lines[0]["p"] is not None else None


def paired_difference(scores: xr.Dataset, reference: str, representation: str, setting: str) -> Difference | None:
    """Return the paired difference to a reference, None if the scores do not hold it."""
    for dim, name in (("reference", reference), ("representation", representation), ("setting", setting)):
        if name not in scores[dim].values:
            return None
    cell = scores.sel(representation=representation, setting=setting, target=ALL_ANIMALS)
    if isinstance(difference := difference_of(cell, reference), Absent):
        return None
    by_split = scores["split_value"].sel(setting=setting)
    differences = (by_split.sel(representation=representation) - by_split.sel(representation=reference)).to_numpy()
    alike = int((differences * difference.value > 0).sum())
    return Difference(difference.value, *difference.interval, alike, len(differences))


def sentences(comparison: Comparison) -> list[str]:
    """Write a comparison in plain words, the verdict last.

    >>> ours = {"what": "accuracy", "representation": "mmvm", "value": 0.2, "low": 0.1, "high": 0.3, "p": 0.01}
    >>> ours |= {"floor": 0.1, "floor_low": 0.05, "floor_high": 0.15, "n_animals": 3, "n_trials": 90, "n_splits": 1}
    >>> theirs = {**ours, "representation": "pca", "value": 0.4}
    >>> sentences(Comparison("within", ours, 1, theirs, 1, Difference(-0.2, -0.3, -0.1)))[-1]
    'The shared model loses to the linear baseline pca: paired difference −0.200 [−0.300, −0.100], in one split.'
    """
    model, baseline = comparison.model, comparison.baseline
    if model.get("in_sample"):
        return _fit_sentences(comparison)
    draws = model.get("null_n") or 0
    if model["p"] <= SIGNIFICANT:
        above = "above"
    elif 0 < draws < 1 / SIGNIFICANT - 1:  # the smallest p is 1 / (draws + 1)
        above = f"with too few null data sets ({draws}) to tell whether it is above"
    else:
        above = "not above"
    said = [
        f"{READ[comparison.setting]}, {_chosen('shared model', model, comparison.models)} reaches a {model['what']} of "
        f"{interval(model['value'], model['low'], model['high'])}, {above} the floor of permuted labels, "
        f"{interval(model['floor'], model['floor_low'], model['floor_high'])} "
        f"(p = {model['p']:.2g}, {counted(model['n_animals'], 'animal')}, {counted(model['n_trials'], 'test trial')}, "
        f"{counted(model['n_splits'], 'split')})."
    ]
    if comparison.renamed is not None:
        floor = interval(*(comparison.renamed[key] for key in ("floor", "floor_low", "floor_high")))
        p = f"classes renamed, p = {comparison.renamed['p']:.2g}"
        said.append(f"With the classes of each animal renamed after the fit, it would be {floor} ({p}).")
    if comparison.setting == "cross":
        said.append("No such floor says that animals share a code: a map made with labels carries any code onto any other.")
    if baseline is None:
        return [*said, "No linear baseline was scored in this setting, so nothing says what the model adds."]
    name = baseline["representation"]
    kind = "baseline" if name in BASELINES and not BASELINES[name].linear else "linear baseline"
    reached = interval(baseline["value"], baseline["low"], baseline["high"])
    said.append(f"In comparison, {_chosen(kind, baseline, comparison.baselines)} reaches {reached}.")
    return [*said, _verdict_sentence(comparison, f"the {kind} {name}")]


def _verdict_sentence(comparison: Comparison, baseline: str) -> str:
    if comparison.difference is None and comparison.verdict == "tie":
        open_question = "overlap, and without their paired difference it is open which is better."
        return f"The intervals of the shared model and of {baseline} {open_question}"
    evidence = "their intervals do not overlap" if comparison.difference is None else comparison.difference.evidence
    verdicts = {
        "ahead": f"The shared model is ahead of {baseline}",
        "behind": f"The shared model loses to {baseline}",
        "tie": f"The shared model ties with {baseline}, these data do not tell which is better",
    }
    return f"{verdicts[comparison.verdict]}: {evidence}."


def _fit_sentences(comparison: Comparison) -> list[str]:
    """Write what was reached on the trials that were fitted, where there is neither a floor nor a verdict."""
    model, chosen = comparison.model, _chosen("shared model", comparison.model, comparison.models)
    return [
        f"{READ[comparison.setting].replace('test trials', 'trials')}, {chosen} reaches a {model['what']} of "
        f"{interval(model['value'], model['low'], model['high'])} on the trials that were fitted "
        f"({counted(model['n_animals'], 'animal')}, {counted(model['n_trials'], 'trial')}).",
        "This says how well the model fits, not what it reaches on new trials nor whether it is better than a linear baseline.",
    ]


def _chosen(kind: str, row: Row, among: int) -> str:
    """Name a representation, and say that it was picked by the score that is reported."""
    name = row["representation"]
    return f"the {kind} {name}" if among == 1 else f"the best of {among} {kind}s by this very score, {name},"
