"""Small made NWB files in the layouts of published data sets, with what a spec of each should load."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.ophys import DfOverF, ImageSegmentation, OpticalChannel, RoiResponseSeries

DURATION = 60.0  # [s]
TRIALS = 12
START = 2.0 + 4.5 * np.arange(TRIALS)


@dataclass
class Truth:
    """What is loaded: events of the kept trials [s], labels, and trains of the kept units or frames with times."""

    onsets: np.ndarray
    labels: dict[str, list[Any]]
    trains: list[np.ndarray] = field(default_factory=list)
    frames: np.ndarray | None = None
    times: np.ndarray | None = None


def empty(subject: str, **settings: Any) -> NWBFile:
    nwb = NWBFile("made", subject, datetime(2020, 1, 1, tzinfo=UTC), session_id=f"{subject}-1", **settings)
    nwb.subject = Subject(subject_id=subject, species="Mus musculus", sex="U", age="P90D")
    return nwb


def trains_of(units: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.sort(rng.uniform(0, DURATION, rng.poisson(DURATION * (5 + unit)))) for unit in range(units)]


def add_electrodes(nwb: NWBFile, locations: list[str], **columns: list[Any]) -> None:
    device = nwb.create_device(name="probe")
    group = nwb.create_electrode_group(name="probe0", description="probe", location="brain", device=device)
    for name in columns:
        nwb.add_electrode_column(name=name, description=name)
    for row, location in enumerate(locations):
        nwb.add_electrode(location=location, group=group, **{name: values[row] for name, values in columns.items()})


def add_units(
    nwb: NWBFile, trains: list[np.ndarray], columns: dict[str, Any], ragged: tuple[str, ...] = (), **given: Any
) -> None:
    """Add units with columns, and what pynwb knows of units (``electrodes``, ``obs_intervals``, ``waveform_mean``) a unit."""
    for name in columns:
        nwb.add_unit_column(name=name, description=name, index=name in ragged)
    for row, train in enumerate(trains):
        own = {name: values[row] for name, values in {**columns, **given}.items()}
        nwb.add_unit(spike_times=train, **own)


def add_trials(nwb: NWBFile, stop: np.ndarray, columns: dict[str, Any], ragged: tuple[str, ...] = ()) -> None:
    for name in columns:
        nwb.add_trial_column(name=name, description=name, index=name in ragged)
    for row in range(len(stop)):
        nwb.add_trial(start_time=START[row], stop_time=stop[row], **{name: values[row] for name, values in columns.items()})


def write(nwb: NWBFile, path: Path) -> None:
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)


def ibl(path: Path) -> Truth:
    """Brain-wide map: times of stimulus, movement and feedback, some of which are missing; a quality score a unit."""
    nwb, trains = empty("KS014"), trains_of(6)
    add_electrodes(
        nwb, ["VISp", "VISp", "CA1"], beryl_location=["VISp", "VISp", "CA1"], cosmos_location=["Isocortex"] * 2 + ["HPF"]
    )
    score = [1.0, 0.33, 1.0, 0.66, 1.0, 1.0]
    columns = {"ibl_quality_score": score, "kilosort2_label": ["good", "mua"] * 3, "cluster_uuid": [f"0c{u}" for u in range(6)]}
    columns |= {"presence_ratio": np.linspace(0.5, 1, 6), "spike_amplitudes_uv": [train * 0 + 50 for train in trains]}
    add_units(nwb, trains, columns, ("spike_amplitudes_uv",), electrodes=[[0], [1], [1], [2], [2], [0]])
    onset, move = START + 0.5, START + 0.8
    move[3] = np.nan
    choice = np.array(["Clockwise", "Counter-clockwise"] * 6)
    trials = {"gabor_stimulus_onset_time": onset, "gabor_stimulus_contrast": np.tile([100.0, 25.0, 12.5, 0.0], 3)}
    trials |= {
        "gabor_stimulus_side": np.array(["left", "right"] * 6),
        "wheel_movement_onset_time": move,
        "mouse_wheel_choice": choice,
    }
    trials |= {
        "is_mouse_rewarded": np.arange(TRIALS) % 3 > 0,
        "probability_left": np.repeat([0.5, 0.2, 0.8], 4),
        "block_index": np.arange(TRIALS) // 4,
    }
    add_trials(nwb, START + 4, trials)
    write(nwb, path)
    known = np.isfinite(move)
    good = [train for train, value in zip(trains, score, strict=True) if value == 1.0]
    return Truth(move[known], {"choice": choice[known].tolist(), "block": trials["block_index"][known].tolist()}, good)


def allen_visual_coding(path: Path) -> Truth:
    """Neuropixels: quality metrics and mean waveforms of units, a table of presentations a stimulus, NaN in blank ones."""
    nwb, trains = empty("732592105"), trains_of(5, 1)
    add_electrodes(nwb, ["VISp", "LGd"], probe_vertical_position=[20.0, 40.0])
    quality = ["good", "noise", "good", "good", "good"]
    columns = {"quality": quality, "isi_violations": [0.1] * 5, "presence_ratio": [0.99] * 5, "amplitude_cutoff": [0.01] * 5}
    columns |= {"snr": [2.5] * 5, "peak_channel_id": [0, 0, 1, 1, 0], "spike_amplitudes": [train * 0 + 1e-4 for train in trains]}
    add_units(nwb, trains, columns, ("spike_amplitudes",), waveform_mean=[np.zeros((4, 10))] * 5)
    orientation = np.r_[np.arange(0.0, 360, 45), np.nan, 0, 90, np.nan]
    clock = TimeSeries(name="stimulus_frames", data=np.arange(60.0), rate=1.0, unit="s")
    nwb.add_stimulus(clock)
    table = TimeIntervals(name="drifting_gratings_presentations", description="presentations")
    for name in ("stimulus_name", "stimulus_block", "orientation", "temporal_frequency", "contrast", "color"):
        table.add_column(name=name, description=name)
    for row in range(TRIALS):
        own = {"stimulus_name": "drifting_gratings", "stimulus_block": 2.0, "orientation": orientation[row], "contrast": 0.8}
        own |= {"temporal_frequency": 4.0, "color": "[1.0, 1.0, 1.0]", "tags": ["stimulus_time_interval"], "timeseries": [clock]}
        table.add_interval(start_time=START[row], stop_time=START[row] + 2, **own)
    nwb.add_time_intervals(table)
    write(nwb, path)
    shown = np.isfinite(orientation)
    labels = [str(int(angle)) for angle in orientation[shown]]
    return Truth(
        START[shown], {"orientation": labels}, [train for train, mark in zip(trains, quality, strict=True) if mark == "good"]
    )


def allen_visual_behavior(path: Path) -> Truth:
    """Two-photon imaging: dF/F of cells, presentations of images with changes and omissions, a trials table beside them."""
    nwb = empty("403491")
    channel = OpticalChannel(name="channel", description="GCaMP", emission_lambda=520.0)
    plane = nwb.create_imaging_plane(
        name="imaging_plane_1",
        optical_channel=channel,
        device=nwb.create_device(name="MESO.1"),
        description="plane",
        excitation_lambda=910.0,
        indicator="GCaMP6f",
        location="VISp",
    )
    segmentation = ImageSegmentation(name="image_segmentation")
    cells = segmentation.create_plane_segmentation(name="cell_specimen_table", description="cells", imaging_plane=plane)
    cells.add_column(name="valid_roi", description="valid")
    for cell in range(4):
        cells.add_roi(id=1000 + cell, pixel_mask=[(cell, 0, 1.0)], valid_roi=True)
    times = 0.02 + np.arange(int(DURATION * 10)) / 10
    values = np.random.default_rng(2).normal(size=(len(times), 4))
    rois = cells.create_roi_table_region(description="all", region=[0, 1, 2, 3])
    series = RoiResponseSeries(name="traces", data=values, unit="NA", rois=rois, timestamps=times)
    ophys = nwb.create_processing_module(name="ophys", description="ophys")
    ophys.add(segmentation)
    ophys.add(DfOverF(roi_response_series=series, name="dff"))
    change, hit = np.arange(TRIALS) % 2 == 0, np.arange(TRIALS) % 4 == 0
    image = np.array(["im000", "im000", "im106", "im106"] * 3)
    image[5] = "omitted"
    table = TimeIntervals(name="Natural_Images_Lum_Matched_set_training_2017_presentations", description="presentations")
    for name in ("image_name", "is_change", "omitted", "image_index"):
        table.add_column(name=name, description=name)
    for row in range(TRIALS):
        own = {
            "image_name": image[row],
            "is_change": bool(change[row]),
            "omitted": image[row] == "omitted",
            "image_index": row % 8,
        }
        table.add_interval(start_time=START[row] + 1, stop_time=START[row] + 1.25, **own)
    nwb.add_time_intervals(table)
    add_trials(
        nwb, START + 4, {"change_time": START + 1, "hit": hit, "go": change, "aborted": ~change, "initial_image_name": image}
    )
    write(nwb, path)
    return Truth(START[change] + 1, {"image": image[change].tolist()}, frames=values, times=times)


def steinmetz(path: Path) -> Truth:
    """Visual discrimination: units with annotations of phy, trials that the authors excluded, contrasts on both sides."""
    nwb, trains = empty("Cori"), trains_of(5, 3)
    add_electrodes(nwb, ["VISp", "MOs", "root"])
    notes = [2.0, 1.0, 3.0, 2.0, 2.0]
    columns = {"phy_annotations": notes, "peak_channel": [1.0] * 5, "waveform_duration": [10.0] * 5, "cluster_depths": [20.0] * 5}
    add_units(nwb, trains, columns, electrodes=[[0], [1], [1], [2], [0]])
    included = np.arange(TRIALS) != 4
    choice = np.tile([-1.0, 0.0, 1.0], 4)
    trials = {"included": included, "go_cue": START + 1.1, "visual_stimulus_time": START + 0.5, "response_choice": choice}
    trials |= {"visual_stimulus_left_contrast": np.tile([1.0, 0.25], 6), "visual_stimulus_right_contrast": np.tile([0.0, 0.5], 6)}
    trials |= {
        "response_time": START + 1.8,
        "feedback_time": START + 1.9,
        "feedback_type": np.tile([1.0, -1.0], 6),
        "rep_num": np.ones(TRIALS),
    }
    add_trials(nwb, START + 3, trials)
    write(nwb, path)
    kept = [trains[0], trains[2], trains[4]]  # annotated good, in VISp and MOs
    return Truth(START[included] + 0.5, {"choice": choice[included].astype(int).tolist()}, kept)


def buzsaki(path: Path) -> Truth:
    """Runs in a maze: units with shank and cell type, runs with their condition, states in a table of their own."""
    nwb, trains = empty("YutaMouse41"), trains_of(4, 4)
    add_electrodes(nwb, ["unknown"], shank_electrode_number=[0])
    kind = ["pyramidal cell", "narrow waveform cell", "pyramidal cell", "pyramidal cell"]
    groups = list(nwb.electrode_groups.values()) * 4
    add_units(nwb, trains, {"cell_type": kind, "global_id": [1, 2, 3, 4], "shank_id": [0, 0, 1, 1]}, electrode_group=groups)
    condition, error = np.array(["run_left", "run_right"] * 6), np.arange(TRIALS) == 7
    add_trials(nwb, START + 4, {"condition": condition, "error_run": error, "stim_run": error & False, "both_visit": ~error})
    states = TimeIntervals(name="states", description="sleep states")
    states.add_column(name="label", description="state")
    states.add_interval(start_time=0.0, stop_time=30.0, label="awake")
    nwb.create_processing_module(name="behavior", description="behavior").add(states)
    write(nwb, path)
    return Truth(START[~error], {"condition": condition[~error].tolist()}, [trains[0], trains[2], trains[3]])


def neural_latents(path: Path) -> Truth:
    """MC_Maze: observed intervals of trials, held-out units, test trials without behaviour, ragged targets."""
    nwb, trains = empty("Jenkins"), trains_of(5, 5)
    add_electrodes(nwb, ["PMd", "M1"])
    stop = START + 4
    trains = [np.concatenate([train[(train >= a) & (train < b)] for a, b in zip(START, stop, strict=True)]) for train in trains]
    observed = [np.column_stack([START, stop])] * 5
    heldout = [False, False, True, False, False]
    add_units(nwb, trains, {"heldout": heldout}, electrodes=[[0], [1], [0], [1], [0]], obs_intervals=observed)
    split = np.array(["train"] * 6 + ["val"] * 3 + ["test"] * 3)
    known = split != "test"
    move = np.where(known, START + 1.5, np.nan)
    version, kind = np.where(known, 1.0, np.nan), np.where(known, np.tile([3.0, 7.0], 6), np.nan)
    trials = {"split": split, "move_onset_time": move, "go_cue_time": START + 1.2, "trial_type": kind, "trial_version": version}
    trials |= {"success": known, "target_position": [np.ones((1 + row % 2, 2)) for row in range(TRIALS)]}
    add_trials(nwb, stop, trials, ("target_position",))
    write(nwb, path)
    labels = {"maze": kind[known].astype(int).astype(str).tolist(), "split": split[known].tolist()}
    return Truth(move[known], labels, [train for train, out in zip(trains, heldout, strict=True) if not out])


def rutishauser(path: Path) -> Truth:
    """Human single units: two phases in one table, categories as codes and names, sides and areas in one text."""
    nwb, trains = empty("P9HMH"), trains_of(5, 6)
    add_electrodes(nwb, ["Left Amygdala", "Right Hippocampus"], origChannel=[1.0, 9.0])
    columns = {
        "origClusterID": [1095, 1096, 2001, 2002, 2003],
        "IsolationDist": [np.nan, 20.0, 30.0, 15.0, 11.0],
        "SNR": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    columns |= {"waveform_mean_encoding": [np.zeros(16)] * 5, "waveform_mean_recognition": [np.zeros(16)] * 5}
    add_units(nwb, trains, columns, electrodes=[[0], [1], [0], [1], [0]])
    recog = np.arange(TRIALS) >= 4
    name, code = np.array(["houses", "landscapes", "mobility", "phones"] * 3), np.tile(np.arange(1, 5, dtype=np.uint8), 3)
    trials = {"stim_on_time": START + 1, "stim_off_time": START + 2, "delay1_time": START + 2.5, "stimCategory": code}
    trials |= {"stim_phase": np.where(recog, "recog", "learn"), "category_name": name, "external_image_file": name}
    trials |= {"new_old_labels_recog": np.where(recog, np.where(np.arange(TRIALS) % 3 == 0, "0", "1"), "NA")}
    add_trials(nwb, START + 4, trials)
    write(nwb, path)
    labels = {"category": name[recog].tolist(), "old": trials["new_old_labels_recog"][recog].tolist()}
    return Truth(START[recog] + 1, labels, [trains[0], trains[2], trains[4]])


def matnwb(path: Path) -> Truth:
    """As MatNWB writes: a version with a prefix, characters of fixed length, columns (row, 1), ids as floats."""
    trains = trains_of(3, 7)
    label = np.array(["go", "nogo"] * 6)
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = np.bytes_("NWB-2.6.0")
        file["identifier"] = np.array([b"made"], dtype="S4")
        file["general/subject/subject_id"] = np.array([b"mat1"], dtype="S4")
        file["general/session_id"] = np.array([b"s1"], dtype="S2")
        units, trials = file.create_group("units"), file.create_group("intervals/trials")
        units["id"] = np.arange(3.0)
        units["spike_times"] = np.concatenate(trains)
        units["spike_times_index"] = np.cumsum([len(train) for train in trains]).astype(np.uint64)
        units["quality"] = np.array([[b"good"], [b"good"], [b"mua "]], dtype="S4")
        trials["id"] = np.arange(TRIALS, dtype=np.int64)[:, None]
        trials["start_time"], trials["stop_time"] = START[:, None], START[:, None] + 4
        trials["stimulus_type"] = label.astype("S4")[:, None]
        trials["correct"] = (np.arange(TRIALS) % 2)[:, None].astype(np.float64)
    return Truth(START, {"stimulus": label.tolist(), "correct": [0, 1] * 6}, trains[:2])


LAYOUTS = {
    function.__name__: function
    for function in (ibl, allen_visual_coding, allen_visual_behavior, steinmetz, buzsaki, neural_latents, rutishauser, matnwb)
}
