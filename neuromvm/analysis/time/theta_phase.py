"""Analysis ``theta_phase``: does the activity of an animal tell more of the label at some phases of theta than at others?

The spikes of a window of each trial are sorted by the theta phase at which they fell, and the rates at each phase are decoded by
a shrinkage discriminant of their own, on the run's splits. Two nulls refit every decoder: trials permuted (is there information
at all?) and phases broken (does it follow the phase?). No model is involved.
"""

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, model_validator

from neuromvm.analysis.decoding.scoring import NO_FLOOR
from neuromvm.analysis.flat_score import Score, numbers
from neuromvm.analysis.statistics.circular import Floats, first_harmonic, pairwise_consistency, random_resultants, resultant
from neuromvm.analysis.statistics.over_trials import interval, judged, mean_of_scored
from neuromvm.analysis.time.phase_bins import phase_centres
from neuromvm.analysis.time.phase_decoding import Decoded, Resampling, decode_phases, phased_spikes
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SplitError
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

EVERY = "all animals"  # no animal can have this name
REPRESENTATION = "spikes by theta phase"
RAYLEIGH_DRAWS = 9999
LABEL_NULL = "{n} permutations of trials within each animal, every decoder refitted"
PHASE_NULLS = {
    "shift": "{n} draws in which the theta cycle of each trial is turned by a random phase, every decoder refitted",
    "exchange": "{n} draws in which trials take each other's theta phases, every decoder refitted",
}
RAYLEIGH = f"{RAYLEIGH_DRAWS} draws of as many phases from the whole cycle (Rayleigh test), nothing refitted"
NEVER_BELOW = "none: it is never below 0, and the floor is what chance alone gives"

Variable = tuple[tuple[str, ...], NDArray[np.generic]]


class Options(Spec):
    """Window, phases and resampling. The defaults take about twenty seconds for five rats of 50 to 100 units."""

    start: float | None = Field(None, description="Start of the window [s]; default: that of the run's samples")
    stop: float | None = Field(None, description="Its end [s]; default: that of the run's samples")
    phases: int = Field(8, ge=3, le=36, description="Parts of the cycle that are decoded apart")
    least_occupancy: float = Field(
        0.5, gt=0, le=1, description="Leave out trials that spend less than this share of an even share at some phase"
    )
    phase_null: Literal["shift", "exchange"] = Field(
        "shift",
        description="How phases are broken: the cycle of each trial turned at random, or phases exchanged between trials, "
        "which keeps what is due to an event that resets the phase",
    )
    permutations: int = Field(200, ge=19, description="Refits for each null; the smallest p is 1 / (permutations + 1)")
    permute_within: str | None = Field(None, description="Trial label (block, session) within which trials are exchangeable")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    seed: int = Field(0, ge=0, description="Of broken phases and of the resamples")

    @model_validator(mode="after")
    def _forward(self) -> "Options":
        if self.start is not None and self.stop is not None and self.stop <= self.start:
            raise ValueError(f"stop {self.stop:g} is not after start {self.start:g}")
        return self


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Decode the recordings of a run by theta phase; :func:`decode_by_phase` says what is returned."""
    return decode_by_phase(study.recordings, study.samples, study.splits, options)


def decode_by_phase(
    recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, options: Options | None = None
) -> xr.Dataset:
    """Decode the label at each theta phase, and say whether its accuracy follows the phase.

    Parameters
    ----------
    recordings
        With ``spike_count`` and ``theta_phase (trial, time)`` [rad]: set ``lfp`` in the data spec.
    samples, splits
        Made of them: trials, labels and sides. The bins and features of samples are not used.
    options
        Window, phases and resampling.

    Returns
    -------
    For each animal and, as ``all animals``, their mean:

    - ``accuracy (animal, phase)``, balanced, mean over splits; ``accuracy_low, accuracy_high`` (95 % over resampled test trials),
      ``accuracy_null_mean, accuracy_null_low, accuracy_null_high, accuracy_p`` (trials permuted).
    - ``overall (animal)``, its mean over phases, with the same.
    - ``modulation (animal)``, height of the cosine over the cycle that accuracy follows best, with the same under broken phases;
      of all animals, the mean of theirs. It is never negative, so compare it with its floor; its interval is that of resampled
      curves projected on the preferred phase, and may reach below 0.
    - ``preferred (animal)`` [rad], where that cosine is highest, with ``preferred_low, preferred_high``, which are not wrapped;
      of all animals, that of the mean curve.
    - ``rate (animal, phase)`` [Hz] of the mean unit; ``consistency (animal)`` of phases across trials, 0 if no event resets them;
      ``chance, trials, left_out (animal)``.

    ``common`` is the modulation of the mean curve, small where animals prefer different phases; ``agreement`` the resultant of
    preferred phases, against phases drawn at random.

    Raises
    ------
    SchemaError
        If recordings have no theta phase, are no spikes, or windows of a trial differ in label.
    AlignmentError
        If the window leaves the grid, bins are too wide for the phases, or no trial is long enough.
    SplitError
        If no trial can be tested.

    References
    ----------
    Hasselmo, Bodelon & Wyble (2002). A proposed function for hippocampal theta rhythm: separate phases of encoding and retrieval.
    *Neural Comput.* 14, 793-817 (why phase may matter).

    Examples
    --------
    >>> scores = decode_by_phase(study.recordings, study.samples, study.splits)  # doctest: +SKIP
    >>> scores["modulation"].sel(animal="mitt")  # doctest: +SKIP
    """
    options = options or Options()
    check_same_trials(samples, splits)
    seen = in_sample(splits)
    resampling = Resampling(options.phase_null, 0 if seen else options.permutations, options.bootstraps, options.seed)
    window = _window(recordings, samples, options)
    classes = len(json.loads(samples.attrs["classes"]))
    animals = [
        phased_spikes(name, recordings, samples, splits, window, options.phases, options.least_occupancy)
        for name in samples.children
    ]
    found = [decode_phases(one, classes, resampling, options.permute_within) for one in animals]
    scored = [one for one in found if one.tested]
    if not scored:
        raise SplitError(
            "analysis theta_phase",
            found="no animal with trials of two classes on the training side and trials to test, in one split",
            expected="an animal that is decoded from its own trials",
            next_step="Use split.kind=halves or kfold, or lower least_occupancy",
        )
    centres = phase_centres(options.phases)
    variables = _described([*found, _mean(scored)], [*([one] for one in found), scored], centres)
    variables |= _pooled(scored, centres, options.seed)
    consistency = [float(mean_of_scored(pairwise_consistency(one.angles), axis=0)) for one in animals]
    variables["consistency"] = (("animal",), np.array([*consistency, np.mean(consistency)]))
    left_out = [one.left_out for one in animals]
    variables["left_out"] = (("animal",), np.array([*left_out, sum(left_out)]))
    drawn = "scored" if seen else "test"
    return xr.Dataset(
        variables,
        coords={
            "animal": [*(one.name for one in animals), EVERY],
            "phase": ("phase", centres, {"units": "rad", "long_name": "theta phase, 0 at the peak of the LFP"}),
        },
        attrs={
            "label": samples.attrs.get("label", "label"),
            "start": window[0],
            "stop": window[1],
            "interval": f"95 % over {options.bootstraps} bootstrap draws of {drawn} trials within animal and label",
            "label_null": NO_FLOOR if seen else LABEL_NULL.format(n=options.permutations),
            "phase_null": NO_FLOOR if seen else PHASE_NULLS[options.phase_null].format(n=options.permutations),
            "permutations": resampling.permutations,
            "splits": next(iter(splits.children.values())).sizes["split"],
            "scored_animals": len(scored),
            "in_sample": int(seen),  # netCDF has no truth values
        },
    )


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return accuracy, its modulation and the preferred phase of each animal and of all, then what animals have in common."""
    lines = []
    for name in scores["animal"].values:
        one = scores.sel(animal=name)
        if not np.isfinite(one["overall"]):
            continue
        direction = Score(
            what="preferred theta phase [rad]",
            representation=REPRESENTATION,
            setting=str(name),
            value=float(one["preferred"]),
            low=float(one["preferred_low"]),
            high=float(one["preferred_high"]),
            interval=scores.attrs["interval"],
            null_kind="none: a direction; the modulation says whether there is one",
            chance_kind="none: a direction",
        )
        own = [
            _line(one, "overall", "balanced accuracy", "label_null")._replace(chance=float(one["chance"]), chance_kind=""),
            _line(one, "modulation", "modulation of balanced accuracy", "phase_null"),
            direction,
        ]
        lines += [_counted(line, one) for line in own]
    every = scores.sel(animal=EVERY)
    lines.append(_counted(_line(every, "common", "modulation of the mean balanced accuracy", "phase_null"), every))
    if np.isfinite(scores["agreement"]):
        agreement = Score(
            what="agreement of preferred theta phases",
            representation=REPRESENTATION,
            setting=EVERY,
            **_numbers(scores, "agreement"),
            interval=f"{scores.attrs['interval']}, their spread about the value; animals are not resampled",
            null_kind=RAYLEIGH,
            null_n=RAYLEIGH_DRAWS,
            chance_kind=NEVER_BELOW,
        )
        lines.append(_counted(agreement, every))
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw accuracy over two cycles for each animal, modulations with their preferred phases, and firing rates."""
    from neuromvm.analysis.figures import theta_phase as figures  # here, so that computing needs no plotting library

    return {"accuracy": figures.accuracy(scores), "modulation": figures.modulation(scores), "rate": figures.rate(scores)}


def _window(recordings: xr.DataTree, samples: xr.DataTree, options: Options) -> tuple[float, float]:
    """Return the window of the options, or of the samples, or else the whole grid."""
    spec = sample_spec(samples)
    grid = recordings.coords["time"]
    half = float(grid.attrs["bin_width"]) / 2
    ends = (float(grid[0]) - half, float(grid[-1]) + half)
    given = ((options.start, spec.start), (options.stop, spec.stop))
    start, stop = (next((one for one in both if one is not None), end) for both, end in zip(given, ends, strict=True))
    return start, stop


def _mean(found: list[Decoded]) -> Decoded:
    """Average animals, draw by draw."""
    curves = {
        field: np.mean([getattr(one, field) for one in found], axis=0)
        for field in ("accuracy", "bootstrap", "label_null", "phase_null", "rate")
    }
    return Decoded(**curves, chance=float(np.mean([one.chance for one in found])), tested=sum(one.tested for one in found))


def _described(rows: list[Decoded], groups: list[list[Decoded]], centres: Floats) -> dict[str, Variable]:
    """Return what is said of each animal and of their mean curve; modulations are means over the animals of a group."""
    over_phases = [(one.accuracy.mean(), one.bootstrap.mean(axis=1), one.label_null.mean(axis=1)) for one in rows]
    variables = _named("accuracy", ("animal", "phase"), [judged(one.accuracy, one.bootstrap, one.label_null) for one in rows])
    variables |= _named("overall", ("animal",), [judged(*one) for one in over_phases])
    variables |= _named("modulation", ("animal",), [_modulation(one, centres) for one in groups])
    variables |= _named("preferred", ("animal",), [_preferred(one, centres) for one in rows])
    variables["rate"] = (("animal", "phase"), np.stack([one.rate for one in rows]))
    variables["chance"] = (("animal",), np.array([one.chance for one in rows]))
    variables["trials"] = (("animal",), np.array([one.tested for one in rows]))
    return variables


def _pooled(found: list[Decoded], centres: Floats, seed: int) -> dict[str, Variable]:
    """Return the modulation of the mean curve, and whether animals agree in the phase they prefer."""
    variables = _named("common", (), [_modulation([_mean(found)], centres)])
    preferred = np.array([float(_preferred(one, centres)["value"]) for one in found])
    null = random_resultants(len(found), RAYLEIGH_DRAWS, np.random.default_rng(seed))
    value = resultant(preferred) if len(found) > 1 else np.asarray(np.nan)  # one phase agrees with itself
    # Phases that trials blur agree less: the spread of the draws counts, not their mean.
    drawn = resultant(np.stack([np.angle(first_harmonic(one.bootstrap, centres)) for one in found], axis=-1))
    around = np.clip(value + drawn - drawn.mean(), 0, 1)
    return variables | _named("agreement", (), [judged(value, around, null)])


def _modulation(found: list[Decoded], centres: Floats) -> dict[str, Floats]:
    """Return the mean modulation of some animals; resampled curves are projected on the phase that each animal prefers."""
    harmonics = [first_harmonic(one.accuracy, centres) for one in found]
    directions = [np.exp(-1j * np.angle(one)) for one in harmonics]
    projected = [
        (first_harmonic(one.bootstrap, centres) * direction).real for one, direction in zip(found, directions, strict=True)
    ]
    null = np.mean([np.abs(first_harmonic(one.phase_null, centres)) for one in found], axis=0)
    return judged(np.asarray(np.mean(np.abs(harmonics))), np.mean(projected, axis=0), null)


def _preferred(one: Decoded, centres: Floats) -> dict[str, Floats]:
    """Return the phase of the highest accuracy with its interval, from 0 to 2 pi; its ends may lie beyond."""
    angle = np.angle(first_harmonic(one.accuracy, centres))
    away = np.angle(first_harmonic(one.bootstrap, centres) * np.exp(-1j * angle))
    value = np.mod(angle, 2 * np.pi)
    low, high = interval(away)
    return {"value": np.asarray(value), "low": value + low, "high": value + high}


def _named(name: str, dims: tuple[str, ...], rows: list[dict[str, Floats]]) -> dict[str, Variable]:
    """Return one variable for each quantity of rows: the value under the name itself."""
    values = {key: np.stack([row[key] for row in rows]) if dims else np.asarray(rows[0][key]) for key in rows[0]}
    return {name if key == "value" else f"{name}_{key}": (dims, one) for key, one in values.items()}


def _line(one: xr.Dataset, name: str, what: str, null: str) -> Score:
    """Return a score of one animal, or of all, with its interval and null."""
    return Score(
        what=what,
        representation=REPRESENTATION,
        setting=str(one["animal"].item()),
        **_numbers(one, name),
        interval=one.attrs["interval"],
        null_kind=one.attrs[null],
        null_n=int(one.attrs["permutations"]),
        chance_kind=NEVER_BELOW,
    )


def _numbers(one: xr.Dataset, name: str) -> dict[str, Any]:
    """Return the numbers of a score whose value is saved under the name itself."""
    return numbers(one.rename({name: f"{name}_value"}), f"{name}_")


def _counted(line: Score, one: xr.Dataset) -> Score:
    return line._replace(
        n_animals=int(one.attrs["scored_animals"]) if one["animal"].item() == EVERY else 1,
        n_trials=int(one["trials"]),
        n_windows=1,
        n_splits=int(one.attrs["splits"]),
        baseline="none: spikes themselves are decoded",
        in_sample=bool(one.attrs["in_sample"]),
    )
