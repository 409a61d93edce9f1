"""A simulated odor-sequence experiment with known truth: behaviour, latents, spikes, field potential.

Each unit ``u`` of an animal is driven by

    drive[u] = baseline_rate[u] * exp(gain[trial] * loading[u] . shared_latent[trial, time]
                                      + private_loading[u] . private_latent[time] - |private_loading[u]|^2 / 2)

in steps of 10 ms and fires as a Poisson process of rate ``drive / (1 + DEAD_TIME * drive)``. The shared latent is one
trajectory for each odor and sequence position, the same in all animals: what a method that aligns animals should find.
Gains, loadings, rates and private latents are each animal's own.

The field potential of :mod:`neuromvm.data.simulate.lfp` has a theta rhythm. With ``theta_coupling`` c, what odors add to the
log rate is multiplied by 1 + c cos(phase - odor_phase), and each unit's log rate has c cos(phase - the unit's own phase) added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.stats import norm

from neuromvm import schema
from neuromvm.data.bins import count_spikes
from neuromvm.data.simulate.lfp import SimulatedTheta, simulate_theta
from neuromvm.data.simulate.processes import ornstein_uhlenbeck, poisson_spikes
from neuromvm.specs.base import Spec
from neuromvm.specs.data import TimeGrid

ODORS = ("A", "B", "C", "D", "E")
LATENTS = ("odor_x", "odor_y", "position", "poke")
REGION = "CA1"
ALIGN = "poke_in_time"
STEP = 0.01  # [s] rates are constant within a step; poke-ins fall on the edges of steps, so the truth is exact
SAMPLING_RATE = 30_000  # [Hz] of spike times
WINDOW = (-2.0, 2.0)  # [s] around poke-in in which the truth is kept; no response lasts longer
DEAD_TIME = 0.005  # [s] after a spike: drives are log-linear, and without it a few bins would have hundreds of spikes

REQUIRED_HOLD = 1.2  # [s] in the port for an item in sequence
LEAD = 6.0  # [s] from the start of the session to the first poke-in
TURN = 1.0  # [rad / s] by which the odor plane turns, so that the code of an odor is a path and not a point

THETA_STREAM = 2  # number of the field potential's stream of randomness: drawing it leaves the spikes as they are

RATE_MEDIAN, RATE_LOG_SCALE, RATE_MAX = 2.5, 1.6, 22.0  # [Hz], [log Hz], [Hz]: active units of CA1 tetrodes


class AnimalSize(Spec):
    """How much is recorded of one animal."""

    units: int = Field(..., ge=1)
    trials: int = Field(..., ge=1)


class SimulationConfig(Spec):
    """The simulated experiment: its animals, and how strongly what drives their units.

    Strengths are standard deviations, over units, of the log rate at the height of a response.
    """

    animals: dict[str, AnimalSize] = Field(
        {
            "barat": AnimalSize(units=92, trials=176),
            "buchanan": AnimalSize(units=79, trials=236),
            "mitt": AnimalSize(units=104, trials=292),
            "stella": AnimalSize(units=49, trials=213),
            "superchris": AnimalSize(units=46, trials=245),
        },
        min_length=1,
    )
    shared_strength: float = Field(0.8, ge=0, description="Of odor; 0: neither odor nor position drives any unit")
    position_share: float = Field(0.4, ge=0, description="Strength of sequence position, as a share of shared_strength")
    poke_strength: float = Field(0.4, ge=0, description="Of the response to the poke, the same on all trials")
    private_strength: float = Field(0.7, ge=0, description="Of the animal's own drifts, which know no trials")
    private_timescales: tuple[float, ...] = Field((0.3, 0.3, 1.0, 60.0), description="One private latent each [s]")
    gain_spread: float = Field(0.5, ge=0, description="Standard deviation of the gain of trials, whose mean is 1")
    silent_share: float = Field(4 / 46, ge=0, le=1, description="Share of units that never fire")
    out_of_sequence: float = Field(0.13, ge=0, le=1, description="Probability of an item out of sequence, after the first")
    error_in_sequence: float = Field(0.07, ge=0, le=1, description="Probability of withdrawing early in sequence")
    error_out_of_sequence: float = Field(0.25, ge=0, le=1, description="Probability of holding out of sequence")
    theta_coupling: float = Field(0.0, ge=0, le=1, description="How deeply theta modulates odor drive and rates; 0: not at all")
    odor_phase: float = Field(
        np.pi, ge=0, lt=2 * np.pi, description="Theta phase at which odors drive units most [rad], if coupled; pi: the trough"
    )

    @field_validator("animals")
    @classmethod
    def _names(cls, animals: dict[str, AnimalSize]) -> dict[str, AnimalSize]:
        for name in animals:
            schema.check_animal_name(name)
        return animals

    @field_validator("private_timescales")
    @classmethod
    def _positive(cls, timescales: tuple[float, ...]) -> tuple[float, ...]:
        if any(timescale <= STEP for timescale in timescales):
            raise ValueError(f"timescales must exceed the step of {STEP} s")
        return timescales


@dataclass(frozen=True)
class SimulatedAnimal:
    """Observations of one animal: what a file holds.

    Attributes
    ----------
    spike_times
        One increasing array a unit, on the clock of the session [s].
    trials
        Columns ``start_time, stop_time, poke_in_time, poke_out_time`` [s], ``odor, position, in_sequence, correct``.
    duration
        Of the session [s].
    lfp
        One channel in steps of 1 uV, ``neuromvm.data.simulate.lfp.LFP_RATE`` samples a second from time 0.
    """

    spike_times: list[NDArray[np.float64]]
    trials: pd.DataFrame
    duration: float
    lfp: NDArray[np.int16]


@dataclass(frozen=True)
class Simulation:
    """Observations of all animals and the truth behind them.

    Attributes
    ----------
    truth
        A node an animal: ``shared_latent (trial, time, latent)``, ``private_latent (trial, time, private)``,
        ``gain (trial)``, ``loading (unit, latent)``, ``private_loading (unit, private)``,
        ``baseline_rate (unit)`` [Hz], ``theta_phase (trial, time)`` [rad, 0 at the peak of the field potential],
        ``theta_preferred (unit)`` [rad], and the labels of trials. ``time`` [s] at the root is relative to poke-in.
    """

    config: SimulationConfig
    seed: int
    animals: Mapping[str, SimulatedAnimal]
    truth: xr.DataTree


def simulate(config: SimulationConfig | None = None, seed: int = 0) -> Simulation:
    """Return a simulated experiment; the same config and seed give the same spikes.

    An animal's draws depend on the seed and its name only, so leaving out one animal does not change another.

    Parameters
    ----------
    config
        Default: five rats with the units and trials of the published recordings.
    seed
        Not negative.

    Raises
    ------
    ValueError
        If the seed is negative.

    Examples
    --------
    >>> config = SimulationConfig(animals={"one": {"units": 5, "trials": 20}, "two": {"units": 8, "trials": 30}})
    >>> simulation = simulate(config, seed=1)
    >>> len(simulation.animals["two"].spike_times), len(simulation.animals["two"].trials)
    (8, 30)
    >>> dict(simulation.truth["two"]["shared_latent"].sizes)
    {'trial': 30, 'time': 400, 'latent': 4}
    """
    config = config if config is not None else SimulationConfig()
    animals, nodes = {}, {}
    for name, size in config.animals.items():
        random = np.random.default_rng([seed, *name.encode()])
        trials = _behaviour(size.trials, config, random)
        steps = round((trials[ALIGN].iloc[-1] + LEAD) / STEP)
        theta_random = np.random.default_rng([seed, *name.encode(), THETA_STREAM])
        theta = simulate_theta(steps * STEP, theta_random)
        # spread evenly over the cycle, so that the population fires alike at all phases
        preferred = 2 * np.pi * (theta_random.permutation(size.units) + theta_random.random(size.units)) / size.units
        animals[name], nodes[name] = _record(trials, steps, theta, preferred, config, random)
    root = xr.Dataset(
        coords={"time": _time(TimeGrid(align=ALIGN, window=WINDOW, bin_width=STEP))},
        attrs={"seed": seed, "config": config.model_dump_json()},
    )
    return Simulation(config, seed, animals, xr.DataTree.from_dict({"/": root, **nodes}))


def shared_trajectory(
    odor: NDArray[np.integer], position: NDArray[np.integer], time: NDArray[np.floating], config: SimulationConfig
) -> NDArray[np.float64]:
    """Return the shared latent of trials, before their gain.

    Odors lie at the corners of a pentagon, so that odors next to each other in the sequence are alike. The pentagon
    turns slowly; it opens 0.1 s after poke-in and closes at 1 s. Nothing about the trial is known before poke-in.

    Parameters
    ----------
    odor, position
        Of each trial, 1 to 5, ``(trial,)``.
    time
        Relative to poke-in [s], ``(time,)``.
    config
        Strengths.

    Returns
    -------
    numpy.ndarray
        ``(trial, time, latent)``, latents in the order of ``LATENTS``.

    Examples
    --------
    >>> path = shared_trajectory(np.array([1, 2]), np.array([1, 2]), np.array([-1.0, 0.5]), SimulationConfig())
    >>> path.shape, bool((path[:, 0, :3] == 0).all())
    ((2, 2, 4), True)
    """
    angle = 2 * np.pi * (odor[:, None] - 1) / len(ODORS) + TURN * time
    odor_size = config.shared_strength * _pulse(time, start=0.1, stop=1.0, ramp=0.15)
    position_size = config.shared_strength * config.position_share * _pulse(time, start=0.0, stop=1.2, ramp=0.3)
    poke_size = config.poke_strength * _pulse(time, start=-0.2, stop=0.6, ramp=0.2)
    centred_position = (position[:, None] - 3) / 2
    return np.stack(
        [
            odor_size * np.cos(angle),
            odor_size * np.sin(angle),
            position_size * centred_position,
            np.broadcast_to(poke_size, angle.shape),
        ],
        axis=-1,
    )


def recordings_from(simulation: Simulation, window: tuple[float, float] = WINDOW, bin_width: float = STEP) -> xr.DataTree:
    """Return the recordings tree of a simulation without writing files.

    Parameters
    ----------
    simulation
        From :func:`simulate`.
    window
        From, to relative to poke-in [s].
    bin_width
        [s]

    Returns
    -------
    xarray.DataTree
        ``spike_count (trial, time, unit)`` for each animal, with the labels of trials and their ``onset`` [s]; what
        :func:`neuromvm.data.loaders.load_recordings` reads from the files of the same simulation.

    Raises
    ------
    ValueError
        If the window is not a positive whole number of bins.

    Examples
    --------
    >>> config = SimulationConfig(animals={"one": {"units": 5, "trials": 20}})
    >>> recordings_from(simulate(config), window=(0.0, 0.5), bin_width=0.1)["one"]["spike_count"].shape
    (20, 5, 5)
    """
    grid = TimeGrid(align=ALIGN, window=window, bin_width=bin_width)
    nodes = {}
    for name, animal in simulation.animals.items():
        onset = animal.trials[ALIGN].to_numpy()
        counts = count_spikes(animal.spike_times, onset, window[0], bin_width, grid.bins)
        units = len(animal.spike_times)
        nodes[name] = xr.Dataset(
            {"spike_count": (("trial", "time", "unit"), counts)},
            coords={
                **_trial_coords(animal.trials),
                "unit": np.arange(units),
                "region": ("unit", np.full(units, REGION)),
            },
        )
    root = xr.Dataset(coords={"time": _time(grid)}, attrs={"schema_version": schema.VERSION})
    return schema.validate_recordings(xr.DataTree.from_dict({"/": root, **nodes}))


def _behaviour(count: int, config: SimulationConfig, random: np.random.Generator) -> pd.DataFrame:
    """Draw the first ``count`` trials of a session: runs through the sequence, each ended by an error or after E."""
    rows = []
    poke_in, position = LEAD, 1
    for _ in range(count):
        odor = position
        if position > 1 and random.random() < config.out_of_sequence:
            odor = int(random.choice([other for other in range(1, len(ODORS) + 1) if other != position]))
        in_sequence = odor == position
        error = random.random() < (config.error_in_sequence if in_sequence else config.error_out_of_sequence)
        if in_sequence != error:  # holding is right in sequence and wrong out of it
            hold = REQUIRED_HOLD + min(random.exponential(0.1), 0.6)
        else:
            hold = random.uniform(0.5, REQUIRED_HOLD - 0.05)
        rows.append((poke_in, poke_in + round(hold, 3), ODORS[odor - 1], position, in_sequence, not error))
        position = 1 if error or position == len(ODORS) else position + 1
        # The rat runs to the other end of the track before a new sequence.
        poke_in = round(poke_in + 5.5 + random.uniform(0, 2) + (5 if position == 1 else 0), 2)
    trials = pd.DataFrame(rows, columns=["poke_in_time", "poke_out_time", "odor", "position", "in_sequence", "correct"])
    trials.insert(0, "start_time", trials["poke_in_time"] - 2)
    trials.insert(1, "stop_time", trials["poke_out_time"] + 1)
    return trials


def _record(
    trials: pd.DataFrame,
    steps: int,
    theta: SimulatedTheta,
    theta_preferred: NDArray[np.float64],
    config: SimulationConfig,
    random: np.random.Generator,
) -> tuple[SimulatedAnimal, xr.Dataset]:
    """Draw what is the animal's own and its spikes; return these and the truth."""
    units = len(theta_preferred)
    offset = np.arange(round(WINDOW[0] / STEP), round(WINDOW[1] / STEP))
    at = np.rint(trials[ALIGN].to_numpy() / STEP).astype(int)[:, None] + offset  # (trial, time)

    shared = shared_trajectory(_odor_number(trials), trials["position"].to_numpy(), (offset + 0.5) * STEP, config)
    gain = _gains(len(trials), config.gain_spread, random)
    loading = random.standard_normal((units, len(LATENTS)))
    # Preferred odors are spread evenly over the units and equally deep, so that no animal is blind to an odor.
    preferred = 2 * np.pi * (random.permutation(units) + random.random(units)) / units
    loading[:, :2] = np.sqrt(2) * np.stack([np.cos(preferred), np.sin(preferred)], axis=1)
    baseline_rate = _baseline_rates(units, config.silent_share, random)
    private = np.empty((steps, len(config.private_timescales)))
    for column, timescale in enumerate(config.private_timescales):
        private[:, column] = ornstein_uhlenbeck(steps, STEP, timescale, random)
    private_loading = random.standard_normal((units, private.shape[1])) * config.private_strength
    private_loading /= np.sqrt(max(private.shape[1], 1))

    session_shared = np.zeros((steps, len(LATENTS)))
    session_shared[at] = gain[:, None, None] * shared
    phase = theta.phase_at((np.arange(steps) + 0.5) * STEP)
    session_shared[:, :2] *= 1 + config.theta_coupling * np.cos(phase - config.odor_phase)[:, None]
    spike_times = []
    for unit in range(units):  # one unit at a time: all at once would need steps x units rates
        log_change = session_shared @ loading[unit] + private @ private_loading[unit]
        log_change -= 0.5 * np.square(private_loading[unit]).sum()  # drifts leave the mean rate as it is
        log_change += config.theta_coupling * np.cos(phase - theta_preferred[unit])
        drive = baseline_rate[unit] * np.exp(log_change)
        spike_times.append(poisson_spikes(drive / (1 + DEAD_TIME * drive), STEP, SAMPLING_RATE, random))

    truth = xr.Dataset(
        {
            "shared_latent": (("trial", "time", "latent"), shared.astype(np.float32)),
            "private_latent": (("trial", "time", "private"), private[at].astype(np.float32)),
            "gain": ("trial", gain),
            "loading": (("unit", "latent"), loading),
            "private_loading": (("unit", "private"), private_loading),
            "baseline_rate": ("unit", baseline_rate, {"units": "Hz"}),
            "theta_phase": (("trial", "time"), phase[at].astype(np.float32), {"units": "rad"}),
            "theta_preferred": ("unit", theta_preferred, {"units": "rad"}),
        },
        coords={
            **_trial_coords(trials),
            "unit": np.arange(units),
            "latent": list(LATENTS),
            "timescale": ("private", np.array(config.private_timescales), {"units": "s"}),
        },
    )
    return SimulatedAnimal(spike_times, trials, steps * STEP, theta.lfp), truth


def _pulse(time: NDArray[np.floating], start: float, stop: float, ramp: float) -> NDArray[np.float64]:
    """Return 0 before start and after stop, 1 between, with smooth ramps inside."""
    closeness = np.clip(np.minimum(time - start, stop - time) / ramp, 0, 1)
    return np.asarray(closeness**2 * (3 - 2 * closeness))


def _gains(trials: int, spread: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw gamma variables of mean 1: lapses are common, a gain far above 1 would let single trials burst."""
    if spread == 0:
        return np.ones(trials)
    return np.asarray(random.gamma(1 / spread**2, spread**2, trials))


def _baseline_rates(units: int, silent_share: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw rates [Hz] evenly over the quantiles of a truncated lognormal, so that small animals are typical too."""
    quantile = (random.permutation(units) + random.random(units)) / units
    quantile *= norm.cdf(np.log(RATE_MAX / RATE_MEDIAN) / RATE_LOG_SCALE)
    rate = RATE_MEDIAN * np.exp(RATE_LOG_SCALE * norm.ppf(quantile))
    rate[random.permutation(units)[: round(silent_share * units)]] = 0
    return np.asarray(rate)


def _time(grid: TimeGrid) -> xr.Variable:
    """Return the centres of bins."""
    centres = np.round(grid.window[0] + grid.bin_width * (np.arange(grid.bins) + 0.5), 12)
    return xr.Variable("time", centres, {"units": "s", "bin_width": grid.bin_width})


def _odor_number(trials: pd.DataFrame) -> NDArray[np.integer]:
    return np.array([ODORS.index(odor) + 1 for odor in trials["odor"]])


def _trial_coords(trials: pd.DataFrame) -> dict[str, Any]:
    return {
        "trial": np.arange(len(trials)),
        "onset": ("trial", trials[ALIGN].to_numpy(), {"units": "s"}),
        **{name: ("trial", trials[name].to_numpy(), {"units": "s"}) for name in ("start_time", "stop_time")},
        "odor": ("trial", trials["odor"].to_numpy(dtype=object).astype(str)),
        "position": ("trial", trials["position"].to_numpy()),
        "in_sequence": ("trial", trials["in_sequence"].to_numpy()),
        "correct": ("trial", trials["correct"].to_numpy()),
    }
