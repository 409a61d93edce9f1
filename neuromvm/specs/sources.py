"""Sources of recordings other than NWB files, and how their arrays become the tables and series of NWB."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from neuromvm.specs.base import Spec

GROUPS = ("units", "intervals", "processing", "acquisition", "general")
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


class Clock(Spec):
    """Unit of times."""

    unit: Literal["s", "ms", "us", "samples"] = Field("s", description="samples: numbers of samples at a rate")
    rate: float | None = Field(None, gt=0, description="Samples a second, for the unit samples")

    @model_validator(mode="after")
    def _rate_of_samples(self) -> "Clock":
        if (self.unit == "samples") != (self.rate is not None):
            raise ValueError("give 'rate' with the unit 'samples', and with no other unit")
        return self

    @property
    def per_second(self) -> float:
        """How many units are a second."""
        return self.rate if self.rate is not None else PER_SECOND[self.unit]


def _plain_name(name: str) -> str:
    if not name or "/" in name or "\\" in name or name in {".", ".."}:
        raise ValueError(f"{name!r} is no plain file name: give a name without folders")
    return name


class TrialFile(Spec):
    """A table of trials as text, with a header, beside the other files of a session or in a folder above them."""

    file: str = Field("trials.csv", description="Name of the file, in the session's folder or above it, up to the animal's")
    separator: str | None = Field(None, min_length=1, max_length=1, description="Default: tab for .tsv, else comma")
    names: dict[str, str] = Field({}, description="NWB column -> its name in the file, e.g. start_time: onset")
    clock: Clock = Field(Clock(), description="Unit of start_time, stop_time, grid.align and other columns that end in _time")

    @field_validator("file")
    @classmethod
    def _plain(cls, name: str) -> str:
        return _plain_name(name)


class NwbSource(Spec):
    """NWB files."""

    kind: Literal["nwb"] = "nwb"


class OtherSource(Spec):
    """A source whose files do not describe the animals."""

    subject: dict[Literal["species", "sex", "age", "genotype"], str] = Field(
        {}, description="What all animals have in common, as NWB writes it: species: Rattus norvegicus, sex: M, age: P90D/P120D"
    )


class MappedSource(OtherSource):
    """A file of named arrays, which the spec names by the paths that they would have in NWB."""

    arrays: dict[str, str] = Field(..., min_length=1, description="NWB path, e.g. units/spike_times -> name in the file")
    rates: dict[str, float] = Field({}, description="Path of a series without timestamps -> samples a second, from time 0")
    transpose: list[str] = Field([], description="Paths of arrays whose axes are in reverse order, e.g. (cell, frame)")
    spike_clock: Clock = Field(Clock(), description="Unit of spike times")
    trial_clock: Clock = Field(Clock(), description="Unit of columns of trials that are grid.align or end in _time")

    @field_validator("arrays")
    @classmethod
    def _nwb_paths(cls, arrays: dict[str, str]) -> dict[str, str]:
        for path in arrays:
            parts = PurePosixPath(path).parts
            if "/".join(parts) != path or len(parts) < 2 or ".." in parts or parts[0] not in GROUPS:
                raise ValueError(f"{path!r} is no path of NWB such as units/spike_times; the first part is one of {GROUPS}")
        return arrays

    @model_validator(mode="after")
    def _known_paths(self) -> "MappedSource":
        series = [path.removesuffix("/data") for path in self.arrays if path.endswith("/data")]
        for setting, paths, known in (("rates", self.rates, series), ("transpose", self.transpose, list(self.arrays))):
            for path in paths:
                if path not in known:
                    raise ValueError(f"{setting}: {path!r} is not among {', '.join(known) or 'none'}")
        if any(rate <= 0 for rate in self.rates.values()):
            raise ValueError("rates: a rate is above 0")
        return self


class NpzSource(MappedSource):
    """NumPy archives, ``.npz``. Spike times: flat, with ``units/spike_times_index`` or ``units/spike_unit``, or a pattern."""

    kind: Literal["npz"]


class MatSource(MappedSource):
    """MATLAB files of version 5 or 7.3. Names: variables and fields of structs, ``data.units.times``; cells hold spike times."""

    kind: Literal["mat"]


class FolderSource(OtherSource):
    """Files of a session in a folder, with a table of trials."""

    trials: TrialFile = TrialFile()
    animal_folder: int = Field(0, ge=0, le=8, description="The animal is named like the folder so many above the session's files")


class SpikeTableSource(FolderSource):
    """Spike times as text or ``.npy``. ``files`` of the spec names the trial tables, one a session: '*/trials.csv'."""

    kind: Literal["spike_times"]
    spikes: str = Field(
        "spikes.csv", description="Table with a row a spike, or pattern of .npy files with the times of a unit each"
    )
    unit_column: str = Field("unit", description="Column of the table with the unit")
    time_column: str = Field("time", description="Column of the table with the time")
    units: str | None = Field(None, description="Table with a row a unit (column id): for silent units and columns to keep")
    separator: str | None = Field(
        None, min_length=1, max_length=1, description="Of both tables; default: tab for .tsv, else comma"
    )
    clock: Clock = Field(Clock(), description="Unit of spike times")

    @field_validator("spikes", "units")
    @classmethod
    def _plain(cls, name: str | None) -> str | None:
        return name if name is None else _plain_name(name)


class PhySource(FolderSource):
    """Folders of phy or Kilosort. ``files`` of the spec: '*/spike_times.npy'. Clusters have the columns of its tables."""

    kind: Literal["phy"]
    rate: float | None = Field(None, gt=0, description="Samples a second; default: sample_rate of params.py")
    groups: list[str] | None = Field(["good"], min_length=1, description="Clusters to keep, by column group; null: all")


class Suite2pSource(FolderSource):
    """Folders of suite2p. ``files`` of the spec: '*/suite2p/plane0/F.npy'. The series is processing/ophys/suite2p."""

    kind: Literal["suite2p"]
    signal: Literal["spks", "corrected", "F"] = Field("spks", description="Inferred events, F - neuropil x Fneu, or F")
    neuropil: float = Field(0.7, ge=0, description="Share of the neuropil that 'corrected' subtracts")
    rate: float = Field(..., gt=0, description="Frames a second")
    start: float = Field(0.0, description="Time of the first frame [s]")
    only_cells: bool = Field(True, description="Keep regions that suite2p or a person judged to be cells (iscell)")
    animal_folder: int = Field(2, ge=0, le=8, description="The animal is named like the folder so many above the session's files")


class StatMatrixSource(OtherSource):
    """Raw 1 kHz files of the Fortin laboratory. ``files`` of the spec: '*/*_BehaviorMatrix.mat'."""

    kind: Literal["stat_matrix"]
    spikes: str = Field("*.mat", description="Pattern of the files with statMatrix or ensembleMatrix, in the same folder")
    lfp: str = Field("_LFP_Raw", min_length=1, description="End of the names of the columns that form acquisition/LFP")

    @field_validator("spikes")
    @classmethod
    def _plain(cls, name: str) -> str:
        return _plain_name(name)


Source = Annotated[
    NwbSource | NpzSource | MatSource | SpikeTableSource | PhySource | Suite2pSource | StatMatrixSource,
    Field(discriminator="kind"),
]
