"""Record the losses of two training steps of every model that has no record: ``python -m tests.core.golden.make_losses``.

Where a model is meant to train differently, delete its record before, and say in the changelog why.
"""

import json
from pathlib import Path

from neuromvm.data.replicas import Replica
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec
from tests.conftest import tuned_recordings
from tests.core.examples import PUBLISHED, SHARING
from tests.core.test_models import specs
from tests.core.test_training import trainer_of

FILE = Path(__file__).with_name("losses.json")
RECORDINGS = tuned_recordings({"mitt": (6, 36), "stella": (4, 48), "barat": (5, 30)})
SAMPLES = make_samples(RECORDINGS, SampleSpec(start=0, bin_width=0.2, label="odor"))
SPLITS = make_splits(SAMPLES, SplitSpec())


def losses(spec: ModelSpec) -> dict[str, list[float]]:
    """Return the loss of the first two steps and the rate after them, of one seed on fixed recordings."""
    trainer = trainer_of([Replica(0, 0)], spec, SAMPLES, SPLITS, epochs=2, batch_size=1000, learning_rate=0.01)
    records = list(trainer.run())
    return {"loss": [record.loss[0] for record in records], "rate": records[-1].rate[0]}


def golden_specs() -> dict[str, ModelSpec]:
    """Return one spec for each way of sharing, on vectors and on paths."""
    return specs(SHARING | PUBLISHED, ("linear", "convolution"), ("gaussian",))


def main() -> None:
    """Add the missing records to the file."""
    records = json.loads(FILE.read_text())
    records |= {name: losses(spec) for name, spec in golden_specs().items() if name not in records}
    FILE.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
