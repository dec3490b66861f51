"""Maps to pictures, in the geometry of the upright original.

The one place where a raw map is rectified, normalised, upsampled, placed in the model's view, and coloured.
Pictures are (height, width, 3) uint8 in BGR order, as OpenCV encodes them.
"""

import io
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from camcli.errors import OutputError
from camcli.images import View
from camcli.map_summary import map_status

OUTSIDE_BRIGHTNESS = 0.6
"""Brightness of what is outside the model's view."""
_MARGIN = 6
PANEL_SIDE = 512
"""Longest side of one picture of a panel."""


@dataclass(frozen=True)
class Canvas:
    """What a map is drawn on.

    Attributes:
        pixels: (height, width, 3) uint8 BGR, the upright original, shrunk where ``--max-side`` asks for it.
        view: what the model saw, in pixels of ``pixels``.
    """

    pixels: np.ndarray
    view: View

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True)
class Style:
    """Everything that determines a picture of a map."""

    colormap: str = "jet"
    alpha: float = 0.5
    gamma: float = 1.0
    image_format: str = "jpg"
    quality: int = 90


def make_canvas(rgb: np.ndarray, view: View, max_side: int, size: tuple[int, int] | None = None) -> Canvas:
    """Shrink an upright original, (height, width, 3) uint8 RGB, to the canvas its maps are drawn on.

    Args:
        rgb: the original, or the same in smaller.
        view: what the model saw, in pixels of the original.
        max_side: longest side of the canvas; 0: that of the original.
        size: (height, width) of the original, where ``rgb`` is smaller.
    """
    height, width = size or rgb.shape[:2]
    shrink = min(1.0, max_side / max(height, width)) if max_side else 1.0
    new = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    if rgb.shape[:2] != new:
        rgb = cv2.resize(rgb, new[::-1], interpolation=cv2.INTER_AREA)
    return Canvas(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), view.scaled(new[1] / width, new[0] / height))


def normalise(raw: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """relu, then min-max to [0, 1], or by fixed limits; zeros for a degenerate map.

    Args:
        raw: (h, w) float32, raw.
        limits: (low, high) in raw units; values outside are clipped.
    """
    if map_status(raw) in ("nonfinite", "zero"):
        return np.zeros(raw.shape, np.float32)
    heat = np.maximum(raw, 0)
    if limits is None:
        if map_status(raw) == "constant":
            return np.zeros(raw.shape, np.float32)
        limits = (float(heat.min()), float(heat.max()))
    low, high = limits
    scaled: np.ndarray = np.clip((heat - low) / (high - low), 0, 1).astype(np.float32)
    return scaled


def place(heat: np.ndarray, model_size: tuple[int, int], canvas: Canvas) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Upsample a normalised map to the model's input, and sample it at the pixels of the canvas in the view.

    Args:
        heat: (h, w) float32 in [0, 1].
        model_size: (H, W) of the model's input.
        canvas: where it goes.

    Returns:
        The part of the map that is on the canvas, at its resolution, float32 in [0, 1]; and the rows and columns of the
        canvas that it covers: those whose pixel centres are in the view.
    """
    height, width = canvas.size
    v = canvas.view
    x0, x1 = max(0, int(np.ceil(v.x0 - 0.5))), min(width, int(np.ceil(v.x1 - 0.5)))
    y0, y1 = max(0, int(np.ceil(v.y0 - 0.5))), min(height, int(np.ceil(v.y1 - 0.5)))
    inside = (slice(y0, max(y0, y1)), slice(x0, max(x0, x1)))
    if x1 <= x0 or y1 <= y0:
        return np.zeros((max(0, y1 - y0), max(0, x1 - x0)), np.float32), inside
    upsampled = cv2.resize(heat, (model_size[1], model_size[0]), interpolation=cv2.INTER_LINEAR)
    # Inverse map from a pixel of the inside rectangle to the input, between pixel centres.
    sx, sy = model_size[1] / (v.x1 - v.x0), model_size[0] / (v.y1 - v.y0)
    inverse = np.array([[sx, 0, (x0 + 0.5 - v.x0) * sx - 0.5], [0, sy, (y0 + 0.5 - v.y0) * sy - 0.5]], dtype=np.float64)
    patch: np.ndarray = cv2.warpAffine(
        upsampled, inverse, (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return patch, inside


def colour(placed: np.ndarray, colormap: str) -> np.ndarray:
    """A map in [0, 1] through an OpenCV colour map: (height, width, 3) uint8 BGR."""
    gray = to_gray(placed)
    looked_up = cv2.LUT(gray, _colour_table(colormap)).view(np.uint8).reshape(*gray.shape, 4)
    coloured: np.ndarray = cv2.cvtColor(looked_up, cv2.COLOR_BGRA2BGR)
    return coloured


@lru_cache
def _colour_table(colormap: str) -> np.ndarray:
    """The 256 colours as (1, 256) int32, four bytes each.

    OpenCV's ``applyColorMap`` computes its table in every call, which takes longer than colouring a picture, and
    looks up each channel separately.
    """
    table = colours(colormap).reshape(1, 256, 3)
    packed: np.ndarray = cv2.cvtColor(table, cv2.COLOR_BGR2BGRA).view(np.int32).reshape(1, 256)
    return packed


def colours(colormap: str) -> np.ndarray:
    """The colours of the levels 0 to 255 of an OpenCV colour map: (256, 3) uint8 BGR."""
    code = getattr(cv2, f"COLORMAP_{colormap.upper()}")
    return cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(1, 256), code).reshape(256, 3)


def apply_gamma(placed: np.ndarray, gamma: float) -> np.ndarray:
    """A map in [0, 1] to the power ``gamma``, float32: below 1 weak heat becomes more visible."""
    return placed if gamma == 1 else np.power(placed, np.float32(gamma))


def blend(coloured: np.ndarray, pixels: np.ndarray, alpha: float) -> np.ndarray:
    """Colours over pixels, ``alpha`` of them; both uint8."""
    return cv2.addWeighted(coloured, alpha, pixels, 1 - alpha, 0)


def dim(pixels: np.ndarray) -> np.ndarray:
    """What the model did not see; uint8."""
    return cv2.convertScaleAbs(pixels, alpha=OUTSIDE_BRIGHTNESS)


def to_gray(placed: np.ndarray) -> np.ndarray:
    """[0, 1] to 8 bits, rounded."""
    gray: np.ndarray = cv2.convertScaleAbs(placed, alpha=255)
    return gray


class Drawing:
    """The pictures of one map; what several of them share is computed once.

    Args:
        raw: (h, w) float32 native raw map.
        canvas: what it is drawn on.
        model_size: (H, W) of the model's input.
        style: colours and limits.
        limits: fixed normalisation limits in raw units; None: the map's own extremes.
        caption: ASCII text below the panel.
    """

    def __init__(
        self, raw: np.ndarray, canvas: Canvas, model_size: tuple[int, int], style: Style,
        limits: tuple[float, float] | None = None, caption: str | None = None,
    ) -> None:  # fmt: skip
        self.caption = caption
        self.canvas, self.model_size, self.style = canvas, model_size, style
        self.heat = normalise(raw, limits)
        self.patch, self.inside = place(self.heat, model_size, canvas)

    def picture(self, kind: str) -> np.ndarray:
        """``overlay``, ``heatmap``, ``panel``: BGR; ``gray``: 8 bits; ``map``: float16 in [0, 1], without gamma."""
        if kind == "gray":
            return to_gray(self._whole(apply_gamma(self.patch, self.style.gamma)))
        if kind == "map":
            return self._whole(self.patch).astype(np.float16)
        drawn: np.ndarray = getattr(self, kind)
        return drawn

    @cached_property
    def heatmap(self) -> np.ndarray:
        """Colours alone, (H, W, 3) uint8."""
        return self._whole(self._coloured)

    @cached_property
    def overlay(self) -> np.ndarray:
        """Colours over the picture, (H, W, 3) uint8; what the model did not see is dimmed."""
        pixels, alpha = self.canvas.pixels, self.style.alpha
        picture = dim(pixels)
        if self.patch.size:
            picture[self.inside] = blend(self._coloured, pixels[self.inside], alpha)
        return picture

    @cached_property
    def panel(self) -> np.ndarray:
        """Original, native heatmap, upsampled heatmap and overlay side by side, (H, W, 3) uint8."""
        blocks = cv2.resize(self.heat, self.model_size[::-1], interpolation=cv2.INTER_NEAREST)
        native, _ = place(blocks, self.model_size, self.canvas)
        tiles = (self.canvas.pixels, self._whole(self._colour(native)), self.heatmap, self.overlay)
        panel = np.hstack([_shrink_to_tile(picture) for picture in tiles])
        return panel if self.caption is None else np.vstack([panel, _write(self.caption, panel.shape[1])])

    @cached_property
    def _coloured(self) -> np.ndarray:
        return self._colour(self.patch)

    def _colour(self, patch: np.ndarray) -> np.ndarray:
        if not patch.size:
            return np.zeros((*patch.shape, 3), np.uint8)
        return colour(apply_gamma(patch, self.style.gamma), self.style.colormap)

    def _whole(self, patch: np.ndarray) -> np.ndarray:
        """A picture of the canvas's size, with nothing where the model did not look."""
        whole = np.zeros(self.canvas.size + patch.shape[2:], patch.dtype)
        whole[self.inside] = patch
        return whole


def _write(text: str, width: int) -> np.ndarray:
    """A strip of this width with text in light letters, (H, width, 3) uint8."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.6
    (needed, _), _ = cv2.getTextSize(text, font, size, 1)
    size *= min(1.0, (width - 2 * _MARGIN) / needed)
    (_, height), below = cv2.getTextSize(text, font, size, 1)
    strip = np.full((height + below + 2 * _MARGIN, width, 3), 32, np.uint8)
    return np.asarray(cv2.putText(strip, text, (_MARGIN, _MARGIN + height), font, size, (235,) * 3, 1, cv2.LINE_AA))


def _shrink_to_tile(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    shrink = PANEL_SIDE / max(height, width)
    if shrink >= 1:
        return picture
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def extension(kind: str, style: Style) -> str:
    """File extension of an artefact, without the dot."""
    if kind in ("raw", "map"):
        return "npy"
    return "png" if kind == "gray" else style.image_format


def encode(kind: str, picture: np.ndarray, style: Style) -> bytes:
    """The bytes of an artefact's file.

    Raises:
        OutputError: the encoder refused the picture.
    """
    if kind in ("raw", "map"):
        buffer = io.BytesIO()
        np.save(buffer, picture, allow_pickle=False)
        return buffer.getvalue()
    name = extension(kind, style)
    quality = {"jpg": [cv2.IMWRITE_JPEG_QUALITY, style.quality], "webp": [cv2.IMWRITE_WEBP_QUALITY, style.quality]}
    try:
        encoded, data = cv2.imencode(f".{name}", picture, quality.get(name, []))
    except cv2.error:  # some builds raise where others return failure
        encoded = False
    if not encoded or not len(data):
        height, width = picture.shape[:2]
        raise OutputError(
            f"the {name} encoder failed on a {width}×{height} picture. Try another --image-format, or --max-side."
        )
    return bytes(data)
