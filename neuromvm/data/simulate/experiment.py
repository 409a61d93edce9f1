"""Simulated odor-sequence experiment with known latents: behaviour, spikes, field potential.

Units are Poisson processes of rate ``drive / (1 + DEAD_TIME * drive)`` in steps of 10 ms, with

    drive = baseline_rate * exp(gain * loading . shared_latent + private_loading . private_latent - |private_loading|^2 / 2)

for the gain of the trial. The shared latent is a trajectory for each odor and sequence position that is the same in all animals,
which alignment methods should recover. Gains, loadings, rates and private latents differ between animals. The field potential has
a theta rhythm: with ``theta_coupling`` c, the effect of odors on the log rate is multiplied by 1 + c cos(phase - odor_phase), and
c cos(phase - preferred phase of the unit) is added to the log rate.

With ``codes: half`` or ``private``, half or all of the variance by which odors and positions differ is moved from the shared
latent to a private code: trajectories along other axes, with other loadings, that are drawn for each animal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from scipy.stats import norm

from neuromvm import schema
from neuromvm.data.bins import bin_centres, count_spikes
from neuromvm.data.simulate.codes import AXES, draw_code
from neuromvm.data.simulate.lfp import SimulatedTheta, ornstein_uhlenbeck, poisson_spikes, simulate_theta
from neuromvm.specs.base import Spec
from neuromvm.specs.data import TimeGrid

ODORS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")  # the first of them are used, by default A to E
LATENTS = ("odor_x", "odor_y", "position", "poke")
REGION = "CA1"
ALIGN = "poke_in_time"
STEP = 0.01  # [s] rates are constant within a step; poke-ins are at edges of steps, so that the latents are exact
SAMPLING_RATE = 30_000  # [Hz] of spike times
WINDOW = (-2.0, 2.0)  # [s] around poke-in of the stored latents; responses are shorter
DEAD_TIME = 0.005  # [s] after a spike; limits the rates of log-linear drives

REQUIRED_HOLD = 1.2  # [s] in the port for an item in sequence
LEAD = 6.0  # [s] from the start of the session to the first poke-in
TURN = 1.0  # [rad / s] rotation of the odor plane, which makes the code of an odor a path

THETA_STREAM = 2  # number of the random stream of the field potential, independent of that of the spikes
CODE_STREAM = 3  # of the private code
SHARED = {"shared": 1.0, "half": 0.5, "private": 0.0}  # part of the variance of the code that is the same in all animals

RATE_MEDIAN, RATE_LOG_SCALE, RATE_MAX = 2.5, 1.6, 22.0  # [Hz], [log Hz], [Hz]: active units of CA1 tetrodes


class AnimalSize(Spec):
    """How much is recorded of one animal."""

    units: int = Field(..., ge=1)
    trials: int = Field(..., ge=1)


class SimulationConfig(Spec):
    """Animals and parameters of a simulation. Strengths are standard deviations over units of the log rate at a response peak."""

    animals: dict[Annotated[str, AfterValidator(schema.check_animal_name)], AnimalSize] = Field(
        {
            "barat": AnimalSize(units=92, trials=176),
            "buchanan": AnimalSize(units=79, trials=236),
            "mitt": AnimalSize(units=104, trials=292),
            "stella": AnimalSize(units=49, trials=213),
            "superchris": AnimalSize(units=46, trials=245),
        },
        min_length=1,
    )
    odors: int = Field(5, ge=2, le=len(ODORS), description="In the sequence, and so many positions")
    codes: Literal["shared", "half", "private"] = Field(
        "shared",
        description="Whether the code of odors and positions is the same in all animals, in half of its variance, or unrelated",
    )
    shared_strength: float = Field(0.8, ge=0, description="Of odor; 0: neither odor nor position drives any unit")
    position_share: float = Field(0.4, ge=0, description="Strength of sequence position, as a share of shared_strength")
    poke_strength: float = Field(0.4, ge=0, description="Of the response to the poke, the same on all trials")
    private_strength: float = Field(0.7, ge=0, description="Of private drifts, which do not depend on trials")
    private_timescales: tuple[Annotated[float, Field(gt=STEP)], ...] = Field(
        (0.3, 0.3, 1.0, 60.0), description="Of the private latents [s]"
    )
    gain_spread: float = Field(0.5, ge=0, description="Standard deviation of the gain of trials, whose mean is 1")
    silent_share: float = Field(4 / 46, ge=0, le=1, description="Share of units that never fire")
    out_of_sequence: float = Field(0.13, ge=0, le=1, description="Probability of an item out of sequence, after the first")
    error_in_sequence: float = Field(0.07, ge=0, le=1, description="Probability of withdrawing early in sequence")
    error_out_of_sequence: float = Field(0.25, ge=0, le=1, description="Probability of holding out of sequence")
    theta_coupling: float = Field(0.0, ge=0, le=1, description="How deeply theta modulates odor drive and rates; 0: not at all")
    odor_phase: float = Field(
        np.pi, ge=0, lt=2 * np.pi, description="Theta phase at which odors drive units most [rad], if coupled; pi: the trough"
    )


@dataclass(frozen=True)
class SimulatedAnimal:
    """Observations of one animal: ``spike_times`` of each unit, increasing, and the ``duration`` of the session [s].

    ``trials`` has the columns ``start_time, stop_time, poke_in_time, poke_out_time`` [s], ``odor, position, in_sequence,
    correct``; ``lfp`` is one channel in steps of 1 uV, ``neuromvm.data.simulate.lfp.LFP_RATE`` samples a second from time 0.
    """

    spike_times: list[NDArray[np.float64]]
    trials: pd.DataFrame
    duration: float
    lfp: NDArray[np.int16]


@dataclass(frozen=True)
class Simulation:
    """Observations of all animals and the latents and parameters behind them.

    ``truth`` has a node for each animal: ``shared_latent (trial, time, latent)``, ``private_latent (trial, time, private)``,
    ``gain (trial)``, ``loading (unit, latent)``, ``private_loading (unit, private)``, ``baseline_rate (unit)`` [Hz],
    ``theta_phase (trial, time)`` [rad, 0 at the peak of the field potential], ``theta_preferred (unit)`` [rad], and the labels of
    trials. ``time`` [s] at the root is relative to poke-in. ``odor_code (item, odor_axis)`` and ``position_code (place,
    position_axis)`` are the codes of the animal at poke-in and strength 1; The first two axes of odors and the first
    of positions are the shared ones, others are the animal's own. If ``codes`` is not ``shared``, there are ``private_code_latent
    (trial, time, code)``, the axes of odors before those of positions, and ``private_code_loading (unit, code)``.
    """

    config: SimulationConfig
    seed: int
    animals: Mapping[str, SimulatedAnimal]
    truth: xr.DataTree


class _PrivateCode(NamedTuple):
    """What one animal has of its own: ``odor (odor, axis)``, ``position (place, axis)``, ``loading (unit, axes of both)``."""

    odor: NDArray[np.float64]
    position: NDArray[np.float64]
    loading: NDArray[np.float64]


def simulate(config: SimulationConfig | None = None, seed: int = 0) -> Simulation:
    """Return a simulated experiment, by default five rats with the units and trials of the published recordings.

    The same config and seed give the same spikes. Random numbers of an animal depend on the seed and its name only, so leaving
    out an animal does not change others. A negative seed raises ValueError.

    With ``codes: private`` nothing that distinguishes odors or positions is common to animals, and each is read about as well as
    with ``shared`` codes; with ``half``, squared distances between codes are half those of the shared and half those of a private
    code. Behaviour is the same whatever the codes.

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
        code = _private_code(size.units, config, np.random.default_rng([seed, *name.encode(), CODE_STREAM]))
        theta = simulate_theta(steps * STEP, theta_random)
        # preferred phases cover the cycle evenly, so the population rate does not depend on the phase
        preferred = 2 * np.pi * (theta_random.permutation(size.units) + theta_random.random(size.units)) / size.units
        animals[name], nodes[name] = _record(trials, steps, theta, preferred, config, random, code)
    coords = {"time": _time(TimeGrid(align=ALIGN, window=WINDOW, bin_width=STEP))}
    root = xr.Dataset(coords=coords, attrs={"seed": seed, "config": config.model_dump_json()})
    return Simulation(config, seed, animals, xr.DataTree.from_dict({"/": root, **nodes}))


def shared_trajectory(
    odor: NDArray[np.integer], position: NDArray[np.integer], time: NDArray[np.floating], config: SimulationConfig
) -> NDArray[np.float64]:
    """Return the shared latents ``(trial, time, latent)`` of trials without their gains, in the order of ``LATENTS``.

    ``odor`` and ``position (trial,)`` are 1 to ``config.odors``; ``time (time,)`` is relative to poke-in [s]. Odors are the
    corners of a polygon (a pentagon, by default), so neighbours in the sequence have similar codes. It rotates slowly, opens
    0.1 s after poke-in and closes at 1 s. With ``codes: half`` the latents of odor and position are scaled by the root of 0.5,
    with ``private`` they are 0.
    """
    angle = 2 * np.pi * (odor[:, None] - 1) / config.odors + TURN * time
    scale = float(np.sqrt(SHARED[config.codes]))
    odor_size, position_size = (scale * size for size in _code_sizes(time, config))
    poke_size = config.poke_strength * _pulse(time, start=-0.2, stop=0.6, ramp=0.2)
    position_latent = position_size * _places(config)[position - 1, None]
    poke_latent = np.broadcast_to(poke_size, angle.shape)
    return np.asarray(np.stack([odor_size * np.cos(angle), odor_size * np.sin(angle), position_latent, poke_latent], axis=-1))


def _code_sizes(time: NDArray[np.floating], config: SimulationConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the size of the odor code and of the position code at times after poke-in, each ``(time,)``."""
    odor = config.shared_strength * _pulse(time, start=0.1, stop=1.0, ramp=0.15)
    position = config.shared_strength * config.position_share * _pulse(time, start=0.0, stop=1.2, ramp=0.3)
    return odor, position


def _places(config: SimulationConfig) -> NDArray[np.float64]:
    """Return the shared code of positions ``(place,)``: evenly spaced from -1 to 1."""
    middle = (config.odors + 1) / 2
    return np.asarray((np.arange(1, config.odors + 1) - middle) / (middle - 1), dtype=np.float64)


def recordings_from(simulation: Simulation, window: tuple[float, float] = WINDOW, bin_width: float = STEP) -> xr.DataTree:
    """Return the recordings of a simulation, as :func:`neuromvm.data.loaders.load_recordings` reads them from its files.

    ``window`` is relative to poke-in [s] and must be a positive whole number of bins of ``bin_width`` [s], else ValueError is
    raised. Each animal has ``spike_count (trial, time, unit)``, the labels of trials and their ``onset`` [s].
    """
    grid = TimeGrid(align=ALIGN, window=window, bin_width=bin_width)
    nodes = {}
    for name, animal in simulation.animals.items():
        counts = count_spikes(animal.spike_times, animal.trials[ALIGN].to_numpy(), window[0], bin_width, grid.bins)
        units = len(animal.spike_times)
        coords = {**_trial_coords(animal.trials), "unit": np.arange(units), "region": ("unit", np.full(units, REGION))}
        nodes[name] = xr.Dataset({"spike_count": (("trial", "time", "unit"), counts)}, coords)
    root = xr.Dataset(coords={"time": _time(grid)}, attrs={"schema_version": schema.VERSION})
    return schema.validate_recordings(xr.DataTree.from_dict({"/": root, **nodes}))


def _behaviour(count: int, config: SimulationConfig, random: np.random.Generator) -> pd.DataFrame:
    """Return the first ``count`` trials of a session: runs through the sequence that end with an error or after the last odor."""
    rows = []
    poke_in, position = LEAD, 1
    for _ in range(count):
        odor = position
        if position > 1 and random.random() < config.out_of_sequence:
            odor = int(random.choice([number for number in range(1, config.odors + 1) if number != position]))
        in_sequence = odor == position
        error = random.random() < (config.error_in_sequence if in_sequence else config.error_out_of_sequence)
        if in_sequence != error:  # holding is correct in sequence and wrong out of sequence
            hold = REQUIRED_HOLD + min(random.exponential(0.1), 0.6)
        else:
            hold = random.uniform(0.5, REQUIRED_HOLD - 0.05)
        rows.append((poke_in, poke_in + round(hold, 3), ODORS[odor - 1], position, in_sequence, not error))
        position = 1 if error or position == config.odors else position + 1
        # The rat runs back and forth along the track before a new sequence.
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
    code: _PrivateCode,
) -> tuple[SimulatedAnimal, xr.Dataset]:
    """Draw the parameters and spikes of an animal; return its observations and the truth."""
    units = len(theta_preferred)
    offset = np.arange(round(WINDOW[0] / STEP), round(WINDOW[1] / STEP))
    at = np.rint(trials[ALIGN].to_numpy() / STEP).astype(int)[:, None] + offset  # (trial, time)

    moment = odor_numbers(trials), trials["position"].to_numpy(), (offset + 0.5) * STEP
    shared, private_code = shared_trajectory(*moment, config), _private_trajectory(code, *moment, config)
    # gamma variables of mean 1: low gains are common, gains far above 1 are rare
    spread = config.gain_spread
    gain = random.gamma(1 / spread**2, spread**2, len(trials)) if spread else np.ones(len(trials))
    loading = random.standard_normal((units, len(LATENTS)))
    # Units have evenly spread preferred odors and equal tuning depth, so every animal represents all odors.
    preferred = 2 * np.pi * (random.permutation(units) + random.random(units)) / units
    loading[:, :2] = np.sqrt(2) * np.stack([np.cos(preferred), np.sin(preferred)], axis=1)
    baseline_rate = _baseline_rates(units, config.silent_share, random)
    private = np.empty((steps, len(config.private_timescales)))
    for latent, timescale in enumerate(config.private_timescales):
        private[:, latent] = ornstein_uhlenbeck(steps, STEP, timescale, random)
    private_loading = random.standard_normal((units, private.shape[1])) * config.private_strength
    private_loading /= np.sqrt(max(private.shape[1], 1))

    session_shared = np.zeros((steps, len(LATENTS) + code.loading.shape[1]))
    session_shared[at] = gain[:, None, None] * np.concatenate([shared, private_code], axis=-1)
    phase = theta.phase_at((np.arange(steps) + 0.5) * STEP)
    of_odor = np.r_[0:2, len(LATENTS) : len(LATENTS) + code.odor.shape[1]]
    session_shared[:, of_odor] *= 1 + config.theta_coupling * np.cos(phase - config.odor_phase)[:, None]
    spike_times = []
    for unit in range(units):  # one unit at a time, to save memory
        log_change = session_shared @ np.concatenate([loading[unit], code.loading[unit]]) + private @ private_loading[unit]
        log_change -= 0.5 * np.square(private_loading[unit]).sum()  # drifts do not change the mean rate
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
            **_code_truth(code, private_code, config),
        },
        coords={
            **_trial_coords(trials),
            "unit": np.arange(units),
            "latent": list(LATENTS),
            "item": list(ODORS[: config.odors]),
            "place": np.arange(1, config.odors + 1),
            "timescale": ("private", np.array(config.private_timescales), {"units": "s"}),
        },
    )
    return SimulatedAnimal(spike_times, trials, steps * STEP, theta.lfp), truth


def _private_code(units: int, config: SimulationConfig, random: np.random.Generator) -> _PrivateCode:
    """Draw the private code of an animal, as strong as the shared code but for the part that is shared; without axes if all is.

    Loadings of odor axes have the same norm in all units, as those of the shared plane.
    """
    private = 1 - SHARED[config.codes]
    if not private:
        return _PrivateCode(np.empty((config.odors, 0)), np.empty((config.odors, 0)), np.empty((units, 0)))
    odor = np.sqrt(private) * draw_code(config.odors, random)
    position = np.sqrt(private * np.square(_places(config)).mean()) * draw_code(config.odors, random)
    direction = random.standard_normal((units, AXES))
    direction *= np.sqrt(AXES) / np.linalg.norm(direction, axis=1, keepdims=True)
    return _PrivateCode(odor, position, np.concatenate([direction, random.standard_normal((units, AXES))], axis=1))


def _private_trajectory(
    code: _PrivateCode,
    odor: NDArray[np.integer],
    position: NDArray[np.integer],
    time: NDArray[np.floating],
    config: SimulationConfig,
) -> NDArray[np.float64]:
    """Return the private code of trials ``(trial, time, axis)``; it opens, rotates and closes as the shared one does."""
    odor_size, position_size = _code_sizes(time, config)
    plane = code.odor[:, 0::2] + 1j * code.odor[:, 1::2]
    rotated = plane[odor - 1][:, None] * np.exp(1j * TURN * time)[:, None]
    pairs = np.stack([rotated.real, rotated.imag], axis=-1)
    odor_path = odor_size[:, None] * pairs.reshape(len(odor), len(time), code.odor.shape[1])
    return np.concatenate([odor_path, position_size[:, None] * code.position[position - 1][:, None]], axis=-1)


def _code_truth(code: _PrivateCode, path: NDArray[np.float64], config: SimulationConfig) -> dict[str, Any]:
    """Return the variables of the truth that say how an animal codes odors and positions."""
    scale, angle = np.sqrt(SHARED[config.codes]), 2 * np.pi * np.arange(config.odors) / config.odors
    odor = np.concatenate([scale * np.stack([np.cos(angle), np.sin(angle)], axis=1), code.odor], axis=1)
    position = np.concatenate([scale * _places(config)[:, None], code.position], axis=1)
    truth: dict[str, Any] = {"odor_code": (("item", "odor_axis"), odor), "position_code": (("place", "position_axis"), position)}
    if path.shape[-1]:
        truth["private_code_latent"] = (("trial", "time", "code"), path.astype(np.float32))
        truth["private_code_loading"] = (("unit", "code"), code.loading)
    return truth


def _pulse(time: NDArray[np.floating], start: float, stop: float, ramp: float) -> NDArray[np.float64]:
    """Return a pulse of height 1 from start to stop, with smooth ramps inside, and 0 elsewhere."""
    closeness = np.clip(np.minimum(time - start, stop - time) / ramp, 0, 1)
    return np.asarray(closeness**2 * (3 - 2 * closeness))


def _baseline_rates(units: int, silent_share: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw rates ``(unit,)`` [Hz] from evenly spread quantiles of a truncated lognormal, so that few units are typical too."""
    quantile = (random.permutation(units) + random.random(units)) / units
    quantile *= norm.cdf(np.log(RATE_MAX / RATE_MEDIAN) / RATE_LOG_SCALE)
    rate = RATE_MEDIAN * np.exp(RATE_LOG_SCALE * norm.ppf(quantile))
    rate[random.permutation(units)[: round(silent_share * units)]] = 0
    return np.asarray(rate)


def _time(grid: TimeGrid) -> xr.Variable:
    centres = np.round(bin_centres(grid.window[0], grid.bin_width, grid.bins), 12)
    return xr.Variable("time", centres, {"units": "s", "bin_width": grid.bin_width})


def odor_numbers(trials: pd.DataFrame) -> NDArray[np.integer]:
    """Return the number of the odor of each trial, 1 to 5 ``(trial,)``."""
    return np.array([ODORS.index(odor) + 1 for odor in trials["odor"]])


def _trial_coords(trials: pd.DataFrame) -> dict[str, Any]:
    return {
        "trial": np.arange(len(trials)),
        "onset": ("trial", trials[ALIGN].to_numpy(), {"units": "s"}),
        **{name: ("trial", trials[name].to_numpy(), {"units": "s"}) for name in ("start_time", "stop_time")},
        "odor": ("trial", trials["odor"].to_numpy(dtype=object).astype(str)),
        **{name: ("trial", trials[name].to_numpy()) for name in ("position", "in_sequence", "correct")},
    }
