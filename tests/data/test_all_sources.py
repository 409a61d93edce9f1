"""The same study, written in the layout of every source, loads to identical recordings, also after conversion to NWB."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pynwb import NWBHDF5IO, validate
from typer.testing import CliRunner

from neuromvm.data.convert import convert_recordings
from neuromvm.data.loaders import load_recordings
from neuromvm.schema import Dropped, animals, dropped
from neuromvm.specs import DataSpec, load_data_spec, to_yaml
from neuromvm.workflow.command_line import app
from tests.data import source_files as files
from tests.data.nwb_files import write_calcium, write_spikes

PROVENANCE = ("source_file", "sha256", "identifier", "session_id", "subject_id", "species", "sex", "age")
GRID = {"kind": "time", "align": "odor_time", "window": [-0.5, 1], "bin_width": 0.1}
LABELS = ["odor", "position", "in_sequence", "correct", "scent"]
GROUP = {"group": files.GROUPS}
FORTIN = {"tetrode": ["T2", "T2", "T10", "T10"], "unit_name": ["T2-U1", "T2-U2", "T10-U1", "T10-U2"]}
COLUMNS = ["start_time", "stop_time", "odor_time", *LABELS]
ARRAYS = {f"intervals/trials/{name}": f"t_{name}" for name in COLUMNS} | {"units/id": "ids", "units/group": "quality"}
MAT = {f"intervals/trials/{name}": f"session.trials.{name}" for name in COLUMNS}
MAT |= {"units/spike_times": "session.spikes", "units/id": "units.id", "units/group": "units.group"}
MAT |= {"general/subject/subject_id": "subject"}
MS = {"unit": "ms"}


@dataclass(frozen=True)
class Layout:
    """A source: how the study is written in it, its settings, and what the study has in it."""

    write: Callable[[Path], None]
    settings: dict[str, Any]
    unit_columns: dict[str, Any] = field(default_factory=lambda: GROUP)
    labels: list[str] = field(default_factory=lambda: LABELS)
    ids: np.ndarray = field(default_factory=lambda: files.IDS)


def mapped(kind: str, arrays: dict[str, str], **settings: Any) -> dict[str, Any]:
    return {"kind": kind, "arrays": arrays, "spike_clock": MS, **settings}


# A further source of spikes: a line here, and a function that writes the study in tests/data/source_files.py.
LAYOUTS = {
    "nwb": Layout(lambda folder: files.write_nwb(folder, GROUP), {"files": ["*.nwb"]}),
    "zarr": Layout(lambda folder: files.write_zarr(folder, GROUP), {"files": ["*.nwb.zarr"]}),
    "npz": Layout(
        files.write_npz,
        {
            "files": ["*.npz"],
            "animal": "file",
            "source": mapped("npz", ARRAYS | {"units/spike_times": "st", "units/spike_times_index": "ends"}),
        },
    ),
    "npz_spike_units": Layout(
        files.write_npz_units,
        {
            "files": ["*.npz"],
            "animal": "file",
            "source": mapped("npz", ARRAYS | {"units/spike_times": "st", "units/spike_unit": "su"}),
        },
    ),
    "npz_pattern": Layout(
        files.write_npz_pattern,
        {"files": ["*.npz"], "animal": "file", "source": mapped("npz", ARRAYS | {"units/spike_times": "unit_*"})},
    ),
    "mat5": Layout(files.write_mat5, {"files": ["*.mat"], "source": mapped("mat", MAT, trial_clock=MS)}),
    "mat73": Layout(files.write_mat73, {"files": ["*.mat"], "source": mapped("mat", MAT, trial_clock=MS)}),
    "csv": Layout(
        files.write_csv,
        {
            "files": ["*/trials.csv"],
            "source": {"kind": "spike_times", "units": "units.csv", "clock": MS, "trials": {"clock": MS}},
        },
    ),
    "npy": Layout(
        files.write_npy_units,
        {
            "files": ["*/trials.csv"],
            "source": {
                "kind": "spike_times",
                "spikes": "unit_*.npy",
                "units": "units.tsv",
                "clock": {"unit": "samples", "rate": 30_000},
            },
        },
    ),
    "phy": Layout(files.write_phy, {"files": ["*/phy/spike_times.npy"], "source": {"kind": "phy", "animal_folder": 1}}),
    "stat_matrix": Layout(
        files.write_stat_matrix,
        {"files": ["*/*_BehaviorMatrix.mat"], "source": {"kind": "stat_matrix"}},
        unit_columns=FORTIN,
        labels=LABELS[:-1],
        ids=np.arange(4),
    ),
}


def spec_of(layout: Layout, **changes: Any) -> DataSpec:
    """Return the spec of a layout; phy keeps good units by itself."""
    source = layout.settings.get("source", {"kind": "nwb"})["kind"]
    keep = {"group": ["good"]} if "group" in layout.unit_columns and source != "phy" else {}
    settings = {
        "name": "study",
        "activity": {"kind": "spikes", "keep": keep},
        "grid": GRID,
        "trials": {"labels": {name: name for name in layout.labels}},
    }
    return DataSpec.model_validate(settings | layout.settings | changes)


def without_provenance(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return the datasets of a tree without the names and sums of its files."""
    nodes = {"/": tree.to_dataset(), **dict(animals(tree))}
    return {
        name: node.assign_attrs({})
        .drop_attrs(deep=False)
        .assign_attrs({key: value for key, value in node.attrs.items() if key not in PROVENANCE})
        for name, node in nodes.items()
    }


def assert_same(found: xr.DataTree, expected: xr.DataTree) -> None:
    """Assert that two trees are identical but for the names and sums of their files."""
    left, right = without_provenance(found), without_provenance(expected)
    assert list(left) == list(right)
    for name in left:
        xr.testing.assert_identical(left[name], right[name])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "study").mkdir()
    return tmp_path / "study"


@pytest.mark.parametrize("name", LAYOUTS)
def test_source_loads_as_nwb_does_and_converts_to_valid_nwb(name, folder, tmp_path):
    layout = LAYOUTS[name]
    (tmp_path / "reference").mkdir()
    files.write_nwb(tmp_path / "reference", layout.unit_columns, layout.ids)
    reference = Layout(layout.write, {"files": ["*.nwb"]}, layout.unit_columns, layout.labels)
    expected = load_recordings(spec_of(reference), tmp_path / "reference")
    layout.write(folder)
    spec = spec_of(layout)
    assert_same(load_recordings(spec, folder), expected)

    *paths, spec_file = convert_recordings(spec, tmp_path / "converted", folder)
    assert [path.name for path in paths] == [
        f"sub-{animal}_ses-{path.stem.partition('_ses-')[2]}.nwb" for animal, path in zip(files.ANIMALS, paths, strict=True)
    ]
    for path in paths:
        assert validate(path=str(path)) == []
    assert_same(load_recordings(load_data_spec(str(spec_file))), expected)


def test_counts_are_those_of_plain_numpy(folder):
    files.write_csv(folder)
    tree = load_recordings(spec_of(LAYOUTS["csv"]), folder)
    for animal, dataset in animals(tree):
        source = files.recording(animal)
        good = [unit for unit, group in enumerate(files.GROUPS) if group == "good"]
        edges = source.trials["odor_time"][:, None] + np.arange(-500, 1001, 100)
        expected = np.stack([np.diff(np.searchsorted(source.trains[unit], edges, side="left"), axis=1) for unit in good], axis=-1)
        np.testing.assert_array_equal(dataset["spike_count"], expected)
        assert dataset["unit"].values.tolist() == files.IDS[good].tolist()
        assert dataset["scent"].values.tolist() == source.trials["scent"].tolist()
        assert dropped(dataset) == [Dropped("units", "group is none of good", 1)]


CALCIUM = {
    "name": "study",
    "activity": {"kind": "roi_response", "series": "processing/ophys/suite2p"},
    "grid": {"kind": "time", "align": "cue_time", "window": [-1, 1], "bin_width": 0.5},
    "trials": {"labels": {"odor": "odor"}},
}


@pytest.mark.parametrize(("signal", "tolerance"), [("spks", 0.0), ("corrected", 1e-5)])
def test_suite2p_has_the_means_of_frames_of_cells(signal, tolerance, folder, tmp_path):
    files.write_suite2p(folder)
    source = {"kind": "suite2p", "rate": files.FRAME_RATE, "signal": signal}
    spec = DataSpec.model_validate(CALCIUM | {"files": ["*/suite2p/plane0/F.npy"], "source": source})
    tree = load_recordings(spec, folder)
    assert list(tree.children) == list(files.ANIMALS)
    for animal, dataset in animals(tree):
        events, cells, starts = files.fluorescence(animal)
        chosen = cells[:, 0] == 1
        frames = (10 * starts).astype(int)
        expected = np.stack([events[chosen, at : at + 20].reshape(-1, 4, 5).mean(axis=2).T for at in frames])
        np.testing.assert_allclose(dataset["event_amplitude"], expected, rtol=max(tolerance, 1e-6))
        assert dataset["unit"].values.tolist() == [0, 2, 3]
        assert dropped(dataset) == [Dropped("units", "iscell is none of True", 2)]
    *paths, spec_file = convert_recordings(spec, tmp_path / "converted", folder)
    assert [validate(path=str(path)) for path in paths] == [[], []]
    assert_same(load_recordings(load_data_spec(str(spec_file))), tree)


def test_calcium_of_arrays_loads_as_nwb_does(folder, tmp_path):
    (tmp_path / "reference").mkdir()
    for animal in files.ANIMALS:
        events, _, starts = files.fluorescence(animal)
        trials = files.calcium_trials(starts)
        place = np.linspace(0, 100, events.shape[1])
        path = tmp_path / "reference" / f"{animal}.nwb"
        write_calcium(path, activity=events.T, position=place, trials=trials, subject=animal)
        np.savez(folder / f"{animal}.npz", events=events, place=place, ids=100 + np.arange(5), **trials)
    series, position = "processing/ophys/events", "processing/behavior/Position/place"
    arrays = {f"{series}/data": "events", f"{position}/data": "place"}
    arrays |= {f"intervals/trials/{name}": name for name in ("start_time", "stop_time", "cue_time", "odor")}
    source = {"kind": "npz", "arrays": arrays, "rates": {series: 10.0, position: 10.0}, "transpose": [f"{series}/data"]}
    grids = (CALCIUM["grid"], {"kind": "position", "series": position, "range": [20, 40], "bins": 1})
    for grid in grids:
        settings = {**CALCIUM, "activity": {"kind": "roi_response", "series": series}, "grid": grid, "min_trials": 1}
        reference = load_recordings(DataSpec.model_validate(settings | {"files": ["*.nwb"]}), tmp_path / "reference")
        spec = DataSpec.model_validate(settings | {"files": ["*.npz"], "animal": "file", "source": source})
        tree = load_recordings(spec, folder)
        for animal in files.ANIMALS:
            np.testing.assert_array_equal(tree[animal]["event_amplitude"], reference[animal]["event_amplitude"])
    *paths, spec_file = convert_recordings(spec, tmp_path / "converted", folder)
    assert [validate(path=str(path)) for path in paths] == [[], []]
    assert_same(load_recordings(load_data_spec(str(spec_file))), tree)


def test_field_potential_of_stat_matrix_survives_conversion(folder, tmp_path):
    files.write_stat_matrix(folder)
    spec = spec_of(LAYOUTS["stat_matrix"], lfp={"channel": 1})
    tree = load_recordings(spec, folder)
    assert np.isfinite(tree["ada"]["theta_phase"]).all()
    *paths, spec_file = convert_recordings(spec, tmp_path / "converted", folder)
    assert [validate(path=str(path)) for path in paths] == [[], []]
    assert_same(load_recordings(load_data_spec(str(spec_file))), tree)


def test_conversion_keeps_regions_observation_and_other_intervals(folder, tmp_path):
    path = folder / "ada.nwb"
    source = files.recording("ada")
    observed = [[[0.0, 12.0], [13.0, 26.0]]] * 4
    write_spikes(
        path,
        trains=[train / 1000 for train in source.trains],
        trials=source.seconds(),
        table="Odor on",
        columns=GROUP,
        observed=observed,
        regions=["CA1", "CA3", "CA1", "CA1"],
        subject="ada",
    )
    with NWBHDF5IO(str(path), "a") as io:
        nwb = io.read()
        nwb.add_invalid_time_interval(start_time=1.0, stop_time=2.0, tags=["noise", "bite"])
        io.write(nwb)
    spec = spec_of(LAYOUTS["nwb"], activity={"kind": "spikes", "regions": ["CA1"]}, rename={"ada": "lovelace"})
    spec = spec.model_copy(update={"trials": spec.trials.model_copy(update={"table": "Odor on"})})
    tree = load_recordings(spec, folder)
    converted, spec_file = convert_recordings(spec, tmp_path / "converted", folder)
    assert validate(path=str(converted)) == []
    assert_same(load_recordings(load_data_spec(str(spec_file))), tree)
    with NWBHDF5IO(str(converted), "r") as io:
        invalid = io.read().invalid_times
        assert list(invalid["tags"][0]) == ["noise", "bite"]


def test_command_converts_and_its_spec_validates(folder, tmp_path):
    files.write_phy(folder)
    (tmp_path / "study.yaml").write_text(to_yaml(spec_of(LAYOUTS["phy"])))
    out = tmp_path / "converted"
    done = CliRunner().invoke(app, ["data", "convert", str(tmp_path / "study.yaml"), str(out), "--root", str(folder)])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["study.yaml", "sub-ada_ses-phy.nwb", "sub-bob_ses-phy.nwb"]
    checked = CliRunner().invoke(app, ["data", "validate", str(out / "study.yaml")])
    assert "valid, 2 animals" in checked.output
