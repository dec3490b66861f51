"""The rows of the contact sheet that show a shortcut: its patch, images that carry it, and the heat on them."""

import base64
import io

import cv2
import numpy as np
from PIL import Image

from camcli.checks.recorded import MethodLayer, RecordedRun
from camcli.checks.report.contact_sheet import TILE, SheetRow, draw_view
from camcli.checks.result import Result
from camcli.checks.views import read_views

_SHOWN, _ROWS = 4, 12
"""Images of a shortcut, and shortcuts, that are drawn."""
_FRAME = (255, 0, 200)


def shortcut_rows(run: RecordedRun, key: MethodLayer, result: Result) -> list[SheetRow]:
    """One row for each of the first shortcuts in the details of a result.

    Images that are not there any more are left out.
    """
    records = {(record.image, record.source): record for record in run.images}
    shortcuts = result.details.get("shortcuts", [])[:_ROWS]
    occurrences = [
        [(place["box"], record) for place in one["occurrences"] if (record := records.get(_image(place)))][:_SHOWN]
        for one in shortcuts
    ]
    chosen = {record.name: record for shown in occurrences for _, record in shown}
    views = read_views(run, list(chosen.values()), TILE, least=0)
    rows = []
    for one, shown in zip(shortcuts, occurrences, strict=True):
        tiles = [([_patch(one["patch"])], f"the patch, {one['placement']}\n{_effects(one)}")]
        for box, record in shown:
            view = views.get(record.name)
            if view is not None:
                framed = _framed(view.pixels, box)
                heat = record.meaningful_map(key)
                overlay = [] if heat is None else [_framed(draw_view(heat.raw, view.pixels, "overlay"), box)]
                tiles.append(([framed, *overlay], record.image))
        state = {True: "it decides", False: "it does not decide", None: "whether it decides is open"}[one["decides"]]
        rows.append(SheetRow(f"shortcut of {one['class']!r}: {100 * one['share']:.0f} % carry it; {state}", tiles))
    return rows


def _image(place: dict[str, str]) -> tuple[str, str]:
    return place["image"], place["source"]


def _effects(one: dict[str, float | None]) -> str:
    changes = [f"{word} it {value:+.2f}" for word, value in _signed(one) if value is not None]
    return "probability " + ", ".join(changes) if changes else ""


def _signed(one: dict[str, float | None]) -> list[tuple[str, float | None]]:
    fall = one["without"]
    return [("without", None if fall is None else -fall), ("with", one["with"])]


def _patch(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB"))


def _framed(pixels: np.ndarray, box: list[float]) -> np.ndarray:
    """A copy with a frame around a box in shares of the picture."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = (round(edge * side) for edge, side in zip(box, (width, height, width, height), strict=True))
    framed: np.ndarray = cv2.rectangle(pixels.copy(), (x0 - 2, y0 - 2), (x1 + 1, y1 + 1), _FRAME, 2)
    return framed
