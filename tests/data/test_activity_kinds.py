"""The table of kinds of activity: what is printed, refused and used by default."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression

from neuromvm import ModelSpec, SplitSpec, TrainingSpec, fit, make_samples, make_splits, schema
from neuromvm.data.activity_kinds import KINDS, check_likelihood, kind_of, kinds_table, transform_of
from neuromvm.data.features import features
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SchemaError, SpecError
from neuromvm.likelihoods import LIKELIHOODS
from neuromvm.specs import SampleSpec
from tests.data.test_recordings_door import amplitudes, random_counts, tree_of

PAGE = Path(__file__).parents[2] / "docs" / "activity_kinds.md"


def test_the_page_has_the_table_of_the_code():
    table = re.search(r"<!-- begin: kinds -->\n(.*?)<!-- end: kinds -->", PAGE.read_text(), re.S).group(1)
    assert table == kinds_table()


def test_the_statements_of_the_page_run():
    names = {}
    for statements in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
        exec(statements, names)
    assert names["samples"]["ada"]["activity"].shape == (40, 1, 1, 6)
    assert names["recordings"]["ada"]["spike_count"].shape == (2, 2, 2)


def test_every_kind_and_likelihood_is_in_the_table():
    assert set(KINDS) == set(schema.ACTIVITY_KINDS)
    assert {name for kind in KINDS.values() for name in kind.likelihoods} == set(LIKELIHOODS)


@pytest.mark.parametrize("kind", KINDS)
def test_transforms_and_likelihoods_suit_the_numbers_of_a_kind(kind):
    _, negative, own_grid = schema.ACTIVITY_KINDS[kind]
    counts = kind == "counts"
    assert (KINDS[kind].merged == "sum") == counts
    assert bool({"sqrt", "log1p"} & set(KINDS[kind].transforms)) == (not negative and not own_grid)
    assert KINDS[kind].scaled == (kind not in ("image", "tokens"))
    possible = {"real"} if negative else {"real", "binary", "counts" if counts else "positive"}
    possible |= {"binary"} if kind == "image" else set()  # an image can be black and white
    supports = {LIKELIHOODS[name].support for name in KINDS[kind].likelihoods if name != "categorical"}
    assert supports <= possible


def test_counts_alone_have_likelihoods_of_counts():
    for kind, of in KINDS.items():
        assert ("poisson" in of.likelihoods) == ("negative_binomial" in of.likelihoods) == (kind == "counts")


def activity(kind, values, variable="event_amplitude"):
    return xr.DataArray(np.array(values).reshape(1, 1, -1), dims=("trial", "time", "unit"), attrs=kind, name=variable)


def test_a_kind_that_is_not_said_follows_from_the_variable_and_the_sign():
    assert kind_of(activity({}, [1], "spike_count")) == "counts"
    assert kind_of(activity({}, [0.0, 1.0])) == "amplitudes"
    assert kind_of(activity({}, [-1.0, 1.0])) == "fluorescence"
    assert kind_of(activity({"activity_kind": "power"}, [0.0, 1.0])) == "power"


@pytest.mark.parametrize("transform", ["sqrt", "log1p"])
def test_a_root_of_negative_activity_is_refused_with_the_reason(transform):
    tree = tree_of(lambda name: amplitudes(name) - 1, "event_amplitude")
    with pytest.raises(
        SchemaError, match=rf"samples\.transform={transform}: .*fluorescence, which can be negative.*set it to none"
    ):
        make_samples(tree, SampleSpec(label="odor", transform=transform))
    with pytest.raises(SchemaError, match="which can be negative"):
        make_samples(
            tree_of(amplitudes, "event_amplitude", activity_kind="fluorescence"), SampleSpec(label="odor", transform=transform)
        )


def test_negative_activity_of_a_kind_that_cannot_be_is_refused():
    tree = tree_of(lambda name: amplitudes(name) - (name == "b"), "event_amplitude", activity_kind="rates")
    with pytest.raises(SchemaError, match=r"recordings/b: event_amplitude \(rates\) of -.*0 or more.*fluorescence"):
        make_samples(tree, SampleSpec(label="odor"))
    with pytest.raises(SchemaError, match="of kind 'counts'"):
        make_samples(tree_of(amplitudes, "event_amplitude", activity_kind="counts"), SampleSpec(label="odor"))


def test_animals_whose_kind_is_not_said_are_transformed_alike():
    samples = make_samples(tree_of(lambda name: amplitudes(name) - (name == "b"), "event_amplitude"), SampleSpec(label="odor"))
    assert {node["activity"].attrs["activity_kind"] for node in samples.children.values()} == {"fluorescence"}
    assert sample_spec(samples).transform == "none"


def test_animals_of_different_kinds_have_the_transform_of_their_kind():
    signed = tree_of(lambda name: -amplitudes(name), "event_amplitude")
    mixed = xr.DataTree(dataset=signed.to_dataset(), children={"a": tree_of(random_counts)["a"].copy(), "b": signed["b"].copy()})
    samples = make_samples(mixed, SampleSpec(label="odor"))
    spec = sample_spec(samples)
    counts, other = (features(samples[name]["activity"], spec)[:, 0] for name in "ab")
    np.testing.assert_allclose(counts, np.sqrt(random_counts("a").sum(axis=1)), rtol=1e-6)
    np.testing.assert_allclose(other, -amplitudes("b").mean(axis=1), rtol=1e-5)


def test_what_encoders_see_of_negative_activity_tells_the_odor():
    labels = np.resize(list("AB"), 40)
    shift = np.where(labels == "A", -1, -2)[:, None, None]

    def values(name):
        return (np.random.default_rng(0).normal(size=(40, 10, 6)) + shift).astype("f4")

    samples = make_samples(tree_of(values, "event_amplitude"), SampleSpec(label="odor"))
    splits = make_splits(samples, SplitSpec(kind="chronological", order="trial"))
    model = ModelSpec(sharing="mmvm", networks="linear", latent=2)
    seen = fit(samples, splits, model, TrainingSpec(epochs=1), progress=False).scaled(samples, "a", 0).numpy()[:, 0]
    train = splits["a"]["part"].to_numpy()[0] == schema.Part.TRAIN
    assert LogisticRegression().fit(seen[train], labels[train]).score(seen[~train], labels[~train]) == 1


def test_spikes_per_millisecond_are_of_counts():
    with pytest.raises(SchemaError, match=r"per_millisecond: event_amplitude\. Expected spike_count"):
        transform_of(activity({"activity_kind": "rates"}, [1.0]), "per_millisecond")


def test_a_likelihood_that_does_not_fit_is_refused_before_training():
    samples = make_samples(tree_of(amplitudes, "event_amplitude"), SampleSpec(label="odor"))
    splits = make_splits(samples, SplitSpec(kind="chronological", order="trial"))
    with pytest.raises(SpecError, match="likelihood of animal a: poisson, and activity of kind amplitudes"):
        fit(samples, splits, ModelSpec(sharing="mmvm", likelihood="poisson"), TrainingSpec(epochs=1), progress=False)
    with pytest.raises(SpecError, match="animal b: gamma, and activity of kind counts"):
        check_likelihood("b", make_samples(tree_of(random_counts), SampleSpec(label="odor"))["b"]["activity"], "gamma")
