"""The pictures of one map."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from camcli.map_summary import CONSTANT, VANISHING, map_status
from camcli.render.canvas import Canvas, dim, framed, place
from camcli.render.colours import ZERO, blend, colour_levels, mix, signed_shares, to_levels
from camcli.render.panel import NOT_SEEN, ColourBar, PanelText, compose, tile_size

Limits = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Everything that determines a picture of a map.

    Attributes:
        colormap: of the heat.
        alpha: its share in an overlay; of a map that keeps its sign at the ends of the colours, and less towards zero.
        gamma: exponent of the map.
        image_format, quality: of the files.
        signed: whether maps keep their sign.
    """

    colormap: str = "jet"
    alpha: float = 0.5
    gamma: float = 1.0
    image_format: str = "jpg"
    quality: int = 90
    signed: bool = False


def value_range(raw: np.ndarray, limits: Limits | None = None, signed: bool = False) -> Limits | None:
    """The raw values that the ends of the colours stand for; None for a map that is drawn without heat.

    Args:
        raw: (h, w) float32, raw.
        limits: (low, high) in raw units; None: the map's own extremes.
        signed: zero is in the middle: the larger of the two distances from it counts for both sides.
    """
    status = map_status(raw)
    shows_nothing = float(np.abs(raw).max()) <= VANISHING if signed else status == "zero"
    if status == "nonfinite" or shows_nothing or (limits is None and _is_constant(raw)):
        return None
    low, high = limits if limits is not None else (float(raw.min()), float(raw.max()))
    if signed:
        most = max(abs(low), abs(high))
        return -most, most
    return (low, high) if limits is not None else (max(0.0, low), high)


def normalise(raw: np.ndarray, limits: Limits | None = None, signed: bool = False) -> np.ndarray:
    """relu, then min-max to [0, 1], or by fixed limits; zeros for a degenerate map.

    Args:
        raw: (h, w) float32, raw.
        limits: (low, high) in raw units; values outside are clipped.
        signed: no relu; divided by the largest absolute value, or limit: [-1, 1].
    """
    ends = value_range(raw, limits, signed)
    if ends is None:
        return np.zeros(raw.shape, np.float32)
    low, high = ends
    if signed:
        shares: np.ndarray = np.clip(raw / high, -1, 1).astype(np.float32)
        return shares
    scaled: np.ndarray = np.clip((np.maximum(raw, 0) - low) / (high - low), 0, 1).astype(np.float32)
    return scaled


def _is_constant(raw: np.ndarray) -> bool:
    return float(raw.max()) - float(raw.min()) < CONSTANT * float(np.abs(raw).max())


class Drawing:
    """The pictures of one map; what several of them share is computed once.

    Args:
        raw: (h, w) float32 native raw map.
        canvas: what it is drawn on.
        model_size: (H, W) of the model's input.
        style: colours and limits.
        limits: fixed normalisation limits in raw units; None: the map's own extremes.
        text: what a panel says.
    """

    def __init__(
        self, raw: np.ndarray, canvas: Canvas, model_size: tuple[int, int], style: Style,
        limits: Limits | None = None, text: PanelText | None = None,
    ) -> None:  # fmt: skip
        self.raw, self.limits, self.text = raw, limits, text or PanelText()
        self.canvas, self.model_size, self.style = canvas, model_size, style
        self.heat = normalise(raw, limits, style.signed)
        self.patch, self.inside = place(self.heat, model_size, canvas)

    def picture(self, kind: str) -> np.ndarray:
        """``overlay``, ``heatmap``, ``panel``: BGR; ``gray``: 8 bits; ``map``: float16, normalised, without gamma."""
        if kind == "gray":
            return self._whole(self._levels(self.patch), ZERO if self.style.signed else 0)
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
        """Colours over the picture, (H, W, 3) uint8; what the model did not see is dimmed, with a frame between."""
        pixels, alpha = self.canvas.pixels, self.style.alpha
        picture = dim(pixels)
        if self.patch.size:
            seen = pixels[self.inside]
            if self.style.signed:
                shares = cv2.LUT(self._levels(self.patch), signed_shares(alpha).reshape(1, 256))
                shares = cv2.cvtColor(shares, cv2.COLOR_GRAY2BGR)  # faster than one share for three channels
                picture[self.inside] = mix(self._coloured, seen, shares)
            else:
                picture[self.inside] = blend(self._coloured, seen, alpha)
        return framed(picture, self.inside)

    @cached_property
    def panel(self) -> np.ndarray:
        """Original, native heatmap, upsampled heatmap and overlay as one figure, (H, W, 3) uint8."""
        canvas = self.canvas.resized(*tile_size(*self.canvas.size))
        small = Drawing(self.raw, canvas, self.model_size, self.style, self.limits)
        blocks = cv2.resize(self.heat, self.model_size[::-1], interpolation=cv2.INTER_NEAREST)
        native, _ = place(blocks, self.model_size, canvas)
        heatmaps = [framed(small._whole(one, NOT_SEEN), small.inside, 160) for one in (
            small._colour(native), small._coloured)]  # fmt: skip
        rows, columns = self.raw.shape
        captions = ("image", f"map, {rows} × {columns} cells".replace("×", "x"), "map, upsampled", "overlay")
        return compose((canvas.pixels, *heatmaps, small.overlay), captions, self.text, self.colour_bar)

    @property
    def colour_bar(self) -> ColourBar | None:
        """What the colours stand for; None for a map that is drawn without heat."""
        ends = value_range(self.raw, self.limits, self.style.signed)
        if ends is None:
            return None
        whose = "range of this map" if self.limits is None else "same in all images"
        sides = "\n- against, + for" if self.style.signed else ""
        style = self.style
        return ColourBar(style.colormap, style.gamma, style.signed, *ends, note=whose + sides)

    @cached_property
    def _coloured(self) -> np.ndarray:
        return self._colour(self.patch)

    def _colour(self, patch: np.ndarray) -> np.ndarray:
        if not patch.size:
            return np.zeros((*patch.shape, 3), np.uint8)
        return colour_levels(self._levels(patch), self.style.colormap)

    def _levels(self, patch: np.ndarray) -> np.ndarray:
        if not patch.size:
            return np.zeros(patch.shape, np.uint8)
        return to_levels(patch, self.style.gamma, self.style.signed)

    def _whole(self, patch: np.ndarray, outside: int = 0) -> np.ndarray:
        """A picture of the canvas's size, with this value where the model did not look."""
        whole = np.full(self.canvas.size + patch.shape[2:], outside, patch.dtype)
        whole[self.inside] = patch
        return whole
