"""Caveats about the scores of a run that follow from its data and settings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from neuromvm.analysis.figures.text import counted, listed
from neuromvm.analysis.report.account import trials_of_classes
from neuromvm.data.describe import label_counts
from neuromvm.data.design import DRIFT, FEW_RUNS, RUNS, SORTED, DesignFlag
from neuromvm.data.splits import trial_strata
from neuromvm.data.windows import classes
from neuromvm.folders.study import Study
from neuromvm.schema import animals, in_sample, is_scored, subjects
from neuromvm.specs.experiment import NullSpec

ALIGNED = ("procrustes", "hyperalignment", "srm", "mcca", "dynamics")  # baselines that pair animals by label
FEW_ANIMALS = 10
FEW_TRIALS = 10  # of a class, tested in a split
UNEQUAL = 1.5  # share of the largest class relative to equal classes
SAME = 0.9  # share of trials on which a label follows from another
SHIFTED = "The null moves labels along the session, which keeps drift."
PERMUTED = (
    "Nulls that permute trials call drift a signal, and their p are too small then. Refits with nulls.rearrangement=shift move "
    "labels along the session and keep drift."
)
SETTINGS_CHOSEN = (
    "This folder cannot tell how the settings of its models were chosen. If by looking at scores on these test trials, the "
    "scores of the models are too high."
)


def caveats(study: Study, shared: Sequence[str], representations: Sequence[str]) -> list[str]:
    """Return the caveats that apply to a run, those with the largest consequences first.

    ``shared`` names the models with a shared latent space, ``representations`` the scored models and baselines.
    """
    candidates = [
        scored_as_trained(study.splits),
        *hard_to_exchange(study.samples, study.design, study.spec.nulls),
        *confounded_labels(study),
        pairing(study, shared, representations),
        named_latents(study, representations),
        repeated_animals(study.recordings),
        lacking_classes(study.samples),
        unequal_classes(study.samples),
        few_animals(study.samples),
        few_test_trials(study),
        dependent_splits(study),
        overlapping_windows(study),
        SETTINGS_CHOSEN,
    ]
    return [caveat for caveat in candidates if caveat]


def scored_as_trained(splits: xr.DataTree) -> str:
    """Warn that the scored trials were fitted on, as in the published computation."""
    if not in_sample(splits):
        return ""
    return (
        "Training and scored trials are the same: scores say how well the models fit, not how they generalise; on pure noise "
        "overlapping windows of four odors give 0.5 to 0.7. So there is no floor and no p; intervals say nothing of new trials."
    )


def hard_to_exchange(samples: xr.DataTree, flags: Sequence[DesignFlag], nulls: NullSpec) -> list[str]:
    """Warn of designs in which time can pass for the label, from the flags of their animals."""
    label = samples.attrs["label"]
    flagged = {flag: [flag_found.animal for flag_found in flags if flag_found.flag == flag] for flag in (SORTED, FEW_RUNS, DRIFT)}
    where = {flag: f"{len(names)} of {len(samples.children)} animals ({listed(names)})" for flag, names in flagged.items()}
    null = SHIFTED if nulls.refits > 0 and nulls.rearrangement == "shift" else PERMUTED
    drift = next((f"{flag_found.animal}: {flag_found.words}" for flag_found in flags if flag_found.flag == DRIFT), "")
    warnings = {
        SORTED: f"Trials are sorted by {label} in {where[SORTED]}: every class is one unbroken run of trials. Slow drift of a "
        "recording (units fading, arousal, time of day) then tells classes apart as well as their responses do, and no split of "
        f"these trials can part the two: scores may rest on either. {null}",
        FEW_RUNS: f"Classes of {label} come in few runs of trials, {RUNS} or fewer on average, in {where[FEW_RUNS]}: slow drift "
        f"of a recording tells them apart in part. {null}",
        DRIFT: f"Activity drifts in {where[DRIFT]}: {drift}. This does no harm to nulls where labels follow in random order, and "
        "much where a class comes in few runs.",
    }
    return [warning for flag, warning in warnings.items() if flagged[flag]]


def confounded_labels(study: Study) -> list[str]:
    """Warn of trial labels that determine the decoded label on most trials."""
    decoded = study.samples.attrs["label"]
    warnings = []
    for label in label_counts(study.recordings)["label"].unique():
        if label in study.spec.samples.label:
            continue
        shares = [_follows(node, label) for _, node in animals(study.samples) if label in node.coords]
        if shares and min(shares) >= SAME:
            warnings.append(
                f"{decoded} follows from {label} on at least {min(shares):.0%} of the trials of every animal: what is decoded "
                f"may be {label}. Only trials on which the two differ can tell."
            )
    return warnings


def _follows(node: xr.Dataset, label: str) -> float:
    """Return the share of trials whose class is the most frequent class at their value of ``label``; 0 if trivially so."""
    strata = trial_strata(node)
    used = strata >= 0
    table = pd.crosstab(node[label].to_numpy().astype(str)[used], strata[used]).to_numpy()
    values, labels = table.shape
    return float(table.max(axis=1).sum() / used.sum()) if labels > 1 and values <= 2 * labels else 0.0


def pairing(study: Study, shared: Sequence[str], representations: Sequence[str]) -> str:
    """Name the representations that used labels through the pairing of training trials."""
    by = study.spec.samples.match_by
    if not shared or not set(by) & set(study.spec.samples.label):
        return ""
    aligned = [name for name in ALIGNED if name in representations and name not in study.models]
    alone = [name for name in study.models if name not in shared]
    caveat = (
        f"Samples of different animals are paired by {' and '.join(by)}, of training trials only. So "
        f"{listed([*shared, *aligned])} saw the labels of training trials before any decoder did"
    )
    caveat += f"; {listed(alone)} did not, which is part of any difference between them" if alone else ""
    caveat += (
        ". Scores across animals say how well an animal is read through a map made with labels, and no null here tells a shared "
        "code from codes of their own: only conditions that an animal was never labelled for do"
    )
    if study.has_refits:
        return f"{caveat}. The null does so too: it pairs by permuted labels and fits again."
    return (
        f"{caveat}. A null that pairs by permuted labels and fits again would be stricter than the floor, and is not in this "
        "run: set nulls.refits, or use neuromvm refit."
    )


def discriminants(study: Study) -> list[str]:
    """Return the models whose latents start as the class probabilities of each animal by itself (``start: bayes``)."""
    return [name for name, model in study.spec.models.items() if model.start == "bayes"]


def named_latents(study: Study, representations: Sequence[str]) -> str:
    """Say of scored models that start from Bayes' rule that they are discriminants of each animal."""
    names = [name for name in discriminants(study) if name in representations]
    if not names:
        return ""
    return (
        f"Latents of {listed(names)} start as a shrunk linear discriminant of each animal by itself, and are named after "
        "classes. A decoder of another animal finds the same names, so scores across animals repeat what is read within: compare "
        "them with the rows of single animals."
    )


def repeated_animals(recordings: xr.DataTree) -> str:
    """Warn of animals that are recordings of the same subject, as named in their files."""
    sessions: dict[str, list[str]] = {}
    nodes = dict(animals(recordings))
    for name, node in nodes.items():
        if subject := str(node.attrs.get("subject_id", "")):
            sessions.setdefault(subject, []).append(name)
    repeated = [f"{subject}: {listed(names)}" for subject, names in sessions.items() if len(names) > 1]
    if not repeated:
        return ""
    if len(next(iter(sessions.values()))) == len(nodes):
        return (
            f"All recordings are sessions of one subject ({next(iter(sessions))}). Scores across animals compare its sessions: "
            "they say nothing about other animals."
        )
    count = int(subjects(recordings).max()) + 1
    return (
        f"Some recordings are sessions of one subject ({'; '.join(repeated)}). No score across animals ('cross', 'others', "
        f"held-out conditions) decodes one session of a subject from another, n is {count} animals, and intervals over "
        "animals resample subjects with all their sessions."
    )


def class_counts(samples: xr.DataTree) -> dict[str, np.ndarray]:
    """Return the number of trials of each class, by animal."""
    number = len(classes(samples))
    return {name: np.array(trials_of_classes(node["label"].to_numpy(), number)[:-1]) for name, node in animals(samples)}


def lacking_classes(samples: xr.DataTree) -> str:
    """Warn of animals without trials of a class."""
    counts = class_counts(samples)
    present = np.any(list(counts.values()), axis=0)
    absent = {name: np.array(classes(samples))[present & (count == 0)] for name, count in counts.items()}
    lacking = [f"{name} lacks {', '.join(names)}" for name, names in absent.items() if names.size]
    if not lacking:
        return ""
    return (
        f"Not every animal has every class of {samples.attrs['label']}: {listed(lacking)}. Each decoder is scored on the classes "
        "that it and its target share, so chance differs between cells, and averages mix easier and harder problems."
    )


def unequal_classes(samples: xr.DataTree) -> str:
    """Warn if a class is much more frequent than if all were equal."""
    number = len(classes(samples))
    shares = {name: counts.max() / counts.sum() for name, counts in class_counts(samples).items()}
    name, share = max(shares.items(), key=lambda item: item[1])
    if share * number < UNEQUAL:
        return ""
    return (
        f"Classes are unequal: the largest holds {share:.0%} of the trials of {name}, "
        f"against {1 / number:.0%} if all were equal. Plain accuracy would reward naming it always; balanced accuracy does not, "
        "but rests on few trials of the rare classes."
    )


def few_animals(samples: xr.DataTree) -> str:
    """Warn that intervals do not generalise to other animals."""
    number = len(samples.children)
    if number >= FEW_ANIMALS:
        return ""
    return (
        f"Animals: {number}. Intervals are over their test trials and animals are not drawn anew, so they say how well "
        "these animals are known and not what other animals would give."
    )


def few_test_trials(study: Study) -> str:
    """Warn if a class is scored on few trials."""
    names = classes(study.samples)
    fewest: dict[str, int] = {}
    for name, node in animals(study.samples):
        for part in study.splits[name]["part"].to_numpy():
            counts = np.array(trials_of_classes(node["label"].to_numpy()[is_scored(part)], len(names))[:-1])
            if counts.any():
                fewest[name] = min(fewest.get(name, counts.max()), int(counts[counts > 0].min()))
    least = min(fewest.values(), default=FEW_TRIALS)
    if least >= FEW_TRIALS:
        return ""
    number = counted(list(fewest.values()), "test trial")
    return f"The rarest class has {number} in an animal and split: single trials move its score."


def dependent_splits(study: Study) -> str:
    """State that splits share trials."""
    number = next(iter(animals(study.splits)))[1].sizes["split"]
    if number == 1:
        return ""
    return f"The {number} splits share trials and are not independent: n is the number of trials, not of splits."


def overlapping_windows(study: Study) -> str:
    """State that windows share spikes."""
    node = next(iter(animals(study.samples)))[1]
    windows = node["window"].to_numpy()
    if len(windows) < 2:
        return ""
    width, step = float(node["window"].attrs["width"]), float(windows[1] - windows[0])
    shared = max(0.0, 1 - step / width)
    overlap = f" and share {shared:.0%} of their span with the next" if shared else ""
    return f"The {len(windows)} windows of a trial are not independent{overlap}: n is the number of trials, not of windows."
