"""Explain images from Python, without a run folder."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from PIL import Image

from camcli.config.settings import RunConfig
from camcli.device import BatchLimit
from camcli.errors import ImageError, SourceError
from camcli.explainer import ExplainedBatch
from camcli.images import Decoded, DecodeSettings, Entry, Sources, View, decode, from_array, from_pillow
from camcli.models import Model
from camcli.pipeline.batching import explain_batch, in_batches
from camcli.pipeline.items import Loaded, class_name
from camcli.pipeline.setup import Setup, decode_settings, setup_for, with_bands
from camcli.pipeline.targets import NO_TARGET, highest
from camcli.render import Drawing, Style, make_canvas, normalise

ImageLike: TypeAlias = str | os.PathLike[str] | np.ndarray | Image.Image


@dataclass(frozen=True)
class Target:
    """The class that a map explains."""

    index: int
    name: str | None
    probability: float | None  # None where the outputs of the model are values
    logit: float
    chosen_by: str


@dataclass(frozen=True)
class MapResult:
    """One map of one image.

    Attributes:
        native: (h, w) float32, raw: before ReLU and normalisation, signed where the method is signed.
        target: the class it explains; None of an encoder without classes.
        layer: path of the layer, several when fused, None for whole-network methods.
        view: the part of the image that is the model's input (x0, y0, x1, y1), in upright original pixels.
    """

    native: np.ndarray
    target: Target | None
    layer: str | tuple[str, ...] | None
    view: View
    model_size: tuple[int, int]
    _original: Callable[[], Image.Image]

    @property
    def image(self) -> Image.Image:
        """The upright original. A file is read again: a result holds no pixels of files.

        Raises:
            ImageError: the file cannot be read any more, or its content has changed.
        """
        return self._original()

    @cached_property
    def normalised(self) -> np.ndarray:
        """(h, w) float32 in [0, 1]: ReLU, then min-max."""
        return normalise(self.native)

    def overlay(self, *, colormap: str = "jet", alpha: float = 0.5, max_side: int = 0) -> Image.Image:
        """The coloured map over the upright original; what lies outside the view is dimmed."""
        return self._picture("overlay", colormap, alpha, max_side)

    def heatmap(self, *, colormap: str = "jet", max_side: int = 0) -> Image.Image:
        """The coloured map alone, in the geometry of the upright original."""
        return self._picture("heatmap", colormap, 1.0, max_side)

    def _picture(self, kind: str, colormap: str, alpha: float, max_side: int) -> Image.Image:
        canvas = make_canvas(np.asarray(self.image), self.view, max_side)
        drawing = Drawing(self.native, canvas, self.model_size, Style(colormap=colormap, alpha=alpha))
        return Image.fromarray(cv2.cvtColor(drawing.picture(kind), cv2.COLOR_BGR2RGB))


@dataclass(frozen=True)
class Result:
    """Predictions and maps of one image.

    Attributes:
        predictions: the five most probable classes, best first.
        maps: by method; with several layers or targets by ``method/layer/target`` with the levels there are several
            of, as in the paths of artefacts.
    """

    predictions: tuple[Target, ...]
    maps: Mapping[str, MapResult]


def explain(
    model: Model, images: Iterable[ImageLike] | ImageLike, *, method: str | Sequence[str] = "gradcam",
    target: str | int = "predicted", layer: str | Sequence[str] = "auto", batch_size: int = 16, **settings: Any,
) -> list[Result]:  # fmt: skip
    """Explain images with a loaded model.

    Args:
        model: from :func:`camcli.load_model`.
        images: file names, arrays (height, width, bands) or (height, width), or Pillow images; one, or any iterable of
            them. They are read batch by batch, so that memory does not grow with the number of files.
        method: one or more methods, a comma list or a sequence.
        target: as ``--target``.
        layer: as ``--layer``, one or several.
        batch_size: images a pass. The last batch is padded to it, so that the result of an image does not depend on
            the others; 1 is the fastest for a single image. Halved when memory runs out.
        settings: any other setting of :class:`camcli.RunConfig` that concerns the explanation: ``score``,
            ``precision``, ``option``, ``fuse``, ``layout``, ``seed``, ``probability``, ``bands``, ``window``.

    Returns:
        One result an image, in order.

    Raises:
        UsageError: an unknown method, layer or target, or one that this model does not allow.
        ImageError: an image that cannot be read.
    """
    config = RunConfig(
        method=method, layer=layer, target=str(target), batch_size=batch_size, **settings  # type: ignore[arg-type]
    )  # fmt: skip
    if isinstance(images, str | os.PathLike | np.ndarray | Image.Image) or not isinstance(images, Iterable):
        images = [images]
    model = model if config.bands is None else with_bands(model, config)
    setup, decoding = setup_for(config, model, Sources(())), decode_settings(config, model.preprocessing)
    if any(spec.kind == "label" for spec in setup.targets):
        raise SourceError("target='label' needs a run over folders or a manifest: use camcli.run.")

    def explain_padded(batch: list[_Image], count: int) -> list[Result]:
        explained = explain_batch(setup, batch, count)
        return [_result(setup, explained, i, image) for i, image in enumerate(batch[:count])]

    limit = BatchLimit(setup.batch_size)
    with model.prepared():
        batches = in_batches((_load(image, model, decoding) for image in images), setup.batch_size)
        return [result for batch in batches for part in limit.run_padded(batch, explain_padded) for result in part]


@dataclass(frozen=True)
class _Image(Loaded):
    original: Callable[[], Image.Image]


def _result(setup: Setup, explained: ExplainedBatch, i: int, image: _Image) -> Result:
    model, specs = setup.model, setup.targets
    logits, probabilities = explained.logits[i], explained.probabilities[i]

    def target(index: int, chosen_by: str) -> Target:
        name = class_name(index, model.class_names)
        probability = None if model.returns_values else float(probabilities[index])
        return Target(index, name, probability, float(logits[index]), chosen_by)

    maps: dict[str, MapResult] = {}
    for key, raw in explained.maps.items():
        index = int(explained.targets[i, key.target_number])
        if index == NO_TARGET:
            continue
        levels = [key.method]
        if len(setup.layers) > 1 and isinstance(key.layer, str):
            levels.append(key.layer)
        if len(specs) > 1:
            levels.append(specs[key.target_number].key)
        size = (model.preprocessing.height, model.preprocessing.width)
        chosen = None if setup.classless else target(index, specs[key.target_number].chosen_by)
        maps["/".join(levels)] = MapResult(raw[i].numpy(), chosen, key.layer, image.view, size, image.original)
    top = highest(logits.numpy(), 5)
    return Result(tuple(target(int(index), "predicted") for index in top), maps)


def _load(image: ImageLike, model: Model, settings: DecodeSettings) -> _Image:
    path, original = "", None
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        decoded = _decode_file(path, settings)
        original = partial(_read_again, os.path.abspath(path), decoded.metadata.sha256, settings)
    else:
        decoded = _decode_pixels(image, settings)
    try:
        prepared = model.preprocessing(decoded.source)
    except ImageError as error:
        raise ImageError(error.kind, f"{path}: {error.message}" if path else error.message) from error
    return _Image(
        Entry(path, path, ordinal=0, source="", source_slug=""), decoded.metadata, prepared.pixels, prepared.view,
        canvas=None, label=None, own_target=None, original=original or decoded.image.copy,
    )  # fmt: skip


def _read_again(path: str, sha256: str, settings: DecodeSettings) -> Image.Image:
    decoded = _decode_file(path, settings)
    if decoded.metadata.sha256 != sha256:
        raise ImageError("changed", f"{path}: its content has changed since it was explained")
    return decoded.image


def _decode_file(path: str, settings: DecodeSettings) -> Decoded:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError("missing", f"{path}: cannot be read ({error.strerror})") from error
    try:
        return decode(data, settings)
    except ImageError as error:
        raise ImageError(error.kind, f"{path}: {error.message}") from error


def _decode_pixels(image: object, settings: DecodeSettings) -> Decoded:
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or not image.size or image.dtype.kind not in "biuf":
            raise SourceError(
                f"an array of {image.dtype}, shape {image.shape}: give (height, width, bands) or (height, width) of "
                "uint8, uint16, int16 or floating-point values."
            )
        return from_array(image, settings)
    if not isinstance(image, Image.Image) or not all(image.size):
        what = f"{type(image).__name__} without pixels" if isinstance(image, Image.Image) else type(image).__name__
        raise SourceError(f"{what}: give a file name, an array or a Pillow image.")
    return from_pillow(image, settings)
