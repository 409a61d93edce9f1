"""Simulated animals share the part of their codes that they are said to share, and are read as well whatever that part."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score
from typer.testing import CliRunner

from neuromvm import make_samples, make_splits, schema
from neuromvm.data.simulate import simulate_codes
from neuromvm.data.simulate.codes import draw_code
from neuromvm.data.simulate.experiment import DEAD_TIME, STEP, SimulationConfig, recordings_from, shared_trajectory, simulate
from neuromvm.data.simulate.write_npy import write_published_layout
from neuromvm.data.simulate.write_nwb import read_truth
from neuromvm.errors import ArgumentError, SpecError
from neuromvm.specs import SampleSpec, SplitSpec
from neuromvm.workflow.command_line import app

RATS = {name: {"units": 20, "trials": 120} for name in ("ada", "bob", "eve")}


def config_of(codes: str, odors: int = 5, **settings: object) -> SimulationConfig:
    return SimulationConfig.model_validate({"animals": RATS, "codes": codes, "odors": odors} | settings)


def distances(tree: xr.DataTree, variable: str = "code") -> np.ndarray:
    """Return the squared distances of conditions, (animal, pair)."""
    return np.stack([pdist(node[variable].to_numpy(), "sqeuclidean") for node in tree.children.values()])


def correlation(tree: xr.DataTree, variable: str = "code") -> float:
    """Return the mean over pairs of animals of the correlation of squared distances."""
    matrix = np.corrcoef(distances(tree, variable))
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def own_accuracy(tree: xr.DataTree, label: str) -> float:
    """Return the mean accuracy over animals of a discriminant of the animal's own trials, with 5 folds."""
    scores = []
    for _, dataset in schema.animals(tree):
        features = schema.activity(dataset).to_numpy().sum(axis=1).astype(float)
        decoder = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)
        scores.append(cross_val_score(decoder, features, dataset[label].to_numpy(), cv=5).mean())
    return float(np.mean(scores))


def test_a_code_is_centred_and_its_distances_vary_as_those_of_a_pentagon() -> None:
    random = np.random.default_rng(0)
    variation = []
    for _ in range(300):
        code = draw_code(5, random)
        np.testing.assert_allclose(code.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.square(code).sum(axis=1).mean(), 1)
        variation.append(np.var(pdist(code, "sqeuclidean")))
    angle = 2 * np.pi * np.arange(5) / 5
    pentagon = pdist(np.stack([np.cos(angle), np.sin(angle)], axis=1), "sqeuclidean")
    np.testing.assert_allclose(np.mean(variation), np.var(pentagon), rtol=0.25)


@pytest.mark.parametrize("share", [0, 0.5, 0.8, 1])
def test_geometries_recover_the_share(share: float) -> None:
    found = [correlation(simulate_codes(animals=4, conditions=15, share=share, seed=seed)) for seed in range(30)]
    assert abs(np.mean(found) - share**2) < 4 * np.std(found) / np.sqrt(30) + 0.02


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_geometries_of_recorded_means_tell_shared_from_private_codes(noise) -> None:
    def of_means(share: float, seed: int) -> float:
        found = {}
        for name, dataset in schema.animals(simulate_codes(3, 10, 40, 80, share, seed, noise=noise)):
            means = schema.activity(dataset)[:, 0].groupby("condition").mean()
            found[name] = xr.Dataset({"code": means})
        return correlation(xr.DataTree.from_dict(found))

    assert np.mean([of_means(1, seed) for seed in range(5)]) > 0.7
    assert abs(np.mean([of_means(0, seed) for seed in range(5)])) < 0.25


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_animals_are_read_as_well_whatever_they_share(noise) -> None:
    accuracy = [
        np.mean([own_accuracy(simulate_codes(3, 6, 12, 40, share, seed, noise=noise), "condition") for seed in range(4)])
        for share in (0, 0.5, 1)
    ]
    assert min(accuracy) > 2 / 6
    assert np.ptp(accuracy) < 0.12


def test_trials_are_unequal_sorted_or_missing_as_asked() -> None:
    tree = simulate_codes(3, 4, [2, 3, 4, 5], [6, 7, 8], order="sorted", missing=1, seed=1)
    for (_, dataset), units in zip(schema.animals(tree), (6, 7, 8), strict=True):
        names, counts = np.unique(dataset["condition"], return_counts=True)
        assert len(names) == 3
        assert (
            dict(zip(names, counts, strict=True)).items()
            <= {
                "c00": 2,
                "c01": 3,
                "c02": 4,
                "c03": 5,
            }.items()
        )
        assert (np.sort(dataset["condition"]) == dataset["condition"]).all()
        assert dataset.sizes["unit"] == units
        assert (np.diff(dataset["onset"]) > 0).all()
    runs = simulate_codes(2, 5, [1, 2, 3, 4, 5], order="runs", seed=1)
    for _, dataset in schema.animals(runs):
        condition = dataset["condition"].to_numpy()
        assert np.unique(condition, return_counts=True)[1].tolist() == [1, 2, 3, 4, 5]
        assert 5 <= 1 + (condition[1:] != condition[:-1]).sum() <= 9
    assert runs["animal0"]["condition"].values.tolist() != runs["animal1"]["condition"].values.tolist()


def test_drift_grows_along_the_session() -> None:
    still, drifting = (simulate_codes(1, 2, 100, 300, signal=0, drift=drift)["animal0"] for drift in (0, 3))
    variance = {
        name: [float(node["event_amplitude"][part].var(dim="unit").mean()) for part in (slice(0, 20), slice(180, 200))]
        for name, node in {"still": still, "drifting": drifting}.items()
    }
    np.testing.assert_allclose(variance["still"], 1, rtol=0.1)
    np.testing.assert_allclose(variance["drifting"], [1 + 9 * 0.05, 1 + 9 * 0.95], rtol=0.2)


def test_an_analysis_takes_them_and_the_seed_names_them() -> None:
    tree = simulate_codes(seed=4, share=0.5, noise="poisson")
    xr.testing.assert_identical(tree, simulate_codes(seed=4, share=0.5, noise="poisson"))
    assert not tree.equals(simulate_codes(seed=5, share=0.5, noise="poisson"))
    samples = make_samples(tree, SampleSpec(start=0, stop=1, label=["condition"]))
    assert samples["animal0"]["activity"].sizes == {"trial": 120, "window": 1, "bin": 1, "unit": 60}
    assert set(make_splits(samples, SplitSpec(kind="halves")).children) == set(tree.children)


@pytest.mark.parametrize(
    "wrong",
    [
        {"animals": 0},
        {"conditions": 1},
        {"share": 1.5},
        {"signal": -1},
        {"missing": 12},
        {"trials": [1, 2]},
        {"units": 0},
        {"order": "shuffled"},
        {"noise": "binomial"},
    ],
)
def test_impossible_arguments_are_refused(wrong: dict) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        simulate_codes(**wrong)


@pytest.mark.parametrize("odors", [5, 8])
def test_rats_with_private_codes_have_unrelated_geometries_and_the_same_strength(odors: int) -> None:
    names = {f"rat{number}": {"units": 2, "trials": 20} for number in range(12)}
    truths = {codes: simulate(config_of(codes, odors, animals=names)).truth for codes in ("shared", "half", "private")}
    for variable, count in (("odor_code", 2), ("position_code", 1)):
        shared, half, private = (distances(truths[codes], variable) for codes in ("shared", "half", "private"))
        assert np.ptp(shared, axis=0).max() == 0
        np.testing.assert_allclose(half, shared / 2 + private / 2)  # the same private codes in both
        assert abs(correlation(truths["private"], variable)) < 0.15
        np.testing.assert_allclose(private.mean(axis=1), shared.mean(axis=1))
        assert not truths["private"]["rat0"][variable][:, :count].values.any()
    assert 0.3 < correlation(truths["half"], "odor_code") < 0.7


def test_behaviour_and_shared_spikes_do_not_depend_on_codes() -> None:
    shared, private = (simulate(config_of(codes), seed=2) for codes in ("shared", "private"))
    for name in RATS:
        assert shared.animals[name].trials.equals(private.animals[name].trials)
        np.testing.assert_array_equal(shared.truth[name]["loading"], private.truth[name]["loading"])
    assert "private_code_latent" not in shared.truth["ada"]
    np.testing.assert_array_equal(private.truth["ada"]["shared_latent"][..., :3], 0)


@pytest.mark.parametrize("codes", ["half", "private"])
def test_counts_are_poisson_about_the_truth_of_private_codes(codes: str) -> None:
    simulation = simulate(config_of(codes), seed=3)
    truth = simulation.truth["ada"].to_dataset()
    change = xr.dot(truth["shared_latent"], truth["loading"], dim="latent")
    change = change + xr.dot(truth["private_code_latent"], truth["private_code_loading"], dim="code")
    change = truth["gain"] * change + xr.dot(truth["private_latent"], truth["private_loading"], dim="private")
    drive = truth["baseline_rate"] * np.exp(change - (truth["private_loading"] ** 2).sum("private") / 2)
    expected = (STEP * drive / (1 + DEAD_TIME * drive)).sum("time").transpose("trial", "unit").values
    counts = recordings_from(simulation)["ada"].to_dataset()["spike_count"].sum("time").values.astype(float)
    busy = expected.mean(axis=0) > 2
    dispersion = ((counts - expected)[:, busy] ** 2 / expected[:, busy]).mean()
    assert abs(dispersion - 1) < 4 * np.sqrt(2 / (len(counts) * busy.sum()))


def test_the_private_path_at_poke_in_is_the_private_code() -> None:
    truth = simulate(config_of("private", position_share=0), seed=3).truth["bob"].to_dataset()
    path = truth["private_code_latent"].sel(time=slice(0.3, 0.7))
    size = 0.8 * truth["odor_code"].values[np.searchsorted(list("ABCDE"), truth["odor"]), 2:]  # (trial, axis)
    turn = path["time"].values  # [rad], one radian a second
    for time in (0, -1):
        cosine, sine = np.cos(turn[time]), np.sin(turn[time])
        expected = np.empty_like(size)
        expected[:, 0::2] = cosine * size[:, 0::2] - sine * size[:, 1::2]
        expected[:, 1::2] = sine * size[:, 0::2] + cosine * size[:, 1::2]
        np.testing.assert_allclose(path[:, time, : size.shape[1]], expected, atol=1e-5)


def test_rats_are_read_as_well_with_private_codes() -> None:
    def accuracy(codes: str, seed: int) -> float:
        config = config_of(codes, animals={"ada": {"units": 40, "trials": 120}, "bob": {"units": 40, "trials": 120}})
        return own_accuracy(recordings_from(simulate(config, seed), window=(0.1, 0.9), bin_width=0.1), "odor")

    shared, private = (np.mean([accuracy(codes, seed) for seed in range(3)]) for codes in ("shared", "private"))
    assert shared > 0.4
    assert abs(shared - private) < 0.12


def test_eight_odors_have_eight_positions() -> None:
    config = config_of("shared", odors=8)
    trials = simulate(config).animals["ada"].trials
    assert sorted(trials["odor"].unique()) == list("ABCDEFGH")
    assert trials["position"].max() == 8
    path = shared_trajectory(np.arange(1, 9), np.arange(1, 9), np.array([0.5]), config)[:, 0]
    np.testing.assert_allclose(np.diff(path[:, 2]), np.ptp(path[:, 2]) / 7)
    np.testing.assert_allclose(np.linalg.norm(path[:, :2], axis=1), config.shared_strength)


def test_files_say_which_codes_were_used(tmp_path: Path) -> None:
    small = config_of("private", animals={"ada": {"units": 3, "trials": 8}})
    write_published_layout(tmp_path / "npy", small, seed=1)
    xr.testing.assert_identical(read_truth(tmp_path / "npy"), simulate(small, seed=1).truth)
    with pytest.raises(SpecError, match=r"config\.odors: 6"):
        write_published_layout(tmp_path / "six", config_of("shared", odors=6))
    assert not (tmp_path / "six").exists()


@pytest.mark.slow
def test_the_command_line_writes_private_codes(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "rats"), "--codes", "private", "--odors", "6"])
    assert result.exit_code == 0, result.output
    truth = read_truth(tmp_path / "rats")
    assert len(truth["mitt"]["item"]) == 6
    assert abs(correlation(truth, "odor_code")) < 0.5
