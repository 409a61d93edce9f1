"""Run analyses over a run folder: scores, figures, and their lines in ``summary.json``.

Analyses are found by the entry point group ``neuromvm.analyses``, through which other packages can add theirs.
"""

import math
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

import xarray as xr
from pydantic import ValidationError

from neuromvm import schema
from neuromvm.analysis.scores import Score
from neuromvm.analysis.verdict import entries, verdict
from neuromvm.errors import RunFolderError, SpecError, did_you_mean
from neuromvm.files import locked, read_json, write_json, write_tree
from neuromvm.folders.records import Summary
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.base import Spec
from neuromvm.specs.invalid import spec_error

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study


class Analysis(Protocol):
    """Interface of a module named in the entry point group ``neuromvm.analyses``.

    Two names are optional. ``check(options)`` is called before anything is trained. ``NEEDS`` lists the inputs of the analysis
    beyond the latents of each model: ``units``, ``traversals``, ``transferred``, ``imputed``
    (:class:`neuromvm.folders.study.Study`); they are computed with the run.
    """

    Options: type[Spec]

    def compute(self, study: "Study", options: Any) -> xr.Dataset:
        """Return labelled scores."""

    def summarize(self, scores: xr.Dataset) -> list[Score]:
        """Return the lines of the summary; a part that does not exist is :class:`neuromvm.analysis.scores.Absent`."""

    def plot(self, scores: xr.Dataset) -> dict[str, "Figure"]:
        """Draw figures from saved scores."""


def find_analysis(name: str) -> Analysis:
    """Return the installed analysis of that name."""
    installed = {point.name: point for point in entry_points(group="neuromvm.analyses")}
    if name not in installed:
        raise SpecError(f"analysis {name!r}", found="not installed", next_step=did_you_mean(name, sorted(installed)))
    module: Analysis = installed[name].load()
    return module


def needs_of(name: str) -> tuple[str, ...]:
    """Return what an analysis reads of each model beyond its latents, see :class:`Analysis`."""
    return tuple(getattr(find_analysis(name), "NEEDS", ()))


def options_of(name: str, settings: Mapping[str, Any]) -> tuple[Analysis, Spec]:
    """Return an analysis with its validated options."""
    module = find_analysis(name)
    try:
        return module, module.Options.model_validate(dict(settings))
    except ValidationError as error:
        raise spec_error(f"analysis {name!r}", error, module.Options, inside=("analyses", name)) from error


def check_analyses(spec: ExperimentSpec) -> None:
    """Refuse a wrong analysis or option before anything is trained."""
    for name, settings in spec.analyses.items():
        module, options = options_of(name, settings)
        getattr(module, "check", lambda _: None)(options)


def analyze(study: "Study", name: str, overrides: Mapping[str, Any] | None = None) -> list[Score]:
    """Compute one analysis of an open run, save its scores and figures, and enter it in the summary.

    ``overrides`` are options in place of those of the experiment.
    """
    from neuromvm.analysis.figures.palettes import fixed_in
    from neuromvm.analysis.figures.style import save

    module, options = options_of(name, {**study.spec.analyses.get(name, {}), **(overrides or {})})
    with locked(study.path):
        scores = module.compute(study, options).assign_attrs(schema_version=schema.VERSION)
        write_tree(study.path / "scores" / f"{name}.nc", scores)
        figures = study.path / "figures"
        figures.mkdir(exist_ok=True)
        with fixed_in(study):
            for key, figure in module.plot(scores).items():
                save(figure, scores, figures / f"{name}-{key}")
        lines = module.summarize(scores)
        _enter(study, name, options, lines)
    return lines


def is_analyzed(study: "Study", name: str) -> bool:
    """Return whether an analysis has scores under the options of the experiment, no older than what they are made of."""
    scores, summary = study.path / "scores" / f"{name}.nc", study.path / "summary.json"
    if not scores.is_file() or not summary.is_file():
        return False
    entry = study.summary["analyses"].get(name)
    _, options = options_of(name, study.spec.analyses.get(name, {}))
    if entry is None or entry["options"] != options.model_dump(mode="json"):
        return False
    sources = [*(study.path / "models").glob("*/*.nc"), *(study.path / "models").glob("*/fitted.json")]
    written = scores.stat().st_mtime_ns
    if any(file.stat().st_mtime_ns > written for file in sources):
        return False
    try:
        study.scores(name)
    except RunFolderError:  # damaged, or of another version
        return False
    return True


def _enter(study: "Study", name: str, options: Spec, lines: list[Score]) -> None:
    """Replace the lines of an analysis in ``summary.json``, in an atomic write."""
    file = study.path / "summary.json"
    summary: dict[str, Any] = read_json(file, Summary) if file.is_file() else {"experiment": study.spec.name, "analyses": {}}
    summary["models"] = {model: _training(study, model) for model in study.models}
    summary["design"] = [flag._asdict() for flag in study.design]
    summary["analyses"][name] = {
        "options": options.model_dump(mode="json"),
        "scores": [{key: _finite(value) for key, value in line.row().items()} for line in lines],
    }
    summary["verdict"] = entries(verdict(study, study.design))
    write_json(file, summary)


def _training(study: "Study", model: str) -> dict[str, Any]:
    """Return epochs, mean loss and terms of the rate [nats] at the end of a training, averaged over replicas.

    An untrained model has neither loss nor rate.
    """
    records = study.metrics(model)
    if not records and study.spec.training_for(model).epochs == 0:
        return {"epochs": 0, **_agreement(study, model)}
    final = records[-1]
    replicas = len(final["loss"])
    rate = [sum(values) / replicas for values in zip(*final["rate"], strict=True)]
    return {
        "epochs": final["epoch"],
        "replicas": replicas,
        "loss": sum(final["loss"]) / replicas,
        "rate": dict(zip(study.rate_terms(model), rate, strict=True)),
        **_agreement(study, model),
    }


def _agreement(study: "Study", model: str) -> dict[str, Any]:
    """Return the number of collapsed latents (median over replicas) and the KL to the mixture [nats] of each animal."""
    agreement = study.agreement(model)
    if agreement is None:
        return {}
    measures = {"collapsed_latents": agreement["collapsed"].sum("latent").median("replica")}
    if "kl_to_mixture" in agreement:
        measures["kl_to_mixture"] = agreement["kl_to_mixture"].mean("replica")
    return {
        key: {str(animal): _finite(float(value)) for animal, value in zip(values["animal"].values, values.values, strict=True)}
        for key, values in measures.items()
    }


def _finite(value: object) -> object:
    """Return None in place of NaN, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
