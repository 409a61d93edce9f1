"""Analysis ``theta_phase``: does the activity of an animal carry more of the label at some phases of theta than at others?

The spikes in a window of each trial are sorted by theta phase, and the rates at each phase are decoded by a separate shrinkage
discriminant on the run's splits. Two nulls refit every decoder: trials permuted (is there information at all?) and phases
permuted (does it depend on the phase?). No model is involved.
"""

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, model_validator

from neuromvm.analysis.decoding.scoring import NO_FLOOR
from neuromvm.analysis.scores import Absent, Counts, Score, saved_interval, score_of
from neuromvm.analysis.statistics.circular import Floats, first_harmonic, pairwise_consistency, random_resultants, resultant
from neuromvm.analysis.statistics.over_trials import interval, judged, mean_of_scored
from neuromvm.analysis.time.phase_decoding import Decoded, Resampling, decode_phases, phase_centres, phased_spikes
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SplitError
from neuromvm.progress import steps
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

EVERY = "all animals"  # no animal can have this name
RAYLEIGH_DRAWS = 9999
LABEL_NULL = "{n} permutations of trials within each animal, every decoder refitted"
PHASE_NULLS = {
    "shift": "{n} draws in which the theta cycle of each trial is turned by a random phase, every decoder refitted",
    "exchange": "{n} draws in which trials take each other's theta phases, every decoder refitted",
}
RAYLEIGH = f"{RAYLEIGH_DRAWS} draws of as many phases from the whole cycle (Rayleigh test), nothing refitted"
NEVER_NEGATIVE = Absent("it is never below 0, and the floor is what chance alone gives")

Variable = tuple[tuple[str, ...], NDArray[np.generic]]


class Options(Spec):
    """Window, phases and resampling. The defaults take about 20 s for five rats of 50 to 100 units."""

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
    """Decode the recordings of a run by theta phase; see :func:`decode_by_phase`."""
    return decode_by_phase(study.recordings, study.samples, study.splits, options)


def decode_by_phase(
    recordings: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, options: Options | None = None
) -> xr.Dataset:
    """Decode the label at each theta phase, and test whether its accuracy depends on the phase.

    The recordings have ``spike_count`` and ``theta_phase (trial, time)`` [rad]: set ``lfp`` in the data spec. ``samples`` and
    ``splits``, made of them, give trials, labels and sides; bins and features of samples are not used.

    Returns
    -------
    For each animal and, as ``all animals``, their mean:

    - ``accuracy (animal, phase)``, balanced, mean over splits; ``accuracy_low, accuracy_high`` (95 % over resampled test trials),
      ``accuracy_null_mean, accuracy_null_low, accuracy_null_high, accuracy_p`` (trials permuted).
    - ``overall (animal)``, mean accuracy over phases, with the same suffixes.
    - ``modulation (animal)``, amplitude of the cosine over the cycle that fits accuracy best, with the same suffixes, phases
      permuted. For all animals, the mean of their modulations. It is never negative, so compare it with its null. Its interval is
      that of resampled curves projected on the preferred phase, and may extend below 0.
    - ``preferred (animal)`` [rad], the phase of the maximum of that cosine, with ``preferred_low, preferred_high``, which are not
      wrapped. For all animals, that of the mean curve.
    - ``rate (animal, phase)`` [Hz], mean over units; ``consistency (animal)`` of phases across trials, 0 if no event resets them;
      ``chance, trials, left_out (animal)``.

    ``common`` is the modulation of the mean curve, small if animals prefer different phases; ``agreement`` the resultant length
    of preferred phases, against phases drawn at random.

    SchemaError is raised if recordings have no theta phase or no spikes, or windows of a trial differ in label; AlignmentError if
    the window exceeds the grid, bins are too wide, or no trial is long enough; SplitError if no trial can be tested.

    References
    ----------
    Hasselmo, Bodelon & Wyble (2002). A proposed function for hippocampal theta rhythm: separate phases of encoding and retrieval.
    *Neural Comput.* 14, 793-817 (why phase may matter).
    """
    options = options or Options()
    check_same_trials(samples, splits)
    unheld = in_sample(splits)
    resampling = Resampling(options.phase_null, 0 if unheld else options.permutations, options.bootstraps, options.seed)
    window = _window(recordings, samples, options)
    classes = len(json.loads(samples.attrs["classes"]))
    animals = [
        phased_spikes(name, recordings, samples, splits, window, options.phases, options.least_occupancy)
        for name in samples.children
    ]
    decoded = [
        decode_phases(spikes, classes, resampling, options.permute_within) for spikes in steps(animals, "theta_phase", "animal")
    ]
    scored = [animal for animal in decoded if animal.tested]
    if not scored:
        raise SplitError(
            "analysis theta_phase",
            found="no animal with trials of two classes on the training side and trials to test, in one split",
            expected="an animal that is decoded from its own trials",
            next_step="Use split.kind=halves or kfold, or lower least_occupancy",
        )
    centres = phase_centres(options.phases)
    consistency = [float(mean_of_scored(pairwise_consistency(spikes.angles), axis=0)) for spikes in animals]
    left_out = [spikes.left_out for spikes in animals]
    return xr.Dataset(
        {
            **_animal_variables(decoded, scored, centres),
            **_pooled_variables(scored, centres, options.seed),
            "consistency": (("animal",), np.array([*consistency, np.mean(consistency)])),
            "left_out": (("animal",), np.array([*left_out, sum(left_out)])),
        },
        coords={
            "animal": [*(spikes.name for spikes in animals), EVERY],
            "phase": ("phase", centres, {"units": "rad", "long_name": "theta phase, 0 at the peak of the LFP"}),
        },
        attrs={
            "label": samples.attrs.get("label", "label"),
            "start": window[0],
            "stop": window[1],
            "interval": f"95 % over {options.bootstraps} bootstrap draws of {'scored' if unheld else 'test'} trials "
            "within animal and label",
            "label_null": NO_FLOOR if unheld else LABEL_NULL.format(n=options.permutations),
            "phase_null": NO_FLOOR if unheld else PHASE_NULLS[options.phase_null].format(n=options.permutations),
            "permutations": resampling.permutations,
            "splits": next(iter(splits.children.values())).sizes["split"],
            "scored_animals": len(scored),
            "in_sample": int(unheld),  # netCDF has no truth values
        },
    )


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return accuracy, modulation and preferred phase of each animal and of their mean, then what animals have in common."""
    lines = []
    for name in scores["animal"].values:
        animal = scores.sel(animal=name)
        if not np.isfinite(animal["overall"]):
            continue
        lines += [
            _line(animal, "overall", "balanced accuracy", "label_null", chance=float(animal["chance"])),
            _line(animal, "modulation", "modulation of balanced accuracy", "phase_null"),
            Score(
                what="preferred theta phase [rad]",
                value=float(animal["preferred"]),
                interval=saved_interval(animal, "preferred_"),
                resampled=scores.attrs["interval"],
                null=Absent("a direction; the modulation says whether there is one"),
                chance=Absent("a direction"),
                **_shared_parts(animal),
            ),
        ]
    mean = scores.sel(animal=EVERY)
    lines.append(_line(mean, "common", "modulation of the mean balanced accuracy", "phase_null"))
    if np.isfinite(scores["agreement"]):
        parts = {
            "what": "agreement of preferred theta phases",
            "resampled": f"{scores.attrs['interval']}, their spread about the value; animals are not resampled",
            "chance": NEVER_NEGATIVE,
            **_shared_parts(mean),
        }
        saved = mean.rename(agreement="agreement_value")
        lines.append(score_of(saved, RAYLEIGH, RAYLEIGH_DRAWS, parts, prefix="agreement_"))
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw accuracy over two cycles for each animal, modulations with preferred phases, and firing rates."""
    from neuromvm.analysis.figures import theta_phase as figures  # here, so that computing needs no plotting library

    return {"accuracy": figures.accuracy(scores), "modulation": figures.modulation(scores), "rate": figures.rate(scores)}


def _window(recordings: xr.DataTree, samples: xr.DataTree, options: Options) -> tuple[float, float]:
    """Return start and stop of the options, else of the samples, else of the grid [s]."""
    spec = sample_spec(samples)
    grid = recordings.coords["time"]
    half = float(grid.attrs["bin_width"]) / 2
    starts, stops = (options.start, spec.start, float(grid[0]) - half), (options.stop, spec.stop, float(grid[-1]) + half)
    start, stop = (next(time for time in times if time is not None) for times in (starts, stops))
    return start, stop


def _mean(decoded: list[Decoded]) -> Decoded:
    """Average animals, draw by draw."""
    curves = {
        field: np.mean([getattr(animal, field) for animal in decoded], axis=0)
        for field in ("accuracy", "bootstrap", "label_null", "phase_null", "rate")
    }
    chance = float(np.mean([animal.chance for animal in decoded]))
    return Decoded(**curves, chance=chance, tested=sum(animal.tested for animal in decoded))


def _animal_variables(decoded: list[Decoded], scored: list[Decoded], centres: Floats) -> dict[str, Variable]:
    """Return the variables of each animal and of the mean curve; the mean modulation is that over scored animals."""
    rows = [*decoded, _mean(scored)]
    groups = [*([animal] for animal in decoded), scored]
    accuracy = [judged(row.accuracy, row.bootstrap, row.label_null) for row in rows]
    overall = [judged(row.accuracy.mean(), row.bootstrap.mean(axis=1), row.label_null.mean(axis=1)) for row in rows]
    return {
        **_named("accuracy", ("animal", "phase"), accuracy),
        **_named("overall", ("animal",), overall),
        **_named("modulation", ("animal",), [_modulation(group, centres) for group in groups]),
        **_named("preferred", ("animal",), [_preferred(row, centres) for row in rows]),
        "rate": (("animal", "phase"), np.stack([row.rate for row in rows])),
        "chance": (("animal",), np.array([row.chance for row in rows])),
        "trials": (("animal",), np.array([row.tested for row in rows])),
    }


def _pooled_variables(scored: list[Decoded], centres: Floats, seed: int) -> dict[str, Variable]:
    """Return the modulation of the mean curve, and the agreement of the preferred phases of animals."""
    preferred = np.array([float(_preferred(animal, centres)["value"]) for animal in scored])
    null = random_resultants(len(scored), RAYLEIGH_DRAWS, np.random.default_rng(seed))
    value = resultant(preferred) if len(scored) > 1 else np.asarray(np.nan)  # one phase always agrees with itself
    # Resampled phases scatter and agree less, so the spread of the draws is used and their mean is not.
    draws = resultant(np.stack([np.angle(first_harmonic(animal.bootstrap, centres)) for animal in scored], axis=-1))
    agreement = judged(value, np.clip(value + draws - draws.mean(), 0, 1), null)
    return _named("common", (), [_modulation([_mean(scored)], centres)]) | _named("agreement", (), [agreement])


def _modulation(decoded: list[Decoded], centres: Floats) -> dict[str, Floats]:
    """Return the mean modulation over animals; resampled curves are projected on the preferred phase of each animal."""
    harmonics = [first_harmonic(animal.accuracy, centres) for animal in decoded]
    projected = [
        (first_harmonic(animal.bootstrap, centres) * np.exp(-1j * np.angle(harmonic))).real
        for animal, harmonic in zip(decoded, harmonics, strict=True)
    ]
    null = np.mean([np.abs(first_harmonic(animal.phase_null, centres)) for animal in decoded], axis=0)
    return judged(np.asarray(np.mean(np.abs(harmonics))), np.mean(projected, axis=0), null)


def _preferred(decoded: Decoded, centres: Floats) -> dict[str, Floats]:
    """Return the phase of the highest accuracy, from 0 to 2 pi, with its interval, whose ends may lie beyond."""
    angle = np.angle(first_harmonic(decoded.accuracy, centres))
    deviations = np.angle(first_harmonic(decoded.bootstrap, centres) * np.exp(-1j * angle))
    value = np.mod(angle, 2 * np.pi)
    low, high = interval(deviations)
    return {"value": np.asarray(value), "low": value + low, "high": value + high}


def _named(name: str, dims: tuple[str, ...], rows: list[dict[str, Floats]]) -> dict[str, Variable]:
    """Return ``name`` and ``name_low``, ``name_high``, ... from the ``value``, ``low``, ``high``, ... of rows."""
    values = {key: np.stack([row[key] for row in rows]) if dims else np.asarray(rows[0][key]) for key in rows[0]}
    return {name if key == "value" else f"{name}_{key}": (dims, array) for key, array in values.items()}


def _line(animal: xr.Dataset, name: str, title: str, null: str, chance: float | Absent = NEVER_NEGATIVE) -> Score:
    """Return the line of a score of an animal, or of all; ``null`` is the attribute that says how labels were broken."""
    return score_of(
        animal.rename({name: f"{name}_value"}),
        animal.attrs[null],
        int(animal.attrs["permutations"]),
        {"what": title, "resampled": animal.attrs["interval"], "chance": chance, **_shared_parts(animal)},
        prefix=f"{name}_",
    )


def _shared_parts(animal: xr.Dataset) -> dict[str, Any]:
    """Return the parts that all lines of an animal, or of all animals, have in common."""
    name, attrs = str(animal["animal"].item()), animal.attrs
    return {
        "representation": "spikes by theta phase",
        "setting": name,
        "n": Counts(int(attrs["scored_animals"]) if name == EVERY else 1, int(animal["trials"]), 1, int(attrs["splits"])),
        "difference": Absent("spikes themselves are decoded"),
        "in_sample": bool(attrs["in_sample"]),
    }
