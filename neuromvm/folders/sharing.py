"""Layout of held-out conditions in a run folder, read without torch.

``sharing/sharing.json``: the splits. ``sharing/<source>/``, a source being a row of linear methods or a group of models:
``answers.nc``, what was answered on the data as they are; ``refits-<first>-<last>.nc``, accuracies on null data.
"""

from pathlib import Path

import xarray as xr

from neuromvm.data.splits import make_splits
from neuromvm.data.windows import single_window_splits, single_windows
from neuromvm.errors import RunFolderError
from neuromvm.files import read_dataset, read_tree
from neuromvm.folders.study import Study
from neuromvm.specs import SharingSpec


class SharingFolder:
    """The part of an open run folder that ``neuromvm sharing`` fills."""

    def __init__(self, study: Study) -> None:
        self.study, self.path = study, study.path / "sharing"

    @property
    def spec(self) -> SharingSpec:
        """How conditions are held out; defaults if the experiment does not say."""
        return self.study.spec.sharing or SharingSpec()

    def samples(self) -> xr.DataTree:
        """Return the samples of the run, each window a trial of its own."""
        return single_windows(self.study.samples)

    def splits(self) -> xr.DataTree:
        """Return the splits in which conditions are held out."""
        return make_splits(self.samples(), self.spec.split)

    def splits_of_labels(self) -> xr.DataTree:
        """Return the splits of the run, for animals with few labelled trials."""
        samples = self.study.samples
        several = any(node.sizes["window"] > 1 for node in samples.children.values())
        return single_window_splits(self.study.splits, samples) if several else self.study.splits

    @property
    def sources(self) -> list[str]:
        """Rows and groups of models that have answered, in the order of the folder."""
        return sorted(file.parent.name for file in self.path.glob("*/answers.nc"))

    def answers_file(self, source: str) -> Path:
        """Return where the answers of a source are."""
        return self.path / source / "answers.nc"

    def refits_file(self, source: str, numbers: range) -> Path:
        """Return where accuracies on null data of these numbers are."""
        return self.path / source / f"refits-{numbers[0]:05d}-{numbers[-1]:05d}.nc"

    def answers(self, source: str) -> xr.DataTree:
        """Return what a source answered, see :func:`neuromvm.analysis.sharing.table.solve_table`."""
        file = self.answers_file(source)
        if not file.is_file():
            raise RunFolderError(str(file), found="no answers", next_step=f"Compute them: neuromvm sharing {self.study.path}")
        return read_tree(file)

    def refits(self, source: str) -> xr.Dataset | None:
        """Return ``accuracy (exchange, row, among, split, target)`` on null data, None if there is none."""
        packs = [read_dataset(file) for file in sorted((self.path / source).glob("refits-*.nc"))]
        if not packs:
            return None
        return xr.concat(packs, dim="exchange").drop_duplicates("exchange").sortby("exchange")
