"""Do animals share a code? Conditions never labelled in an animal are told by the others, with every null fitted again."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

import neuromvm as nm
from analysis.tables import Request, figure, markdown, neuromvm, number, read_request, run, write_page
from neuromvm.analysis.judged import ALL_ANIMALS, TRIALS, difference_of
from neuromvm.analysis.scores import Absent
from neuromvm.analysis.sharing.few_labels import FEW_LABELS, OWN_ROWS
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.analysis.sharing.table import AMONG, OWN_LABELS
from neuromvm.analysis.verdict import SHARED_ROW
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.files import read_json, write_json
from neuromvm.folders.sharing import SharingFolder

PAGE = "shared_codes"
MANY, SOME = 200, 20  # refits of rows that are quick and slow to fit
REFITS: Mapping[str, int] = {
    "class_kernel": MANY,
    "class_kernel_em": MANY,
    "procrustes_read": SOME,
    "procrustes_encoding": SOME,
    "mcca_read": SOME,
    "mcca_encoding": SOME,
    "mmvm": SOME,
    FEW_LABELS: SOME,
}
ONE_ANIMAL = (
    "sharing.split.lacking=one_animal",
    "sharing.split.repeats=1",
    "sharing.models={}",
    "sharing.few_labels=[]",
)
REFITTED_AFTERWARDS = ("sharing.refits=0", "sharing.model_refits=0")
UNTRAINED = ("training.epochs=0", "analyses={}")  # for runs of linear rows only
QUICK = ("sharing.rows=[class_kernel, mcca_encoding]", "sharing.models={mmvm: [mmvm_4]}")
CLAIMS = {"decodable": "decodable", "shared": "shared", "helps": "helps", "better_than_linear": "better than linear"}


class DataSet(NamedTuple):
    """A data set of the page: its title, and its experiments by the words for how conditions are held out."""

    title: str
    experiments: Mapping[str, str]


SETS: Mapping[str, DataSet] = {
    "track": DataSet(
        "hippocampus, linear track",
        {"held out at random": "shared_codes_track", "a stretch held out": "shared_codes_track_contiguous"},
    ),
    "CS": DataSet("cortical amygdala, concentration series", {"held out at random": "shared_codes_concentration"}),
    "plCoA": DataSet("cortical amygdala, 15 odors", {"held out at random": "shared_codes_amygdala"}),
    "aPCx": DataSet("piriform cortex, 15 odors", {"held out at random": "shared_codes_piriform"}),
}


@contextmanager
def timed(request: Request, folder: str) -> Iterator[None]:
    """Add the wall time of what is computed to that of earlier calls for the same run folder."""
    file, start = request.out / "shared_codes_seconds.json", time.monotonic()
    try:
        yield
    finally:
        seconds = read_json(file) if file.is_file() else {}
        write_json(file, {**seconds, folder: seconds.get(folder, 0.0) + time.monotonic() - start})


def hours(request: Request, folder: str) -> float:
    """Return the wall time that a run has taken so far [h]."""
    file = request.out / "shared_codes_seconds.json"
    return float(read_json(file).get(folder, 0.0)) / 3600 if file.is_file() else 0.0


def every_animal(request: Request, experiment: str) -> nm.Study:
    """Return the run in which every animal lacks conditions; models and linear rows."""
    with timed(request, experiment):
        study = run(request, experiment, *REFITTED_AFTERWARDS, *(QUICK if request.quick else ()))
        refit(request, study, tuple(REFITS))
    return nm.Study(study.path)


def one_animal(request: Request, experiment: str) -> nm.Study:
    """Return the run in which one animal at a time lacks conditions; linear rows, of which kernels are refitted."""
    folder = f"{experiment}_one_animal"
    settings = (*QUICK, "sharing.rows=[class_kernel]", *ONE_ANIMAL) if request.quick else ONE_ANIMAL
    with timed(request, folder):
        study = run(request, experiment, *REFITTED_AFTERWARDS, *UNTRAINED, *settings, folder=folder)
        refit(request, study, (SHARED_ROW,))
    return nm.Study(study.path)


def refit(request: Request, study: nm.Study, rows: Sequence[str]) -> None:
    """Refit rows that the run has answers of, up to the number of this study."""
    folder = SharingFolder(study)
    jobs = str(request.jobs) if request.jobs > 1 else str(folder.spec.jobs)
    for count in dict.fromkeys(REFITS[row] for row in rows):
        wanted = 2 if request.quick else count
        lacking = [row for row in rows if REFITS[row] == count and row in folder.sources and refits_of(folder, row) < wanted]
        if lacking:
            neuromvm("sharing", study.path, "--n", str(wanted), "--rows", ",".join(lacking), "--jobs", jobs)


def refits_of(folder: SharingFolder, row: str) -> int:
    """Return on how many scrambled copies a row was refitted."""
    refits = folder.refits(row)
    return 0 if refits is None else refits.sizes["exchange"]


def mean_and_error(values: np.ndarray) -> str:
    """Write the mean over animals and its standard error.

    >>> mean_and_error(np.array([0.4, 0.5, 0.6]))
    '0.500 ± 0.058'
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return ""
    error = f" ± {np.std(known, ddof=1) / np.sqrt(len(known)):.3f}" if len(known) > 1 else ""
    return f"{known.mean():.3f}{error}"


def chosen(settings: np.ndarray) -> str:
    """Say which settings were chosen most often, in what share of cases, and among how many different ones.

    ``settings (split, animal)`` hold a JSON list of mappings, one for each seed; '' where an animal was not tested.

    >>> chosen(np.array([['[{"share": 0.9}]', '[{"share": 0.9}]', '[{"share": 0.5}]', ""]]))
    'share 0.9 (67 % of 2)'
    """
    lists = [json.loads(text) for text in settings.ravel().tolist() if text]
    counted = Counter(", ".join(f"{key} {value}" for key, value in seed.items()) for seeds in lists for seed in seeds)
    if not counted or not next(iter(counted)):
        return ""
    (words, count), *rest = counted.most_common()
    return f"{words} ({100 * count / counted.total():.0f} % of {len(rest) + 1})"


def row_table(scores: xr.Dataset) -> pd.DataFrame:
    """Return a line for each row of a run: accuracy, null of scrambled correspondence, share of the ceiling and settings."""
    cell = scores.sel(setting=AMONG[0])
    unable = set(OWN_ROWS.values())  # rows of the animal alone, which has no labels of these conditions
    names = sorted(set(cell["representation"].to_numpy().tolist()) - unable, key=order_of_rows)
    lines, reference = [], str(scores.attrs["reference"])
    for name in names:
        of_row = cell.sel(representation=name)
        mean = of_row.sel(target=ALL_ANIMALS)
        null = mean["null_score"].sel(null=CORRESPONDENCE)
        draws = int(of_row["null_draws"].sel(null=CORRESPONDENCE))
        tested = bool(np.isfinite(null.sel(null_statistic="mean")))
        effect = scores["effect"].sel(representation=name, setting=AMONG[0], unit_of_inference=TRIALS, statistic="value")
        lines.append(
            {
                "row": name,
                "accuracy": mean_and_error(per_animal(of_row["score"])),
                "scrambled": number(float(null.sel(null_statistic="mean"))),
                "p": number(float(null.sel(null_statistic="p"))),
                "refits": str(draws) if tested else "",
                "share of the ceiling": number(float(effect)),
                **({f"less {reference}": compared(mean, reference)} if reference else {}),
                "chosen most often": chosen(scores["settings"].sel(representation=name).to_numpy()),
            }
        )
    return pd.DataFrame(lines)


def order_of_rows(name: str) -> tuple[int, int, str]:
    """Return the place of a row: models by name, linear rows as they are listed, the ceiling."""
    if name == OWN_LABELS:
        return 2, 0, name
    return (1, list(ROWS).index(name), name) if name in ROWS else (0, 0, name)


def per_animal(score: xr.DataArray) -> np.ndarray:
    """Return the score of each animal."""
    values = score.drop_sel(target=ALL_ANIMALS).sel(unit_of_inference=TRIALS, statistic="value")
    return np.asarray(values.to_numpy())


def compared(mean: xr.Dataset, reference: str) -> str:
    """Write the difference to a row with its interval over animals, or over trials where there is none."""
    if reference == str(mean["representation"].item()):
        return ""
    difference = difference_of(mean, reference)
    if isinstance(difference, Absent):
        return ""
    interval = difference.interval if isinstance(difference.over_animals, Absent) else difference.over_animals
    return f"{difference.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def few_table(scores: xr.Dataset) -> pd.DataFrame:
    """Return a line for each row and number of labelled trials: accuracy, and gain over the animal alone with its null."""
    lines = []
    for name in scores["few_row"].to_numpy().tolist():
        for trials in scores["trials"].to_numpy().tolist():
            cell = scores.sel(few_row=name, trials=trials)
            gain = [float(cell["few_gain"].sel(statistic=part)) for part in ("value", "low", "high")]
            interval = f" [{gain[1]:+.3f}, {gain[2]:+.3f}]" if np.isfinite(gain).all() else ""
            null = cell["few_null"]
            lines.append(
                {
                    "row": name,
                    "labelled trials": trials,
                    "accuracy": mean_and_error(cell["few_score"].to_numpy()),
                    "gain over the animal alone": number(gain[0], "+") + interval,
                    "scrambled gain": number(float(null.sel(null_statistic="mean")), "+"),
                    "p": number(float(null.sel(null_statistic="p"))),
                }
            )
    return pd.DataFrame(lines)


def conditions(scores: xr.Dataset) -> str:
    """Say what the table of rows was measured on."""
    mean = scores.sel(target=ALL_ANIMALS, setting=AMONG[0])
    regime = {"every_animal": "every animal lacks conditions of its own", "one_animal": "one animal at a time lacks conditions"}
    return (
        f"Counts: animals {scores.sizes['target'] - 1}, trials tested {int(mean['tested'])}, splits {scores.attrs['splits']}; "
        f"{regime[scores.attrs['lacking']]}; chance {number(float(mean['chance'][0]))}. Accuracy: balanced, among the held-out "
        "conditions, mean ± standard error over animals. Null: names of conditions exchanged within each animal, all fitted and "
        "chosen anew. Brackets: 95 % over animals. Settings: on other animals; in how many cases, of how many different ones."
    )


def sentences(claims: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the verdict as a paragraph; what was not tested is left out."""
    return " ".join(claim["sentence"] for claim in claims.values() if claim["answer"] != "not tested")


def every_part(request: Request, study: nm.Study) -> str:
    """Write what a run shows in which every animal lacks conditions: verdict, rows, few labels."""
    scores = study.scores("sharing")
    shown = figure(request, study.path, "sharing-held_out", "Accuracy on held-out conditions with null, chance and ceiling")
    parts = [sentences(study.summary["verdict"]), markdown(row_table(scores)), conditions(scores), shown]
    if "few_gain" in scores:
        drawn = (
            f"A few labelled trials of each condition; accuracy on test trials, mean ± standard error over animals, splits "
            f"{scores.attrs['few_splits']}. Gain: 95 % over animals. Scrambled: {scores.attrs['few_refits']} refits."
        )
        parts += [markdown(few_table(scores)), drawn]
    return "\n\n".join(parts)


def one_part(study: nm.Study) -> str:
    """Write what a run shows in which one animal at a time lacks conditions."""
    scores = study.scores("sharing")
    return "\n\n".join([study.summary["verdict"]["shared"]["sentence"], markdown(row_table(scores)), conditions(scores)])


def cell_of(claim: Mapping[str, Any]) -> str:
    """Write a claim in a cell: the answer, the value with its interval, and p."""
    if claim["answer"] == "not tested":
        return "not tested"
    sign = "" if claim["chance"] else "+"
    score = number(claim["value"], sign)
    if claim["low"] is not None:
        score += f" [{number(claim['low'], sign)}, {number(claim['high'], sign)}]"
    p = "" if claim["p"] is None else f", p {claim['p']:.2g} of {claim['null_draws']}"
    return f"**{claim['answer']}** {score}{p}"


def overview(studies: Mapping[str, tuple[str, nm.Study]]) -> str:
    """Write a line for each data set with the four claims; ``studies`` hold a title and a run by the name of its part."""
    lines = []
    for title, study in studies.values():
        claims = study.summary["verdict"]
        animals = claims["shared"]["animals"]
        cells = {column: cell_of(claims[claim]) for claim, column in CLAIMS.items()}
        lines.append({"data set": f"[{title}](results/{PAGE}.md)", "animals": animals, **cells})
    return markdown(pd.DataFrame(lines))


def complete(request: Request, experiment: str) -> bool:
    """Whether a run has been judged."""
    return (request.out / experiment / "report.html").is_file()


def write_overview(request: Request) -> None:
    """Renew the first table of the results from the runs that are complete."""
    studies = {
        experiment: (f"{data_set.title}, {words}", nm.Study(request.out / experiment))
        for data_set in SETS.values()
        for words, experiment in data_set.experiments.items()
        if complete(request, experiment)
    }
    write_page(request, "../results", {"overview": overview(studies)}, module=PAGE)


def main(request: Request) -> None:
    """Run every data set, or those asked for, and renew its part of the page when it is complete."""
    for name in request.sets or SETS:
        parts = []
        for words, experiment in SETS[name].experiments.items():
            every, single = every_animal(request, experiment), one_animal(request, experiment)
            took = [f"{hours(request, folder.path.name):.1f} h" for folder in (every, single)]
            times = f"Wall time: {took[0]} with models, {took[1]} with one animal at a time."
            parts += [f"### Conditions {words}", every_part(request, every), "#### One animal at a time", one_part(single), times]
        write_page(request, PAGE, {name: "\n\n".join(parts)})
        write_overview(request)


if __name__ == "__main__":
    main(read_request(__doc__, sets=tuple(SETS)))
