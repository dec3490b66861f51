"""The sheet of the classes: the mean map of each, and crops of its images around the hottest place."""

from collections.abc import Sequence

import cv2
import numpy as np

from camcli.checks.class_maps import ClassMaps
from camcli.checks.distances import mass
from camcli.checks.recorded import ImageRecord, MethodLayer, RecordedRun
from camcli.checks.report.contact_sheet import SheetRow, heat_alone, read_canvases
from camcli.render import Canvas

CROP = 0.3
"""Side of a crop, as a share of what the model saw."""
_A_ROW = 4
_CROPS = 6


def class_rows(run: RecordedRun, key: MethodLayer, classes: Sequence[ClassMaps]) -> list[SheetRow]:
    """The mean maps, then a row of crops for each class."""
    _, height, width = run.header["model"]["input_size"]
    means = [([heat_alone(one.mean.astype(np.float32), (height, width))], _caption(one)) for one in classes]
    title = "mean map of each class: a place that one class has and others have not may be a shortcut"
    rows = [
        SheetRow(title if start == 0 else "", means[start : start + _A_ROW]) for start in range(0, len(means), _A_ROW)
    ]
    wanted = {record.name: record for one in classes for record in one.sample[:_CROPS]}
    pictures = dict(read_canvases(run, wanted))
    for one in classes:
        tiles = [
            ([hottest_crop(pictures[record.name], record, key)], record.image)
            for record in one.sample[:_CROPS]
            if record.name in pictures
        ]
        if tiles:
            effect = f": {one.covering.words}" if one.covering is not None else ""
            rows.append(SheetRow(f"hottest crops of {one.name!r}{effect}", tiles))
    return rows


def _caption(one: ClassMaps) -> str:
    # Each map is drawn on a scale of its own: the number says how far its maximum is above its mean.
    return f"{one.name}\n{one.n} images; maximum {one.mean.max() * one.mean.size:.1f} times the mean"


def hottest_crop(canvas: Canvas, record: ImageRecord, key: MethodLayer) -> np.ndarray:
    """The part of an image around the hottest place of its map: (h, w, 3) uint8 RGB."""
    p = mass(record.maps[key].raw)
    # Smoothed, so that of a plateau of hot cells the middle is taken and not its first cell.
    smooth = cv2.GaussianBlur(p, (0, 0), 0.7, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(np.argmax(smooth)), p.shape)
    view, (height, width) = canvas.view, canvas.size
    x = view.x0 + (column + 0.5) / p.shape[1] * view.width
    y = view.y0 + (row + 0.5) / p.shape[0] * view.height
    half = max(2.0, CROP * min(view.width, view.height) / 2)
    x0, y0 = (int(np.clip(at - half, 0, max(0.0, side - 2 * half))) for at, side in ((x, width), (y, height)))
    crop = canvas.pixels[y0 : y0 + round(2 * half), x0 : x0 + round(2 * half)]
    return np.ascontiguousarray(crop[..., ::-1])
