"""How a module is run: its precision, its logits, and what runs its prefix."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from camcli.errors import ModelError


def parameter_dtype(module: nn.Module) -> torch.dtype:
    """The floating type of the module's first parameter, in which it expects its input."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


class PrefixRunner(Protocol):
    """Runs the prefix of a network in a way of its own, such as compiled (see :mod:`camcli.capture.prefix`)."""

    @property
    def batch_size(self) -> int:
        """Images that it takes at a time."""

    def run_for(self, inputs: Tensor) -> AbstractContextManager[None]:
        """Inside, calling the module runs what follows the prefix; or all of it, for inputs that do not fit."""


@dataclass(frozen=True)
class Forward:
    """How a module is run.

    Attributes:
        module: takes (N, C, H, W).
        logits: from the module's output to (N, classes).
        precision: ``fp32``, or ``bf16`` or ``fp16`` autocast. A module whose own parameters are in half precision
            runs in that.
        prefix: runs the part before the target layers; None where the module does so itself.
    """

    module: nn.Module
    logits: Callable[[Any], Tensor]
    precision: str = "fp32"
    prefix: PrefixRunner | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) float32 of inputs (N, C, H, W) float32."""
        inputs = inputs.to(self.own_dtype)
        with self.autocast(inputs.device.type), self._prefix_for(inputs):
            output = self.module(inputs)
        logits = self.logits(output).float()
        if len(logits) != len(inputs):
            raise ModelError(
                f"the model returns scores of {len(logits)} where {len(inputs)} images went in. If it takes one image "
                "at a time, give --batch-size 1."
            )
        return logits

    @property
    def eager(self) -> Forward:
        """The same with every module running as it is written, for hooks on what comes before the layer."""
        return replace(self, prefix=None)

    @property
    def own_dtype(self) -> torch.dtype:
        """See :func:`parameter_dtype`."""
        return parameter_dtype(self.module)

    def autocast(self, device: str) -> Any:
        """The context that a pass runs in."""
        if self.own_dtype != torch.float32:
            return nullcontext()
        if self.precision == "fp32":
            return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
        return torch.autocast(device, torch.bfloat16 if self.precision == "bf16" else torch.float16)

    def _prefix_for(self, inputs: Tensor) -> AbstractContextManager[None]:
        return self.prefix.run_for(inputs) if self.prefix is not None else nullcontext()
