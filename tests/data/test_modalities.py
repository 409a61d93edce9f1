"""Images, texts and vectors are recordings: a node a modality, with a grid of its own."""

import numpy as np
import pytest

from neuromvm import recordings_of_modalities, splits_by_label
from neuromvm.data.features import features
from neuromvm.data.modalities import images_of
from neuromvm.data.windows import make_samples, window_shape
from neuromvm.errors import ArgumentError, SchemaError, SplitError
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec
from tests.conftest import tuned_recordings

RANDOM = np.random.default_rng(0)
PHOTOS = RANDOM.integers(0, 256, (12, 6, 4, 3)).astype(np.uint8)
WORDS = RANDOM.integers(0, 7, (12, 5))
SIZES = RANDOM.normal(3.0, 2.0, (12, 2))
LABELS = {"pet": ["cat", "dog", "cow"] * 4, "part": ["train"] * 8 + ["validation"] * 2 + ["test"] * 2}
PAIRS = {"photo": PHOTOS, "caption": WORDS, "size": SIZES}


def pets(**changes):
    return make_samples(recordings_of_modalities(PAIRS, LABELS, vocabulary={"caption": 9}), SampleSpec(label="pet", **changes))


def test_modalities_keep_their_shapes_and_values():
    samples = pets()
    shapes = {name: window_shape(node.to_dataset()) for name, node in samples.children.items()}
    assert (shapes["photo"].bins, shapes["photo"].units, shapes["photo"].extent) == (24, 3, (6, 4))
    assert (shapes["caption"].bins, shapes["caption"].units, shapes["caption"].extent) == (5, 9, ())
    assert (shapes["size"].bins, shapes["size"].units) == (1, 2)
    np.testing.assert_allclose(images_of(samples["photo"]["activity"]), PHOTOS / 255, rtol=1e-6)
    np.testing.assert_array_equal(samples["caption"]["activity"].argmax("unit")[:, 0], WORDS)
    assert samples["caption"]["activity"].dtype == np.uint8
    with pytest.raises(SchemaError, match="images"):
        images_of(samples["size"]["activity"])


def test_features_of_pixels_and_tokens_are_not_transformed():
    samples = pets()
    for name in ("photo", "caption"):
        activity = samples[name]["activity"]
        np.testing.assert_array_equal(features(activity, SampleSpec(label="pet")).ravel(), activity.to_numpy().ravel())
    with pytest.raises(SchemaError, match="transform=sqrt"):
        pets(transform="sqrt")


def test_grey_images_are_said_to_be_images():
    with pytest.raises(SchemaError, match=r"kinds=\{'photo': 'image'\}"):
        recordings_of_modalities({"photo": PHOTOS[..., 0]}, LABELS)
    grey = recordings_of_modalities({"photo": PHOTOS[..., 0]}, LABELS, kinds={"photo": "image"})
    assert grey["photo"].sizes["unit"] == 1


@pytest.mark.parametrize(
    ("pairs", "settings", "error"),
    [
        ({"photo": PHOTOS.astype(str)}, {}, SchemaError),
        ({"words": WORDS}, {"vocabulary": {"words": 3}}, SchemaError),
        ({"words": -1 - WORDS}, {}, SchemaError),
        ({"size": SIZES}, {"kinds": {"size": "sound"}}, ArgumentError),
        ({"size": SIZES}, {"kinds": {"size": "image"}}, SchemaError),
        ({"size": SIZES[:3]}, {}, SchemaError),
        ({"type": SIZES}, {}, SchemaError),
        ([SIZES], {}, ArgumentError),
    ],
)
def test_what_is_no_modality_is_refused(pairs, settings, error):
    with pytest.raises(error):
        recordings_of_modalities(pairs, LABELS, **settings)


def test_labels_of_one_modality_stand_for_those_of_all():
    few = {"photo": PHOTOS, "size": SIZES[:6]}
    recordings = recordings_of_modalities(few, {**LABELS, "size": {key: values[:6] for key, values in LABELS.items()}})
    assert recordings["size"]["pet"].values.tolist() == LABELS["pet"][:6]
    assert recordings["photo"]["pet"].values.tolist() == LABELS["pet"]


def test_a_label_divides_all_modalities_together():
    splits = splits_by_label(pets())
    expected = [Part.TRAIN] * 8 + [Part.VALIDATION] * 2 + [Part.TEST] * 2
    assert all(node["part"].values.tolist() == [expected] for node in splits.children.values())
    with pytest.raises(SplitError, match="no trial with pet 'train'"):
        splits_by_label(pets(), "pet")


def test_animals_still_need_a_common_grid():
    rats = tuned_recordings({"ada": (4, 12), "bob": (3, 12)})
    longer = {name: node.to_dataset(inherit=False) for name, node in rats.children.items()}
    photo = recordings_of_modalities({"photo": PHOTOS}, {"odor": ["A", "B"] * 6})["photo"].to_dataset()
    rats["photo"] = photo
    assert set(make_samples(rats, SampleSpec(label="odor")).children) == {*longer, "photo"}
