"""Text in figures, with Pillow.

ASCII is written in the font that comes with Pillow, so that figures are the same everywhere. For other characters the
first of the usual fonts of the system that has all of them is taken; where there is none, accents are left out, and
what is not a Latin letter then counts as not legible.
"""

import importlib.util
import unicodedata
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "arial.ttf", "NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc",
    "msyh.ttc", "msgothic.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf", "NotoNaskhArabic-Regular.ttf", "NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf", "FreeSans.ttf",
)  # fmt: skip
"""Looked for in the font folders of the system."""
_ABSENT = "\U0010fffd"
"""A character that no font has."""


def font_for(text: str, size: int) -> Font:
    """A font of this size for a text that :func:`legible` returned."""
    if text.isascii():
        return _own(size)
    return next((_sized(name, size) for name in _installed() if _has(name, text)), _own(size))


@lru_cache(maxsize=4096)
def legible(text: str) -> str | None:
    """The text as it can be written here, in one line; None where some of its characters cannot."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if text.isascii() or any(_has(name, text) for name in _installed()):
        return text
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain if plain.isascii() else None


def as_legible(text: str) -> str:
    """The text as it can be written, with a question mark for each character that cannot."""
    known = legible(text)
    return known if known is not None else "".join(legible(character) or "?" for character in text)


def fit(text: str, room: float, size: int) -> str:
    """The text, cut in the middle where it is wider than ``room`` pixels."""
    if text_width(text, size) <= room:
        return text
    low, high = 0, len(text)
    while low < high:  # as many characters as there is room for
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(_cut(text, middle), size) <= room else (low, middle - 1)
    return _cut(text, low)


def text_width(text: str, size: int) -> float:
    """In pixels."""
    return float(font_for(text, size).getlength(text))


def write(
    pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, ink: tuple[int, int, int], anchor: str
) -> None:
    """Write a line; the anchor is one of Pillow's, for example ``ls``: from the left, on the baseline."""
    pen.text(at, text, ink, font=font_for(text, size), anchor=anchor)


def _cut(text: str, keep: int) -> str:
    return f"{text[: (keep + 1) // 2]}...{text[len(text) - keep // 2 :]}"


@lru_cache(maxsize=32)
def _own(size: int) -> Font:
    return ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """The fonts of the list that are there, and that of matplotlib, where it is installed."""
    names = list(_FONTS)
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.submodule_search_locations:
        names.insert(1, str(Path(spec.submodule_search_locations[0], "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")))
    return tuple(name for name in names if _can_open(name))


def _can_open(name: str) -> bool:
    try:
        _sized(name, 16)
    except OSError:
        return False
    return True


@lru_cache(maxsize=64)
def _sized(name: str, size: int) -> Font:
    return ImageFont.truetype(name, size)


def _has(name: str, text: str) -> bool:
    return all(_has_glyph(name, character) for character in set(text) if character != " ")


@lru_cache(maxsize=4096)
def _has_glyph(name: str, character: str) -> bool:
    """Whether a font draws a character in another way than one that it does not have."""
    return _drawn(name, character) != _drawn(name, _ABSENT)


def _drawn(name: str, character: str) -> bytes:
    picture = Image.new("L", (64, 64))
    ImageDraw.Draw(picture).text((16, 16), character, 255, font=_sized(name, 24))
    return picture.tobytes()
