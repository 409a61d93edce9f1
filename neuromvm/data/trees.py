"""Trees as notebooks show them: recordings, samples and splits are trees of xarray that describe themselves."""

from typing import Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.describe import describe
from neuromvm.data.html import card
from neuromvm.data.splits import split_spec
from neuromvm.data.windows import classes, sample_spec
from neuromvm.errors import NeuromvmError
from neuromvm.schema import Part, animals, dropped, grid_dim


class DescribedTree(xr.DataTree):  # type: ignore[no-untyped-call]
    """A tree of one node an animal that shows a short description in a notebook."""

    __slots__ = ()

    @classmethod
    def of(cls, tree: xr.DataTree) -> Self:
        """Return the same tree, its arrays shared, with a description."""
        return cls(dataset=tree.to_dataset(inherit=False), children=dict(tree.children), name=tree.name)

    def card(self) -> str:
        """Return the description as HTML."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        try:
            return self.card()
        except (NeuromvmError, KeyError, ValueError):  # a part of such a tree, or one that was changed
            return str(super()._repr_html_())  # type: ignore[no-untyped-call]


class Recordings(DescribedTree):  # type: ignore[no-untyped-call]
    """Activity of every animal on a grid of time or position."""

    __slots__ = ()

    def card(self) -> str:
        """Return units, trials and labels of every animal."""
        table = describe(self).reset_index()
        first = next(iter(animals(self)))[1]
        grid = first[grid_dim(first)]
        ends = f"{float(grid[0]):z.3g} to {float(grid[-1]):z.3g}"
        bins = f"{grid.name} {ends}, bins of {float(grid.attrs['bin_width']):.3g} {grid.attrs.get('units', '')}".strip()
        facts: dict[str, object] = {"animals": len(table), "grid (bin centres)": bins}
        if left_out := dropped(self.to_dataset()):
            facts["left out"] = "; ".join(f"{line.what}: {line.reason}" for line in left_out)
        return card("Recordings", facts, table[["animal", "units", "trials", "mean_activity", "labels", "dropped"]])


class Samples(DescribedTree):  # type: ignore[no-untyped-call]
    """Windows of trials with labels."""

    __slots__ = ()

    def card(self) -> str:
        """Return windows, bins and trials of every animal."""
        spec, names = sample_spec(self), classes(self)
        rows = [
            {
                "animal": name,
                "trials": node.sizes["trial"],
                "windows": node.sizes["window"],
                "bins": node.sizes["bin"],
                "units": node.sizes["unit"],
                "left out": "; ".join(f"{line.count} {line.what}: {line.reason}" for line in dropped(node)),
            }
            for name, node in animals(self)
        ]
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        facts = {"label": self.attrs.get("label", ""), "classes": f"{len(names)}: {shown}", "transform": spec.transform}
        return card("Samples", facts, pd.DataFrame(rows))


class Splits(DescribedTree):  # type: ignore[no-untyped-call]
    """Which trials train and which test."""

    __slots__ = ()

    def card(self) -> str:
        """Return the number of trials on each side for every animal."""
        spec = split_spec(self)
        rows = []
        for name, node in animals(self):
            part = node["part"].to_numpy()
            sides = {side: (part == side).sum(axis=1) for side in Part}
            counts = {side.name.lower().replace("_", " "): _range(number) for side, number in sides.items() if number.any()}
            rows.append({"animal": name, **counts})
        number = next(iter(animals(self)))[1].sizes["split"]
        facts = {"kind": spec.kind, "splits": number, "seed": spec.seed, "trials": "a split; ranges are over splits"}
        return card("Splits", facts, pd.DataFrame(rows).fillna(""))


def _range(counts: NDArray[np.integer]) -> str:
    return str(counts.min()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
