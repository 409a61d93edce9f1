"""Table of a sweep: a row for each cell, with its settings and all its scores, and the figures drawn from it."""

import json
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neuromvm import schema
from neuromvm.analysis.decoding.decoding import summarize
from neuromvm.analysis.judged import values
from neuromvm.files import read_dataset, read_json, write_atomically, write_tree
from neuromvm.folders.records import Done, TrainingRecord
from neuromvm.folders.study import Study
from neuromvm.folders.sweep import DONE, Cell, SweepFolder, digest, training_name
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow.sweep.selection import choose, selected_scores

REPEATS = ("training.seeds", "split.seed")  # fields in which repetitions of a cell differ
NUMBERS = ("value", "low", "high", "floor", "p", "chance")  # of a line of a summary
NOT_COMPARED = {"seeds", "device", "threads", "checkpoint_every"}  # settings of a training
# Settings in which a model and the plain autoencoder that bounds its objective may differ.
NOT_OF_BOUND = {"sharing", "beta", "scale", "initial_scale"}
MISSING = {"line": "", "comparable": "", "training": "", "sharing": ""}


def write_sweep(sweep: SweepFolder) -> None:
    """Write ``table.csv``, ``sweep.nc`` and figures, and ``selected.nc`` and ``selected.csv`` if cells are selected."""
    from neuromvm.analysis.figures import sweep as figures
    from neuromvm.analysis.figures.style import save

    table = gather(sweep)
    write_tree(sweep.path / "sweep.nc", table)
    write_atomically(sweep.path / "table.csv", _csv(rows(table)))
    if "chosen" in table and (table["chosen"] != "").all():
        scores = _selected(sweep, table)
        write_tree(sweep.path / "selected.nc", scores)
        write_atomically(sweep.path / "selected.csv", _csv(pd.DataFrame([line.row() for line in summarize(scores)])))
    for name, figure in (("tradeoff", figures.tradeoff(table)), ("objective", figures.objective(table))):
        if figure is not None:
            (sweep.path / "figures").mkdir(exist_ok=True)
            save(figure, table, sweep.path / "figures" / name)


def gather(sweep: SweepFolder) -> xr.Dataset:
    """Collect settings, state and results of every cell.

    Returns
    -------
    ``state, error (cell)``; ``setting (cell, field)`` as JSON; ``value, low, high, floor, p, chance (cell, score)`` of every line
    of every ``summary.json``; ``beta, epochs, loss, loss_sd`` (over splits and seeds), ``line, comparable, training, sharing
    (cell, model)``, the last four for the grouping of points in figures; and averaged over seeds, ``(cell, model, split)``:
    ``objective`` (minus the loss of the last epoch), ``reconstruction_error, error_of_mean``, ``accuracy`` (balanced, across
    animals, or within for a single one), ``inner_score``. ``reference_accuracy (cell, split)`` is that of the baseline with
    which the cell compares its models. ``chosen (model, split)``: the cell best on inner folds, "" if there is none.
    NaN or "" for a cell that is not done.
    """
    table = _states(sweep)
    done = [cell for cell in sweep.cells if table["state"].sel(cell=cell.name) == "done"]
    if not done:
        return table
    results = [_cell(sweep, cell) for cell in done]
    for dim in ("model", "score"):
        order = list(dict.fromkeys(str(name) for result in results for name in result[dim].values))
        results = [result.reindex({dim: order}, fill_value=MISSING) for result in results]
    cells = pd.Index([cell.name for cell in done], name="cell")
    merged = xr.concat(results, cells, join="outer", fill_value=MISSING)
    merged = merged.reindex(cell=table["cell"].values, fill_value=MISSING)
    table = table.merge(merged.assign({key: merged[key].astype(str) for key in MISSING}))
    if "inner_score" in table:
        names = np.append(table["cell"].values, "").astype(str)  # -1: no cell
        best = [choose(table["inner_score"].sel(model=model).to_numpy()) for model in table["model"].values]
        table["chosen"] = (("model", "split"), names[np.array(best)])
    return table.assign_attrs({"name": sweep.name, **results[0].attrs})


def _states(sweep: SweepFolder) -> xr.Dataset:
    """Return ``state, error (cell)`` and ``setting (cell, field)``."""
    names = [cell.name for cell in sweep.cells]
    states = [sweep.state(name) for name in names]
    errors = [sweep.error(name) if state == "failed" else "" for name, state in zip(names, states, strict=True)]
    settings = np.array([[json.dumps(cell.settings[field]) for field in sweep.fields] for cell in sweep.cells], dtype=str)
    return xr.Dataset(
        {"state": ("cell", states), "error": ("cell", errors), "setting": (("cell", "field"), settings)},
        coords={"cell": names, "field": sweep.fields},
        attrs={"name": sweep.name},
    )


def rows(table: xr.Dataset) -> pd.DataFrame:
    """Return a row for each cell: settings, loss, reconstruction error and splits that chose it of each model, and all scores."""
    columns: dict[str, Any] = {"cell": table["cell"].values, "state": table["state"].values}
    for field in table["field"].values:
        columns[str(field)] = [_readable(text) for text in table["setting"].sel(field=field).values]
    for model in table["model"].values if "model" in table else ():
        results = table.sel(model=model)
        of_model = {
            "loss": results["loss"],
            "loss sd": results["loss_sd"],
            "reconstruction error": results["reconstruction_error"].mean("split"),
            "reconstruction error sd": results["reconstruction_error"].std("split", ddof=1),
            "reconstruction error of the mean": results["error_of_mean"].mean("split"),
        }
        columns |= {f"{model} {quantity}": values.values for quantity, values in of_model.items()}
        if "chosen" in results:
            columns[f"{model} inner score"] = results["inner_score"].mean("split").values
            chosen = results["chosen"].to_series().astype(str)
            splits = [" ".join(map(str, chosen.index[chosen == cell])) for cell in table["cell"].values]
            columns[f"{model} chosen in splits"] = splits
    for score in table["score"].values if "score" in table else ():
        for key in NUMBERS:
            columns[str(score) if key == "value" else f"{score}, {key}"] = table[key].sel(score=score).values
    return pd.DataFrame({**columns, "error": table["error"].values})


def brief(sweep: SweepFolder) -> pd.DataFrame:
    """Return the columns of the written table that are printed."""
    table = read_dataset(sweep.path / "sweep.nc")
    complete = rows(table)
    names = list(map(str, complete))
    columns = ["cell", "state", *map(str, table["field"].values)]
    for model in table["model"].values if "model" in table else ():
        columns += [f"{model} reconstruction error", *(name for name in names if name.startswith(f"{model} chosen"))]
        columns += [name for name in names if name.endswith(f", {model}, {table.attrs['setting']}")]
    return complete[[*columns, *(["error"] if (complete["error"] != "").any() else [])]]


def _cell(sweep: SweepFolder, cell: Cell) -> xr.Dataset:
    study = sweep.study(cell.name)
    data = read_json(study.path / DONE, Done)["data"]
    decoding = study.scores("decoding") if "decoding" in study.spec.analyses else None
    coherence = study.scores("coherence") if "coherence" in study.spec.analyses else None
    inner = sweep.inner_file(cell.name, sweep.selection)
    inner_scores = {} if inner is None else read_json(inner, dict[str, list[float]])
    setting = "cross" if len(study.splits.children) > 1 else "within"
    models = []
    for model in study.models:
        result = _model(study, model)
        if decoding is not None:
            result["accuracy"] = ("split", decoding["split_value"].sel(representation=model, setting=setting).to_numpy())
        if coherence is not None and model in coherence["representation"].values:
            cross = float(values(coherence).sel(representation=model, setting="cross"))
            result["coherence"] = ("split", np.full(result.sizes["split"], cross))  # the scores are means over splits
        if inner_scores:
            result["inner_score"] = ("split", np.array(inner_scores[model], dtype=float))
        result["line"] = _line(study.spec, model, cell, sweep.fields)
        result["training"] = training_name(study.spec, model, data)
        result["comparable"] = _comparable(study.spec, model, data)
        models.append(result)
    results = xr.concat(models, pd.Index(study.models, name="model"))
    attrs = {"setting": setting, "animals": len(study.splits.children), "label": study.samples.attrs.get("label", "label")}
    if decoding is not None:
        attrs |= {"chance": decoding.attrs["chance"], "reference": (baseline := decoding.attrs["reference"])}
        if baseline:
            reference = decoding["split_value"].sel(representation=baseline, setting=setting)
            results["reference_accuracy"] = ("split", reference.to_numpy())
    return results.merge(_scores(study)).assign_attrs(attrs)


def _model(study: Study, model: str) -> xr.Dataset:
    folder = study.model_folder(model)
    replicas = read_json(folder / "training.json", TrainingRecord)["replicas"]
    untrained = [{"epoch": 0, "loss": [np.nan] * len(replicas)}]
    end: dict[str, Any] = (study.metrics(model) or untrained)[-1]
    splits = [replica["split"] for replica in replicas]
    loss = xr.DataArray(end["loss"], dims="replica", coords={"split": ("replica", splits)})
    error = read_dataset(folder / "reconstruction.nc").mean("animal")
    spec, error_of_split = study.spec.models[model], error.groupby("split").mean()
    return xr.Dataset(
        {
            "beta": spec.beta if spec.sharing.kind != "autoencoder" else np.nan,
            "sharing": spec.sharing.kind,
            "epochs": float(end["epoch"]),
            "loss": loss.mean(),
            "loss_sd": loss.std(ddof=1),
            "objective": -loss.groupby("split").mean(),
            "reconstruction_error": error_of_split["error"],
            "error_of_mean": error_of_split["error_of_mean"],
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
    scores = xr.Dataset(values, coords={"score": np.array(named, dtype=str)})
    return scores.isel(score=~scores.indexes["score"].duplicated())


def _line(spec: ExperimentSpec, model: str, cell: Cell, fields: list[str]) -> str:
    """Name the curve of a model in a figure: settings of the model that vary, except beta and repetitions."""
    varied = []
    for field in fields:
        group, _, path = field.partition(".")
        owner, _, setting = path.partition(".")
        of_other_model = group in ("models", "training_of") and owner in spec.models and owner != model
        is_beta = group == "models" and setting == "beta"
        if not (of_other_model or is_beta or group == "analyses" or field in REPEATS):
            varied.append(f"{field.rpartition('.')[2]}={_readable(json.dumps(cell.settings[field]))}")
    return ", ".join([model, *varied])


def _comparable(spec: ExperimentSpec, model: str, data: str) -> str:
    """Return a hash of the settings that a model and the autoencoder that bounds its objective have in common."""
    settings = spec.models[model]
    return digest(
        {
            "model": settings.model_dump(mode="json", exclude=NOT_OF_BOUND),
            "cross": getattr(settings.sharing, "cross_reconstruction", 0.0),
            "training": spec.training_for(model).model_dump(mode="json", exclude=NOT_COMPARED),
            "samples": spec.samples.model_dump(mode="json"),
            "split": spec.split.model_dump(mode="json", exclude={"seed"}),
            "data": data,
        }
    )


def _selected(sweep: SweepFolder, table: xr.Dataset) -> xr.Dataset:
    studies = {cell: sweep.study(cell) for cell in np.unique(table["chosen"])}
    study = next(iter(studies.values()))
    chosen = {model: [studies[cell].latents(model) for cell in table["chosen"].sel(model=model).values] for model in study.models}
    scores = selected_scores(study.samples, study.splits, chosen, study.spec.analyses.get("decoding", {}))
    return scores.assign_attrs(schema_version=schema.VERSION)


def _readable(text: str) -> Any:
    value = json.loads(text)
    return value if isinstance(value, (int, float, str)) else text


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()
