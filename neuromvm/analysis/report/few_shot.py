"""Leave one animal out, in the report: what a model reaches in animals that it was trained without, in words and one by one."""

import numpy as np
import xarray as xr

from neuromvm.analysis.decoding.few_shot import ALONE as OWN_DECODER
from neuromvm.analysis.decoding.few_shot import FROZEN_MAPS
from neuromvm.analysis.figures.few_shot import shown
from neuromvm.analysis.figures.text import counted
from neuromvm.analysis.report.headline import ALONE, Verdict, paired_difference
from neuromvm.analysis.report.tables import NONE, Table, between, interval

READ = ("animals_low", "difference_animals_low", "target_difference", "target_null_mean", "training_trials")
ADAPTED = " adapted"  # how the methods that were trained without the animal are called


def leave_one_out(scores: xr.Dataset | None) -> tuple[Verdict, list[str]] | None:
    """Write what adapted models reach in animals left out, beside the linear map; the verdict last.

    Parameters
    ----------
    scores
        Of the analysis ``few_shot``; None if there are none.

    Returns
    -------
    Verdict and sentences, of all training trials of the animals if these were tried; None without a model that was adapted.
    """
    if not _readable(scores):
        return None
    assert scores is not None
    names = [str(one) for one in scores["representation"].values if str(one).endswith(ADAPTED)]
    if not names:
        return None
    setting = shown(scores)[-1]
    of = scores.sel(setting=setting)
    name = max(names, key=lambda one: float(of["value"].sel(representation=one)))
    ours, theirs = of.sel(representation=name), of.sel(representation=FROZEN_MAPS)
    chosen = f"the best of {len(names)} models by this very score, {name}," if len(names) > 1 else name
    over_animals = between(float(ours["animals_low"]), float(ours["animals_high"])) or NONE
    said = [
        f"Leave one animal out ({counted(scores.sizes['target'], 'animal')} of {scores.attrs['animals']}, each in turn unseen by "
        f"the shared model, then adapted to with {_trials(setting)}): {chosen} is read by a decoder of the others with a "
        f"balanced accuracy of {_interval(ours, 'value', 'low', 'high')} (over animals {over_animals}), "
        f"{'above' if ours['p'] <= ALONE else 'not above'} the floor of permuted labels, "
        f"{_interval(ours, 'null_mean', 'null_low', 'null_high')} (p = {_p(ours['p'])}).",
        f"The linear map of the same trials reaches {_interval(theirs, 'value', 'low', 'high')}, and the animal's own decoder of "
        f"them, without any other animal, {_interval(of.sel(representation=OWN_DECODER), 'value', 'low', 'high')}.",
    ]
    difference = paired_difference(scores, FROZEN_MAPS, name, setting)
    if difference is None:
        return "alone", said
    verdicts: dict[int, tuple[Verdict, str]] = {
        1: ("ahead", "The adapted model is ahead of the linear map"),
        -1: ("behind", "The adapted model loses to the linear map"),
        0: ("tie", "The adapted model ties with the linear map, these data do not tell which is better"),
    }
    verdict, words = verdicts[difference.sign]
    evidence = f"paired difference {interval(*difference[:3], signed=True)}"
    several = difference.splits > 1
    evidence += f", of the same sign in {difference.alike} of {difference.splits} splits" if several else ", in one split"
    return verdict, [*said, f"{words}: {evidence}."]


def each_animal(scores: xr.Dataset | None) -> list[Table]:
    """Lay out every animal left out after the mean over them, for some and for all of its training trials."""
    if not _readable(scores):
        return []
    assert scores is not None
    return [_table(scores.sel(setting=setting), setting) for setting in shown(scores)]


def _table(of: xr.Dataset, setting: str) -> Table:
    targets, names = [str(one) for one in of["target"].values], [str(one) for one in of["representation"].values]
    columns = ["animal left out", "method", "training trials", "test trials", "score [95 %]"]
    columns += [f"difference to {FROZEN_MAPS} [95 %]", "floor [95 %]", "p"]
    mean = [f"mean of {len(targets)}, [95 % over animals]", "", str(int(of["trials"].sum()))]
    rows = [_row(of.sel(representation=name), name, mean, "", "animals_") for name in names]
    for target in targets:
        each = of.sel(target=target)
        about = [target, f"{float(each['training_trials']):g}", str(int(each["trials"]))]
        rows += [_row(each.sel(representation=name), name, about, "target_", "") for name in names]
    caption = f"Leave one animal out, adapted to with {_trials(setting)}: every animal in turn."
    return Table(caption, columns, rows, [False, False, *[True] * (len(columns) - 2)])


def _row(one: xr.Dataset, name: str, about: list[str], prefix: str, ends: str) -> list[str]:
    """Lay out one method in one animal, or the mean over them, ``ends`` being what its intervals are over."""
    place, *counts = about
    own = [f"{prefix}value", f"{prefix}{ends}low", f"{prefix}{ends}high"]
    difference = [f"{prefix}difference", f"{prefix}difference_{ends}low", f"{prefix}difference_{ends}high"]
    floor = [f"{prefix}null_{key}" for key in ("mean", "low", "high")]
    against = "reference" if name == FROZEN_MAPS else _interval(one.sel(reference=FROZEN_MAPS), *difference, signed=True)
    return [place, name, *counts, _interval(one, *own), against, _interval(one, *floor), _p(one[f"{prefix}p"])]


def _readable(scores: xr.Dataset | None) -> bool:
    """Say whether there are scores, and with all that is read here: those of an earlier version may lack something."""
    return scores is not None and set(READ) <= set(scores)


def _interval(one: xr.Dataset, value: str, low: str, high: str, *, signed: bool = False) -> str:
    return interval(float(one[value]), float(one[low]), float(one[high]), signed)


def _p(p: xr.DataArray) -> str:
    return f"{float(p):.2g}" if np.isfinite(p) else NONE


def _trials(setting: str) -> str:
    return "all its training trials" if setting == "all" else f"{setting} training trials of each class"
