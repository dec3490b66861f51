"""Comparison figures: rows and columns of pictures with labels, and one colour bar, cut into pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from camcli.render.lettering import as_legible, fit, text_width
from camcli.render.pages import GREY, INK, Page, Picture, Text
from camcli.render.panel import ColourBar

CELL = 300
"""Width and largest height of a picture."""
MARGIN, GAP = 30, 14
_TITLE, _TEXT, _SMALL = 34, 25, 21
_WIDEST_LABEL = 240
TALLEST = 1.42
"""Height of a page over its width, at most: that of A4 upright. A band that is higher has a page of its own."""
_LEAST_COLUMNS = 3
"""Columns that the title and the colour bar have room for."""
_BAR = 22
_SHARE = 0.95
"""Of the room for a line, at most: letters of a PDF are a little wider."""
ABSENT = np.full((3, 4, 3), 236, np.uint8)
"""What stands for a picture that is not there."""


@dataclass(frozen=True)
class Cell:
    """A picture, (h, w, 3) uint8 RGB, and the lines below it."""

    pixels: np.ndarray
    caption: Sequence[str] = ()


@dataclass(frozen=True)
class Band:
    """Rows of pictures that stay on one page.

    Attributes:
        heads: the lines above each column.
        labels: of each row, to the left; lines are parted by ``\\n``.
        rows: cells by row and column; None leaves a place empty.
    """

    heads: Sequence[Sequence[str]]
    labels: Sequence[str]
    rows: Sequence[Sequence[Cell | None]]


@dataclass(frozen=True)
class Legend:
    """What stands above and below all pages.

    Attributes:
        title, subtitle: above.
        bar: the common colours; None where no map is drawn.
        ends: words in place of the values at the ends of the bar, where they differ from map to map.
    """

    title: str = ""
    subtitle: str = ""
    bar: ColourBar | None = None
    ends: tuple[str, str] | None = None


@dataclass
class _Geometry:
    columns: int
    label: int
    width: int = field(init=False)

    def __post_init__(self) -> None:
        needed = 2 * MARGIN + self.label + self.columns * (CELL + GAP) - GAP
        self.width = max(2 * MARGIN + self.label + _LEAST_COLUMNS * (CELL + GAP), needed)

    def left(self, column: int) -> int:
        return MARGIN + self.label + column * (CELL + GAP)


def lay_out(
    bands: Iterable[Band], columns: int, labels: Sequence[str], legend: Legend, tallest: float | None = TALLEST
) -> Iterator[Page]:
    """The pages, one after the other, each as soon as its bands are there.

    Args:
        bands: from top to bottom.
        columns: the most that a band has.
        labels: all that bands have, which decide how wide the place for them is.
        legend: on every page.
        tallest: height of a page over its width, at most; None: one page has all.
    """
    lines = [line for label in labels for line in label.split("\n")]
    widest = max((text_width(as_legible(line), _TEXT) for line in lines), default=0.0)
    geometry = _Geometry(columns, round(min(_WIDEST_LABEL, widest / _SHARE + 1)) + (GAP if widest else 0))
    page, room = _begin(geometry, legend, tallest)
    is_empty = True
    for band in bands:
        height = _height(band)
        if not is_empty and page.height + height > room:
            yield _end(page, geometry, legend)
            page, room = _begin(geometry, legend, tallest)
        _draw(page, geometry, band)
        is_empty = False
    if not is_empty:
        yield _end(page, geometry, legend)


def _begin(geometry: _Geometry, legend: Legend, tallest: float | None) -> tuple[Page, float]:
    """A page with its title, and how high its bands may reach."""
    page, whole = Page(geometry.width, MARGIN), geometry.width - 2 * MARGIN
    for words, size, ink in ((legend.title, _TITLE, INK), (legend.subtitle, _TEXT, GREY)):
        if words:
            page.texts.append(Text(MARGIN, page.height + size * 0.8, _cut(words, whole, size), size, ink))
            page.height += round(size * 1.35)
    page.height += GAP
    room = math.inf if tallest is None else geometry.width * tallest
    return page, room - (_bar_height(legend) + MARGIN)


def _end(page: Page, geometry: _Geometry, legend: Legend) -> Page:
    if legend.bar is not None:
        _draw_bar(page, geometry, legend)
    page.height += MARGIN - GAP
    return page


def _sizes(band: Band) -> list[list[tuple[int, int] | None]]:
    """Width and height of every picture."""
    return [[None if cell is None else _size(cell.pixels) for cell in row] for row in band.rows]


def _size(pixels: np.ndarray) -> tuple[int, int]:
    scale = min(CELL / pixels.shape[1], CELL / pixels.shape[0])
    return max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))


def _row_heights(band: Band) -> list[tuple[int, int]]:
    """Of each row: the height of its pictures, and of the lines below them."""
    heights = []
    for row, sizes in zip(band.rows, _sizes(band), strict=True):
        lines = max((len(cell.caption) for cell in row if cell is not None), default=0)
        heights.append((max((size[1] for size in sizes if size is not None), default=0), lines * _line(_SMALL)))
    return heights


def _height(band: Band) -> int:
    heads = max((len(head) for head in band.heads), default=0) * _line(_SMALL)
    return heads + sum(pictures + words + GAP for pictures, words in _row_heights(band)) + GAP


def _line(size: int) -> int:
    return round(size * 1.3)


def _draw(page: Page, geometry: _Geometry, band: Band) -> None:
    heads = max((len(head) for head in band.heads), default=0)
    for column, head in enumerate(band.heads):
        for i, words in enumerate(head):
            y = page.height + (heads - len(head) + i) * _line(_SMALL) + _SMALL
            ink = INK if i == 0 else GREY
            page.texts.append(Text(geometry.left(column), y, _cut(words, CELL, _SMALL), _SMALL, ink))
    page.height += heads * _line(_SMALL) + (8 if heads else 0)
    labels = [*band.labels, *[""] * (len(band.rows) - len(band.labels))]
    for label, row, sizes, (height, below) in zip(labels, band.rows, _sizes(band), _row_heights(band), strict=True):
        _draw_label(page, geometry, label, page.height + height / 2)
        for column, (cell, size) in enumerate(zip(row, sizes, strict=True)):
            if cell is None or size is None:
                continue
            x, y = geometry.left(column), page.height
            page.pictures.append(Picture(x, y + (height - size[1]) // 2, size, cell.pixels))
            for i, line in enumerate(cell.caption):
                at = y + height + i * _line(_SMALL) + _SMALL + 3
                page.texts.append(Text(x, at, _cut(line, CELL, _SMALL), _SMALL, GREY if i else INK))
        page.height += height + below + GAP
    page.height += GAP


def _draw_label(page: Page, geometry: _Geometry, label: str, middle: float) -> None:
    lines = [line for line in label.split("\n") if line]
    top = middle - len(lines) * _line(_TEXT) / 2 + _TEXT
    for i, words in enumerate(lines):
        cut = _cut(words, geometry.label - GAP, _TEXT)
        page.texts.append(Text(MARGIN, top + i * _line(_TEXT), cut, _TEXT, GREY if i else INK))


def _bar_height(legend: Legend) -> int:
    return 0 if legend.bar is None else _BAR + _line(_SMALL) + GAP


def _draw_bar(page: Page, geometry: _Geometry, legend: Legend) -> None:
    assert legend.bar is not None
    bar, left = legend.bar, geometry.left(0)
    length = min(geometry.width - MARGIN - left, 2 * CELL + GAP)
    page.pictures.append(Picture(left, page.height, (length, _BAR), bar.colours(length)[None].repeat(_BAR, axis=0)))
    ticks = bar.ticks if legend.ends is None else [(0.0, legend.ends[0]), (1.0, legend.ends[1])]
    if bar.signed and legend.ends is not None:
        ticks.insert(1, (0.5, "0"))
    for place, words in ticks:
        anchor = {0.0: "ls", 1.0: "rs"}.get(place, "ms")
        y = page.height + _BAR + _SMALL + 4
        page.texts.append(Text(left + place * length, y, words, _SMALL, INK, anchor))
    room = geometry.width - MARGIN - left - length - GAP
    note = _cut(bar.title, room, _SMALL)
    page.texts.append(Text(left + length + GAP, page.height + _BAR - 4, note, _SMALL, GREY))
    page.height += _bar_height(legend)


def _cut(words: str, room: float, size: int) -> str:
    return fit(as_legible(words), _SHARE * room, size)
