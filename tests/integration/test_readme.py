"""What README shows runs as it stands, on NWB files of the layout it describes; only training is shorter."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data.nwb_files import write_spikes

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder as README's reader has it: NWB files of three animals and my_lab.yaml."""
    folder = tmp_path_factory.mktemp("readme")
    random = np.random.default_rng(0)
    for animal, units in (("one", 9), ("two", 7), ("three", 6)):
        start = 5.0 * np.arange(60)
        odor = random.permutation(np.repeat(list("ABCDE"), 12))
        preferred = random.choice(list("ABCD"), units)
        trains = []
        for unit in range(units):
            rate = np.where(odor == preferred[unit], 12, 3)
            trains.append(
                np.sort(np.concatenate([t + 5 * random.random(random.poisson(5 * r)) for t, r in zip(start, rate, strict=True)]))
            )
        home = folder / "nwb" / f"sub-{animal}"
        home.mkdir(parents=True)
        write_spikes(
            home / f"sub-{animal}.nwb",
            trains=trains,
            trials={"start_time": start, "stop_time": start + 5, "odor_onset_time": start + 1, "odor_id": odor.tolist()},
            columns={"quality": ["good"] * (units - 1) + ["mua"]},
            subject=animal,
        )
    (data,) = blocks("yaml")
    (folder / "my_lab.yaml").write_text(data)
    return folder


def shorten(experiment: Path) -> None:
    """Let an experiment that ``neuromvm new`` has written take less time."""
    text = experiment.read_text()
    for setting, shorter in (("epochs: 200", "epochs: 3"), ("repeats: 5", "repeats: 1"), ("tune: true", "tune: false")):
        assert setting in text
        text = text.replace(setting, shorter)
    experiment.write_text(text)


def test_the_python_screen_runs(lab):
    (script,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", script.replace("epochs=200", "epochs=3")], cwd=lab, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "mcca" in done.stdout


def test_the_commands_run(lab):
    shown = [line.split("#")[0].split() for line in README.splitlines() if line.startswith("neuromvm ")]
    assert len(shown) == 10
    fewer = {
        "few-shot": ["--set", "epochs=3"],
        "refit": ["--n", "3"],
        "sharing": ["--n", "3", "--rows", "class_kernel"],
        "audit": ["--n", "3"],
    }
    for command in shown:
        command += fewer.get(command[1], [])
        done = subprocess.run([sys.executable, "-m", "neuromvm", *command[1:]], cwd=lab, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if command[1] == "new":
            shorten(lab / "experiment.yaml")
    assert (lab / "runs" / "wide" / "report.html").is_file()
