"""A classifier of real training images, which says what generated images show."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from neuromvm.errors import ShapeError

Floats = NDArray[np.float32]
ROWS_AT_ONCE = 256
CHANNELS = (24, 48, 64)
GROUPS = 4  # of channels that are normalised together


class ClassifierSettings(NamedTuple):
    """How a classifier is trained: by AdamW, the learning rate falling to 0 along half a cosine."""

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2


class ImageClassifier(nn.Module):
    """Images ``(image, channel, row, column)`` to log odds ``(image, class)``.

    Three convolutions, then the largest value of each channel in each quarter of the image (``trunk``): an object may lie
    anywhere. ``readout`` is linear.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, first, 5, stride=2, padding=2),
            nn.GroupNorm(GROUPS, first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.GroupNorm(GROUPS, second),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(second, third, 3, padding=1),
            nn.GroupNorm(GROUPS, third),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(2),
            nn.Flatten(),
        )
        self.readout = nn.Linear(4 * third, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return log odds."""
        odds: torch.Tensor = self.readout(self.trunk(images))
        return odds


def fit_classifier(
    images: Floats, codes: NDArray[np.integer], classes: int, *, settings: ClassifierSettings | None = None, seed: int = 0
) -> ImageClassifier:
    """Return a classifier of training images ``(image, row, column, channel)`` with codes of their classes ``(image,)``.

    Raises ShapeError unless there is a code below ``classes`` for each image. Weights and the order of images follow from the
    seed alone.
    """
    settings = settings or ClassifierSettings()
    if images.ndim != 4 or len(codes) != len(images) or not len(codes) or not 0 <= codes.min() <= codes.max() < classes:
        problem = f"images {images.shape} and {len(codes)} codes"
        raise ShapeError("image classifier", found=problem, expected=f"a code of 0 to {classes - 1} for each image")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = ImageClassifier(images.shape[3], classes)
    inputs, targets = _in_torch(images), torch.from_numpy(codes.astype(np.int64))
    steps = settings.epochs * -(-len(codes) // settings.batch_size)
    optimizer = torch.optim.AdamW(classifier.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        for rows in torch.split(torch.randperm(len(codes), generator=generator), settings.batch_size):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(classifier(inputs[rows]), targets[rows]))
            optimizer.step()
            schedule.step()
    return classifier.eval()


@torch.no_grad()
def classified(classifier: ImageClassifier, images: Floats) -> NDArray[np.int64]:
    """Return the codes of the most probable classes of images ``(image, row, column, channel)``."""
    return np.concatenate([classifier(part).argmax(1).numpy() for part in torch.split(_in_torch(images), ROWS_AT_ONCE)])


def _in_torch(images: Floats) -> torch.Tensor:
    """Return images in the order of torch, a view."""
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).movedim(-1, 1)
