"""What inspection finds, wherever it is, and that the spec it proposes loads the files and guesses nothing in silence."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from neuromvm.data.loaders import load_recordings
from neuromvm.data.loaders.inspect import Column, Outline, SeriesOutline, TableOutline, differences, outline_text, read_outline
from neuromvm.data.loaders.propose import propose_spec, write_proposal
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.errors import DataFormatError, SpecError
from neuromvm.specs import DataSpec, load_data_spec
from tests.data.nwb_files import trial_columns, write_calcium, write_spikes


def proposed(paths: list[Path], folder: Path) -> tuple[str, DataSpec]:
    spec = folder / "first.yaml"
    write_proposal([read_outline(path) for path in paths], spec)
    lines = spec.read_text("utf-8").splitlines()
    assert all(len(line) <= 80 for line in lines if line.strip().startswith("#"))
    return " ".join(word for line in lines for word in line.split() if word != "#"), load_data_spec(str(spec))


def test_the_spec_proposed_for_a_simulated_study_loads_it(tmp_path):
    sizes = {"mitt": {"units": 10, "trials": 40}, "stella": {"units": 8, "trials": 30}}
    *files, _ = write_experiment(tmp_path / "data", SimulationConfig(animals=sizes), seed=2)
    text, spec = proposed(files, tmp_path)
    assert spec.name == "first"
    assert spec.files == ["sub-*/sub-*_behavior+ecephys.nwb"]
    assert (spec.grid.align, spec.trials.labels) == ("poke_in_time", {"odor": "odor"})
    for alternative in ("poke_out_time", "position (number, 5 values", "in_sequence (bool, 2 values", "ElectricalSeries"):
        assert alternative in text
    recordings = load_recordings(spec)
    assert {name: node.sizes["unit"] for name, node in recordings.children.items()} == {"mitt": 10, "stella": 8}
    assert max(map(len, text.splitlines())) <= max(
        80, *(len(line) for line in text.splitlines() if not line.strip().startswith("#"))
    )


@pytest.mark.parametrize("name", ["odor_aPCx_15", "odor_plCoA_15", "odor_plCoA_CS"])
def test_the_spec_proposed_for_odor_recordings_loads_them(name, shared_data, tmp_path):
    files = sorted((shared_data / name).glob("*.nwb"))[:3]
    text, spec = proposed(files, tmp_path)
    assert (spec.grid.align, spec.grid.window, spec.trials.labels) == ("odor_onset_time", (-4.0, 6.0), {"odor": "odor"})
    assert "good: 1 (" in text
    recordings = load_recordings(spec)
    assert len(recordings.children) == len(files)
    assert all(node.sizes["trial"] == 150 for node in recordings.children.values())


def test_calcium_is_proposed_with_bins_that_hold_frames(tmp_path):
    file = write_calcium(tmp_path / "b.nwb", activity=np.random.default_rng(0).random((180, 3)), position=np.arange(180.0))
    text, spec = proposed([file], tmp_path)
    assert spec.activity.series == "processing/ophys/events"
    assert spec.grid.bin_width >= 0.2  # frames are .1 s apart
    assert "kind: position, series: processing/behavior/Position/place" in text
    assert load_recordings(spec)["mouse"].sizes["trial"] == 6


def test_tables_are_found_wherever_they_are(tmp_path):
    path = write_spikes(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        file.create_group("processing/ecephys")
        file.move("units", "processing/ecephys/sorted")
        file.create_group("acquisition/task")
        file.move("intervals/trials", "acquisition/task/presentations")
    outline = read_outline(path)
    assert [table.path for table in outline.of_kind("units")] == ["processing/ecephys/sorted"]
    assert [table.path for table in outline.of_kind("intervals")] == ["acquisition/task/presentations"]
    text = propose_spec([outline], "x")
    assert "  table: processing/ecephys/sorted\n" in text
    assert "  table: acquisition/task/presentations\n" in text
    assert "processing/ecephys/sorted (units, 3 rows)" in outline_text([outline])


def test_differences_between_files_are_named(tmp_path):
    write_spikes(tmp_path / "a.nwb", columns={"quality": ["good", "mua", "good"]}, subject="ada")
    trials = trial_columns(odor=["A", "C", "A", "C", "A", "C"], rt=np.arange(6.0))
    write_spikes(tmp_path / "b.nwb", trials=trials, trains=[np.arange(0, 17, 0.1)] * 2, subject="bob")
    outlines = [read_outline(tmp_path / name) for name in ("a.nwb", "b.nwb")]
    assert differences(outlines) == [
        "intervals/trials: column rt is missing in a.nwb",
        "intervals/trials: odor: no 'B' in b.nwb",
        "intervals/trials: odor: no 'C' in a.nwb",
        "units: 2 rows in b.nwb to 3 in a.nwb",
        "units: column quality is missing in b.nwb",
    ]
    text = outline_text(outlines)
    assert max(map(len, text.splitlines())) <= 80
    assert "2 of them not in all files" in propose_spec(outlines, "x")
    assert "rt" not in propose_spec(outlines, "x").split("labels:")[1]  # not in all files


def test_a_link_to_another_file_is_listed_and_the_rest_is_read(tmp_path):
    path = write_spikes(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        file["processing/elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    outline = read_outline(path)
    assert "a link to another file" in outline.unreadable["processing/elsewhere"]
    assert outline.of_kind("units")


def test_links_in_a_circle_are_followed_once(tmp_path):
    path = write_spikes(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        group = file.create_group("processing/a/b")
        group["back"] = file["processing/a"]
        group["root"] = file["/"]
        group["copy"] = file["units"]
    outline = read_outline(path)
    assert [table.path for table in outline.of_kind("units")] == ["units"]


def test_animals_get_names_that_can_be_used(tmp_path):
    for name, subject in (("a.nwb", "rat 1"), ("b.nwb", "type"), ("c.nwb", "Žofie")):
        write_spikes(tmp_path / name, subject=subject, trains=[np.arange(0, 17, 0.1 + len(subject) / 100)] * 2)
    _, spec = proposed([tmp_path / name for name in ("a.nwb", "b.nwb", "c.nwb")], tmp_path)
    assert spec.rename == {"rat 1": "rat_1", "type": "animal_type", "Žofie": "Zofie"}
    assert set(load_recordings(spec).children) == {"rat_1", "animal_type", "Zofie"}


def test_files_without_trials_or_activity_are_refused(tmp_path):
    write_spikes(tmp_path / "a.nwb", trials={})
    with pytest.raises(DataFormatError, match=r"no interval table.*units"):
        propose_spec([read_outline(tmp_path / "a.nwb")], "x")
    with_text = write_spikes(tmp_path / "text.nwb")
    with h5py.File(with_text, "a") as file:
        del file["intervals/trials/start_time"]
        file["intervals/trials/start_time"] = ["noon"] * 6
    with pytest.raises(DataFormatError, match="no interval table with rows and a start_time of numbers"):
        propose_spec([read_outline(with_text)], "x")
    outline = read_outline(write_spikes(tmp_path / "b.nwb"))
    del outline.tables["units"]
    with pytest.raises(DataFormatError, match=r"no table with spike_times.*acquisition/lick"):
        propose_spec([outline], "x")
    (tmp_path / "there.yaml").touch()
    with pytest.raises(SpecError, match="no spec is replaced"):
        write_proposal([outline], tmp_path / "there.yaml")


TEXT = st.text(min_size=1, max_size=12).filter(lambda text: "/" not in text)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, TEXT, st.lists(TEXT, min_size=4, max_size=8), TEXT, st.booleans())
@example("False", "0", ["0", "0", "0", "00"], "0", False)  # a label whose name is a truth value in YAML
def test_whatever_names_files_hold_the_proposal_is_a_spec(column, subject, values, table, is_number):
    labels = np.array(range(len(values)) if is_number else values)
    labels = np.concatenate([labels, labels])
    rows = len(labels)
    start = np.arange(rows) * 2.0
    columns = {
        name: Column(name, kind, rows, f"about {subject}\nfirst: [", numbers)
        for name, kind, numbers in (("start_time", "number", start), ("stop_time", "number", start + 1), (column, "text", labels))
    }
    outline = Outline(Path("data") / "a.nwb", subject, "")
    outline.tables["intervals/trials"] = TableOutline("intervals/trials", "intervals", rows, columns)
    outline.tables[f"processing/{table}"] = TableOutline(f"processing/{table}", "units", 3, {})
    outline.series["acquisition/x"] = SeriesOutline("acquisition/x", "ElectricalSeries", (3,), "V", 0.1)
    text = propose_spec([outline], subject)
    spec = DataSpec.model_validate(YAML(typ="safe", pure=True).load(text))
    assert spec.activity.table == f"processing/{table}"
    assert set(spec.trials.labels.values()) <= {column}
    outline_text([outline, outline])
