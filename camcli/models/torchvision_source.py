"""Classification models of torchvision: weights enums, their own transforms."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from camcli.errors import ModelError, did_you_mean, is_out_of_memory
from camcli.models.fit import Blueprint, Shape
from camcli.models.hub import unreachable_reason
from camcli.models.model import Model
from camcli.models.names import ClassNames
from camcli.models.other_tasks import refuse_task, task_of_torchvision
from camcli.models.preparation import from_preset, imagenet
from camcli.models.request import ModelRequest
from camcli.models.sources import fix_seed, imagenet_names, with_weights

_SIZE_ARGUMENT = {"vit": "image_size", "maxvit": "input_size"}  # architectures that are built for one input size


def classifiers() -> list[str]:
    """The names of torchvision's image classification models."""
    import torchvision

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def open_torchvision(name: str, request: ModelRequest) -> Model:
    """The model named ``torchvision:NAME``.

    Raises:
        ModelError: unknown name or weights, or weights that are neither in the cache nor can be downloaded.
    """
    import torchvision

    names = classifiers()
    if (task := task_of_torchvision(name)) is not None:
        raise refuse_task(f"torchvision:{name}", task)
    if name not in names:
        raise ModelError(f"model torchvision:{name}: unknown.{did_you_mean(name, names)} `cam models` lists them.")
    enum = torchvision.models.get_model_weights(name)
    entry = _weights_entry(name, enum, request)
    size = request.size if entry is None or request.size != _preset_size(entry) else None
    build = partial(_random, name, size, request.seed)
    loaded = with_weights(Blueprint(name, build, 1000), request, partial(_pretrained, name, entry, size))
    preset = entry or next(iter(enum), None)
    stated = _names(entry) if request.pretrained else None
    # Published weights without categories are features: torchvision's VGG-16 "features" has a head of NaN.
    headless = request.pretrained and stated is None
    return Model(
        module=loaded.module,
        preprocessing=from_preset(preset.transforms()) if preset is not None else imagenet(),
        name=name,
        source="torchvision",
        weights=loaded.weights,
        num_classes=None if headless else loaded.num_classes,
        class_names=stated or loaded.class_names or imagenet_names(loaded.num_classes if not headless else None),
        notes=loaded.notes,
    )


def _weights_entry(name: str, enum: Any, request: ModelRequest) -> Any:
    """The member of the weights enum that was asked for; a checkpoint's or random weights take its transforms."""
    weights = request.weights.rpartition(".")[2]
    default = getattr(enum, "DEFAULT", None)
    if request.random or weights.casefold() == "default":
        if default is None and request.pretrained:
            raise ModelError(f"model {name}: torchvision has no weights for it. Give --checkpoint or --weights random.")
        return default
    members = {member.name.casefold(): member for member in enum}
    if weights.casefold() not in members:
        listed = ", ".join(member.name for member in enum)
        raise ModelError(f"--weights {request.weights}: unknown for {name}. It has default, random, {listed}.")
    return members[weights.casefold()]


def _names(entry: Any) -> ClassNames | None:
    categories = entry.meta.get("categories")
    if not categories:
        return None
    imagenet = ClassNames.imagenet()  # of the same names, with WordNet ids and synonyms
    return imagenet if tuple(categories) == imagenet.names else ClassNames(categories)


def _random(name: str, size: tuple[int, int] | None, seed: int, shape: Shape) -> nn.Module:
    import torchvision

    options: dict[str, Any] = {} if shape.num_classes is None else {"num_classes": shape.num_classes}
    builder = torchvision.models.get_model_builder(name)
    if name in ("inception_v3", "googlenet"):
        options["init_weights"] = True  # they warn about it otherwise
    if shape.channels is not None:
        raise ModelError(
            f"the checkpoint is of {name} with {shape.channels} input channels; torchvision builds it with 3 only. "
            "Use factory:."
        )
    options |= _size_options(name, size)
    try:
        with fix_seed(seed):
            module: nn.Module = builder(weights=None, **options)
    except (AssertionError, ValueError) as error:
        if size is None:
            raise
        raise ModelError(f"--input-size {size[0]}x{size[1]}: {name} cannot be built for it ({error}).") from error
    return module


def _size_options(name: str, size: tuple[int, int] | None) -> dict[str, Any]:
    argument = _SIZE_ARGUMENT.get(name.partition("_")[0])
    if size is None or argument is None:
        return {}
    if size[0] != size[1]:
        raise ModelError(f"--input-size {size[0]}x{size[1]}: torchvision's {name} takes square inputs only.")
    return {argument: size[0] if argument == "image_size" else size}


def _pretrained(name: str, entry: Any, size: tuple[int, int] | None) -> tuple[nn.Module, str]:
    import torchvision

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(entry.url).path).name
    if not file.is_file() and (reason := unreachable_reason(entry.url)) is not None:
        raise ModelError(
            f"weights {entry} of torchvision:{name}: not in the cache ({file}), and {urlparse(entry.url).netloc} "
            f"cannot be reached ({reason}). Put the file there (from {entry.url}), or give --checkpoint FILE or "
            "--weights random."
        )
    options = _size_options(name, size)
    try:
        if options and name.startswith("vit"):
            return _resize_vit(name, entry, options["image_size"]), str(entry)
        if options:
            raise ModelError(f"--input-size: {name} with torchvision's weights takes {_preset_size(entry)} only.")
        return torchvision.models.get_model(name, weights=entry, progress=False), str(entry)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"weights {entry} of torchvision:{name}: cannot be loaded from {file} ({error}). Delete that file, or give "
            "--checkpoint FILE."
        ) from error


def _resize_vit(name: str, entry: Any, size: int) -> nn.Module:
    from torchvision.models.vision_transformer import interpolate_embeddings

    module: nn.Module = _random(name, (size, size), 0, Shape())
    state = entry.get_state_dict(progress=False, check_hash=True)
    module.load_state_dict(interpolate_embeddings(size, module.patch_size, state))
    return module


def _preset_size(entry: Any) -> tuple[int, int]:
    preset = from_preset(entry.transforms())
    return preset.height, preset.width
