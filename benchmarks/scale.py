"""How time and memory grow with animals, units, trials and latents: ``python -m benchmarks.scale``.

One axis at a time, the others small. Each point is a process of its own: it loads arrays of binned spikes, makes samples, trains
one epoch of one model and embeds. Reported are processor seconds, and the most anonymous memory (no file stands behind it) beyond
what was taken before; exponents are fitted by least squares on logarithms. ``--large`` is one point: 200 animals of 500 units and
1,000 trials.
"""

import argparse
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
EVERY = 0.002  # [s] between looks at the memory of a point


def main() -> None:
    """Print a table of every point, then one of exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axes", nargs="*", default=list(AXES), choices=list(AXES))
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--large", action="store_true", help="200 animals x 500 units x 1,000 trials")
    parser.add_argument("--bins", type=int, help="bins of a window")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        measure(json.loads(given.point))
        return
    base = {**(LARGE if given.large else BASE), **({"bins": given.bins} if given.bins else {})}
    axes = {"animals": (base["animals"],)} if given.large else {axis: AXES[axis] for axis in given.axes}
    print(f"{'model':10}{'axis':>8}{'value':>7}  " + "".join(f"{stage:>17}" for stage in STAGES) + "   [processor s, MiB]")
    for model in given.models:
        for axis, values in axes.items():
            points = [of_point({**base, axis: value}, model) for value in values]
            for value, point in zip(values, points, strict=True):
                cells = "".join(f"{seconds:9.2f}{memory / 2**20:8.0f}" for seconds, memory in point.values())
                print(f"{model:10}{axis:>8}{value:7d}  {cells}", flush=True)
            if len(values) > 1:
                grown = [[exponent(values, [point[stage][kind] for point in points]) for kind in (0, 1)] for stage in STAGES]
                cells = "".join(f"{seconds:9.2f}{memory:8.2f}" for seconds, memory in grown)
                print(f"{model:10}{axis:>8}{'^':>7}  {cells}", flush=True)


def exponent(values: tuple[int, ...], measured: list[float]) -> float:
    """Return the slope of a line through logarithms, of what was large enough to be seen."""
    seen = [number for number, one in enumerate(measured) if one > 0]
    if len(seen) < 3:
        return float("nan")
    return float(np.polyfit(np.log(np.take(values, seen)), np.log(np.take(measured, seen)), 1)[0])


def of_point(sizes: dict[str, int], model: str) -> dict[str, tuple[float, float]]:
    """Return processor seconds and peak memory [bytes] of every stage, run in a process of its own."""
    with TemporaryDirectory() as folder:
        write_recordings(Path(folder) / "warm", {**sizes, **WARM})
        write_recordings(Path(folder) / "data", sizes)
        command = [sys.executable, "-m", "benchmarks.scale", "--point", json.dumps({**sizes, "model": model, "folder": folder})]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        stage, peaks, seconds, ready = ["before"], {}, {}, 0.0

        def watch() -> None:
            while process.poll() is None:
                peaks[stage[0]] = max(peaks.get(stage[0], 0.0), anonymous_memory(process.pid))
                time.sleep(EVERY)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for line in process.stdout:
            name, _, spent = line.strip().partition(" ")
            if name == "ready":
                ready = float(spent)
                continue
            stage[0] = name
            if spent:
                seconds[name] = float(spent)
                stage[0] = "between"
        watcher.join()
        if process.returncode:
            raise SystemExit(f"{sizes} failed with {process.returncode}")
        return {name: (seconds[name], peaks.get(name, 0.0) - ready) for name in STAGES}


def anonymous_memory(process: int) -> float:
    """Return the resident memory of a process that no file stands behind [bytes], 0 once it has ended."""
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
    """Load, make samples, train one epoch and embed, and say when each stage begins and what it took."""
    import xarray as xr

    from neuromvm.data.loaders import load_recordings
    from neuromvm.data.replicas import Replica
    from neuromvm.data.splits import make_splits
    from neuromvm.data.windows import make_samples
    from neuromvm.inference.fitted_stack import FittedStack
    from neuromvm.specs import DataSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec
    from neuromvm.training.batches import StackBatches
    from neuromvm.training.device import choose_device
    from neuromvm.training.fit import batch_settings
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
        return StackTrainer(model, training, batches)

    def fitted_by(trainer: StackTrainer) -> FittedStack:
        for _ in trainer.run():
            pass
        return trainer.fitted_stack()

    model = ModelSpec.model_validate({**MODELS[str(point["model"])], "latent": point["latent"]})
    training = TrainingSpec(epochs=1, device="cpu")
    folder = Path(str(point["folder"]))
    warm = samples_of(recordings(folder / "warm"))  # what libraries load when first used is no growth
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
    """Say that a stage begins, and when it ends the processor seconds that it took."""
    print(name, flush=True)
    started = time.process_time()
    yield
    spent = time.process_time() - started
    time.sleep(2 * EVERY)
    print(f"{name} {spent:.4f}", flush=True)


if __name__ == "__main__":
    main()
