"""Leave one animal out, in the report: what a model reaches in animals that it was trained without, in words and one by one."""

import xarray as xr

from neuromvm.analysis.decoding.few_shot import ALONE, FROZEN_MAPS, SHRUNK_ALONE
from neuromvm.analysis.figures.few_shot import shown
from neuromvm.analysis.figures.text import counted
from neuromvm.analysis.judged import ALL_ANIMALS, ANIMALS, LABELS, STATISTICS, TRIALS, animals_of, is_judged, values
from neuromvm.analysis.report.headline import SIGNIFICANT, VERDICTS, Verdict, paired_difference
from neuromvm.analysis.report.tables import NONE, Table, between, interval, number
from neuromvm.data.correspondence import CORRESPONDENCE

ADAPTED = " adapted"  # how the methods that were trained without the animal are called
WORDS = {
    "ahead": "The adapted model is ahead of the linear map",
    "behind": "The adapted model loses to the linear map",
    "tie": "The adapted model ties with the linear map, these data do not tell which is better",
}


def leave_one_out(scores: xr.Dataset | None) -> tuple[Verdict, list[str]] | None:
    """Write what adapted models reach in animals left out, beside the linear map; the verdict last.

    The scores of the analysis ``few_shot`` with all training trials count, if these were tried. None without a model that was
    adapted, or if the scores were saved by an earlier version.
    """
    if scores is None or not is_judged(scores):
        return None
    names = [str(name) for name in scores["representation"].values if str(name).endswith(ADAPTED)]
    if not names:
        return None
    setting = shown(scores)[-1]
    name = max(names, key=lambda method: float(values(scores).sel(setting=setting, representation=method)))
    mean = scores.sel(setting=setting, target=ALL_ANIMALS)
    score, null = mean["score"].sel(representation=name), mean["null_score"].sel(representation=name, null=LABELS)
    chosen = f"the best of {len(names)} models by this very score, {name}," if len(names) > 1 else name
    over_animals = between(*_numbers(score, ANIMALS)[1:]) or NONE
    linear_map, own, *shrunk = (
        interval(*_numbers(mean["score"].sel(representation=row)))
        for row in (FROZEN_MAPS, ALONE, SHRUNK_ALONE)
        if row in mean["representation"]  # scores saved earlier lack the last one
    )
    said = [
        f"Leave one animal out ({counted(len(animals_of(scores)), 'animal')} of {scores.attrs['animals']}, each in turn unseen "
        f"by the shared model, then adapted to with {_trials(setting)}): {chosen} is read by a decoder of the others with a "
        f"balanced accuracy of {interval(*_numbers(score))} (over animals {over_animals}), "
        f"{'above' if null.sel(null_statistic='p') <= SIGNIFICANT else 'not above'} the floor of permuted labels, "
        f"{interval(*_null(null))} (p = {_p(null)}).",
        f"The linear map of the same trials reaches {linear_map}, and the animal's own decoder of them, without any other "
        f"animal, {own}{f' and {shrunk[0]} (shrunk_lda)' if shrunk else ''}.",
    ]
    if (difference := paired_difference(scores, FROZEN_MAPS, name, setting)) is None:
        return "alone", said
    verdict = VERDICTS[difference.sign]
    return verdict, [*said, f"{WORDS[verdict]}: {difference.evidence}."]


def each_animal(scores: xr.Dataset | None) -> list[Table]:
    """Lay out every animal left out after the mean over them, for some and for all of its training trials."""
    if scores is None or not is_judged(scores):
        return []
    return [_table(scores.sel(setting=setting), setting) for setting in shown(scores)]


def _table(scores: xr.Dataset, setting: str) -> Table:
    """Lay out all targets and methods; intervals of the mean are over animals, those of an animal over trials."""
    targets, names = animals_of(scores), [str(name) for name in scores["representation"].values]
    columns = ["animal left out", "method", "training trials", "test trials", "score [95 %]"]
    columns += [f"difference to {FROZEN_MAPS} [95 %]", "floor [95 %]", "p decodable", "p shared"]
    rows = []
    for target in [ALL_ANIMALS, *targets]:
        of_target = scores.sel(target=target)
        is_mean = target == ALL_ANIMALS
        title = f"mean of {len(targets)}, [95 % over animals]" if is_mean else target
        counts = ["" if is_mean else f"{float(of_target['training_trials']):g}", str(int(of_target["trials"]))]
        unit = ANIMALS if is_mean else TRIALS
        rows += [[title, name, *counts, *_scores(of_target.sel(representation=name), name, unit)] for name in names]
    caption = f"Leave one animal out, adapted to with {_trials(setting)}: every animal in turn."
    return Table(caption, columns, rows, [False, False, *[True] * (len(columns) - 2)])


def _scores(method: xr.Dataset, name: str, unit: str) -> list[str]:
    """Write score, difference, floor and both p of one method in one target."""
    difference = interval(*_numbers(method["difference"].sel(reference=FROZEN_MAPS), unit), signed=True)
    null = method["null_score"].sel(null=LABELS)
    against = "reference" if name == FROZEN_MAPS else difference
    shared = NONE
    if CORRESPONDENCE in method["null"].values:
        shared = _p(method["null_score"].sel(null=CORRESPONDENCE))
    return [interval(*_numbers(method["score"], unit)), against, interval(*_null(null)), _p(null), shared]


def _numbers(score: xr.DataArray, unit: str = TRIALS) -> tuple[float, float, float]:
    """Return value, low and high."""
    value, low, high = score.sel(unit_of_inference=unit, statistic=list(STATISTICS)).to_numpy().tolist()
    return value, low, high


def _null(null: xr.DataArray) -> tuple[float, float, float]:
    """Return mean, low and high."""
    mean, low, high = null.sel(null_statistic=["mean", "low", "high"]).to_numpy().tolist()
    return mean, low, high


def _p(null: xr.DataArray) -> str:
    p = float(null.sel(null_statistic="p"))
    return NONE if number(p) == NONE else f"{p:.2g}"


def _trials(setting: str) -> str:
    return "all its training trials" if setting == "all" else f"{setting} training trials of each class"
