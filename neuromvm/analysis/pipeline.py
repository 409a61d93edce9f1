"""Run analyses over a run folder: scores, figures, and their lines in ``summary.json``.

Analyses are found by the entry point group ``neuromvm.analyses``, so that a lab's own stands beside ours.
"""

import logging
import math
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

import xarray as xr
from pydantic import ValidationError

from neuromvm import schema
from neuromvm.analysis.flat_score import Score as FlatScore
from neuromvm.analysis.scores import Score
from neuromvm.errors import SpecError, did_you_mean
from neuromvm.files import locked, read_json, write_json, write_tree
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study


log = logging.getLogger(__name__)


class Analysis(Protocol):
    """What a module named in the entry point group ``neuromvm.analyses`` has.

    Two names are optional. ``check(options)`` is called before anything is trained. ``NEEDS`` lists what the analysis reads of
    each model beyond its latents: ``units``, ``traversals``, ``transferred``, ``imputed``
    (:class:`neuromvm.folders.study.Study`); these are then computed with the run.
    """

    Options: type[Spec]

    def compute(self, study: "Study", options: Any) -> xr.Dataset:
        """Return labelled scores."""

    def summarize(self, scores: xr.Dataset) -> list[Score] | list[FlatScore]:
        """Return the lines of the summary; what a line lacks it says in words, see
        :meth:`neuromvm.analysis.scores.Score.missing`.
        """

    def plot(self, scores: xr.Dataset) -> dict[str, "Figure"]:
        """Draw figures from saved scores."""


def find_analysis(name: str) -> Analysis:
    """Return the analysis of that name.

    Raises
    ------
    SpecError
        If none is installed under it.
    """
    installed = {point.name: point for point in entry_points(group="neuromvm.analyses")}
    if name not in installed:
        raise SpecError(f"analysis {name!r}", found="not installed", next_step=did_you_mean(name, sorted(installed)))
    module: Analysis = installed[name].load()
    return module


def needs_of(name: str) -> tuple[str, ...]:
    """Return what an analysis reads of each model beyond its latents, see :class:`Analysis`."""
    return tuple(getattr(find_analysis(name), "NEEDS", ()))


def options_of(name: str, given: Mapping[str, Any]) -> tuple[Analysis, Spec]:
    """Return an analysis with its options, checked.

    Raises
    ------
    SpecError
        If an option is unknown or out of range.
    """
    module = find_analysis(name)
    try:
        return module, module.Options.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(str(part) for part in first["loc"])
        known = did_you_mean(setting, sorted(module.Options.model_fields)) if first["type"] == "extra_forbidden" else "Mend it"
        raise SpecError(f"analyses.{name}.{setting}", found=first["msg"], next_step=known) from error


def check_analyses(spec: ExperimentSpec) -> None:
    """Refuse a wrong analysis or option before anything is trained."""
    for name, given in spec.analyses.items():
        module, options = options_of(name, given)
        check = getattr(module, "check", None)
        if check is not None:
            check(options)


def analyze(study: "Study", name: str, overrides: Mapping[str, Any] | None = None) -> list[Score] | list[FlatScore]:
    """Compute one analysis, save its scores and figures, and enter it in the summary.

    Parameters
    ----------
    study
        An open run folder.
    name
        The analysis.
    overrides
        Options in place of those of the experiment.
    """
    module, options = options_of(name, {**study.spec.analyses.get(name, {}), **(overrides or {})})
    with locked(study.path):
        return _analyze(study, name, module, options)


def _analyze(study: "Study", name: str, module: Analysis, options: Spec) -> list[Score] | list[FlatScore]:
    from neuromvm.analysis.figures.style import save

    scores = module.compute(study, options).assign_attrs(schema_version=schema.VERSION)
    write_tree(study.path / "scores" / f"{name}.nc", scores)
    figures = study.path / "figures"
    figures.mkdir(exist_ok=True)
    for key, figure in module.plot(scores).items():
        save(figure, scores, figures / f"{name}-{key}")
    lines = module.summarize(scores)
    for line in lines:
        # A warning and no refusal: a lab's analysis may be young. Ours are tested for it.
        if isinstance(line, FlatScore) and (empty := line.missing()):
            what = f"{line.what}, {line.representation}, {line.setting}"
            log.warning("analysis %s, line %r: no %s, and no words say why.", name, what, ", ".join(empty))
    _enter(study, name, options, lines)
    return lines


def _enter(study: "Study", name: str, options: Spec, lines: list[Score] | list[FlatScore]) -> None:
    """Put the lines of one analysis into ``summary.json``, whole or not at all."""
    file = study.path / "summary.json"
    new: dict[str, Any] = {"experiment": study.spec.name, "analyses": {}}
    summary = read_json(file) if file.is_file() else new
    summary["models"] = {model: _training(study, model) for model in study.models}
    summary["analyses"][name] = {
        "options": options.model_dump(mode="json"),
        "scores": [{key: _finite(value) for key, value in line.row().items()} for line in lines],
    }
    write_json(file, summary)


def _training(study: "Study", model: str) -> dict[str, Any]:
    """Return how a training ended: epochs, mean loss, and each term of the rate [nats], averaged over replicas.

    A model left untrained has neither loss nor rate.
    """
    records = study.metrics(model)
    if not records and study.spec.training_for(model).epochs == 0:
        return {"epochs": 0, **_agreement(study, model)}
    last = records[-1]
    replicas = len(last["loss"])
    rate = [sum(row[place] for row in last["rate"]) / replicas for place in range(len(last["rate"][0]))]
    return {
        "epochs": last["epoch"],
        "replicas": replicas,
        "loss": sum(last["loss"]) / replicas,
        "rate": dict(zip(study.rate_terms(model), rate, strict=True)),
        **_agreement(study, model),
    }


def _agreement(study: "Study", model: str) -> dict[str, Any]:
    """Return, for each animal, how many latents carry nothing (median over replicas) and its KL to the mixture [nats]."""
    about = study.agreement(model)
    if about is None:
        return {}
    animals = [str(name) for name in about["animal"].values]
    collapsed = about["collapsed"].sum("latent").median("replica").to_numpy()
    found: dict[str, Any] = {"collapsed_latents": dict(zip(animals, map(float, collapsed), strict=True))}
    if "kl_to_mixture" in about:
        rate = about["kl_to_mixture"].mean("replica").to_numpy()
        found["kl_to_mixture"] = {name: _finite(float(one)) for name, one in zip(animals, rate, strict=True)}
    return found


def _finite(value: object) -> object:
    """JSON has no NaN: a quantity that does not exist is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
