"""Analysis ``sharing``: do animals share a code, where, and what does it buy?

In each animal some conditions are never labelled, and others tell them: see :mod:`neuromvm.analysis.sharing.table`. The null is
scrambled correspondence: the names of conditions are exchanged within each animal and everything is fitted again
(:mod:`neuromvm.data.correspondence`). ``neuromvm sharing RUN`` computes what is scored here.
"""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

from neuromvm.analysis.judged import (
    ALL_ANIMALS,
    ANIMALS,
    check_judged,
    difference_of,
    interval_of,
    null_of,
    number_of_animals,
    value_of,
)
from neuromvm.analysis.scores import Absent, Counts, Difference, Interval, Null, Score
from neuromvm.analysis.sharing.few_labels import FEW_LABELS, OWN_ROWS
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.analysis.sharing.scoring import NO_OTHERS, NO_REFITS, NULL_KIND, judge, rows_of
from neuromvm.analysis.sharing.table import AMONG
from neuromvm.analysis.statistics.over_trials import Floats, mean_of_scored, under_null
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.errors import RunFolderError
from neuromvm.folders.sharing import SharingFolder
from neuromvm.schema import subjects
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

__all__ = ["Options", "compute", "plot", "summarize"]

HELD_OUT = "balanced accuracy of held-out conditions"


class Options(Spec):
    """Resampling, and the row with which others are compared."""

    reference: str = Field("mcca_encoding", description="Row with which the others are compared, draw by draw")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    seed: int = Field(0, ge=0, description="Of the resamples")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Score what ``neuromvm sharing`` computed in a run.

    Returns
    -------
    What :func:`neuromvm.analysis.sharing.scoring.judge` returns, and for animals with few labelled trials ``few_score (few_row,
    trials, target)``, ``few_gain (few_row, trials, statistic)``, the difference to the animal's own decoder with its interval
    over animals, and ``few_null (few_row, trials, null_statistic)``, that difference under scrambled correspondence.

    Raises
    ------
    RunFolderError
        If nothing was computed.
    """
    folder = SharingFolder(study)
    sources = [source for source in folder.sources if source != FEW_LABELS]
    if not sources:
        raise RunFolderError(str(folder.path), found="no held-out conditions", next_step=f"neuromvm sharing {study.path}")
    answers = [folder.answers(source) for source in sources]
    animals = answers[0]["target"].to_numpy().tolist()
    refits: dict[str, xr.Dataset] = {}
    for source, tree in zip(sources, answers, strict=True):
        if (refit := folder.refits(source)) is not None:
            refits |= dict.fromkeys(tree["row"].to_numpy().tolist(), refit)
    correct = [answers[0][name]["correct"].to_numpy() for name in animals]
    trials = np.array([int(np.isfinite(of_animal).any(axis=(0, 1, 2)).sum()) for of_animal in correct])
    rows = rows_of(answers, options.bootstraps, options.seed)
    scores = judge(rows, refits, animals, np.array([trials.sum(), *trials]), options.seed, subjects(study.samples))
    chosen = np.concatenate([tree["settings"].to_numpy().astype(object) for tree in answers]).astype(str)
    scores = scores.assign(settings=(("representation", "split", "animal"), chosen))
    within = "animal, with all their windows" if "of_trial" in answers[0][animals[0]].coords else "animal and condition"
    if FEW_LABELS in folder.sources:
        scores = _with_few_labels(scores, folder)
    return scores.assign_attrs(
        reference=options.reference if options.reference in rows.names else "",
        interval=f"95 % over {options.bootstraps} bootstrap draws of test trials within {within}",
        splits=answers[0].sizes["split"],
        label=study.samples.attrs.get("label", "label"),
        lacking=folder.spec.split.lacking,
    )


def _with_few_labels(scores: xr.Dataset, folder: SharingFolder) -> xr.Dataset:
    """Compare rows with an animal's own decoder for each number of its labelled trials."""
    table, refits = folder.answers(FEW_LABELS).to_dataset(), folder.refits(FEW_LABELS)
    if not table.sizes["trials"]:
        return scores
    value = mean_of_scored(table["accuracy"].to_numpy(), axis=2)  # (row, trials, target)
    names, numbers = table["row"].values.tolist(), subjects(folder.study.samples)
    gains, nulls = np.full((*value.shape[:2], 3), np.nan), np.full((*value.shape[:2], 4), np.nan)
    for row, name in enumerate(names):
        if name in OWN_ROWS:
            own = names.index(OWN_ROWS[name])
            gain = value[row] - value[own]
            gains[row] = np.stack([_over_animals(of_trials, numbers) for of_trials in gain])
            if refits is not None and name in refits["row"].values:
                null = refits["accuracy"].sel(row=name) - refits["accuracy"].sel(row=OWN_ROWS[name])
                of_target = mean_of_scored(null.transpose("exchange", "split", "trials", "target").to_numpy(), axis=1)
                nulls[row] = under_null(gain.mean(axis=-1), of_target.mean(axis=-1))
    few = xr.Dataset(
        {
            "few_score": (("few_row", "trials", "animal"), value),
            "few_gain": (("few_row", "trials", "statistic"), gains),
            "few_null": (("few_row", "trials", "null_statistic"), nulls),
        },
        {"few_row": names, "trials": table["trials"].to_numpy(), "animal": table["target"].to_numpy()},
    )
    drawn = 0 if refits is None else refits.sizes["exchange"]
    return scores.assign(few).assign_attrs(few_splits=table.sizes["split"], few_refits=drawn)


def _over_animals(values: Floats, numbers: NDArray[np.intp]) -> Floats:
    """Return mean, low and high of ``values (recording,)`` of subjects with these numbers, 95 % by Student's t over subjects."""
    mean, of_subjects = float(np.mean(values)), [values[numbers == number].mean() for number in np.unique(numbers)]
    count = len(of_subjects)
    if count < 2:
        return np.array([mean, np.nan, np.nan])
    reach = stats.t.ppf(0.975, count - 1) * np.std(of_subjects, ddof=1) / np.sqrt(count)
    return np.array([mean, mean - reach, mean + reach])


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each row, among the held-out and among all conditions, and for each gain with few labelled trials."""
    check_judged(scores, "sharing")
    names = map(str, scores["representation"].values)
    lines = [_line(scores.sel(representation=name, setting=setting)) for name in names for setting in AMONG]
    return [*lines, *_few_lines(scores)]


def _line(cell: xr.Dataset) -> Score:
    mean, name, reference = cell.sel(target=ALL_ANIMALS), str(cell["representation"].item()), cell.attrs["reference"]
    compared: Difference | Absent = Absent("no other row to compare with")
    if reference and name != reference:
        compared = difference_of(mean, reference, f"{reference} has no such score")
    return Score(
        what=HELD_OUT,
        representation=name,
        setting=f"among {cell['setting'].item()}",
        value=value_of(mean["score"]),
        n=Counts(number_of_animals(cell["tested"]), int(mean["tested"]), 1, int(cell.attrs["splits"])),
        interval=interval_of(mean["score"]),
        resampled=cell.attrs["interval"],
        over_animals=interval_of(mean["score"], ANIMALS),
        null=null_of(mean, CORRESPONDENCE),
        chance=float(mean["chance"]),
        difference=compared,
    )


def _few_lines(scores: xr.Dataset) -> list[Score]:
    """Return the gain of every row over the animal's own decoder, for each number of labelled trials."""
    if "few_gain" not in scores:
        return []
    lines, animals = [], number_of_animals(scores["tested"])
    for name in (str(row) for row in scores["few_row"].values if row in OWN_ROWS):
        for trials in scores["trials"].values.tolist():
            gain = scores["few_gain"].sel(few_row=name, trials=trials).to_numpy()
            null = scores["few_null"].sel(few_row=name, trials=trials).to_numpy()
            lines.append(
                Score(
                    what=f"gain over {OWN_ROWS[name]} in balanced accuracy",
                    representation=name,
                    setting=f"{trials} labelled trials of each condition",
                    value=float(gain[0]),
                    n=Counts(animals, 0, 1, int(scores.attrs["few_splits"])),
                    interval=Interval(*gain[1:].tolist()) if np.isfinite(gain).all() else Absent("one animal"),
                    resampled="95 % over animals, by Student's t",
                    null=_few_null(name, null, int(scores.attrs["few_refits"])),
                    chance=0.0,
                )
            )
    return lines


def _few_null(row: str, null: Floats, refits: int) -> Null | Absent:
    if not ROWS[row].uses_others:
        return Absent(NO_OTHERS)
    return Null(NULL_KIND, refits, *null.tolist()) if np.isfinite(null).all() else Absent(NO_REFITS)


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the accuracy of every row with the null, chance and ceiling, and what other animals add to few labelled trials."""
    from neuromvm.analysis.figures import sharing as figures  # here, so that computing needs no plotting library

    check_judged(scores, "sharing")
    able = [name for name in scores["representation"].values if name not in OWN_ROWS.values()]  # to name held-out conditions
    drawn = {"held_out": figures.held_out(scores.sel(representation=able))}
    if "few_gain" in scores:
        drawn["few_labels"] = figures.few_labels(scores)
    return drawn
