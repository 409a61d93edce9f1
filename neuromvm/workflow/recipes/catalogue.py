"""The recipes: for which question, on which data their settings were chosen, and what they make of the traits of recordings."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from neuromvm.specs.yaml_text import Setting, listed, scalar
from neuromvm.workflow.recipes.parts import (
    ACROSS,
    bayes_model,
    decoding,
    free_latents,
    free_model,
    label_settings,
    noise_scale,
    split_setting,
    training,
    window_of,
    window_settings,
)
from neuromvm.workflow.recipes.traits import Traits, Window

FEWEST_CONDITIONS = 5  # of which two are held out
MOST_ZONES = 10
LINEAR_ROWS = ("raw", "raw_lda", "shrunk_lda", "poisson_bayes", "pca", "procrustes", "hyperalignment", "srm", "mcca")
ALIGNED_ROWS = ("raw", "shrunk_lda", "pca", "procrustes", "srm", "mcca")


class Ends(NamedTuple):
    """Start and stop [s] of the samples that the user asks for; None: as the recipe has it."""

    start: float | None = None
    stop: float | None = None


class Recipe(NamedTuple):
    """A recipe: ``unsuited`` says why recordings do not suit it, '' if they do; ``settings`` are those of the experiment."""

    question: str
    chosen_on: str
    shown_on: str
    unsuited: Callable[[Traits], str]
    settings: Callable[[Traits, Ends], list[Setting]]


def few_trials(traits: Traits, ends: Ends) -> list[Setting]:
    """Return the settings for tens of trials of an animal, a few of each class."""
    window = window_of(traits, *ends, longest=3.0, bins=12)
    classes = len(traits.label.classes)
    samples = [
        *window_settings(traits, window),
        *_smooth(window),
        *noise_scale(),
        *label_settings(traits),
    ]
    latent = free_latents(classes, window.bins * traits.usual_units)
    rows = LINEAR_ROWS if len(traits.animals) > 1 else ("raw", "raw_lda", "shrunk_lda", "poisson_bayes", "pca")
    models = [bayes_model(classes, len(traits.animals))]
    if len(traits.animals) > 1:
        why = "The MMVM VAE whose decoders rebuild each animal from the latents of the others; input noise in place of dropout"
        models.append(free_model("mmvm", ACROSS, latent, why))
    models.append(free_model("independent", "independent", latent, "A VAE an animal, which shares nothing: the control"))
    return [
        Setting("samples", inner=samples),
        split_setting(traits),
        Setting("models", inner=models),
        training(),
        Setting("training_of", "{simplex_bayes: {epochs: 0}}", "training adds nothing to it"),
        Setting("analyses", inner=[decoding(traits, rows), Setting("latent_scatter", "{}")]),
    ]


def shared_codes(traits: Traits, ends: Ends) -> list[Setting]:
    """Return the settings for conditions that are held out in one animal and told by the others."""
    window = window_of(traits, *ends, longest=2.0, bins=4)
    conditions, is_track = _conditions(traits), traits.grid == "position"
    samples = _zones(traits)[0] if is_track else window_settings(traits, window)
    samples += [*noise_scale(), *label_settings(traits, window=is_track)]
    features = traits.usual_units * (1 if is_track else window.bins)
    sizes = [size for size in (4, 8, 16) if size <= features] or [max(1, features)]
    names = [f"mmvm_{size}" for size in sizes]
    models = [free_model(name, ACROSS, size, "", noise=0.7, beta=0.1) for name, size in zip(names, sizes, strict=True)]
    held_out = max(2, round(conditions / 5))
    is_small = len(traits.animals) <= 3
    why = f"{held_out} of {conditions} conditions are never labelled in an animal"
    inner = [Setting("kind", "conditions"), Setting("held_out", str(held_out), why)]
    if is_small:
        words = "with three animals or fewer one at a time lacks conditions; the others have all"
        inner.append(Setting("lacking", "one_animal", words))
    elif conditions < 10:
        inner.append(Setting("repeats", "3", "few conditions: drawn anew three times"))
    if traits.label.is_number or is_track:
        words = "conditions have an order: `contiguous` holds out runs of neighbours, which is harder and says more"
        inner.append(Setting("choice", "random", words))
    labels = [number for number in (1, 2, 4) if number <= max(1, traits.fewest_trials // 4)]
    return [
        Setting("samples", inner=samples),
        split_setting(traits),
        Setting("models", "", "sizes among which one is chosen for each animal, on the other animals", models),
        training(),
        Setting(
            "analyses", inner=[Setting("decoding", "{baselines: [shrunk_lda, raw_lda]}", "is the label in each animal at all?")]
        ),
        Setting(
            "sharing",
            "",
            "do the animals share a code? (docs/analyses/sharing.md)",
            [
                Setting("split", inner=inner),
                Setting("models", f"{{mmvm: {listed(names)}}}"),
                Setting("few_labels", listed(labels), "labelled trials of each condition in an animal with few"),
                Setting(
                    "refits",
                    "99",
                    "data sets with exchanged names; the smallest p is 1 / 100. Add more: neuromvm sharing RUN --n 200",
                ),
                Setting("model_refits", "20", "of models, which take longer: the smallest p is 1 / 21"),
            ],
        ),
    ]


def trial_variability(traits: Traits, ends: Ends) -> list[Setting]:
    """Return the settings for latents that keep what differs between trials of a class."""
    window = window_of(traits, *ends, longest=0.5 if traits.window.stop <= 2 else 2.0, bins=5)
    classes = len(traits.label.classes)
    latent = free_latents(classes, window.bins * traits.usual_units)
    weak = "{kind: mmvm, rate: pairwise, cross_reconstruction: 0.3}"
    models = [
        free_model(
            "mmvm",
            weak,
            latent,
            "a weak pull, .3 in place of .9: other animals cannot know what was special about a trial, so .9 removes it",
            noise=0.7,
        ),
        free_model("mmvm_strong", ACROSS, latent, "the usual pull, to see what it takes out", noise=0.7),
        free_model("independent", "independent", latent, "a VAE an animal: the most that latents can keep of a trial", noise=0.7),
    ]
    return [
        Setting("samples", inner=[*window_settings(traits, window), *noise_scale(), *label_settings(traits)]),
        split_setting(traits),
        Setting("models", inner=models),
        training(150),
        Setting("analyses", inner=[decoding(traits, ALIGNED_ROWS), Setting("latent_scatter", "{}"), *_other_labels(traits)]),
    ]


def time_course(traits: Traits, ends: Ends) -> list[Setting]:
    """Return the settings for latents that are followed along the grid."""
    window = window_of(traits, *ends, longest=2.0, bins=8)
    classes = len(traits.label.classes)
    latent = free_latents(classes, traits.usual_units)
    width = window.bin_width
    step = max(traits.window.bin_width, round(width / 2 / traits.window.bin_width) * traits.window.bin_width)
    samples = [
        *window_settings(traits, window)[:2],
        Setting(
            "width", scalar(width), f"{window.bins} windows a trial, which train one encoder: it can be slid along the whole grid"
        ),
        Setting("step", scalar(width)),
        *noise_scale(),
        *label_settings(traits),
        Setting(
            "path_step",
            scalar(step),
            f"the window slides in these steps from {traits.window.start:g} to {traits.window.stop:g} s",
        ),
    ]
    models = [
        free_model(
            "mmvm", ACROSS, latent, "linear: the latent of a window depends on no other window, so that onsets mean something"
        ),
        free_model("independent", "independent", latent, "a VAE an animal: the control"),
    ]
    in_time = f"{{width: {scalar(width)}, step: {scalar(step)}}}"
    return [
        Setting("samples", inner=samples),
        split_setting(traits),
        Setting("models", inner=models),
        training(),
        Setting(
            "analyses",
            inner=[
                Setting(
                    "time_resolved",
                    in_time,
                    "when is the label there, and does its code last? Windows before the event are the control",
                ),
                Setting("trajectories", "{}"),
                decoding(traits, ALIGNED_ROWS),
            ],
        ),
    ]


def track(traits: Traits, ends: Ends) -> list[Setting]:
    """Return the settings for places along a track."""
    width, conditions = _zones(traits)[0], _conditions(traits)
    latent = free_latents(conditions, traits.usual_units)
    samples = [
        *width,
        *label_settings(traits, window=True),
        Setting("clip", "5", "events of fluorescence have outliers: scaled activity is cut at 5 deviations"),
    ]
    models = [
        bayes_model(conditions, len(traits.animals)),
        free_model("mmvm", ACROSS, latent, "the MMVM VAE whose decoders rebuild each animal from the latents of the others"),
        free_model("independent", "independent", latent, "a VAE an animal, which shares nothing: the control"),
    ]
    words = "all zones of a lap are on one side of a split, since splits divide laps"
    return [
        Setting("samples", inner=samples),
        split_setting(traits)._replace(why=words),
        Setting("models", inner=models),
        training(100),
        Setting("training_of", "{simplex_bayes: {epochs: 0}}", "training adds nothing to it"),
        Setting("analyses", inner=[decoding(traits, LINEAR_ROWS), Setting("latent_scatter", "{}")]),
    ]


def _smooth(window: Window) -> list[Setting]:
    if window.bins < 3:
        return []
    words = "over two bins: neighbouring bins of a trial share most of their signal and little of their noise"
    return [Setting("smooth", scalar(2 * window.bin_width), words)]


def _zones(traits: Traits) -> tuple[list[Setting], int]:
    """Return the width of zones of a track, and how many there are."""
    merged = next(
        size
        for size in range(1, traits.window.bins + 1)
        if traits.window.bins % size == 0 and traits.window.bins // size <= MOST_ZONES
    )
    width, zones = merged * traits.window.bin_width, traits.window.bins // merged
    return [Setting("width", scalar(width), f"a zone of the track, of which there are {zones}")], zones


def _conditions(traits: Traits) -> int:
    """Return the number of conditions: classes of the label, on a track in each zone."""
    return len(traits.label.classes) * (_zones(traits)[1] if traits.grid == "position" else 1)


def _other_labels(traits: Traits) -> list[Setting]:
    if {"in_sequence", "correct", "position"} <= {*traits.other_labels, traits.label.name}:
        return [Setting("trial_contrasts", "{}", "in or out of sequence, correct or not: what differs between trials of an odor")]
    return []


def _on_time(traits: Traits) -> str:
    return "" if traits.grid == "time" else "the grid is of position: take the recipe track"


def _several(traits: Traits) -> str:
    return "" if len(traits.animals) > 1 else "it compares animals, and there is one"


def _can_hold_out(traits: Traits) -> str:
    conditions = _conditions(traits)
    if conditions < FEWEST_CONDITIONS:
        return f"{conditions} conditions: fewer than {FEWEST_CONDITIONS} say nothing about conditions that are held out"
    return _several(traits)


RECIPES: Mapping[str, Recipe] = {
    "few-trials": Recipe(
        "What is the label of a trial, if there are ten trials of each class?",
        "piriform cortex, 15 odors: inner folds of the training halves",
        "cortical amygdala, 15 odors (docs/results/refitted_nulls.md)",
        _on_time,
        few_trials,
    ),
    "shared-codes": Recipe(
        "Do animals share a code? Conditions never labelled in one animal are told by the others.",
        "no data: sizes of models and kernels are chosen within the run, for each animal on the other animals; the rest is given",
        "hippocampus, cortical amygdala, piriform cortex (docs/results/shared_codes.md)",
        _can_hold_out,
        shared_codes,
    ),
    "trial-variability": Recipe(
        "What differs between trials of the same class, in latents that still agree between animals?",
        "simulated rats with known private latents, seeds 100 and 101",
        "simulated rats, seeds 200 and 201 (docs/recipes.md)",
        lambda traits: _on_time(traits) or _several(traits),
        trial_variability,
    ),
    "time-course": Recipe(
        "When is the label there, and does its code last?",
        "piriform cortex (scaling, noise, size); windows as on the published rats",
        "simulated rats (docs/results/simulated_rats.md)",
        lambda traits: _on_time(traits) or _several(traits),
        time_course,
    ),
    "track": Recipe(
        "In which zone of a track is an animal?",
        "linear track, inner blocks of the first half of the laps",
        "linear track, other halves of the laps (docs/results/refitted_nulls.md)",
        lambda traits: _several(traits) if traits.grid == "position" else "the grid is of time, not of position",
        track,
    ),
}


def default_recipe(traits: Traits) -> str:
    """Return the recipe for recordings if none is named: track on a grid of position, else few-trials."""
    return "track" if traits.grid == "position" and len(traits.animals) > 1 else "few-trials"
