"""A model's own preprocessing, from the terms in which torchvision, timm or the user states it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn
from torch.nn.parameter import is_lazy

from camcli.errors import ModelError
from camcli.images import Preprocessing
from camcli.models.request import ModelRequest

_CROP_SHARE = 0.875


def from_preset(preset: Any) -> Preprocessing:
    """Of torchvision's ``ImageClassification`` preset: shorter side, centre crop, mean and deviation."""
    height, width = _pair(preset.crop_size)
    resize = preset.resize_size
    one = resize if isinstance(resize, int) else resize[0] if len(resize) == 1 else None
    mode = preset.interpolation
    return Preprocessing(
        height=height,
        width=width,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        resize="squash" if one is None else "crop",
        resize_to=_pair(resize) if one is None else one,
        interpolation=str(getattr(mode, "value", mode)),
    )


def from_timm(config: Mapping[str, Any]) -> Preprocessing:
    """Of timm's data configuration: ``input_size``, ``crop_pct``, ``crop_mode``, ``interpolation``, ``mean``, ``std``.

    timm resizes to the input size over ``crop_pct``, rounded down, and then cuts out the centre.
    """
    channels, height, width = config.get("input_size") or (3, 224, 224)
    share = config.get("crop_pct") or _CROP_SHARE
    box = (math.floor(height / share), math.floor(width / share))
    modes: dict[str, Literal["crop", "squash", "pad"]] = {"squash": "squash", "border": "pad"}
    resize = modes.get(config.get("crop_mode") or "center", "crop")
    plain = imagenet(channels)
    return Preprocessing(
        channels=channels,
        height=height,
        width=width,
        mean=tuple(config.get("mean") or plain.mean),
        std=tuple(config.get("std") or plain.std),
        resize=resize,
        # A square crop goes by the shorter side, which rounds differently from covering a box.
        resize_to=box[0] if resize == "crop" and box[0] == box[1] else box,
        interpolation=config.get("interpolation") or "bicubic",
        crop_pct=share,
    )


def imagenet(channels: int = 3, size: tuple[int, int] = (224, 224)) -> Preprocessing:
    """The usual one, for models that state none: shorter side over 0.875, centre crop, ImageNet mean and deviation."""
    usual = Preprocessing(channels=channels, resize_to=256, crop_pct=_CROP_SHARE)
    return usual.changed(input_size=size)


def assumed_preprocessing(usual: Preprocessing, module: nn.Module, request: ModelRequest) -> tuple[str, ...]:
    """What is assumed for a module that brings no preprocessing, without what the request states; one line or none."""
    pre = usual.changed(
        input_size=request.size, mean=request.channel_mean, std=request.channel_std, resize=request.resize
    )
    parts = [
        f"mean {_listed(pre.mean)} (--mean)" if request.mean is None else "",
        f"deviation {_listed(pre.std)} (--std)" if request.std is None else "",
        f"an input of {pre.height}×{pre.width} (--input-size)" if request.size is None else "",
        f"{pre.description} (--resize)" if request.resize == "own" else "",
    ]
    assumed = "; ".join(part for part in parts if part)
    if not assumed:
        return ()
    stated = getattr(module, "pretrained_cfg", None)
    more = (
        ". Its pretrained_cfg is not used: return (model, model.pretrained_cfg) if it holds"
        if isinstance(stated, Mapping) and request.module is None
        else ""
    )
    return (f"the model brings no preprocessing, so this is assumed: {assumed}{more}",)


def _listed(values: Sequence[float]) -> str:
    different = values if len(set(values)) > 1 else values[:1]
    return ", ".join(f"{value:g}" for value in different)


def from_user(value: Any, module: nn.Module, request: ModelRequest) -> Preprocessing:
    """Of what a factory returned beside its module.

    Args:
        value: None, a :class:`Preprocessing`, a dict in timm's terms, a torchvision preset, or a callable from an image
            (:mod:`camcli.images.custom` says as what it comes) to a float tensor (channels, height, width).
        module: whose first convolution gives the channels where nothing else does.
        request: for the name in messages.

    Raises:
        ModelError: it is none of these.
        ConfigError: the callable fails on a plain image, or returns something else.
    """
    if value is None:
        return imagenet(input_channels(module))
    if isinstance(value, Preprocessing):
        return value
    if isinstance(value, Mapping):
        return from_timm({"interpolation": "bilinear", **value})
    if all(hasattr(value, name) for name in ("crop_size", "resize_size", "mean", "std", "interpolation")):
        return from_preset(value)
    if callable(value):
        return Preprocessing.from_callable(value, input_channels(module))
    raise ModelError(
        f"model {request.name}: the second thing the factory returned is a {type(value).__name__}. Give a camcli "
        "Preprocessing, a dict (input_size, mean, std, crop_pct, …), or a callable from a Pillow image to a tensor."
    )


def check_values(module: nn.Module) -> None:
    """Check that a user's module has values.

    Raises:
        ModelError: parameters that are not initialised yet, or on the device ``meta``.
    """
    name = type(module).__name__
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(
                f"the {name} has parameters without a shape yet ({path}): run one input through it before it is used, "
                "and load its weights."
            )
        if tensor.is_meta:
            raise ModelError(f"the {name} is on the device `meta`, without values ({path}). Load its weights.")


def input_channels(module: nn.Module) -> int:
    """The channels that the first convolution of a module takes; 3 where there is none."""
    return next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 3)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return size[0], size[-1]
