"""A cell of a benchmark: one method at one beta, trained with all seeds and measured on test tuples."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.latents.classification import latent_accuracy
from neuromvm.data.modalities import images_of, splits_by_label
from neuromvm.data.polymnist import make_polymnist, mnist_digits, read_polymnist, small_digits
from neuromvm.data.windows import make_samples
from neuromvm.errors import NeuromvmError
from neuromvm.files import read_dataset, write_atomically, write_tree
from neuromvm.folders.tensors import read_tensors, write_tensors
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.whole_tuples import decoded_from_one, joint_reconstruction
from neuromvm.specs import SampleSpec
from neuromvm.training.fit import fit
from neuromvm.training.image_classifier import ClassifierSettings, Floats, ImageClassifier, classified, fit_classifier
from neuromvm.workflow.benchmark.settings import PolyMnistSpec, model_of, training_of

MEASURES, FAILED = "measures.nc", "failed.txt"
DELETE = "Delete it: it is trained again"
MOST_ENCODED = 10_000  # training latents of a modality that a logistic regression sees, as published


class Cell(NamedTuple):
    """One method at one beta, in a folder of the benchmark; ``spec`` as JSON, so that a process can take it."""

    out: str
    spec: str
    method: str
    beta: float

    @property
    def folder(self) -> Path:
        """Folder of the cell."""
        return Path(self.out) / "cells" / f"{self.method}-beta{self.beta:g}"

    @property
    def measures(self) -> Path:
        """File of its measures; it is there when the cell is done."""
        return self.folder / MEASURES


class Prepared(NamedTuple):
    """What all cells share: samples, their division, and a classifier of real images for each modality, with its accuracy."""

    samples: xr.DataTree
    splits: xr.DataTree
    classifiers: dict[str, ImageClassifier]
    ceiling: dict[str, float]


def run_cell(cell: Cell) -> bool:
    """Train and measure a cell that is not done; return whether it is done. An error that a user can mend is kept in a file."""
    try:
        if not cell.measures.is_file():
            write_tree(cell.measures, _measured(cell))
        (cell.folder / FAILED).unlink(missing_ok=True)
    except NeuromvmError as error:
        cell.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(cell.folder / FAILED, f"{type(error).__name__}: {error}".encode())
        return False
    return True


def read_measures(cell: Cell) -> xr.Dataset:
    """Return the measures of a cell that is done."""
    return read_dataset(cell.measures)


@cache
def prepared(out: str, spec_text: str) -> Prepared:
    """Make or read the images, and read the classifiers, or train them if the folder has none; once in a process."""
    spec = PolyMnistSpec.model_validate_json(spec_text)
    samples = load_samples(spec)
    classifiers, ceiling = {}, {}
    for name, node in samples.children.items():
        images, codes = images_of(node.to_dataset()["activity"]), node["label"].to_numpy()[:, 0]
        training, test = (node["part"].to_numpy() == part for part in ("train", "test"))
        file = Path(out) / "classifiers" / f"{name}.safetensors"
        classifiers[name] = _classifier(file, images[training], codes[training], spec.classifier_epochs)
        ceiling[name] = float((classified(classifiers[name], images[test]) == codes[test]).mean())
    return Prepared(samples, splits_by_label(samples), classifiers, ceiling)


def _classifier(file: Path, images: Floats, codes: NDArray[np.int16], epochs: int) -> ImageClassifier:
    """Return the classifier in a file, or train and write it."""
    classes = int(codes.max()) + 1
    if file.is_file():
        classifier = ImageClassifier(images.shape[3], classes)
        classifier.load_state_dict({name: torch.from_numpy(values) for name, values in read_tensors(file, DELETE).items()})
        return classifier.eval()
    classifier = fit_classifier(images, codes, classes, settings=ClassifierSettings(epochs=epochs))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(file, {name: values.numpy() for name, values in classifier.state_dict().items()})
    return classifier


def load_samples(spec: PolyMnistSpec) -> xr.DataTree:
    """Return the images of a benchmark, labelled and matched by digit."""
    if spec.data is not None:
        recordings = read_polymnist(spec.data, [f"m{number}" for number in range(spec.modalities)])
    else:
        digits = small_digits() if spec.digits == "small" else mnist_digits()
        recordings = make_polymnist(digits, modalities=spec.modalities, copies=spec.copies, side=spec.side, seed=spec.data_seed)
    return make_samples(recordings, SampleSpec(label=["digit"], scale="none"))


def _measured(cell: Cell) -> xr.Dataset:
    spec = PolyMnistSpec.model_validate_json(cell.spec)
    data = prepared(cell.out, cell.spec)
    model = model_of(spec, cell.method, cell.beta)
    fitted = fit(data.samples, data.splits, model, training_of(spec), folder=cell.folder / "model", progress=False)
    return measure(fitted, data).assign_attrs(method=cell.method, beta=cell.beta)


def measure(fitted: FittedStack, data: Prepared) -> xr.Dataset:
    """Return the measures of a fitted stack on test tuples, a number for each seed and modality, or pair of them.

    Returns
    -------
    ``latent_accuracy (seed, modality)``: logistic regression on posterior means of each modality alone.
    ``coherence (seed, source, target)``: share of test tuples in which a classifier of real images sees the tuple's digit in the
    image that is decoded from the source. ``error`` and ``log_likelihood (seed, source, target)``: of that image against the
    tuple's own; where source and target are the same it is the self reconstruction. ``joint_error`` and
    ``joint_log_likelihood (seed, modality)``: decoded from the joint posterior. ``ceiling (modality)``: accuracy of the
    classifier on real test images. Errors are means of squares over features, log-likelihoods [nats an image].
    """
    names = list(fitted.scalers)
    seeds = [replica.seed for replica in fitted.replicas]
    scores = {key: np.full((len(seeds), len(names), len(names)), np.nan) for key in ("coherence", "error", "log_likelihood")}
    for number, replica in enumerate(fitted.replicas):
        for images in decoded_from_one(fitted, data.samples, data.splits, number, seed=replica.seed):
            cell = number, names.index(images.source), names.index(images.target)
            tuples, extent = len(images.match), fitted.windows[images.target].extent
            seen = classified(data.classifiers[images.target], images.decoded.reshape(tuples, *extent, -1))
            scores["coherence"][cell] = (seen == images.match).mean()
            scores["error"][cell] = np.square(images.decoded - images.true).mean()
            scores["log_likelihood"][cell] = images.log_likelihood.mean()
    joint = joint_reconstruction(fitted, data.samples, data.splits)
    accuracy = latent_accuracy(fitted.embed(data.samples), data.splits, most=MOST_ENCODED)
    pair, single = ("seed", "source", "target"), ("seed", "modality")
    return xr.Dataset(
        {
            "latent_accuracy": (single, accuracy.to_numpy()),
            **{key: (pair, values) for key, values in scores.items()},
            "joint_error": (single, joint["error"].to_numpy()),
            "joint_log_likelihood": (single, joint["log_likelihood"].to_numpy()),
            "ceiling": ("modality", [data.ceiling[name] for name in names]),
        },
        coords={"seed": seeds, "modality": names, "source": names, "target": names},
        attrs={"test_tuples": tuples, "training_samples": _training_samples(data)},
    )


def _training_samples(data: Prepared) -> int:
    return max(int((node["part"].to_numpy() == "train").sum()) for node in data.samples.children.values())
