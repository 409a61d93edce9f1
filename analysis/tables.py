"""Run the experiments of the study and write their scores into the pages of ``docs/results``.

Every module of the study has ``main(request)``. It runs experiments unless their folders are complete, and renews the generated
parts of the page of its own name.
"""

import argparse
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import neuromvm as nm
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_npy import write_published_layout
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.errors import SpecError
from neuromvm.specs.sweep import load_sweep_spec

EXPERIMENTS = Path(__file__).parent / "experiments"
PAGES = Path(__file__).parents[1] / "docs" / "results"
SIMULATIONS = {"simulated_rats": write_experiment, "published_rats": write_published_layout}
QUICK = (
    "training.epochs=2",
    "analyses.decoding.bootstraps=100",
    "analyses.decoding.permutations=500",
    "analyses.decoding.baselines=[raw, mcca]",
    "analyses.decoding.tune=false",
    "split.repeats=1",
    "split.folds=2",
)
QUICK_RATS = {"mitt": {"units": 12, "trials": 120}, "stella": {"units": 10, "trials": 110}}
SETTINGS = ("within", "cross", "others", "pooled")
DISCRIMINANTS = ("simplex_bayes",)  # models that read each animal alone: what others add to their scores is names of classes


class Request(NamedTuple):
    """Where a module of the study reads and writes.

    ``data`` has a subfolder for each data set, ``out`` takes the run folders and ``pages`` the pages. ``quick``: two epochs, few
    permutations and small simulations, to try a module; the numbers mean nothing. ``jobs``: processes of modules that share their
    work. ``sets``: data sets of modules that have several, all where it is empty.
    """

    data: Path
    out: Path
    pages: Path
    quick: bool
    jobs: int = 1
    sets: tuple[str, ...] = ()


def read_request(description: str | None, sets: Sequence[str] = ()) -> Request:
    """Read a request from the command line; ``sets`` are data sets among which ``--set`` chooses."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with a subfolder for each data set")
    parser.add_argument("--out", type=Path, help="folder of the runs; default: runs/study, or runs/quick with --quick")
    parser.add_argument("--pages", type=Path, help="where to write pages; default: docs/results, or OUT/pages with --quick")
    parser.add_argument("--quick", action="store_true", help="two epochs and few permutations, to try the module")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of modules that share their work")
    if sets:
        parser.add_argument("--set", choices=sets, action="append", dest="sets", help="only this data set; repeatable")
    options = parser.parse_args()
    out = options.out or Path("runs") / ("quick" if options.quick else "study")
    pages = options.pages or (out / "pages" if options.quick else PAGES)
    return Request(options.data, out, pages, options.quick, options.jobs, tuple(options.sets or ()) if sets else ())


def print_measured(description: str | None, measure: Callable[[int, int], pd.DataFrame]) -> None:
    """Print the table that ``measure`` makes of a number of simulated data sets and a seed, both from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data-sets", type=int, default=200, help="simulated data sets of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first data set")
    options = parser.parse_args()
    print(markdown(measure(options.data_sets, options.seed).round(3)))


def recordings(request: Request, data_spec: str) -> Path:
    """Return the folder of a data set, or raise SpecError; simulated ones are made where they are absent."""
    folder = request.data / Path(nm.load_data_spec(data_spec).root).name
    if folder.is_dir():
        return folder.resolve()
    if data_spec not in SIMULATIONS:
        raise SpecError(f"data set {data_spec}", found=f"no folder {folder}", next_step="Name the folder above it: --data FOLDER")
    simulated = request.out / "data" / data_spec
    if not simulated.is_dir():
        config = SimulationConfig.model_validate({"animals": QUICK_RATS}) if request.quick else None
        SIMULATIONS[data_spec](simulated, config)
    return simulated.resolve()


def neuromvm(*arguments: str | Path) -> None:
    """Call the command line without printing its tables; its errors end the module."""
    done = subprocess.run([sys.executable, "-m", "neuromvm", *map(str, arguments)], stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode)


def run(request: Request, experiment: str, *settings: str, folder: str = "") -> nm.Study:
    """Return the run of a file in ``analysis/experiments``, which is computed unless its folder is complete.

    ``settings`` (``a.b=value``) replace those in the file; the run folder has the name of the experiment by default.
    """
    path, out = EXPERIMENTS / f"{experiment}.yaml", request.out / (folder or experiment)
    root = recordings(request, nm.load_experiment_spec(path).data.spec)
    overrides = [f"data.root={root}", *settings, *(QUICK if request.quick else ())]
    complete = (out / "report.html").is_file() and nm.Study(out).spec == nm.load_experiment_spec(path, overrides)
    if not complete:
        neuromvm("run", path, "--out", out, "--resume", *(f"--set={setting}" for setting in overrides))
    return nm.Study(out)


def sweep(request: Request, name: str, *settings: str) -> Path:
    """Run a sweep, or what is missing of it, and return its folder."""
    path, out = EXPERIMENTS / f"{name}.yaml", request.out / name
    root = recordings(request, load_sweep_spec(path).experiment["data"]["spec"])
    overrides = [f"data.root={root}", *settings, *(QUICK if request.quick else ())]
    neuromvm("sweep", path, "--out", out, "--engine", "processes", *(f"--set={setting}" for setting in overrides))
    return out


def number(value: float | None, sign: str = "") -> str:
    """Write a score with three decimals; nothing where it does not exist.

    >>> number(0.5), number(0.0123, "+"), number(None)
    ('0.500', '+0.012', '')
    """
    return "" if value is None or math.isnan(value) else f"{value:{sign}.3f}"


def bracketed(row: Mapping[str, Any], value: str, low: str, high: str, sign: str = "") -> str:
    """Write a value of a line of ``summary.json`` with its interval."""
    text = number(row[value], sign)
    interval = f" [{number(row[low], sign)}, {number(row[high], sign)}]" if number(row[low]) else ""
    return text + interval if text else ""


def score_table(scores: Sequence[Mapping[str, Any]], settings: Sequence[str] = SETTINGS, interval: str = "") -> pd.DataFrame:
    """Return a row for each representation and a column for each setting, with difference, null and p.

    The difference, the null and p are those of ``cross`` where a representation has it, else of its last setting. Rows with
    ``cross`` come first; of ``DISCRIMINANTS`` only ``within`` is shown. The interval ``""`` is over test trials, ``"animals_"``
    over animals.
    """
    lines: dict[str, dict[str, Mapping[str, Any]]] = {}
    for score in scores:
        lines.setdefault(score["representation"], {})[score["setting"]] = score
    table = []
    shown = {
        name: [setting for setting in settings if setting in of_setting and (name not in DISCRIMINANTS or setting == "within")]
        for name, of_setting in lines.items()
    }
    for representation, present in sorted(shown.items(), key=lambda row: "cross" not in row[1]):
        of_setting = lines[representation]
        if not present:
            continue
        judged = of_setting["cross" if "cross" in present else present[-1]]
        cells = {
            setting: bracketed(of_setting[setting], "value", f"{interval}low", f"{interval}high") if setting in present else ""
            for setting in settings
        }
        against = bracketed(judged, "difference", f"difference_{interval}low", f"difference_{interval}high", "+")
        null = bracketed(judged, "floor", "floor_low", "floor_high")
        table.append({"row": representation, **cells, "difference": against, "null": null, "p": number(judged["p"])})
    return pd.DataFrame(table)


def conditions(scores: Sequence[Mapping[str, Any]], settings: Sequence[str] = SETTINGS, interval: str = "") -> str:
    """Say in words what the scores of :func:`score_table` were measured on: counts, chance, interval, null and baseline."""
    shown = [score for score in scores if score["setting"] in settings]
    counted = {"animals": "n_animals", "trials tested": "n_trials", "windows a trial": "n_windows", "splits": "n_splits"}
    counts = ", ".join(f"{noun} {shown[0][key]:,}" for noun, key in counted.items())
    nulls = "; ".join(dict.fromkeys(score["null_kind"] for score in shown))
    baselines = ", ".join(dict.fromkeys(score["baseline"] for score in shown if number(score["difference"])))
    difference = f" Differences are to {baselines}." if baselines else ""
    resampled = "95 % over animals, drawn again with their trials" if interval else shown[0]["interval"]
    return f"Counts: {counts}; chance {number(shown[0]['chance'])}. Brackets: {resampled}. Null: {nulls}.{difference}"


def markdown(table: pd.DataFrame) -> str:
    """Write a table in Markdown.

    >>> print(markdown(pd.DataFrame({"row": ["mmvm"], "cross": ["0.500"]})))
    | row | cross |
    |---|---|
    | mmvm | 0.500 |
    """
    lines = [table.columns, ["---"] * table.shape[1], *table.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("| --- ", "|---").replace("|--- |", "|---|")


def decoding_part(study: nm.Study) -> str:
    """Write the decoding table of a run and what it was measured on."""
    scores = study.summary["analyses"]["decoding"]["scores"]
    return f"{markdown(score_table(scores))}\n\n{conditions(scores)}"


def figure(request: Request, folder: Path, name: str, title: str) -> str:
    """Copy a figure of a run or sweep beside the pages and return the line that shows it."""
    target = request.pages / "figures" / f"{folder.name}-{name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "figures" / f"{name}.png", target)
    return f"![{title}](figures/{target.name})"


def write_page(request: Request, page: str, parts: Mapping[str, str], module: str = "") -> None:
    """Renew the parts of a page between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; SpecError if one is absent.

    ``module`` is the one that makes them, by default that with the name of the page.
    """
    written = request.pages / f"{page}.md"  # keeps the parts that were written before
    text = (written if written.is_file() else PAGES / f"{page}.md").read_text("utf-8")
    origin = f"Made by `python -m analysis.{module or page}` with neuromvm {nm.__version__}{' --quick' if request.quick else ''}."
    for name, content in parts.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, marker, after = text.partition(begin)
        if not marker or end not in after:
            raise SpecError(f"docs/results/{page}.md", found=f"no part {name!r}", next_step=f"Add {begin} and {end}")
        text = f"{before}{begin}\n\n{content}\n\n{origin}\n\n{end}{after.partition(end)[2]}"
    request.pages.mkdir(parents=True, exist_ok=True)
    written.write_text(text, "utf-8")
