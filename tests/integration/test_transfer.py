"""Activity generated across animals, against the numbers of linear networks, and in a run folder."""

import numpy as np
import pytest
import torch
from neuromvm.inference.traversal import traverse

from neuromvm.analysis.pipeline import analyze
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study
from neuromvm.inference.imputation import impute
from neuromvm.inference.transfer import first_of_each_split, impute_each, transfer
from neuromvm.likelihoods import LIKELIHOODS
from neuromvm.schema import Part
from neuromvm.specs import ExperimentSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import run_experiment
from tests.core.examples import SHARING, recordings_of

BINS, LATENT = 4, 3
UNITS = {"mitt": 8, "stella": 6}


def fitted_with(sharing="mmvm", seeds=(0,), support="counts", **settings):
    recordings = recordings_of(support, {"mitt": (8, 40), "stella": (6, 36)})
    samples = make_samples(recordings, SampleSpec(label=["odor"], bin_width=0.5 if support == "counts" else 0.1))
    splits = make_splits(samples, SplitSpec(repeats=2))
    model = ModelSpec(sharing=sharing, latent=LATENT, networks="linear", beta=0.01, **settings)
    return fit(samples, splits, model, TrainingSpec(epochs=8, seeds=list(seeds)), progress=False), samples, splits


def by_hand(fitted, samples, source, target, replica, private=()):
    """Return the target's activity ``(trial, bin, unit)`` decoded from the means of the source, by numpy."""
    weight = {key: value[replica].double().numpy() for key, value in fitted.weights.items()}
    seen = fitted.scaled(samples, source, replica)[:, 0].double().numpy()
    mean = seen @ weight[f"encoders.{source}.mean.weight"].T + weight[f"encoders.{source}.mean.bias"]
    if source != target:
        mean[:, list(private)] = 0
    raw = mean @ weight[f"decoders.{target}.1.weight"].T + weight[f"decoders.{target}.1.bias"]
    scaler = fitted.scalers[target][replica]
    return (raw * scaler.spread + scaler.center).reshape(len(seen), BINS, UNITS[target])


@pytest.mark.parametrize("sharing", SHARING.values(), ids=SHARING)
def test_every_way_of_sharing_decodes_the_mean_of_the_source_alone(sharing):
    fitted, samples, splits = fitted_with(sharing)
    tree = transfer(fitted, samples, splits)
    private = range(LATENT, fitted.member(0).latent)
    for source in UNITS:
        for target in UNITS:
            node = tree[source][target]
            assert node.attrs["kind"] == "transformed activity (sqrt)"
            assert node["activity"].dtype == np.float32
            for split in range(2):
                tested = splits[source]["part"].values[split] == Part.TEST
                rows = tree[source]["split"].values == split
                expected = by_hand(fitted, samples, source, target, split, private)[tested]
                np.testing.assert_allclose(node["activity"].values[rows, 0], expected, rtol=1e-3, atol=1e-4)
                assert tree[source]["trial"].values[rows].tolist() == samples[source]["trial"].values[tested].tolist()
                assert tree[source]["label"].values[rows, 0].tolist() == samples[source]["label"].values[tested, 0].tolist()


def test_the_first_seed_of_each_split_is_taken():
    fitted, samples, splits = fitted_with(seeds=(3, 1))
    first = first_of_each_split(fitted)
    assert [(one.split, one.seed) for one in first.replicas] == [(0, 3), (1, 3)]
    place = next(number for number, one in enumerate(fitted.replicas) if (one.split, one.seed) == (1, 3))
    tree = transfer(fitted, samples, splits)
    tested = splits["mitt"]["part"].values[1] == Part.TEST
    rows = tree["mitt"]["split"].values == 1
    expected = by_hand(fitted, samples, "mitt", "stella", place)[tested]
    np.testing.assert_allclose(tree["mitt"]["stella"]["activity"].values[rows, 0], expected, rtol=1e-3, atol=1e-4)


def test_counts_are_counts_and_draws_have_their_mean():
    fitted, samples, splits = fitted_with("autoencoder", likelihood="poisson")  # without noise in the latent
    tree = transfer(fitted, samples, splits)
    node = tree["mitt"]["mitt"]
    assert node.attrs["kind"] == "count"
    assert "drawn" not in tree["mitt"]["stella"]
    drawn, expected = node["drawn"].values, node["activity"].values
    assert (drawn == np.round(drawn)).all()
    error = np.sqrt(expected.sum())  # of the sum of Poisson counts
    assert abs(drawn.sum() - expected.sum()) < 4 * error
    assert torch.equal(
        torch.from_numpy(drawn), torch.from_numpy(transfer(fitted, samples, splits)["mitt"]["mitt"]["drawn"].values)
    )


# Support -> kind of transferred and imputed activity, unit of traversed activity, smallest and largest value.
LABELS = {
    "counts": ("count", "Hz", 0, np.inf),
    "binary": ("probability", "probability", 0, 1),
    "positive": ("activity as recorded", "uV^2", 0, np.inf),
    "real": ("transformed activity (sqrt)", "square root of spikes a bin", -np.inf, np.inf),
}


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_decoded_activity_is_labelled_by_the_support_of_its_likelihood(kind):
    support = LIKELIHOODS[kind].support
    label, unit, smallest, largest = LABELS[support]
    fitted, samples, splits = fitted_with(support=support, likelihood=kind)
    tree = transfer(fitted, samples, splits)
    assert tree["mitt"]["stella"].attrs["kind"] == label
    assert impute(fitted, samples, splits, "stella", draws=5).attrs["kind"] == label
    assert traverse(fitted, samples, splits)["stella"]["activity"].attrs["units"] == unit
    values = tree["mitt"]["stella"]["activity"].values
    assert ((values >= smallest) & (values <= largest)).all()
    assert ("drawn" in tree["mitt"]["mitt"]) == (support != "real")


def test_imputed_is_what_impute_returns():
    fitted, samples, splits = fitted_with()
    tree = impute_each(fitted, samples, splits)
    expected = impute(fitted, samples, splits, "stella", draws=100)
    np.testing.assert_array_equal(tree["stella"]["mean"].values, expected["mean"].values)
    assert "low" not in tree["stella"]


@pytest.mark.slow
def test_a_run_writes_and_scores_what_the_analyses_ask_for(tmp_path):
    animals = {"mitt": {"units": 8, "trials": 60}, "stella": {"units": 7, "trials": 60}}
    write_experiment(tmp_path / "data", SimulationConfig(animals=animals, silent_share=0), seed=0)
    spec = {
        "name": "generated",
        "data": {"spec": "simulated_rats", "root": str(tmp_path / "data")},
        "samples": {"start": 0.0, "stop": 0.6, "bin_width": 0.3, "label": "odor", "keep": {"odor": ["A", "B", "C"]}},
        "models": {
            "poisson": {"sharing": "mmvm", "latent": 3, "networks": "linear", "likelihood": "poisson"},
            "squared": {"sharing": "mmvm", "latent": 3, "networks": "linear"},
        },
        "training": {"epochs": 2, "seeds": [0, 1]},
    }
    folder = tmp_path / "run"
    run_experiment(ExperimentSpec.model_validate(spec), folder, progress=False)
    with pytest.raises(RunFolderError, match=r"spikes|coherence"):
        Study(folder).transferred("poisson")
    options = {
        "coherence": {"bootstraps": 100, "permutations": 500},
        "spikes": {"bootstraps": 100, "permutations": 100, "principal_components": 3, "canonical_components": 2},
    }
    study = run_experiment(ExperimentSpec.model_validate({**spec, "analyses": options}), folder, resume=True, progress=False)
    settings = {(line.representation, line.setting) for line in analyze(study, "coherence")}
    assert settings >= {(name, one) for name in ("poisson", "squared") for one in ("within", "cross", "imputed", "ceiling")}
    names = {line.representation for line in analyze(study, "spikes")}
    assert names >= {"poisson", "squared", "poisson decoder", "condition mean", "raw linear", "mcca"}
    assert "squared decoder" not in names
    assert (folder / "figures" / "spikes-checks.png").is_file()
    assert Study(folder).transferred("squared")["mitt"]["stella"].attrs["kind"] != "count"
