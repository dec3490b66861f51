"""What a user asks for when naming a model."""

from dataclasses import dataclass
from typing import TypedDict

import torch


class ModelSettings(TypedDict, total=False):
    """The keyword arguments of :func:`camcli.models.load_model`; the fields of :class:`ModelRequest`."""

    weights: str
    checkpoint: str | None
    num_classes: int | None
    class_names: str | None
    input_size: int | tuple[int, int] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    resize: str
    device: str | torch.device
    trust_checkpoint: bool
    output_key: str | None
    seed: int


@dataclass(frozen=True)
class ModelRequest:
    """A model's name and everything that decides how it is loaded.

    Attributes:
        name: ``builtin``, ``torchvision:NAME``, ``timm:NAME[.tag]``, ``hf-hub:org/name``,
            ``factory:package.module:function`` or a bare name.
        weights: ``default``, ``random``, or a torchvision weights name.
        checkpoint: a file with weights that replace those of the model.
        num_classes: of the checkpoint, where they cannot be read from it.
        class_names: a file with class names.
        input_size: height and width in pixels instead of the model's own; one number for both.
        mean, std: per channel, of pixels in 0..1; one value counts for all channels.
        resize: how an image comes to the input size; ``own`` is the model's own way.
        device: where the model goes; ``auto`` is CUDA, then MPS, then the CPU.
        trust_checkpoint: allow a checkpoint whose pickle runs code.
        output_key: which entry of the output holds the logits.
        seed: of random weights, so that two runs agree.
    """

    name: str = "builtin"
    weights: str = "default"
    checkpoint: str | None = None
    num_classes: int | None = None
    class_names: str | None = None
    input_size: int | tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: str = "own"
    device: str | torch.device = "cpu"
    trust_checkpoint: bool = False
    output_key: str | None = None
    seed: int = 0

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
        return (self.input_size, self.input_size) if isinstance(self.input_size, int) else self.input_size
