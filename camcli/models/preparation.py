"""A model's own preprocessing, as torchvision, timm or the user states it, and what the flags change about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import nn

from camcli.errors import ModelError
from camcli.images import Preprocessing
from camcli.models.request import ModelRequest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_CROP_SHARE = 0.875


def from_preset(preset: Any) -> Preprocessing:
    """Of torchvision's ``ImageClassification`` preset: shorter side, centre crop, mean and deviation."""
    size = _pair(preset.crop_size)
    resize = preset.resize_size
    shorter = resize[0] if isinstance(resize, Sequence) and len(resize) == 1 else resize
    mode = preset.interpolation
    return Preprocessing(
        channels=3,
        height=size[0],
        width=size[1],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        resize="crop" if isinstance(shorter, int) else "squash",
        resize_to=shorter if isinstance(shorter, int) else _pair(shorter),
        interpolation=str(getattr(mode, "value", mode)),
    )


def from_timm(config: Mapping[str, Any]) -> Preprocessing:
    """Of timm's data configuration: ``input_size``, ``crop_pct``, ``crop_mode``, ``interpolation``, ``mean``, ``std``.

    timm resizes to the input size over ``crop_pct``, rounded down, and then crops.
    """
    channels, height, width = config.get("input_size", (3, 224, 224))
    share = config.get("crop_pct") or _CROP_SHARE
    scaled = (math.floor(height / share), math.floor(width / share))
    mean, std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)
    modes: dict[str, Literal["crop", "squash", "pad"]] = {"squash": "squash", "border": "pad"}
    resize = modes.get(config.get("crop_mode") or "center", "crop")
    return Preprocessing(
        channels=channels,
        height=height,
        width=width,
        mean=_per_channel(mean, channels),
        std=_per_channel(std, channels),
        resize=resize,
        resize_to=scaled[0] if resize == "crop" and scaled[0] == scaled[1] else scaled,
        interpolation=config.get("interpolation", "bicubic"),
        fill=_colour(mean),
    )


def imagenet(channels: int = 3, size: tuple[int, int] = (224, 224)) -> Preprocessing:
    """The usual one, for models that state none: shorter side over 0.875, centre crop, ImageNet mean and deviation."""
    height, width = size
    shorter = math.floor(min(size) / _CROP_SHARE)
    return Preprocessing(
        channels=channels,
        height=height,
        width=width,
        mean=_per_channel(IMAGENET_MEAN, channels),
        std=_per_channel(IMAGENET_STD, channels),
        resize="crop",
        resize_to=shorter if height == width else (math.floor(height / _CROP_SHARE), math.floor(width / _CROP_SHARE)),
        interpolation="bilinear",
    )


def of_user(value: Any, module: nn.Module, request: ModelRequest) -> Preprocessing:
    """Of what a factory returned beside its module.

    Args:
        value: None, a :class:`Preprocessing`, a dict in timm's terms, a torchvision preset, or a callable from an RGB
            Pillow image to a float tensor (channels, height, width).

    Raises:
        ModelError: it is none of these.
    """
    if value is None:
        return imagenet(input_channels(module), request.size or (224, 224))
    if isinstance(value, Preprocessing):
        return value
    if isinstance(value, Mapping):
        return from_timm({"interpolation": "bilinear", **value})
    if all(hasattr(value, name) for name in ("crop_size", "resize_size", "mean", "std", "interpolation")):
        return from_preset(value)
    if callable(value):
        return custom(value)
    raise ModelError(
        f"model {request.name}: the second thing the factory returned is a {type(value).__name__}. Give a camcli "
        "Preprocessing, a dict (input_size, mean, std, crop_pct, …), or a callable from a Pillow image to a tensor."
    )


def custom(transform: Callable[[Image.Image], Any]) -> Preprocessing:
    """Around a user's own transform; what it makes of a plain image tells channels and size.

    Raises:
        ModelError: it fails on an ordinary RGB image, or does not return (channels, height, width).
    """
    try:
        sample = transform(Image.new("RGB", (320, 240), (120, 130, 140)))
        shape = tuple(torch.as_tensor(np.asarray(sample)).shape)
    except Exception as error:
        raise ModelError(f"the factory's preprocessing fails on an RGB image of 320 × 240: {error}") from error
    if len(shape) != 3:
        raise ModelError(f"the factory's preprocessing gives shape {shape}, not (channels, height, width).")
    channels, height, width = shape
    return Preprocessing(
        channels=channels, height=height, width=width, mean=(0.0,) * channels, std=(1.0,) * channels,
        resize="squash", resize_to=(height, width), interpolation="bilinear", custom=transform,
    )  # fmt: skip


def override(own: Preprocessing, request: ModelRequest) -> Preprocessing:
    """The model's own preprocessing with ``--input-size``, ``--mean``, ``--std`` and ``--resize``.

    Raises:
        ModelError: a user's own transform cannot be changed by flags.
        ConfigError: the wrong number of means.
    """
    size = request.size if request.size != (own.height, own.width) else None
    if size is None and request.mean is None and request.std is None and request.resize == "own":
        return own
    if own.custom is not None:
        raise ModelError(
            "--input-size, --mean, --std, --resize: the factory brings its own preprocessing. Change it there."
        )
    return own.changed(input_size=size, mean=request.mean, std=request.std, resize=request.resize)


def _per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Statistics for another number of channels: of grey the average, of more than three the cycle."""
    values = tuple(float(v) for v in values)
    if len(values) == channels:
        return values
    if channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[i % len(values)] for i in range(channels))


def _colour(mean: Sequence[float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * m) for m in _per_channel(mean, 3))
    return red, green, blue


def input_channels(module: nn.Module) -> int:
    """The channels that the first convolution of a module takes; 3 where there is none."""
    return next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 3)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return (size[0], size[0]) if len(size) == 1 else (size[0], size[1])
