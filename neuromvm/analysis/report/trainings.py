"""How the models of a run were trained, for the report."""

from functools import partial
from typing import NamedTuple

import numpy as np

from neuromvm.analysis.figures.text import counted, span
from neuromvm.analysis.figures.training import curves, history
from neuromvm.analysis.report.results import embedded_figure
from neuromvm.analysis.report.tables import number
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study


class Training(NamedTuple):
    """Curves of one model, or '' if nothing was recorded."""

    model: str
    sentence: str
    data: str


def trainings(study: Study) -> list[Training]:
    """Draw the curves of every model that has any."""
    return [_training(study, model) for model in study.models]


def _training(study: Study, model: str) -> Training:
    try:
        records = study.metrics(model)
    except RunFolderError as error:
        return Training(model, f"Its record of epochs cannot be read. {error}", "")
    if not records and study.spec.training_for(model).epochs == 0:
        return Training(model, "Not trained, as the experiment says: the model as it starts.", "")
    if not records:
        return Training(model, "No epoch is recorded. Go on with the run: neuromvm run EXPERIMENT.yaml --out RUN --resume", "")
    about = history(records, list(study.samples.children), study.rate_terms(model))
    seconds = sum(record["seconds"] for record in records)
    last, wanted = int(about["epoch"][-1]), study.spec.training_for(model).epochs
    loss, end = float(about["loss"][-1].mean()), _end(about["stopped"].to_numpy(), last, wanted)
    sentence = (
        f"{counted(about.sizes['replica'], 'replica')}, {last} of {wanted} epochs, {number(seconds)} s; "
        f"mean loss at the last epoch {number(loss)}. {end}"
    )
    return Training(model, sentence, embedded_figure(partial(curves, about)))


def _end(stopped: np.ndarray, last: int, wanted: int) -> str:
    early = stopped[np.isfinite(stopped)].astype(int).tolist()
    if early:
        return f"Early stopping ended {len(early)} of {counted(len(stopped), 'replica')}, at epoch {span(early)}."
    if last < wanted:
        return "The training was cut off and can be resumed."
    return "No replica was stopped early: the loss need not have settled, look at the curves."
