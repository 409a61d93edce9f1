"""Sessions of one animal are no pair of animals, count once in n and in intervals, and do not tell each other's conditions."""

import numpy as np
import pytest
import xarray as xr

import neuromvm as nm
from neuromvm.analysis.decoding.decoding import Options, baseline
from neuromvm.analysis.decoding.scoring import Resampling, score
from neuromvm.analysis.judged import number_of_animals
from neuromvm.analysis.readouts.decoders import OTHERS, decode
from neuromvm.analysis.readouts.representations import Inputs
from neuromvm.analysis.sharing.table import Problems, solve_table
from neuromvm.analysis.statistics.hierarchy import over_animals, over_pairs
from neuromvm.data.replicas import Replica
from neuromvm.data.simulate import simulate_codes
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.inference.missing_conditions import predict_class_means
from neuromvm.schema import Part, other_animals, subjects
from neuromvm.specs import SampleSpec, SplitSpec
from neuromvm.training.fit import train_stack
from tests.analysis.sharing_samples import lacking

SESSIONS = {"animal_2_monday": "rat_2", "animal_2_tuesday": "rat_2"}


def with_sessions(share: float, animals: int = 4, seed: int = 0) -> xr.DataTree:
    """Return recordings of animals, with the trials of the second divided in two sessions."""
    recordings = simulate_codes(animals, 6, trials=12, units=12, share=share, seed=seed, signal=1.0)
    nodes = {name: node.to_dataset().assign_attrs(subject_id=name) for name, node in recordings.children.items()}
    second = nodes.pop(list(nodes)[1])
    for number, name in enumerate(SESSIONS):
        node = second.isel(trial=slice(number, None, 2)).assign_attrs(subject_id=SESSIONS[name])
        nodes[name] = node.assign_coords(trial=np.arange(node.sizes["trial"]))
    return xr.DataTree.from_dict({"/": recordings.to_dataset(), **nodes})


def samples_of(recordings: xr.DataTree) -> xr.DataTree:
    return make_samples(recordings, SampleSpec(label=["condition"]))


def test_subjects_number_recordings():
    samples = samples_of(with_sessions(1.0))
    assert subjects(samples).tolist() == [0, 1, 2, 3, 3]
    assert other_animals(samples, "animal_2_monday") == list(samples.children)[:3]
    alone = {name: node.to_dataset().assign_attrs(subject_id="rat") for name, node in samples.children.items()}
    assert subjects(xr.DataTree.from_dict(alone)).tolist() == [0, 1, 2, 3, 4]


def test_a_repeated_session_leaves_intervals_as_they_are():
    rng = np.random.default_rng(0)
    observed = np.array([0.5, 0.7, 0.6, 0.9])
    draws = observed + 0.02 * rng.standard_normal((4000, 4))
    once = over_animals(observed, draws, np.random.default_rng(1))
    numbers = np.repeat(np.arange(4), 2)
    twice = over_animals(np.repeat(observed, 2), np.repeat(draws, 2, axis=1), np.random.default_rng(1), numbers)
    assert twice.animals == 4
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    as_animals = over_animals(np.repeat(observed, 2), np.repeat(draws, 2, axis=1), np.random.default_rng(1))
    assert as_animals.high - as_animals.low < 0.8 * (twice.high - twice.low)


def test_pairs_of_sessions_do_not_count():
    scores = np.array([[1, 0.5, 0.6, 0.7], [0.5, 1, 0.6, 0.7], [0.5, 0.7, 1, 0.7], [0.6, 0.5, 0.7, 1]])
    once = over_pairs(scores)
    repeated = np.repeat(np.repeat(scores, 2, axis=0), 2, axis=1)
    twice = over_pairs(repeated, np.repeat(np.arange(4), 2))
    assert (twice.value, twice.low, twice.high, twice.animals) == pytest.approx((once.value, once.low, once.high, 4))


def test_decoders_of_sessions_are_not_those_of_other_animals():
    samples = samples_of(with_sessions(1.0))
    splits = make_splits(samples, SplitSpec(kind="halves"))
    aligned = baseline("mcca", Inputs(samples, splits), Options())
    predicted = {"mcca": decode(aligned, samples, splits)}
    scores = score(predicted, samples, Resampling(100, 100), "mcca")
    pairs = scores["accuracy"].sel(representation="mcca", target="animal_2_monday").mean("split")
    assert np.isnan(pairs.sel(source="animal_2_tuesday"))
    assert np.isfinite(pairs.drop_sel(source="animal_2_tuesday")).all()
    assert number_of_animals(scores["trials"]) == 4
    others = predicted["mcca"]["animal_2_monday"].sel(decoder=OTHERS)["predicted"]
    changed = {name: node.to_dataset() for name, node in samples.children.items()}
    shuffled = np.roll(changed["animal_2_tuesday"]["label"].to_numpy(), 7, axis=0)
    changed["animal_2_tuesday"]["label"] = changed["animal_2_tuesday"]["label"].copy(data=shuffled)
    relabelled = xr.DataTree.from_dict({"/": samples.to_dataset(), **changed})
    again = decode(aligned, relabelled, splits)["animal_2_monday"].sel(decoder=OTHERS)["predicted"]
    np.testing.assert_array_equal(others, again)


@pytest.mark.parametrize("regime", ["every_animal", "one_animal"])
def test_sessions_lack_the_same_conditions(regime):
    samples = samples_of(with_sessions(1.0))
    splits = lacking(samples, regime)
    held_out = []
    for name in SESSIONS:
        codes, part = samples[name]["match"].to_numpy()[:, 0], splits[name]["part"].to_numpy()
        held_out.append([np.unique(codes[of_split == Part.TEST]).tolist() for of_split in part])
    assert held_out[0] == held_out[1]
    assert sum(map(bool, held_out[0])) == 3
    left_out = make_splits(samples, SplitSpec(kind="leave_one_animal_out"))
    assert [node["part"].to_numpy()[:, 0].tolist().index(Part.TEST) for node in left_out.children.values()] == [0, 1, 2, 3, 3]


def test_what_only_sessions_share_is_not_shared_between_animals():
    accuracy = []
    for seed in range(8):
        samples = samples_of(with_sessions(0.0, seed=seed))
        splits = lacking(samples, "every_animal")
        for name in SESSIONS:
            assert set(Problems(samples, splits).of_target(0, name).problem.others) == set(samples.children) - set(SESSIONS)
        accuracy.append(solve_table(samples, splits, ["class_kernel"])["accuracy"].sel(target=list(SESSIONS)).isel(among=0))
    values = np.array(accuracy).mean(axis=(1, 2, 3))
    assert abs(values.mean() - 0.5) < 3 * values.std(ddof=1) / np.sqrt(len(values)) + 0.02


def test_models_do_not_impute_a_session_from_another():
    samples = samples_of(with_sessions(1.0, animals=3))
    splits = lacking(samples, "every_animal")
    model = nm.ModelSpec(sharing={"kind": "mmvm"}, latent=2, networks="linear")
    fitted = train_stack(samples, splits, model, nm.TrainingSpec(epochs=2, device="cpu"), [Replica(0, 0)], progress=False)
    predicted = predict_class_means(fitted, samples, splits)
    assert set(predicted["animal_2_monday"]["animal"].to_numpy().tolist()) == set(samples.children) - set(SESSIONS)
