"""From a model's name to the model: read this to see what a name can be."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor, nn

from camcli.capture import noise
from camcli.capture.failures import describe_failed_pass
from camcli.capture.frozen import copied_buffers
from camcli.device import choose_device, require_memory
from camcli.errors import CamError, ModelError, did_you_mean, is_out_of_memory
from camcli.models.builtin import open_builtin
from camcli.models.embeddings import is_encoder
from camcli.models.factory import open_factory
from camcli.models.in_memory import device_of, open_module
from camcli.models.model import Model, is_distilled, unwrap
from camcli.models.names import ClassNames, names_given
from camcli.models.other_tasks import (
    describe_map,
    refuse_task,
    require_classifier,
    require_images,
    task_of_torchvision,
)
from camcli.models.output_entries import choose_entry
from camcli.models.output_form import OutputForm
from camcli.models.outputs import find_logits
from camcli.models.own_code import importable_from
from camcli.models.request import ModelRequest, ModelSettings
from camcli.models.timm_source import has_model, open_hub, open_timm
from camcli.models.torchvision_source import classifiers, open_torchvision
from camcli.randomness import seeded
from camcli.user_code import describe_failure, is_raised_by_others


def load_model(
    name: str | nn.Module = "builtin", request: ModelRequest | None = None, **settings: Unpack[ModelSettings]
) -> Model:
    """The model of that name, or a module in memory, with its preprocessing and class names.

    A module in memory stays on its device unless another is given, and is changed only while it is used: training mode,
    ``requires_grad``, hooks, gradients and device are as before afterwards.

    Args:
        name: ``builtin``, ``torchvision:NAME``, ``timm:NAME[.tag]``, ``hf-hub:org/name``, ``hf-hub:./folder``,
            ``factory:package.module:function``, or a bare name, which torchvision is asked for first, then timm. Or a
            ``torch.nn.Module``.
        request: all settings as one object, instead of ``name`` and ``settings``.
        settings: the other fields of :class:`ModelRequest`.

    Raises:
        ModelError: unknown name, weights that are not at hand, an output without logits.
        CheckpointError: a checkpoint that is damaged, unsafe or does not fit.
        ConfigError: a class-names file or preprocessing values that cannot be used.
        DeviceError: the device is not there, or has too little memory.
        TypeError: an argument of a type that is not accepted.
    """
    model_request = request or _request(name, settings)
    device = _device(model_request)
    with _imports_of(model_request), require_memory(device, model_request.name), _failures_of(model_request.name):
        return _load(model_request, device)


@contextmanager
def _failures_of(name: str) -> Iterator[None]:
    """Whatever a library raises about what the user named is an error of the user's."""
    try:
        yield
    except CamError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or not is_raised_by_others(error):
            raise
        raise ModelError(f"model {name}: it cannot be loaded ({describe_failure(error)}).") from error


def _request(name: str | nn.Module, settings: ModelSettings) -> ModelRequest:
    if isinstance(name, nn.Module):
        return ModelRequest(name=type(unwrap(name)).__name__, module=name, **settings)
    if isinstance(name, str):
        return ModelRequest(name=name, **settings)
    raise TypeError(f"model: {type(name).__name__} is not accepted. Give the name of a model, or a torch.nn.Module.")


def _device(request: ModelRequest) -> torch.device:
    if request.device is None and request.module is not None:
        return device_of(request.module)
    return choose_device(str(request.device or "cpu"))


def _imports_of(request: ModelRequest) -> AbstractContextManager[None]:
    """A user's code may import more when it first runs, and so inside the trial pass."""
    if not request.name.startswith("factory:"):
        return nullcontext()
    return importable_from(str(Path.cwd()), first=True)  # first, as with `python -m`


def _load(request: ModelRequest, device: torch.device) -> Model:
    opened = open_source(request)
    preprocessing = opened.preprocessing.changed(
        input_size=request.size, mean=request.channel_mean, std=request.channel_std, resize=request.resize
    )
    model = replace(opened, preprocessing=preprocessing, output_key=request.output_key, device=device)
    if not model.is_own:
        model.module.to(device).eval().requires_grad_(False)
    if model.is_own or request.size is not None:
        output = _run_trial(model)  # a user's module does not state its number of classes: a pass shows it
        model = replace(model, trial=output)
        model = _with_classes(model, output, request) if model.is_own else model
    return replace(model, class_names=_class_names(model, request))


def open_source(request: ModelRequest) -> Model:
    """The model as its source states it, before the flags that change preprocessing and names."""
    if request.module is not None:
        return open_module(request.module, request)
    prefix, colon, rest = request.name.partition(":")
    openers = {
        "torchvision": open_torchvision, "timm": open_timm, "hf-hub": open_hub, "hf_hub": open_hub,
        "factory": open_factory,
    }  # fmt: skip
    if colon and prefix in openers:
        return openers[prefix](rest, request)
    if colon:
        prefixes = ["torchvision", "timm", "hf-hub", "factory"]
        raise ModelError(
            f"model {request.name}: unknown source {prefix!r}.{did_you_mean(prefix, prefixes)} "
            f"Give one of {', '.join(p + ':' for p in prefixes)} or a bare name."
        )
    if request.name == "builtin":
        return open_builtin(request)
    return _open_bare(request.name, request)


def _open_bare(name: str, request: ModelRequest) -> Model:
    in_torchvision, in_timm = classifiers(), has_model(name)
    if name in in_torchvision:
        other = f"; timm has one too (timm:{name})" if in_timm else ""
        opened = open_torchvision(name, request)
        return replace(opened, notes=(f"{name} is torchvision's{other}", *opened.notes))
    if in_timm:
        opened = open_timm(name, request)
        return replace(opened, notes=(f"{name} is timm's", *opened.notes))
    if (task := task_of_torchvision(name)) is not None:
        raise refuse_task(name, task)
    import timm

    names = ["builtin", *in_torchvision, *timm.list_models()]
    if name.strip() and os.path.isdir(name):
        raise ModelError(f"model {name}: a folder. Where it is in timm's layout, give hf-hub:{_explicit(name)}.")
    if name.strip() and os.path.isfile(name):
        raise ModelError(
            f"model {name}: a file. Weights go to --checkpoint {name}, with --model for the architecture that they are "
            "of; your own code, to factory:package.module:function."
        )
    raise ModelError(
        f"model {name}: neither torchvision nor timm has it.{did_you_mean(name, names)} `cam models` lists what can be "
        "named; for your own code, factory:package.module:function."
    )


def _explicit(path: str) -> str:
    """A relative path that cannot be taken for a name on the hub."""
    return path if path.startswith((".", "/", "~")) else f"./{path}"


def _run_trial(model: Model) -> object:
    """The output of one forward pass on noise: does the module take inputs of this shape at all?"""
    pre = model.preprocessing
    image = noise(pre, 1, model.device)
    with model.prepared() as module, copied_buffers(module), seeded(0), torch.no_grad():
        try:
            output = module(image)
        except (Exception, SystemExit) as error:  # a user's module can fail in any way
            if is_out_of_memory(error):
                raise
            require_images(model.name, module)
            raise ModelError(f"model {model.name}: {describe_failed_pass(error, image.shape)}") from error
    if model.output_key is None:
        require_classifier(model.name, output, (pre.height, pre.width))
    return output


def _with_classes(model: Model, output: object, request: ModelRequest) -> Model:
    """A user's module with its number of classes, by its output for one image; None for an encoder."""
    if model.output_key is None and _is_encoder(model.module, output):
        return replace(model, output=OutputForm(note=describe_map(output, model.preprocessing)))
    if model.output_key is None and not is_distilled(model.module):
        names = model.class_names if request.class_names is None else names_given(request.class_names)
        choice = choose_entry(output, None if names is None else len(names))
        model = replace(model, output=OutputForm(key=choice.key))
    if len(model.raw(output)) > 1 and len(numbers := _as_one_row(model).raw(output)) == 1:
        return replace(_as_one_row(model), num_classes=numbers.shape[1])
    return replace(model, num_classes=model.raw(output).shape[1])


def _as_one_row(model: Model) -> Model:
    return replace(model, output=replace(model.output, is_row=True))


def _is_encoder(module: nn.Module, output: object) -> bool:
    """Whether a user's module has no classifier: it declares no classes, its head is empty, or its output is a map."""
    inner = unwrap(module)
    if getattr(inner, "num_classes", None) == 0:
        return True
    if any(isinstance(getattr(inner, name, None), nn.Identity) for name in ("fc", "classifier", "head", "heads")):
        return True
    if is_encoder(inner, output):
        return True
    is_plain = isinstance(output, Tensor) and output.is_floating_point() and output.layout == torch.strided
    if not is_plain:  # what is wrong with them, find_logits says
        return False
    with suppress(ModelError):
        find_logits(output)
        return False
    return True


def _class_names(model: Model, request: ModelRequest) -> ClassNames | None:
    names = model.class_names
    if request.class_names is not None:
        names = names_given(request.class_names)
        if model.num_classes not in (None, len(names)) and not _are_of_one_output(model, names):
            where = f" {request.class_names}" if isinstance(request.class_names, str | os.PathLike) else ""
            raise ModelError(
                f"--class-names{where}: {len(names)} name{'s' * (len(names) != 1)} for the {model.num_classes} classes "
                f"of {model.name}."
            )
    elif names is not None and model.num_classes != len(names) and not _are_of_one_output(model, names):
        return None
    return names


def _are_of_one_output(model: Model, names: ClassNames) -> bool:
    """Whether these are the two classes that a single output decides between."""
    return model.num_classes == 1 and len(names) == 2
