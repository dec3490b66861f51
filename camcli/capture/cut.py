"""One pass with the graph cut at the target layer.

The parameters require no gradient, so the prefix of the network (what runs before the layer) costs the time and memory
of inference. Where the first target layer returns, its activation is detached and made a leaf, and a clone of it goes
on through the model; autograd then records the way from the layer to the score and nothing else. One
``torch.autograd.grad`` of all scores together gives the gradient of every image of the batch at once, since an image's
score depends on its own activation only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from camcli.capture.forward import Forward
from camcli.capture.gradients import gradients_of
from camcli.capture.hooks import hook_calls, split_call
from camcli.capture.outputs import main_tensor, with_main_tensor
from camcli.errors import LayerError


@dataclass(frozen=True)
class CapturedPass:
    """What one pass gave.

    Attributes:
        logits: (N, classes) float32, with the graph back to the layers.
        activations: by layer path, as the layer returned them, detached.
        nodes: the same tensors inside the graph.
    """

    logits: Tensor
    activations: Mapping[str, Tensor]
    nodes: Mapping[str, Tensor] = field(repr=False)

    def gradients(self, scores: Tensor, paths: Sequence[str], *, keep_graph: bool = False) -> dict[str, Tensor]:
        """∂ scores[i] / ∂ activation of image i, float32, in the shape of the activation.

        Args:
            scores: (N,), computed from :attr:`logits`.
            paths: layers wanted.
            keep_graph: keep the graph for another call.

        Raises:
            LayerError: the scores do not depend on one of the layers.
        """
        gradients = gradients_of(scores, [self.nodes[path] for path in paths], keep_graph=keep_graph)
        by_path = {path: gradient for path, gradient in zip(paths, gradients, strict=True) if gradient is not None}
        missing = [path for path in paths if path not in by_path]
        if missing:
            raise LayerError(_no_gradient(missing))
        return by_path

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
        (second,) = gradients_of((first.float() * direction).flatten(1).sum(1), [node], keep_graph=True)
        return torch.zeros_like(node, dtype=torch.float32) if second is None else second


def capture(forward: Forward, inputs: Tensor, paths: Sequence[str], *, gradients: bool = True) -> CapturedPass:
    """Run the module once and keep what it returns at some layers.

    The module should be inside :func:`freeze`, else autograd records the prefix as well.

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
    for path in paths:
        if split_call(path)[0] not in modules:
            raise LayerError(f"the model has no layer {path!r}. `cam layers` lists them.")
    with hook_calls(forward.module, paths, partial(_cut, nodes, gradients)), torch.set_grad_enabled(gradients):
        logits = forward(inputs)
    missing = [path for path in paths if path not in nodes]
    if missing:
        raise LayerError(f"layer {missing[0]!r} does not run in a forward pass. `cam layers` lists those that do.")
    return CapturedPass(logits, {path: node.detach() for path, node in nodes.items()}, nodes)


def _cut(nodes: dict[str, Tensor], gradients: bool, path: str, output: Any) -> Any:
    """Keep the activation of a layer in ``nodes``, a leaf where gradients are wanted; a clone replaces the output."""
    if path in nodes:
        raise LayerError(
            f"layer {path!r} runs more than once in a forward pass, so it has no single activation. "
            f"Name one of its calls (--layer {path}@1), or a layer around or behind it; `cam layers` lists them."
        )
    tensor = main_tensor(output)
    if tensor is None:
        raise LayerError(f"layer {path!r} returns {type(output).__name__} without a tensor.")
    # The clone goes on: an in-place operation behind the layer would change the activation, and a leaf refuses it.
    if not gradients:
        nodes[path] = tensor
        return with_main_tensor(output, tensor.clone())
    # The model may run the layer under no_grad or inference_mode: the tail must be recorded all the same. The grad
    # mode stays on until that block ends.
    torch.set_grad_enabled(True)
    with torch.inference_mode(False):
        if not tensor.requires_grad:
            leaf = tensor.clone() if tensor.is_inference() else tensor.detach()
            tensor = leaf.requires_grad_()  # of a second layer, behind the first, the graph goes on instead
        nodes[path] = tensor
        return with_main_tensor(output, tensor.clone())


def _no_gradient(paths: Sequence[str]) -> str:
    return (
        f"the class score has no gradient at layer {', '.join(paths)}: nothing on the way to the score uses it, or the "
        "model detaches it. Take another layer (`cam layers --verify` shows which have one) or a method without "
        "gradients (eigencam)."
    )
