"""Models from the user's own code: ``factory:package.module:function``.

The working directory is searched for modules while the user's module is imported and its function runs, and not after
that: what the model imports only later, in its forward pass, must have been imported by then, be installed, or lie in a
folder of ``PYTHONPATH``.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from camcli.capture.states import enable_autograd
from camcli.errors import ModelError, did_you_mean
from camcli.models.fit import Blueprint, WeightedModel, fit_checkpoint
from camcli.models.model import Model, unwrap
from camcli.models.names import ClassNames, names_from
from camcli.models.preparation import assumed_preprocessing, check_values, from_user
from camcli.models.request import ModelRequest
from camcli.user_code import describe_failure


def open_factory(name: str, request: ModelRequest) -> Model:
    """The module that the user's function returns, with the preprocessing it may bring.

    Raises:
        ModelError: the module or function does not exist or fails, or returns something else.
    """
    if request.weights != "default":
        raise ModelError(
            f"--weights {request.weights}: a factory makes its own weights. Use --checkpoint, or do it in the factory."
        )
    with enable_autograd():  # what the user's file sets for the whole process ends here
        module, preprocessing = _build_module(name)
    check_values(module)
    loaded = WeightedModel(module, None, "factory")
    if request.checkpoint is not None:
        loaded = fit_checkpoint(Blueprint(f"factory:{name}", lambda _: module, None, fixed=True), request)
    usual = from_user(preprocessing, module, request)
    return Model(
        module=module,
        preprocessing=usual,
        assumptions=() if preprocessing is not None else assumed_preprocessing(usual, module, request),
        name=name,
        source="factory",
        weights=loaded.weights,
        class_names=own_names(module, loaded.names),
        multi_label=is_multi_label(module),
        notes=loaded.notes,
    )


def _build_module(name: str) -> tuple[nn.Module, Any]:
    function = _import_function(name)
    try:
        model = function()
    except (Exception, SystemExit) as error:  # a user's function can fail in any way
        raise ModelError(f"model factory:{name}: it raised {describe_failure(error)}") from error
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], nn.Module):
        return model
    if isinstance(model, nn.Module):
        return model, None
    raise ModelError(
        f"model factory:{name}: it returned a {type(model).__name__}. Return a torch.nn.Module, or a pair of module "
        "and preprocessing."
    )


def _import_function(name: str) -> Callable[[], Any]:
    module_name, colon, path = name.partition(":")
    if not colon or not module_name or not path:
        raise ModelError(f"model factory:{name}: give the module and the function, factory:package.module:function.")
    try:
        value: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module can fail in any way while it is imported
        raise ModelError(
            f"model factory:{name}: module {module_name} cannot be imported ({describe_failure(error)}). It is "
            f"looked for in the working directory ({Path.cwd()}) and among the installed packages."
        ) from error
    for part in path.split("."):
        if not hasattr(value, part):
            public = [n for n in vars(value) if not n.startswith("_")] if hasattr(value, "__dict__") else []
            raise ModelError(f"model factory:{name}: {module_name} has no {part!r}.{did_you_mean(part, public)}")
        value = getattr(value, part)
    if not callable(value) or (isinstance(value, nn.Module) and not isinstance(value, type)):
        kind = type(value).__name__
        raise ModelError(f"model factory:{name}: {path} is a {kind}. Name a function that returns the model.")
    function: Callable[[], Any] = value
    return function


def own_names(module: nn.Module, saved: Any = None) -> ClassNames | None:
    """The class names that a user's module states, or those that its checkpoint does."""
    inner = unwrap(module)
    own = [getattr(inner, name, None) for name in ("class_names", "classes")]
    stated = (saved, *own, getattr(getattr(inner, "config", None), "id2label", None))
    return next((names for value in stated if (names := names_from(value, None)) is not None), None)


def is_multi_label(module: nn.Module) -> bool:
    """Whether a user's module states that its classes do not exclude each other."""
    inner = unwrap(module)
    problem = getattr(getattr(inner, "config", None), "problem_type", None)
    return getattr(inner, "multi_label", False) is True or problem == "multi_label_classification"
