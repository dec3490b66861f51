"""What the sources of models share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from camcli.errors import ModelError
from camcli.models.fit import Blueprint, Shape, WeightedModel, fit_checkpoint
from camcli.models.names import ClassNames
from camcli.models.request import ModelRequest


def with_weights(
    blueprint: Blueprint, request: ModelRequest, pretrained: Callable[[], tuple[nn.Module, str]]
) -> WeightedModel:
    """The architecture with the checkpoint, random or published weights of a request.

    Args:
        blueprint: how to build it.
        request: what the user asked for.
        pretrained: builds it with its published weights; returns it and their name.

    Raises:
        ModelError: ``--num-classes`` with published weights, whose head has another size.
    """
    if request.checkpoint is not None:
        return fit_checkpoint(blueprint, request)
    if request.random:
        module = blueprint.build(Shape(request.num_classes))
        return WeightedModel(module, request.num_classes or blueprint.num_classes, f"random (seed {request.seed})")
    if request.num_classes not in (None, blueprint.num_classes):
        has = f"{blueprint.num_classes} classes" if blueprint.num_classes else "no classifier"
        raise ModelError(
            f"--num-classes {request.num_classes}: the published weights of {blueprint.name} have {has}, and a new "
            "head would be untrained. Give --checkpoint FILE, or --weights random."
        )
    module, label = pretrained()
    return WeightedModel(module, blueprint.num_classes, label)


def imagenet_names(num_classes: int | None) -> ClassNames | None:
    """The names of ImageNet-1k for a model of 1000 classes."""
    return ClassNames.imagenet() if num_classes == 1000 else None


@contextmanager
def fix_seed(seed: int) -> Iterator[None]:
    """Random weights that are the same in every run, without touching the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
