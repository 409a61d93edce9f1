"""Coherent activity scores near its ceiling, other activity at chance, and each null is uniform on what it is for."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from neuromvm.analysis import judged
from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.figures import style
from neuromvm.analysis.generated import coherence
from neuromvm.analysis.generated.classes import Classified
from neuromvm.analysis.generated.coherence import Options
from neuromvm.analysis.generated.coherence_scores import SETTINGS, draw, renamed, share_right
from neuromvm.analysis.generated.imputation_skill import carriers, skill
from neuromvm.analysis.judged import ALL_ANIMALS, CLASS_NAMES, LABELS, animals_of
from neuromvm.analysis.scores import Absent
from neuromvm.analysis.statistics.renamed_classes import Renaming
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study
from neuromvm.inference.transfer import impute_each, transfer
from neuromvm.schema import Part
from neuromvm.specs import ExperimentSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec, to_yaml
from neuromvm.training.fit import fit
from tests.analysis.generated_activity import say
from tests.analysis.score_rows import unexplained
from tests.analysis.simulation import simulate
from tests.analysis.test_report import SPEC
from tests.conftest import tuned_recordings

OPTIONS = Options(bootstraps=100, permutations=500)
SAME = np.arange(4)


@pytest.fixture(scope="module")
def study():
    return simulate(repeats=(10, 12, 14), signal=1.5)


@pytest.fixture(scope="module")
def trained():
    """Return scores of a model whose animals share a code and of one whose do not, both trained."""
    sizes = {"mitt": (12, 60), "stella": (9, 52), "barat": (10, 44), "buchanan": (11, 40)}
    samples = make_samples(tuned_recordings(sizes, classes="ABCD", tuning=0.6), SampleSpec(label=["odor"]))
    splits = make_splits(samples, SplitSpec())
    trees = {}
    for name, sharing in {
        "mmvm": {"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.8},
        "independent": "independent",
    }.items():
        model = ModelSpec(sharing=sharing, latent=3, beta=0.02, networks="linear", scale="constant", input_noise=0.3)
        fitted = fit(samples, splits, model, TrainingSpec(epochs=60, learning_rate=0.03), progress=False)
        trees[name] = transfer(fitted, samples, splits), impute_each(fitted, samples, splits)
    transferred, imputed = ({name: one[place] for name, one in trees.items()} for place in (0, 1))
    return coherence.coherence(samples, splits, transferred, imputed, OPTIONS)


def null_of(scores, null, statistic):
    """Return a null of every setting of one model, over all animals."""
    return scores["null_score"].sel(null=null, null_statistic=statistic, target=ALL_ANIMALS)


def value_of(scores, name, **selected):
    return scores[name].sel(unit_of_inference="trials", statistic="value", **selected)


def test_exchanged_names_judge_what_is_generated_from_other_animals(trained):
    rows = [name for name in SETTINGS if name in ("cross", "imputed")]
    values = trained["score"].sel(representation="mmvm", unit_of_inference="trials", statistic="value", drop=True)
    drawn = xr.concat([values * 0.5, values * 0.7, values * 1.1], dim="permutation").to_dataset(name="value")
    found = coherence._correspondence(trained, {"mmvm": drawn}, "no refits")
    dims, statistics = found["correspondence"]
    null = xr.DataArray(statistics, dims=dims).isel(representation=0).assign_coords(setting=list(SETTINGS))
    np.testing.assert_allclose(null.sel(setting=rows).isel(null_statistic=3), 0.5)  # (1 + 1) / (3 + 1)
    assert null.sel(setting=["within", "ceiling"]).isnull().all()
    assert found["correspondence_draws"][1] == [3, 0]
    assert found["correspondence_kind"][1] == [coherence.EXCHANGED, ""]
    failed = coherence._correspondence(trained, {"mmvm": drawn * np.nan}, "no refits")
    assert (failed["correspondence"][1][0, [SETTINGS.index(row) for row in rows], :, 3] == 1).all()
    assert failed["correspondence_kind"][1][0].endswith("; 3 of 3 failed and count as reaching the score")
    assert found["correspondence_absent"][1][0][1:3] == ["", ""]
    assert found["correspondence_absent"][1][1][1:3] == ["no refits"] * 2
    assert "neuromvm refit RUN" in str(trained["correspondence_absent"].sel(setting="cross").values[0])


def test_a_trained_coherent_model_is_near_its_ceiling(trained):
    one = trained.sel(representation="mmvm")
    for setting in ("within", "cross", "imputed"):
        assert judged.values(one).sel(setting=setting) > 0.9 * judged.values(one).sel(setting="ceiling")
        assert null_of(one, LABELS, "p").sel(setting=setting) == pytest.approx(1 / 501)
    assert (null_of(one, CLASS_NAMES, "p").sel(setting=["cross", "imputed"]) < 0.05).all()
    assert (one["pair_p"].sel(target=animals_of(trained)) < 0.01).all()


def test_the_report_can_say_how_each_null_was_made(trained):
    for null in map(str, trained["null"].values):
        assert judged.null_in_words(trained, null)


def test_a_trained_independent_model_keeps_classes_within_animals_only(trained):
    one = trained.sel(representation="independent")
    assert judged.values(one).sel(setting="within") > 0.9 * judged.values(one).sel(setting="ceiling")
    cross = judged.values(one).sel(setting="cross")
    assert cross < null_of(one, CLASS_NAMES, "high").sel(setting="cross") < 0.8
    assert null_of(one, CLASS_NAMES, "p").sel(setting="cross") > 0.05
    assert judged.values(one).sel(setting="imputed") == pytest.approx(0.25, abs=0.05)
    # As published, its own pairs are counted too.
    lines = {
        (line.what, line.setting): line.value for line in coherence.summarize(trained) if line.representation == "independent"
    }
    assert lines["coherence as published (accuracy)", "within and cross"] > float(cross) + 0.1


def test_skill_is_at_best_that_of_the_condition_mean_without_shared_events(trained):
    mean = value_of(trained, "skill", target=ALL_ANIMALS)
    assert -0.5 < mean.sel(representation="mmvm") < 0.02
    assert mean.sel(representation="independent") < mean.sel(representation="mmvm") - 0.3


def test_a_pair_is_classified_as_by_hand(study):
    tree = say(study, lambda source, target: SAME if source == target else np.array([1, 0, 2, 3]))
    scores = coherence.coherence(study.samples, study.splits, {"some": tree}, {}, OPTIONS).isel(representation=0)
    for source, target in (("rat0", "rat0"), ("rat0", "rat2")):
        each, ceilings = [], []
        activity = study.samples[target]["activity"].to_numpy().reshape(-1, study.samples[target].sizes["unit"]).astype(float)
        label = study.samples[target]["label"].to_numpy()[:, 0]
        for split in range(2):
            training = study.splits[target]["part"].to_numpy()[split] != Part.TEST
            scaler = StandardScaler().fit(activity[training])
            model = LogisticRegression(C=0.02, max_iter=1000).fit(scaler.transform(activity[training]), label[training])
            rows = tree[source]["split"].to_numpy() == split
            made = tree[source][target]["activity"].to_numpy()[rows].reshape(rows.sum(), -1)
            true = tree[source]["label"].to_numpy()[rows, 0]
            each.append(balanced_accuracy_score(true, model.predict(scaler.transform(made))))
            ceilings.append(balanced_accuracy_score(label[~training], model.predict(scaler.transform(activity[~training]))))
        assert scores["pair_score"].sel(source=source, target=target).item() == pytest.approx(np.mean(each))
        assert value_of(scores, "score", setting="ceiling", target=target).item() == pytest.approx(np.mean(ceilings))
    within = [scores["pair_score"].sel(source=name, target=name).item() for name in study.samples.children]
    assert judged.values(scores).sel(setting="within").item() == pytest.approx(np.mean(within))
    assert scores["pair_score"].sel(source="rat0", target="rat2") == 0.5  # two of four classes are exchanged
    assert scores["pair_accuracy"].sel(source="rat0", target="rat2") == 0.5


def test_permuted_labels_are_uniform_on_noise():
    p = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        labels = random.permutation(np.repeat(np.arange(4), 15)).astype(np.int16)[:, None]
        said = Classified(random.integers(0, 4, (2, 1, 60, 1)).astype(np.int16), np.ones((1, 4), bool), labels)
        drawn = draw(said, Resampling(100, 200, seed), "rat")
        p.append(((drawn.null[:, 0] >= drawn.observed[0]).sum() + random.random()) / 201)
    assert kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize("animals", [2, 4])
def test_renamed_classes_are_uniform_where_codes_do_not_correspond_and_permuted_labels_are_not(animals):
    by_name, permuted = [], []
    names = [f"rat{number}" for number in range(animals)]
    for seed in range(80):
        random = np.random.default_rng(seed)
        labels = {name: random.permutation(np.repeat(np.arange(4), 8)).astype(np.int16)[:, None] for name in names}
        code = {name: random.permutation(4) for name in names}  # how an animal writes each class
        resampling, renaming = Resampling(100, 200, seed), Renaming(names, 4, 200, seed)
        observed, renamings, permutations = [], [], []
        for source in names:
            others = [name for name in names if name != source]
            # What a source writes for a class, others read by their own codes: right or wrong for all trials of the class.
            said = np.stack([code[other].argsort()[code[source][labels[source]]] for other in others]).astype(np.int16)
            one = Classified(said[None], np.ones((len(others), 4), bool), labels[source])
            drawn = draw(one, resampling, source)
            observed.append(drawn.observed)
            permutations.append(drawn.null)
            renamings.append(renamed(one, source, others, renaming))
        value = np.mean(observed)
        for found, nulls in ((by_name, renamings), (permuted, permutations)):
            null = np.mean(nulls, axis=(0, 2))
            tied = np.isclose(null, value).sum() + 1
            found.append(((null > value + 1e-9).sum() + tied * random.random()) / 201)
    assert kstest(by_name, "uniform").pvalue > 0.01
    assert np.mean(np.array(permuted) < 0.01) > 0.15  # as if the animals shared a code, by luck


def test_imputed_means_have_no_skill_and_shared_events_have():
    random = np.random.default_rng(0)
    study = simulate(repeats=(25, 25, 25), splits=SplitSpec())
    for name, node in study.samples.children.items():
        # Every trial is an event of its own, the same in all animals.
        node["match"] = node["label"].copy(data=np.arange(100, dtype=np.int16)[:, None])
        study.splits[name]["part"].values[:] = np.where(np.arange(100) % 2, Part.TEST, Part.TRAIN)
    tested = np.arange(1, 100, 2)
    node = study.samples["rat0"]
    counts, label = node["activity"].to_numpy()[:, 0].astype(float), node["label"].to_numpy()[:, 0]
    means = np.stack([counts[(label == code) & (np.arange(100) % 2 == 0)].mean(axis=0) for code in range(4)])
    found = {}
    for kind, values in {
        "means": means[label[tested]],
        "events": 0.5 * means[label[tested]] + 0.5 * counts[tested],
        "noise": random.gamma(1, 5, counts[tested].shape),
    }.items():
        imputed = xr.Dataset(
            {
                "mean": (("replica", "tuple", "bin", "unit"), values[None].astype(np.float32)),
                "match": (("replica", "tuple"), tested[None].astype(np.int16)),
            },
            coords={"split": ("replica", [0])},
        )
        found[kind] = skill(study.samples, study.splits, imputed, "rat0", "count", Resampling(200, 0))
    assert found["means"][0] == pytest.approx(0, abs=0.03)
    assert found["events"][0] > 0.3
    assert np.quantile(found["events"][1], 0.025) > 0
    assert found["noise"][0] < -1


def test_a_tuple_is_counted_as_the_trial_of_its_first_animal(study):
    imputed = xr.Dataset(
        {
            "trial": (("replica", "tuple", "animal"), [[[3, 5], [-1, 7], [-1, -1]]]),
            "window": (("replica", "tuple", "animal"), np.zeros((1, 3, 2), int)),
        },
        coords={"animal": ["rat1", "rat2"]},
    )
    trial, _, labels = carriers(study.samples, imputed)
    assert trial.tolist() == [[3, 48 + 7, -1]]
    assert labels[55] == study.samples["rat2"]["label"].to_numpy()[7]


def test_trials_that_train_and_test_have_no_null(study):
    published = simulate(splits=SplitSpec(kind="published"))
    scores = coherence.coherence(published.samples, published.splits, {"some": say(published, lambda *_: SAME)}, {}, OPTIONS)
    assert np.isnan(scores["null_score"]).all()
    assert all(line.in_sample and isinstance(line.null, Absent) for line in coherence.summarize(scores))
    assert not any(unexplained(line) for line in coherence.summarize(scores))


def test_shares_named_rightly_are_those_of_brute_force():
    rng = np.random.default_rng(8)
    labels = rng.integers(3, size=(30, 2)).astype(np.int16)
    codes = rng.integers(3, size=(2, 3, 30, 2)).astype(np.int16)
    codes[0, :, 15:], codes[1, :, :15] = -1, -1  # each trial is tested in one split
    codes[:, 2] = -1
    codes[0, 0, :15] = labels[:15]
    value, draws = share_right(Classified(codes, np.ones((3, 3), bool), labels), Resampling(400, 0), "mitt")
    expected = [
        np.mean([(codes[k, one, rows] == labels[rows]).mean() for k, rows in enumerate((slice(15), slice(15, 30)))])
        for one in (0, 1)
    ]
    np.testing.assert_allclose(value[:2], expected)
    assert np.isnan(value[2])
    assert draws.shape == (400, 3)
    assert abs(draws[:, 0].mean() - value[0]) < 0.02
    # The spread is that of as many coin tosses, but for the split in which all are right.
    right = (codes[1, 0, 15:] == labels[15:]).mean(axis=1)
    assert draws[:, 0].std() == pytest.approx(right.std() / np.sqrt(15) / 2, rel=0.4)


def test_the_published_classifier_can_be_chosen():
    small = simulate(repeats=(8, 8, 8), signal=2, splits=SplitSpec())
    options = Options(classifier="mlp", hidden=(16,), bootstraps=100, permutations=500)
    scores = coherence.coherence(small.samples, small.splits, {"some": say(small, lambda *_: SAME)}, {}, options)
    assert judged.values(scores).sel(setting="cross").item() > 0.8


def test_numbers_and_figures_are_saved(trained, tmp_path):
    lines = coherence.summarize(trained)
    cross = next(line for line in lines if (line.representation, line.setting) == ("mmvm", "cross"))
    assert cross.interval.low <= cross.value <= cross.interval.high
    assert (cross.difference.baseline, cross.n.animals, cross.n.splits) == ("ceiling", 4, trained.attrs["splits"])
    assert "decode-only" in cross.null.kind
    assert [line for line in lines if unexplained(line)] == []
    published = next(line for line in lines if line.what.startswith("coherence as published"))
    assert published.interval.low < published.value < published.interval.high
    assert published.value == pytest.approx(float(trained["pair_accuracy"].sel(representation="mmvm").mean()))
    trained.to_netcdf(tmp_path / "scores.nc", engine="h5netcdf")
    read = xr.load_dataset(tmp_path / "scores.nc", engine="h5netcdf")
    drawn = coherence.plot(read)
    assert set(drawn) == {"settings", "pairs", "skill"}
    style.save(drawn["pairs"], read, tmp_path / "pairs")
    assert (tmp_path / "pairs.csv").stat().st_size > 1000


def test_a_figure_speaks_of_renamed_classes_only_where_they_were_renamed(trained):
    nobody = trained.assign(null_score=trained["null_score"].where(trained["null"] != CLASS_NAMES))
    for scores, named in ((trained, True), (nobody, False)):
        figure = coherence.plot(scores)["settings"]
        entries = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("renamed classes" in entries, "Light grey" in figure.get_supxlabel()) == (named, named)
        assert "permuted labels" in entries


def test_a_run_without_generated_activity_says_how_to_get_it(tmp_path):
    (tmp_path / "spec.yaml").write_text(to_yaml(ExperimentSpec.model_validate(SPEC)))
    with pytest.raises(RunFolderError, match=r"coherence: \{\}.*--resume"):
        coherence.compute(Study(tmp_path), Options())
    with pytest.raises(RunFolderError, match="no model 'other'"):
        coherence.compute(Study(tmp_path), Options(models=["other"]))
