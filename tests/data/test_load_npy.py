"""Published ``.npy`` arrays: simulated rats written in that layout come back as they were, and what does not fit is refused."""

import hashlib
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from neuromvm.data.features import features
from neuromvm.data.loaders import hdf5, load_recordings
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.data.simulate.write_npy import write_published_layout
from neuromvm.data.simulate.write_nwb import read_truth
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError, RunFolderError, SchemaError, SpecError, SplitError
from neuromvm.schema import animals, dropped
from neuromvm.specs import DataSpec, SampleSpec, SplitSpec, load_data_spec
from tests.data.nwb_files import spike_spec, write_spikes

SMALL = SimulationConfig.model_validate(
    {
        "animals": {
            "mitt": {"units": 9, "trials": 40},
            "stella": {"units": 5, "trials": 30},
            "superchris": {"units": 7, "trials": 35},
        }
    }
)
SHIFT = 0.25  # [s] of mitt and stella in the shipped spec
SPIKES, LABELS = "_spike_data_binned.npy", "_trial_info.npy"


@pytest.fixture(scope="module")
def simulation():
    return simulate(SMALL, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("published")
    write_published_layout(directory, SMALL, seed=5)
    return directory


@pytest.fixture
def copy(tmp_path, folder) -> Path:
    """Return a copy that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def spec_with(**changes) -> DataSpec:
    """Return the shipped spec with settings replaced, validated."""
    settings = load_data_spec("published_rats").model_dump()
    for name, value in changes.items():
        settings[name] = settings[name] | value if isinstance(value, dict) and value else value
    return DataSpec.model_validate(settings)


def refusal(root, kind=DataFormatError, **changes) -> str:
    """Return the message with which a folder is refused."""
    with pytest.raises(kind) as caught:
        load_recordings(spec_with(**changes), root)
    return str(caught.value)


def change(path: Path, edit) -> None:
    """Replace the array in a file by what ``edit`` makes of it."""
    np.save(path, edit(np.load(path)))


def distinct_milliseconds(animal, event: str, start: float, bins: int) -> np.ndarray:
    """Count, in whole numbers only, the milliseconds with a spike in bins of 10 ms: ``(trial, bin, unit)``."""
    events = np.rint(animal.trials[event].to_numpy() * 1000).astype(int) + round(start * 1000)
    counts = np.zeros((len(events), bins, len(animal.spike_times)), dtype=int)
    for unit, times in enumerate(animal.spike_times):
        milliseconds = np.unique(np.rint(times * 30_000).astype(int) // 30)
        for trial, event_at in enumerate(events):
            place = (milliseconds - event_at) // 10
            counts[trial, :, unit] = np.bincount(place[(place >= 0) & (place < bins)], minlength=bins)
    return counts


def test_files_have_the_published_names_shapes_and_units(folder):
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.npy"))
    assert [name for name in names if name.startswith("SuperChris")] == [
        f"SuperChris/{name}.npy"
        for name in (
            "SuperChris_PokeOut_spike_data_binned",
            "superchris_lfp_data_sampled",
            "superchris_spike_data_binned",
            "superchris_trial_info",
        )
    ]
    assert len(names) == 12
    spikes = np.load(folder / "mitt/mitt_spike_data_binned.npy")
    assert spikes.shape == (40, 9, 400)
    np.testing.assert_allclose(spikes * 10, np.rint(spikes * 10), atol=1e-5)
    assert spikes.max() <= 1
    assert np.load(folder / "mitt/mitt_lfp_data_sampled.npy").shape[:2] == (40, 400)
    labels = np.load(folder / "mitt/mitt_trial_info.npy")
    assert labels.shape == (40, 4)
    assert set(labels[:, :2].ravel()) == {0, 1}
    assert set(labels[:, 2:].ravel()) == {1, 2, 3, 4, 5}


def test_field_potential_has_a_theta_rhythm(folder):
    potential = np.load(folder / "mitt/mitt_lfp_data_sampled.npy")
    power = np.square(np.abs(np.fft.rfft(potential, axis=1))).mean(axis=(0, 2))
    frequency = np.fft.rfftfreq(400, 0.01)
    assert frequency[np.argmax(np.where(frequency > 4, power, 0))] == pytest.approx(8)


def test_counts_and_labels_are_those_of_the_simulation(folder, simulation):
    loaded = load_recordings(spec_with(shift={}, grid={"window": [-2, 2]}), folder)
    truth = recordings_from(simulation)
    together = 0
    assert list(loaded.children) == ["mitt", "stella", "superchris"]
    for name, rat in animals(loaded):
        counts = rat["spike_count"].values
        spikes = truth[name]["spike_count"].values
        distinct = distinct_milliseconds(simulation.animals[name], "poke_in_time", -2, 400)
        np.testing.assert_array_equal(counts, distinct)
        together += int((spikes - distinct).sum())
        np.testing.assert_array_equal(counts[spikes == distinct], spikes[spikes == distinct])
        for label in ("odor", "position", "in_sequence", "correct"):
            np.testing.assert_array_equal(rat[label], truth[name][label])
        assert "onset" not in rat.coords
    spikes = sum(int(node["spike_count"].sum()) for node in truth.children.values())
    assert 0 < together < 0.02 * spikes, "two spikes within 1 ms are one in this layout; they are rare"
    np.testing.assert_allclose(loaded["time"], truth["time"])


def test_a_shift_moves_the_time_of_an_animal(folder):
    still = load_recordings(spec_with(shift={}, grid={"window": [-2, 2]}), folder)
    moved = load_recordings(load_data_spec("published_rats"), folder)
    assert moved["time"].size == 375
    for name, later in {"mitt": 25, "stella": 25, "superchris": 0}.items():
        expected = still[name]["spike_count"].values[:, later : later + 375]
        np.testing.assert_array_equal(moved[name]["spike_count"], expected)
    assert moved["mitt"].attrs["shift"] == SHIFT
    assert "shift" not in moved["superchris"].attrs
    assert "port_entry (mitt +0.25 s, stella +0.25 s)" in moved["time"].attrs["long_name"]


def test_a_shift_moves_nwb_recordings_alike(tmp_path):
    write_spikes(tmp_path / "a.nwb", trains=[np.arange(0, 18_001, step) / 1000 for step in (100, 130, 70)])
    write_spikes(tmp_path / "b.nwb", subject="other", trains=[np.arange(0, 17_001, 110) / 1000] * 2)
    still = load_recordings(spike_spec(), tmp_path)
    moved = load_recordings(spike_spec(shift={"rat": 0.3}), tmp_path)
    for when in (-0.95, 0.05, 0.65):
        np.testing.assert_array_equal(
            moved["rat"]["spike_count"].sel(time=when, method="nearest"),
            still["rat"]["spike_count"].sel(time=when + 0.3, method="nearest"),
        )
    np.testing.assert_allclose(moved["rat"]["onset"], still["rat"]["onset"] + 0.3)
    xr.testing.assert_identical(moved["other"].to_dataset(inherit=False), still["other"].to_dataset(inherit=False))


def test_spikes_around_withdrawal_are_no_other_animal(folder, simulation):
    around_entry = load_recordings(load_data_spec("published_rats"), folder)
    assert len(around_entry.children) == 3
    line = dropped(around_entry.to_dataset())[0]
    assert line.count == 3
    assert "Mitt_PokeOut_spike_data_binned.npy" in line.what
    withdrawal = spec_with(activity={"suffix": "_PokeOut_spike_data_binned.npy"}, shift={}, grid={"align": "withdrawal"})
    loaded = load_recordings(withdrawal, folder)
    assert list(loaded.children) == ["mitt", "stella", "superchris"]
    for name, rat in animals(loaded):
        expected = distinct_milliseconds(simulation.animals[name], "poke_out_time", -2, 375)
        np.testing.assert_array_equal(rat["spike_count"], expected)


def test_source_and_checksums_travel_with_the_animal(folder):
    rat = load_recordings(load_data_spec("published_rats"), folder)["superchris"]
    names = rat.attrs["source_file"].split(", ")
    assert names == ["superchris_spike_data_binned.npy", "superchris_trial_info.npy"]
    assert rat.attrs["sha256"].split(", ") == [
        hashlib.sha256((folder / "SuperChris" / name).read_bytes()).hexdigest() for name in names
    ]


def test_filters_and_names_of_animals_are_respected(folder):
    trials = {"keep": {"in_sequence": [True], "odor": ["A", "B", "C", "D"]}}
    loaded = load_recordings(spec_with(exclude=["stella"], rename={"superchris": "chris"}, min_units=8, trials=trials), folder)
    assert list(loaded.children) == ["mitt"]
    assert [line.what for line in dropped(loaded.to_dataset())][1:] == ["animal chris"]
    every = load_recordings(load_data_spec("published_rats"), folder)["mitt"]
    kept = every["in_sequence"].values.astype(bool) & (every["odor"].values != "E")
    np.testing.assert_array_equal(loaded["mitt"]["spike_count"], every["spike_count"][kept])
    np.testing.assert_array_equal(loaded["mitt"]["trial"], np.flatnonzero(kept))
    rates = every["spike_count"].values.mean(axis=(0, 1)) / 0.01
    quick = load_recordings(spec_with(activity={"min_rate": 1.0}, min_units=1), folder)["mitt"]
    assert quick.sizes["unit"] == (rates >= 1).sum() < len(rates)
    assert "no animal is left" in refusal(folder, min_trials=100)


def test_published_windows_have_the_published_number_of_inputs(tmp_path):
    few = {name: {"units": size.units, "trials": 30} for name, size in SimulationConfig().animals.items()}
    write_published_layout(tmp_path, SimulationConfig.model_validate({"animals": few}), seed=1)
    spec = SampleSpec(
        start=0.25, stop=0.5, width=0.1, step=0.01, bin_width=0.01, label=["odor"], transform="none", scale="none",
        keep={"correct": [True], "in_sequence": [True], "odor": ["A", "B", "C", "D"]},
    )  # fmt: skip
    samples = make_samples(load_recordings(load_data_spec("published_rats"), tmp_path), spec)
    inputs = {}
    for name, node in animals(samples):
        assert node["activity"].sizes["window"] == 16
        assert node["activity"].sizes["bin"] == 10
        inputs[name] = features(node["activity"], spec).shape[-1]
    assert inputs == {"barat": 920, "buchanan": 790, "mitt": 1040, "stella": 490, "superchris": 460}
    # the last window of mitt ends 750 ms after port entry, that of barat at 500 ms
    for name, last in {"mitt": 275, "barat": 250}.items():
        stored = np.load(tmp_path / name / f"{name}{SPIKES}")[samples[name]["trial"].values]
        published = stored[:, :, last - 10 : last].transpose(0, 2, 1) * 10
        np.testing.assert_allclose(samples[name]["activity"].values[:, -1], published, atol=1e-5)


def test_splits_in_time_ask_what_orders_trials(folder):
    samples = make_samples(load_recordings(load_data_spec("published_rats"), folder), SampleSpec(label=["odor"]))
    with pytest.raises(SplitError, match="no trial label 'onset'"):
        make_splits(samples, SplitSpec(kind="chronological"))
    part = make_splits(samples, SplitSpec(kind="chronological", order="trial"))["mitt"]["part"].values[0]
    assert (np.diff(part) >= 0).all()


def test_the_command_line_describes_them(folder):
    command = [
        sys.executable,
        "-m",
        "neuromvm",
        "data",
        "describe",
        "published_rats",
        "--root",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "published_rats: 3 animals" in done.stdout
    assert "superchris" in done.stdout
    assert "left out: files Mitt_PokeOut" in done.stdout


@pytest.mark.parametrize(
    ("name", "edit", "found"),
    [
        (SPIKES, lambda x: x[:, 0], "shape (40, 400). Expected (trial, unit, bin)"),
        (SPIKES, lambda x: x[:0], "shape (0, 9, 400)"),
        (SPIKES, lambda x: x[:, :, 1:], "399 bins in an array of shape (40, 9, 399). Expected (trial, unit, 400)"),
        (SPIKES, lambda x: x.transpose(0, 2, 1), "9 bins in an array of shape (40, 400, 9)"),
        (SPIKES, lambda x: x[:-1], "40 trials. Expected 39, as many as in the array of spikes"),
        (SPIKES, lambda x: np.where(np.arange(400) == 30, np.nan, x), "values that are not finite in 360 bins, first nan in"),
        (SPIKES, lambda x: np.where(np.arange(400) == 30, np.inf, x), "first inf in trial 0, unit 0, bin 30"),
        (SPIKES, lambda x: x + 0.004, "times 10 are no whole number"),
        (SPIKES, lambda x: np.sqrt(x), "times 10 are no whole number"),
        (SPIKES, lambda x: x - 0.1, "negative values"),
        (SPIKES, lambda x: x * 20, "values above 1 in"),
        (SPIKES, lambda x: x.astype(complex), "values of type complex128"),
        (SPIKES, lambda x: x.astype(str), "values of type <U"),
        (LABELS, lambda x: x[:, 3], "shape (40,). Expected (trial, column)"),
        (LABELS, lambda x: x[:, :3], "3 columns. Expected at least 4: correct, in_sequence, position, odor"),
        (LABELS, lambda x: x[:-1], "39 trials. Expected 40"),
        (LABELS, lambda x: np.where(np.arange(4) == 3, np.inf, x), "infinite values in column 'odor'"),
    ],
)
def test_arrays_that_do_not_fit(copy, name, edit, found):
    path = copy / "mitt" / f"mitt{name}"
    change(path, edit)
    message = refusal(copy)
    assert found in message
    assert f"{path.parent}/mitt_" in message


def test_further_columns_and_codes_are_kept_out_of_the_way(copy):
    def edit(labels):
        labels[0, 3], labels[1, 3] = np.nan, 7
        return np.column_stack([labels, np.full(len(labels), np.nan)])

    change(copy / "mitt" / f"mitt{LABELS}", edit)
    odor = load_recordings(load_data_spec("published_rats"), copy)["mitt"]["odor"].values
    assert odor[:2].tolist() == ["", "7"]
    assert set(odor[2:]) == set("ABCDE")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\n",
        pickle.dumps(np.zeros((2, 2))),
        b"PK\x03\x04 an archive",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8', ",
    ],
)
def test_files_that_are_no_arrays(copy, content):
    path = copy / "mitt" / f"mitt{SPIKES}"
    path.write_bytes(content)
    message = refusal(copy)
    assert f"{path}: unreadable (" in message
    assert "copy it again" in message


class Trap:
    """What a pickle would run when it is read."""

    def __reduce__(self):
        return pytest.fail, ("a pickled object was executed",)


@pytest.mark.parametrize("name", [SPIKES, LABELS])
def test_pickled_objects_are_refused_and_never_run(copy, name):
    path = copy / "mitt" / f"mitt{name}"
    np.save(path, np.array([Trap()] * 3, dtype=object), allow_pickle=True)
    message = refusal(copy)
    assert str(path) in message
    assert "object" in message.lower()


def test_truncated_array(copy):
    path = copy / "mitt" / f"mitt{SPIKES}"
    path.write_bytes(path.read_bytes()[:-100])
    assert "unreadable" in refusal(copy)


def test_a_damaged_header_is_a_typed_error_or_a_read(copy):
    path = copy / "mitt" / f"mitt{LABELS}"
    good = path.read_bytes()
    refused = 0
    warnings.simplefilter("ignore", DeprecationWarning)  # numpy parses the header, backslashes and all
    for place in range(128):
        for value in (0, 40, 57, 92, 255):
            path.write_bytes(good[:place] + bytes([value]) + good[place + 1 :])
            try:
                load_recordings(spec_with(exclude=["stella", "superchris"], shift={}, trials={"map": {}}), copy)
            except DataFormatError:
                refused += 1
    assert refused > 200


def test_missing_or_doubled_labels(copy):
    path = copy / "mitt" / f"mitt{LABELS}"
    path.rename(copy / "mitt" / "MITT_Trial_Info.npy")
    assert "mitt" in load_recordings(load_data_spec("published_rats"), copy).children
    shutil.copy(copy / "mitt" / "MITT_Trial_Info.npy", path)
    assert "2 mitt_trial_info.npy, in any case, beside it" in refusal(copy)
    path.unlink()
    (copy / "mitt" / "MITT_Trial_Info.npy").unlink()
    message = refusal(copy)
    assert "no mitt_trial_info.npy, in any case, beside it" in message
    assert "The folder has: Mitt_PokeOut_spike_data_binned.npy, mitt_lfp_data_sampled.npy" in message


def test_names_and_links_that_do_not_fit(copy):
    (copy / "SuperChris").rename(copy / "elsewhere")
    assert "shift" not in refusal(copy, SpecError, exclude=["superchris"])  # it is no animal now
    message = refusal(copy, files=["elsewhere/*_spike_data_binned.npy"], shift={})
    assert "no file named like its folder among SuperChris_PokeOut_spike_data_binned.npy" in message
    assert "Expected <animal>/<animal>_spike_data_binned.npy" in message
    labels = copy / "mitt" / f"mitt{LABELS}"
    labels.rename(copy.parent / "labels.npy")
    labels.symlink_to(copy.parent / "labels.npy")
    assert "leaves the data folder" in refusal(copy)


def test_a_copy_or_a_second_folder_is_no_second_animal(copy):
    shutil.copytree(copy / "mitt", copy / "MITT")
    mitt, upper = (str(copy / name / f"mitt{SPIKES}") for name in ("mitt", "MITT"))
    assert f"{upper} and {mitt} are copies of one recording" in refusal(copy, SchemaError, shift={})
    change(copy / "MITT" / f"mitt{SPIKES}", lambda x: x[:, ::-1])
    assert f"the same name in {upper} and {mitt}" in refusal(copy, SchemaError, shift={})


@pytest.mark.parametrize(
    ("changes", "kind", "found"),
    [
        ({"grid": {"window": [-2, 2]}}, AlignmentError, "a grid from -1.75 to 2.25 s, 0.25 s of it from shift.mitt"),
        ({"grid": {"window": [-2.01, 1]}, "shift": {}}, AlignmentError, "a grid from -2.01 to 1 s. Expected one inside"),
        ({"shift": {"mitt": 0.203}}, AlignmentError, "a whole number of bins of 0.01 s"),
        ({"grid": {"window": [-1.005, 1.005]}}, AlignmentError, "a grid that begins at -0.755 s"),
        ({"shift": {"Mitt": 0.1}}, SpecError, "shift: no animal 'Mitt'. Did you mean 'mitt'?"),
        ({"rename": {"mitt": "m"}}, SpecError, "shift: no animal 'mitt'"),
        ({"trials": {"labels": {"odor": "odour"}}}, MissingTableError, "no column 'odour'. Did you mean 'odor'?"),
        ({"trials": {"map": {"odor": {"6": "F"}}}}, SpecError, "trials.map.odor: no file has the value '6'"),
    ],
)
def test_settings_that_do_not_fit_the_files(folder, changes, kind, found):
    assert found in refusal(folder, kind, **changes)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"animal": "subject_id"}, "set 'folder'"),
        ({"grid": {"bin_width": 0.03, "window": [0, 0.9]}}, "cannot be divided into other bins"),
        ({"activity": {"window": [2, -2]}}, "positive whole number of bins"),
        ({"activity": {"columns": ["odor", "odor"]}}, "a name occurs twice"),
        ({"activity": {"samples_per_bin": 0}}, "greater than or equal to 1"),
        ({"grid": {"kind": "position", "series": "x", "bins": 3}}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_each_other(changes, found):
    with pytest.raises(ValidationError, match=found):
        spec_with(**changes)


def test_shift_and_binned_spikes_need_a_time_grid():
    position = {"kind": "position", "series": "x", "bins": 3}
    settings = load_data_spec("published_rats").model_dump() | {"grid": position, "shift": {}}
    with pytest.raises(ValidationError, match="use a time grid for binned_spikes"):
        DataSpec.model_validate(settings)
    settings = {"name": "a", "files": ["a"], "activity": {"kind": "roi_response", "series": "x"}, "grid": position}
    with pytest.raises(ValidationError, match="a position grid has none"):
        DataSpec.model_validate(settings | {"shift": {"a": 1}})


def test_plain_counts_are_read_as_they_are(copy, folder):
    for path in copy.glob("*/*_spike_data_binned.npy"):
        change(path, lambda x: np.rint(x * 10).astype(np.int16))
    counts = load_recordings(spec_with(activity={"samples_per_bin": 1}), copy)
    means = load_recordings(load_data_spec("published_rats"), folder)
    for name, rat in animals(counts):
        np.testing.assert_array_equal(rat["spike_count"], means[name]["spike_count"])


def test_more_than_memory_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(hdf5, "free_memory", lambda: 2_000)
    message = refusal(folder)
    assert "40 trials x 375 bins x 9 units" in message
    assert "Narrow grid.window" in message


def test_writing_is_reproducible_and_replaces_simulations_only(tmp_path, folder):
    small = SimulationConfig.model_validate({"animals": {"one": {"units": 3, "trials": 12}, "two": {"units": 4, "trials": 15}}})
    paths = write_published_layout(tmp_path / "a", small, seed=2)
    again = write_published_layout(tmp_path / "b", small, seed=2)
    for one, other in zip(paths[:-1], again[:-1], strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert list(read_truth(tmp_path / "a").children) == ["one", "two"]
    with pytest.raises(RunFolderError, match="is there"):
        write_published_layout(tmp_path / "a", small)
    (tmp_path / "a" / "one" / ".one_trial_info.npy.1.tmp").write_bytes(b"cut off")
    single = SimulationConfig.model_validate({"animals": {"one": {"units": 3, "trials": 12}}})
    write_published_layout(tmp_path / "a", single, overwrite=True)
    assert len(list((tmp_path / "a").rglob("*.*"))) == 5
    (tmp_path / "a" / "one" / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"notes\.txt: not written by this simulation"):
        write_published_layout(tmp_path / "a", single, overwrite=True)
    (tmp_path / "b" / "truth.nc").unlink()
    with pytest.raises(RunFolderError, match=r"no truth\.nc"):
        write_published_layout(tmp_path / "b", single, overwrite=True)
    with pytest.raises(RunFolderError, match="a file"):
        write_published_layout(tmp_path / "b" / "one" / "one_trial_info.npy", single)
