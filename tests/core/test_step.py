"""How a step is computed changes how long it takes, not what is learned."""

import numpy as np
import pytest
import torch

from neuromvm.data.batches import Replica, StackBatches
from neuromvm.errors import TrainingError
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.training import StackTrainer
from tests.core.test_stack import EACH, stopping
from tests.core.test_training import MODEL, SAMPLES, SPLITS, trainer_of

MOVING = {"kind": "mmvm", "standard_normal": {"kind": "linear"}}


@pytest.mark.slow
def test_a_compiled_stack_that_replicas_leave_learns_the_same():
    plain, compiled = list(stopping(EACH).run()), list(stopping(EACH, compile=True).run())
    assert [one.stopped for one in compiled] == [one.stopped for one in plain]
    np.testing.assert_allclose([one.loss for one in compiled], [one.loss for one in plain], rtol=1e-3)


def test_what_moves_at_every_step_is_not_compiled():
    with pytest.raises(TrainingError, match=r"standard-normal share that moves \(linear\)"):
        trainer_of([Replica(0, 0)], ModelSpec.model_validate({**MODEL.model_dump(), "sharing": MOVING}), compile=True)


def losses(precision: str, device: str) -> list[float]:
    training = TrainingSpec(epochs=6, batch_size=9, learning_rate=0.01, precision=precision, device=device)
    batches = StackBatches(SAMPLES, SPLITS, MODEL, training, [Replica(0, 0)], device=torch.device(device))
    return [record.loss[0] for record in StackTrainer(MODEL, training, batches).run()]


def test_tf32_is_float32_where_there_is_no_gpu():
    assert losses("tf32", "cpu") == losses("float32", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tf32_changes_losses_by_less_than_a_percent_and_nothing_after_the_training():
    np.testing.assert_allclose(losses("tf32", "cuda"), losses("float32", "cuda"), rtol=0.01)
    assert not torch.backends.cuda.matmul.allow_tf32
