"""What the model saw of the images of a run, as small pictures, without opening the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from camcli.checks.recorded import ImageRecord, RecordedRun
from camcli.checks.rereading import decode_again

SIDE, LEAST_SIDE = 144, 96
"""Longer side of the pictures in which marks are searched, in pixels: at most, and at least where the model's input is
smaller. A mark of 8 % of the side has 11, and 8."""
_SHORTER = 48
"""Least length of the shorter side."""


@dataclass(frozen=True)
class View:
    """What the model saw of an image: (H, W, 3) uint8."""

    record: ImageRecord
    pixels: np.ndarray


def read_views(
    run: RecordedRun, records: Sequence[ImageRecord], side: int = SIDE, least: int = LEAST_SIDE
) -> dict[tuple[str, str], View]:
    """The views of those images that are still there with the same content, by the image's name.

    Args:
        run: that explained them.
        records: which.
        side, least: longer side of the pictures, in pixels, where the model's input is larger, or smaller.
    """
    _, height, width = run.header["model"]["input_size"]
    scale = min(max(height, width, least), side) / max(height, width)
    # A window fits into the shorter side, too.
    size = max(_SHORTER, round(width * scale)), max(_SHORTER, round(height * scale))
    views = {}
    for place, decoded in decode_again(run, records):
        view = records[place].view
        left, top = math.floor(view.x0), math.floor(view.y0)
        crop = decoded.image.crop((left, top, max(left + 1, math.ceil(view.x1)), max(top + 1, math.ceil(view.y1))))
        pixels = np.asarray(
            crop.resize(size, Image.Resampling.BOX if crop.width > size[0] else Image.Resampling.BICUBIC)
        )
        views[records[place].name] = View(records[place], pixels)
    return views
