"""The contact sheet: the worst images of every check as one picture, each with its overlay and its value."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from camcli.checks.recorded import ImageRecord, MethodLayer, RecordedRun
from camcli.checks.rereading import decode_again
from camcli.errors import SourceError
from camcli.images import View
from camcli.output import read_artefact, write_named_file
from camcli.render import Canvas, Drawing, Style, make_canvas
from camcli.render.lettering import as_legible, fit
from camcli.render.pages import Page, Picture, Text, encode_page, encode_pdf, page_format

TILE = 224
GAP = 10
CAPTION = 34
TITLE = 30
_LARGE, _SMALL = 16, 12
_DOTS_PER_INCH = 110
Name = tuple[str, str]
"""Image and source."""


@dataclass(frozen=True)
class SheetRow:
    """One line of the sheet.

    Attributes:
        title: above the pictures.
        tiles: (pictures side by side as (height, width, 3) uint8 RGB, caption) each.
    """

    title: str
    tiles: Sequence[tuple[Sequence[np.ndarray], str]]


def write_sheet(path: str, rows: Sequence[SheetRow]) -> None:
    """Draw the sheet and write it in the format that the file's name asks for.

    Raises:
        ConfigError: no known format, or PDF without matplotlib.
        OutputError: the file cannot be written.
    """
    kind, page = page_format(path), compose(rows)
    write_named_file("--sheet", path, [encode_pdf([page]) if kind == "PDF" else encode_page(page, kind)])


def compose(rows: Sequence[SheetRow]) -> Page:
    """All rows below each other."""
    widest = max((sum(_width(p) for p, _ in row.tiles) for row in rows), default=TILE)
    page = Page(max(widest, 2 * TILE) + 2 * GAP, GAP, _DOTS_PER_INCH)
    for row in rows:
        page.texts.append(Text(GAP, page.height + 19, _fit(row.title, page.width - 2 * GAP, _LARGE), _LARGE))
        page.height += TITLE
        x = GAP
        for pictures, caption in row.tiles:
            for place, picture in enumerate(pictures):
                page.pictures.append(Picture(x + place * TILE, page.height, (TILE - 2, TILE), _thumbnail(picture)))
            room = _width(pictures) - GAP
            for line, words in enumerate(caption.split("\n")[:2]):
                y = page.height + TILE + 13 + 15 * line
                page.texts.append(Text(x, y, _fit(words, room, _SMALL), _SMALL))
            x += _width(pictures)
        page.height += TILE + CAPTION + GAP
    return page


def _width(pictures: Sequence[np.ndarray]) -> int:
    return TILE * len(pictures) + GAP


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    whole = Image.fromarray(picture)
    scale = min((TILE - 2) / whole.width, TILE / whole.height)
    shrunk = whole.resize(
        (max(1, round(whole.width * scale)), max(1, round(whole.height * scale))), Image.Resampling.LANCZOS
    )
    tile = Image.new("RGB", (TILE - 2, TILE), (225, 225, 225))
    tile.paste(shrunk, ((TILE - 2 - shrunk.width) // 2, (TILE - shrunk.height) // 2))
    return np.asarray(tile)


def _fit(words: str, room: float, size: int) -> str:
    """The words, cut in the middle where they are too wide."""
    words = words.replace("→", "to").replace("−", "-")  # not in every font
    return fit(as_legible(words), room, size)


def overlays(run: RecordedRun, key: MethodLayer, records: Iterable[ImageRecord]) -> Mapping[Name, np.ndarray]:
    """A picture of each image by (image, source): the run's overlay, else drawn again, else the map alone."""
    pictures: dict[Name, np.ndarray] = {}
    missing: dict[Name, ImageRecord] = {}
    for record in records:
        overlay = record.maps[key].overlay if key in record.maps else None
        try:
            with Image.open(io.BytesIO(read_artefact(run.path, overlay or ""))) as picture:
                pictures[record.image, record.source] = np.asarray(picture.convert("RGB"))
        except OSError:  # it was not saved, or is gone
            missing[record.name] = record
    if missing:
        pictures |= _draw(run, key, missing)
    return pictures


def read_canvases(run: RecordedRun, wanted: Mapping[Name, ImageRecord]) -> Iterator[tuple[Name, Canvas]]:
    """The images of a run to draw on, by their names; those that are not there any more are left out."""
    records = list(wanted.values())
    try:
        for place, decoded in decode_again(run, records):
            yield records[place].name, make_canvas(np.asarray(decoded.image), records[place].view, 2 * TILE)
    except SourceError:
        return  # the images are elsewhere by now: only the map can be drawn


def _draw(run: RecordedRun, key: MethodLayer, missing: dict[Name, ImageRecord]) -> dict[Name, np.ndarray]:
    canvases = dict(read_canvases(run, missing))
    _, height, width = run.header["model"]["input_size"]
    pictures = {}
    for name, record in missing.items():
        heat = record.maps.get(key)
        raw = heat.raw if heat is not None and heat.native is not None else np.zeros((7, 7), np.float32)
        if name in canvases:
            bgr = Drawing(raw, canvases[name], (height, width), Style()).picture("overlay")
            pictures[record.image, record.source] = np.ascontiguousarray(bgr[..., ::-1])
        else:
            pictures[record.image, record.source] = heat_alone(raw, (height, width))
    return pictures


def heat_alone(raw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A raw map, coloured: (height, width, 3) uint8 RGB."""
    return draw_view(raw, np.zeros((*size, 3), np.uint8), "heatmap")


def draw_view(raw: np.ndarray, pixels: np.ndarray, kind: Literal["heatmap", "overlay"]) -> np.ndarray:
    """A raw map on what the model saw: pixels and result (height, width, 3) uint8 RGB."""
    height, width = pixels.shape[:2]
    canvas = Canvas(np.ascontiguousarray(pixels[..., ::-1]), View(0, 0, width, height))
    return np.ascontiguousarray(Drawing(raw, canvas, (height, width), Style()).picture(kind)[..., ::-1])
