"""What was given, what is wanted and how to make it: mistakes of a first hour in a notebook."""

import pickle

import pytest

import neuromvm as nm
from neuromvm.analysis import compare
from neuromvm.errors import ArgumentError, SchemaError
from tests.conftest import tuned_recordings

RECORDINGS = tuned_recordings({"mitt": (4, 30), "stella": (3, 30)})
SAMPLES = nm.make_samples(RECORDINGS, nm.SampleSpec(start=0, label="odor"))
SPLITS = nm.make_splits(SAMPLES, nm.SplitSpec())
MODEL = nm.ModelSpec(sharing="mmvm")
MISTAKES = {
    "a path for a data spec": (lambda: nm.load_recordings("my_lab.yaml"), "load_data_spec"),
    "a path for recordings": (lambda: nm.describe("my_lab.yaml"), "load_recordings"),
    "a dict for a sample spec": (lambda: nm.make_samples(RECORDINGS, {"label": "odor"}), "SampleSpec"),
    "arguments in the wrong order": (lambda: nm.make_samples(nm.SampleSpec(label="odor"), RECORDINGS), "load_recordings"),
    "a dict for a split spec": (lambda: nm.make_splits(SAMPLES, {"kind": "halves"}), "SplitSpec"),
    "recordings for samples": (lambda: nm.make_splits(RECORDINGS, nm.SplitSpec()), "make_samples"),
    "a dict for a model": (lambda: nm.fit(SAMPLES, SPLITS, {"sharing": "mmvm"}), "ModelSpec"),
    "splits for samples": (lambda: nm.fit(SPLITS, SAMPLES, MODEL), "make_samples"),
    "a dict for training": (lambda: nm.fit(SAMPLES, SPLITS, MODEL, {"epochs": 3}), "TrainingSpec"),
    "a list of latents": (lambda: compare(SAMPLES, SPLITS, [SAMPLES]), "embed"),
    "samples for latents": (lambda: compare(SAMPLES, SPLITS, {"mmvm": SAMPLES}), "embed"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_argument_is_met_with_the_way_to_make_a_right_one(mistake):
    wrong, advice = MISTAKES[mistake]
    with pytest.raises(ArgumentError, match=advice):
        wrong()


def test_splits_of_other_trials_are_refused():
    other = nm.make_splits(nm.make_samples(RECORDINGS, nm.SampleSpec(label="odor", keep={"odor": ["A", "B"]})), nm.SplitSpec())
    with pytest.raises(SchemaError, match="other trials"):
        nm.fit(SAMPLES, other, MODEL)


def test_latents_of_other_windows_are_not_compared():
    fitted = nm.fit(SAMPLES, SPLITS, MODEL, nm.TrainingSpec(epochs=1), progress=False)
    assert "mitt, stella" in repr(fitted)
    before = nm.make_samples(RECORDINGS, nm.SampleSpec(start=-1, stop=0, label="odor"))
    with pytest.raises(SchemaError, match="another spec"):
        compare(before, SPLITS, {"mmvm": fitted.embed(SAMPLES)})


def test_with_one_animal_only_its_own_rows_are_compared():
    recordings = tuned_recordings({"mitt": (4, 30)})
    samples = nm.make_samples(recordings, nm.SampleSpec(start=0, label="odor"))
    scores = compare(samples, nm.make_splits(samples, nm.SplitSpec()), {})
    assert scores["representation"].values.tolist() == ["raw", "raw_lda", "shrunk_lda", "poisson_bayes", "pca"]


def test_an_error_of_a_worker_process_arrives_as_it_was():
    error = SchemaError("samples", found="none", expected="some", next_step="Make them")
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), arrived.found) == (SchemaError, str(error), "none")
