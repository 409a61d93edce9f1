"""The figure of recordings shows their numbers, whatever labels they have."""

import numpy as np
import pytest
import xarray as xr

from neuromvm.analysis.figures.recordings import overview, write
from neuromvm.errors import SpecError
from neuromvm.schema import Dropped, with_dropped


def recordings(animals: int, labels: dict[str, np.ndarray]) -> xr.DataTree:
    trials = max(map(len, labels.values()), default=40)
    time = xr.Variable("time", [0.25, 0.75], {"bin_width": 0.5})
    nodes = {}
    for animal in range(animals):
        counts = np.random.default_rng(animal).poisson(1.0, (trials, 2, 3 + animal)).astype(np.uint8)
        coords = {"unit": np.arange(3 + animal), "trial": np.arange(trials)} | {name: ("trial", v) for name, v in labels.items()}
        rat = xr.Dataset({"spike_count": (("trial", "time", "unit"), counts)}, coords=coords)
        nodes[f"rat_{animal}"] = with_dropped(
            rat, [Dropped("trials", "cue is NaN", animal), Dropped("spikes", "not finite", 1000)]
        )
    return xr.DataTree.from_dict(
        {"/": with_dropped(xr.Dataset(coords={"time": time}), [Dropped("animal x", "1 units", 1)]), **nodes}
    )


def panels(figure):
    return [axes for axes in figure.get_axes() if axes.get_label() != "<colorbar>"]


def test_it_shows_units_rates_trials_and_drops():
    tree = recordings(3, {"odor": np.array(["A", "B", "B", "C"] * 10)})
    units, rates, drift, labels, drops = panels(overview(tree))
    assert [bar.get_width() for bar in units.patches] == [3, 4, 5]
    medians = [line.get_xdata()[0] for line in rates.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 1]
    expected = [np.median(node["spike_count"].mean(("trial", "time")) / 0.5) for node in tree.children.values()]
    assert medians == pytest.approx(expected)
    assert drift.images[0].get_array().shape == (3, 10)
    assert labels.images[0].get_array().tolist() == [[10, 20, 10]] * 3
    assert [text.get_text() for text in labels.get_xticklabels()] == ["A", "B", "C"]
    assert [bar.get_width() for bar in drops.patches] == [0, 1, 2]
    assert [text.get_text() for text in drops.get_legend().get_texts()] == ["trials: cue is NaN"]


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        ({}, 1),
        ({"odor": np.array(["$\\badmacro{x$", "$5 mM$", "<b>", ""])}, 4),
        ({"odor": np.array([f"odor_{number}" for number in range(15)] * 4)}, 15),
        ({"odor": np.array([f"odor_{number}" for number in range(50)])}, 31),
        ({"speed": np.linspace(0, 3, 80)}, 10),
        ({"speed": np.array(["", *(f"{number / 7:.3f}" for number in range(60))])}, 10),
    ],
)
def test_any_label_can_be_drawn_and_written(labels, columns, tmp_path):
    figure = overview(recordings(14, labels))
    assert panels(figure)[3].images[0].get_array().shape == (14, columns)
    write(figure, tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")


def test_drift_is_the_change_over_the_median():
    tree = recordings(1, {"odor": np.array(["A"] * 40)})
    counts = np.full((40, 2, 3), 2, dtype=np.uint8)
    counts[36:] = 8
    rat = tree["rat_0"].to_dataset(inherit=False).assign(spike_count=(("trial", "time", "unit"), counts))
    tree = xr.DataTree.from_dict({"/": tree.to_dataset(), "rat_0": rat})
    assert panels(overview(tree))[2].images[0].get_array().tolist() == [[*[0] * 9, 2]]


def test_mistakes_are_named(tmp_path):
    tree = recordings(2, {"odor": np.array(["A", "B"] * 10)})
    with pytest.raises(SpecError, match=r"no such label.*odor"):
        overview(tree, "odour")
    with pytest.raises(SpecError, match=r"png or \.pdf"):
        write(overview(tree), tmp_path / "a.gif")
    write(overview(tree), tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
