"""Results as HTML, for notebooks."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

SIDE = 240
"""Longer side of a picture; it has twice as many pixels, for screens of high density."""
MOST_MAPS, MOST_RESULTS = 8, 6


def result_html(pictures: Sequence[tuple[Image.Image, str]], classes: Sequence[tuple[str, float | None, float]]) -> str:
    """Pictures with their captions, and classes with a bar for the probability.

    Args:
        pictures: beside each other, with what stands below each.
        classes: name, probability, value; the value is shown where there is no probability.
    """
    figures = "".join(_figure(picture, caption) for picture, caption in pictures)
    bars = "".join(_bar(*one) for one in classes)
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start;margin-bottom:16px">{figures}'
        f'<table style="border-collapse:collapse">{bars}</table></div>'
    )


def more_html(count: int, what: str) -> str:
    """How many are not shown; nothing where all are."""
    return f"<p>and {count} more {what}</p>" if count > 0 else ""


def _figure(picture: Image.Image, caption: str) -> str:
    picture = picture.convert("RGB")
    picture.thumbnail((2 * SIDE, 2 * SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    source = base64.b64encode(buffer.getvalue()).decode("ascii")
    words = escape(caption)
    return (
        f'<figure style="margin:0;max-width:{SIDE}px">'
        f'<img alt="{words}" src="data:image/jpeg;base64,{source}" style="max-width:{SIDE}px;max-height:{SIDE}px">'
        f'<figcaption style="overflow-wrap:anywhere">{words}</figcaption></figure>'
    )


def _bar(name: str, probability: float | None, value: float) -> str:
    """A row of the table: the class, a bar, the number."""
    words = escape(name)
    if probability is None:
        return f'<tr><td style="text-align:left;padding-right:8px">{words}</td><td>{value:.4g}</td></tr>'
    return (
        f'<tr><td style="text-align:left;padding-right:8px">{words}</td><td style="text-align:left;width:110px">'
        f'<div style="background:#3b6fb6;height:0.8em;width:{max(1, round(100 * probability))}px"></div></td>'
        f"<td>{100 * probability:.1f} %</td></tr>"
    )
