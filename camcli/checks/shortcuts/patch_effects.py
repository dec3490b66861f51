"""What a patch does to the model: taken out of the images that carry it, and put into images that do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from camcli.checks.context import Context
from camcli.checks.recorded import ImageRecord
from camcli.checks.reopened import UnavailableError
from camcli.checks.shortcuts.patterns import Box

PixelBox = tuple[int, int, int, int]
"""x0, y0, x1, y1, half-open, in pixels."""
_INSIDE = 0.5
"""Share of a patch that must lie on the image itself, and not on the padding around it, to be changed."""
_WIDE = 12.0
"""Standard deviation, in pixels, of the widest blur at full size."""
_INNER = 0.2
"""Share of a box by which the smaller one inside it begins later and ends earlier."""


@dataclass(frozen=True)
class Carried:
    """A patch and the images that carry it.

    Attributes:
        targets: the classes whose images carry it; their probabilities are summed.
        boxes: where it lies, in shares of the view, by the image's name.
        medoid: the image whose patch is most like all others; its patch is put into other images.
        mask: (h, w) bool, the part of the box that the patch fills, at any size; None: all of it.
    """

    targets: Sequence[int]
    boxes: Mapping[tuple[str, str], Box]
    medoid: ImageRecord
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Effects:
    """What the probability of the classes does, beyond what the same change with another part of the image does.

    Attributes:
        own: the images that carry the patch, at least one; ``falls``: (N,) of each, when it is filled from its
            surroundings.
        rises: (M,) of images of other classes, when the patch is put into them.
        converted: share of these that are then taken for the class and were not before; None where there are none.
    """

    own: Sequence[ImageRecord]
    falls: np.ndarray
    rises: np.ndarray
    converted: float | None

    @property
    def without(self) -> float:
        """Mean fall."""
        return float(self.falls.mean())

    @property
    def with_(self) -> float | None:
        """Mean rise; None where no image of another class could be read."""
        return float(self.rises.mean()) if len(self.rises) else None


def measure_effects(
    context: Context, carried: Carried, own: Sequence[ImageRecord], others: Sequence[ImageRecord]
) -> Effects:
    """The effects of a patch, on a sample of the images.

    Args:
        context: of the check.
        carried: the patch.
        own: images of the class that carry it.
        others: images of other classes.

    Raises:
        UnavailableError: the model or the images cannot be opened.
    """
    rng = np.random.default_rng([context.seed, *carried.targets])
    own, others = _sample(own, context, rng), _sample(others, context, rng)
    donor = next((image for _, image in _pictures(context, [carried.medoid])), None)
    if donor is None:
        raise UnavailableError(f"{carried.medoid.image} is not there any more with the same content")
    mask = carried.mask
    source = pixel_box(carried.medoid, carried.boxes[carried.medoid.name], donor)
    pixels = np.asarray(donor)
    patch = _cut(pixels, source)
    control = _cut(pixels, _elsewhere(source, _seen(carried.medoid, donor), rng))
    boxes = list(carried.boxes.values())
    removed: list[np.ndarray] = []
    kept_own: list[ImageRecord] = []
    for place, image in _pictures(context, own):
        pixels, box = np.asarray(image), pixel_box(own[place], carried.boxes[own[place].name], image)
        if _share_inside(own[place], carried.boxes[own[place].name], box) < _INSIDE:
            continue
        elsewhere = _elsewhere(box, _seen(own[place], image), rng)
        removed += _prepare(context, pixels, fill(pixels, box, mask), fill(pixels, elsewhere, mask))
        kept_own.append(own[place])
    if not kept_own:
        raise UnavailableError("it lies in the padding around the images, which cannot be changed")
    added: list[np.ndarray] = []
    for place, image in _pictures(context, others):
        pixels = np.asarray(image)
        box = pixel_box(others[place], boxes[int(rng.integers(len(boxes)))], image)
        added += _prepare(context, pixels, put(pixels, patch, box, mask), put(pixels, control, box, mask))
    before, without, filled = _probabilities(context, removed)
    targets = list(carried.targets)
    falls = (before - without)[:, targets].sum(1) - np.maximum(0, (before - filled)[:, targets].sum(1))
    before, with_, pasted = _probabilities(context, added)
    rises = (with_ - before)[:, targets].sum(1) - np.maximum(0, (pasted - before)[:, targets].sum(1))
    became = np.isin(with_.argmax(1), targets) & ~np.isin(before.argmax(1), targets)
    return Effects(kept_own, falls, rises, float(became.mean()) if len(became) else None)


def _pictures(context: Context, records: Sequence[ImageRecord]) -> Iterator[tuple[int, Image.Image]]:
    """The index of each record, and the picture that the model gets of it."""
    for place, decoded in context.reopened.decoded(records):
        if decoded.bands is not None:
            raise UnavailableError("images of other bands than a picture's cannot be changed")
        yield place, decoded.image


def _sample(records: Sequence[ImageRecord], context: Context, rng: np.random.Generator) -> list[ImageRecord]:
    count = int(context.settings["images"])
    return [records[i] for i in sorted(rng.permutation(len(records))[:count].tolist())]


def _prepare(context: Context, *pictures: np.ndarray) -> list[np.ndarray]:
    preprocessing = context.reopened.setup.model.preprocessing
    return [preprocessing(Image.fromarray(picture)).pixels for picture in pictures]


def _probabilities(context: Context, inputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of unchanged, changed and control inputs, which follow each other in threes: (N, classes) each."""
    if not inputs:
        empty = np.zeros((0, context.reopened.setup.model.num_classes or 1))
        return empty, empty, empty
    values = context.reopened.probabilities(inputs)
    return values[0::3], values[1::3], values[2::3]


def _in_original(record: ImageRecord, box: Box) -> Box:
    """A box in shares of the view, in pixels of the upright image; it may reach over its edge."""
    return (*record.view.to_original(*box[:2]), *record.view.to_original(*box[2:]))


def pixel_box(record: ImageRecord, box: Box, image: Image.Image) -> PixelBox:
    """A box in shares of the view, in whole pixels of the upright image, at least one of them."""
    x0, y0, x1, y1 = _in_original(record, box)
    left, top = min(max(0, round(x0)), image.width - 1), min(max(0, round(y0)), image.height - 1)
    return left, top, min(max(left + 1, round(x1)), image.width), min(max(top + 1, round(y1)), image.height)


def _share_inside(record: ImageRecord, box: Box, clipped: PixelBox) -> float:
    """The share of a box that lies on the image."""
    x0, y0, x1, y1 = _in_original(record, box)
    area = (clipped[2] - clipped[0]) * (clipped[3] - clipped[1])
    return area / max(1.0, abs((x1 - x0) * (y1 - y0)))


def _seen(record: ImageRecord, image: Image.Image) -> PixelBox:
    """The part of an image that the model saw, in whole pixels of the upright image."""
    return pixel_box(record, (0.0, 0.0, 1.0, 1.0), image)


def _elsewhere(box: PixelBox, bounds: PixelBox, rng: np.random.Generator) -> PixelBox:
    """A box of the same size at a random place within bounds: of some, the one that overlaps least with it.

    Where each would overlap with most of it, as with a frame, a smaller one around the same middle.
    """
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    most_x, most_y = max(bounds[0], bounds[2] - w), max(bounds[1], bounds[3] - h)
    places = [(int(rng.integers(bounds[0], most_x + 1)), int(rng.integers(bounds[1], most_y + 1))) for _ in range(16)]

    def overlap(place: tuple[int, int]) -> int:
        x, y = place
        return max(0, min(x + w, x1) - max(x, x0)) * max(0, min(y + h, y1) - max(y, y0))

    x, y = min(places, key=overlap)
    if overlap((x, y)) > w * h / 2:
        dx, dy = int(_INNER * w), int(_INNER * h)
        return x0 + dx, y0 + dy, max(x0 + dx + 1, x1 - dx), max(y0 + dy + 1, y1 - dy)
    return x, y, x + w, y + h


def _cut(pixels: np.ndarray, box: PixelBox) -> np.ndarray:
    x0, y0, x1, y1 = box
    part: np.ndarray = pixels[y0:y1, x0:x1]
    return part


def put(pixels: np.ndarray, patch: np.ndarray, box: PixelBox, mask: np.ndarray | None = None) -> np.ndarray:
    """A copy (H, W, C) with a patch in place of a box, in the box's size; of a mask, only where it is."""
    x0, y0, x1, y1 = box
    shrinks = patch.shape[0] > y1 - y0
    scaled = cv2.resize(
        patch, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    ).reshape(y1 - y0, x1 - x0, -1)
    result = pixels.copy()
    inside = _inside(box, mask)
    result[y0:y1, x0:x1][inside] = scaled[inside]
    return result


def fill(pixels: np.ndarray, box: PixelBox, mask: np.ndarray | None = None) -> np.ndarray:
    """A copy (H, W, C) whose box is filled with the blur of its surroundings; only pixels outside enter the blur.

    Of a mask, which is brought to the size of the box, only the part that it covers is filled.
    """
    x0, y0, x1, y1 = box
    inside = _inside(box, mask)
    reach = max(x1 - x0, y1 - y0)
    sigma = reach / 2
    if mask is not None:
        depth = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 3)
        sigma = min(sigma, max(2.0, 2 * float(depth.max())))
    left, top = max(0, x0 - reach), max(0, y0 - reach)
    around = slice(top, y1 + reach), slice(left, x1 + reach)
    area = pixels[around].astype(np.float32)
    filled = np.zeros(area.shape[:2], bool)
    filled[y0 - top : y1 - top, x0 - left : x1 - left] = inside
    outside = (~filled).astype(np.float32)
    weight = _blur(outside, sigma)
    blurred = _blur(area * outside[..., None], sigma).reshape(area.shape)
    area[filled] = (blurred / np.maximum(weight, 1e-6)[..., None])[filled]
    result = pixels.copy()
    result[around] = area.round().astype(pixels.dtype)
    return result


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur; a wide one at a smaller size, since its cost grows with the cube of the photograph's side."""
    factor = max(1.0, sigma / _WIDE)
    height, width = values.shape[:2]
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = values if factor == 1 else cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return blurred if factor == 1 else cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)


def _inside(box: PixelBox, mask: np.ndarray | None) -> np.ndarray:
    """(height, width) bool of a box: where its patch is."""
    size = box[2] - box[0], box[3] - box[1]
    if mask is None:
        return np.ones(size[::-1], bool)
    inside: np.ndarray = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.25
    return inside
