"""Models that are in memory already: any ``torch.nn.Module``, left as it was found."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from camcli.errors import ModelError
from camcli.images import Preprocessing
from camcli.models.factory import is_multi_label, own_names
from camcli.models.model import Model, unwrap
from camcli.models.preparation import assumed_preprocessing, check_values, from_user, imagenet, input_channels
from camcli.models.request import ModelRequest


def open_module(module: nn.Module, request: ModelRequest) -> Model:
    """A module with the preprocessing that it states or that the user gives, else the usual one of ImageNet.

    Raises:
        ModelError: a setting that only a model loaded by name can have, or no usable preprocessing.
    """
    _refuse_settings_of_weights(request)
    stated = _stated_by_timm(module)
    is_stated = request.preprocessing is not None or stated is not None
    preprocessing = _preprocessing(module, stated, request)
    return Model(
        module=module,
        preprocessing=preprocessing,
        assumptions=() if is_stated else assumed_preprocessing(preprocessing, module, request),
        name=_name(module, stated),
        source="memory",
        weights="in memory",
        class_names=own_names(module) or _timm_names(stated),
        multi_label=is_multi_label(module),
    )


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's parameters; the CPU where it has none.

    Raises:
        ModelError: they hold no values.
    """
    check_values(module)
    return next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))


def _refuse_settings_of_weights(request: ModelRequest) -> None:
    asked = {
        "weights": request.weights != "default", "checkpoint": request.checkpoint is not None,
        "num_classes": request.num_classes is not None, "trust_checkpoint": request.trust_checkpoint,
    }  # fmt: skip
    if wrong := ", ".join(name for name, is_given in asked.items() if is_given):
        raise ModelError(f"{wrong}: of models that are loaded by name. Load the weights into the module instead.")


def _preprocessing(module: nn.Module, stated: Mapping[str, Any] | None, request: ModelRequest) -> Preprocessing:
    if request.preprocessing is not None:
        if isinstance(request.preprocessing, str) or not (
            callable(request.preprocessing) or isinstance(request.preprocessing, Mapping)
        ):
            raise TypeError(
                f"preprocessing: {type(request.preprocessing).__name__} is not accepted. Give a callable from a Pillow "
                "image to a tensor (C, H, W), or a dict (input_size, mean, std, crop_pct, …)."
            )
        return from_user(request.preprocessing, module, request)
    if stated is not None:
        from timm.data.config import resolve_data_config

        data: dict[str, Any] = resolve_data_config({}, pretrained_cfg=stated)  # type: ignore[no-untyped-call]
        size = _stated_size(module) or data["input_size"][1:]
        return from_user({**data, "input_size": (input_channels(module), *size)}, module, request)
    return imagenet(input_channels(module), _stated_size(module) or (224, 224))


def _stated_by_timm(module: nn.Module) -> Mapping[str, Any] | None:
    stated = getattr(unwrap(module), "pretrained_cfg", None)
    return stated if isinstance(stated, Mapping) and stated.get("input_size") else None


def _stated_size(module: nn.Module) -> tuple[int, int] | None:
    """The input size that vision transformers of torchvision, transformers and timm are built for."""
    inner = unwrap(module)
    places = ((inner, "image_size"), (getattr(inner, "config", None), "image_size"))
    for holder, name in (*places, (getattr(inner, "patch_embed", None), "img_size")):
        size = getattr(holder, name, None)
        if isinstance(size, int):
            return size, size
        if isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in size):
            return size[0], size[1]
    return None


def _name(module: nn.Module, stated: Mapping[str, Any] | None) -> str:
    return str((stated or {}).get("architecture") or type(unwrap(module)).__name__)


def _timm_names(stated: Mapping[str, Any] | None) -> Any:
    if stated is None:
        return None
    from camcli.models.timm_source import names_of

    return names_of(stated, stated.get("num_classes"))
