"""Recipes: experiments that fit the recordings, say why, refuse data that they do not suit, and run."""

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import neuromvm as nm
from neuromvm.analysis import values
from neuromvm.analysis.pipeline import analyze, check_analyses
from neuromvm.data.simulate import simulate_codes
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import SchemaError, SpecError
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.yaml_text import listed, scalar
from neuromvm.specs.yaml_values import read_yaml
from neuromvm.workflow import command_line as cli
from neuromvm.workflow import experiment
from neuromvm.workflow.experiment import load_experiment_recordings, run_experiment
from neuromvm.workflow.recipes.catalogue import RECIPES, Ends, default_recipe
from neuromvm.workflow.recipes.parts import window_of
from neuromvm.workflow.recipes.traits import read_traits
from neuromvm.workflow.recipes.write import experiment_text

SIZES = {"mitt": {"units": 10, "trials": 90}, "stella": {"units": 8, "trials": 80}}


@pytest.fixture(scope="module")
def rats() -> xr.DataTree:
    return recordings_from(simulate(SimulationConfig(animals=SIZES), seed=2))


def odors(conditions: int, trials: int, animals: int = 3) -> xr.DataTree:
    return simulate_codes(animals, conditions, trials=trials, units=12, seed=1)


def on_track(animals: int = 2, directions: tuple[str, ...] = ("left", "right")) -> xr.DataTree:
    """Return laps on a track of 20 bins of width 1, in directions."""
    random = np.random.default_rng(0)
    position = xr.Variable("position", np.arange(20) + 0.5, {"bin_width": 1.0})
    nodes = {}
    for animal in range(animals):
        activity = random.exponential(1, (24, 20, 9)).astype(np.float32)
        coords = {"trial": np.arange(24), "unit": np.arange(9), "direction": ("trial", np.resize(directions, 24))}
        nodes[f"mouse{animal}"] = xr.Dataset({"event_amplitude": (("trial", "position", "unit"), activity)}, coords)
    return xr.DataTree.from_dict({"/": xr.Dataset(coords={"position": position}), **nodes})


def spec_of(recordings: xr.DataTree, **settings) -> ExperimentSpec:
    return ExperimentSpec.model_validate(read_yaml(experiment_text(recordings, "mine", "my_lab.yaml", **settings), "recipe"))


def suited(recordings: xr.DataTree) -> list[str]:
    return [name for name, recipe in RECIPES.items() if not recipe.unsuited(read_traits(recordings))]


@pytest.mark.parametrize("recordings", [odors(8, 10), on_track()], ids=["time", "position"])
def test_each_suited_recipe_makes_samples_and_splits_of_the_recordings(recordings):
    for name in suited(recordings):
        spec = spec_of(recordings, recipe=name)
        check_analyses(spec)
        samples = make_samples(recordings, spec.samples)
        splits = make_splits(samples, spec.split)
        assert set(splits.children) == set(recordings.children)
    assert suited(recordings) == (["shared-codes", "track"] if "position" in recordings.coords else list(RECIPES)[:4])


@pytest.mark.parametrize(("conditions", "trials"), [(6, 8), (15, 10)])
def test_a_simplex_code_has_a_latent_for_each_class(conditions, trials):
    spec = spec_of(odors(conditions, trials), recipe="few-trials")
    assert spec.models["simplex_bayes"].latent == conditions
    assert spec.training_for("simplex_bayes").epochs == 0
    assert spec.models["mmvm"].latent == min(12, round(1.6 * conditions))  # units, or 1.6 for each class
    track = spec_of(on_track(), recipe="track")
    zones = 20 // round(track.samples.width)
    assert track.models["simplex_bayes"].latent == 2 * zones


def test_the_split_follows_the_trials_of_a_class():
    assert spec_of(odors(5, 10)).split.kind == "halves"
    assert spec_of(odors(5, 40)).split.kind == "kfold"
    few, enough = spec_of(odors(5, 4)), spec_of(odors(5, 6))
    assert [spec.analyses["decoding"]["tune"] for spec in (few, enough)] == [False, True]


def test_rare_classes_are_left_out_and_named():
    recordings = odors(6, 10, animals=2)
    name = read_traits(recordings).label.name
    values = recordings["a0" if "a0" in recordings.children else next(iter(recordings.children))][name].to_numpy()
    rarest = values[0]
    rare = {animal: node.to_dataset() for animal, node in recordings.children.items()}
    for animal, dataset in rare.items():
        rows = np.flatnonzero(dataset[name].to_numpy() == rarest)
        rare[animal] = dataset.isel(trial=np.setdiff1d(np.arange(dataset.sizes["trial"]), rows[2:]))
    tree = xr.DataTree.from_dict({"/": recordings.to_dataset(), **rare})
    spec = spec_of(tree)
    assert rarest not in spec.samples.keep[name]
    assert len(spec.samples.keep[name]) == 5 == spec.models["simplex_bayes"].latent
    assert f"too few trials of: {rarest}" in experiment_text(tree, "mine", "my_lab.yaml").replace("\n  # ", " ")


def test_data_that_a_recipe_does_not_suit_are_refused_with_the_reason():
    for recordings, recipe, words in (
        (odors(4, 10), "shared-codes", "4 conditions: fewer than 5"),
        (odors(8, 10, animals=1), "shared-codes", "there is one"),
        (odors(8, 10), "track", "the grid is of time"),
        (on_track(), "few-trials", "take the recipe track"),
        (odors(8, 10), "few-trails", "Did you mean 'few-trials'"),
    ):
        with pytest.raises(SpecError, match=words):
            experiment_text(recordings, "mine", "my_lab.yaml", recipe=recipe)


def test_labels_are_chosen_and_refused_by_name(rats):
    assert read_traits(rats).label.name == "odor"
    assert read_traits(rats, "in_sequence").label.classes == ["False", "True"]
    with pytest.raises(SpecError, match="Did you mean 'odor'"):
        read_traits(rats, "odour")
    unlabelled = xr.DataTree.from_dict(
        {"/": rats.to_dataset(), "mitt": rats["mitt"].to_dataset().drop_vars(["odor", "position", "in_sequence", "correct"])}
    )
    with pytest.raises(SchemaError, match="no label"):
        read_traits(unlabelled)


def test_one_animal_shares_nothing():
    spec = spec_of(odors(6, 10, animals=1))
    assert {model.sharing.kind for model in spec.models.values()} == {"independent"}


def test_sorted_trials_are_said():
    recordings = odors(5, 10)
    name = read_traits(recordings).label.name
    in_order = {
        animal: node.to_dataset().drop_vars("onset", errors="ignore").sortby(name) for animal, node in recordings.children.items()
    }
    text = experiment_text(xr.DataTree.from_dict({"/": recordings.to_dataset(), **in_order}), "mine", "my_lab.yaml")
    assert f"Trials are sorted by {name} in 3 of 3 animals" in text.replace("\n# ", " ")


def test_the_shared_codes_recipe_holds_out_a_fifth_and_orders_numbers():
    spec = spec_of(odors(15, 10, animals=5), recipe="shared-codes")
    assert (spec.sharing.split.held_out, spec.sharing.split.lacking, spec.sharing.split.repeats) == (3, "every_animal", 1)
    assert spec_of(odors(6, 10), recipe="shared-codes").sharing.split.lacking == "one_animal"
    assert "contiguous" in experiment_text(on_track(), "mine", "my_lab.yaml", recipe="shared-codes")


def test_windows_are_whole_bins_inside_the_grid(rats):
    traits = read_traits(rats)
    for start, stop, bins in ((None, None, 12), (0.13, 0.5, 4), (-1.0, None, 8), (None, 0.05, 12)):
        window = window_of(traits, start, stop, 3.0, bins)
        assert traits.window.start <= window.start < window.stop <= traits.window.stop + 1e-9
        merged = window.bin_width / traits.window.bin_width
        assert merged == pytest.approx(round(merged))
        assert window.bins * window.bin_width == pytest.approx(window.stop - window.start)
    spec = spec_of(rats, recipe="few-trials", ends=Ends(0.1, 0.5))
    assert (spec.samples.start, spec.samples.stop) == (0.1, pytest.approx(0.5, abs=0.05))


def test_the_default_follows_the_grid(rats):
    assert default_recipe(read_traits(rats)) == "few-trials"
    assert default_recipe(read_traits(on_track())) == "track"


@pytest.mark.parametrize("value", ["A", "yes", "1", "a: b", "#x", "", "it's", 'q"', "\x00", "limonène", True, 3, 0.1, -2])
def test_values_are_read_back_from_yaml(value):
    assert read_yaml(f"x: {scalar(value)}\ny: {listed([value, value])}", "here") == {"x": value, "y": [value, value]}


def test_a_written_experiment_finds_its_data_from_another_folder(tmp_path, monkeypatch, capsys):
    lab = tmp_path / "lab"
    write_experiment(lab / "nwb", SimulationConfig(animals=SIZES), seed=2)
    shipped = (Path(__file__).parents[2] / "data_specs" / "simulated_rats.yaml").read_text()
    (lab / "my_lab.yaml").write_text(shipped.replace("root: simulated_rats", "root: nwb"))
    monkeypatch.chdir(tmp_path)
    arguments = ["new", "lab/mine.yaml", "--spec", "lab/my_lab.yaml", "--recipe", "few-trials", "--start", "0.1", "--stop", "0.5"]
    assert call(arguments, monkeypatch) == 0
    assert "neuromvm run lab/mine.yaml" in capsys.readouterr().out
    assert call(arguments, monkeypatch) == 2
    assert "nothing is replaced" in capsys.readouterr().err
    spec = nm.load_experiment_spec(lab / "mine.yaml")
    assert spec.data.spec == str(lab / "my_lab.yaml")
    monkeypatch.chdir(lab)
    assert sorted(load_experiment_recordings(spec).children) == sorted(SIZES)


@pytest.mark.slow
def test_the_recipe_of_few_trials_runs(rats, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "load_experiment_recordings", lambda spec: rats)
    study = run_experiment(spec_of(rats, recipe="few-trials"), tmp_path / "run", progress=False)
    analyze(study, "decoding")
    accuracies = values(study.scores("decoding")).sel(setting="within")
    assert float(accuracies.sel(representation="simplex_bayes")) > 0.3  # chance is a fifth


def call(arguments: list[str], monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", ["neuromvm", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return int(exit_info.value.code or 0)


def test_recipes_and_experiments_are_listed(monkeypatch, capsys):
    assert call(["new", "--list"], monkeypatch) == 0
    printed = capsys.readouterr().out
    for name in (*RECIPES, "demo", "odor_amygdala_refits", "published_rats_sweep"):
        assert name in printed
