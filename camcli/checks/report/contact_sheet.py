"""The contact sheet: the worst images of every check as one picture, each with its overlay and its value."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from camcli.checks.recorded import ImageRecord, MethodLayer, RecordedRun
from camcli.checks.rereading import decode_again
from camcli.errors import ConfigError, SourceError
from camcli.images import View
from camcli.output import write_named_file
from camcli.render import Canvas, Drawing, Style, make_canvas

TILE = 224
GAP = 10
CAPTION = 34
TITLE = 30
BACKGROUND, INK = (250, 250, 250), (30, 30, 30)
Name = tuple[str, str]
"""Image and source."""

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


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
        ConfigError: no known format.
        OutputError: the file cannot be written.
    """
    kind = sheet_format(path)
    buffer = io.BytesIO()
    compose(rows).save(buffer, kind, quality=88)
    write_named_file("--sheet", path, [buffer.getvalue()])


def sheet_format(path: str) -> str:
    """The format that a name asks for.

    Raises:
        ConfigError: no known one.
    """
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise ConfigError(f"--sheet {path}: give a name that ends in {', '.join(FORMATS)}.")
    return kind


def compose(rows: Sequence[SheetRow]) -> Image.Image:
    """All rows below each other."""
    widest = max((sum(_width(p) for p, _ in row.tiles) for row in rows), default=TILE)
    height = sum(TITLE + TILE + CAPTION + GAP for _ in rows) + GAP
    sheet = Image.new("RGB", (max(widest, 2 * TILE) + 2 * GAP, max(height, TITLE)), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    title, text = ImageFont.load_default(16), ImageFont.load_default(12)
    y = GAP
    for row in rows:
        pen.text((GAP, y + 4), _fit(pen, row.title, sheet.width - 2 * GAP, title), INK, font=title)
        y += TITLE
        x = GAP
        for pictures, caption in row.tiles:
            for place, picture in enumerate(pictures):
                sheet.paste(_thumbnail(picture), (x + place * TILE, y))
            room = _width(pictures) - GAP
            for line, words in enumerate(caption.split("\n")[:2]):
                pen.text((x, y + TILE + 2 + 15 * line), _fit(pen, words, room, text), INK, font=text)
            x += _width(pictures)
        y += TILE + CAPTION + GAP
    return sheet


def _width(pictures: Sequence[np.ndarray]) -> int:
    return TILE * len(pictures) + GAP


def _thumbnail(picture: np.ndarray) -> Image.Image:
    whole = Image.fromarray(picture)
    scale = min((TILE - 2) / whole.width, TILE / whole.height)
    shrunk = whole.resize(
        (max(1, round(whole.width * scale)), max(1, round(whole.height * scale))), Image.Resampling.LANCZOS
    )
    tile = Image.new("RGB", (TILE - 2, TILE), (225, 225, 225))
    tile.paste(shrunk, ((TILE - 2 - shrunk.width) // 2, (TILE - shrunk.height) // 2))
    return tile


def _fit(pen: ImageDraw.ImageDraw, words: str, room: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The words, cut in the middle where they are too wide; Pillow's own font has no arrow or minus."""
    words = words.replace("→", "to").replace("−", "-")
    if pen.textlength(words, font=font) <= room:
        return words
    keep = len(words)
    while keep > 4 and pen.textlength(_cut(words, keep), font=font) > room:
        keep -= 2
    return _cut(words, keep)


def _cut(words: str, keep: int) -> str:
    return f"{words[: keep // 2]}...{words[len(words) - keep // 2 :]}"


def overlays(run: RecordedRun, key: MethodLayer, records: Iterable[ImageRecord]) -> Mapping[Name, np.ndarray]:
    """A picture of each image by (image, source): the run's overlay, else drawn again, else the map alone."""
    pictures: dict[Name, np.ndarray] = {}
    missing: dict[Name, ImageRecord] = {}
    for record in records:
        overlay = record.maps[key].overlay if key in record.maps else None
        try:
            with Image.open(run.path / overlay if overlay else "") as picture:
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
