"""The first two steps of every model are those on record; see ``golden/make_losses.py``."""

import json

import numpy as np
import pytest

from tests.core.golden.make_losses import FILE, golden_specs, losses

SPECS = golden_specs()


@pytest.mark.parametrize("name", SPECS)
def test_two_steps_give_the_losses_on_record(name):
    recorded, found = json.loads(FILE.read_text())[name], losses(SPECS[name])
    np.testing.assert_allclose(found["loss"], recorded["loss"], rtol=1e-4)
    np.testing.assert_allclose(found["rate"], recorded["rate"], rtol=1e-3, atol=1e-4)


def test_no_record_is_of_a_model_that_is_gone():
    assert set(json.loads(FILE.read_text())) == set(SPECS)
