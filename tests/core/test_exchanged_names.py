"""Training on data in which the names of conditions are exchanged within animals."""

import numpy as np

from neuromvm.data.correspondence import exchanged, exchanged_splits
from neuromvm.data.replicas import Replica
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import train_stack
from tests.conftest import tuned_recordings, with_trial_label

MODEL = ModelSpec(sharing="mmvm", latent=3, networks={"kind": "linear"}, scale="constant", beta=0.1)
TRAINING = TrainingSpec(epochs=5, learning_rate=0.01)


def unequal_samples():
    random = np.random.default_rng(0)

    def odors(animal):
        return random.permutation(np.resize(list("ABCDEFFF"), animal.sizes["trial"]))

    recordings = tuned_recordings({"mitt": (4, 61), "stella": (3, 50)})
    return make_samples(with_trial_label(recordings, "odor", odors), SampleSpec(label=["odor"]))


def test_a_stack_trains_each_null_data_set_as_if_alone():
    samples = unequal_samples()
    splits = make_splits(samples, SplitSpec(kind="conditions", held_out=2))
    replicas = [Replica(split, 0, exchange=number) for number in (0, 4) for split in range(3)]
    stacked = train_stack(samples, splits, MODEL, TRAINING, replicas, progress=False).embed(samples)
    for number, rows in ((0, slice(0, 3)), (4, slice(3, 6))):
        renamed = exchanged(samples, number)
        divided = exchanged_splits(renamed, splits)
        alone = train_stack(renamed, divided, MODEL, TRAINING, [Replica(split, 0) for split in range(3)], progress=False)
        for name, node in alone.embed(renamed).children.items():
            np.testing.assert_allclose(stacked[name]["latent_mean"][rows], node["latent_mean"], atol=1e-4)
    assert stacked["mitt"]["exchange"].to_numpy().tolist() == [0, 0, 0, 4, 4, 4]
    assert not np.allclose(stacked["mitt"]["latent_mean"][:3], stacked["mitt"]["latent_mean"][3:], atol=0.01)
