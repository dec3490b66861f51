"""From the arguments of `explain` to settings; wrong types are refused with what is accepted."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex, TypeAlias, get_type_hints

import numpy as np
import torch
from torch import nn

from camcli.config.settings import SETTINGS, RunConfig
from camcli.errors import ConfigError, LayerError, did_you_mean
from camcli.models import Model, load_model
from camcli.models.request import ModelSettings

TargetLike: TypeAlias = str | SupportsIndex
"""A class index or name, or what else ``--target`` takes."""

_EXPLANATION = (
    "score", "precision", "option", "fuse", "layout", "seed", "probability", "aug_smooth", "eigen_smooth",
    "bands", "show_bands", "window",
)  # fmt: skip
_OF_NAMED_MODELS = ("weights", "checkpoint", "num_classes", "trust_checkpoint", "seed")
_MODEL = tuple(name for name in get_type_hints(ModelSettings) if name not in _OF_NAMED_MODELS)


def split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the explanation, and those of a module in memory.

    Raises:
        TypeError: a setting that is neither.
    """
    allowed = (*_EXPLANATION, *_MODEL)
    for name in settings:
        if name not in allowed:
            raise TypeError(
                f"explain has no setting {name!r}.{_suggestion(name, allowed)} It has {', '.join(allowed)}."
            )
    own = {name: settings[name] for name in _MODEL if name in settings}
    return {name: settings[name] for name in _EXPLANATION if name in settings}, own


def as_model(model: object, settings: Mapping[str, Any]) -> Model:
    """A loaded model as it is, or a module in memory with its settings.

    Raises:
        TypeError: something else, or settings of a module for a model that is loaded already.
    """
    if isinstance(model, nn.Module):
        return load_model(model, **settings)
    if not isinstance(model, Model):
        hint = f" Load it first: camcli.load_model({model!r})." if isinstance(model, str) else ""
        raise TypeError(
            f"model: {type(model).__name__} is not accepted. Give a torch.nn.Module, or what camcli.load_model returns."
            f"{hint}"
        )
    if settings:
        names = ", ".join(settings)
        raise TypeError(
            f"{names}: for a torch.nn.Module; this model is loaded already. Give them to camcli.load_model."
        )
    return model


def as_config(
    module: nn.Module, method: object, target: object, layer: object, batch_size: int, settings: Mapping[str, Any]
) -> RunConfig:
    """The settings of a run.

    Raises:
        TypeError: an argument of a type that is not accepted.
        ConfigError: a value that is not.
    """
    layers = [layer] if isinstance(layer, str | nn.Module) else _sequence("layer", layer, "paths or modules")
    paths = [_path(module, one) if isinstance(one, nn.Module) else _text("layer", one) for one in layers]
    methods = [method] if isinstance(method, str) else _sequence("method", method, "method names")
    is_one = isinstance(target, str)  # of which commas make a list, as on the command line
    targets = target if is_one else [target_text(one) for one in _target_sequence(target)]
    if not is_one and not targets:
        raise ConfigError("target is empty: give a class index, a class name, or a list of them.")
    return RunConfig(
        method=tuple(_text("method", one) for one in methods), layer=tuple(paths), target=targets,  # type: ignore[arg-type]
        batch_size=str(batch_size), **settings,
    )  # fmt: skip


def target_text(target: object) -> str:
    """A target as ``--target`` takes it.

    Raises:
        TypeError: neither a whole number nor text.
    """
    if isinstance(target, str):
        return target
    try:
        if isinstance(target, bool | np.bool_):
            raise TypeError
        return str(operator.index(target))  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(
            f"target: {type(target).__name__} is not accepted. Give a class index, a class name, 'predicted' or "
            "'top:K', or a list of these."
        ) from error


def check_batch_size(value: object) -> int | None:
    """A number of images, None for the default.

    Raises:
        TypeError: no whole number.
        ConfigError: less than one.
    """
    if value is None or value == "auto":
        return None
    if isinstance(value, bool | str) or not isinstance(value, SupportsIndex):
        raise TypeError(f"batch_size={value!r}: give a whole number, or None.")
    if (size := operator.index(value)) < 1:
        raise ConfigError(f"batch_size={size}: must be at least 1.")
    return size


def _suggestion(name: str, allowed: Sequence[str]) -> str:
    """The setting that another tool calls so, or the most similar names."""
    arguments = ("method", "target", "targets", "layer", "batch_size")
    for own, declared in SETTINGS.items():
        if name.replace("_", "-") in declared.synonyms and own in (*arguments, *allowed):
            return f" Did you mean {own}?"
    return did_you_mean(name, (*arguments, *allowed))


def _target_sequence(target: object) -> Sequence[object]:
    if isinstance(target, np.ndarray | torch.Tensor):
        return list(target.reshape(-1).tolist() if target.ndim else [target.item()])
    return (
        list(target) if isinstance(target, Sequence | set | frozenset) and not isinstance(target, bytes) else [target]
    )


def _sequence(name: str, value: object, what: str) -> list[object]:
    if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        return list(value)
    raise TypeError(f"{name}: {type(value).__name__} is not accepted. Give one or several {what}.")


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{name}: {type(value).__name__} is not accepted. Give one or several names.")


def _path(module: nn.Module, part: nn.Module) -> str:
    for path, each in module.named_modules():
        if each is part and path:
            return str(path)
    raise LayerError(f"layer: the {type(part).__name__} is no part of the model.")
