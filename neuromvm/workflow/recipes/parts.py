"""Parts that recipes have in common: samples, splits, models and training, with values that follow from recordings."""

from neuromvm.specs.yaml_text import Setting, listed, scalar, short
from neuromvm.workflow.recipes.traits import Traits, Window

ACROSS = "{kind: mmvm, rate: pairwise, cross_reconstruction: 0.9}"
LATENTS_PER_CLASS = 1.6  # of free codes: 24 for 15 odors, where 16 and 64 were no better
FEWEST_TO_TUNE = 6  # trials of a class: three inner folds of half of them


def window_of(traits: Traits, start: float | None, stop: float | None, longest: float, bins: int) -> Window:
    """Return a window on the edges of the grid, cut into about ``bins`` bins.

    By default it begins at the event, or with a grid that begins later, and lasts until ``longest`` or the grid ends.
    """
    begin = max(traits.window.start, 0.0) if start is None else start
    begin = begin if begin < traits.window.stop else traits.window.start
    end = min(traits.window.stop, begin + longest) if stop is None else stop
    first = round((begin - traits.window.start) / traits.window.bin_width)
    count = max(1, round((end - begin) / traits.window.bin_width))
    merged = max(1, round(count / bins))
    count = max(1, count // merged) * merged
    edge = traits.window.start + first * traits.window.bin_width
    return Window(*map(short, (edge, edge + count * traits.window.bin_width, merged * traits.window.bin_width)))


def window_settings(traits: Traits, window: Window) -> list[Setting]:
    """Return start, stop and bins of samples."""
    return [
        Setting(
            "start",
            scalar(window.start),
            f"[s from the event of the grid, which goes from {traits.window.start:g} to {traits.window.stop:g}]",
        ),
        Setting("stop", scalar(window.stop), "where the response ends: look at `neuromvm data describe SPEC --figure look.png`"),
        Setting("bin_width", scalar(window.bin_width), f"{window.bins} bins"),
    ]


def label_settings(traits: Traits, *, window: bool = False) -> list[Setting]:
    """Return the label, and the classes to keep where some are too rare; ``window`` makes each window a condition of its own."""
    label = traits.label
    names = [label.name, *(["window"] if window else [])]
    alternatives = f"; other labels: {', '.join(traits.other_labels)}" if traits.other_labels else ""
    settings = [Setting("label", listed(names), f"what is decoded: {len(label.classes)} classes of {label.name}{alternatives}")]
    if label.rare:
        rare = ", ".join(label.rare[:6]) + (" ..." if len(label.rare) > 6 else "")
        settings.append(
            Setting(
                "keep",
                f"{{{scalar(label.name)}: {listed(label.values[name] for name in label.classes)}}}",
                f"too few trials of: {rare}",
            )
        )
    return settings


def noise_scale() -> list[Setting]:
    """Return the scaling by the noise of units."""
    return [
        Setting(
            "scale",
            "noise",
            "by the deviation within classes, which leaves units large that tell classes apart; the usual z-score makes all "
            "units equally large",
        ),
        Setting(
            "scale_shrinkage",
            "0.5",
            "half of each unit's noise is taken from the median unit, since few trials estimate it badly",
        ),
    ]


def split_setting(traits: Traits) -> Setting:
    """Return the split: halves where classes have few trials, else five folds."""
    words = f"a class has {traits.fewest_trials} trials or more in an animal, {traits.usual_trials} in the median"
    if traits.label.sorted_animals:
        count = len(traits.label.sorted_animals)
        words += (
            f". Trials are sorted by {traits.label.name} in {count} of {len(traits.animals)} animals: slow drift may pass "
            "for the label, so decode a window before the event as well (docs/analyses/decoding.md, sorted designs)"
        )
    if traits.usual_trials < 20 or traits.fewest_trials < 10:
        inner = [Setting("kind", "halves", "half of the trials of each class train, the others test; drawn anew five times")]
        return Setting("split", "", words, [*inner, Setting("repeats", "5")])
    return Setting("split", "", words, [Setting("kind", "kfold", "many trials: four fifths train"), Setting("folds", "5")])


def can_tune(traits: Traits) -> bool:
    """Return whether training sides have trials enough for three inner folds of each class."""
    return traits.fewest_trials >= FEWEST_TO_TUNE


def free_latents(classes: int, features: int) -> int:
    """Return the number of latents of a free code: 1.6 for each class, at least 4, at most one for each feature of an animal.

    >>> free_latents(15, 100), free_latents(15, 10), free_latents(2, 100)
    (24, 10, 4)
    """
    return max(1, min(features, max(4, round(LATENTS_PER_CLASS * classes))))


def free_model(name: str, sharing: str, latent: int, why: str, noise: float = 1.6, beta: float = 0.01) -> Setting:
    """Return a linear model of free latents with input noise."""
    return Setting(
        name,
        "",
        why,
        [
            Setting("sharing", sharing),
            Setting("latent", str(latent)),
            Setting("beta", scalar(beta)),
            Setting("networks", "linear"),
            Setting("scale", "constant"),
            Setting("input_noise", scalar(noise)),
        ],
    )


def bayes_model(classes: int, animals: int) -> Setting:
    """Return the untrained simplex code, a shrunk discriminant of each animal."""
    return Setting(
        "simplex_bayes",
        "",
        "Not trained: Bayes' rule of shrunk class means of each animal, with a latent for each class. The best reader of "
        "single trials if there are few. It uses no other animal, so its `cross` is its `within` under another name "
        "(docs/models/simplex.md)",
        [
            Setting("sharing", ACROSS if animals > 1 else "independent"),
            Setting("latent", str(classes), "exactly the number of classes: further latents would carry nothing"),
            Setting("beta", "0.01"),
            Setting("networks", "linear"),
            Setting("scale", "constant"),
            Setting("code", "simplex"),
            Setting("targets", "condition_means"),
            Setting("start", "bayes"),
            Setting("initial_scale", "0.135"),
        ],
    )


def training(epochs: int = 200) -> Setting:
    """Return the training of all models."""
    return Setting(
        "training",
        "",
        "linear networks are trained in seconds; add seeds to see how much results vary with them",
        [
            Setting("epochs", str(epochs)),
            Setting("learning_rate", "0.01"),
            Setting("schedule", "cosine"),
            Setting("seeds", "[0]"),
        ],
    )


def decoding(traits: Traits, baselines: tuple[str, ...]) -> Setting:
    """Return the analysis decoding: rivals whose settings are chosen on inner folds, or as given where trials are too few."""
    classes = len(traits.label.classes)
    if can_tune(traits):
        why = "settings of baselines, and C of decoders of latents, are chosen for each split on inner folds of its training side"
        return Setting("decoding", "", why, [Setting("tune", "true"), Setting("baselines", listed(baselines))])
    why = (
        f"a class has as few as {traits.fewest_trials} trials: too few to choose settings on inner folds, so those that did well "
        "on other recordings are given"
    )
    return Setting(
        "decoding",
        "",
        why,
        [
            Setting("tune", "false"),
            Setting("baselines", listed(baselines)),
            Setting("canonical_components", str(max(1, classes - 1))),
            Setting("canonical_inverse_penalty", "0.1"),
            Setting("latent_inverse_penalty", "0.1"),
        ],
    )
