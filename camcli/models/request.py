"""What a user asks for when naming a model."""

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

import torch
from torch import nn

Names: TypeAlias = str | os.PathLike[str] | Sequence[str] | Mapping[Any, Any]
"""A file with class names, or the names: a sequence in the order of the outputs, or a mapping in either direction."""


class ModelSettings(TypedDict, total=False):
    """The keyword arguments of :func:`camcli.models.load_model`; the fields of :class:`ModelRequest`."""

    weights: str
    checkpoint: str | None
    num_classes: int | None
    class_names: Names | None
    input_size: int | Sequence[int] | None
    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    resize: str
    device: str | torch.device | None
    trust_checkpoint: bool
    output_key: str | None
    seed: int
    preprocessing: Any


@dataclass(frozen=True)
class ModelRequest:
    """A model's name and everything that decides how it is loaded.

    Attributes:
        name: ``builtin``, ``torchvision:NAME``, ``timm:NAME[.tag]``, ``hf-hub:org/name``,
            ``factory:package.module:function`` or a bare name.
        weights: ``default``, ``random``, or a torchvision weights name.
        checkpoint: a file with weights that replace those of the model.
        num_classes: of the checkpoint, where they cannot be read from it.
        class_names: a file with class names, or the names themselves.
        input_size: height and width in pixels instead of the model's own; one number for both.
        mean, std: per channel, of pixels in 0..1; one value counts for all channels.
        resize: how an image comes to the input size; ``own`` is the model's own way.
        device: where the model goes; ``auto`` is CUDA, then MPS, then the CPU. None is the CPU, and for a module in
            memory the device it is on.
        trust_checkpoint: allow a checkpoint whose pickle runs code.
        output_key: which entry of the output holds the logits.
        seed: of random weights, so that two runs agree.
        preprocessing: of a module in memory: a :class:`camcli.images.Preprocessing`, a dict in timm's terms, a preset
            of torchvision, or a callable from a Pillow image to a tensor (channels, height, width).
        module: a module in memory, in place of a name.

    Raises:
        TypeError: a value of a type that is not accepted.
    """

    name: str = "builtin"
    weights: str = "default"
    checkpoint: str | None = None
    num_classes: int | None = None
    class_names: Names | None = None
    input_size: int | Sequence[int] | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    resize: str = "own"
    device: str | torch.device | None = None
    trust_checkpoint: bool = False
    output_key: str | None = None
    seed: int = 0
    preprocessing: Any = None
    module: nn.Module | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.output_key, str | int | None) or isinstance(self.output_key, bool):
            raise TypeError(f"output_key={self.output_key!r}: give the name or the number of an entry of the output.")
        _ = self.size, self.channel_mean, self.channel_std  # raise where a type is wrong

    @property
    def random(self) -> bool:
        """Whether the weights are to be random."""
        return self.weights == "random"

    @property
    def pretrained(self) -> bool:
        """Whether the weights come from the model's publisher."""
        return not self.random and self.checkpoint is None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) asked for, or None."""
        return None if self.input_size is None else _size(self.input_size)

    @property
    def channel_mean(self) -> tuple[float, ...] | None:
        """``mean`` as a sequence, one value or one a channel."""
        return None if self.mean is None else _floats("mean", self.mean)

    @property
    def channel_std(self) -> tuple[float, ...] | None:
        """``std`` as a sequence, one value or one a channel."""
        return None if self.std is None else _floats("std", self.std)


def _floats(name: str, value: object) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in _numbers(value))
        if not numbers:
            raise TypeError
        return numbers
    except TypeError as error:
        raise TypeError(f"{name}={value!r}: give a number, or a sequence of numbers, one a channel.") from error


def _size(value: object) -> tuple[int, int]:
    try:
        numbers = [operator.index(number) for number in _numbers(value)]
        height, width = numbers * (2 if len(numbers) == 1 else 1)
    except (TypeError, ValueError) as error:
        raise TypeError(f"input_size={value!r}: give a whole number, or (height, width).") from error
    return height, width


def _numbers(value: Any) -> list[Any]:
    numbers = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    if any(isinstance(number, str | bool) for number in numbers):
        raise TypeError
    return numbers
