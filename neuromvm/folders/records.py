"""What the JSON files of run folders hold: pydantic refuses a file without these entries; further entries are kept."""

from typing import Any, NotRequired

from typing_extensions import TypedDict


class TrainingRecord(TypedDict):
    """``training.json`` of a model: the settings of its training."""

    model: dict[str, Any]
    training: dict[str, Any]
    replicas: list["ReplicaRecord"]
    rate_terms: list[str]


class ReplicaRecord(TypedDict):
    """Split and seed of a replica, see :class:`neuromvm.data.replicas.Replica`."""

    split: int
    seed: int


class Epoch(TypedDict):
    """A line of ``metrics.jsonl``, see :class:`neuromvm.training.trainer.EpochRecord`."""

    epoch: int
    loss: list[float]
    log_likelihood: list[list[float]]
    rate: list[list[float]]
    validation_loss: list[float] | None
    stopped: list[bool]


class Scored(TypedDict):
    """An analysis in ``summary.json``: its options and the lines of its summary."""

    options: dict[str, Any]
    scores: list[dict[str, Any]]


class Answer(TypedDict):
    """A claim of the verdict, see :class:`neuromvm.analysis.verdict.Claim`."""

    answer: str
    sentence: str


class Verdict(TypedDict):
    """The claims of the verdict."""

    decodable: Answer
    shared: Answer
    helps: Answer
    better_than_linear: Answer


class Summary(TypedDict):
    """``summary.json`` of a run; earlier versions wrote no verdict."""

    experiment: str
    analyses: dict[str, Scored]
    verdict: NotRequired[Verdict]


class Plan(TypedDict):
    """``plan.json`` of a sweep."""

    name: str
    fields: list[str]
    cells: list["PlannedCell"]
    select: dict[str, Any] | None


class PlannedCell(TypedDict):
    """A cell of a sweep: the name of its folder and its settings."""

    cell: str
    settings: dict[str, Any]


class Done(TypedDict):
    """``DONE`` of a cell: the fingerprint of its data."""

    data: str


class CheckpointState(TypedDict):
    """``state.json`` of a checkpoint."""

    epoch: int
    best_loss: list[float]
    best_epoch: list[int]
