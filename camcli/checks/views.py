"""What the model saw of the images of a run, as small pictures, without opening the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from camcli.checks.recorded import ImageRecord, RecordedRun
from camcli.checks.rereading import decode_again

SIDE, LEAST_SIDE = 144, 96
"""Longer side of the pictures in which marks are searched, in pixels: at most, and at least where the model's input is
smaller. A mark of 8 % of the side has 11, and 8."""


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
    size = max(1, round(width * scale)), max(1, round(height * scale))
    views = {}
    for place, decoded in decode_again(run, records):
        view = records[place].view
        crop = decoded.image.crop((round(view.x0), round(view.y0), round(view.x1), round(view.y1)))
        pixels = np.asarray(
            crop.resize(size, Image.Resampling.BOX if crop.width > size[0] else Image.Resampling.BICUBIC)
        )
        views[records[place].name] = View(records[place], pixels)
    return views
