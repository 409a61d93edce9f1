"""Growth of time and memory with animals, units, trials and latents: ``python -m benchmarks.scale``.

One axis varies at a time. Each point is a process of its own: it loads arrays of binned spikes, makes samples, trains one epoch
of one model and embeds. The table has processor seconds and peak anonymous memory (not backed by files) minus that before the
point, and exponents by least squares on logarithms. ``--large`` is one point: 200 animals of 500 units and 1,000 trials.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

BASE = {"animals": 8, "units": 64, "trials": 400, "latent": 8, "bins": 5}
LARGE = {"animals": 200, "units": 500, "trials": 1000, "latent": 8, "bins": 10}
WARM = {"animals": 2, "units": 4, "trials": 40}
AXES = {
    "animals": (8, 16, 32, 64, 128, 200),
    "units": (64, 128, 256, 512, 1024, 2048),
    "trials": (400, 800, 1600, 3200, 6400),
    "latent": (8, 16, 32, 64, 128),
}
LINEAR = {"networks": "linear", "scale": "constant"}
MODELS = {
    "mixture": {"sharing": {"kind": "mmvm", "rate": "mixture"}},
    "pairwise": {"sharing": {"kind": "mmvm", "rate": "pairwise"}},
    "mopoe": {"sharing": {"kind": "joint", "aggregation": "mixture_of_products"}},
    "cross": {"sharing": {"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9}, **LINEAR},  # as recommended
}
STAGES = ("load", "samples", "build", "epoch", "embed")
EVERY = 0.002  # [s] between two readings of the memory of a point


def main() -> None:
    """Print a row of the table for every point, then a row of exponents for every axis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axes", nargs="*", default=list(AXES), choices=list(AXES))
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--large", action="store_true", help="200 animals x 500 units x 1,000 trials")
    parser.add_argument("--bins", type=int, help="bins of a window")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        measure(json.loads(arguments.point))
        return
    base = {**(LARGE if arguments.large else BASE), **({"bins": arguments.bins} if arguments.bins else {})}
    axes = {"animals": (base["animals"],)} if arguments.large else {axis: AXES[axis] for axis in arguments.axes}
    print(f"{'model':10}{'axis':>8}{'value':>7}  " + "".join(f"{stage:>17}" for stage in STAGES) + "   [processor s, MiB]")
    for model, axis in itertools.product(arguments.models, axes):
        print_axis(model, axis, axes[axis], base)


def print_axis(model: str, axis: str, values: tuple[int, ...], base: dict[str, int]) -> None:
    """Measure a model at several values of one axis, and print their rows and the exponents."""
    points = np.array([of_point({**base, axis: value}, model) for value in values])
    for value, point in zip(values, points, strict=True):
        cells = "".join(f"{seconds:9.2f}{memory / 2**20:8.0f}" for seconds, memory in point)
        print(f"{model:10}{axis:>8}{value:7d}  {cells}", flush=True)
    if len(values) > 1:
        exponents = [[exponent(values, points[:, stage, column]) for column in (0, 1)] for stage in range(len(STAGES))]
        cells = "".join(f"{seconds:9.2f}{memory:8.2f}" for seconds, memory in exponents)
        print(f"{model:10}{axis:>8}{'^':>7}  {cells}", flush=True)


def exponent(values: tuple[int, ...], measured: NDArray[np.float64]) -> float:
    """Return the slope of a line through the logarithms of values above 0, NaN for fewer than three."""
    positive = measured > 0
    if positive.sum() < 3:
        return float("nan")
    return float(np.polyfit(np.log(np.array(values)[positive]), np.log(measured[positive]), 1)[0])


def of_point(sizes: dict[str, int], model: str) -> list[tuple[float, float]]:
    """Return processor seconds and peak memory [bytes] of every stage, run in a process of its own."""
    with TemporaryDirectory() as folder:
        write_recordings(Path(folder) / "warm", {**sizes, **WARM})
        write_recordings(Path(folder) / "data", sizes)
        command = [sys.executable, "-m", "benchmarks.scale", "--point", json.dumps({**sizes, "model": model, "folder": folder})]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        current, peaks, seconds, ready = "before", {}, {}, 0.0

        def watch() -> None:
            while process.poll() is None:
                peaks[current] = max(peaks.get(current, 0.0), anonymous_memory(process.pid))
                time.sleep(EVERY)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for line in process.stdout:
            name, _, number = line.strip().partition(" ")
            if name == "ready":
                ready = float(number)
            elif number:
                seconds[name], current = float(number), "between"
            else:
                current = name
        watcher.join()
        if process.returncode:
            raise SystemExit(f"{sizes} failed with {process.returncode}")
        return [(seconds[name], peaks.get(name, 0.0) - ready) for name in STAGES]


def anonymous_memory(process: int) -> float:
    """Return the resident anonymous memory of a process [bytes], 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0.0)


def write_recordings(folder: Path, sizes: dict[str, int]) -> None:
    """Write Poisson counts ``(trial, unit, bin)`` of every animal, each unit with rates of its own for five odors."""
    random = np.random.default_rng(0)
    odor = random.integers(1, 6, sizes["trials"])
    rate = 0.4 * np.exp(random.normal(size=(6, sizes["units"])))
    counts = random.poisson(rate[odor][:, :, None], (sizes["trials"], sizes["units"], sizes["bins"])).astype(np.uint8)
    for number in range(sizes["animals"]):
        name = f"a{number:03d}"
        (folder / name).mkdir(parents=True)
        np.save(folder / name / f"{name}_spikes.npy", np.roll(counts, (number // 8, number % 8), axis=(0, 1)))  # draws take long
        np.save(folder / name / f"{name}_trials.npy", odor[:, None] + 0.0)


def measure(point: dict[str, object]) -> None:
    """Load, make samples, train one epoch and embed, and print the beginning and processor seconds of each stage."""
    import xarray as xr

    from neuromvm.data.loaders import load_recordings
    from neuromvm.data.replicas import Replica
    from neuromvm.data.splits import make_splits
    from neuromvm.data.windows import make_samples
    from neuromvm.inference.fitted_stack import FittedStack
    from neuromvm.specs import DataSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec
    from neuromvm.training.batches import StackBatches
    from neuromvm.training.device import choose_device
    from neuromvm.training.fit import batch_settings, fitted_stack, make_trainer
    from neuromvm.training.trainer import StackTrainer

    def recordings(folder: Path) -> xr.DataTree:
        window = (0.0, 0.1 * int(str(point["bins"])))
        activity = {"kind": "binned_spikes", "suffix": "_spikes.npy", "trial_info": "_trials.npy", "columns": ["odor"]}
        data = {
            "name": "scale",
            "files": ["*/*_spikes.npy"],
            "animal": "folder",
            "activity": {**activity, "window": window},
            "grid": {"kind": "time", "window": window, "bin_width": 0.1},
            "trials": {"labels": {"odor": "odor"}},
        }
        return load_recordings(DataSpec.model_validate(data), folder)

    def samples_of(recordings: xr.DataTree) -> tuple[xr.DataTree, xr.DataTree]:
        samples = make_samples(recordings, SampleSpec(label=["odor"], bin_width=0.1))
        return samples, make_splits(samples, SplitSpec())

    def trainer_of(samples: xr.DataTree, splits: xr.DataTree) -> StackTrainer:
        settings = batch_settings(model, training, samples.children)
        batches = StackBatches(samples, splits, settings, [Replica(0, 0)], device=choose_device("cpu"))
        return make_trainer(model, training, batches)

    def fitted_by(trainer: StackTrainer) -> FittedStack:
        for _ in trainer.run():
            pass
        return fitted_stack(model, trainer)

    model = ModelSpec.model_validate({**MODELS[str(point["model"])], "latent": point["latent"]})
    training = TrainingSpec(epochs=1, device="cpu")
    folder = Path(str(point["folder"]))
    warm = samples_of(recordings(folder / "warm"))  # libraries load modules at first use
    fitted_by(trainer_of(*warm)).embed(warm[0])
    print("ready", anonymous_memory(os.getpid()), flush=True)
    with stage("load"):
        loaded = recordings(folder / "data")
    with stage("samples"):
        samples, splits = samples_of(loaded)
        del loaded
    with stage("build"):
        trainer = trainer_of(samples, splits)
    with stage("epoch"):
        fitted = fitted_by(trainer)
        del trainer
    with stage("embed"):
        fitted.embed(samples)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Print the name of a stage when it begins, and its processor seconds when it ends."""
    print(name, flush=True)
    started = time.process_time()
    yield
    seconds = time.process_time() - started
    time.sleep(2 * EVERY)
    print(f"{name} {seconds:.4f}", flush=True)


if __name__ == "__main__":
    main()
