"""The panel: the original, both heatmaps and the overlay as one figure, with what they show in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from camcli.render.colours import colours, to_levels
from camcli.render.lettering import fit, write

PANEL_SIDE = 512
"""Longer side of one picture of a panel."""
PAPER, INK, GREY, WARNING = (255, 255, 255), (20, 20, 20), (95, 95, 95), (176, 32, 32)
NOT_SEEN = 232
"""Brightness of a heatmap where the model did not look."""
MARGIN, GUTTER = 28, 24
_LEAST_COLUMN = 288
_TITLE, _TEXT, _LINE = 44, 32, 44
_BAR = 30


@dataclass(frozen=True)
class PanelText:
    """What a panel says of its map.

    Attributes:
        title: the class and its probability.
        subtitle: method, layer, target.
        warning: what would mislead without it.
    """

    title: str = ""
    subtitle: str = ""
    warning: str = ""


@dataclass(frozen=True)
class ColourBar:
    """The colours of a figure and the raw values that they stand for.

    Attributes:
        colormap, gamma, signed: as the maps are drawn.
        low, high: the values at its ends.
        title: before it.
        note: behind it: whose range this is.
    """

    colormap: str
    gamma: float
    signed: bool
    low: float
    high: float
    title: str = "raw map value"
    note: str = ""

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions from 0 to 1, and the values there."""
        middle = (self.low + self.high) / 2
        return [(0.0, number(self.low)), (0.5, number(middle)), (1.0, number(self.high))]

    def colours(self, count: int) -> np.ndarray:
        """(count, 3) uint8 RGB, from left to right at equal steps of the value."""
        places = np.linspace(-1 if self.signed else 0, 1, count, dtype=np.float32)
        levels = to_levels(places.reshape(1, -1), self.gamma, self.signed)[0]
        return np.ascontiguousarray(colours(self.colormap)[levels, ::-1])


def number(value: float) -> str:
    """Three digits, without a minus before zero."""
    return f"{value if abs(value) > 1e-12 else 0.0:.3g}"


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a picture of these proportions in a panel."""
    scale = PANEL_SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def compose(tiles: Sequence[np.ndarray], captions: Sequence[str], text: PanelText, bar: ColourBar | None) -> np.ndarray:
    """The panel, (H, W, 3) uint8 BGR.

    Args:
        tiles: pictures of one size, (h, w, 3) uint8 BGR.
        captions: what stands below each.
        text: above them.
        bar: below them; None where the map shows nothing.
    """
    height, width = tiles[0].shape[:2]
    column = max(width, _LEAST_COLUMN)
    whole = len(tiles) * (column + GUTTER) - GUTTER + 2 * MARGIN
    above = [(text.title, _TITLE, INK), (text.subtitle, _TEXT, GREY), (text.warning, _TEXT, WARNING)]
    lines = [line for line in above if line[0]]
    top = MARGIN + sum(_line(size) for _, size, _ in lines)
    below = top + height + _LINE + (_BAR + _LINE + GUTTER if bar is not None else 0)
    picture = Image.new("RGB", (whole, below + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    y = MARGIN
    for words, size, ink in lines:
        write(pen, (MARGIN, y + size * 0.8), fit(words, whole - 2 * MARGIN, size), size, ink, "ls")
        y += _line(size)
    for place, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        x = MARGIN + place * (column + GUTTER)
        picture.paste(Image.fromarray(cv2.cvtColor(tile, cv2.COLOR_BGR2RGB)), (x + (column - width) // 2, top))
        write(pen, (x + column / 2, top + height + 36), fit(caption, column, _TEXT), _TEXT, INK, "ms")
    if bar is not None:
        _draw_bar(picture, pen, bar, top + height + _LINE + GUTTER, column)
    return cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR)


def _line(size: int) -> int:
    return round(size * 1.3)


def _draw_bar(picture: Image.Image, pen: ImageDraw.ImageDraw, bar: ColourBar, top: int, column: int) -> None:
    """The bar below the two heatmaps, its title to the left and its note to the right."""
    left, length = MARGIN + column + GUTTER, 2 * column + GUTTER
    row = bar.colours(length)[None]
    picture.paste(Image.fromarray(np.repeat(row, _BAR, axis=0)), (left, top))
    pen.rectangle((left, top, left + length - 1, top + _BAR - 1), outline=GREY)
    for place, words in bar.ticks:
        x = left + place * (length - 1)
        pen.line((x, top + _BAR, x, top + _BAR + 6), fill=GREY, width=2)
        write(pen, (x, top + _BAR + 36), words, _TEXT, INK, {0.0: "ls", 1.0: "rs"}.get(place, "ms"))
    baseline, room = top + _BAR / 2 + 11, column - 4
    write(pen, (left - GUTTER, baseline), fit(bar.title, room, _TEXT), _TEXT, INK, "rs")
    right = left + length + GUTTER
    for i, words in enumerate(bar.note.split("\n")):
        write(pen, (right, baseline + i * 36), fit(words, room, _TEXT), _TEXT, GREY, "ls")
