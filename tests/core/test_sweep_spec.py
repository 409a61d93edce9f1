"""What cells a sweep has, what they are called, and what is wrong with a sweep, said before anything runs."""

from copy import deepcopy

import numpy as np
import pytest
from scipy.stats import kstest

from neuromvm.data.splits import inner_splits, make_splits
from neuromvm.errors import SpecError, SplitError
from neuromvm.folders.sweep import SweepFolder, cell_name, fingerprint, stack_name, training_name
from neuromvm.schema import Part, is_fitted
from neuromvm.specs import ExperimentSpec, SplitSpec
from neuromvm.specs.files import validated
from neuromvm.specs.sweep import Drawn, RandomSearch, SweepSpec, load_sweep_spec
from neuromvm.workflow.sweep.batches import CellTask, cell_batches, remaining_batches
from neuromvm.workflow.sweep.engines import shard
from neuromvm.workflow.sweep.grid import draw, variations
from tests.analysis.simulation import simulate
from tests.conftest import tuned_recordings

EXPERIMENT = {
    "name": "odors",
    "data": {"spec": "simulated_rats"},
    "samples": {"label": "odor"},
    "models": {"mmvm": {"sharing": "mmvm"}, "alone": {"sharing": "independent"}, "plain": {"sharing": {"kind": "autoencoder"}}},
    "training": {"epochs": 3},
}


def sweep(**settings) -> SweepSpec:
    return validated({"name": "some", "experiment": deepcopy(EXPERIMENT), **settings}, "some.yaml", SweepSpec)


def test_a_grid_is_every_combination_in_order():
    cells = variations(sweep(grid={"models.mmvm.beta": [0.1, 1], "training.seeds": [[0], [1, 2]]}))
    found = [(cell.experiment.models["mmvm"].beta, cell.experiment.training.seeds) for cell in cells]
    assert found == [(0.1, [0]), (0.1, [1, 2]), (1, [0]), (1, [1, 2])]
    assert all(cell.experiment.models["alone"].beta == 1 for cell in cells)
    assert cells[0].settings == {"models.mmvm.beta": 0.1, "training.seeds": [0]}


def test_all_models_at_once_and_beta_of_those_with_a_rate():
    cells = variations(sweep(grid={"models.*.beta": [0.1, 0.2], "models.*.latent": [3]}))
    assert [[model.beta for model in cell.experiment.models.values()] for cell in cells] == [[0.1, 0.1, 1.0], [0.2, 0.2, 1.0]]
    assert all(model.latent == 3 for cell in cells for model in cell.experiment.models.values())


def test_combinations_that_are_the_same_experiment_occur_once():
    assert len(variations(sweep(grid={"models.mmvm.sharing": ["mmvm", {"kind": "mmvm"}, "independent"]}))) == 2


def test_a_random_search_draws_from_the_distributions_named():
    over = {
        "rate": Drawn(log_uniform=(1e-4, 1e-2)),
        "share": Drawn(uniform=(-1, 3)),
        "count": Drawn(integer=(2, 4)),
        "kind": Drawn(choice=["mlp", "linear"]),
    }
    drawn = draw(RandomSearch(n=600, seed=1, over=over))
    assert kstest(np.log10([one["rate"] for one in drawn]), "uniform", args=(-4, 2)).pvalue > 1e-3
    assert kstest([one["share"] for one in drawn], "uniform", args=(-1, 4)).pvalue > 1e-3
    counts = np.bincount([one["count"] for one in drawn], minlength=6)
    assert counts[[0, 1, 5]].sum() == 0
    assert (np.abs(counts[2:5] - 200) < 4 * np.sqrt(600 * 2 / 9)).all()
    assert {one["kind"] for one in drawn} == {"mlp", "linear"}


def test_more_draws_and_more_fields_shift_none():
    rate, width = {"training.learning_rate": Drawn(log_uniform=(1e-4, 1e-2))}, {"models.mmvm.latent": Drawn(integer=(1, 9))}
    few = draw(RandomSearch(n=3, over=rate))
    many = draw(RandomSearch(n=5, over={**width, **rate}))
    assert [one["training.learning_rate"] for one in many[:3]] == [one["training.learning_rate"] for one in few]
    assert draw(RandomSearch(n=3, seed=1, over=rate)) != few


def test_a_grid_crosses_every_draw():
    random = {"n": 2, "over": {"training.learning_rate": {"log_uniform": [1e-4, 1e-2]}}}
    cells = variations(sweep(grid={"models.mmvm.latent": [2, 3]}, random=random))
    rates = [cell.experiment.training.learning_rate for cell in cells]
    assert [cell.experiment.models["mmvm"].latent for cell in cells] == [2, 2, 3, 3]
    assert rates[:2] == rates[2:]
    assert rates[0] != rates[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": {"training.learning_rte": [1]}}, "Did you mean 'learning_rate'"),
        ({"grid": {"models.mmvn.beta": [1]}}, "Did you mean 'mmvm'"),
        ({"grid": {"models.mmvm.bta": [1]}}, "Did you mean 'beta'"),
        ({"grid": {"models.mmvm": [1]}}, "no setting of a model"),
        ({"grid": {"modls.mmvm.beta": [1]}}, "Did you mean 'models'"),
        ({"grid": {"models.mmvm.beta": [0.1, -1]}}, "models.mmvm.beta=-1: 'models.mmvm.beta': Input should be greater"),
        ({"grid": {"models.mmvm.beta": ["1e-3x"]}}, "valid number"),
        ({"grid": {"models.mmvm.beta": []}}, "has no values"),
        ({"grid": {"models.mmvm.sharing": ["mmvn"]}}, "mmvn"),
        ({}, "nothing is varied"),
        (
            {"grid": {"training.epochs": [1]}, "random": {"n": 1, "over": {"training.epochs": {"choice": [1]}}}},
            "grid and in random",
        ),
        ({"random": {"n": 1, "over": {"training.epochs": {"loguniform": [1, 2]}}}}, "Did you mean 'log_uniform'"),
        ({"random": {"n": 1, "over": {"training.epochs": {"log_uniform": [0, 2]}}}}, "not above 0"),
        ({"random": {"n": 1, "over": {"training.epochs": {"uniform": [3, 2]}}}}, "does not rise"),
        ({"random": {"n": 1, "over": {"training.epochs": {"uniform": [1, 2], "choice": [1]}}}}, "give one of"),
        ({"grid": {"samples.start": [0]}, "select": {}}, "cannot choose 'samples.start'"),
        ({"grid": {"training.epochs": [1]}, "select": {"inner_fold": 3}}, "Did you mean 'inner_folds'"),
        ({"girid": {"training.epochs": [1]}}, "Did you mean 'grid'"),
    ],
)
def test_what_is_wrong_is_said_with_the_nearest_name(settings, message):
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        variations(sweep(**settings))


def test_an_experiment_is_inline_or_a_file_beside_the_sweep(tmp_path):
    (tmp_path / "odors.yaml").write_text(
        "name: odors\ndata: {spec: simulated_rats}\nsamples: {label: odor}\nmodels: {mmvm: {sharing: mmvm}}\n"
    )
    file = tmp_path / "rates.yaml"
    file.write_text("name: rates\nexperiment: odors.yaml\ngrid: {models.mmvm.beta: [1e-5, 1e-3]}\n")
    loaded = load_sweep_spec(file, ["training.epochs=7"])
    assert [cell.experiment.models["mmvm"].beta for cell in variations(loaded)] == [1e-5, 1e-3]
    assert all(cell.experiment.training.epochs == 7 for cell in variations(loaded))
    file.write_text("name: rates\nexperiment: odor.yaml\ngrid: {models.mmvm.beta: [1e-5]}\n")
    with pytest.raises(SpecError, match=r"Did you mean '.*odors\.yaml'"):
        load_sweep_spec(file)


def experiment(**settings) -> ExperimentSpec:
    return ExperimentSpec.model_validate({**deepcopy(EXPERIMENT), **settings})


def test_a_cell_is_named_by_what_its_result_depends_on():
    name = cell_name(experiment(), "data")
    same = [
        experiment(name="other", description="words"),
        experiment(data={"spec": "simulated_rats", "root": "elsewhere"}),
        experiment(training={"epochs": 3, "device": "cpu", "threads": 2, "checkpoint_every": 7}),
    ]
    other = [experiment(analyses={"decoding": {}}), experiment(training={"epochs": 4}), experiment(split={"seed": 1})]
    assert all(cell_name(one, "data") == name for one in same)
    assert len({name, cell_name(experiment(), "other data"), *(cell_name(one, "data") for one in other)}) == 5


def test_cells_share_a_training_that_is_the_same():
    one, other = experiment(), experiment(analyses={"decoding": {}}, training_of={"alone": {"epochs": 9}})
    assert training_name(one, "mmvm", "data") == training_name(other, "mmvm", "data")
    assert training_name(one, "alone", "data") != training_name(other, "alone", "data")
    assert training_name(one, "mmvm", "data") != training_name(one, "alone", "data")


def test_cells_that_differ_in_beta_and_seeds_could_be_one_stack():
    models = deepcopy(EXPERIMENT["models"])
    models["mmvm"]["beta"] = 0.3
    stacked = experiment(models=models, training={"epochs": 3, "seeds": [4]})
    assert stack_name(stacked, "data") == stack_name(experiment(), "data")
    assert stack_name(experiment(training={"epochs": 4}), "data") != stack_name(experiment(), "data")


def tasks_of(folder, **settings) -> list[CellTask]:
    cells = variations(sweep(**settings))
    return [
        CellTask(str(folder), cell_name(one.experiment, "data"), one.experiment.model_dump(mode="json"), "data", None)
        for one in cells
    ]


def sizes(found) -> list[int]:
    return [len(batch) for batch in found]


def test_batches_are_stackable_cells_divided_over_the_jobs(tmp_path):
    betas = {"models.mmvm.beta": [1, 2, 3, 4, 5, 6]}
    tasks = tasks_of(tmp_path, grid={"training.epochs": [1, 2], **betas})
    assert sizes(cell_batches(tasks, None, 1)) == [6, 6]
    assert sizes(cell_batches(tasks, None, 4)) == [3, 3, 3, 3]
    assert sizes(cell_batches(tasks, None, 5)) == [3, 3, 3, 3]
    assert sizes(cell_batches(tasks, None, 100)) == sizes(cell_batches(tasks, None, None)) == [1] * 12
    assert sizes(cell_batches(tasks, 5, None)) == sizes(cell_batches(tasks, 5, 2)) == [5, 5, 2]
    for batch in cell_batches(tasks, None, 4):
        assert len({task.spec.training.epochs for task in batch}) == 1
    # What no stack can join is not kept waiting for one another.
    assert sizes(cell_batches(tasks_of(tmp_path, grid={"training.epochs": [1, 2, 3]}), None, 1)) == [1, 1, 1]


def test_a_batch_is_no_larger_than_a_stack(tmp_path):
    many = {"models.mmvm.beta": [0.01 * number for number in range(1, 14)], "training.seeds": [[0, 1]]}
    content = {**deepcopy(EXPERIMENT), "split": {"kind": "kfold", "folds": 5}}
    assert sizes(cell_batches(tasks_of(tmp_path, experiment=content, grid=many), None, 1)) == [4, 4, 5]


def test_batches_of_a_continued_sweep_are_the_remaining_parts(tmp_path):
    tasks = tasks_of(tmp_path, grid={"models.mmvm.beta": [1, 2, 3, 4, 5, 6]})
    assert remaining_batches(tasks, None, 2) == [tuple(tasks[:3]), tuple(tasks[3:])]
    for number, task in enumerate(tasks[:3]):
        done = SweepFolder(tmp_path).cell_folder(task.cell) / "DONE"
        done.parent.mkdir(parents=True)
        done.touch()
        ahead = remaining_batches(tasks, None, 2)
        if number < 2:
            assert ahead == [tuple(tasks[number + 1 : 3]), tuple(tasks[3:])]
        else:  # one job would be idle
            assert ahead == [(tasks[3],), tuple(tasks[4:])]
    assert remaining_batches(tasks[:3], None, 2) == []


def test_a_fingerprint_is_of_activity_and_labels():
    recordings = tuned_recordings({"mitt": (4, 12), "stella": (3, 12)})
    moved = recordings.copy()
    moved["mitt"].attrs["source_file"] = "elsewhere.nwb"
    changed = recordings.copy(deep=True)
    changed["mitt"]["spike_count"][0, 0, 0] += 1
    relabelled = recordings.copy(deep=True)
    relabelled["mitt"]["odor"][0] = "B" if str(relabelled["mitt"]["odor"].values[0]) != "B" else "C"
    assert fingerprint(moved) == fingerprint(recordings)
    assert len({fingerprint(one) for one in (recordings, changed, relabelled)}) == 3


def test_shards_divide_the_cells():
    items = list(range(11))
    shards = [shard(items, f"{number}/3") for number in (1, 2, 3)]
    assert sorted(item for one in shards for item in one) == items
    for text in ("0/3", "4/3", "1", "a/b", "1/0"):
        with pytest.raises(SpecError, match="i/n"):
            shard(items, text)


@pytest.mark.parametrize("outer", [SplitSpec(kind="kfold", folds=3), SplitSpec(kind="halves", repeats=2, validation=0.25)])
def test_inner_folds_divide_the_training_side_and_use_no_test_trial(outer):
    study = simulate(repeats=(12, 14, 15), splits=outer)
    inner = inner_splits(study.samples, study.splits, outer, folds=3)
    for name, node in inner.children.items():
        outer_part = study.splits[name]["part"].to_numpy()
        assert node["outer"].values.tolist() == np.repeat(np.arange(len(outer_part)), 3).tolist()
        for number, part in enumerate(outer_part):
            folds = node["part"].to_numpy()[node["outer"].to_numpy() == number]
            training = is_fitted(part)
            assert (folds[:, ~training] == Part.UNUSED).all()
            assert ((folds == Part.TEST).sum(axis=0) == training).all()
            assert ((folds == Part.VALIDATION).any()) == (outer.validation > 0)


def test_inner_folds_follow_time_where_the_outer_split_does():
    recordings = simulate()
    samples = recordings.samples
    for node in samples.children.values():
        node.coords["onset"] = ("trial", np.arange(node.sizes["trial"]) * 5.0)
    spec = SplitSpec(kind="chronological", train_share=0.7)
    inner = inner_splits(samples, make_splits(samples, spec), spec, folds=2)
    for node in inner.children.values():
        tested = [np.flatnonzero(part == Part.TEST) for part in node["part"].to_numpy()]
        assert tested[0].max() < tested[1].min()


@pytest.mark.parametrize("kind", ["published", "leave_one_animal_out"])
def test_inner_folds_need_training_trials_apart_from_test_trials(kind):
    study = simulate()
    with pytest.raises(SplitError, match="no inner folds"):
        inner_splits(study.samples, study.splits, SplitSpec(kind=kind), folds=2)
