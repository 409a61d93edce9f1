"""Commands killed at random moments, several times in a row, or stopped by a full disk, end with the same bytes as others."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.specs import load_experiment_spec, to_yaml
from neuromvm.specs.experiment import SharingSpec
from tests.integration.command_process import command

pytestmark = pytest.mark.slow
LONGEST = 900  # [s] of a command
MOST_IN_A_ROW = 5  # kills of a command before it may end
MODEL = {"sharing": {"kind": "mmvm", "cross_reconstruction": 0.5}, "latent": 2, "dropout": 0.3, "networks": "linear"}
EXPERIMENT: dict[str, Any] = {
    "name": "killed",
    "data": {"spec": "simulated_rats", "root": "data", "animals": ["mitt", "stella"]},
    "samples": {"start": 0.1, "stop": 0.35, "label": ["odor"], "keep": {"odor": ["A", "B", "C", "D"]}},
    "split": {"kind": "halves", "validation": 0.25},
    "models": {"mmvm": MODEL},
    "training": {"epochs": 30, "batch_size": 32, "patience": 25, "checkpoint_every": 3, "device": "cpu"},
}
DECODING = {"baselines": ["raw"], "reference": "raw", "permutations": 500, "bootstraps": 100}
ANALYSES = {"decoding": DECODING, "latent_scatter": {}, "attribution": {}}
# The spec of the run on which refit, few-shot and sharing work; it has no scores yet.
TRAINED: dict[str, Any] = {
    **EXPERIMENT,
    "data": {"spec": "simulated_rats", "root": "data"},
    "training": {**EXPERIMENT["training"], "epochs": 8, "patience": None},
}
SCORED = {  # how it is scored
    "analyses": {"decoding": {**DECODING, "canonical_components": 2}},
    "sharing": SharingSpec(split={"kind": "conditions", "held_out": 2}, rows=["class_kernel"], few_labels=[]),
}
SWEEP = {"name": "betas", "experiment": {**TRAINED, "analyses": {"decoding": DECODING}}, "grid": {"models.mmvm.beta": [0.1, 1.0]}}


class Command(NamedTuple):
    """A command, how it is repeated after an interruption, and the folder that it fills; ``start`` is copied there first."""

    arguments: list[str]
    again: list[str]
    out: str
    kills: int
    start: str | None = None


RUN = ["run", "killed.yaml", "--out", "run"]
SWEEP_COMMAND = ["sweep", "betas.yaml", "--out", "sweep"]
REFIT = ["refit", "study", "--n", "2", "--null", "both", "--rows", "mmvm,raw"]
FEW_SHOT = ["few-shot", "study", "--animals", "mitt,stella", "--trials", "1,all", "--set", "epochs=5"]
SHARING = ["sharing", "study", "--n", "4"]
COMMANDS = {
    "run": Command(RUN, [*RUN, "--resume"], "run", kills=20),
    "sweep": Command(SWEEP_COMMAND, SWEEP_COMMAND, "sweep", kills=5),
    "refit": Command(REFIT, REFIT, "study", kills=5, start="trained"),
    "few-shot": Command(FEW_SHOT, FEW_SHOT, "study", kills=5, start="trained"),
    "sharing": Command(SHARING, SHARING, "study", kills=5, start="trained"),
}


class Undisturbed(NamedTuple):
    """What a command writes if nothing happens to it, and how long it takes [s]."""

    folder: Path
    seconds: float


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with NWB files of three small rats, the specs, and a trained run without scores."""
    folder = tmp_path_factory.mktemp("kills")
    sizes = {"mitt": {"units": 6, "trials": 60}, "stella": {"units": 5, "trials": 50}, "barat": {"units": 5, "trials": 50}}
    write_experiment(folder / "data", SimulationConfig(animals=sizes), seed=1)
    for name, spec in (("killed", {**EXPERIMENT, "analyses": ANALYSES}), ("trained", TRAINED), ("betas", SWEEP)):
        (folder / f"{name}.yaml").write_text(json.dumps(spec))
    complete(folder, ["run", "trained.yaml", "--out", "trained"])
    written = folder / "trained" / "spec.yaml"
    written.write_text(to_yaml(load_experiment_spec(written).model_copy(update=SCORED)))
    return folder


@pytest.fixture(scope="module")
def undisturbed(lab) -> Iterator[dict[str, Undisturbed]]:
    """What commands have written undisturbed, by their name; filled by :func:`reference`."""
    return {}


def reference(lab: Path, name: str, undisturbed: dict[str, Undisturbed]) -> Undisturbed:
    """Return what a command writes undisturbed; it is called once for each command."""
    if name not in undisturbed:
        begin(lab, COMMANDS[name])
        started = time.monotonic()
        complete(lab, COMMANDS[name].arguments)
        folder = (lab / COMMANDS[name].out).rename(lab / f"undisturbed-{name}")
        undisturbed[name] = Undisturbed(folder, time.monotonic() - started)
    return undisturbed[name]


def begin(lab: Path, killed: Command) -> None:
    """Make the folder of a command as it is before the command."""
    shutil.rmtree(lab / killed.out, ignore_errors=True)
    if killed.start is not None:
        shutil.copytree(lab / killed.start, lab / killed.out)


def complete(lab: Path, arguments: list[str]) -> None:
    """Let a command come to its end."""
    process = command(arguments, lab)
    process.start()
    process.join(LONGEST)
    assert process.exitcode == 0, f"{arguments}: exit code {process.exitcode}\n{(lab / 'output.txt').read_text()}"


def killed_after(lab: Path, arguments: list[str], seconds: float) -> bool:
    """Start a command, and kill it after some seconds; return False if it ended before."""
    process = command(arguments, lab)
    process.start()
    process.join(seconds)
    was_at_work = process.exitcode is None
    process.kill()
    process.join()
    assert was_at_work or process.exitcode == 0, (lab / "output.txt").read_text()
    return was_at_work


def comparable(file: Path) -> bytes:
    """Return the content of a file without what the clock, the command line and interruptions are allowed to change.

    These are the seconds of epochs and cells, and in the provenance of a run, which its report repeats, when it was made, by
    which command, and when it was resumed.
    """
    content = file.read_bytes()
    if file.name == "report.html":
        content = re.sub(rb"( of \d+ epochs), [\d.e-]+ s;", rb"\1;", content)
        content = re.sub(rb"(with what the run was made\.) \d+ rows", rb"\1", content)  # one more after an interruption
        content = re.sub(rb'<tr>\s*<th scope="row">(created|command|resumed)</th>\s*<td[^>]*>[^<]*</td>\s*</tr>\s*', b"", content)
    if file.name == "metrics.jsonl":
        return json.dumps([{**json.loads(line), "seconds": 0} for line in content.splitlines()]).encode()
    if file.name == "DONE":
        return json.dumps({**json.loads(content), "seconds": 0}).encode()
    if file.name == "provenance.json":
        changing = {"created", "command", "resumed"}
        return json.dumps({key: value for key, value in json.loads(content).items() if key not in changing}).encode()
    return content


def differences(expected: Path, found: Path) -> list[str]:
    """Return the files that only one of two folders has, or whose content differs; locks and logs are left out."""
    files = [
        {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "log.txt")}
        for folder in (expected, found)
    ]
    lines = [f"{file}: only in the undisturbed folder" for file in files[0] - files[1]]
    lines += [f"{file}: only in the killed folder" for file in files[1] - files[0]]
    both = files[0] & files[1]
    return sorted(lines + [f"{file}: other content" for file in both if comparable(expected / file) != comparable(found / file)])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_at_random_moments_ends_with_the_same_bytes(lab, undisturbed, name):
    killed, (expected, seconds) = COMMANDS[name], reference(lab, name, undisturbed)
    random = np.random.default_rng(list(name.encode()))
    kills = 0
    while kills < killed.kills:
        begin(lab, killed)
        arguments, moments = killed.arguments, []
        for _ in range(min(int(random.integers(1, MOST_IN_A_ROW + 1)), killed.kills - kills)):
            moment = random.uniform(0, seconds)
            if not killed_after(lab, arguments, moment):
                break
            moments.append(round(moment, 2))
            # Before its first file there is no run to resume.
            arguments = killed.again if (lab / killed.out / "spec.yaml").is_file() else killed.arguments
        complete(lab, arguments)
        kills += len(moments)
        print(f"{name}: killed after {moments} of {seconds:.1f} s")
        assert not differences(expected, lab / killed.out), f"killed after {moments} of {seconds:.2f} s"


def test_a_run_ended_by_a_full_disk_goes_on_to_the_same_bytes(lab, undisturbed):
    expected, killed = reference(lab, "run", undisturbed).folder, COMMANDS["run"]
    begin(lab, killed)
    arguments = killed.arguments
    parts = ("recordings.nc", "models/mmvm/latents.nc", "scores/decoding.nc", "figures/decoding-transfer.png", "report.html")
    for largest_file in sorted((expected / part).stat().st_size - 1 for part in parts):
        process = command(arguments, lab, largest_file)
        process.start()
        process.join(LONGEST)
        said = (lab / "output.txt").read_text()
        assert process.exitcode == 2, said
        assert "RunFolderError" in said
        assert "not written (File too large)" in said
        assert not list((lab / "run").rglob("*.tmp"))
        arguments = killed.again
    complete(lab, arguments)
    assert not differences(expected, lab / "run")
