"""Spec of a data set: its files, animals, activity, grid and trials."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from neuromvm.errors import did_you_mean
from neuromvm.specs.base import Spec
from neuromvm.specs.expressions import ConditionText
from neuromvm.specs.sources import NwbSource, Source

Scalar = bool | int | float | str
Values = Annotated[list[Scalar], Field(min_length=1)]
# Names that trees of recordings and samples use themselves
RESERVED_LABELS = {
    *(
        "trial",
        "unit",
        "time",
        "window",
        "bin",
        "onset",
        "start_time",
        "stop_time",
        "session",
        "trial_id",
        "theta_phase",
        "warp_onset",
        "stretch",
    ),
    *("spike_count", "event_amplitude", "activity", "label", "match"),
}


def _check_band(band: tuple[float, float]) -> tuple[float, float]:
    if not 0 < band[0] < band[1]:
        raise ValueError(f"band {band[0]:g} to {band[1]:g} Hz does not rise from above 0")
    return band


Band = Annotated[tuple[float, float], AfterValidator(_check_band)]


class QualityFilter(Spec):
    """Quality of units from their spike times, over the whole recording; the metrics become columns of units."""

    min_rate: float | None = Field(None, ge=0, description="Keep units with at least this rate over the recording [Hz]")
    min_presence: float | None = Field(None, ge=0, le=1, description="Keep units that fire in this share of bins of presence_bin")
    presence_bin: float = Field(60.0, gt=0, description="[s]")
    max_isi_violations: float | None = Field(
        None, ge=0, description="Keep units whose ISI violations ratio (Hill et al. 2011) is at most this, e.g. .5"
    )
    refractory: float = Field(0.0015, gt=0, description="Interspike intervals below this are violations [s]")
    censored: float = Field(0.0, ge=0, description="Below this interval the spike sorter detects no spike [s]")
    twins: Literal["ignore", "report", "remove"] = Field(
        "ignore", description="Units recorded twice: name them in the column twin, or keep of each pair the one with more spikes"
    )
    twin_share: float = Field(0.5, gt=0, le=1, description="Units that have this share of spikes in common are twins")
    twin_tolerance: float = Field(0.0004, gt=0, description="Spikes at most this far apart are the same [s]")

    @model_validator(mode="after")
    def _censored_within_refractory(self) -> "QualityFilter":
        if self.censored >= self.refractory:
            raise ValueError(f"censored, {self.censored:g} s, is not below refractory, {self.refractory:g} s")
        return self


class SpikeActivity(Spec):
    """Spike counts of the rows of a ``Units`` table."""

    kind: Literal["spikes"] = "spikes"
    table: str = Field("units", description="Path of the Units table inside the file")
    keep: dict[str, Values] = Field({}, description="Keep units whose column holds one of these values")
    region_column: str | None = Field(None, description="Unit column with the brain region; default: the electrodes' location")
    regions: list[str] | None = Field(None, min_length=1, description="Keep units of these regions")
    min_rate: float = Field(0.0, ge=0, description="Keep units with at least this mean rate in the trial windows [Hz]")
    min_observed: float = Field(
        0.5, gt=0, le=1, description="Keep units whose obs_intervals cover this share of trials; other trials are then dropped"
    )
    where: ConditionText | None = Field(None, description="Keep units for which this is true, e.g. snr > 4 and quality == 'good'")
    quality: QualityFilter | None = Field(None, description="Filters computed from spike times; default: none is computed")


class RoiActivity(Spec):
    """Fluorescence or inferred events of a ``RoiResponseSeries``, averaged in each bin."""

    kind: Literal["roi_response"] = "roi_response"
    series: str = Field(..., description="Path of the series, e.g. processing/ophys/event_amplitude")
    keep: dict[str, Values] = Field({}, description="Keep cells whose column of the PlaneSegmentation holds one of these values")
    min_active: float = Field(0.0, ge=0, le=1, description="Keep cells that are non-zero in at least this share of trials")


class LfpPowerActivity(Spec):
    """Power of a local field potential in frequency bands, a unit for each channel and band, averaged in each bin."""

    kind: Literal["lfp_power"]
    series: str | None = Field(None, description="Path of the ElectricalSeries; default: the only one in the file")
    channels: list[int] | None = Field(None, min_length=1, description="Which of its channels, from 0; default: all")
    bands: list[Band] = Field(
        [(4.0, 12.0), (15.0, 30.0), (30.0, 60.0)], min_length=1, description="From, to: what passes each filter [Hz]"
    )


def _is_whole_bins(window: tuple[float, float], bin_width: float) -> bool:
    """Return whether a window rises and is a whole number of bins."""
    bins = (window[1] - window[0]) / bin_width
    return window[1] > window[0] and abs(bins - round(bins)) <= 1e-6


class BinnedSpikeActivity(Spec):
    """Spikes already cut into trials and bins: one ``.npy`` array ``(trial, unit, bin)`` an animal, labels in another.

    The arrays of an animal lie in a folder named like it: ``<animal>/<animal><suffix>``, in any case.
    """

    kind: Literal["binned_spikes"]
    suffix: str = Field(..., description="The file with the spikes is the folder's name and this, e.g. _spike_data_binned.npy")
    trial_info: str = Field(..., description="The file (trial, column) with the labels is the folder's name and this")
    columns: list[str] = Field(..., min_length=1, description="Names of the first columns of trial_info, in order")
    window: tuple[float, float] = Field(..., description="From, to [s] relative to the event: what the file's bins cover")
    samples_per_bin: int = Field(
        1, ge=1, description="Values are means over so many samples of 0 or 1, so times this they are counts; 1: they are counts"
    )
    min_rate: float = Field(0.0, ge=0, description="Keep units with at least this mean rate in the trial windows [Hz]")

    @field_validator("columns")
    @classmethod
    def _distinct(cls, columns: list[str]) -> list[str]:
        if len(set(columns)) < len(columns):
            raise ValueError(f"a name occurs twice in {columns}")
        return columns


class Warp(Spec):
    """Linear warping of time between two events: ``grid.align`` at 0 and a second event at the same time in all trials."""

    to: str = Field(..., description="Trials column with the second event [s]")
    duration: float | None = Field(
        None, gt=0, description="Warped time between the events [s]; default: the median over all trials of all files"
    )
    max_stretch: float = Field(3.0, gt=1, description="Trials that are stretched or compressed by more than this are dropped")


class TimeGrid(Spec):
    """Bins of equal width around an event of every trial."""

    kind: Literal["time"] = "time"
    align: str = Field(
        "start_time",
        description="Trials column with the event [s], or path of a table of events: the first one in the trial; "
        "binned_spikes: the event's name, for axes",
    )
    window: tuple[float, float] = Field(..., description="From, to [s] relative to the event")
    bin_width: float = Field(0.01, gt=0, description="[s]")
    warp: Warp | None = Field(None, description="Second event that is put at the same time in all trials; default: none")

    @model_validator(mode="after")
    def _whole_bins(self) -> "TimeGrid":
        if self.warp is not None and self.warp.to == self.align:
            raise ValueError(f"warp.to: {self.align!r} is grid.align; name another event")
        if not _is_whole_bins(self.window, self.bin_width):
            start, stop = self.window
            raise ValueError(f"window {start}..{stop} s is not a positive whole number of bins of {self.bin_width} s")
        return self

    @property
    def bins(self) -> int:
        """Number of bins in the window."""
        return round((self.window[1] - self.window[0]) / self.bin_width)


class PositionGrid(Spec):
    """Bins of equal width along a track, within every trial (lap)."""

    kind: Literal["position"] = "position"
    series: str = Field(..., description="Path of the SpatialSeries, e.g. processing/behavior/Position/position")
    range: tuple[float, float] | None = Field(None, description="From, to, in the unit of the series; default: its extremes")
    bins: int = Field(..., ge=1, description="Number of bins of the range")

    @model_validator(mode="after")
    def _rising(self) -> "PositionGrid":
        if self.range is not None and self.range[1] <= self.range[0]:
            raise ValueError(f"range {self.range[0]}..{self.range[1]} does not rise")
        return self


class LfpSpec(Spec):
    """Local field potential: the phase of its theta rhythm labels every bin of every trial."""

    series: str | None = Field(
        None,
        description="Path of the ElectricalSeries; default: the only one in the file. "
        "binned_spikes: the file (trial, bin, channel) is the folder's name and this",
    )
    channel: int = Field(0, ge=0, description="Which of its channels, from 0")
    band: Band = Field((6.0, 10.0), description="From, to: what passes the filter [Hz]")


class TrialSpec(Spec):
    """Which rows of an interval table are trials and what they are labelled with."""

    table: str = Field("trials", description="Interval table: trials, any other under /intervals, or a path, e.g. events/odors")
    labels: dict[str, str] = Field({}, description="Our name of a label -> column of the table")
    map: dict[str, dict[str, str]] = Field({}, description="Label -> {value in the file: name to use}")
    keep: dict[str, Values] = Field({}, description="Keep trials whose label or column holds one of these values")
    where: ConditionText | None = Field(None, description="Keep trials for which this is true, e.g. rt < 1.5 and correct")
    invalid_times: Literal["drop", "keep"] = Field("drop", description="Trials that overlap with /intervals/invalid_times")
    silences: Literal["drop", "keep"] = Field("drop", description="Trials in a silence of all units that is no chance event")

    @model_validator(mode="after")
    def _usable_labels(self) -> "TrialSpec":
        for name in self.labels:
            if not name.isidentifier() or name in RESERVED_LABELS:
                raise ValueError(f"label {name!r}: use letters, digits and '_', and none of {', '.join(sorted(RESERVED_LABELS))}")
        for name in self.map:
            if name not in self.labels:
                raise ValueError(f"map: {name!r} is no label; {did_you_mean(name, sorted(self.labels))}")
        return self


class DandiSpec(Spec):
    """A dandiset of the DANDI archive, whose files are read where they are (extra ``remote``)."""

    dandiset: str = Field(..., pattern=r"^[0-9]{6}$", description="Its number, e.g. '000003'")
    version: str = Field("draft", pattern=r"^[A-Za-z0-9.]+$", description="A published version, or draft, which may change")
    api: str = Field("https://api.dandiarchive.org/api", pattern=r"^https?://", description="Address of the archive's API")


class DataSpec(Spec):
    """One data set: where its files are and how they become one node an animal."""

    name: str = Field(..., pattern=r"^[A-Za-z0-9_-]+$", description="Of the data set: letters, digits, _ and -")
    description: str = Field("", description="What was recorded, in a sentence")
    root: str = Field(
        ".", description="Folder of the files, relative to that of the YAML file; default: the folder of the YAML file"
    )
    files: list[str] = Field(
        ..., min_length=1, description="Glob patterns below root, e.g. 'sub-*.nwb', of the paths in a dandiset, or URLs"
    )
    source: Source = Field(NwbSource(), description="What the files are; default: NWB")
    dandi: DandiSpec | None = Field(None, description="Dandiset that holds the files; default: files below root, or at URLs")
    animal: Literal["subject_id", "session_id", "file", "folder"] = Field(
        "subject_id", description="What names an animal; folder: the one that holds the file, in lower case"
    )
    sessions: Literal["separate", "concatenate"] = Field(
        "separate", description="Several files of one animal: a node each, or trials joined over the units they share"
    )
    match_units: str | None = Field(
        None,
        description="sessions: concatenate: the column of units by which those of different files are the same; id: their ids. "
        "Required if ids are the numbers 0, 1, 2 ... in every file",
    )
    rename: dict[str, str] = Field({}, description="Animal name in the file -> name to use")
    exclude: list[str] = Field([], description="Animals to leave out")
    activity: Annotated[SpikeActivity | RoiActivity | LfpPowerActivity | BinnedSpikeActivity, Field(discriminator="kind")] = (
        Field(SpikeActivity(), description="What is recorded of each unit, and which units are used")
    )
    grid: Annotated[TimeGrid | PositionGrid, Field(discriminator="kind")] = Field(
        ..., description="Bins of each trial: in time around an event, or along a track"
    )
    shift: dict[str, float] = Field(
        {}, description="Animal -> seconds after the event at which its time 0 lies, on a time grid; default: at the event"
    )
    trials: TrialSpec = TrialSpec()
    clock: Literal["check", "trust"] = Field(
        "check",
        description="Whether durations and rates must be plausible in seconds; trust: times are seconds, whatever they say",
    )
    lfp: LfpSpec | None = Field(None, description="Field potential whose theta phase is wanted; default: none is read")
    min_units: int = Field(2, ge=1, description="Leave out animals with fewer units")
    min_trials: int = Field(2, ge=1, description="Leave out animals with fewer trials")
    licence: str = Field("", description="Of the recordings; kept with them in every run")
    citation: str = Field("", description="Whom to cite; kept with the recordings in every run")
    doi: str = Field("", description="Of the recordings or their paper; kept with them in every run")

    @field_validator("files")
    @classmethod
    def _below_root(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            path = PurePosixPath(pattern)
            if path.is_absolute() or ".." in path.parts or "\\" in pattern:
                raise ValueError(f"{pattern!r} leaves the data folder; set 'root' and give patterns below it")
        return patterns

    @model_validator(mode="after")
    def _files_fit_their_source(self) -> "DataSpec":
        urls = [pattern for pattern in self.files if pattern.startswith(("http://", "https://"))]
        if urls and self.dandi is not None:
            raise ValueError(f"{urls[0]!r}: with dandi, files are patterns of the paths in the dandiset")
        if (urls or self.dandi is not None) and self.activity.kind == "binned_spikes":
            raise ValueError("binned_spikes are read below root: download the arrays")
        return self

    @model_validator(mode="after")
    def _activity_fits_grid(self) -> "DataSpec":
        if self.grid.kind == "position":
            if self.activity.kind != "roi_response":
                raise ValueError(f"a position grid requires roi_response activity; use a time grid for {self.activity.kind}")
            if self.shift:
                raise ValueError("shift moves the time of an animal, and a position grid has none: leave it out")
            if "position" in self.trials.labels:
                raise ValueError("label 'position': the position grid has that name; choose another")
            if self.lfp is not None:
                raise ValueError("lfp: bins of a position grid have no theta phase; use a time grid")
        if self.grid.kind == "time" and self.grid.warp is not None and (self.activity.kind != "spikes" or self.lfp is not None):
            raise ValueError("grid.warp: only times of spikes are warped; leave it out for other activity, and with lfp")
        if self.activity.kind != "binned_spikes":
            return self
        if self.source.kind != "nwb":
            raise ValueError(f"source {self.source.kind!r}: binned_spikes are .npy arrays; leave 'source' out")
        if self.animal != "folder":
            raise ValueError(f"animal: arrays of binned_spikes hold no {self.animal}: set 'folder', which names them")
        if self.lfp is not None and self.lfp.series is None:
            raise ValueError("lfp.series: name the file of field potentials, e.g. _lfp_data_sampled.npy")
        assert isinstance(self.grid, TimeGrid)
        if not _is_whole_bins(self.activity.window, self.grid.bin_width):
            start, stop = self.activity.window
            raise ValueError(
                f"activity.window {start:g}..{stop:g} s is not a positive whole number of bins of grid.bin_width, "
                f"{self.grid.bin_width:g} s: binned spikes cannot be divided into other bins"
            )
        return self
