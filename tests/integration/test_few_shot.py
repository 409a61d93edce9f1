"""A simulated new animal is read by decoders of the others after a few trials of it, and noise is not."""

import json
import sys

import numpy as np
import pytest
import xarray as xr

from neuromvm.analysis.baselines.adapted_maps import FrozenCanonicalVariates
from neuromvm.analysis.decoding import decoding, few_shot
from neuromvm.analysis.decoding.few_shot import NewAnimal, Options, compare_few_shot
from neuromvm.analysis.judged import values
from neuromvm.analysis.readouts.representations import Inputs
from neuromvm.analysis.report.few_shot import each_animal, leave_one_out
from neuromvm.analysis.scores import Absent
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.data.splits import few_trials, make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import RunFolderError, SpecError, SplitError
from neuromvm.folders.few_shot import FewShotFolder
from neuromvm.folders.study import Study
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.adapt import adapt
from neuromvm.training.fit import fit
from neuromvm.workflow import command_line as cli
from neuromvm.workflow.few_shot import FewShotLatents, change_adaptation, fit_without, run_few_shot
from neuromvm.workflow.few_shot import few_shot as few_shot_latents

SIZES = {
    "mitt": {"units": 40, "trials": 200},
    "stella": {"units": 25, "trials": 170},
    "barat": {"units": 30, "trials": 150},
    "buchanan": {"units": 35, "trials": 180},
}
SAMPLES = SampleSpec(start=0.1, stop=0.35, label=["odor"], keep={"odor": ["A", "B", "C", "D"], "in_sequence": [True]})
TRAINING = TrainingSpec(epochs=100, learning_rate=0.006)
MODEL = ModelSpec(
    sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9},
    latent=6,
    beta=0.01,
    networks="linear",
    scale="constant",
    dropout=0.5,
)
BASELINES = decoding.Options(canonical_components=3)
OPTIONS = Options(bootstraps=100, permutations=500, exchanges=2)
NEW = ("mitt", "barat")
STARTS = ("others", "random")


def experiment(shared_strength: float, seed: int, per_class, new=NEW) -> tuple[xr.DataTree, dict[str, FewShotLatents]]:
    simulation = simulate(SimulationConfig(animals=SIZES, shared_strength=shared_strength), seed=seed)
    samples = make_samples(recordings_from(simulation), SAMPLES)
    splits = make_splits(samples, SplitSpec(seed=seed))
    found = {
        animal: few_shot_latents(samples, splits, MODEL, TRAINING, animal, per_class=per_class, progress=False) for animal in new
    }
    return samples, found


def scored(samples: xr.DataTree, found: dict[str, FewShotLatents]) -> xr.Dataset:
    methods = ("adapted", "scratch")
    new = {
        trials: {
            animal: NewAnimal(one.splits[trials], {way: getattr(one, way)[trials] for way in methods})
            for animal, one in found.items()
        }
        for trials in next(iter(found.values())).splits
    }
    return compare_few_shot(samples, new, OPTIONS, BASELINES)


def permuted(scores, statistic):
    return scores["null_score"].sel(null="labels", target="all animals", null_statistic=statistic)


@pytest.fixture(scope="module")
def odor() -> tuple[xr.DataTree, xr.Dataset]:
    samples, found = experiment(1.6, 0, (1, 4, None))
    return samples, scored(samples, found)


def test_four_trials_a_class_are_nearly_as_good_as_full_training(odor):
    again = scored(*experiment(1.6, 1, (4, None)))
    first = values(odor[1])
    both = (first.sel(setting=["4", "all"]) + values(again)) / 2
    full = float(both.sel(representation="scratch", setting="all"))
    adapted = both.sel(representation="adapted")
    assert odor[1].attrs["chance"] == 0.25
    assert full > 0.8
    assert adapted.sel(setting="4") > 0.9 * full
    assert adapted.sel(setting="all") > 0.95 * full
    assert first.sel(representation="adapted", setting="1") < first.sel(representation="adapted", setting="4") - 0.05
    assert permuted(odor[1], "p").sel(representation="adapted", setting="4") < 0.01


def test_few_trials_teach_more_with_the_other_animals_than_alone(odor):
    value = values(odor[1]).sel(setting="1")
    assert value.sel(representation="adapted") > value.sel(representation="own decoder")
    assert value.sel(representation="linear map") > 0.4


def test_the_curve_says_all_that_is_needed_to_judge_it(odor):
    samples, scores = odor
    assert scores["setting"].values.tolist() == ["1", "4", "all"]
    assert scores["target"].values.tolist() == ["all animals", *NEW]
    assert np.isfinite(values(scores)).all()
    over_trials = scores["score"].sel(unit_of_inference="trials")
    assert (over_trials.sel(statistic="low") <= over_trials.sel(statistic="high")).all()
    assert (scores["training_trials"].sel(setting="4") == 16).all()
    assert scores.attrs["reference"] == "linear map"
    difference = scores["difference"].sel(unit_of_inference="trials")
    assert (difference.sel(reference="linear map", representation="linear map") == 0).all()
    lines = few_shot.summarize(scores)
    assert len(lines) == 3 * (6 + 2)  # the linear methods also against exchanged names
    assert {line.n.animals for line in lines} == {2}
    assert not any(isinstance(part, Absent) for line in lines for part in (line.interval, line.null, line.chance))
    assert {line.what for line in lines} == {"balanced accuracy, leave one animal out"}
    assert all(("animal left out" in line.null.kind) != ("scrambled" in line.setting) for line in lines)
    assert set(few_shot.plot(scores)) == {"animals", "curve", "difference"}
    assert scores["setting"].size < len(samples.children)


def test_the_report_says_what_is_reached_in_animals_left_out_and_in_each(odor):
    scores = odor[1].assign_coords(representation=["mmvm adapted", *odor[1]["representation"].values[1:]])
    verdict, said = leave_one_out(scores)
    of = scores.sel(representation="mmvm adapted", setting="all", target="all animals", unit_of_inference="trials")
    assert (
        "Leave one animal out (2 animals of 4, each in turn unseen by the shared model, then adapted to with all its" in said[0]
    )
    assert f"{float(of['score'].sel(statistic='value')):.3f} [" in said[0]
    assert "above the floor" in said[0]
    own = float(values(scores).sel(representation="own decoder", setting="all"))
    assert f"without any other animal, {own:.3f} [" in said[1]
    shrunk = float(values(scores).sel(representation="own shrunk_lda", setting="all"))
    assert f" and {shrunk:.3f} [" in said[1]
    earlier = leave_one_out(scores.sel(representation=scores["representation"] != "own shrunk_lda"))
    assert "shrunk_lda" not in earlier[1][1]
    gap = float(of["difference"].sel(reference="linear map", statistic="value"))
    assert verdict in ({"ahead", "tie"} if gap > 0 else {"behind", "tie"})
    few, every = each_animal(scores)
    assert "4 training trials of each class" in few.caption
    assert "all its training trials" in every.caption
    assert len(every.rows) == 6 * (1 + len(NEW))  # methods, in the mean and in each animal
    row = next(row for row in few.rows if row[:2] == ["barat", "mmvm adapted"])
    one = scores.sel(representation="mmvm adapted", setting="4", target="barat")
    assert row[2:4] == ["16", str(int(one["trials"]))]
    value, low, _ = one["score"].sel(unit_of_inference="trials").values
    assert row[4].startswith(f"{value:.3f} [{low:.3f}")
    of_animals = scores["score"].sel(representation="mmvm adapted", setting="4", target=list(NEW), statistic="value")
    assert few.rows[0][4].startswith(f"{of_animals.sel(unit_of_inference='trials').mean():.3f} [")
    assert leave_one_out(None) is None
    assert each_animal(scores.drop_vars("null_score")) == []  # as saved by an earlier version
    assert leave_one_out(odor[1]) is None  # no method is called adapted


def test_the_linear_map_of_a_familiar_animal_is_as_good_as_that_of_full_canonical_correlation(odor):
    value = values(odor[1]).sel(setting="all")
    assert abs(float(value.sel(representation="linear map") - value.sel(representation="mcca"))) < 0.05


def test_maps_of_the_others_do_not_depend_on_the_new_animal(odor):
    samples, _ = odor
    splits = make_splits(samples, SplitSpec())
    changed = samples.copy(deep=True)
    changed["mitt"]["activity"].values[:] = np.random.default_rng(0).permutation(changed["mitt"]["activity"].values)
    one, other = (
        FrozenCanonicalVariates(Inputs(tree, splits), "mitt", components=3, ridge=3, map_ridge=3, inverse_penalty=1).maps[0]
        for tree in (samples, changed)
    )
    assert all(np.array_equal(one[name].axes, other[name].axes) for name in ("stella", "barat", "buchanan"))
    assert not np.array_equal(one["mitt"].axes, other["mitt"].axes)


@pytest.mark.parametrize("seed", range(2))
def test_on_noise_nothing_leaves_its_floor(seed):
    scores = scored(*experiment(0, 100 + seed, (4,), NEW[:1]))
    assert np.abs(values(scores) - permuted(scores, "mean")).max() < 0.12
    p = permuted(scores, "p")
    assert p.min() > 0.05 / p.size


@pytest.mark.slow
def test_four_trials_a_class_suffice_at_the_default_strength_with_several_windows_a_trial():
    several = SampleSpec(start=0.1, stop=0.85, width=0.25, label=SAMPLES.label, keep=SAMPLES.keep)
    scores = []
    for seed in range(6):
        samples = make_samples(recordings_from(simulate(SimulationConfig(animals=SIZES), seed=seed)), several)
        splits = make_splits(samples, SplitSpec(seed=seed))
        full = fit(samples, splits, MODEL, TRAINING, progress=False).embed(samples)
        new = {}
        for animal in SIZES:
            base = fit_without(samples, splits, MODEL, TRAINING, animal, progress=False)
            few = few_trials(samples, splits, animal, 4)
            ways = {start: adapt(base, samples, few, start=start, progress=False).embed(samples) for start in STARTS}
            new[animal] = NewAnimal(few, {**ways, "full": full})  # trained with all trials, and read by the same decoder
        scores.append(values(compare_few_shot(samples, {4: new}, OPTIONS, BASELINES)).sel(setting="4"))
    mean = sum(scores) / len(scores)
    reached = mean / float(mean.sel(representation="full"))
    assert [start for start in STARTS if reached.sel(representation=start) < 0.9] == []
    assert [start for start in STARTS if reached.sel(representation=start) < reached.sel(representation="own decoder")] == []


@pytest.mark.slow
def test_the_start_from_the_others_is_as_good_as_the_linear_map_and_better_than_training_on_four_trials():
    difference: dict[str, list[float]] = {"drawn": [], "linear map": []}
    relative = []
    for seed in range(20, 23):
        simulation = simulate(SimulationConfig(animals=SIZES), seed=seed)
        samples = make_samples(recordings_from(simulation), SAMPLES)
        splits = make_splits(samples, SplitSpec(seed=seed))
        for animal in NEW:
            ways = {
                "drawn": few_shot_latents(samples, splits, MODEL, TRAINING, animal, (4, None), progress=False),
                "adapted": few_shot_latents(samples, splits, MODEL, TRAINING, animal, (4,), start="others", progress=False),
            }
            new = {name: one.adapted[4] for name, one in ways.items()}
            few = compare_few_shot(samples, {4: {animal: NewAnimal(ways["adapted"].splits[4], new)}}, OPTIONS, BASELINES)
            all_of_it = {"scratch": ways["drawn"].scratch[None]}
            full = compare_few_shot(samples, {None: {animal: NewAnimal(splits, all_of_it)}}, OPTIONS, BASELINES)
            value = values(few).sel(setting="4")
            for name, each in difference.items():
                each.append(float(value.sel(representation="adapted") - value.sel(representation=name)))
            relative.append(
                (float(value.sel(representation="adapted")), float(values(full).sel(representation="scratch", setting="all")))
            )
    for each in difference.values():
        assert np.mean(each) > -2 * np.std(each, ddof=1) / np.sqrt(len(each))
    adapted, full = np.mean(relative, axis=0)
    assert adapted > 0.85 * full


def test_two_animals_are_too_few(odor):
    samples, _ = odor
    two = xr.DataTree.from_dict({"/": samples.to_dataset(), **{name: samples[name].to_dataset() for name in ("mitt", "stella")}})
    with pytest.raises(SplitError, match="at least three"):
        few_shot_latents(two, make_splits(two, SplitSpec()), MODEL, TRAINING, "mitt", (1,), progress=False)


QUICK = change_adaptation({"epochs": 3})
EXPERIMENT = """
name: small
data: {spec: simulated_rats, root: data}
samples: {start: 0.1, stop: 0.35, label: [odor], keep: {odor: [A, B, C]}}
split: {kind: halves, repeats: 2, validation: 0.25}
models:
  mmvm: {sharing: mmvm, latent: 3, networks: linear, likelihood_of: {mitt: poisson}}
  joint: {sharing: {kind: joint, aggregation: average}, latent: 3, networks: linear}
training: {epochs: 4, patience: 3}
analyses: {decoding: {baselines: [raw], reference: raw, canonical_components: 2, permutations: 500, bootstraps: 100}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("few")
    sizes = {"mitt": {"units": 10, "trials": 90}, "stella": {"units": 8, "trials": 80}, "barat": {"units": 9, "trials": 85}}
    write_experiment(folder / "data", SimulationConfig(animals=sizes), seed=2)
    (folder / "small.yaml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(patch, "run", "small.yaml", "--out", "run") == 0
        yield Study(folder / "run")


def call(patch: pytest.MonkeyPatch, *arguments: str) -> int:
    patch.setattr(sys, "argv", ["neuromvm", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return exit_info.value.code


def test_the_command_trains_scores_and_goes_on(run, monkeypatch, capsys):
    run_few_shot(run, animals=["mitt", "stella"], per_class=(1,), adaptation=QUICK, progress=False)
    folder = FewShotFolder(run)
    assert folder.models == ["mmvm"]
    assert folder.animals("mmvm") == ["mitt", "stella"]
    assert folder.trials("mmvm", "mitt") == [1]
    made = folder.file("mmvm", "mitt", "adapted", 1)
    stamp = made.stat().st_mtime_ns
    assert call(monkeypatch, "few-shot", str(run.path), "--set", "epochs=3", "--trials", "1,all") == 0
    capsys.readouterr()
    assert folder.trials("mmvm", "mitt") == [1, None]
    assert made.stat().st_mtime_ns == stamp
    assert "barat" in folder.animals("mmvm")
    scores = run.scores("few_shot")
    assert scores["representation"].values.tolist()[:2] == ["mmvm adapted", "mmvm from scratch"]
    assert scores["target"].values.tolist() == ["all animals", *run.samples.children]
    assert len(run.summary["analyses"]["few_shot"]["scores"]) == (6 + 2) * 2
    assert (run.path / "figures" / "few_shot-curve.pdf").is_file()
    report = (run.path / "report.html").read_text()
    assert "Leave one animal out (3 animals of 3" in report
    assert "Leave one animal out, adapted to with all its training trials: every animal in turn." in report
    assert (run.path / "figures" / "few_shot-animals.pdf").is_file()
    run_few_shot(run, "joint", per_class=(1,), adaptation=QUICK, progress=False)
    both = few_shot.compute(run, OPTIONS)
    assert {"mmvm adapted", "joint adapted"} < set(both["representation"].values)
    assert both["setting"].values.tolist() == ["1"]


def test_wrong_uses_say_what_to_do(run, monkeypatch, capsys, tmp_path):
    with pytest.raises(SpecError, match="Did you mean 'mitt'"):
        run_few_shot(run, animals=["mit"])
    with pytest.raises(RunFolderError, match="no model 'mmv'"):
        run_few_shot(run, "mmv")
    assert call(monkeypatch, "few-shot", str(run.path), "--trials", "few") == 2
    assert "1,2,4,8,all" in capsys.readouterr().err
    assert call(monkeypatch, "few-shot", str(run.path), "--set", "epoch=3") == 2
    assert "Did you mean 'epochs'" in capsys.readouterr().err
    run_few_shot(run, "joint", ["mitt"], (2,), QUICK, progress=False)
    with pytest.raises(RunFolderError, match="other adaptation"):
        run_few_shot(run, "joint", ["mitt"], (2,), TrainingSpec(epochs=5), progress=False)
    with pytest.raises(RunFolderError, match="other start"):
        run_few_shot(run, "joint", ["mitt"], (2,), QUICK, start="others", progress=False)
    with pytest.raises(RunFolderError, match="other seed"):
        run_few_shot(run, "joint", ["mitt"], (2,), QUICK, seed=4, progress=False)
    (tmp_path / "spec.yaml").write_text((run.path / "spec.yaml").read_text())
    with pytest.raises(RunFolderError, match="neuromvm few-shot"):
        few_shot.compute(Study(tmp_path), Options())
    assert json.loads((run.path / "few_shot" / "joint" / "few_shot.json").read_text())["seed"] == 0
