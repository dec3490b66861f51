"""The target layers of a run, or none where its methods look at none and no layer will do; and what works instead."""

from collections.abc import Iterable
from contextlib import suppress

import torch
from torch import nn

from camcli.capture import noise
from camcli.capture.programs import find_program
from camcli.config.settings import BEST, RunConfig
from camcli.errors import LayerError, is_out_of_memory
from camcli.layers import AUTO, Layer, NoLayerError, PassError, resolve_layers
from camcli.methods import METHODS, Method, find_method
from camcli.models import Model

_DRAWS = 5
"""Draws of a random model by which its layers are tried: of one that drops half of all passes, one in 32 has none."""


def needs_gradient(config: RunConfig) -> bool:
    """Whether any method of the configuration needs the score's gradient at the layer.

    Raises:
        MethodError: an unknown method.
    """
    return any(method.needs_layer_gradient for method in _methods(config))


def choose_layers(config: RunConfig, model: Model) -> tuple[tuple[Layer, ...], bool]:
    """The target layers, and whether the model takes one image at a time.

    Raises:
        UsageError: a layer that cannot be used, or none; with what works instead.
    """
    is_alone = config.parsed.batch_size == 1 or model.is_alone
    try:
        layers = _resolve(config, model, None)
    except (PassError, LayerError) as error:
        if not is_alone or (isinstance(error, PassError) and error.images == 1):
            raise
    else:
        if layers or not is_alone or _takes_two(model):
            return layers, False
    return _resolve(config, model, 1), True  # outside the handler, where the frames of the failed pass are gone


def _takes_two(model: Model) -> bool:
    """Whether two images in a pass give two rows of scores; asked where no layer was verified, which would show it."""
    images = noise(model.preprocessing, 2, model.device)
    try:
        with torch.no_grad():
            return len(model.logits(model.module(images))) == len(images)
    except Exception as error:  # a user's module can fail in any way
        if is_out_of_memory(error):
            raise
        return False


def _resolve(config: RunConfig, model: Model, batch_size: int | None) -> tuple[Layer, ...]:
    try:
        return _resolve_any_draw(config, model, batch_size)
    except NoLayerError as error:
        methods = _methods(config)
        if list(config.layer) == [AUTO] and config.layout == "auto" and not any(m.needs_layer for m in methods):
            return ()
        raise LayerError(f"{error}{_what_works(error, model)}{_which_need(methods, error)}") from error


def _resolve_any_draw(config: RunConfig, model: Model, batch_size: int | None) -> tuple[Layer, ...]:
    """The layers; of a model that draws random numbers by the first of a few draws that allow a choice.

    A draw may drop what leads from a layer to the score. The draws are the same for every ``--seed``, and so the layer.
    """

    def resolve() -> tuple[Layer, ...]:
        return tuple(resolve_layers(model, config.layer, config.layout, needs_gradient(config), batch_size))

    if model.passes is None or model.passes.seed is None:
        return resolve()
    for draw in range(_DRAWS - 1):
        with model.passes.of_image(draw), suppress(LayerError):
            return resolve()
    with model.passes.of_image(_DRAWS - 1):
        return resolve()


def _methods(config: RunConfig) -> list[Method]:
    return [find_method(key) for key in config.method if key != BEST]


def _what_works(error: NoLayerError, model: Model) -> str:
    """The methods that this model allows all the same."""
    suited = [method for method in METHODS.values() if model.num_classes is not None or not method.class_specific]
    is_differentiable = error.image_gradient and find_program(model.module) is None
    has_relus = any(isinstance(part, nn.ReLU | nn.ReLU6) for part in model.module.modules())
    free = [
        method
        for method in suited
        if not method.needs_layer
        and (is_differentiable or not method.uses_gradients)
        and (has_relus or "relu" not in method.needs)
    ]
    at_layer = [
        method
        for method in suited
        if error.without_gradient is not None and method.scope == "layer" and not method.uses_gradients
    ]
    parts = [f"{_keys(at_layer)} (without gradients, at {error.without_gradient})"] if at_layer else []
    parts += [f"{_keys(free)} (without a layer)"] if free else []
    return f" Methods that work here: {'; '.join(parts)}." if parts else ""


def _which_need(methods: Iterable[Method], error: NoLayerError) -> str:
    """Where only some of the methods need what is not there, which."""
    is_gradient = error.without_gradient is not None
    needing = [method for method in methods if (method.needs_layer_gradient if is_gradient else method.needs_layer)]
    others = [method for method in methods if method not in needing]
    if not needing or not others:
        return ""
    verbs = "needs" if len(needing) == 1 else "need", "runs" if len(others) == 1 else "run"
    what = "the gradient" if is_gradient else "a layer"
    return f" {_keys(needing)} {verbs[0]} {what}; {_keys(others)} {verbs[1]} without."


def _keys(methods: Iterable[Method]) -> str:
    return ", ".join(method.key for method in methods)
