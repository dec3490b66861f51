"""``stable``: does the map survive what should not matter?

Value: Spearman's correlation (after relu) of a map with the map of the same class for a changed picture, the mean over
the changes of a kind:

- ``photometric``: JPEG at quality 75, brightness ±5 %, noise of σ 0.02 (of pixels in 0 to 1);
- ``geometric``: mirrored, shifted by ±4 pixels (at 224) in both directions; the map is mapped back before comparison.

Changes are made to the picture as the model gets it. Low values mean that single maps should not be trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from camcli.checks.context import Context
from camcli.checks.distances import spearman
from camcli.checks.judge import Words
from camcli.checks.reopened import Picture, ReopenedModel
from camcli.checks.result import Result
from camcli.checks.settings import Check, Setting
from camcli.images import Bands

JPEG_QUALITY = 75
BRIGHTNESS = 0.05
NOISE = 0.02
SHIFT = 4 / 224
WORDS = Words(
    "rank correlation with maps of changed pictures",
    "Maps change with changes that no person would see: do not rely on single maps of this model and method.",
    "correlates by {} when changed",
)


@dataclass(frozen=True)
class Change:
    """A change that should not matter.

    Attributes:
        kind: ``photometric`` or ``geometric``.
        apply: from (H, W, channels) uint8 and a random generator to the same.
        undo: from the map of the changed picture to where the original has it.
    """

    kind: str
    apply: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    undo: Callable[[np.ndarray], np.ndarray]


def _same(raw: np.ndarray) -> np.ndarray:
    return raw


def _compress(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    if pixels.shape[2] not in (1, 3):  # JPEG has no other bands
        return np.dstack([_compress(pixels[..., band : band + 1], draw) for band in range(pixels.shape[2])])
    buffer = BytesIO()
    mode = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(mode).save(buffer, "JPEG", quality=JPEG_QUALITY)
    again: np.ndarray = np.asarray(Image.open(buffer)).reshape(pixels.shape)
    return again


def _brighten_by(factor: float) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    return lambda pixels, _: _bytes(pixels.astype(np.float32) * factor)


def _add_noise(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return _bytes(pixels + 255 * NOISE * draw.standard_normal(pixels.shape, np.float32))


def _mirror(pixels: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, ::-1])


def shift(values: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """Moved by shares of the width and height, to the right and down; edges are repeated."""
    matrix = np.array([[1, 0, dx * values.shape[1]], [0, 1, dy * values.shape[0]]], np.float64)
    size = (values.shape[1], values.shape[0])
    result = cv2.warpAffine(values, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(result).reshape(values.shape)


def _shift_by(by: float) -> Change:
    return Change("geometric", lambda pixels, _: shift(pixels, by, by), lambda raw: shift(raw, -by, -by))


def _bytes(values: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return clipped


CHANGES = (
    Change("photometric", _compress, _same),
    Change("photometric", _brighten_by(1 + BRIGHTNESS), _same),
    Change("photometric", _brighten_by(1 - BRIGHTNESS), _same),
    Change("photometric", _add_noise, _same),
    Change("geometric", _mirror, lambda raw: np.ascontiguousarray(raw[:, ::-1])),
    _shift_by(SHIFT),
    _shift_by(-SHIFT),
)


def run(context: Context) -> Result:
    opened = context.open_images()
    reopened, images = context.reopened, opened.images
    original = reopened.maps(opened.pixels, opened.targets, opened.seeds)
    sums = {"photometric": np.zeros(len(images)), "geometric": np.zeros(len(images))}
    for change in CHANGES:
        draw = np.random.default_rng(context.seed)
        changed = [_change(reopened, picture, change, draw) for picture in opened.pictures]
        maps = reopened.maps(changed, opened.targets, opened.seeds)
        for i, raw in enumerate(maps):
            # A map that is zero or constant has nothing in common with another.
            sums[change.kind][i] += spearman(np.maximum(original[i], 0), np.maximum(change.undo(raw), 0)) or 0.0
    metrics = {kind: total / sum(change.kind == kind for change in CHANGES) for kind, total in sums.items()}
    judge, weakest = context.judge(), np.minimum(metrics["photometric"], metrics["geometric"])
    return judge.conclude("stable", judge(metrics), WORDS, images, weakest, high_is_bad=False)


def _change(reopened: ReopenedModel, picture: Picture, change: Change, draw: np.random.Generator) -> np.ndarray:
    if picture.source is None:
        return _change_values(picture.pixels, change, draw)
    # The user's own preprocessing returns a normalised tensor: the change is made to the image before it.
    preprocessing = reopened.setup.model.preprocessing
    if isinstance(picture.source, Bands):
        values = _change_values(picture.source.values, change, draw)
        return preprocessing(Bands(values, picture.source.is_scaled)).pixels
    return preprocessing(Image.fromarray(change.apply(np.asarray(picture.source), draw))).pixels


def _change_values(values: np.ndarray, change: Change, draw: np.random.Generator) -> np.ndarray:
    """Values of any type changed as 8-bit ones are, which stand for their range in this image."""
    if values.dtype == np.uint8:
        return change.apply(values, draw)
    low, high = float(values.min()), float(values.max())
    step = ((high - low) or 1.0) / 255
    changed = change.apply(_bytes((values.astype(np.float64) - low) / step), draw)
    result: np.ndarray = (changed * step + low).astype(values.dtype)
    return result


SETTINGS = {
    "photometric_median_min": Setting(0.8, "least median correlation under JPEG, brightness, noise", low=-1, high=1),
    "geometric_median_min": Setting(0.6, "least median correlation under mirroring and shifts", low=-1, high=1),
    "images": Setting(48, "images that are tried", int),
}
QUESTION = "does the map survive what should not matter?"
CHECK = Check("stable", QUESTION, run, SETTINGS, model=True, by_default=False)
