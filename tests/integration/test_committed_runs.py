"""Run folders of this and earlier versions open, and their models still give the latents they gave."""

from pathlib import Path

import numpy as np
import pytest

from neuromvm.folders.study import Study
from neuromvm.inference.fitted_stack import FittedStack

RUNS = sorted(path for path in (Path(__file__).parents[1] / "committed_runs").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", RUNS, ids=lambda path: path.name)
def test_a_committed_run_opens_and_embeds_as_it_did(folder):
    study = Study(folder)
    assert study.models
    for model in study.models:
        before, again = study.latents(model), FittedStack.load(study.model_folder(model)).embed(study.samples)
        for name in study.samples.children:
            for variable in ("latent_mean", "latent_scale"):
                np.testing.assert_allclose(again[name][variable].values, before[name][variable].values, rtol=1e-4, atol=1e-5)
        assert study.metrics(model)[-1]["epoch"] == 2
        assert len(study.rate_terms(model)) == len(study.metrics(model)[-1]["rate"][0])
        assert study.agreement(model) is not None
    assert study.scores("decoding")["value"].sizes["representation"] == 6
    assert study.summary["analyses"]["decoding"]["scores"]


def test_there_is_a_committed_run():
    assert RUNS
