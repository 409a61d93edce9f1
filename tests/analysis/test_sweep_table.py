"""Choosing without test trials, and figures of sweeps drawn from tables with known numbers."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from neuromvm.analysis.figures import sweep as figures
from neuromvm.data.splits import inner_splits
from neuromvm.errors import SpecError
from neuromvm.specs import SplitSpec
from neuromvm.workflow.sweep.selection import choose, inner_scores, joined, selected_scores
from neuromvm.workflow.sweep.table import rows
from tests.analysis.simulation import shared_latents, simulate

SPLIT = SplitSpec(kind="kfold", folds=2)
DECODING = {"baselines": ["raw"], "reference": "raw", "bootstraps": 100, "permutations": 500}


def noise(study, splits, seed, dimensions=3):
    """Return latents that carry nothing, one replica for each split."""
    random = np.random.default_rng(seed)
    count = next(iter(splits.children.values())).sizes["split"]
    nodes = {}
    for name, node in study.samples.children.items():
        values = random.standard_normal((count, *node["label"].shape, dimensions)).astype(np.float32)
        dims = ("replica", "trial", "window", "latent")
        coords = {"split": ("replica", np.arange(count)), "window": node["window"]}
        nodes[name] = xr.Dataset({"latent_mean": (dims, values)}, coords=coords)
    return xr.DataTree.from_dict(nodes)


def with_splits(study, splits):
    return type(study)(**{**vars(study), "splits": splits})


def test_the_cell_with_signal_is_chosen():
    study = simulate(splits=SPLIT)
    inner = inner_splits(study.samples, study.splits, SPLIT, folds=2)
    good = inner_scores(study.samples, inner, {"mmvm": shared_latents(with_splits(study, inner))}, "cross", DECODING)["mmvm"]
    bad = inner_scores(study.samples, inner, {"mmvm": noise(study, inner, 0)}, "cross", DECODING)["mmvm"]
    assert len(good) == len(bad) == 2
    assert min(good) > 0.75
    assert max(bad) < 0.5
    assert choose(np.array([bad, good])).tolist() == [1, 1]


def test_choosing_among_noise_leaves_the_outer_score_at_chance():
    """Of eight cells that carry nothing, the best on inner folds is no better on test trials; the best on test trials is."""
    selected, peeked = [], []
    for seed in range(8):
        study = simulate(seed, signal=0, repeats=(8, 9), units=(4, 4), splits=SPLIT)
        inner = inner_splits(study.samples, study.splits, SPLIT, folds=2)
        found, outer = [], []
        for cell in range(8):
            latents = noise(study, inner, [seed, cell])
            found.append(inner_scores(study.samples, inner, {"m": latents}, "pooled", DECODING)["m"])
            whole = xr.DataTree.from_dict({
                name: node.to_dataset().isel(replica=[0, 2]).assign_coords(split=("replica", [0, 1]))
                for name, node in latents.children.items()
            })  # fmt: skip
            outer.append(inner_scores(study.samples, _outer(study), {"m": whole}, "pooled", DECODING)["m"])
        best = choose(np.array(found))
        selected.append(np.mean([outer[cell][split] for split, cell in enumerate(best)]))
        peeked.append(np.mean(np.max(outer, axis=0)))
    assert stats.ttest_1samp(selected, 0.25).pvalue > 0.01
    assert stats.ttest_1samp(peeked, 0.25).pvalue < 1e-3


def _outer(study):
    """Return the outer splits as a tree of inner splits with one fold each."""
    nodes = {name: node.to_dataset() for name, node in study.splits.children.items()}
    return xr.DataTree.from_dict({
        name: node.assign_coords(outer=("split", node["split"].values)) for name, node in nodes.items()
    })  # fmt: skip


def test_a_metric_that_cannot_be_had_is_refused():
    study = simulate(repeats=(12,), units=(8,), splits=SPLIT)
    inner = inner_splits(study.samples, study.splits, SPLIT, folds=2)
    with pytest.raises(SpecError, match="within"):
        inner_scores(study.samples, inner, {"mmvm": noise(study, inner, 0)}, "cross", DECODING)


def test_selected_scores_are_those_of_the_chosen_cell_in_each_split():
    study = simulate(splits=SPLIT)
    good, bad = shared_latents(study), noise(study, study.splits, 0, dimensions=5)
    scores = selected_scores(study.samples, study.splits, {"mmvm": [good, bad]}, DECODING)
    alone = [selected_scores(study.samples, study.splits, {"mmvm": [one, one]}, DECODING) for one in (good, bad)]
    for split in (0, 1):
        found = scores["split_value"].sel(representation="mmvm", split=split)
        np.testing.assert_array_equal(found, alone[split]["split_value"].sel(representation="mmvm", split=split))


def test_joined_latents_have_the_replicas_of_each_split_and_no_private_part():
    study = simulate(splits=SPLIT)
    narrow, wide = shared_latents(study, seeds=2, dimensions=2), shared_latents(study, seeds=2, dimensions=4)
    nodes = {name: node.to_dataset() for name, node in wide.children.items()}
    shared = ("latent", [True, True, True, False])
    wide = xr.DataTree.from_dict({name: node.assign_coords(shared=shared) for name, node in nodes.items()})
    tree = joined([narrow, wide])
    for name, node in tree.children.items():
        assert node["split"].values.tolist() == [0, 0, 1, 1]
        values = node["latent_mean"].to_numpy()
        assert values.shape[-1] == 3
        np.testing.assert_array_equal(values[:2, ..., :2], narrow[name]["latent_mean"].to_numpy()[:2])
        np.testing.assert_array_equal(values[2:], wide[name]["latent_mean"].to_numpy()[2:, ..., :3])
        assert (values[:2, ..., 2] == 0).all()


def table(seeds=1):
    """Return a sweep of two models over three betas and an autoencoder, with numbers that are easy to tell."""
    betas, splits = np.repeat([1e-3, 1e-2, 1e-1], seeds), 2
    cells, models = [f"c{place}" for place in range(len(betas))], ["mmvm", "alone", "plain"]
    rank = np.repeat([0.0, 1.0, 2.0], seeds)
    spread = np.array([-0.01, 0.01])

    def of(*per_model):
        return ("cell", "model", "split"), np.stack([one[:, None] + spread for one in per_model], axis=1)

    texts = np.array([[f"{model} {beta if model != 'plain' else ''}{place % seeds}" for model in models]
                      for place, beta in enumerate(betas)])  # fmt: skip
    same = np.broadcast_to(np.array(["net"] * 3), (len(betas), 3))
    return xr.Dataset(
        {
            "state": ("cell", ["done"] * len(betas)),
            "error": ("cell", [""] * len(betas)),
            "setting": (("cell", "field"), np.array([[str(beta)] for beta in betas])),
            "beta": (("cell", "model"), np.stack([betas, betas, np.full(len(betas), np.nan)], axis=1)),
            "loss": (("cell", "model"), np.stack([rank + 1, rank + 1, 0 * rank], axis=1)),
            "loss_sd": (("cell", "model"), np.zeros((len(betas), 3))),
            "objective": of(-10 - rank, -11 - 2 * rank, np.full(len(betas), -9.5)),
            "reconstruction_error": of(0.6 + 0.1 * rank, 0.6 + 0.15 * rank, np.full(len(betas), 0.55)),
            "error_of_mean": of(*[np.ones(len(betas))] * 3),
            "accuracy": of(0.5 + 0.1 * rank - 0.08 * rank**2, 0.4 - 0.05 * rank, np.full(len(betas), 0.3)),
            "reference_accuracy": (("cell", "split"), np.full((len(betas), splits), 0.58)),
            "line": (("cell", "model"), np.broadcast_to(np.array(models), (len(betas), 3))),
            "training": (("cell", "model"), texts),
            "comparable": (("cell", "model"), same),
            "sharing": (("cell", "model"), np.broadcast_to(np.array(["mmvm", "independent", "autoencoder"]), (len(betas), 3))),
        },
        coords={"cell": cells, "model": models, "split": np.arange(splits), "field": ["models.*.beta"]},
        attrs={"name": "rates", "setting": "cross", "animals": 2, "label": "odor", "chance": 0.25, "reference": "mcca"},
    )  # fmt: skip


def test_the_tradeoff_follows_beta_with_an_arrow_a_step():
    axes = figures.tradeoff(table()).axes[0]
    arrows = [text for text in axes.texts if text.arrow_patch is not None]
    assert [text.xy for text in arrows[:2]] == [pytest.approx((0.7, 0.52)), pytest.approx((0.8, 0.38))]
    assert [text.xyann for text in arrows[:2]] == [pytest.approx((0.6, 0.5)), pytest.approx((0.7, 0.52))]
    assert len(arrows) == 4
    assert [text.get_text() for text in axes.texts if text.arrow_patch is None] == ["0.001", "0.1"] * 2
    levels = {round(line.get_ydata()[0], 3) for line in axes.lines if len(line.get_xdata()) == 2 and line.get_xdata()[1] == 1}
    assert {0.25, 0.58} <= levels


def test_coherence_stands_beside_accuracy_along_beta():
    scores = table()
    coherent = scores.assign(coherence=scores["accuracy"] / 2)
    figure = figures.tradeoff(coherent)
    left, right = figure.axes
    for axes, factor in ((left, 1), (right, 0.5)):
        arrows = [text.xy for text in axes.texts if text.arrow_patch is not None]
        assert arrows[:2] == [pytest.approx((0.7, 0.52 * factor)), pytest.approx((0.8, 0.38 * factor))]
        assert any(line.get_label().startswith("_") and line.get_ydata()[0] == 0.25 for line in axes.lines)  # chance
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == len(set(names))
    numbers = figure.numbers.to_dataframe()
    assert numbers["line"].tolist() == ["mmvm"] * 3 + ["alone"] * 3
    np.testing.assert_allclose(numbers["coherence"], numbers["accuracy"] / 2)
    assert len(figures.tradeoff(scores.assign(coherence=scores["accuracy"] * np.nan)).axes) == 1


def test_a_training_that_several_cells_share_counts_once():
    repeated = xr.concat([table(), table().assign_coords(cell=["d0", "d1", "d2"])], "cell")
    once, twice = (figures._curves(one, ("accuracy",)) for one in (table(), repeated))
    for one, other in zip(once, twice, strict=True):
        np.testing.assert_allclose(one.mean["accuracy"], other.mean["accuracy"])
        np.testing.assert_allclose(one.deviation["accuracy"], other.deviation["accuracy"])
    np.testing.assert_allclose(once[0].deviation["accuracy"], np.std([-0.01, 0.01], ddof=1))


def test_the_objective_lies_below_that_of_the_plain_autoencoder():
    axes = figures.objective(table()).axes[0]
    assert axes.get_xscale() == "log"
    levels = [line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert levels == [pytest.approx(-9.5)]
    other = table()
    other["comparable"] = other["comparable"].where(other["model"] != "plain", "another net")
    assert not [line for line in figures.objective(other).axes[0].lines if list(line.get_xdata()) == [0, 1]]


def test_nothing_is_drawn_where_no_beta_is_swept():
    one = table().isel(cell=[0])
    assert figures.tradeoff(one) is None
    assert figures.objective(one) is None
    assert figures.tradeoff(table().drop_vars("accuracy")) is None


def test_rows_hold_settings_scores_and_what_was_chosen():
    full = table()
    full["inner_score"] = full["accuracy"]
    full["chosen"] = (("model", "split"), np.array([["c1", "c2"], ["c0", "c0"], ["c0", "c0"]]))
    found = rows(full)
    assert found["models.*.beta"].tolist() == [1e-3, 1e-2, 1e-1]
    assert found["mmvm chosen in splits"].tolist() == ["", "0", "1"]
    assert found["alone chosen in splits"].tolist() == ["0 1", "", ""]
    assert found["mmvm reconstruction error"].tolist() == pytest.approx([0.6, 0.7, 0.8])
