"""How a module is run: its precision, its logits, and what runs its prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from camcli.capture.frozen import are_identical
from camcli.capture.half_precision import CastWeights, cast_weights, find_classifier, in_float32
from camcli.device import HALF
from camcli.errors import ModelError, is_out_of_memory


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
        precision: ``fp32``, ``tf32`` (which :func:`camcli.device.number_format` allows), or ``bf16`` or ``fp16``
            autocast. A module whose own parameters are in half precision runs in that.
        classifier: paths of the parts that run in float32 where the others run in autocast.
        weights: casts of the weights for autocast; None: it casts them in every pass.
        prefix: runs the part before the target layers; None where the module does so itself.
    """

    module: nn.Module
    logits: Callable[[Any], Tensor]
    precision: str = "fp32"
    prefix: PrefixRunner | None = None
    classifier: tuple[str, ...] = ()
    weights: CastWeights | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) float32 of inputs (N, C, H, W) float32."""
        inputs = inputs.to(self.own_dtype)
        with self.autocast(inputs.device.type), self._in_half_precision(), self._prefix_for(inputs):
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
        if self.precision not in HALF:
            return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
        return torch.autocast(device, HALF[self.precision])

    @property
    def is_autocast(self) -> bool:
        """Whether a pass runs in autocast."""
        return self.precision in HALF and self.own_dtype == torch.float32

    def with_classifier(self, inputs: Tensor) -> Forward:
        """The same with the classifier outside autocast, found by a pass of ``inputs`` (N, C, H, W)."""
        if not self.is_autocast:
            return self
        return replace(self, classifier=find_classifier(self.module, lambda: self(inputs)))

    def with_cast_weights(self, inputs: Tensor) -> Forward:
        """The same with the weights cast once, where the logits of ``inputs`` (N, C, H, W) stay the same bit for bit.

        The module must keep its weights as long as this is used.
        """
        weights = cast_weights(self.module, HALF[self.precision], self.classifier) if self.is_autocast else None
        if weights is None:
            return self
        cast = replace(self, weights=weights)
        with torch.no_grad():
            before = self(inputs)
            try:
                now = cast(inputs)
            except RuntimeError as error:  # code that autocast does not reach takes no weights of another type
                if is_out_of_memory(error):
                    raise
                return self
        return cast if are_identical(before, now) else self

    @contextmanager
    def _in_half_precision(self) -> Iterator[None]:
        if not self.is_autocast:
            yield
            return
        with ExitStack() as stack:
            stack.enter_context(in_float32(self.module, self.classifier))
            if self.weights is not None:
                stack.enter_context(self.weights.applied())
            yield

    def _prefix_for(self, inputs: Tensor) -> AbstractContextManager[None]:
        return self.prefix.run_for(inputs) if self.prefix is not None else nullcontext()
