"""Schedules at stated shares of training, through the spec that a user writes."""

import math

import pytest

from neuromvm.build import WindowShape, build_model
from neuromvm.specs import ModelSpec


@pytest.mark.parametrize("until", [1.0, 0.5])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_schedule_arrives_at_until_and_stays(kind, until):
    schedule = {"kind": kind, "start": 0.9, "stop": 0.1, "until": until}
    spec = ModelSpec(sharing={"kind": "mmvm", "standard_normal": schedule})
    share = build_model(spec, {"mitt": WindowShape(1, 2, 0.1)}, seed=0).standard_normal
    quarter = {"linear": 0.25, "cosine": math.sin(math.pi / 8) ** 2}[kind]  # of the way, after a quarter of the time
    travelled = {0.0: 0.0, 0.25: quarter, 0.5: 0.5, 0.75: 1 - quarter, 1.0: 1.0}
    for part, way in travelled.items():
        assert share(until * part) == pytest.approx(0.9 - 0.8 * way)
    assert share((1 + until) / 2) == share(1.0) == pytest.approx(0.1)
