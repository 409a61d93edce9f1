"""The table of a sweep: a row a cell, with its settings and all its scores; and what is drawn of it.

Not an analysis of one run but of many; ``neuromvm sweep`` calls it by the entry point group ``neuromvm.pipeline``.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neuromvm import schema
from neuromvm.analysis.decoding.decoding import summarize
from neuromvm.files import read_dataset, read_json, write_atomically, write_tree
from neuromvm.folders.study import Study
from neuromvm.folders.sweep import DONE, Cell, SweepFolder, digest
from neuromvm.folders.sweep_hashes import training_name
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow.sweep.selection import choose, selected_scores

REPEATS = ("training.seeds", "split.seed")  # fields over which cells repeat one another
NUMBERS = ("value", "low", "high", "floor", "p", "chance")  # of a line of a summary
NEUTRAL = {"seeds", "device", "threads", "checkpoint_every"}
# What may differ between a model and the plain autoencoder that bounds its objective.
NOT_OF_BOUND = {"sharing", "beta", "scale", "initial_scale"}
MISSING = {"line": "", "comparable": "", "training": "", "sharing": ""}


def write_sweep(sweep: SweepFolder) -> None:
    """Write ``table.csv``, ``sweep.nc`` and figures, and where cells are selected, ``selected.nc`` and ``selected.csv``."""
    from neuromvm.analysis.figures import sweep as figures
    from neuromvm.analysis.figures.style import save

    table = gather(sweep)
    write_tree(sweep.path / "sweep.nc", table)
    write_atomically(sweep.path / "table.csv", _csv(rows(table)))
    if is_selected(table):
        scores = _selected(sweep, table)
        write_tree(sweep.path / "selected.nc", scores)
        write_atomically(sweep.path / "selected.csv", _csv(pd.DataFrame([line.row() for line in summarize(scores)])))
    drawn = {"tradeoff": figures.tradeoff(table), "objective": figures.objective(table)}
    for name, figure in drawn.items():
        if figure is not None:
            (sweep.path / "figures").mkdir(exist_ok=True)
            save(figure, table, sweep.path / "figures" / name)


def gather(sweep: SweepFolder) -> xr.Dataset:
    """Collect what is known of every cell.

    Returns
    -------
    ``state, error (cell)``; ``setting (cell, field)`` as JSON; ``value, low, high, floor, p, chance (cell, score)`` of every line
    of every ``summary.json``; ``beta, epochs, loss, loss_sd`` (over splits and seeds), ``line, comparable, training, sharing
    (cell, model)``, the last four telling what belongs together in a figure; and averaged over seeds, ``(cell, model, split)``:
    ``objective`` (minus the loss of the last epoch), ``reconstruction_error, error_of_mean``, ``accuracy`` (balanced, across
    animals, or within where there is one), ``inner_score``. ``reference_accuracy (cell, split)`` is that of the baseline with
    which the cell compares its models. ``chosen (model, split)``: the cell best on inner folds, "" where there is none.
    NaN or "" where a cell is not done.
    """
    cells = sweep.cells
    names, states = [cell.name for cell in cells], [sweep.state(cell.name) for cell in cells]
    about = xr.Dataset(
        {
            "state": ("cell", states),
            "error": (
                "cell",
                [sweep.error(name) if state == "failed" else "" for name, state in zip(names, states, strict=True)],
            ),
            "setting": (
                ("cell", "field"),
                np.array([[json.dumps(cell.settings[field]) for field in sweep.fields] for cell in cells], dtype=str),
            ),
        },
        coords={"cell": names, "field": sweep.fields},
        attrs={"name": sweep.name},
    )
    done = [cell for cell, state in zip(cells, states, strict=True) if state == "done"]
    if not done:
        return about
    found = [_cell(sweep, cell) for cell in done]
    for dim in ("model", "score"):
        order = list(dict.fromkeys(str(name) for one in found for name in one[dim].values))
        found = [one.reindex({dim: order}, fill_value=MISSING) for one in found]
    joined = xr.concat(found, pd.Index([cell.name for cell in done], name="cell"), join="outer", fill_value=MISSING)
    joined = joined.reindex(cell=names, fill_value=MISSING)
    table = about.merge(joined.assign({key: joined[key].astype(str) for key in MISSING}))
    if "inner_score" in table:
        best = [choose(table["inner_score"].sel(model=model).to_numpy()) for model in table["model"].values]
        table["chosen"] = (("model", "split"), np.array([[names[place] if place >= 0 else "" for place in one] for one in best]))
    return table.assign_attrs({"name": sweep.name, **found[0].attrs})


def rows(table: xr.Dataset) -> pd.DataFrame:
    """Return a row a cell: settings, then of each model loss, reconstruction error and splits that chose it, then all scores."""
    columns: dict[str, Any] = {"cell": table["cell"].values, "state": table["state"].values}
    for field in table["field"].values:
        columns[str(field)] = [_readable(text) for text in table["setting"].sel(field=field).values]
    for model in table["model"].values if "model" in table else ():
        own = table.sel(model=model)
        columns[f"{model} loss"] = own["loss"].values
        columns[f"{model} loss sd"] = own["loss_sd"].values
        columns[f"{model} reconstruction error"] = own["reconstruction_error"].mean("split").values
        columns[f"{model} reconstruction error sd"] = own["reconstruction_error"].std("split", ddof=1).values
        columns[f"{model} reconstruction error of the mean"] = own["error_of_mean"].mean("split").values
        if "chosen" in own:
            columns[f"{model} inner score"] = own["inner_score"].mean("split").values
            columns[f"{model} chosen in splits"] = [
                " ".join(str(split) for split in own["split"].values[own["chosen"].values == cell]) for cell in own["cell"].values
            ]
    for score in table["score"].values if "score" in table else ():
        for key in NUMBERS:
            columns[str(score) if key == "value" else f"{score}, {key}"] = table[key].sel(score=score).values
    return pd.DataFrame({**columns, "error": table["error"].values})


def brief(sweep: SweepFolder) -> pd.DataFrame:
    """Return the table that was written in a few columns, to be printed."""
    table = read_dataset(sweep.path / "sweep.nc")
    whole = rows(table)
    columns = [str(column) for column in whole]
    wanted = ["cell", "state", *map(str, table["field"].values)]
    for model in table["model"].values if "model" in table else ():
        wanted += [f"{model} reconstruction error", *(column for column in columns if column.startswith(f"{model} chosen"))]
        wanted += [column for column in columns if column.endswith(f", {model}, {table.attrs['setting']}")]
    return whole[[*wanted, *(["error"] if (whole["error"] != "").any() else [])]]


def is_selected(table: xr.Dataset) -> bool:
    """Say whether there is a chosen cell for every model and split."""
    return "chosen" in table and bool((table["chosen"] != "").all())


def _cell(sweep: SweepFolder, cell: Cell) -> xr.Dataset:
    study = sweep.study(cell.name)
    data = read_json(study.path / DONE)["data"]
    decoding = study.scores("decoding") if "decoding" in study.spec.analyses else None
    inner = sweep.inner_file(cell.name, sweep.selection)
    inner_scores = {} if inner is None else read_json(inner)
    setting = "cross" if len(study.splits.children) > 1 else "within"
    models = []
    for model in study.models:
        one = _model(study, model)
        if decoding is not None:
            one["accuracy"] = ("split", decoding["split_value"].sel(representation=model, setting=setting).to_numpy())
        if inner_scores:
            one["inner_score"] = ("split", np.array(inner_scores[model], dtype=float))
        one["line"] = _line(study.spec, model, cell, sweep.fields)
        one["training"] = training_name(study.spec, model, data)
        one["comparable"] = _comparable(study.spec, model, data)
        models.append(one)
    found = xr.concat(models, pd.Index(study.models, name="model"))
    attrs = {"setting": setting, "animals": len(study.splits.children), "label": study.samples.attrs.get("label", "label")}
    if decoding is not None:
        attrs |= {"chance": decoding.attrs["chance"], "reference": decoding.attrs["reference"]}
        if decoding.attrs["reference"]:
            reference = decoding["split_value"].sel(representation=decoding.attrs["reference"], setting=setting)
            found["reference_accuracy"] = ("split", reference.to_numpy())
    return found.merge(_scores(study)).assign_attrs(attrs)


def _model(study: Study, model: str) -> xr.Dataset:
    folder = study.model_folder(model)
    replicas = read_json(folder / "training.json")["replicas"]
    untrained = [{"epoch": 0, "loss": [np.nan] * len(replicas)}]
    last: dict[str, Any] = (study.metrics(model) or untrained)[-1]
    loss = xr.DataArray(last["loss"], dims="replica", coords={"split": ("replica", [one["split"] for one in replicas])})
    error = read_dataset(folder / "reconstruction.nc").mean("animal")
    spec = study.spec.models[model]
    return xr.Dataset(
        {
            "beta": spec.beta if spec.sharing.kind != "autoencoder" else np.nan,
            "sharing": spec.sharing.kind,
            "epochs": float(last["epoch"]),
            "loss": loss.mean(),
            "loss_sd": loss.std(ddof=1),
            "objective": -loss.groupby("split").mean(),
            "reconstruction_error": error["error"].groupby("split").mean(),
            "error_of_mean": error["error_of_mean"].groupby("split").mean(),
        }
    )


def _scores(study: Study) -> xr.Dataset:
    """Return all lines of a summary, named by analysis, what, representation and setting."""
    summary = study.summary["analyses"] if study.spec.analyses else {}
    lines = [(name, line) for name, entry in summary.items() for line in entry["scores"]]
    named = [
        f"{name}: " + ", ".join(line[key] for key in ("what", "representation", "setting") if line[key]) for name, line in lines
    ]
    values = {key: ("score", np.array([line[key] for _, line in lines], dtype=float)) for key in NUMBERS}
    found = xr.Dataset(values, coords={"score": np.array(named, dtype=str)})
    return found.isel(score=~found.indexes["score"].duplicated())


def _line(spec: ExperimentSpec, model: str, cell: Cell, fields: list[str]) -> str:
    """Name what a model's points have in common along beta and over repetitions: the other settings that are its own."""
    others = {other for other in spec.models if other != model}
    own = []
    for field in fields:
        group, _, rest = field.partition(".")
        of_other = group in ("models", "training_of") and rest.partition(".")[0] in others
        is_beta = group == "models" and rest.partition(".")[2] == "beta"
        if not (of_other or is_beta or group == "analyses" or field in REPEATS):
            own.append(f"{field.rpartition('.')[2]}={_readable(json.dumps(cell.settings[field]))}")
    return ", ".join([model, *own])


def _comparable(spec: ExperimentSpec, model: str, data: str) -> str:
    """Return what a model and the autoencoder that bounds its objective have in common."""
    own = spec.models[model]
    return digest(
        {
            "model": own.model_dump(mode="json", exclude=NOT_OF_BOUND),
            "cross": getattr(own.sharing, "cross_reconstruction", 0.0),
            "training": spec.training_for(model).model_dump(
                mode="json", exclude={"seeds", "device", "threads", "checkpoint_every"}
            ),
            "samples": spec.samples.model_dump(mode="json"),
            "split": spec.split.model_dump(mode="json", exclude={"seed"}),
            "data": data,
        }
    )


def _selected(sweep: SweepFolder, table: xr.Dataset) -> xr.Dataset:
    studies = {cell: sweep.study(cell) for cell in np.unique(table["chosen"])}
    first = next(iter(studies.values()))
    chosen = {
        str(model): [studies[cell].latents(str(model)) for cell in table["chosen"].sel(model=model).values]
        for model in table["model"].values
    }
    scores = selected_scores(first.samples, first.splits, chosen, first.spec.analyses.get("decoding", {}))
    return scores.assign_attrs(schema_version=schema.VERSION)


def _readable(text: str) -> Any:
    value = json.loads(text)
    return value if isinstance(value, (int, float, str)) else text


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()
