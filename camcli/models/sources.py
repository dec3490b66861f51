"""What every source of models gives to :func:`camcli.models.load_model`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from camcli.errors import ModelError
from camcli.images import Preprocessing
from camcli.models.fit import Blueprint, Shape, fit_checkpoint
from camcli.models.names import ClassNames, names_from
from camcli.models.request import ModelRequest


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A module from one of the sources, with what the source states about it.

    Attributes:
        num_classes: None where there is no classifier.
        probe: the source does not state ``num_classes``; a forward pass shows it.
    """

    module: nn.Module
    preprocessing: Preprocessing
    name: str
    source: str
    weights: str
    num_classes: int | None
    class_names: ClassNames | None = None
    multi_label: bool = False
    probe: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WeightedModel:
    """A module with weights in it, whatever they are."""

    module: nn.Module
    num_classes: int | None
    channels: int | None
    weights: str
    class_names: ClassNames | None = None
    notes: tuple[str, ...] = ()


def with_weights(
    blueprint: Blueprint, request: ModelRequest, pretrained: Callable[[], tuple[nn.Module, str]]
) -> WeightedModel:
    """The architecture with the checkpoint, random or published weights of a request.

    Args:
        blueprint: how to build it.
        request: what the user asked for.
        pretrained: makes it with its published weights, and says which.

    Raises:
        ModelError: ``--num-classes`` with published weights, whose head has another size.
    """
    if request.checkpoint is not None:
        fitted = fit_checkpoint(blueprint, request)
        names = names_from(fitted.names, fitted.num_classes) if fitted.num_classes else None
        return WeightedModel(fitted.module, fitted.num_classes, fitted.channels, fitted.weights, names, fitted.notes)
    if request.random:
        module = blueprint.build(Shape(request.num_classes))
        return WeightedModel(
            module, request.num_classes or blueprint.num_classes, None, f"random (seed {request.seed})"
        )
    if request.num_classes not in (None, blueprint.num_classes):
        has = f"{blueprint.num_classes} classes" if blueprint.num_classes else "no classifier"
        raise ModelError(
            f"--num-classes {request.num_classes}: the published weights of {blueprint.name} have {has}, and a new "
            "head would be untrained. Give --checkpoint FILE, or --weights random."
        )
    module, label = pretrained()
    return WeightedModel(module, blueprint.num_classes, None, label)


def imagenet_names(num_classes: int | None) -> ClassNames | None:
    """The names of ImageNet-1k for a model of 1000 classes."""
    return ClassNames.imagenet() if num_classes == 1000 else None


@contextmanager
def fix_seed(seed: int) -> Iterator[None]:
    """Random weights that are the same in every run, without touching the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
