"""Pages of figures: pictures and lines of text at places, drawn as a picture or written as a PDF with text in it."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from camcli.errors import ConfigError
from camcli.render.lettering import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER, INK, GREY, RED = (255, 255, 255), (20, 20, 20), (95, 95, 95), (176, 32, 32)
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".pdf": "PDF"}
_DOTS_PER_INCH = 240
"""Of a page: letters of 24 pixels are 7 points high."""
_FONTS = ["DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Arial Unicode MS", "Noto Sans", "FreeSans"]

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """A picture at a place: (h, w, 3) uint8 RGB, enlarged or shrunk to ``size`` (width, height)."""

    x: float
    y: float
    size: tuple[int, int]
    pixels: np.ndarray


@dataclass(frozen=True)
class Text:
    """A line; the anchor as in :func:`camcli.render.lettering.write`."""

    x: float
    y: float
    words: str
    size: int
    ink: Colour = INK
    anchor: str = "ls"


@dataclass
class Page:
    """What stands on a page of ``width`` × ``height`` pixels, and how many of them are an inch of a PDF."""

    width: int
    height: int = 0
    dots_per_inch: int = _DOTS_PER_INCH
    pictures: list[Picture] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


def page_format(path: str | Path, option: str = "--sheet") -> str:
    """The format that a file's name asks for.

    Raises:
        ConfigError: no known one; or PDF without matplotlib.
    """
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise ConfigError(f"{option} {path}: give a name that ends in {', '.join(FORMATS)}.")
    if kind == "PDF" and importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            f"{option} {path}: PDF needs matplotlib: pip install matplotlib (the extra plot; in a clone: pip install "
            "'.[plot]'). Or give a name that ends in .png."
        )
    return kind


def draw_page(page: Page) -> Image.Image:
    """A page as a picture."""
    sheet = Image.new("RGB", (page.width, max(1, page.height)), PAPER)
    for one in page.pictures:
        whole = Image.fromarray(np.ascontiguousarray(one.pixels))
        if whole.size != one.size:
            whole = whole.resize(one.size, Image.Resampling.LANCZOS)
        sheet.paste(whole, (round(one.x), round(one.y)))
    pen = ImageDraw.Draw(sheet)
    for text in page.texts:
        write(pen, (text.x, text.y), text.words, text.size, text.ink, text.anchor)
    return sheet


def encode_page(page: Page, kind: str) -> bytes:
    """A page in one of the formats of pictures."""
    buffer = io.BytesIO()
    draw_page(page).save(buffer, kind, quality=90)
    return buffer.getvalue()


def encode_pdf(pages: Iterable[Page]) -> bytes:
    """Pages as one PDF, whose text can be searched, copied and enlarged. Matplotlib is imported."""
    import matplotlib
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own style file says
        matplotlib.rcParams.update({"pdf.fonttype": 42, "font.family": _installed_fonts()})
        with PdfPages(buffer, metadata={"CreationDate": None, "Creator": "cam", "Producer": None}) as document:
            for page in pages:
                document.savefig(_figure(page))
    return buffer.getvalue()


def _figure(page: Page) -> Figure:
    """A page as a figure of matplotlib; without pyplot, which keeps every figure in a global list."""
    from matplotlib.figure import Figure

    dots = page.dots_per_inch
    figure = Figure(figsize=(page.width / dots, page.height / dots), dpi=dots)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for one in page.pictures:
        extent = (one.x, one.x + one.size[0], one.y + one.size[1], one.y)
        axes.imshow(one.pixels, extent=extent, interpolation="none", aspect="auto")
    axes.set_xlim(0, page.width)
    axes.set_ylim(page.height, 0)
    sides: dict[str, Any] = {"l": "left", "m": "center", "r": "right"}
    for text in page.texts:
        axes.text(
            text.x, text.y, text.words, size=text.size * 0.9 * 72 / dots, parse_math=False,
            color=tuple(value / 255 for value in text.ink), ha=sides[text.anchor[0]], va="baseline",
        )  # fmt: skip
    return figure


def _installed_fonts() -> Sequence[str]:
    from matplotlib.font_manager import fontManager

    names = {font.name for font in fontManager.ttflist}
    return [name for name in _FONTS if name in names] or _FONTS[:1]
