"""Gradients of the scores of a batch, right in half precision too."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

FP16_SCALE = 1024.0
"""Scores are multiplied by this before a backward pass in fp16, whose smallest step would swallow small gradients."""

Nodes = Sequence[Tensor] | Sequence[GradientEdge]
"""Tensors of a graph, or their places in it where the tensors themselves are not kept."""


def gradients_of(scores: Tensor, nodes: Nodes, *, keep_graph: bool = False, half: bool = False) -> list[Tensor | None]:
    """∂ scores[i] / ∂ node of image i, float32 each; None where the scores do not depend on a node.

    Args:
        scores: (N,), or one score of all.
        nodes: where in the graph behind the scores.
        keep_graph: keep the graph for another call.
        half: the pass was in float16, which a :class:`GradientEdge` does not record.
    """
    if not scores.requires_grad:
        return [None] * len(nodes)
    half = half or any(isinstance(node, Tensor) and node.dtype == torch.float16 for node in nodes)
    if half:
        gradients = _differentiate_sum(scores, nodes, FP16_SCALE, keep_graph=True)
        finite = [torch.isfinite(gradient).all() for gradient in gradients if gradient is not None]
        if not finite or bool(torch.stack(finite).all()):  # one look at the device for all of them
            return [None if gradient is None else gradient.float() / FP16_SCALE for gradient in gradients]
        # The larger score overflowed where the plain one may not.
    gradients = _differentiate_sum(scores, nodes, 1.0, keep_graph=keep_graph)
    return [None if gradient is None else gradient.float() for gradient in gradients]


def _differentiate_sum(scores: Tensor, nodes: Nodes, scale: float, *, keep_graph: bool) -> list[Tensor | None]:
    """∂ (scale · Σ scores) / ∂ node.

    The scale is a factor of the sum, not the ``grad_outputs`` of torch, for which it imports a library of symbolic
    algebra: a third of a second.
    """
    with torch.enable_grad():  # an image's score depends on its own activation only: one pass serves the batch
        total = scores.sum() * scale
    return list(torch.autograd.grad(total, nodes, retain_graph=keep_graph, allow_unused=True))
