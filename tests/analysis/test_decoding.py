import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection
from scipy.stats import poisson
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.decoding.scoring import Resampling, null_scores, score
from neuromvm.analysis.figures import style
from neuromvm.analysis.judged import ALL_ANIMALS, animals_of, values
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, Latents, RawFeatures
from neuromvm.analysis.scores import Absent
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.data.splits import make_splits
from neuromvm.errors import RunFolderError, SpecError
from neuromvm.specs import SplitSpec
from tests.analysis.simulation import shared_latents, simulate, study_of, with_node

OPTIONS = Options(principal_components=4, canonical_components=3, response_components=3, bootstraps=100, permutations=500)
ALIGNED = ["procrustes", "hyperalignment", "srm", "mcca"]
ONE_SPACE = ["hyperalignment", "srm", "mcca"]
SETTINGS = ["within", "cross", "others", "pooled"]


@pytest.fixture(scope="module")
def study():
    plain = simulate()
    return study_of(plain.samples, plain.splits, {"ideal": shared_latents(plain, seeds=2)})


@pytest.fixture(scope="module")
def scores(study):
    return decoding.compute(study, OPTIONS)


def mean_under(scores, null):
    return scores["null_score"].sel(null=null, target=ALL_ANIMALS)


def test_alignments_read_across_animals_what_they_share(scores):
    for name in ("ideal", *ALIGNED):
        null = mean_under(scores, "labels").sel(representation=name, setting="cross")
        assert values(scores).sel(representation=name, setting="cross") > null.sel(null_statistic="high") + 0.1
        assert null.sel(null_statistic="p") == pytest.approx(1 / 501)
    assert (values(scores).sel(representation="ideal", setting=SETTINGS) > 0.9).all()


def test_settings_that_make_no_sense_are_absent(scores):
    alone = ["raw", "raw_lda", "shrunk_lda", "poisson_bayes", "pca"]
    assert np.isnan(values(scores).sel(representation=alone, setting=["cross", "others", "pooled"])).all()
    assert np.isnan(values(scores).sel(representation="procrustes", setting=["others", "pooled"])).all()
    assert np.isfinite(values(scores).sel(representation=["ideal", *ONE_SPACE])).all()
    assert np.isnan(values(scores).sel(representation=alone, setting="within - cross")).all()
    assert np.isfinite(scores["accuracy"].sel(representation="mcca", target=animals_of(scores))).all()


def test_the_row_of_discriminants_is_that_of_scikit_learn(study):
    row = decoding.baseline("raw_lda", Inputs(study.samples, study.splits), OPTIONS)
    for name, node in decode(row, study.samples, study.splits).children.items():
        values = np.sqrt(study.samples[name]["activity"].values.reshape(study.samples[name].sizes["trial"], -1).astype(float))
        labels = study.samples[name]["label"].values[:, 0]
        for split, part in enumerate(study.splits[name]["part"].values):
            scaler = StandardScaler().fit(values[part == 1])
            fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(
                scaler.transform(values[part == 1]), labels[part == 1]
            )
            found = node["predicted"].sel(decoder=name)[split].values[part == 3, 0]
            assert (found == fitted.predict(scaler.transform(values[part == 3]))).mean() > 0.98  # features are single precision


def test_the_row_of_poisson_bayes_reads_counts_as_they_are(study):
    row = decoding.baseline(
        "poisson_bayes", Inputs(study.samples, study.splits), OPTIONS.model_copy(update={"prior_trials": 2.0})
    )
    node, part = study.samples["rat1"], study.splits["rat1"]["part"].values[1]
    counts, labels = node["activity"].values.reshape(node.sizes["trial"], -1).astype(float), node["label"].values[:, 0]
    train = counts[part == 1]
    rates = np.stack([(train[labels[part == 1] == code].sum(axis=0) + 2 * train.mean(axis=0)) for code in range(4)])
    number = np.bincount(labels[part == 1])
    log = poisson.logpmf(counts[part == 3][:, None], rates / (number[:, None] + 2)).sum(axis=-1)
    found = decode(row, study.samples, study.splits)["rat1"]["predicted"].sel(decoder="rat1")[1].values[part == 3, 0]
    np.testing.assert_array_equal(found, log.argmax(axis=1))


def test_rows_that_the_samples_cannot_have_are_left_out_and_it_is_said_why(study):
    floats = study.samples
    for name, node in study.samples.children.items():
        floats = with_node(floats, name, node.to_dataset().assign(activity=node["activity"].astype(np.float32)))
    found = decoding.compute(study_of(floats, study.splits), OPTIONS)
    assert set(found["representation"].values) == set(OPTIONS.baselines) - {"poisson_bayes"}
    assert found.attrs["omitted"] == "poisson_bayes: activity of rat0 is no count of spikes"
    alone = xr.DataTree.from_dict({"rat0": study.samples["rat0"].to_dataset()})
    alone.attrs = study.samples.attrs
    splits = xr.DataTree.from_dict({"rat0": study.splits["rat0"].to_dataset()})
    found = decoding.compute(study_of(alone, splits), OPTIONS)
    assert list(found["representation"].values) == ["raw", "raw_lda", "shrunk_lda", "poisson_bayes", "pca"]
    assert "srm: one animal" in found.attrs["omitted"]


def test_fewer_decoders_give_the_same_answers(study):
    aligned = decoding.baseline("mcca", Inputs(study.samples, study.splits), OPTIONS)
    names = ["rat2", "others"]
    every, some = decode(aligned, study.samples, study.splits), decode(aligned, study.samples, study.splits, names)
    for name in study.samples.children:
        xr.testing.assert_equal(every[name].to_dataset().sel(decoder=names), some[name].to_dataset())


def test_account_of_what_was_scored(study, scores):
    assert scores.attrs["chance"] == 0.25
    assert scores["seeds"].sel(representation="ideal") == 2
    for name, node in study.splits.children.items():
        assert scores["trials"].sel(target=name) == (node["part"] == 3).any("split").sum()
    within = scores["accuracy"].sel(representation="mcca").mean("split")
    means = [within.sel(source=name, target=name).item() for name in study.samples.children]
    assert values(scores).sel(representation="mcca", setting="within").item() == pytest.approx(np.mean(means))


def test_difference_to_the_reference_is_paired(study, scores):
    difference = scores["difference"].sel(unit_of_inference="trials")
    for name in scores["representation"].values:
        assert (difference.sel(reference=name, representation=name).fillna(0) == 0).all()
    value = values(scores)
    expected = (value.sel(representation="ideal") - value.sel(representation="mcca")).values
    found = difference.sel(reference="mcca", representation="ideal", target=ALL_ANIMALS, statistic="value").values
    np.testing.assert_allclose(found, expected)
    predictions = decode(Latents(study.latents("ideal"), study.splits, inverse_penalty=1), study.samples, study.splits)
    twins = score({"one": predictions, "two": predictions}, study.samples, Resampling(100, 500), "one")
    assert (twins["difference"].sel(unit_of_inference="trials", statistic="low") == 0).all()
    assert (values(twins) == values(twins).isel(representation=0)).all()


def test_noise_scores_at_the_floor():
    p, outside = [], 0
    for seed in range(12):
        noise = simulate(seed, signal=0, repeats=(6, 6, 6), units=(6, 6, 6))
        found = decoding.compute(noise, OPTIONS.model_copy(update={"baselines": ("raw", "srm", "mcca")}))
        null = mean_under(found, "labels").sel(setting=SETTINGS)
        value = values(found).sel(setting=SETTINGS)
        low, high = (null.sel(null_statistic=bound) for bound in ("low", "high"))
        outside += int(((value < low) | (value > high)).sum())
        p.append(null.sel(null_statistic="p").mean().item())
    assert abs(np.mean(p) - 0.5) < 4 * np.sqrt(1 / 12 / 12)  # as if the scores of one study were all the same
    assert outside / (12 * 9) < 0.25


def test_no_decoder_learns_from_test_trials(study):
    """Other labels on all test trials of a split change no prediction; other activity, only those of that animal."""
    representation = RawFeatures(Inputs(study.samples, study.splits), inverse_penalty=0.1)
    shared = Latents(study.latents("ideal"), study.splits, inverse_penalty=1)
    relabelled = study.samples
    for name, node in study.samples.children.items():
        dataset = node.to_dataset().copy(deep=True)
        dataset["label"].values[study.splits[name]["part"].values[0] == 3] = 1
        relabelled = with_node(relabelled, name, dataset)
    for one in (representation, shared):
        before, after = (decode(one, samples, study.splits) for samples in (study.samples, relabelled))
        for name in study.samples.children:
            first = (before[name]["split"] == 0).values
            xr.testing.assert_equal(before[name]["predicted"][first], after[name]["predicted"][first])
    moved = study.latents("ideal")["rat0"].to_dataset().copy(deep=True)
    moved["latent_mean"].values[:2, study.splits["rat0"]["part"].values[0] == 3] = 50
    other = Latents(with_node(study.latents("ideal"), "rat0", moved), study.splits, inverse_penalty=1)
    before, after = (decode(one, study.samples, study.splits) for one in (shared, other))
    for name in ("rat1", "rat2"):
        xr.testing.assert_equal(before[name]["predicted"][:2], after[name]["predicted"][:2])
    assert (before["rat0"]["predicted"][:2] != after["rat0"]["predicted"][:2]).any()


def test_only_test_trials_are_predicted(study):
    shared = Latents(study.latents("ideal"), study.splits, inverse_penalty=1)
    for name, node in decode(shared, study.samples, study.splits).children.items():
        part = study.splits[name]["part"].values[node["split"].values]
        assert np.array_equal(node["predicted"].values[:, 0, :, 0] >= 0, part == 3)


def test_order_of_animals_leaves_scores_unchanged(study, scores):
    samples = xr.DataTree.from_dict({name: study.samples[name].to_dataset() for name in reversed(list(study.samples.children))})
    samples.attrs = study.samples.attrs
    turned = decoding.compute(study_of(samples, study.splits), OPTIONS).sel(target=scores["target"])
    same = scores.sel(representation=list(OPTIONS.baselines))
    of_trials = [each["score"].sel(unit_of_inference="trials") for each in (turned, same)]
    np.testing.assert_allclose(*of_trials, atol=1e-6)
    np.testing.assert_allclose(*(each["null_score"].sel(null="labels") for each in (turned, same)), atol=1e-6)


def test_an_animal_left_out_is_read_by_the_others():
    loao = simulate(splits=SplitSpec(kind="leave_one_animal_out"))
    loao = study_of(loao.samples, loao.splits, {"ideal": shared_latents(loao)})
    found = decoding.compute(loao, OPTIONS)
    assert np.isnan(values(found).sel(setting="within")).all()
    assert values(found).sel(representation="ideal", setting="others") > 0.9
    assert np.isnan(values(found).sel(representation="mcca")).all()


def test_windows_of_a_trial_stay_together():
    whole = simulate(windows=3, repeats=(6, 6, 6))
    found = decoding.compute(whole, OPTIONS.model_copy(update={"baselines": ("mcca",)}))
    assert found["trials"].sel(target=ALL_ANIMALS) == sum(
        (node["part"] == 3).any("split").sum().item() for node in whole.splits.children.values()
    )
    assert values(found).sel(setting="within").item() > 0.5


def test_a_model_may_not_bear_the_name_of_a_baseline(study):
    named = study_of(study.samples, study.splits, {"mcca": study.latents("ideal")})
    with pytest.raises(SpecError, match="name of a baseline"):
        decoding.compute(named, OPTIONS)


def test_summary_has_a_line_for_every_score(scores):
    lines = decoding.summarize(scores)
    assert len(lines) == 6 + 5 * 1 + 4 + 3 * 6  # ideal; read alone; procrustes; in one space
    assert not any(isinstance(part, Absent) for line in lines for part in (line.interval, line.null, line.chance))
    assert {line.difference for line in lines if isinstance(line.difference, Absent)} == {Absent("others are compared with it")}
    line = next(line for line in lines if line.representation == "mcca" and line.setting == "cross")
    assert line.interval.low < line.value < line.interval.high
    assert line.null.low < line.chance < line.null.high
    assert (line.n.animals, line.n.splits) == (3, 2)


def test_what_is_lost_between_animals_is_within_minus_cross(scores):
    value = values(scores)
    for line in decoding.summarize(scores):
        if line.setting == "within - cross":
            one = value.sel(representation=line.representation)
            assert line.value == pytest.approx(float(one.sel(setting="within") - one.sel(setting="cross")))
            assert line.null.draws == 5  # six ways to give three animals the decoder of one
            assert line.null.p >= 1 / 6
            assert (line.chance, line.row()["baseline"][:4]) == (0, "none" if line.representation == "mcca" else "mcca")
    lost = value.sel(setting="within - cross")
    found = scores["difference"].sel(
        representation="ideal", reference="mcca", setting="within - cross", target=ALL_ANIMALS, unit_of_inference="trials"
    )
    low, difference, high = (float(found.sel(statistic=statistic)) for statistic in ("low", "value", "high"))
    assert difference == pytest.approx(float(lost.sel(representation="ideal") - lost.sel(representation="mcca")))
    assert low <= difference <= high
    of_animals = scores["score"].sel(unit_of_inference="trials", statistic="value", target=animals_of(scores))
    expected = of_animals.sel(setting="within") - of_animals.sel(setting="cross")
    np.testing.assert_allclose(of_animals.sel(setting="within - cross"), expected, atol=1e-6)


def test_scores_of_an_earlier_version_name_the_command(scores):
    earlier = xr.Dataset({"value": values(scores)}, attrs=scores.attrs)
    for refused in (decoding.summarize, decoding.plot):
        with pytest.raises(RunFolderError, match=r"earlier version.*neuromvm analyze decoding"):
            refused(earlier)


def test_further_nulls_that_refit_are_looked_up_by_name(study, scores):
    """A second refitted null of one representation is a further coordinate, and a further line where it has scores."""
    observed = decode(Latents(study.latents("ideal"), study.splits, inverse_penalty=1), study.samples, study.splits)
    number = np.zeros(next(iter(observed.children.values())).sizes["replica"], dtype=int)
    refit = null_scores(observed, study.samples, number, "refits: class correspondence scrambled").sel(setting=["cross"])
    refits = {"ideal": {"class correspondence": refit}}
    raw = decode(RawFeatures(Inputs(study.samples, study.splits), inverse_penalty=0.1), study.samples, study.splits)
    found = score({"ideal": observed, "raw": raw}, study.samples, Resampling(100, 500), "raw", refits=refits)
    offered = ["labels", "class names", "exchanged decoders", "scrambled correspondence"]
    assert found["null"].values.tolist() == [*offered, "class correspondence"]
    lines = {(line.representation, line.setting): line for line in decoding.summarize(found)}
    line = lines["ideal", "cross, class correspondence"]
    assert (line.null.kind, line.null.draws, line.null.p) == ("refits: class correspondence scrambled", 1, 1)
    assert line.null.mean == pytest.approx(line.value)
    assert lines["ideal", "cross"].null.draws == 500
    assert [name for name, setting in lines if "correspondence" in setting] == ["ideal"]


def test_figures_are_drawn_from_saved_scores_and_saved_alike(scores, tmp_path):
    scores.to_netcdf(tmp_path / "decoding.nc", engine="h5netcdf")
    saved = xr.load_dataset(tmp_path / "decoding.nc", engine="h5netcdf")
    for attempt in ("first", "second"):
        figures = decoding.plot(saved)
        assert set(figures) == {"settings", "difference", "transfer", "confusion"}
        style.save(figures["transfer"], saved, tmp_path / attempt)
    for suffix in (".png", ".pdf", ".csv"):
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()


def test_computing_loads_neither_torch_nor_a_plotting_library():
    modules = "neuromvm.analysis.decoding.decoding, neuromvm.analysis.latents.trajectories"
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'matplotlib', 'umap'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def incomplete():
    """Return a study in which rat2 lacks classes C and D, and rat1 lacks A; what they have in common is B."""
    whole = simulate(repeats=(12, 12, 12))
    kept = {"rat0": [0, 1, 2, 3], "rat1": [1, 2, 3], "rat2": [0, 1]}
    nodes = {}
    for name, codes in kept.items():
        node = whole.samples[name].to_dataset()
        nodes[name] = node.isel(trial=np.isin(node["label"].values[:, 0], codes))
    samples = xr.DataTree.from_dict(nodes)
    samples.attrs = whole.samples.attrs
    study = study_of(samples, make_splits(samples, SplitSpec(kind="halves", repeats=2)))
    return study_of(study.samples, study.splits, {"ideal": shared_latents(study, noise=0.05)})


def test_decoders_are_scored_on_the_classes_they_share_with_the_target(incomplete):
    found = decoding.compute(incomplete, OPTIONS)
    ideal = found.sel(representation="ideal")
    assert (values(ideal).sel(setting=SETTINGS) > 0.97).all()  # no class is counted that a decoder cannot know
    cross = ideal.sel(setting="cross")
    # rat0 is read by rat1 (B, C, D) and rat2 (A, B); rat1 and rat2 share B alone, so they read rat0 only.
    assert cross["chance"].sel(target=animals_of(found)).values == pytest.approx([(1 / 3 + 1 / 2) / 2, 1 / 3, 1 / 2])
    assert ideal["chance"].sel(setting="within", target=animals_of(found)).values == pytest.approx([1 / 4, 1 / 3, 1 / 2])
    assert np.isnan(ideal["accuracy"].sel(source="rat1", target="rat2")).all()


def test_all_representations_are_scored_on_the_same_pairs(incomplete):
    found = decoding.compute(incomplete, OPTIONS)
    there = np.isfinite(found["accuracy"].sel(representation=["ideal", *ALIGNED]).values)
    assert (there == there[0]).all()
    mean = mean_under(found, "labels").sel(setting="cross", null_statistic="mean")
    np.testing.assert_allclose(mean.dropna("representation"), 0.4167, atol=0.06)


@pytest.mark.parametrize("animals", [3, 4, 5])
def test_the_decoder_of_others_never_learns_from_the_target(animals):
    plain = simulate(repeats=(60,) + (5,) * (animals - 1), units=(8,) * animals)
    latents = Latents(shared_latents(plain), plain.splits, inverse_penalty=1.0)
    node = plain.samples["rat0"].to_dataset()
    renamed = node.assign(label=(node["label"] + 1) % 4)  # the target, with most of all trials, names classes differently
    samples = with_node(plain.samples, "rat0", renamed)
    predicted = decode(latents, samples, plain.splits, ["others", "pooled"])["rat0"]["predicted"].values[..., 0]
    tested = plain.splits["rat0"]["part"].values == 3
    label = np.broadcast_to(node["label"].values[:, 0], tested.shape)[tested]
    assert (predicted[:, 0][tested] == label).mean() > 0.95
    assert (predicted[:, 1][tested] == label).mean() < 0.5


def unequal(study, counts, animals=None):
    """Return a study with these numbers of trials of each class, in all animals or some, in halves."""
    nodes = {name: node.to_dataset() for name, node in study.samples.children.items()}
    for name in animals or list(nodes):
        label = nodes[name]["label"].values[:, 0]
        taken = np.concatenate([np.flatnonzero(label == code)[:count] for code, count in enumerate(counts)])
        nodes[name] = nodes[name].isel(trial=np.sort(taken))
    samples = xr.DataTree.from_dict(nodes)
    samples.attrs = study.samples.attrs
    return study_of(samples, make_splits(samples, SplitSpec(kind="halves", repeats=2)))


def test_classes_count_alike_in_every_decoder_however_many_trials_they_have():
    gaps, unweighted = {"raw": [], "shrunk_lda": [], "poisson_bayes": []}, []
    for seed in range(3):
        study = unequal(simulate(seed, signal=0.5, repeats=(44, 44, 44)), (44, 16, 12, 8))
        options = OPTIONS.model_copy(update={"baselines": ("raw", "raw_lda", "shrunk_lda", "poisson_bayes")})
        within = values(decoding.compare(study.samples, study.splits, {}, options)).sel(setting="within")
        for name, of_name in gaps.items():
            of_name.append(float(within.sel(representation=name) - within.sel(representation="raw_lda")))
        unweighted.append(_unweighted(study) - float(within.sel(representation="raw_lda")))
    assert np.mean(unweighted) < -0.1  # what decoders lose that do not weight classes
    assert all(np.mean(of_name) > -0.04 for of_name in gaps.values())


def _unweighted(study):
    """Return the balanced accuracy of logistic regressions in which every trial counts alike."""
    inputs, found = Inputs(study.samples, study.splits), []
    for name, node in study.samples.children.items():
        labels = node["label"].values[:, 0]
        for split, part in enumerate(study.splits[name]["part"].values):
            scaled = inputs.scaled(split, name)[:, 0]
            fitted = LogisticRegression(C=0.02, max_iter=1000).fit(scaled[part == 1], labels[part == 1])
            found.append(balanced_accuracy_score(labels[part == 3], fitted.predict(scaled[part == 3])))
    return np.mean(found)


def test_a_pooled_decoder_weights_classes_over_the_samples_of_all_animals():
    study = unequal(simulate(repeats=(20, 20, 20)), (20, 6, 4, 4), animals=["rat0"])
    shared = Latents(shared_latents(study, noise=1.5), study.splits, inverse_penalty=1)
    found = decode(shared, study.samples, study.splits)
    training = {name: study.splits[name]["part"].values[0] == 1 for name in study.samples.children}
    features = np.concatenate([shared.seen(0, name, name)[side][:, 0] for name, side in training.items()])
    labels = np.concatenate([study.samples[name]["label"].values[side, 0] for name, side in training.items()])
    fitted = LogisticRegression(C=1, tol=1e-8, max_iter=5000, class_weight="balanced").fit(features, labels)
    for name in study.samples.children:
        tested = study.splits[name]["part"].values[0] == 3
        expected = fitted.predict(shared.seen(0, name, name)[tested][:, 0])
        codes = found[name]["predicted"].sel(decoder="pooled").values[0, tested, 0]
        np.testing.assert_array_equal(codes, expected)


def failing(refit, lacking):
    """Return refits of which the first lacks all scores, the second that of some cells."""
    changed = refit.copy(deep=True)
    for variable in ("value", "accuracy"):
        changed[variable].values[0] = np.nan
        cells = {dim: label for dim, label in lacking.items() if dim in changed[variable].dims}
        changed[variable].loc[{"permutation": changed["permutation"].values[1], **cells}] = np.nan
    return changed


def guesses_as_refits(study, number):
    """Return scores of latents that are noise, far below the observed scores."""
    refits = []
    for draw in range(number):
        guesses = shared_latents(study)
        for animal, node in enumerate(guesses.children.values()):
            drawn = np.random.default_rng([draw, animal]).standard_normal(node["latent_mean"].shape)
            node["latent_mean"].values[:] = drawn
        predicted = decode(Latents(guesses, study.splits, inverse_penalty=1), study.samples, study.splits)
        refits.append(null_scores(predicted, study.samples, np.full(2, draw), "refits: noise"))
    return xr.concat(refits, "permutation", data_vars="minimal", coords="minimal", compat="override")


@pytest.mark.parametrize("lacking", [{"target": "rat1"}, {"split": 0, "target": "rat1"}])
def test_refits_that_failed_count_as_reaching_every_score(study, lacking):
    number = 9
    observed = decode(Latents(study.latents("ideal"), study.splits, inverse_penalty=1), study.samples, study.splits)
    refit = guesses_as_refits(study, number)

    def judged(of_refits):
        return score(
            {"ideal": observed}, study.samples, Resampling(100, 500), "ideal", refits={"ideal": {"labels": of_refits}}
        ).isel(representation=0)

    whole = judged(refit)
    null = whole["null_score"].sel(null="labels", null_statistic="p", setting=SETTINGS)
    np.testing.assert_allclose(null, 1 / (number + 1))
    assert whole["null_kind"].sel(null="labels").item() == "refits: noise"
    found = judged(failing(refit, lacking))
    assert found["null_kind"].sel(null="labels").item() == "refits: noise; 2 of 9 failed and count as reaching the score"
    p = found["null_score"].sel(null="labels", null_statistic="p", setting=SETTINGS)
    np.testing.assert_allclose(p.sel(target=["rat0", "rat2"]), 2 / (number + 1))
    np.testing.assert_allclose(p.sel(target=[ALL_ANIMALS, "rat1"]), 3 / (number + 1))
    pairs = found["accuracy_p"].sel(target=["rat0", "rat1", "rat2"])
    alone, corrected = (pairs.sel(correction=name) for name in ("none", "family-wise"))
    np.testing.assert_allclose(alone.sel(target="rat1"), 3 / (number + 1))
    np.testing.assert_allclose(alone.sel(target="rat0"), 2 / (number + 1))
    np.testing.assert_allclose(corrected.values[~np.eye(3, dtype=bool)], 3 / (number + 1))
    lost = found["null_score"].sel(null="labels", setting="within - cross")
    assert lost.isnull().all()  # refits are no null of what is lost
    nothing = judged(refit.assign(value=refit["value"] * np.nan, accuracy=refit["accuracy"] * np.nan))
    assert (nothing["null_score"].sel(null="labels", null_statistic="p", setting=SETTINGS) == 1).all()
    assert (nothing["accuracy_p"].sel(correction="none", target=["rat0", "rat1", "rat2"]) == 1).all()
    line = next(line for line in decoding.summarize(nothing.expand_dims("representation")) if line.setting == "cross")
    assert line.null.p == 1
    assert "9 of 9 failed" in line.null.kind


def test_refits_with_exchanged_names_that_failed_count_as_reaching_every_score(study):
    observed = decode(Latents(study.latents("ideal"), study.splits, inverse_penalty=1), study.samples, study.splits)
    refit, settings = guesses_as_refits(study, 9), ["cross", "others", "pooled"]

    def judged(of_refits):
        null = {"ideal": {CORRESPONDENCE: of_refits}}
        scores = score({"ideal": observed}, study.samples, Resampling(100, 500), "ideal", refits=null).isel(representation=0)
        return scores["null_score"].sel(null=CORRESPONDENCE, null_statistic="p"), scores["null_kind"].sel(null=CORRESPONDENCE)

    p, kind = judged(refit)
    np.testing.assert_allclose(p.sel(setting=settings), 1 / 10)
    assert kind.item() == "refits: noise"
    p, kind = judged(failing(refit, {"target": "rat1"}))
    assert kind.item() == "refits: noise; 2 of 9 failed and count as reaching the score"
    np.testing.assert_allclose(p.sel(setting=settings, target=["rat0", "rat2"]), 2 / 10)
    np.testing.assert_allclose(p.sel(setting=settings, target=[ALL_ANIMALS, "rat1"]), 3 / 10)
    loss = refit.assign(accuracy=refit["accuracy"].where(np.eye(3, dtype=bool), 0))  # all is lost between animals
    loss["accuracy"] = loss["accuracy"].where(loss["accuracy"] == 0, 1)
    np.testing.assert_allclose(judged(loss)[0].sel(setting="within - cross"), 1 / 10)
    p, _ = judged(failing(loss, {"target": "rat1"}))
    np.testing.assert_allclose(p.sel(setting="within - cross", target=["rat0", "rat2"]), 2 / 10)
    np.testing.assert_allclose(p.sel(setting="within - cross", target=[ALL_ANIMALS, "rat1"]), 3 / 10)
    p, _ = judged(refit.assign(value=refit["value"] * np.nan, accuracy=refit["accuracy"] * np.nan))
    assert (p.sel(setting=[*settings, "within - cross"]) == 1).all()


def test_chance_is_drawn_where_it_is_for_each_score():
    study = unequal(simulate(), (10, 10, 0, 0), animals=["rat0"])
    options = OPTIONS.model_copy(update={"baselines": ("raw", "mcca"), "canonical_components": 1})
    found = decoding.compare(study.samples, study.splits, {}, options)
    chance = found["chance"].sel(target=ALL_ANIMALS)
    assert chance.sel(representation="raw", setting="within").item() == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    assert chance.sel(representation="mcca", setting="cross").item() == pytest.approx((0.5 + 0.375 + 0.375) / 3)
    figure = decoding.plot(found)["settings"]
    dashed = [line for line in figure.axes[0].collections if isinstance(line, LineCollection) and line.get_linestyle()[0][1]]
    drawn = sorted(float(line.get_segments()[0][0, 1]) for line in dashed)
    expected = sorted(
        chance.sel(setting=SETTINGS).values.ravel()[np.isfinite(values(found).sel(setting=SETTINGS)).values.ravel()]
    )
    np.testing.assert_allclose(drawn, expected)
    (label,) = [text.get_text() for text in figure.legends[0].get_texts() if text.get_text().startswith("chance")]
    assert label == f"chance, {min(expected):.3g} to {max(expected):.3g}"


def test_a_sorted_design_is_in_the_attributes():
    study = simulate()
    by_label = {
        name: node.to_dataset().isel(trial=np.argsort(node["label"].to_numpy()[:, 0], kind="stable"))
        for name, node in study.samples.children.items()
    }
    ordered = xr.DataTree.from_dict(by_label)
    ordered.attrs = study.samples.attrs
    options = OPTIONS.model_copy(update={"baselines": ("raw_lda",), "reference": "raw_lda"})
    flags = []
    for samples in (study.samples, ordered):
        scores = decoding.compare(samples, make_splits(samples, SplitSpec(kind="halves", repeats=1)), {}, options)
        flags.append({(line["animal"], line["flag"]) for line in json.loads(scores.attrs["design"])})
    expected = {(name, "sorted") for name in by_label}
    assert not flags[0] & expected
    assert expected <= flags[1]
