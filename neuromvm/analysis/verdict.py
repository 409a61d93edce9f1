"""The verdict of a run, in the order of a reviewer's questions: decodable, shared, helps, better than linear.

Rows that answer are chosen in advance, never by their score: the discriminant of the animal alone, the class kernel for sharing,
and for a model its imputed conditions. The linear row against which a model stands is the best one on the test trials, which
favours linear maps. ``summary.json`` holds the same as the report says.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.figures.text import counted
from neuromvm.analysis.judged import ALL_ANIMALS, ANIMALS, LABELS, TRIALS, difference_of, null_of, number_of_animals
from neuromvm.analysis.scores import Absent
from neuromvm.analysis.sharing.rows import ROWS, Row
from neuromvm.analysis.sharing.scoring import NULL_KIND
from neuromvm.analysis.sharing.table import AMONG, OWN_LABELS
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.data.design import FEW_RUNS, SORTED, DesignFlag
from neuromvm.errors import RunFolderError

if TYPE_CHECKING:
    from neuromvm.folders.study import Study

Answer = Literal["yes", "no", "open", "not tested"]
LEVEL = 0.05
OWN_DECODERS = ("shrunk_lda", "raw_lda", "raw")  # the first that was scored answers whether the label is decodable
SHARED_ROW, ORDER_ROW = "class_kernel", "order_kernel"
IMPUTED = "_imputed"
QUESTIONS = {
    "decodable": "Is the label in each animal?",
    "shared": "Do the animals share a code?",
    "helps": "Does sharing help an animal with few labelled trials?",
    "better_than_linear": "Does the model do it better than linear maps?",
}


class Claim(NamedTuple):
    """An answer with everything needed to judge it; NaN and '' where a part does not exist."""

    answer: Answer
    sentence: str
    row: str = ""
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    null: str = ""
    null_draws: int = 0
    chance: float = np.nan
    animals: int = 0
    trials: int = 0
    effect: float = np.nan  # shared: the share of the ceiling

    def entry(self) -> dict[str, Any]:
        """Return the claim as ``summary.json`` holds it, None for NaN."""
        return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in self._asdict().items()}


def verdict(study: "Study", design: Sequence[DesignFlag] = ()) -> dict[str, Claim]:
    """Return the claims of a run by name; what was not computed is "not tested", with the command that computes it.

    ``design`` are the flags of :func:`neuromvm.data.design.design_flags`.
    """
    decoding, sharing = (_saved(study, name) for name in ("decoding", "sharing"))
    command = f"neuromvm sharing {study.path}"
    claims = {
        "decodable": _decodable(decoding, study, design),
        "shared": _untested(f"Whether animals share a code was not tested. Test it: {command}"),
        "helps": _untested(f"Whether other animals help one with few labels was not tested: {command}"),
        "better_than_linear": _untested(f"Models were not compared on held-out conditions: {command}"),
    }
    if sharing is not None:
        claims |= {"shared": _shared(sharing), "better_than_linear": _better_than_linear(sharing)}
    if sharing is not None and "few_gain" in sharing:
        claims["helps"] = _helps(sharing)
    return claims


def _untested(sentence: str) -> Claim:
    return Claim("not tested", sentence)


def _saved(study: "Study", analysis: str) -> xr.Dataset | None:
    """Return the scores of an analysis, None if there are none that can be read."""
    if not (study.path / "scores" / f"{analysis}.nc").is_file():
        return None
    try:
        return study.scores(analysis)
    except RunFolderError:
        return None


def _decodable(scores: xr.Dataset | None, study: "Study", design: Sequence[DesignFlag]) -> Claim:
    if scores is None or "null" not in scores.dims:
        return _untested(f"Whether the label can be read was not tested. Test it: neuromvm analyze decoding {study.path}")
    known = [row for row in OWN_DECODERS if row in scores["representation"].values]
    if not known or scores.attrs.get("in_sample"):
        return _untested("No decoder of an animal's own activity was scored on held-out trials.")
    cell = scores.sel(representation=known[0], setting="within")
    claim = _claim(cell, LABELS, known[0], int(cell["trials"].sel(target=ALL_ANIMALS)))
    label, reached = scores.attrs["label"], _score(claim)
    words = {
        "yes": f"The {label} can be read in the animals, each from its own held-out trials: {reached}.",
        "no": f"The {label} is not read above chance from an animal's own held-out trials: {reached}.",
        "open": f"Too few null data sets to say whether the {label} can be read: {reached}.",
    }
    return claim._replace(sentence=f"{words[claim.answer]}{_design_sentence(design)}")


def _design_sentence(design: Sequence[DesignFlag]) -> str:
    """Say in how many animals time can pass for the label, '' if in none."""
    animals = {flag.animal for flag in design if flag.flag in (SORTED, FEW_RUNS)}
    if not animals:
        return ""
    return (
        f" In {counted(len(animals), 'animal')} a class fills few runs of trials, so slow drift may be read in place of the "
        "label, and the p of permuted labels does not say which."
    )


def _shared(scores: xr.Dataset) -> Claim:
    if SHARED_ROW not in scores["representation"].values:
        return _untested(f"The row {SHARED_ROW} was not computed, so nothing says whether animals share a code.")
    cell = scores.sel(representation=SHARED_ROW, setting=AMONG[0])
    claim = _claim(cell, CORRESPONDENCE, SHARED_ROW, int(cell["tested"].sel(target=ALL_ANIMALS)))
    effect = _effect(scores, SHARED_ROW)
    label = scores.attrs["label"]
    share = "" if np.isnan(effect) else f", {100 * effect:.0f} % of what the animal's own labels give"
    how = f"{label} never labelled in an animal is told by the others: {_score(claim)}{share}"
    words = {
        "yes": f"The animals share a code: {how}.",
        "no": f"No evidence that the animals share a code: {how}.",
        "open": f"Whether the animals share a code is open: {how}; more refits are needed.",
    }
    sentence = f"{words[claim.answer]}{_order_sentence(scores) if claim.answer == 'yes' else ''}"
    return claim._replace(sentence=sentence, effect=effect)


def _order_sentence(scores: xr.Dataset) -> str:
    """Say whether other animals tell more than the order of the label does."""
    if ORDER_ROW not in scores["representation"].values:
        return ""
    difference = difference_of(scores.sel(representation=SHARED_ROW, setting=AMONG[0], target=ALL_ANIMALS), ORDER_ROW)
    if isinstance(difference, Absent) or isinstance(difference.over_animals, Absent):
        return ""
    low, high = difference.over_animals
    amount = _signed(difference.value, low, high)
    if low > 0:
        return f" It is more than the order of the label tells without any other animal ({amount})."
    if high < 0:
        return f" The order of the label tells more without any other animal ({amount}), so what is shared may be that order."
    return f" It cannot be told apart from the order of the label alone ({amount}), so what is shared may be that order."


def _helps(scores: xr.Dataset) -> Claim:
    few = scores.sel(few_row=SHARED_ROW)
    trials = few["trials"].values.tolist()
    middle = trials[len(trials) // 2]
    value, low, high = few["few_gain"].sel(trials=middle).to_numpy().tolist()
    p = float(few["few_null"].sel(trials=middle, null_statistic="p"))
    draws = int(scores.attrs["few_refits"])
    answer = _answer(p, draws) if value > 0 else "no"
    if answer == "yes" and not low > 0:
        answer = "open"
    gains = {number: float(few["few_gain"].sel(trials=number, statistic="value")) for number in trials}
    by_trials = "; by labelled trials a condition: " + ", ".join(f"{number}: {_change(gain)}" for number, gain in gains.items())
    amount = f"{_signed(value, low, high)} over its own decoder{_p(p, draws)}"
    reached = f"{amount}{by_trials if len(trials) > 1 else ''}"
    words = {
        "yes": f"Other animals help one with {middle} labelled trials of each condition: {reached}.",
        "no": f"Other animals do not help one with {middle} labelled trials of each condition: {reached}.",
        "open": f"It is open whether other animals help one with {middle} labelled trials of each condition: {reached}.",
    }
    animals = number_of_animals(scores["tested"])
    return Claim(answer, words[answer], SHARED_ROW, value, low, high, p, NULL_KIND if draws else "", draws, 0.0, animals)


def _better_than_linear(scores: xr.Dataset) -> Claim:
    names = [str(name) for name in scores["representation"].values]
    models = [name for name in names if name.endswith(IMPUTED)]
    linear = [name for name in names if name in ROWS and _is_linear_map(ROWS[name])]
    if not models or not linear:
        return _untested("No model was trained on the held-out conditions, or no linear row was computed.")
    setting = scores.sel(setting=AMONG[0], target=ALL_ANIMALS)
    value = {
        name: float(setting["score"].sel(representation=name, unit_of_inference=TRIALS, statistic="value")) for name in linear
    }
    best = max(linear, key=value.__getitem__)
    difference = difference_of(setting.sel(representation=models[0]), best)
    if isinstance(difference, Absent) or isinstance(difference.over_animals, Absent):
        return _untested("The model and the linear rows could not be compared over animals.")
    low, high = difference.over_animals
    answer: Answer = "yes" if low > 0 else "no" if high < 0 else "open"
    amount = f"{_signed(difference.value, low, high)} over animals"
    against = f"the best of {len(linear)} linear maps, {best} ({value[best]:.3f})"
    words = {
        "yes": f"The model {models[0]} tells held-out conditions better than {against}: {amount}.",
        "no": f"The model {models[0]} tells held-out conditions worse than {against}: {amount}.",
        "open": f"The model {models[0]} and {against} cannot be told apart: {amount}.",
    }
    animals = number_of_animals(scores["tested"])
    tested = int(scores["tested"].sel(target=ALL_ANIMALS))
    null = "none: an interval over animals"
    return Claim(answer, words[answer], models[0], difference.value, low, high, np.nan, null, 0, 0.0, animals, tested)


def _is_linear_map(row: Row) -> bool:
    return row.uses_others and row.linear and not row.transductive


def _claim(cell: xr.Dataset, null: str, row: str, trials: int) -> Claim:
    """Return the claim that a score is above its null, without its sentence."""
    mean = cell.sel(target=ALL_ANIMALS)
    unit = ANIMALS if np.isfinite(mean["score"].sel(unit_of_inference=ANIMALS)).all() else TRIALS
    value, low, high = mean["score"].sel(unit_of_inference=unit).to_numpy().tolist()
    judged = null_of(mean, null)
    p, kind, draws = (np.nan, str(judged), 0) if isinstance(judged, Absent) else (judged.p, judged.kind, judged.draws)
    animals = number_of_animals(cell["score"].sel(unit_of_inference=TRIALS, statistic="value"))
    return Claim(_answer(p, draws), "", row, value, low, high, p, kind, draws, float(mean["chance"]), animals, trials)


def _answer(p: float, draws: int) -> Answer:
    """Say whether a p-value is significant; open where even the smallest possible one would not be."""
    if np.isnan(p) or 1 / (draws + 1) > LEVEL:
        return "open"
    return "yes" if p <= LEVEL else "no"


def _effect(scores: xr.Dataset, row: str) -> float:
    if "effect" not in scores or OWN_LABELS not in scores["representation"].values:
        return float("nan")
    return float(scores["effect"].sel(representation=row, setting=AMONG[0], unit_of_inference=TRIALS, statistic="value"))


def _score(claim: Claim) -> str:
    n = f"{claim.animals} animals, {claim.trials} trials"
    return (
        f"balanced accuracy {claim.value:.3f} [{claim.low:.3f}, {claim.high:.3f}], chance {claim.chance:.3f}"
        f"{_p(claim.p, claim.null_draws)} ({claim.row}, {n})"
    )


def _signed(value: float, low: float, high: float) -> str:
    return f"{_change(value)} [{_change(low)}, {_change(high)}]"


def _p(p: float, draws: int) -> str:
    return "" if np.isnan(p) else f", p = {p:.2g} of {draws} null data sets"


def entries(claims: Mapping[str, Claim]) -> dict[str, dict[str, Any]]:
    """Return the verdict as ``summary.json`` holds it."""
    return {name: claim.entry() for name, claim in claims.items()}


def _change(value: float) -> str:
    """Format a difference with its sign; what rounds to 0 has none."""
    text = f"{value:+z.3f}"
    return "0.000" if text == "+0.000" else text
