"""The command line: thin commands over the library. Heavy imports happen inside commands, so that help is quick."""

import json
import logging
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neuromvm.errors import NeuromvmError, RunFolderError, SpecError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from neuromvm.runs import Study
    from neuromvm.specs import DataSpec

app = typer.Typer(
    help="A latent space shared by several animals, from NWB files to decoded odors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Look at recordings before using them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Root = Annotated[str | None, typer.Option("--root", help="Folder of the recordings, in place of the spec's own.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="a.b=c", help="Change a setting; may be repeated.")]


def main() -> None:
    """Run the command line; an error that the user can mend is one paragraph and exit code 2."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except (NeuromvmError, OSError) as error:
        if debug:
            raise
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        sys.exit(2)


@app.callback(epilog="Add --debug to any command for the full traceback of an error.")
def _global() -> None: ...


@app.command()
def simulate(
    directory: Annotated[Path, typer.Argument(help="Where to write the files.")],
    seed: Annotated[int, typer.Option(help="Of everything random in it.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an experiment that is there.")] = False,
    layout: Annotated[
        Literal["nwb", "published"], typer.Option(help="NWB files, or .npy arrays as the published rat recordings are.")
    ] = "nwb",
) -> None:
    """Write a simulated experiment: five rats, an odor sequence task, and the truth behind them."""
    from neuromvm.data.write_npy import write_published_layout
    from neuromvm.data.write_nwb import write_experiment

    write = {"nwb": write_experiment, "published": write_published_layout}[layout]
    for path in write(directory, seed=seed, overwrite=force):
        typer.echo(path)


@data_app.command("describe")
def describe_data(
    spec: Annotated[str, typer.Argument(help="Name in data_specs, or a YAML file.")],
    root: Root = None,
    overrides: Overrides = None,
) -> None:
    """Load recordings and print one row an animal, and what was dropped and why."""
    from neuromvm.data.describe import describe
    from neuromvm.data.loaders import load_recordings

    recordings = load_recordings(_data_spec(spec, overrides), root)
    _print_table(describe(recordings).reset_index(), f"{spec}: {_animals(len(recordings.children))}")
    _print_left_out(recordings)


@data_app.command("validate")
def validate_data(
    spec: Annotated[str, typer.Argument(help="Name in data_specs, or a YAML file.")],
    root: Root = None,
    overrides: Overrides = None,
) -> None:
    """Load recordings and say whether they fit the spec."""
    from neuromvm.data.loaders import load_recordings
    from neuromvm.schema import validate_recordings

    recordings = validate_recordings(load_recordings(_data_spec(spec, overrides), root))
    typer.echo(f"{spec}: valid, {_animals(len(recordings.children))}")
    _print_left_out(recordings)


@data_app.command("inspect")
def inspect_data(file: Annotated[Path, typer.Argument(help="An NWB file.")]) -> None:
    """Print the tables, columns and series of a file, to write a spec from."""
    from neuromvm.data.describe import inspect_file

    _print_table(inspect_file(file), str(file))


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(help="YAML of the experiment.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder to make.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in this folder.")] = False,
) -> None:
    """Load, split, train, embed, analyze and report: everything in a YAML."""
    from neuromvm.experiment import run_experiment
    from neuromvm.specs import load_experiment_spec

    spec = load_experiment_spec(experiment, overrides or ())
    _plugin("check")(spec)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("neuromvm").setLevel(logging.INFO)
    try:
        study = run_experiment(spec, out, resume=resume)
        for name in spec.analyses:
            typer.echo(f"analysis: {name}", err=True)
            _plugin("analyze")(study, name)
        typer.echo(f"report: {_plugin('report')(study)}", err=True)
    except KeyboardInterrupt as error:
        typer.echo("\nInterrupted. What is finished is kept: add --resume to the same command to go on.", err=True)
        raise typer.Exit(130) from error
    if spec.analyses:
        _print_scores(study)


@app.command()
def analyze(
    name: Annotated[str, typer.Argument(help="The analysis.")],
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    overrides: Overrides = None,
) -> None:
    """Compute one analysis of a run again, perhaps with other options (--set option=value), and renew the report."""
    from neuromvm.runs import Study
    from neuromvm.specs.files import parse_override

    options = dict(parse_override(override) for override in overrides or ())
    study = Study(run_folder)
    _plugin("analyze")(study, name, options)
    _plugin("report")(study)
    _print_scores(study, name)


@app.command("few-shot")
def few_shot(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    model: Annotated[str | None, typer.Option(help="A model of the run; default: the first.")] = None,
    animals: Annotated[str | None, typer.Option(help="New in turn, e.g. mitt,stella; default: every animal.")] = None,
    trials: Annotated[str, typer.Option(help="Training trials of each class in the new animal.")] = "1,2,4,8,all",
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of these trials.")] = 0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a=c", help="Change the training of the new animal, e.g. epochs=100.")
    ] = None,
) -> None:
    """Leave out each animal of a run in turn, adapt the model to it with few trials, and score what decoders of the others read.

    What is trained is kept: the same command goes on where it was interrupted, and adds animals or numbers of trials.
    """
    from neuromvm.few_shot import change_adaptation, run_few_shot
    from neuromvm.few_shot_folder import read_trials
    from neuromvm.runs import Study
    from neuromvm.specs.files import parse_override

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("neuromvm").setLevel(logging.INFO)
    adaptation = change_adaptation(dict(parse_override(override) for override in overrides or ()))
    chosen = None if animals is None else [name.strip() for name in animals.split(",")]
    per_class = [read_trials(one) for one in trials.split(",")]
    try:
        study = run_few_shot(Study(run_folder), model, chosen, per_class, adaptation, seed=seed)
    except KeyboardInterrupt as error:
        typer.echo("\nInterrupted. What is finished is kept: the same command goes on.", err=True)
        raise typer.Exit(130) from error
    _plugin("analyze")(study, "few_shot", {})
    typer.echo(f"report: {_plugin('report')(study)}", err=True)
    _print_scores(study, "few_shot")


@app.command()
def report(run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]) -> None:
    """Write report.html of a run."""
    from neuromvm.runs import Study

    typer.echo(_plugin("report")(Study(run_folder)))


@app.command()
def scores(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json.")] = False,
) -> None:
    """Print every score of a run with its interval, floor, chance and n."""
    from neuromvm.runs import Study

    study = Study(run_folder)
    if as_json:
        typer.echo(json.dumps(study.summary, indent=1, ensure_ascii=False))
    else:
        _print_scores(study)


def _plugin(name: str) -> Any:
    """Return what stands behind a step that lives outside the library (entry point group ``neuromvm.pipeline``)."""
    found = entry_points(group="neuromvm.pipeline", name=name)
    if not found:
        raise RunFolderError(
            f"step {name!r}", found="not installed", next_step="Install the whole distribution: pip install neuromvm"
        )
    return next(iter(found)).load()


def _data_spec(name: str, overrides: list[str] | None) -> "DataSpec":
    from neuromvm.specs import load_data_spec

    return load_data_spec(name, overrides or ())


def _animals(number: int) -> str:
    return "1 animal" if number == 1 else f"{number} animals"


def _print_left_out(recordings: "xr.DataTree") -> None:
    """Say which whole animals were left out, and why."""
    from neuromvm.schema import dropped

    for line in dropped(recordings.to_dataset()):
        typer.echo(f"left out: {line.what} ({line.reason})")


def _print_scores(study: "Study", only: str | None = None) -> None:
    import pandas as pd

    analyses = study.summary["analyses"]
    if only is not None and only not in analyses:
        raise SpecError(f"analysis {only!r}", found="no scores in this run")
    for name, entry in analyses.items():
        if only in (None, name) and entry["scores"]:
            _print_table(pd.DataFrame(entry["scores"]), name)


def _print_table(table: "pd.DataFrame", title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for column in table.columns:
        drawn.add_column(str(column), overflow="fold", justify="right" if table[column].dtype.kind in "fiu" else "left")
    for _, row in table.iterrows():
        drawn.add_row(*(_cell(value) for value in row))
    console = Console()
    # A pipe has no width: print tables whole there, for grep and for logs.
    Console(width=None if console.is_terminal else 200).print(drawn)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
