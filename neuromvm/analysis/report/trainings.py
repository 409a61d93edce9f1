"""Section of the report: training curves."""

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
    """Sentence and curves (base64 PNG, '' if nothing was recorded) of a model."""

    model: str
    sentence: str
    data: str


def trainings(study: Study) -> list[Training]:
    """Return the curves of every model."""
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
    epochs = history(records, list(study.samples.children), study.rate_terms(model))
    seconds = sum(record["seconds"] for record in records)
    trained, planned = int(epochs["epoch"][-1]), study.spec.training_for(model).epochs
    loss = float(epochs["loss"][-1].mean())
    sentence = (
        f"{counted(epochs.sizes['replica'], 'replica')}, {trained} of {planned} epochs, {number(seconds)} s; "
        f"mean loss at the last epoch {number(loss)}. {_end(epochs['stopped'].to_numpy(), trained, planned)}"
    )
    return Training(model, sentence, embedded_figure(partial(curves, epochs)))


def _end(stopped: np.ndarray, trained: int, planned: int) -> str:
    """Describe how a training ended."""
    early = stopped[np.isfinite(stopped)].astype(int).tolist()
    if early:
        return f"Early stopping ended {len(early)} of {counted(len(stopped), 'replica')}, at epoch {span(early)}."
    if trained < planned:
        return "The training was cut off and can be resumed."
    return "No replica was stopped early: the loss need not have settled, look at the curves."
