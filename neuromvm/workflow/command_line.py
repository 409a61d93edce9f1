"""The command line: thin commands over the library. Heavy imports happen inside commands, so that help is quick."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neuromvm import __version__
from neuromvm.errors import NeuromvmError, SpecError, shortened
from neuromvm.workflow import messages
from neuromvm.workflow.benchmark.commands import app as benchmark_app
from neuromvm.workflow.printing import print_csv, print_scores, print_short, print_table, print_verdict

if TYPE_CHECKING:
    import xarray as xr

    from neuromvm.folders.study import Study
    from neuromvm.workflow.sweep.engines import Engine

app = typer.Typer(
    help="A latent space shared by several animals, from NWB files to decoded odors.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Look at recordings before using them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(benchmark_app, name="benchmark")

LOG = logging.getLogger(__name__)
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Experiment = Annotated[
    str, typer.Argument(help="YAML of the experiment, or the name of one that is shipped (neuromvm new --list).")
]
DataName = Annotated[str, typer.Argument(help="Name in data_specs, or a YAML file.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes.")]
Root = Annotated[str | None, typer.Option("--root", help="Folder of the recordings, in place of the spec's own.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="a.b=c", help="Change a setting; may be repeated.")]
NULLS = {"labels": "labels", "correspondence": "scrambled correspondence"}  # option -> name of the null of refits


def main() -> None:
    """Run the command line; an error is printed as one paragraph, with exit code 2 if the user can correct it, else 3."""
    debug, quiet, verbose = map(_taken, (("--debug",), ("--quiet", "-q"), ("--verbose", "-v")))
    messages.configure(quiet=quiet, verbose=verbose)
    try:
        app()
    except (NeuromvmError, OSError) as error:
        if debug:
            raise
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        reason = f"{type(error).__name__}: {shortened(str(error), 300)}"
        text = (
            f"The command met what it does not foresee ({reason}). Its input may be damaged, or this is an error of the program:"
        )
        typer.secho(f"{text} repeat it with --debug for the place, and report it.", fg="red", err=True)
        sys.exit(3)


def _taken(names: tuple[str, ...]) -> bool:
    """Take an option out of the arguments, wherever it stands, and return whether it was there."""
    before = len(sys.argv)
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in names]
    return len(sys.argv) < before


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neuromvm {__version__}")
        raise typer.Exit


@app.callback(
    epilog="--quiet, --verbose and --debug may stand anywhere in a command. --debug shows the full traceback of an error."
)
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors alone.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print every step with its time.")] = False,
) -> None:
    if quiet or verbose:  # main takes them out of the arguments; other callers of the app come here
        messages.configure(quiet=quiet, verbose=verbose)


@contextmanager
def _interruptible(message: str) -> Iterator[None]:
    """Print a message on Ctrl-C and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(f"\nInterrupted. {message}", err=True)
        raise typer.Exit(130) from error


@app.command()
def simulate(
    directory: Annotated[Path, typer.Argument(help="Where to write the files.")],
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    layout: Annotated[
        Literal["nwb", "published"], typer.Option(help="NWB files, or .npy arrays as the published rat recordings are.")
    ] = "nwb",
    theta: Annotated[
        float,
        typer.Option(min=0, max=1, help="How far spikes and odor information follow the theta phase of the field potential."),
    ] = 0.0,
    codes: Annotated[
        Literal["shared", "half", "private"],
        typer.Option(
            help="Whether the code of odors is the same in all rats, in half of its variance, or unrelated between rats."
        ),
    ] = "shared",
    odors: Annotated[int, typer.Option(min=2, max=26, help="Odors in the sequence; the published layout has 5.")] = 5,
) -> None:
    """Write a simulated experiment: five rats in an odor sequence task, and the true latents."""
    from neuromvm.data.simulate.experiment import SimulationConfig
    from neuromvm.data.simulate.write_npy import write_published_layout
    from neuromvm.data.simulate.write_nwb import write_experiment

    write = {"nwb": write_experiment, "published": write_published_layout}[layout]
    config = SimulationConfig(theta_coupling=theta, codes=codes, odors=odors)
    for path in write(directory, config=config, seed=seed, overwrite=force):
        typer.echo(path)


@data_app.command("describe")
def describe_data(
    spec: DataName,
    root: Root = None,
    overrides: Overrides = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="OUT.png|pdf", help="Also draw units, rates, drift, labels and drops.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="The label of trials in the figure; default: the first.")] = None,
) -> None:
    """Load recordings and print a row for each animal, what was dropped and why, and what looks wrong."""
    from neuromvm.data.describe import describe
    from neuromvm.data.loaders import load_recordings
    from neuromvm.data.quality import findings, with_twins
    from neuromvm.specs import load_data_spec

    recordings = load_recordings(with_twins(load_data_spec(spec, overrides or ())), root)
    print_table(describe(recordings).reset_index(), f"{spec}: {_animals(len(recordings.children))}")
    _print_left_out(recordings)
    for finding in findings(recordings):
        typer.secho(f"{finding.check}: {finding.animal}: {finding.sentence}", fg="yellow")
    if figure is not None:
        from neuromvm.analysis.figures.recordings import overview, write

        write(overview(recordings, label), figure)
        typer.echo(f"figure: {figure}")


@data_app.command("validate")
def validate_data(spec: DataName, root: Root = None, overrides: Overrides = None) -> None:
    """Load recordings and check that they fit the spec."""
    from neuromvm.schema import validate_recordings

    recordings = validate_recordings(_load(spec, root, overrides))
    typer.echo(f"{spec}: valid, {_animals(len(recordings.children))}")
    _print_left_out(recordings)


@data_app.command("inspect")
def inspect_data(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="NWB files.")],
    spec: Annotated[
        Path | None, typer.Option("--spec", metavar="OUT.yaml", help="Write a first data spec, with comments.")
    ] = None,
) -> None:
    """Print the tables, columns and series of files and how files differ, and propose a data spec."""
    from neuromvm.data.loaders.inspect import outline_text, read_outline
    from neuromvm.data.loaders.propose import write_proposal

    outlines = [read_outline(file) for file in files]
    typer.echo(outline_text(outlines))
    if spec is None:
        typer.echo("\nA first data spec from these files: add --spec my_lab.yaml")
    else:
        write_proposal(outlines, spec)
        typer.echo(f"\n{spec}: a first data spec. Read its comments, then: neuromvm data describe {spec}")


@data_app.command("convert")
def convert_data(
    spec: DataName,
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    root: Root = None,
    overrides: Overrides = None,
) -> None:
    """Write the recordings of a spec, of any source, as NWB files with a spec that reads them."""
    from neuromvm.data.convert import convert_recordings
    from neuromvm.specs import load_data_spec

    for path in convert_recordings(load_data_spec(spec, overrides or ()), out, root):
        typer.echo(path)


@app.command()
def new(
    out: Annotated[Path | None, typer.Argument(metavar="OUT.yaml", help="The experiment to write.")] = None,
    spec: Annotated[str | None, typer.Option("--spec", help="Name in data_specs, or the YAML file of a data spec.")] = None,
    root: Root = None,
    recipe: Annotated[str | None, typer.Option(help="Which recipe; default: the one that suits the grid.")] = None,
    label: Annotated[str | None, typer.Option(help="The label of trials to decode; default: the first that suits.")] = None,
    start: Annotated[float | None, typer.Option(help="Start of samples [s]; default: the event.")] = None,
    stop: Annotated[float | None, typer.Option(help="Stop of samples [s]; default: as the recipe says.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List recipes and the experiments that are shipped.")] = False,
) -> None:
    """Write an experiment from a recipe, filled in from recordings, with a comment that says why each value is as it is."""
    from neuromvm.data.loaders import load_recordings
    from neuromvm.specs import load_data_spec
    from neuromvm.specs.files import check_new, is_yaml, spec_name
    from neuromvm.workflow.recipes.catalogue import Ends
    from neuromvm.workflow.recipes.write import as_seen_from, experiment_text, listed_names, write_experiment

    if listing:
        typer.echo("\n".join(listed_names()))
        return
    if out is None or spec is None:
        raise SpecError(
            "neuromvm new", found="no OUT.yaml or no --spec", next_step="neuromvm new my.yaml --spec my_lab.yaml, or --list"
        )
    check_new(out)
    recordings = load_recordings(load_data_spec(spec), root)
    data, folder = as_seen_from(out, spec) if is_yaml(Path(spec)) else spec, None if root is None else as_seen_from(out, root)
    ends, name = Ends(start, stop), spec_name(out.stem, "experiment")
    write_experiment(experiment_text(recordings, name, data, folder, recipe=recipe, label=label, ends=ends), out)
    typer.echo(f"{out}: read its comments, then: neuromvm run {out} --out runs/{name}")


@app.command("explain")
def explain_setting(
    path: Annotated[str | None, typer.Argument(metavar="SETTING", help="Dotted path, e.g. models.mmvm.initial_scale.")] = None,
) -> None:
    """Say what a setting of an experiment, data spec or sweep means, what it takes, and its default; without one, list them."""
    from neuromvm.workflow.explain import explain, top_settings

    for line in top_settings() if path is None else explain(path):
        typer.echo(line)


@app.command()
def run(
    experiment: Experiment,
    out: Annotated[Path, typer.Option("--out", help="Run folder to make.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in this folder.")] = False,
) -> None:
    """Load, split, train, embed, analyze and report an experiment."""
    from neuromvm.analysis.pipeline import analyze, check_analyses, is_analyzed
    from neuromvm.analysis.report import write_report
    from neuromvm.specs import load_experiment_spec
    from neuromvm.workflow.experiment import run_experiment

    spec = load_experiment_spec(experiment, overrides or ())
    check_analyses(spec)
    with _interruptible("Finished steps are kept: add --resume to the same command to continue."):
        study = run_experiment(spec, out, resume=resume)
        for name in (name for name in spec.analyses if name != "sharing"):
            if resume and is_analyzed(study, name):
                LOG.info("analysis: %s is there", name)
                continue
            LOG.info("analysis: %s", name)
            analyze(study, name)
        for null, count in (("labels", spec.nulls.refits), ("correspondence", spec.nulls.correspondence)):
            if count and "decoding" in spec.analyses:
                _refit(study, count, None, spec.nulls.jobs, NULLS[null])
        if spec.sharing is not None:
            _share(study, None, None, None)
        LOG.info("report: %s", write_report(study))
    if spec.analyses or spec.sharing is not None:
        print_short(study)
        print_verdict(study)


@app.command()
def audit(
    experiment: Experiment,
    overrides: Overrides = None,
    draws: Annotated[int, typer.Option("--n", min=3, help="Data sets without signal of each kind.")] = 10,
    jobs: Jobs = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the results to this JSON file.")] = None,
) -> None:
    """Run an experiment's pipeline on permuted labels and on noise; exit code 1 if a score leaves chance or a split leaks."""
    from neuromvm.analysis.pipeline import check_analyses
    from neuromvm.files import write_json
    from neuromvm.specs import load_experiment_spec
    from neuromvm.workflow.audit import audit as run_audit

    spec = load_experiment_spec(experiment, overrides or ())
    check_analyses(spec)
    result = run_audit(spec, draws=draws, jobs=jobs)
    table = result.scores.to_dataframe().dropna(subset="mean").reset_index()
    for claim, passed, evidence in result.checks:
        typer.secho(f"{'ok  ' if passed else 'FAIL'} {claim}: {evidence}", fg=None if passed else "red")
    print_table(table, f"{spec.name}: scores on data without signal, {draws} data sets of each kind")
    for caveat in result.caveats:
        typer.echo(f"- {caveat}")
    verdict = "passed" if result.passed else "FAILED: do not trust scores of this experiment"
    typer.secho(f"{spec.name}: {verdict}", bold=True)
    if out is not None:
        checks = [dict(zip(("what", "passed", "found"), check, strict=True)) for check in result.checks]
        scores = table.to_dict("records")
        write_json(out, {"passed": result.passed, "checks": checks, "scores": scores, "caveats": result.caveats})
    if not result.passed:
        raise typer.Exit(1)


@app.command()
def analyze(
    name: Annotated[str, typer.Argument(help="The analysis.")], run_folder: RunFolder, overrides: Overrides = None
) -> None:
    """Compute one analysis of a run again, with other options (--set option=value) if given, and write the report."""
    from neuromvm.analysis.pipeline import analyze
    from neuromvm.analysis.report import write_report
    from neuromvm.folders.study import Study

    study = Study(run_folder)
    analyze(study, name, _settings(overrides))
    write_report(study)
    print_short(study, name)


@app.command("few-shot")
def few_shot(
    run_folder: RunFolder,
    model: Annotated[str | None, typer.Option(help="A model of the run; default: the first.")] = None,
    animals: Annotated[str | None, typer.Option(help="New animals in turn, e.g. mitt,stella; default: every animal.")] = None,
    trials: Annotated[str, typer.Option(help="Training trials of each class in the new animal.")] = "1,2,4,8,all",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw of these trials.")] = 0,
    start: Annotated[
        Literal["random", "others"],
        typer.Option(help="Start of the new animal's weights: random, or a regression on the latents of the others."),
    ] = "random",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a=c", help="Change the training of the new animal, e.g. epochs=100.")
    ] = None,
) -> None:
    """Leave out each animal of a run in turn, adapt the model to it with few trials, and score decoders of the other animals.

    Trainings are kept: the same command continues after an interruption, and adds animals or numbers of trials.
    """
    from neuromvm.analysis.pipeline import analyze
    from neuromvm.analysis.report import write_report
    from neuromvm.folders.few_shot import read_trials
    from neuromvm.folders.study import Study
    from neuromvm.workflow.few_shot import change_adaptation, run_few_shot

    adaptation = change_adaptation(_settings(overrides), start)
    per_class = [read_trials(number) for number in trials.split(",")]
    with _interruptible("Finished trainings are kept: the same command continues."):
        study = run_few_shot(Study(run_folder), model, _names(animals), per_class, adaptation, start=start, seed=seed)
    analyze(study, "few_shot", {})
    LOG.info("report: %s", write_report(study))
    print_short(study, "few_shot")


@app.command()
def refit(
    run_folder: RunFolder,
    count: Annotated[int, typer.Option("--n", min=1, help="Null data sets; every row is fitted again on each.")] = 200,
    rows: Annotated[
        str | None, typer.Option(help="Models and baselines, as mmvm,mcca; default: all but cebra, cebra_unified, dynamics.")
    ] = None,
    null: Annotated[
        Literal["labels", "correspondence", "both"],
        typer.Option(help="Null data: labels permuted, names of conditions exchanged within each animal, or both in turn."),
    ] = "labels",
    jobs: Jobs = 1,
) -> None:
    """Fit every row of the decoding table again on null data, as its null. Refits are kept: add more at any time."""
    from neuromvm.analysis.pipeline import analyze
    from neuromvm.analysis.report import write_report
    from neuromvm.folders.study import Study

    study = Study(run_folder)
    if not (study.path / "summary.json").is_file() or "decoding" not in study.summary["analyses"]:
        analyze(study, "decoding")
    with _interruptible("Finished refits are kept: the same command continues."):
        for name in NULLS if null == "both" else [null]:
            _refit(study, count, _names(rows), jobs, NULLS[name])
    write_report(study)
    print_short(study, "decoding")


@app.command()
def sharing(
    run_folder: RunFolder,
    count: Annotated[
        int | None, typer.Option("--n", min=0, help="Data sets with exchanged names; default: as the experiment says, or 200.")
    ] = None,
    rows: Annotated[str | None, typer.Option(help="Rows and models, e.g. class_kernel,mmvm; default: all.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
) -> None:
    """Do animals share a code? Conditions never labelled in one animal are read by the others, against exchanged names.

    Results are kept: the same command continues after an interruption, and adds rows or data sets.
    """
    from neuromvm.analysis.report import write_report
    from neuromvm.folders.study import Study

    study = Study(run_folder)
    with _interruptible("Finished data sets are kept: the same command continues."):
        _share(study, count, _names(rows), jobs)
    write_report(study)
    print_short(study, "sharing")
    print_verdict(study)


def _share(study: "Study", count: int | None, rows: list[str] | None, jobs: int | None) -> None:
    from neuromvm.analysis.pipeline import analyze
    from neuromvm.workflow.sharing import run_sharing

    for line in run_sharing(study, count, rows, jobs=jobs):
        typer.secho(f"failed, and counts as reaching the score: {line}", fg="red", err=True)
    analyze(study, "sharing")


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _refit(study: "Study", count: int, rows: list[str] | None, jobs: int, null: str) -> None:
    from neuromvm.analysis.pipeline import analyze
    from neuromvm.workflow.refits import run_refits

    for line in run_refits(study, count, rows, null=null, jobs=jobs):
        typer.secho(f"failed, and counts as reaching the score: {line}", fg="red", err=True)
    for name in ("decoding", "consistency", "coherence") if null == NULLS["correspondence"] else ("decoding",):
        if name in study.summary["analyses"]:  # under the options of the refits
            analyze(study, name, study.summary["analyses"][name]["options"])


@app.command()
def sweep(
    spec: Annotated[str, typer.Argument(metavar="SWEEP", help="YAML of the sweep, or the name of one that is shipped.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the sweep; the same command continues it.")],
    overrides: Overrides = None,
    engine: Annotated[
        Literal["serial", "processes", "slurm", "dask"], typer.Option(help="Where cells are computed; results are the same.")
    ] = "serial",
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at once: processes; slurm (of the array).")] = None,
    pack: Annotated[
        int | None,
        typer.Option(min=1, help="Cells for each call of the engine (a job of slurm), trained as a stack where possible."),
    ] = None,
    part: Annotated[
        str | None, typer.Option("--shard", metavar="i/n", help="Only every n-th cell, for a job array of your own.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="dask: address of the scheduler, e.g. tcp://10.0.0.1:8786.")] = None,
    slurm: Annotated[
        list[str] | None, typer.Option(metavar="a=c", help="slurm: an option, e.g. partition=cpu or timeout_min=120; repeatable.")
    ] = None,
) -> None:
    """Run an experiment with many settings, and compare them in one table. Cells that are done are not done again."""
    from neuromvm.specs.sweep import load_sweep_spec
    from neuromvm.workflow.sweep.runner import count_cells, run_sweep
    from neuromvm.workflow.sweep.table import brief

    settings = load_sweep_spec(spec, overrides or ())
    computer = _engine(engine, out, jobs, scheduler, slurm)
    with _interruptible("Cells that are done are kept, others continue from their checkpoints: same command."):
        folder = run_sweep(settings, out, computer, part=part, pack=pack)
    count = count_cells(folder)
    if part is not None and count.waiting:
        typer.echo(f"{count.waiting} cells are waiting for other shards; the last shard to end writes the table.", err=True)
    else:
        print_table(brief(folder), f"{folder.name}: {count.done} of {sum(count)} cells done")
        typer.echo(f"table: {folder.path / 'table.csv'}", err=True)
    if count.failed:
        typer.echo(f"{count.failed} failed: see FAILED in their folders. The same command tries them again.", err=True)
        raise typer.Exit(1)


def _engine(name: str, out: Path, jobs: int | None, scheduler: str | None, slurm: list[str] | None) -> "Engine":
    from neuromvm.workflow.sweep.engines import Dask, Processes, Serial, Slurm

    if name == "processes":
        return Processes(jobs)
    if name == "slurm":
        return Slurm(out / "slurm", jobs, _settings(slurm))
    if name == "serial":
        return Serial()
    if scheduler is None:
        raise SpecError("engine dask", found="no scheduler", next_step="Add --scheduler tcp://HOST:8786")
    return Dask(scheduler)


@app.command()
def report(run_folder: RunFolder) -> None:
    """Write report.html of a run."""
    from neuromvm.analysis.report import write_report
    from neuromvm.folders.study import Study

    typer.echo(write_report(Study(run_folder)))


@app.command()
def scores(
    run_folder: RunFolder,
    every: Annotated[bool, typer.Option("--all", help="Print every score with its intervals, null and n.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every score as comma-separated values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json.")] = False,
) -> None:
    """Print the scores of a run, a line for each method, and its verdict."""
    from neuromvm.folders.study import Study

    study = Study(run_folder)
    if as_json:
        typer.echo(json.dumps(study.summary, indent=1, ensure_ascii=False))
    elif as_csv:
        print_csv(study)
    elif every:
        print_scores(study)
    else:
        print_short(study)
        print_verdict(study)


def _load(spec: str, root: str | None, overrides: list[str] | None) -> "xr.DataTree":
    from neuromvm.data.loaders import load_recordings
    from neuromvm.specs import load_data_spec

    return load_recordings(load_data_spec(spec, overrides or ()), root)


def _settings(overrides: list[str] | None) -> dict[str, Any]:
    from neuromvm.specs.files import parse_override

    return dict(map(parse_override, overrides or ()))


def _animals(number: int) -> str:
    return "1 animal" if number == 1 else f"{number} animals"


def _print_left_out(recordings: "xr.DataTree") -> None:
    """Print which whole animals were left out, and why."""
    from neuromvm.schema import dropped

    for line in dropped(recordings.to_dataset()):
        typer.echo(f"left out: {line.what} ({line.reason})")
