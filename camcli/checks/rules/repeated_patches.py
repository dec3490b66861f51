"""Search for a patch that is nearly the same in many images of a class and in few of other classes, wherever it lies.

On pictures of what the model saw, all of one working size: small windows of the hot parts of some images are compared
with every place of all images (root mean square difference of the pixels). The window that recurs most significantly
is grown to the whole patch, where the aligned images agree much better than unrelated images do; and with the whole
patch all images are searched again. Whether the model uses what was found is not asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from camcli.stats import hypergeometric_tail

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1, half-open, in shares of the view."""

SIGNIFICANCE = 0.01
"""Significance level, corrected for every window, tolerance and class that was tried (Bonferroni)."""
_SIZES = (7, 12, 20)
"""Sides of the windows, in pixels of the working size."""
_LEVELS, _SHARES = (9.0, 13.0, 18.0), (0.35, 0.5, 0.65, 0.8)
"""Root mean square differences up to which two windows are the same: in levels of 0 to 255, and as a share of the
contrast of the window (its standard deviation)."""
_SEEDS, _WINDOWS = 8, 16
"""Images whose windows are compared with others, and windows an image and size."""
_FIRST, _KEPT = 10, 32
"""All windows are compared with so many images of either side first; so many windows go on."""
_SCALES = (0.8, 0.9, 1.0, 1.12, 1.25)
"""Sizes at which the whole patch is looked for, relative to the one it was found at."""


@dataclass(frozen=True)
class Pattern:
    """Something that recurs.

    Attributes:
        boxes: by index among the images of the class, where it lies.
        share: of the class's images that show it; ``others``: of the other images.
        chance: probability of that under independence, corrected for everything that was tried.
        medoid: index of the image whose patch is most like all others.
        fixed: whether it lies at the same place in all images.
    """

    boxes: dict[int, Box]
    share: float
    others: float
    chance: float
    medoid: int
    fixed: bool

    @property
    def region(self) -> Box:
        """The median box."""
        x0, y0, x1, y1 = np.median(list(self.boxes.values()), axis=0).tolist()
        return x0, y0, x1, y1


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        own: (N, H, W, 3) float32, levels of 0 to 255: images of the class at the working size.
        others: (M, H, W, 3) float32, images of other classes.
        heat: (N, H, W) float32 in [0, 1], the maps of the images of the class, each divided by its maximum.
        share: least share of the class's images.
        ratio: how many times more often than in other images.
        classes: that are searched, for the correction of the significance.
    """

    own: np.ndarray
    others: np.ndarray
    heat: np.ndarray
    share: float
    ratio: float
    classes: int = 1

    @cached_property
    def own_spectra(self) -> Spectra:
        """Of the images of the class."""
        return Spectra.of(self.own)

    @cached_property
    def others_spectra(self) -> Spectra:
        """Of the other images."""
        return Spectra.of(self.others)

    def significance(self, inside: np.ndarray, outside: np.ndarray, tried: int) -> float:
        """Probability, at most 1, that matches lie as one-sidedly by chance; 1 where they are too few.

        Args:
            inside: (N,) bool, the images of the class that match.
            outside: (M,) bool, other images that match.
            tried: windows and tolerances.
        """
        hits, misses = int(inside.sum()), int(outside.sum())
        if hits < self.share * len(inside) or hits / len(inside) < self.ratio * misses / max(1, len(outside)):
            return 1.0
        chance = hypergeometric_tail(hits, len(inside), hits + misses, len(inside) + len(outside))
        return min(1.0, chance * tried * self.classes)


def find_repeated_patch(search: Search) -> Pattern | None:
    """The patch that recurs most significantly in the hot parts of the images of a class; None where none does."""
    candidates = [window for size in _SIZES if (window := _best_window(search, size)) is not None]
    if not candidates:
        return None
    # Of windows that recur about as clearly the largest says most about the patch.
    clearest = min(one.chance for one in candidates)
    return _whole_patch(search, max((one for one in candidates if one.chance <= clearest**0.5), key=lambda w: w.size))


@dataclass(frozen=True)
class _Window:
    """A window that recurs: its side, the chance of that, which images of the class match it, and where (top left)."""

    size: int
    chance: float
    images: np.ndarray
    places: np.ndarray


def _best_window(search: Search, size: int) -> _Window | None:
    own, heat = search.own, search.heat
    chosen = np.unique(np.linspace(0, len(own) - 1, _SEEDS).round().astype(int)).tolist()
    windows = [(i, x, y) for i in chosen for x, y in _hot_windows(own[i], heat[i], size)]
    if not windows:
        return None
    seeds = np.array([i for i, _, _ in windows])
    templates = np.stack([own[i, y : y + size, x : x + size] for i, x, y in windows])
    kept = _most_promising(search, templates, seeds)
    seeds, templates = seeds[kept], templates[kept]
    inside, places = match(templates, search.own_spectra, heat)
    outside, _ = match(templates, search.others_spectra)
    contrast = templates.std((1, 2)).mean(-1)
    best: _Window | None = None
    tried = len(windows) * len(_SIZES) * (len(_LEVELS) + len(_SHARES))
    for k, seed in enumerate(seeds.tolist()):
        rest = np.arange(len(own)) != seed  # it matches itself
        for tolerance in (*_LEVELS, *(share * contrast[k] for share in _SHARES)):
            same = inside[k] <= tolerance
            chance = search.significance(same[rest], outside[k] <= tolerance, tried)
            if chance < SIGNIFICANCE and (best is None or chance < best.chance):
                best = _Window(size, chance, np.flatnonzero(same), places[k, same])
    return best


def _hot_windows(image: np.ndarray, heat: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Top left corners of windows in the hot part: half of them the hottest, half those with the most contrast."""
    step = max(2, size // 3)
    mean = _box_means(heat, size)
    gray = image.mean(-1)
    spread = _box_means(gray**2, size) - _box_means(gray, size) ** 2
    hot = 0.4 * mean.max()
    grid = [(x, y) for y in range(0, mean.shape[0], step) for x in range(0, mean.shape[1], step) if mean[y, x] >= hot]
    hottest = sorted(grid, key=lambda place: -mean[place[1], place[0]])[: _WINDOWS // 2]
    rest = [place for place in grid if place not in hottest]
    return hottest + sorted(rest, key=lambda place: -spread[place[1], place[0]])[: _WINDOWS - len(hottest)]


def _most_promising(search: Search, templates: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Indices of the windows that a few images of the class match better than a few other images do."""
    few = np.unique(np.linspace(1, len(search.own) - 2, _FIRST).round().astype(int))
    inside, _ = match(templates, search.own_spectra[few], search.heat[few])
    inside[seeds[:, None] == few] = np.inf
    outside, _ = match(templates, search.others_spectra[:_FIRST])
    rank = max(0, round(search.share * len(few)) - 1)
    advantage = np.log1p(outside.min(1, initial=np.inf).clip(max=255)) - np.log1p(np.sort(inside, 1)[:, rank])
    return np.sort(np.argsort(-advantage, kind="stable")[:_KEPT])


@dataclass(frozen=True)
class Spectra:
    """Images and the Fourier transforms of their pixels and of their squares, for the comparison with windows.

    Attributes:
        images: (N, H, W, 3) float32.
        pixels: (N, 3, H, W // 2 + 1) complex64.
        energy: (N, H, W // 2 + 1) complex64, of the sum of squares over channels.
    """

    images: np.ndarray
    pixels: torch.Tensor
    energy: torch.Tensor

    @classmethod
    def of(cls, images: np.ndarray) -> Spectra:
        """Of images (N, H, W, 3) float32."""
        x = _centred(images)
        return cls(images, torch.fft.rfft2(x), torch.fft.rfft2((x**2).sum(1)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: np.ndarray | slice) -> Spectra:
        return Spectra(self.images[chosen], self.pixels[chosen], self.energy[chosen])


def match(
    templates: np.ndarray, spectra: Spectra, heat: np.ndarray | None = None, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The least root mean square difference of windows to the places of images.

    Args:
        templates: (K, h, w, 3) float32, of one size.
        spectra: of N images.
        heat: (N, H, W); where given, only windows that are not cold count.
        weights: (h, w), how much each pixel of the windows counts.

    Returns:
        The differences (K, N), and x and y of the top left corners where they are found, (K, N, 2).
    """
    height, width = templates.shape[1:3]
    size = spectra.images.shape[1:3]
    rows, columns = size[0] - height + 1, size[1] - width + 1
    weight = torch.ones(height, width) if weights is None else torch.from_numpy(weights.astype(np.float32))
    windows = _centred(templates)
    squares = (weight * windows**2).sum((1, 2, 3))
    spectrum = torch.fft.rfft2(-2 * weight * windows, size).conj().transpose(0, 1).resolve_conj().contiguous()
    weight_spectrum = torch.fft.rfft2(weight, size).conj().resolve_conj()
    best = np.empty((len(templates), len(spectra)), np.float32)
    places = np.empty((len(templates), len(spectra), 2), int)
    for n in range(len(spectra)):
        products = spectrum[0] * spectra.pixels[n, 0]
        for channel in (1, 2):
            products.addcmul_(spectrum[channel], spectra.pixels[n, channel])
        products += weight_spectrum * spectra.energy[n]
        distance = torch.fft.irfft2(products, size)[:, :rows, :columns] + squares[:, None, None]
        if heat is not None:
            mean = _box_means(heat[n], (width, height))
            distance[:, torch.from_numpy(mean < 0.25 * mean.max())] = torch.inf
        flat, index = distance.flatten(1).min(1)
        best[:, n] = (flat.clamp(min=0) / (3 * weight.sum())).sqrt().numpy()
        places[:, n, 0], places[:, n, 1] = (index % columns).numpy(), (index // columns).numpy()
    return best, places


def _centred(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) to (N, 3, H, W), around 0, which keeps the sums of squares small and their difference exact."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)) - np.float32(127.5))


def _box_means(values: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """The mean of each window of (width, height), by its top left corner: only windows that lie inside."""
    width, height = (size, size) if isinstance(size, int) else size
    means = cv2.boxFilter(values.astype(np.float32), -1, (width, height), anchor=(0, 0))
    inside: np.ndarray = means[: values.shape[0] - height + 1, : values.shape[1] - width + 1]
    return inside


def _whole_patch(search: Search, window: _Window) -> Pattern | None:
    """The whole patch around a window that recurs, and all images that show it."""
    centres = _align(search.own[window.images], window.places + window.size // 2, window.size)
    patch, same, offset = _agreeing_part(search.own[window.images], centres, window.size)
    pattern = locate(search, patch, same)
    if pattern is None:
        return None
    # Once more with all images that show it: what agrees in more images is a better patch.
    images = np.array(list(pattern.boxes))
    height, width = search.own.shape[1:3]
    corners = np.array([(x0 * width, y0 * height) for x0, y0, _, _ in pattern.boxes.values()]).round().astype(int)
    centres = _align(search.own[images], corners - np.array(offset), window.size)
    patch, same, _ = _agreeing_part(search.own[images], centres, window.size)
    again = locate(search, patch, same)
    return again if again is not None and again.share >= pattern.share else pattern


def locate(search: Search, patch: np.ndarray, same: np.ndarray) -> Pattern | None:
    """All images that show a patch, of about its size; None where these are not significantly of the class.

    Args:
        search: the images.
        patch: (h, w, 3) float32.
        same: (h, w) bool, which of its pixels count.
    """
    inside, outside = np.full(len(search.own), np.inf), np.full(len(search.others), np.inf)
    boxes: dict[int, Box] = {}
    for scale in _SCALES:
        scaled, weights = _rescale(patch, same, scale)
        if min(scaled.shape[:2]) < 4 or any(a > b for a, b in zip(scaled.shape, search.own.shape[1:3], strict=False)):
            continue
        (distances,), (places,) = match(scaled[None], search.own_spectra, weights=weights)
        outside = np.minimum(outside, match(scaled[None], search.others_spectra, weights=weights)[0][0])
        for i in np.flatnonzero(distances < inside).tolist():
            x, y = places[i].tolist()
            boxes[i] = _shares((x, y, x + scaled.shape[1], y + scaled.shape[0]), search.own)
        inside = np.minimum(inside, distances)
    limit = max(_LEVELS[-1], _SHARES[-1] * float(patch[same].std(0).mean()))
    best: tuple[float, float, float] | None = None
    for tolerance in np.sort(inside[inside <= limit]).tolist():
        chance = search.significance(inside <= tolerance, outside <= tolerance, len(inside))
        excess = float((inside <= tolerance).mean() - search.ratio * (outside <= tolerance).mean())
        if chance < SIGNIFICANCE and (best is None or excess >= best[0]):
            best = excess, tolerance, chance
    if best is None:
        return None
    _, tolerance, chance = best
    boxes = {i: box for i, box in sorted(boxes.items()) if inside[i] <= tolerance}
    return Pattern(
        boxes, len(boxes) / len(inside), float((outside <= tolerance).mean()), chance,
        min(boxes, key=lambda i: inside[i]), is_fixed(boxes),
    )  # fmt: skip


def _shares(box: tuple[int, int, int, int], images: np.ndarray) -> Box:
    height, width = images.shape[1:3]
    x0, y0, x1, y1 = box
    return x0 / width, y0 / height, x1 / width, y1 / height


def _rescale(patch: np.ndarray, same: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    size = max(1, round(patch.shape[1] * scale)), max(1, round(patch.shape[0] * scale))
    return (
        cv2.resize(patch, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR),
        cv2.resize(same.astype(np.float32), size, interpolation=cv2.INTER_AREA),
    )


def _align(images: np.ndarray, centres: np.ndarray, size: int, reach: int = 3) -> np.ndarray:
    """The centres (N, 2) moved by a few pixels so that windows twice as large fit the median of all."""
    for _ in range(2):
        stack = windows_around(images, centres, size)
        median = np.nanmedian(stack, axis=0)
        weight = np.exp(-np.nan_to_num(np.nanstd(stack, axis=0), nan=255.0).mean(-1, keepdims=True) / 12)
        moved = []
        for image, (x, y) in zip(images, centres.tolist(), strict=True):
            options = [(x + dx, y + dy) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
            wide = windows_around(image[None], np.array([[x, y]]), size + reach)[0]
            errors = []
            for dx, dy in options:
                a, b = dx - x + reach, dy - y + reach
                difference = weight * (wide[b : b + 2 * size, a : a + 2 * size] - median) ** 2
                valid = ~np.isnan(difference)
                errors.append(difference[valid].sum() / max(1e-9, (weight * valid).sum()))
            moved.append(options[int(np.argmin(errors))])
        centres = np.array(moved)
    return centres


def windows_around(images: np.ndarray, centres: np.ndarray, half: int) -> np.ndarray:
    """(N, 2·half, 2·half, 3) float32 around the centres (N, 2); NaN outside the images."""
    height, width = images.shape[1:3]
    stack = np.full((len(images), 2 * half, 2 * half, 3), np.nan, np.float32)
    for window, image, (x, y) in zip(stack, images, centres.tolist(), strict=True):
        left, top = x - half, y - half
        a, b, c, d = max(0, left), max(0, top), min(width, left + 2 * half), min(height, top + 2 * half)
        if a < c and b < d:
            window[b - top : d - top, a - left : c - left] = image[b:d, a:c]
    return stack


def _agreeing_part(
    images: np.ndarray, centres: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """The connected area around the centres in which the aligned images agree.

    Returns:
        The median patch (h, w, 3) of its bounding box, which of its pixels agree (h, w), and the box's top left corner
        from the centre.
    """
    half = max(images.shape[1:3]) // 2
    stack = windows_around(images, centres, half)
    present = (~np.isnan(stack[..., 0])).sum(0) >= max(3, 0.5 * len(images))
    stack[:, ~present] = 0
    median = np.nanmedian(stack, axis=0)
    spread = np.nanmedian(np.abs(stack - median), axis=0).mean(-1)
    unrelated = float(np.median(np.abs(images - np.median(images, axis=0)).mean(-1)))
    same = (spread < max(8.0, 0.35 * unrelated)) & present
    core = np.zeros_like(same)
    core[half - size // 2 : half + (size + 1) // 2, half - size // 2 : half + (size + 1) // 2] = True
    smooth = cv2.morphologyEx(((same | core) & present).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    smooth = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts = cv2.connectedComponents(smooth, connectivity=4)
    labels = parts[core & (smooth > 0)]
    area = parts == np.bincount(labels).argmax() if len(labels) else core
    # The edge of the patch is blurred: it belongs to the box, and its pixels do not count.
    rows, columns = np.nonzero(cv2.dilate(area.astype(np.uint8), np.ones((3, 3), np.uint8)) & present)
    inside = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    return median[inside], area[inside], (int(columns.min()) - half, int(rows.min()) - half)


def is_fixed(boxes: dict[int, Box]) -> bool:
    """Whether three quarters of the boxes have their centre within a tenth of the side of the median place."""
    centres = np.array([((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes.values()])
    return bool((np.abs(centres - np.median(centres, axis=0)).max(1) < 0.1).mean() >= 0.75)


def working_copy(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 as it is searched: float32, slightly blurred, since marks lie between pixels."""
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)


def stack_copies(images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, H, W, 3) float32 of pictures of one size."""
    return np.stack([working_copy(image) for image in images])
