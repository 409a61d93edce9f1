"""Names and numbers that figures have to bear: looks are fixed in a run, labels are text, many names stay readable."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as PlainFigure
from PIL import Image
from sklearn.metrics import confusion_matrix

from neuromvm.analysis.baselines.catalogue import BASELINES
from neuromvm.analysis.decoding.confusion import confusion
from neuromvm.analysis.figures import latents, palettes, paths, style, timeline
from neuromvm.analysis.figures.palettes import ANIMALS, CLASSES, METHODS
from neuromvm.data.html import card
from neuromvm.errors import ArgumentError
from tests.conftest import tuned_recordings

HARD = ["1", "2", "10", "$5 mM$", r"$\badmacro{x$", "<b>Isoamyl</b> & co", "limonène", "a/b", "A very long odor name " * 3, "%d"]


def plane(labels, animals, models=("mmvm",), trials=2):
    random = np.random.default_rng(0)
    rows = [(model, animal, label) for model in models for animal in animals for label in labels for _ in range(trials)]
    columns = dict(zip(("model", "animal", "label"), map(list, zip(*rows, strict=True)), strict=True))
    columns |= {"trial": np.arange(len(rows)), "window": np.zeros(len(rows))}
    variables = {key: ("sample", random.normal(size=len(rows))) for key in "xy"}
    names = {f"{key}_name": ("shown_model", [f"PC {key}"] * len(models)) for key in "xy"}
    coords = {name: ("sample", np.array(column)) for name, column in columns.items()} | {"shown_model": list(models)}
    attrs = {"classes": json.dumps(list(labels)), "label": "odor", "split": 0}
    return xr.Dataset(variables | names, coords, attrs)


def boxes_of_legends(figure):
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()] + figure.legends
    return [(text, text.get_window_extent()) for legend in legends for text in legend.get_texts()]


def test_a_method_has_one_color_in_all_figures_of_a_run():
    with palettes.fixed(["a", "b", "c"], ["x", "y"], ["rat1", "rat2"]):
        everywhere = METHODS.colors(["a", "b", "c", "mcca"])
        for shown in (["c"], ["mcca", "b"], ["c", "a"]):
            assert METHODS.colors(shown) == {name: everywhere[name] for name in shown}
            assert METHODS.markers(shown) == {name: METHODS.markers(["a", "b", "c", "mcca"])[name] for name in shown}
        assert METHODS.colors(["b decoder"])["b decoder"] == METHODS.colors(["b_imputed"])["b_imputed"] == everywhere["b"]
        assert ANIMALS.colors(["rat2"]) != ANIMALS.colors(["rat1"])
    assert METHODS.colors(["c"])["c"] == everywhere["a"]  # outside of a run, the first of those shown


def test_methods_labels_and_animals_do_not_share_colors():
    palettes_of = [palettes.MODELS, palettes.BASELINES.values(), palettes.LABELS_UNORDERED[:10], palettes.ANIMALS_FIRST[:7]]
    colors = [to_rgb(color) for palette in palettes_of for color in palette]
    assert len(set(colors)) == len(colors)
    assert set(BASELINES) == set(palettes.BASELINES)


def test_labels_that_are_quantities_go_from_dark_to_light():
    colors = list(CLASSES.colors(["1 %", "2 %", "10 %"]).values())
    luminance = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in colors]
    assert luminance == sorted(luminance)
    assert CLASSES.colors(["A", "B"])["A"] == to_rgb(palettes.LABELS_UNORDERED[0])


@pytest.mark.parametrize("draw", [latents.scatter, latents.by_animal])
def test_labels_are_text_and_in_order(draw, tmp_path):
    figure = draw(plane(HARD, ["ann", "bob"]))
    figure.savefig(tmp_path / "figure.pdf")
    figure.savefig(tmp_path / "figure.png", dpi=50)
    texts = [text for text, _ in boxes_of_legends(figure)]
    assert not any(text.get_parse_math() for text in texts)
    shown = [text.get_text() for text in texts]
    assert shown[:3] == ["1", "2", "10"]
    assert {name for name in HARD if len(name) < 20} <= set(shown)


@pytest.mark.parametrize(("odors", "animals"), [(15, 14), (25, 30)])
@pytest.mark.parametrize("draw", [latents.scatter, latents.by_animal])
def test_many_names_stay_readable(draw, odors, animals):
    figure = draw(plane([f"odor {chr(65 + number)}" for number in range(odors)], [f"rat{number}" for number in range(animals)]))
    figure.draw_without_rendering()
    boxes = boxes_of_legends(figure)
    assert len(boxes) >= odors
    for text, box in boxes:
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.width, text.get_text()
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.height, text.get_text()
    panels = [axes.get_window_extent() for axes in figure.axes if axes.axison and axes.lines]
    assert min(min(box.width, box.height) for box in panels) > 0.7 * figure.dpi
    for number, (_, box) in enumerate(boxes):
        assert not any(box.overlaps(other) for _, other in boxes[number + 1 :])


def test_numbers_without_end_have_a_color_bar():
    figure = latents.scatter(plane([str(number) for number in range(25)], ["ann", "bob"]))
    assert [text.get_text() for text, _ in boxes_of_legends(figure)] == ["ann", "bob"]
    (bar,) = [child for axes in figure.axes for child in axes.child_axes]
    assert bar.get_xlabel() == "odor"


@style.applied()
def with_legend(count):
    figure, axes = style.page(2.0)
    axes.plot([0, 1])
    style.legend(figure, ANIMALS.handles([f"a rather long name {number}" for number in range(count)]), "animal")
    return style.caption(figure, "words"), axes


@pytest.mark.parametrize("count", [3, 12, 40])
def test_a_legend_goes_where_it_fits(count):
    figure, axes = with_legend(count)
    figure.draw_without_rendering()
    for _, box in boxes_of_legends(figure):
        assert (box.y0 >= 0, box.y1 <= figure.bbox.height, box.x1 <= figure.bbox.width) == (True, True, True)
    assert min(axes.get_window_extent().size) > 0.8 * figure.dpi


def test_names_of_ticks_are_thinned_before_they_overlap():
    names = [str(number) for number in range(100)]
    assert style.thinned(names[:10], 2.0, 6) == names[:10]
    shown = [name for name in style.thinned(names, 2.0, 6) if name]
    assert len(shown) * 6 / 72 <= 2.0
    assert shown[0] == "0"


def test_a_saved_figure_tells_what_it_shows_and_its_own_numbers(tmp_path):
    whole = xr.Dataset({"shown": ("x", [0.5, -0.0]), "other": ("x", [3.0, 4.0])})
    figure, axes = style.page(2.0)
    axes.plot([0, 1])
    style.caption(figure, "n: 2 ±", "What a figure shows.", whole[["shown"]])
    style.save(figure, whole, tmp_path / "figure")
    table = pd.read_csv(tmp_path / "figure.csv")
    assert list(table.columns) == ["x", "shown"]
    assert "-0" not in (tmp_path / "figure.csv").read_text()
    with Image.open(tmp_path / "figure.png") as image:
        assert (image.info["Title"], image.info["Description"]) == ("What a figure shows.", "n: 2 ±")
        below = float(image.info["Comment"])
        assert 0 < below < 0.2
        kept = np.asarray(image.convert("L"))[: round(image.height * (1 - below))]
        cut = np.asarray(image.convert("L"))[round(image.height * (1 - below)) :]
    assert cut.min() < 128  # the caption
    assert kept[-3:].min() > 250  # nothing is cut in two


def test_a_notebook_shows_a_figure_once_and_axes_of_the_user_are_drawn_in():
    figure = latents.scatter(plane(["A", "B"], ["ann"]))
    assert figure._repr_png_().startswith(b"\x89PNG")
    own = PlainFigure()
    axes = own.subplots()
    with style.drawn_in(axes):
        drawn, panel = style.page(3.0)
        style.caption(drawn, "words")
        assert (drawn, panel) == (own, axes)
        assert own.get_supxlabel() == ""
        with pytest.raises(ArgumentError, match="2 panels"):
            style.page(3.0, 1, 2)


def test_confusion_is_what_scikit_learn_counts():
    random = np.random.default_rng(0)
    labels = {name: random.integers(0, 3, (40, 2)).astype(np.int16) for name in ("ann", "bob")}
    nodes, decoded = {"/": xr.Dataset(attrs={"classes": '["A", "B", "C"]'})}, {}
    for name, label in labels.items():
        predicted = random.integers(-1, 3, (1, 4, 40, 2)).astype(np.int16)
        coords = {"decoder": ["ann", "bob", "others", "pooled"]}
        nodes[f"/{name}"] = xr.Dataset({"label": (("trial", "window"), label)})
        decoded[f"/{name}"] = xr.Dataset({"predicted": (("replica", "decoder", "trial", "window"), predicted)}, coords)
    found = confusion({"raw": xr.DataTree.from_dict(decoded)}, xr.DataTree.from_dict(nodes))
    for setting, places in {"within": (0, 1), "cross": (1, 0), "pooled": (3, 3)}.items():
        expected = []
        for (name, label), place in zip(labels.items(), places, strict=True):
            predicted = decoded[f"/{name}"]["predicted"].values[0, place]
            known = predicted >= 0
            expected.append(confusion_matrix(label[known], predicted[known], normalize="true"))
        np.testing.assert_allclose(found.sel(representation="raw", setting=setting), np.mean(expected, axis=0))


def conditions_in_time(names, axes):
    random = np.random.default_rng(0)
    shape = (1, len(names), 9, axes)
    variables = {key: (("model", "condition", "window", "axis"), random.normal(size=shape)) for key in ("mean", "low", "high")}
    variables["single"] = (("model", "path", "window", "axis"), random.normal(size=(1, 2, 9, axes)))
    variables["trials"] = (("condition", "animal"), np.full((len(names), 3), 4))
    variables["axis_name"] = (("model", "axis"), [[f"PC {number}" for number in range(axes)]])
    coords = {"model": ["mmvm"], "condition": names, "window": np.linspace(-1, 1, 9), "path_condition": ("path", names[:2])}
    return xr.Dataset(variables, coords, {"grid": "time", "split": 0, "condition": "odor"})


def test_paths_mark_start_event_and_end():
    scores = conditions_in_time(["A", "B"], 3)
    figure = paths.plane(scores)
    (axes,) = figure.axes
    for name, marker, window in (("start", "o", 0), ("event", "D", 4), ("end", "s", 8)):
        marked = np.array([line.get_xydata()[0] for line in axes.lines if line.get_marker() == marker])
        np.testing.assert_allclose(marked, scores["mean"].values[0, :, window, :2], err_msg=name)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B", "−1 s", "event, 0 s", "1 s"]
    assert paths.space(scores).axes[0].name == "3d"
    low, high = axes.get_xlim()
    assert low < scores["mean"].values[..., 0].min() < scores["mean"].values[..., 0].max() < high


def test_the_timeline_has_a_line_for_every_trial():
    recordings = tuned_recordings({"ann": (4, 12), "bob": (5, 15)})
    figure = timeline.timeline(recordings)
    trials = sum(node.sizes["trial"] for node in recordings.children.values())
    drawn = sum(len(lines.get_segments()) for lines in figure.axes[0].collections)
    assert drawn == trials
    assert figure.numbers.sizes["trial"] == trials


def test_cards_escape_names_and_fold_long_tables():
    table = pd.DataFrame({"animal": [f"<script>{number}" for number in range(20)], "share": 0.0})
    html = card("<b>", {"a & b": -0.0}, table)
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;19" in html
    assert "12 more" in html
    assert "-0" not in html
