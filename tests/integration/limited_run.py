"""Run an experiment in a process that may take little memory: ``python -m tests.integration.limited_run EXPERIMENT OUT [MB]``.

The limit is one of the system, on what no file stands behind, and counts from what imports and a first small training have taken.
"""

import resource
import sys
from pathlib import Path

from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec, load_experiment_spec
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import run_experiment
from tests.conftest import tuned_recordings


def main() -> None:
    """Run it."""
    experiment, out, *limit = sys.argv[1:]
    samples = make_samples(tuned_recordings({"mitt": (6, 24), "stella": (4, 30)}), SampleSpec(label="odor"))
    training = TrainingSpec(epochs=1, device="cpu")
    fit(samples, make_splits(samples, SplitSpec()), ModelSpec(sharing="mmvm"), training, progress=False).embed(samples)
    if limit:
        taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        most = 1024 * int(taken.split()[1]) + 10**6 * int(limit[0])
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    run_experiment(load_experiment_spec(experiment), out, progress=False)


if __name__ == "__main__":
    main()
