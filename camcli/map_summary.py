"""Statistics of a native map: its status, where its mass lies, and a compact copy of it for the index.

Maps here are single, native and raw: (h, w) float32, signed where the method is signed.
"""

import base64
import math
from functools import lru_cache, partial

import cv2
import numpy as np

from camcli.images import View
from camcli.schemas.index import MapStatistics, MapStatus, NativeMap, RawStatistics

BAND = 0.1
"""Width of the border band, as a share of each side."""
MAX_CELLS = 1024
"""Larger native grids are area-averaged before they go into the index."""
VANISHING = 1e-20
"""A map whose largest value is not above this is zero. A gradient of a score is of the size 1e-5 to 1; what is
smaller by more than the square of what float32 resolves (1e-7) is what rounding has left of it."""
CONSTANT = 1e-6
"""A map whose range is below this share of its largest absolute value is constant."""


def map_status(raw: np.ndarray) -> MapStatus:
    """``ok``, or why the map is degenerate: not finite, nowhere above rounding, or the same everywhere."""
    low, high = float(raw.min()), float(raw.max())  # NaN where there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        return "nonfinite"
    if high <= VANISHING:
        return "zero"
    return "constant" if high - low < CONSTANT * max(high, -low) else "ok"


def raw_statistics(raw: np.ndarray) -> RawStatistics:
    """Least, largest and mean raw value; null where the map is not finite."""
    if not np.isfinite(raw).all():
        return {"min": None, "max": None, "mean": None}
    return {"min": float(raw.min()), "max": float(raw.max()), "mean": float(raw.mean(dtype=np.float64))}


def map_statistics(raw: np.ndarray, view: View, size: tuple[int, int], model_size: tuple[int, int]) -> MapStatistics:
    """Where the ReLU'd map has its mass, in upright original pixels.

    Args:
        raw: (h, w) raw native map.
        view: what the model saw of the image.
        size: (width, height) of the upright original, to which positions are clipped.
        model_size: (H, W) of the model's input; the box is computed on the map upsampled to it.

    Returns:
        ``peak`` (centre of the largest cell), ``centroid`` (mean position by mass), ``entropy`` (−Σ p·ln p / ln n on
        the native grid, null for one cell), ``border`` (see :func:`border_share`) and ``box`` (of the largest
        component of the map ≥ half its maximum); all null for a degenerate map.
    """
    if map_status(raw) != "ok":
        return {"peak": None, "centroid": None, "entropy": None, "border": None, "box": None}
    heat = np.maximum(raw, 0).astype(np.float64)
    p = heat / heat.sum()
    rows, columns = np.arange(raw.shape[0]) + 0.5, np.arange(raw.shape[1]) + 0.5
    top, left = np.unravel_index(int(np.argmax(heat)), heat.shape)
    project = partial(_project, view, raw.shape, size)
    return {
        "peak": project(columns[left], rows[top]),
        "centroid": project(float(p.sum(0) @ columns), float(p.sum(1) @ rows)),
        "entropy": entropy(p),
        "border": border_share(p),
        "box": _box(heat.astype(np.float32), view, size, model_size),
    }


def _project(view: View, grid: tuple[int, ...], size: tuple[int, int], x: float, y: float) -> list[float]:
    """Grid coordinates to upright original pixels, clipped to the image."""
    px = view.x0 + view.width * x / grid[1]
    py = view.y0 + view.height * y / grid[0]
    return [round(min(max(px, 0.0), size[0]), 2), round(min(max(py, 0.0), size[1]), 2)]


def entropy(p: np.ndarray) -> float | None:
    """−Σ p·ln p / ln n of a distribution over n cells: 0 for one hot cell, 1 for uniform; None for n = 1."""
    if p.size < 2:
        return None
    positive = p[p > 0]
    return max(0.0, float(-(positive * np.log(positive)).sum() / np.log(p.size)))


def border_share(p: np.ndarray) -> float:
    """Mass in the outer 10 % band over the band's share of the area; 1 for a uniform map.

    Cells that the band cuts count by their share.
    """
    inner = np.outer(_inner_share(p.shape[0]), _inner_share(p.shape[1]))
    return max(0.0, float((p * (1 - inner)).sum() / (1 - (1 - 2 * BAND) ** 2)))


@lru_cache
def _inner_share(n: int) -> np.ndarray:
    edges = np.arange(n + 1) / n
    clipped = np.clip(edges, BAND, 1 - BAND)
    share: np.ndarray = np.diff(clipped) * n
    return share


def _box(heat: np.ndarray, view: View, size: tuple[int, int], model_size: tuple[int, int]) -> list[float] | None:
    height, width = model_size
    full = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    x, y, w, h = _largest_component((full >= 0.5 * float(full.max())).astype(np.uint8))
    project = partial(_project, view, (height, width), size)
    return [*project(x, y), *project(x + w, y + h)]


def _largest_component(hot: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, width and height of the 8-connected component of the most pixels; of equals, the first met by rows."""
    left, top, width, height = cv2.boundingRect(hot)
    part = hot[top : top + height, left : left + width]
    outlines, _ = cv2.findContours(part, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) == 1:  # the usual case: no need to label every pixel
        return left, top, width, height
    _, _, statistics, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    x, y, width, height, _ = max(statistics[1:].tolist(), key=lambda each: each[cv2.CC_STAT_AREA])
    return left + x, top + y, width, height


def native_copy(raw: np.ndarray) -> NativeMap | None:
    """The raw signed map as base64 of little-endian float16, row-major; value = data × scale; None if not finite.

    Grids over :data:`MAX_CELLS` cells are area-averaged to fewer, keeping their proportions (``reduced``).
    """
    if not np.isfinite(raw).all():
        return None
    h, w = raw.shape
    is_reduced = h * w > MAX_CELLS
    if is_reduced:
        shrink = (MAX_CELLS / (h * w)) ** 0.5
        h, w = max(1, int(h * shrink)), max(1, int(w * shrink))
        raw = cv2.resize(np.ascontiguousarray(raw, dtype=np.float32), (w, h), interpolation=cv2.INTER_AREA)
    scale = float(np.abs(raw).max()) or 1.0
    data = (raw.astype(np.float64) / scale).astype("<f2").tobytes()
    copy: NativeMap = {"grid": [h, w], "scale": scale, "data": base64.b64encode(data).decode("ascii")}
    if is_reduced:
        copy["reduced"] = True
    return copy


def read_native(native: NativeMap) -> np.ndarray:
    """The map that :func:`native_copy` wrote: (h, w) float32."""
    data = np.frombuffer(base64.b64decode(native["data"]), dtype="<f2").astype(np.float32)
    return (data * np.float32(native["scale"])).reshape(native["grid"])
