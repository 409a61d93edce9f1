"""Write the run folder that later versions must still load: ``python -m tests.integration.make_run``.

Run it once for each version of the format, into a folder of that version's name; folders of earlier versions stay.
"""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from neuromvm import __version__
from neuromvm.analysis.pipeline import analyze
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.files import read_json, write_json
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow.experiment import run_experiment

FOLDER = Path(__file__).parents[1] / "committed_runs"
CONFIG = SimulationConfig(animals={"mitt": {"units": 6, "trials": 40}, "stella": {"units": 5, "trials": 48}}, silent_share=0)
SPEC = {
    "name": "committed",
    "data": {"spec": "simulated_rats", "root": "data"},
    "samples": {"start": 0.0, "stop": 0.6, "bin_width": 0.3, "label": "odor", "keep": {"odor": ["A", "B", "C"]}},
    "models": {
        "mmvm": {
            "sharing": "mmvm",
            "latent": 3,
            "networks": "linear",
            "likelihood": "poisson",
        },
        "mmvae_plus": {"sharing": "mmvae_plus", "latent": 2, "networks": {"kind": "mlp", "hidden": [5]}},
    },
    "training": {"epochs": 2, "checkpoint_every": 2, "seeds": [0, 1]},
    "analyses": {"decoding": {"canonical_components": 2, "bootstraps": 100, "permutations": 500}},
}


def main() -> None:
    """Run a tiny experiment where no path of this machine is written down, and keep its folder without figures."""
    target = FOLDER / __version__
    with TemporaryDirectory() as workplace:
        os.chdir(workplace)
        write_experiment(Path("data"), CONFIG, seed=0)
        study = run_experiment(ExperimentSpec.model_validate(SPEC), "run", progress=False)
        analyze(study, "decoding")
        shutil.rmtree("run/figures")
        about = read_json(Path("run/provenance.json"))
        write_json(Path("run/provenance.json"), {**about, "command": [], "platform": ""})  # nothing of the machine
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree("run", target, ignore=shutil.ignore_patterns(".*"))


if __name__ == "__main__":
    main()
