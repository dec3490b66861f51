"""Explaining a few images from Python, without a run folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from PIL import Image

from camcli.config.settings import RunConfig
from camcli.device import choose_precision
from camcli.errors import ImageError, SourceError
from camcli.explainer import ExplainedBatch, Explainer
from camcli.images import Decoded, DecodeSettings, View, decode, to_input
from camcli.layers import resolve_layers
from camcli.models import Model
from camcli.pipeline.items import class_name, seed_of
from camcli.pipeline.setup import explain_options, needs_gradient
from camcli.pipeline.targets import NO_SLOT, Slot, choose_targets, highest, parse_target
from camcli.render import Drawing, Style, make_canvas, normalise

ImageLike: TypeAlias = "str | os.PathLike[str] | np.ndarray | Image.Image"


@dataclass(frozen=True)
class Target:
    """The class that a map explains."""

    index: int
    name: str | None
    probability: float
    logit: float
    chosen_by: str


@dataclass(frozen=True)
class MapResult:
    """One map of one image.

    Attributes:
        native: (h, w) float32, raw: before ReLU and normalisation, signed where the method is signed.
        target: the class it explains.
        layer: path of the layer, several when fused, None for whole-network methods.
        view: what the model saw (x0, y0, x1, y1), in upright original pixels.
    """

    native: np.ndarray
    target: Target
    layer: str | tuple[str, ...] | None
    view: View
    image: Image.Image
    model_size: tuple[int, int]

    @cached_property
    def normalised(self) -> np.ndarray:
        """(h, w) float32 in [0, 1]: ReLU, then min-max."""
        return normalise(self.native)

    def overlay(self, *, colormap: str = "jet", alpha: float = 0.5, max_side: int = 0) -> Image.Image:
        """Heat over the upright original; what the model did not see is dimmed."""
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
    """What the model says of one image, and where it looked.

    Attributes:
        predictions: the five most probable classes, best first.
        maps: by method; with several layers or targets by ``method/layer/target`` with the levels there are several
            of, as in the paths of artefacts.
    """

    predictions: tuple[Target, ...]
    maps: Mapping[str, MapResult]


def explain(
    model: Model, images: Sequence[ImageLike] | ImageLike, *, method: str | Sequence[str] = "gradcam",
    target: str | int = "predicted", layer: str | Sequence[str] = "auto", batch_size: int = 16, **settings: Any,
) -> list[Result]:  # fmt: skip
    """Explain a few images with a model that is loaded.

    Args:
        model: from :func:`camcli.load_model`.
        images: file names, arrays (height, width, 3) or (height, width) uint8, or Pillow images.
        method: one or more methods, a comma list or a sequence.
        target: as ``--target``.
        layer: as ``--layer``, one or several.
        batch_size: images a pass.
        settings: any other setting of :class:`camcli.RunConfig` that concerns the explanation: ``score``,
            ``precision``, ``option``, ``fuse``, ``layout``, ``seed``, ``probability``.

    Returns:
        One result an image, in order.

    Raises:
        UsageError: an unknown method, layer or target, or one that this model does not allow.
        ImageError: an image that cannot be read.
    """
    config = RunConfig(method=method, layer=layer, target=str(target), **settings)  # type: ignore[arg-type]
    several: Sequence[ImageLike] = images if isinstance(images, list | tuple) else [images]  # type: ignore[list-item]
    slots = parse_target(str(target), model.class_names, model.num_classes)
    if any(slot.kind == "label" for slot in slots):
        raise SourceError("target='label' needs a run over folders or a manifest: use camcli.run.")
    decoded = [_decoded(image) for image in several]
    device = model.device
    with model.prepared():
        layers = resolve_layers(model, config.layer, config.layout, needs_gradient(config))
        explainer = Explainer(
            model, layers, config.method, explain_options(config, choose_precision(config.precision, device))
        )
        results: list[Result] = []
        for start in range(0, len(decoded), batch_size):
            batch = decoded[start : start + batch_size]
            prepared = [model.preprocessing(d.image) for d in batch]
            inputs = to_input(np.stack([p.pixels for p in prepared]), model.preprocessing, device)
            explained = explainer(
                inputs,
                lambda z: torch.from_numpy(choose_targets(z.numpy(), slots, [None] * len(z), [None] * len(z))),
                [seed_of(d.sha256, config.seed) for d in batch],
            )
            for i, image in enumerate(batch):
                results.append(_result(model, explained, i, image, prepared[i].view, slots, len(layers)))
    return results


def _result(
    model: Model, explained: ExplainedBatch, i: int, image: Decoded, view: View, slots: Sequence[Slot], layer_count: int
) -> Result:
    logits, probabilities = explained.logits[i], explained.probabilities[i]

    def target(index: int, chosen_by: str) -> Target:
        name = class_name(index, model.class_names)
        return Target(index, name, float(probabilities[index]), float(logits[index]), chosen_by)

    maps: dict[str, MapResult] = {}
    for key, raw in explained.maps.items():
        index = int(explained.targets[i, key.slot])
        if index == NO_SLOT:
            continue
        levels = [key.method]
        if layer_count > 1 and isinstance(key.layer, str):
            levels.append(key.layer)
        if len(slots) > 1:
            levels.append(slots[key.slot].key)
        size = (model.preprocessing.height, model.preprocessing.width)
        chosen = target(index, slots[key.slot].chosen_by)
        maps["/".join(levels)] = MapResult(raw[i].numpy(), chosen, key.layer, view, image.image, size)
    top = highest(logits.numpy(), 5)
    return Result(tuple(target(int(index), "predicted") for index in top), maps)


def _decoded(image: ImageLike) -> Decoded:
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ImageError("missing", f"{path}: cannot be read ({error.strerror})") from error
        try:
            return decode(data, DecodeSettings())
        except ImageError as error:
            raise ImageError(error.kind, f"{path}: {error.message}") from error
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
            raise SourceError(
                f"an array of {image.dtype}, shape {image.shape}: give (height, width, 3) or (height, width) uint8."
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image) or not all(image.size):
        what = f"{type(image).__name__} without pixels" if isinstance(image, Image.Image) else type(image).__name__
        raise SourceError(f"{what}: give a file name, an array or a Pillow image.")
    rgb = image.convert("RGB")
    digest = hashlib.sha256(rgb.tobytes()).hexdigest()
    return Decoded(rgb, 0, digest, rgb.width, rgb.height, "array", 1, ())
