"""Commands ``neuromvm benchmark ...``. Heavy imports happen inside commands, so that help is quick."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from neuromvm.errors import SpecError

app = typer.Typer(help="Train the models on benchmarks that are not neural, and compare them.", no_args_is_help=True)


@app.command()
def polymnist(
    out: Annotated[Path, typer.Option("--out", help="Folder to make, or to continue.")],
    size: Annotated[Literal["small", "full"], typer.Option(help="small: for two CPUs; full: as published, for a GPU.")] = "small",
    methods: Annotated[str | None, typer.Option(help="As independent,mmvm; default: all of the paper and both rates.")] = None,
    betas: Annotated[str | None, typer.Option(help="As 0.3,1,3; default: those of the size.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the published images, PolyMNIST_translated_scale075; default: made of digits.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a=b", help="Change a setting, as seeds=3, epochs=50, networks.patch=2.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Compare methods on translated PolyMNIST: latent classification and coherence against reconstruction.

    Cells that are done are kept: the same command continues, and adds methods and betas.
    """
    from neuromvm.specs.files import parse_override, set_value, validated
    from neuromvm.workflow.benchmark.polymnist import run_polymnist
    from neuromvm.workflow.benchmark.settings import DEFAULT_METHODS, SIZES, PolyMnistSpec
    from neuromvm.workflow.printing import print_table

    preset = SIZES[size]
    settings: dict[str, Any] = preset.spec.model_dump()
    if data is not None:
        settings["data"] = str(data.resolve())
    elif size == "full":
        settings["digits"] = "mnist"
    for path, value in map(parse_override, overrides or ()):
        set_value(settings, path, value, where=f"--set {path}")
    chosen = list(DEFAULT_METHODS) if methods is None else [name.strip() for name in methods.split(",")]
    weights = list(preset.betas) if betas is None else [_number(text) for text in betas.split(",")]
    spec = validated(settings, "benchmark polymnist", PolyMnistSpec)
    try:
        outcome = run_polymnist(spec, chosen, weights, out, jobs=jobs)
    except KeyboardInterrupt as error:
        typer.echo("\nInterrupted. Finished cells are kept: the same command continues.", err=True)
        raise typer.Exit(130) from error
    shown = [name for name in outcome.table.columns if not name.endswith("_half")]
    print_table(outcome.table[shown], "translated PolyMNIST: means over seeds; intervals are in table.md")
    for line in outcome.failed:
        typer.secho(line, fg="red", err=True)
    typer.echo(f"{out / 'table.md'}, {out / 'tradeoff.pdf'}", err=True)
    if outcome.failed:
        raise typer.Exit(1)


def _number(text: str) -> float:
    """Return a weight of the rate, or raise SpecError unless it is a number, 0 or more."""
    try:
        beta = float(text)
    except ValueError:
        beta = -1.0
    if not 0 <= beta < float("inf"):
        raise SpecError("--betas", found=repr(text), expected="numbers of 0 or more, as 0.3,1,3")
    return beta
