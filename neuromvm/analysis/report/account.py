"""Tables of the report on recordings, excluded data, classes and splits."""

import numpy as np
import pandas as pd

from neuromvm.analysis.figures.text import counted, ordered, shortened, span
from neuromvm.analysis.report.tables import Table
from neuromvm.data.describe import describe
from neuromvm.data.windows import classes
from neuromvm.folders.study import Study
from neuromvm.schema import Part, animals, dropped, in_sample, is_scored

WIDE = 6  # classes above which a table of them must save space
NO_LABEL = "no label"


def recordings_table(study: Study) -> Table:
    """Return units, trials, bins and mean activity of every animal."""
    table = describe(study.recordings)[["units", "trials", "bins", "mean_activity"]].reset_index()
    used = {name: node.sizes["trial"] for name, node in animals(study.samples)}
    table.insert(3, "trials used", table["animal"].map(used))
    grid = str(next(iter(animals(study.samples)))[1]["window"].attrs["dim"])
    counted_spikes = any("spike_count" in node for _, node in animals(study.recordings))
    measure = "spikes per second and unit" if grid == "time" and counted_spikes else "in the data's unit"
    table = table.rename(columns={"mean_activity": f"mean activity ({measure})"})
    return Table.of("Recordings: one row an animal. Trials used are those left by the filter of the samples.", table)


def dropped_table(study: Study) -> Table | None:
    """Return what was left out and why, whole animals first; None if nothing was."""
    whole = dropped(study.recordings.to_dataset())
    lines = [(line.what.removeprefix("animal "), "whole animal", line.reason, line.count) for line in whole]
    lines += [(name, *line) for tree in (study.samples, study.splits) for name, node in animals(tree) for line in dropped(node)]
    frame = pd.DataFrame(lines, columns=["animal", "what", "reason", "number"])
    return Table.of("Left out, and why.", frame) if lines else None


def classes_table(study: Study) -> Table:
    """Return the number of trials of every class and animal; many classes are named without their common beginning."""
    names = classes(study.samples)
    counts = {name: trials_of_classes(node["label"].to_numpy(), len(names)) for name, node in animals(study.samples)}
    frame = pd.DataFrame.from_dict(counts, orient="index", columns=[*names, NO_LABEL])[[*ordered(names), NO_LABEL]]
    if not frame[NO_LABEL].any():
        frame = frame.drop(columns=NO_LABEL)
    prefix, short = shortened(ordered(names)) if len(names) > WIDE else ("", ordered(names))
    frame.columns = pd.Index([*short, *frame.columns[len(names) :]])
    caption = f"Trials of every class of {study.samples.attrs['label']}."
    if prefix:
        caption += f" Classes are named without their common beginning, {prefix}."
    return Table.of(caption, frame.reset_index(names="animal"))


def trials_of_classes(labels: np.ndarray, classes: int) -> list[int]:
    """Count trials with a window of each class, then trials without any label.

    >>> trials_of_classes(np.array([[0, 0], [0, 1], [-1, -1]]), 2)
    [2, 1, 1]
    """
    counts = [int((labels == code).any(axis=1).sum()) for code in range(classes)]
    return [*counts, int((labels < 0).all(axis=1).sum())]


def splits_table(study: Study) -> Table:
    """Return the number of trials on each side of a split for every animal."""
    rows = []
    for name, node in animals(study.splits):
        part = node["part"].to_numpy()
        counts = {side.name.lower().replace("_", " "): span((part == side).sum(axis=1).tolist()) for side in Part}
        unused, in_sample_counts = counts.pop("unused"), counts.pop("train and test")
        if in_sample(study.splits):
            counts["train and test"] = in_sample_counts
        ever = int(is_scored(part).any(axis=0).sum())
        rows.append({"animal": name, **counts, "tested in any split": ever, "unused": unused})
    table = Table.of("Trials on each side of a split; ranges are over splits. No label means unused.", pd.DataFrame(rows))
    return table._replace(numeric=[False, *[True] * (len(table.columns) - 1)])


def splits_sentence(study: Study) -> str:
    """Describe how trials were divided."""
    spec = study.spec.split
    number = next(iter(animals(study.splits)))[1].sizes["split"]
    kinds = {
        "halves": f"each trial is drawn into one of two halves, evenly within classes, {counted(spec.repeats, 'time')}",
        "kfold": f"{spec.folds} folds drawn evenly within classes, {counted(spec.repeats, 'time')}",
        "chronological": f"the first {spec.train_share:.0%} of the trials train, the later ones test",
        "blocks": f"{spec.folds} blocks of trials, each tested once" + (f", named by {spec.block}" if spec.block else ""),
        "leave_one_animal_out": "each animal is left out of training and tested once",
        "published": "trials that train are those that test: of each class as many as the animal with fewest has, the first ones",
    }
    stopping = f"; {spec.validation:.0%} of the training trials are kept for early stopping" if spec.validation else ""
    return (
        f"Kind {spec.kind}: {kinds[spec.kind]}; {counted(number, 'split')}{stopping}. Windows of a trial never lie on two sides."
    )
