"""A checkpoint into an architecture: head size and input channels as in the file, every key accounted for."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from camcli.errors import CheckpointError, is_out_of_memory
from camcli.models.checkpoint_file import read_checkpoint
from camcli.models.model import unwrap
from camcli.models.names import ClassNames, names_from
from camcli.models.request import ModelRequest
from camcli.models.state_dict import (
    AlignedState,
    Difference,
    State,
    adopt_head,
    align,
    as_names,
    compare,
    find_state_dict,
    listed,
    other_copies,
)


@dataclass(frozen=True)
class Shape:
    """What a checkpoint decides about an architecture; None leaves it as the architecture has it."""

    num_classes: int | None = None
    channels: int | None = None


Build = Callable[[Shape], nn.Module]


@dataclass(frozen=True)
class Blueprint:
    """An architecture that can be built for a checkpoint.

    Attributes:
        name: of the model, for messages.
        build: makes the module with random weights.
        num_classes: that ``build(Shape())`` gives; None for an encoder or where that is unknown.
        heads: dotted names of the classifier in the module; empty where they are unknown.
        fixed: the shape cannot be asked for: ``build`` gives what it gives.
    """

    name: str
    build: Build
    num_classes: int | None
    heads: tuple[str, ...] = ()
    fixed: bool = False


@dataclass(frozen=True)
class WeightedModel:
    """A module with the weights of a checkpoint, or with random or published ones.

    Attributes:
        num_classes: None where there is no classifier, or where that is unknown.
        weights: where they come from, for the index: the checkpoint and the part of it that was used.
        channels: input channels where a checkpoint decided them.
        names: class names in the checkpoint, unchecked.
    """

    module: nn.Module
    num_classes: int | None
    weights: str
    channels: int | None = None
    names: Any = None
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> ClassNames | None:
        """The names, where they are as many as the classes."""
        return names_from(self.names, self.num_classes) if self.num_classes else None


def fit_checkpoint(blueprint: Blueprint, request: ModelRequest) -> WeightedModel:
    """Build the architecture as the checkpoint of a request needs it, and load the weights.

    Raises:
        CheckpointError: the file cannot be read safely, or does not fit; keys and shapes are listed.
    """
    assert request.checkpoint is not None
    path = Path(request.checkpoint)
    content = read_checkpoint(path, trust=request.trust_checkpoint)
    weights = find_state_dict(content)
    if weights is None:
        kind = type(content).__name__
        keys = f" with the keys {listed(map(str, content))}" if isinstance(content, dict) and content else ""
        raise CheckpointError(f"checkpoint {path}: no weights in it; it holds a {kind}{keys}.")
    state, where = weights
    shape, notes = Shape(), []
    if others := other_copies(content, where):
        notes.append(f"the checkpoint's {where} is used; it also holds {', '.join(others)}")
    module = blueprint.build(shape)
    aligned, different = _match(state, module)
    wanted_shape = _shape_in_file(aligned, different, module, blueprint)
    if wanted_shape != shape and not blueprint.fixed:
        shape = wanted_shape
        module = blueprint.build(shape)
        aligned, different = _match(state, module)
    num_classes = shape.num_classes or blueprint.num_classes
    if different and (bare := _without_head(module, different, blueprint)) is not None:
        module, num_classes = bare, None
        aligned, different = _match(state, module)
        notes.append(f"checkpoint {path.name} has no classifier: the model is an encoder")
    if different:
        raise CheckpointError(_misfit(path, blueprint, different, len(aligned.state)))
    expected = request.num_classes
    if expected is not None and num_classes is not None and expected != num_classes:
        raise CheckpointError(f"checkpoint {path}: it has {num_classes} classes, not --num-classes {expected}.")
    _load(unwrap(module), aligned.state)
    if aligned.outside:
        notes.append(f"checkpoint {path.name}: not part of the model and left out: {listed(aligned.outside)}")
    label = f"checkpoint {path.name}" + (f" ({where})" if where else "")
    return WeightedModel(module, num_classes, label, shape.channels, as_names(content), tuple(notes))


def _match(state: State, module: nn.Module) -> tuple[AlignedState, Difference]:
    inner = unwrap(module)
    expected = inner.state_dict()
    parameters = [name for name, _ in inner.named_parameters(remove_duplicate=False)]
    aligned = align(state, expected)
    different = compare(aligned.state, expected, parameters)
    if different.missing:
        aligned = adopt_head(aligned, state, expected, different)
        different = compare(aligned.state, expected, parameters)
    if different:
        translated = _translate(aligned.state, inner)
        if translated is not None:
            other = compare(translated, expected, parameters)
            if len(other.missing) + len(other.unexpected) < len(different.missing) + len(different.unexpected) or (
                not (other.missing or other.unexpected) and len(other.shapes) < len(different.shapes)
            ):
                return replace(aligned, state=translated), other
    return aligned, different


def _load(module: nn.Module, state: State) -> None:
    # The module's own dict, filled: it also carries the versions that modules ask for when they load (MNASNet).
    own = module.state_dict()
    own.update({key: tensor for key, tensor in state.items() if key in own})
    module.load_state_dict(own, strict=False)


def _translate(state: State, module: nn.Module) -> State | None:
    """The state dict through timm's own translation of original and outdated checkpoints of this architecture."""
    translate = getattr(sys.modules.get(type(module).__module__), "checkpoint_filter_fn", None)
    if translate is None:
        return None
    try:
        return dict(translate(dict(state), module))
    except Exception as error:  # it expects checkpoints of certain origins and fails on others: those keep their keys
        if is_out_of_memory(error):
            raise
        return None


def _shape_in_file(aligned: AlignedState, different: Difference, module: nn.Module, blueprint: Blueprint) -> Shape:
    classes: set[int] = set()
    channels: set[int] = set()
    for file, own in different.shapes.values():
        if len(file) == len(own) and file[0] != own[0] and own[0] == blueprint.num_classes and file[1:] == own[1:]:
            classes.add(file[0])
        elif len(file) == len(own) == 4 and file[1] != own[1] == 3 and file[2:] == own[2:] and file[0] == own[0]:
            channels.add(file[1])
    if not classes and blueprint.num_classes is None:
        heads = [aligned.state[f"{h}.weight"] for h in blueprint.heads if f"{h}.weight" in different.unexpected]
        classes = {head.shape[0] for head in heads}
    return Shape(classes.pop() if len(classes) == 1 else None, channels.pop() if len(channels) == 1 else None)


def _without_head(module: nn.Module, different: Difference, blueprint: Blueprint) -> nn.Module | None:
    """The module with its classifier replaced by nothing, where the classifier is all that the file lacks."""
    if different.unexpected or different.shapes or blueprint.num_classes is None:
        return None
    owners = {key.rpartition(".")[0] for key in different.missing}
    if len(owners) != 1 or not (owner := owners.pop()):
        return None
    inner = unwrap(module)
    head = inner.get_submodule(owner)
    if not isinstance(head, nn.Linear) or head.out_features != blueprint.num_classes:
        return None
    inner.set_submodule(owner, nn.Identity())
    return module


def _misfit(path: Path, blueprint: Blueprint, different: Difference, keys: int) -> str:
    lines = [f"checkpoint {path}: it does not fit {blueprint.name} ({keys} keys in the file)."]
    if different.missing:
        lines.append(f"Missing: {listed(different.missing)}.")
    if different.unexpected:
        lines.append(f"Unexpected: {listed(different.unexpected)}.")
    if different.shapes:
        shapes = (f"{k} {list(file)} instead of {list(own)}" for k, (file, own) in different.shapes.items())
        lines.append(f"Other shapes: {listed(shapes, 4)}.")
    lines.append(
        "The factory must build the module that was trained, with the same number of classes."
        if blueprint.fixed
        else "Is --model the architecture that was trained? One that was changed by hand needs factory:."
    )
    return " ".join(lines)
