"""One pass with the graph cut at the target layer.

The parameters ask for no gradient, so the trunk runs as fast and as lean as inference. Where the first target layer
returns, its activation is detached, made a leaf, and a clone of it goes on through the model; autograd then records
the way from the layer to the score and nothing else. One ``torch.autograd.grad`` of all scores together gives the
gradient of every image of the batch at once, since an image's score depends on its own activation only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from camcli.capture.gradients import gradients_of
from camcli.capture.outputs import main_tensor, with_main_tensor
from camcli.errors import LayerError


class Ahead(Protocol):
    """Runs the part of a module before its target layers in a way of its own (see :mod:`camcli.capture.prefix`)."""

    @property
    def batch(self) -> int:
        """Images that it takes at a time."""

    def of(self, inputs: Tensor) -> AbstractContextManager[None]:
        """Inside, calling the module runs the rest alone; or all of it, for inputs that this cannot be done for."""


@dataclass(frozen=True)
class Forward:
    """How a module is run.

    Attributes:
        module: takes (N, C, H, W).
        logits: from the module's output to (N, classes).
        precision: ``fp32``, or ``bf16`` or ``fp16`` autocast. A module whose own parameters are in half precision
            runs in that.
        ahead: what runs the part before the target layers; None where the module does so itself.
    """

    module: nn.Module
    logits: Callable[[Any], Tensor]
    precision: str = "fp32"
    ahead: Ahead | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) float32 of inputs (N, C, H, W) float32."""
        own = self.own_dtype
        inputs = inputs.to(own) if own != torch.float32 else inputs
        with self.autocast(inputs.device.type), self.ahead.of(inputs) if self.ahead is not None else nullcontext():
            output = self.module(inputs)
        return self.logits(output).float()

    @property
    def plain(self) -> Forward:
        """The same with every module running as it is written, for those who look into what comes before the layer."""
        return replace(self, ahead=None)

    @property
    def own_dtype(self) -> torch.dtype:
        """In which the module keeps its parameters."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    def autocast(self, device: str) -> Any:
        """The context that a pass runs in."""
        if self.own_dtype != torch.float32:
            return nullcontext()
        if self.precision == "fp32":
            return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
        return torch.autocast(device, torch.bfloat16 if self.precision == "bf16" else torch.float16)


@dataclass(frozen=True)
class Captured:
    """What one pass left behind.

    Attributes:
        logits: (N, classes) float32, with the graph back to the layers.
        activations: by layer path, as the layer returned them, detached.
        nodes: the same tensors inside the graph.
    """

    logits: Tensor
    activations: Mapping[str, Tensor]
    nodes: Mapping[str, Tensor] = field(repr=False)

    def gradients(self, scores: Tensor, paths: Sequence[str], *, again: bool = False) -> dict[str, Tensor]:
        """∂ scores[i] / ∂ activation of image i, float32, in the shape of the activation.

        Args:
            scores: (N,), computed from :attr:`logits`.
            paths: layers wanted.
            again: keep the graph for another call.

        Raises:
            LayerError: the scores do not depend on one of the layers.
        """
        found = gradients_of(scores, [self.nodes[path] for path in paths], again=again)
        missing = [path for path, gradient in zip(paths, found, strict=True) if gradient is None]
        if missing:
            raise LayerError(_no_gradient(missing))
        return {path: gradient for path, gradient in zip(paths, found, strict=True) if gradient is not None}

    def curvature(self, scores: Tensor, path: str, direction: Tensor) -> Tensor:
        """The Hessian of scores[i] with respect to the activation of image i, times a direction; the graph is kept.

        Args:
            scores: (N,), computed from :attr:`logits`.
            path: the layer.
            direction: in the shape of the activation.

        Returns:
            Float32, in the shape of the activation; zeros where the tail is piecewise linear.
        """
        node = self.nodes[path]
        (first,) = torch.autograd.grad(scores.sum(), node, create_graph=True)
        if not first.requires_grad:
            return torch.zeros_like(node, dtype=torch.float32)
        (second,) = gradients_of((first.float() * direction).flatten(1).sum(1), [node], again=True)
        return torch.zeros_like(node, dtype=torch.float32) if second is None else second


def capture(forward: Forward, inputs: Tensor, paths: Sequence[str], *, gradients: bool = True) -> Captured:
    """Run the module once and keep what it returns at some layers.

    The module should be inside :func:`freeze`, else autograd records the trunk as well.

    Args:
        forward: how to run it.
        inputs: (N, C, H, W) float32.
        paths: canonical paths of the layers.
        gradients: record the graph from the layers to the logits.

    Raises:
        LayerError: a layer does not run, runs more than once, returns no tensor, or is not there.
    """
    nodes: dict[str, Tensor] = {}
    modules = dict(forward.module.named_modules())
    with ExitStack() as stack:
        for path in dict.fromkeys(paths):
            if path not in modules:
                raise LayerError(f"the model has no layer {path!r}. `cam layers` lists them.")
            hook = _keep(path, nodes, gradients)
            stack.callback(modules[path].register_forward_hook(hook).remove)
        stack.enter_context(torch.set_grad_enabled(gradients))
        logits = forward(inputs)
    silent = [path for path in paths if path not in nodes]
    if silent:
        raise LayerError(f"layer {silent[0]!r} does not run in a forward pass. `cam layers` lists those that do.")
    return Captured(logits, {path: node.detach() for path, node in nodes.items()}, nodes)


def _keep(path: str, nodes: dict[str, Tensor], gradients: bool) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        if path in nodes:
            raise LayerError(
                f"layer {path!r} runs more than once in a forward pass, so it has no single activation. "
                "Name a layer around or behind it; `cam layers` lists them."
            )
        tensor = main_tensor(output)
        if tensor is None:
            raise LayerError(f"layer {path!r} returns {type(output).__name__} without a tensor.")
        # A clone goes on, so that an in-place operation behind the layer changes neither the activation nor its node.
        if not gradients:
            nodes[path] = tensor
            return with_main_tensor(output, tensor.clone())
        # Stays on until the caller's no_grad block ends, where the layer lies inside one: the tail must be recorded.
        torch.set_grad_enabled(True)
        with torch.inference_mode(False):
            if not tensor.requires_grad:
                plain = tensor.clone() if tensor.is_inference() else tensor.detach()
                tensor = plain.requires_grad_()
            nodes[path] = tensor
            return with_main_tensor(output, tensor.clone())

    return hook


def _no_gradient(paths: Sequence[str]) -> str:
    return (
        f"the class score has no gradient at layer {', '.join(paths)}: nothing on the way to the score uses it, or the "
        "model detaches it. Take another layer (`cam layers --verify` shows which have one) or a method without "
        "gradients (eigencam)."
    )
