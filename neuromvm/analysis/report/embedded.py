"""What the report holds within itself: pictures made small, and the plotting library packed."""

import gzip
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from neuromvm.analysis.figures.style import Figure, applied

RESOLUTION = 150  # dots an inch of figures that the report alone holds
WIDEST = 1500  # pixels of a picture
COLORS, APART = 256, 9.0  # of a picture, and how far these differ at least
CANDIDATES = 4000  # most frequent colors of a picture among which they are chosen


class Told(NamedTuple):
    """A picture as base64 of a PNG, and what it says of itself, '' where it says nothing."""

    data: str
    shows: str
    words: str


def picture_of(file: Path) -> Told:
    """Read a saved figure without the caption below its panels, which is returned as text."""
    with Image.open(file) as image:
        told = {str(key): str(value) for key, value in image.info.items()}
        try:
            below = float(told.get("Comment", "0"))
        except ValueError:  # a comment of another program
            below = 0.0
        panels = image.crop((0, 0, image.width, round(image.height * (1 - below)))) if 0 < below < 1 else image
        return Told(_small(panels), told.get("Title", ""), " ".join(told.get("Description", "").split()))


def embedded_figure(draw: Callable[[], Figure]) -> str:
    """Draw a figure that the report alone holds, as base64 of a PNG."""
    picture = BytesIO()
    with applied():
        draw().savefig(picture, format="png", dpi=RESOLUTION, metadata={"Software": None})
    with Image.open(picture) as image:
        return _small(image)


def _small(image: Image.Image) -> str:
    """Return a picture with few colors and no wider than a page."""
    opaque, drawn = Image.new("RGB", image.size, "white"), image.convert("RGBA")
    opaque.paste(drawn, mask=drawn.getchannel("A"))
    palette = _palette(opaque)
    if opaque.width > WIDEST:
        opaque = opaque.resize((WIDEST, round(opaque.height * WIDEST / opaque.width)), Image.Resampling.LANCZOS)
    packed = BytesIO()
    opaque.quantize(palette=palette, dither=Image.Dither.NONE).save(packed, format="PNG", optimize=True)
    return b64encode(packed.getvalue()).decode()


def _palette(image: Image.Image) -> Image.Image:
    """Return the most frequent colors of a picture that differ; flat colors of a figure are among them, also rare ones."""
    counted = sorted(image.getcolors(image.width * image.height) or [], reverse=True)[:CANDIDATES]
    candidates = np.array([color for _, color in counted], dtype=float)
    chosen: list[np.ndarray] = []
    free = np.ones(len(candidates), dtype=bool)
    while free.any() and len(chosen) < COLORS:
        color = candidates[free.argmax()]
        chosen.append(color)
        free &= np.linalg.norm(candidates - color, axis=1) >= APART
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.array(chosen, dtype=np.uint8).ravel().tolist())
    return palette


@cache
def packed_library() -> str:
    """Return the library that draws the clouds, compressed, as base64; the page unpacks it."""
    from plotly.offline import get_plotlyjs  # imported here: only reports with clouds need it

    return b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
