"""The report of a run: its words follow from the numbers, and names from files stay text."""

import gzip
import json
import re
import shutil
import subprocess
from base64 import b64decode
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neuromvm.analysis.figures.decoding import transfer
from neuromvm.analysis.figures.latents3d import TEST, cloud
from neuromvm.analysis.judged import ALL_ANIMALS, STATISTICS, UNITS_OF_INFERENCE, values
from neuromvm.analysis.pipeline import analyze
from neuromvm.analysis.report import write_report
from neuromvm.analysis.report.account import classes_table
from neuromvm.analysis.report.caveats import (
    confounded_labels,
    discriminants,
    few_animals,
    hard_to_exchange,
    lacking_classes,
    named_latents,
    repeated_animals,
    unequal_classes,
)
from neuromvm.analysis.report.document import render
from neuromvm.analysis.report.headline import Difference, compare, sentences
from neuromvm.analysis.report.results import pictures, score_table
from neuromvm.data.design import design_flags
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.files import write_json, write_tree
from neuromvm.folders.study import Study
from neuromvm.specs import ExperimentSpec, SplitSpec, to_yaml
from neuromvm.specs.experiment import NullSpec
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import provenance

HOSTILE = '</script><script>console.error("taken over")</script><img src=x onerror="console.error(1)">'
SPEC = {
    "name": "tiny",
    "data": {"spec": "simulated_rats"},
    "samples": {"label": ["odor"], "bin_width": 0.25},
    "split": {"kind": "halves", "repeats": 2, "validation": 0.5},
    "models": {"mmvm": {"sharing": "mmvm", "latent": 4}, "independent": {"sharing": "independent", "latent": 2}},
    "training": {"epochs": 4, "patience": 2, "device": "cpu"},
    "analyses": {"decoding": {"bootstraps": 100, "permutations": 500, "canonical_components": 4, "principal_components": 4}},
}


def tiny_run(folder):
    """Make a run folder of two simulated animals whose files say nasty things."""
    spec = ExperimentSpec.model_validate(SPEC)
    config = SimulationConfig(animals={"one": {"units": 8, "trials": 60}, "two": {"units": 9, "trials": 60}})
    recordings = recordings_from(simulate(config, seed=1), window=(0.0, 1.0), bin_width=0.25)
    recordings = recordings.map_over_datasets(with_hostile_odor)
    recordings.attrs |= {
        "citation": f"Nobody {HOSTILE}",
        "licence": "CC-BY-4.0",
        "dropped": json.dumps([["animal x", HOSTILE, 1]]),
    }
    samples = make_samples(recordings, spec.samples)
    splits = make_splits(samples, spec.split)
    folder.mkdir()
    (folder / "spec.yaml").write_text(to_yaml(spec))
    write_tree(folder / "recordings.nc", recordings)
    write_tree(folder / "splits.nc", splits)
    write_json(folder / "provenance.json", provenance(spec, recordings))
    for name, model in spec.models.items():
        fitted = fit(samples, splits, model, spec.training, folder=folder / "models" / name, progress=False)
        write_tree(folder / "models" / name / "latents.nc", fitted.embed(samples))
    return Study(folder)


def with_hostile_odor(dataset):
    if "odor" not in dataset.coords:
        return dataset
    odor = dataset["odor"].values.astype(object)
    odor[odor == "A"] = HOSTILE
    return dataset.assign_coords(odor=("trial", odor.astype(str)))


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("runs") / "bare")


@pytest.fixture(scope="module")
def scored(bare):
    folder = bare.path.parent / "scored"
    shutil.copytree(bare.path, folder)
    study = Study(folder)
    analyze(study, "decoding")
    write_report(study)
    return study


class Page(HTMLParser):
    """What a browser would make of a page: its elements, references, texts outside scripts, and rows of tables."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.references, self.text, self.rows, self.open = [], [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.references += [value for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page(scored):
    return Page((scored.path / "report.html").read_text())


def test_report_loads_nothing(page):
    assert page.references
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in page.references)
    policy = next(attrs["content"] for tag, attrs in page.elements if tag == "meta" and "http-equiv" in attrs)
    assert "default-src 'none'" in policy


def test_every_score_stands_in_a_table(scored, page):
    rows = [" | ".join(row) for row in page.rows]
    lines = scored.summary["analyses"]["decoding"]["scores"]
    assert len(lines) > 6
    for line in lines:
        value, low, high = (f"{line[key]:.3f}".replace("-", "−") for key in ("value", "low", "high"))
        assert any(
            row.startswith(f"{line['setting']} | {line['representation']}") and f"{value} [{low}, {high}]" in row for row in rows
        )


def test_names_from_files_stay_text(scored, page):
    html = (scored.path / "report.html").read_text()
    assert HOSTILE not in html
    assert "taken over" in "".join(page.text)  # it is shown
    assert not any("onerror" in attrs for _, attrs in page.elements)
    assert sum(tag == "h1" for tag, _ in page.elements) == 1


def test_the_library_that_draws_is_there_once_and_uploads_nothing(scored):
    html = (scored.path / "report.html").read_text()
    assert html.count("Plotly.newPlot(") == 1
    (packed,) = re.findall(r'id="library">([^<]*)<', html)
    assert b"plotly.js v" in gzip.decompress(b64decode(packed))[:200]
    assert html.count('"showSendToCloud":false') == 2
    assert len(html) < 4_000_000


def test_images_have_alternatives_and_tables_captions(page):
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert len(images) >= 5
    assert all(len(attrs["alt"]) > 20 for attrs in images)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table") >= 6


def test_the_same_run_gives_the_same_report(scored):
    assert render(Study(scored.path)) == (scored.path / "report.html").read_text()


def test_a_run_without_scores_names_the_command(bare):
    page = Page(render(bare))
    text = " ".join(page.text)
    assert f"neuromvm analyze decoding {bare.path}" in text
    assert "part of this experiment and has no scores here" in text
    assert "neuromvm analyze latent_scatter" in text
    assert not re.search(r"\b(loses|ahead of|ties)\b", text)


def test_a_run_cut_off_says_what_is_missing(bare, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(bare.path, folder)
    shutil.rmtree(folder / "models" / "independent")
    (folder / "provenance.json").unlink()
    text = " ".join(Page(render(Study(folder))).text)
    assert "No latents of independent" in text
    assert "No epoch is recorded" in text
    assert "provenance.json: no such file" in text


def copied(study, folder):
    shutil.copytree(study.path, folder)
    return Study(folder)


def without_reference(folder):
    file = folder / "scores" / "decoding.nc"
    scores = xr.load_dataset(file, engine="h5netcdf")
    write_tree(file, scores.sel(reference="mcca").drop_vars("reference"))


def of_an_earlier_version(folder):
    file = folder / "scores" / "decoding.nc"
    scores = xr.load_dataset(file, engine="h5netcdf")
    write_tree(file, xr.Dataset({"value": values(scores)}, attrs=scores.attrs))


def of_another_version(folder):
    file = folder / "scores" / "decoding.nc"
    scores = xr.load_dataset(file, engine="h5netcdf")
    write_tree(file, scores.assign_attrs(schema_version="0"))


def damaged(folder):
    (folder / "scores" / "decoding.nc").write_bytes(b"no netCDF")


def removed(folder):
    (folder / "scores" / "decoding.nc").unlink()


@pytest.mark.parametrize("harm", [without_reference, of_an_earlier_version, of_another_version, damaged, removed])
def test_scores_that_cannot_be_used_name_the_command(scored, tmp_path, harm):
    study = copied(scored, tmp_path / "run")
    harm(study.path)
    page = Page(render(study))
    text = " ".join(page.text)
    assert text.count(f"Compute them again: neuromvm analyze decoding {study.path}") == 2  # beside the headline and the scores
    assert not any("difference to" in " ".join(row) for row in page.rows)
    assert "without their paired difference" in text or "do not overlap" in text


def test_lines_of_another_version_name_the_command(scored, tmp_path):
    study = copied(scored, tmp_path / "run")
    summary = study.summary
    for line in summary["analyses"]["decoding"]["scores"]:
        del line["floor_low"]
    write_json(study.path / "summary.json", summary)
    text = " ".join(Page(render(study)).text)
    assert f"are of another version. Compute them again: neuromvm analyze decoding {study.path}" in text


@pytest.mark.parametrize("content", ['{"analyses": {"deco', "[]", "{}"])
def test_a_damaged_summary_is_said_and_the_rest_is_shown(scored, tmp_path, content):
    study = copied(scored, tmp_path / "run")
    (study.path / "summary.json").write_text(content)
    page = Page(render(study))
    text = " ".join(page.text)
    assert "summary.json cannot be read" in text
    assert f"neuromvm analyze NAME {study.path}" in text
    assert f"neuromvm analyze decoding {study.path}" in text
    assert "by the animal of the decoder and the animal that is read" in text


def test_a_damaged_record_of_epochs_is_said_and_the_rest_is_shown(scored, tmp_path):
    study = copied(scored, tmp_path / "run")
    (study.path / "models" / "mmvm" / "metrics.jsonl").write_text('{"epoch": 1, "lo\n')
    (study.path / "provenance.json").write_text("{")
    text = " ".join(Page(render(study)).text)
    assert "record of epochs cannot be read" in text
    assert text.count("mean loss at the last epoch") == 1
    assert "Versions, device and file hashes are unknown" in text


def test_options_are_those_used_not_those_given(bare, tmp_path):
    study = copied(bare, tmp_path / "run")
    analyze(study, "decoding", {"bootstraps": 123, "reference": "pca"})
    text = " ".join(Page(render(study)).text)
    assert 'reference: "pca"' in text
    assert "bootstraps: 123" in text
    assert "options of analyses below" in text


def test_the_settings_come_first(scored):
    shown = pictures(scored.path, "decoding")
    names = ["settings", "difference", "transfer", "confusion"]
    assert [picture.name for picture in shown] == [f"decoding-{name}" for name in names]
    for picture in shown:
        assert "test trials: 93" in picture.words.lower()
        assert "splits: 2" in picture.words.lower()
        assert picture.alt.startswith(picture.caption)
    assert len({picture.alt for picture in shown}) == len(shown)
    assert "permutations of labels" in shown[0].words


def test_all_equal_best_scores_are_marked_and_a_chance_that_varies_is_a_column():
    rows = [row("pca", 0.5), row("procrustes", 0.50001), row("raw", 0.4), row("mmvm", 0.3, setting="within")]
    table = score_table("decoding", [{**one, "chance": 0.25} for one in rows], None)
    assert [table.rows[place][1] for place in sorted(table.best)] == ["procrustes", "pca"]
    assert "chance" not in table.columns
    table = score_table("decoding", [{**one, "chance": 1 / (3 + place)} for place, one in enumerate(rows)], None)
    assert [line[table.columns.index("chance")] for line in table.rows] == ["0.250", "0.333", "0.200", "0.167"]


def test_classes_stand_in_columns_by_the_size_of_their_numbers():
    names = [f"odor_{number}" for number in (1, 10, 2, 3, 4, 5, 6)]
    node = xr.Dataset({"label": (("trial", "window"), [[1], [1], [2]], {"classes": json.dumps(names)})})
    samples = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"label": "odor", "classes": json.dumps(names)}), "rat": node})
    table = classes_table(SimpleNamespace(samples=samples))
    assert table.columns == ["animal", "1", "2", "3", "4", "5", "6", "10"]
    assert table.rows == [["rat", "0", "1", "0", "0", "0", "0", "2"]]
    assert "without their common beginning, odor_" in table.caption


def test_recordings_of_one_subject_are_warned_of(bare):
    assert repeated_animals(bare.recordings) == ""
    twice = {name: node.to_dataset().assign_attrs(subject_id="mouse 7") for name, node in bare.recordings.children.items()}
    said = repeated_animals(xr.DataTree.from_dict(twice))
    assert said.startswith("All recordings are sessions of one subject (mouse 7)")
    other = xr.DataTree.from_dict(twice | {"three": twice["one"].assign_attrs(subject_id="mouse 8")})
    said = repeated_animals(other)
    assert "(mouse 7: one and two)" in said
    assert "n is 2 animals" in said


def test_animals_that_lack_classes_are_warned_of(bare):
    assert lacking_classes(bare.samples) == ""
    without = {name: node.to_dataset() for name, node in bare.samples.children.items()}
    two = without["two"]
    without["two"] = two.isel(trial=np.flatnonzero((two["label"].values < 2).all(axis=1)))
    said = lacking_classes(xr.DataTree.from_dict({"/": bare.samples.to_dataset(), **without}))
    names = json.loads(bare.samples.attrs["classes"])
    assert f"two lacks {', '.join(names[2:])}. Each decoder" in said


def test_one_animal_is_said_in_good_grammar(bare):
    assert few_animals(xr.DataTree.from_dict({"one": bare.samples["one"].to_dataset()})).startswith("Animals: 1.")
    (comparison,) = compare([{**row("mmvm", 0.5), "n_animals": 1}], None, ["mmvm"], ["mmvm"])
    assert "1 animal, 50 test trials, 1 split)" in sentences(comparison)[0]


def row(representation, value, p=0.001, setting="cross"):
    return {
        **{"what": "balanced accuracy", "representation": representation, "setting": setting, "value": value, "p": p},
        **{"low": value - 0.05, "high": value + 0.05, "floor": 0.2, "floor_low": 0.15, "floor_high": 0.25},
        **{"n_animals": 2, "n_trials": 50, "n_splits": 1},
    }


@pytest.mark.parametrize(
    ("difference", "by_split", "verdict", "said"),
    [
        ((0.1, 0.02, 0.2), [0.05, 0.15], "ahead", "is ahead of"),
        ((-0.1, -0.2, -0.02), [-0.1, -0.1], "behind", "loses to"),
        ((0.01, -0.1, 0.1), [0.01, 0.01], "tie", "ties with"),
        ((0.1, 0.02, 0.2), [-0.05, 0.25], "tie", "of the same sign in 1 of 2 splits"),
    ],
)
def test_the_verdict_is_that_of_the_paired_difference_if_all_splits_agree(difference, by_split, verdict, said):
    dims = ("reference", "representation", "setting", "target", "unit_of_inference", "statistic")
    paired = np.broadcast_to(np.array([difference, (0.0, 0.0, 0.0)])[None, :, None, None, None], (1, 2, 1, 1, 2, 3))
    splits = np.array([by_split, [0.0, 0.0]])[:, :, None]
    scores = xr.Dataset(
        {"difference": (dims, paired), "split_value": (("representation", "split", "setting"), splits)},
        coords={"reference": ["mcca"], "representation": ["mmvm", "mcca"], "setting": ["cross"], "target": [ALL_ANIMALS]}
        | {"unit_of_inference": list(UNITS_OF_INFERENCE), "statistic": list(STATISTICS)},
    )
    rows = [row("mmvm", 0.5), row("independent", 0.9), row("pca", 0.3), row("mcca", 0.5 - difference[0])]
    (comparison,) = compare(rows, scores, shared=["mmvm"], models=["mmvm", "independent"])
    assert comparison.difference == Difference(*difference, sum(one * difference[0] > 0 for one in by_split), 2)
    assert comparison.verdict == verdict
    assert said in sentences(comparison)[-1]
    assert "best of 2 linear baselines" in " ".join(sentences(comparison))


@pytest.mark.parametrize(("baseline", "said"), [(0.7, "loses to"), (0.3, "is ahead of"), (0.52, "it is open which is better")])
def test_without_a_paired_difference_intervals_are_compared(baseline, said):
    (comparison,) = compare([row("mmvm", 0.5), row("mcca", baseline)], None, ["mmvm"], ["mmvm"])
    assert said in sentences(comparison)[-1]


def test_a_discriminant_of_each_animal_is_compared_within_alone():
    rows = [
        row(name, value, setting=setting) for setting in ("cross", "within") for name, value in (("mmvm", 0.4), ("bayes", 0.5))
    ]
    across, within = compare(rows, None, ["mmvm", "bayes"], ["mmvm", "bayes"], discriminants=["bayes"])
    assert (across.model["representation"], within.model["representation"]) == ("mmvm", "bayes")
    assert [one.setting for one in compare(rows, None, ["bayes"], ["mmvm", "bayes"], ["bayes"])] == ["within"]


def test_a_score_across_animals_is_not_called_a_shared_code():
    across, within = compare([row("mmvm", 0.4), row("mmvm", 0.5, setting="within")], None, ["mmvm"], ["mmvm"])
    assert any("No such floor says that animals share a code" in said for said in sentences(across))
    assert not any("share a code" in said for said in sentences(within))


def test_a_model_that_starts_from_bayes_rule_is_called_a_discriminant(bare):
    models = {"mmvm": bare.spec.models["mmvm"], "bayes": SimpleNamespace(start="bayes")}
    study = SimpleNamespace(spec=SimpleNamespace(models=models))
    assert discriminants(study) == ["bayes"]
    assert "Latents of bayes start as a shrunk linear discriminant" in named_latents(study, ["mmvm", "bayes"])
    assert named_latents(study, ["mmvm"]) == ""


def test_a_score_at_its_floor_is_not_called_above_it():
    (comparison,) = compare([row("mmvm", 0.21, p=0.4)], None, ["mmvm"], ["mmvm"])
    said = sentences(comparison)
    assert "not above the floor" in said[0]
    assert "No linear baseline" in said[-1]


@pytest.mark.parametrize(
    ("draws", "said"), [(2, "too few null data sets (2)"), (18, "too few null data sets (18)"), (19, "not above")]
)
def test_few_null_data_sets_cannot_say_that_a_score_is_at_its_floor(draws, said):
    (comparison,) = compare([{**row("mmvm", 0.5, p=1 / 3), "null_n": draws}], None, ["mmvm"], ["mmvm"])
    assert said in sentences(comparison)[0]


def warned_design(samples, **nulls):
    flags = design_flags(samples, make_splits(samples, SplitSpec(kind="halves", repeats=1)))
    return hard_to_exchange(samples, flags, NullSpec(**nulls))


def in_time(bare, order):
    """Return samples in which trials follow in the order of a key of the odors ``(trial,)``."""

    def ordered(dataset):
        return dataset.isel(trial=np.argsort(order(dataset["odor"].values), kind="stable")).assign_coords(
            onset=dataset["onset"].variable
        )

    recordings = {name: ordered(node.to_dataset()) for name, node in bare.recordings.children.items()}
    return make_samples(xr.DataTree.from_dict(recordings), bare.spec.samples)


def test_trials_sorted_by_label_are_warned_of(bare):
    assert warned_design(bare.samples) == []
    said, *_ = warned_design(in_time(bare, lambda odors: odors))
    assert "sorted by odor in 2 of 2 animals (one and two)" in said
    assert "nulls.rearrangement=shift" in said
    said, *_ = warned_design(in_time(bare, lambda odors: odors), refits=20, rearrangement="shift")
    assert said.endswith("The null moves labels along the session, which keeps drift.")


def test_few_runs_of_a_class_are_warned_of(bare):
    said, *_ = warned_design(in_time(bare, lambda odors: np.char.add((np.arange(len(odors)) % 2).astype(str), odors)))
    assert "few runs of trials" in said
    assert "2 of 2 animals" in said
    assert "their p are too small then" in said


def test_drift_is_warned_of_and_measured(bare):
    samples = bare.samples.copy(deep=True)
    activity = samples["one"]["activity"]
    activity[:] = activity.to_numpy() + 20 * (np.argsort(np.argsort(samples["one"]["onset"].values)) > 30)[:, None, None, None]
    (said,) = warned_design(samples)
    assert said.startswith("Activity drifts in 1 of 2 animals (one): one: activity of consecutive trials")
    assert "does no harm to nulls where labels follow in random order" in said


def test_trials_that_all_have_the_same_labels_are_not_called_sorted(bare):
    by_window = bare.spec.samples.model_copy(update={"label": ["window"], "width": 0.5})
    assert warned_design(make_samples(bare.recordings, by_window)) == []


def test_a_label_that_tells_the_decoded_one_is_warned_of(bare):
    said = confounded_labels(bare)  # odor is position on all trials in sequence
    assert len(said) == 1
    assert "odor follows from position" in said[0]


def test_unequal_classes_are_warned_of(bare):
    assert unequal_classes(bare.samples) == ""
    trials = {name: node.isel(trial=np.r_[np.repeat(0, 60), 0:60]) for name, node in bare.samples.children.items()}
    assert "Classes are unequal" in unequal_classes(xr.DataTree(bare.samples.to_dataset(), children=trials))


def test_a_cloud_shows_what_its_menu_says():
    draw = np.random.default_rng(0)
    points = pd.DataFrame({"x": draw.normal(size=40), "y": draw.normal(size=40), "window": 0.5, "trial": np.arange(40)})
    points["animal"] = np.where(points["trial"] < 20, "<script>", "mitt")
    points["label"] = np.where(points["trial"] % 2, "A", "<b>B</b>")
    points["part"] = np.where(points["trial"] % 10 < 3, TEST, "training")
    figure = cloud(points, ["x", "y"], "odor", ["A", "<b>B</b>"])
    names = {"odor": {"A", "&lt;b&gt;B&lt;/b&gt;"}, "animal": {"&lt;script&gt;", "mitt"}}
    assert sum(len(trace.x) for trace in figure.data if trace.visible) == 12
    for button in figure.layout.updatemenus[0].buttons:
        state, title = button.args
        shown = [trace for trace, visible in zip(figure.data, state["visible"], strict=True) if visible]
        assert sum(len(trace.x) for trace in shown) == (40 if "all trials" in button.label else 12)
        in_legend = [trace.name for trace, named in zip(figure.data, state["showlegend"], strict=True) if named]
        assert sorted(in_legend) == sorted(names[title["legend.title.text"]])


@pytest.mark.parametrize(("animals", "columns"), [(3, 3), (14, 2)])
def test_transfer_names_animals_once_in_a_row_and_says_what_is_white(animals, columns):
    names = [f"mouse{place}" for place in range(animals)]
    accuracy = np.full((3, 1, animals, animals), 0.5)
    scores = xr.Dataset(
        {
            "accuracy": (("representation", "split", "source", "target"), accuracy),
            "trials": ("target", np.full(animals, 10)),
            "seeds": ("representation", [1, 1, 1]),
        },
        coords={"representation": ["mmvm", "pca", "mcca"], "source": names, "target": names},
        attrs={"chance": 0.25},
    )
    figure = transfer(scores)
    named = [[text.get_text() for text in axes.get_yticklabels()] for axes in figure.axes[:3]]
    assert [any(labels) for labels in named] == [place % columns == 0 for place in range(3)]
    assert named[0] == [str(place) for place in range(animals)]
    assert "without their common beginning, mouse" in figure.get_supxlabel()
    assert "White" not in figure.get_supxlabel()
    assert [text.get_text() for text in figure.axes[-1].texts] == ["chance"]
    scores["accuracy"][1, 0, 0, 1] = np.nan
    assert "White: cannot be scored" in transfer(scores).get_supxlabel()
    fewer = scores.assign(chance=("representation", [0.25, 0.25, 0.3]))
    assert "chance is higher than the one marked" in transfer(fewer).get_supxlabel()
    assert "chance is higher" not in transfer(scores.assign(chance=("representation", [0.25] * 3))).get_supxlabel()


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
NOISE = ("GL Driver Message", "Canvas2D: Multiple readback")


def browse(file, profile):
    """Return the page after its scripts have run, and what they wrote to the console."""
    flags = "--headless --no-sandbox --disable-gpu --enable-unsafe-swiftshader --disable-quic --no-first-run --disable-sync"
    flags += (
        " --disable-background-networking --disable-component-update --enable-logging=stderr --v=0 --virtual-time-budget=4000"
    )
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line and not any(noise in line for noise in NOISE)]
    return done.stdout, console


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome installed")
def test_a_browser_draws_the_clouds_and_complains_of_nothing(scored, tmp_path):
    dom, console = browse(scored.path / "report.html", tmp_path)
    assert console == []
    three, two = (
        re.search(f'<div id="cloud-{number}" class="[^"]*js-plotly-plot.*?</figure>', dom, re.S).group() for number in (0, 1)
    )
    assert "<canvas" in three
    assert two.count('<path class="point') == 60  # half of 120 trials are held out
    assert "by odor, test trials" in three
    assert '<td class="number">' in dom


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome installed")
def test_the_browser_would_have_told(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('wrong')</script>")
    assert len(browse(page, tmp_path / "profile")[1]) == 1
