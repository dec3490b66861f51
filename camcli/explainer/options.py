"""What is asked of the methods, and what they return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from camcli.config.settings import SETTINGS
from camcli.layers.layout import Layout
from camcli.methods.score import Link

TargetChoice = Callable[[Tensor], Tensor]
"""From logits (N, classes) float32 to targets (N, T) int64 on the same device; -1: this image has no such target."""

Progress = Callable[[str, int, int], None]
"""Called inside long methods: key of the method, trials done, trials in total (of this image)."""


class ExplainedModel(Protocol):
    """The part of a loaded model that is needed here."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def preprocessing(self) -> Any: ...
    @property
    def num_classes(self) -> int | None: ...
    def logits(self, output: Any) -> Tensor: ...
    def link(self, mode: Any) -> Link: ...


class TargetLayer(Protocol):
    """The part of a target layer that is needed here."""

    @property
    def path(self) -> str: ...
    @property
    def layout(self) -> Layout: ...


@dataclass(frozen=True)
class ExplainOptions:
    """What is asked of the methods.

    Attributes:
        score: ``logit``, ``prob`` or ``neg-logit``.
        precision: ``fp32``, ``tf32``, ``bf16`` or ``fp16``; ``auto`` is bf16 on CUDA and fp32 elsewhere.
        precision_given: the precision was asked for, rather than chosen by default. Unless it was, methods built on
            small differences of scores run their trials in float32.
        fuse: ``none``, ``mean``, ``max`` or ``product`` of the maps of several layers.
        probability: ``auto``, ``softmax``, ``sigmoid`` or ``none``.
        method_options: ``METHOD.KEY=VALUE`` each.
        aug_smooth: average over flips and intensities of the image.
        eigen_smooth: the first principal component of the weighted activations instead of their sum.
        one_at_a_time: the model takes one image in a pass, in trials too.
        strict: on CUDA, an operation without a deterministic kernel is an error.
    """

    score: str = "logit"
    precision: str = "auto"
    precision_given: bool = False
    fuse: str = "none"
    probability: str = "auto"
    method_options: Sequence[str] = ()
    aug_smooth: bool = False
    eigen_smooth: bool = False
    one_at_a_time: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ("score", "precision", "fuse", "probability"):
            SETTINGS[name].check(getattr(self, name))

    def precision_on(self, device: torch.device, *, trials: bool = False) -> str:
        """That of the shared passes, or of the trials of methods that compare scores; never ``auto``."""
        if trials and not self.precision_given:
            return "fp32"
        if self.precision != "auto":
            return self.precision
        return "bf16" if device.type == "cuda" else "fp32"


@dataclass(frozen=True, slots=True)
class MapKey:
    """Which map: the method, the layer (several when fused, None for whole-network methods), the target's position."""

    method: str
    layer: str | tuple[str, ...] | None
    target_number: int


@dataclass(frozen=True)
class ExplainedBatch:
    """The maps of one batch, on the model's device.

    Attributes:
        logits: (N, classes) float32; (N, 0) for a model without a classifier.
        probabilities: (N, classes) float32; NaN where the outputs are values.
        targets: (N, T) int64; -1 where an image has no such target; its maps are then to be ignored.
        maps: (N, h, w) float32 each: raw and signed, on the layer's own grid (the input's for methods that look at
            pixels).
    """

    logits: Tensor
    probabilities: Tensor
    targets: Tensor
    maps: Mapping[MapKey, Tensor]

    def tensors(self) -> list[Tensor]:
        """All of them, in an order that :meth:`with_tensors` takes them in."""
        return [self.logits, self.probabilities, self.targets, *self.maps.values()]

    def with_tensors(self, tensors: Sequence[Tensor]) -> "ExplainedBatch":
        """The same maps with other values."""
        logits, probabilities, targets, *maps = tensors
        return ExplainedBatch(logits, probabilities, targets, dict(zip(self.maps, maps, strict=True)))

    def on_host(self) -> "ExplainedBatch":
        """The same on the CPU."""
        return self.to(Tensor.cpu)

    def to(self, copy: Callable[[Tensor], Tensor]) -> "ExplainedBatch":
        """The same with every tensor copied."""
        return self.with_tensors([copy(own) for own in self.tensors()])
