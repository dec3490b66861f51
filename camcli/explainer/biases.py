"""The score split into what the input and every bias of the network contribute, image by image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from camcli.capture import gradients_of
from camcli.capture.functions import BiasTap
from camcli.explainer.plan import Plan
from camcli.methods.base import Biases

_MOST_STRETCHED = 4.0
"""Channels first, a grid of positions whose sides are to each other as this, relative to the image's, is no grid of the
image: patches × places in a patch, for example."""


def split_scores(plan: Plan, inputs: Tensor, targets: Tensor) -> list[Biases]:
    """The contributions to the scores of targets (N,): of all images at once, or of each where they must go apart."""
    if not plan.images_apart:
        biases = _split_batch(plan, inputs, targets)
        if biases is not None:
            return [biases]
    single = (_split_batch(plan, *one) for one in zip(torch.split(inputs, 1), torch.split(targets, 1), strict=True))
    return [biases for biases in single if biases is not None]  # all of them: one image's rows are its own


def are_rows_in_order(plan: Plan, inputs: Tensor) -> bool:
    """Whether every tensor that a bias is added to holds the rows of one image after those of another.

    Windows and patches are rows in front as well, as many for each image, and can be in another order: then a batch of
    them cannot be divided among the images. Seen in the gradients of the first and of the last image's score.

    Args:
        plan: with the pass.
        inputs: (2, C, H, W).
    """
    with torch.enable_grad(), BiasTap() as tap:
        logits = plan.forward(inputs.detach().clone().requires_grad_())
    nodes = [node for _, node, _ in tap.terms]
    first = gradients_of(logits[:1, 0], nodes, keep_graph=True)
    last = gradients_of(logits[1:, 0], nodes)
    return not any(_is_single(*term) for term in tap.terms) and all(
        len(node) % 2 == 0 and _are_zero(one, slice(len(node) // 2, None)) and _are_zero(other, slice(len(node) // 2))
        for node, one, other in zip(nodes, first, last, strict=True)
    )


def _is_single(_bias: Tensor, node: Tensor, dim: int) -> bool:
    """Whether it is a tensor of one image, without a dimension for the batch."""
    return node.ndim == -dim


def _are_zero(gradient: Tensor | None, rows: slice) -> bool:
    return gradient is None or not bool(gradient[rows].any())


def _split_batch(plan: Plan, inputs: Tensor, targets: Tensor) -> Biases | None:
    """Of a batch whose images are in order in front; None where a tensor's rows are not a multiple of the images."""
    with torch.enable_grad(), BiasTap() as tap:
        leaf = inputs.detach().clone().requires_grad_()
        scores = plan.score(plan.forward(leaf), targets)
    if len(inputs) > 1 and any(len(term[1]) % len(inputs) or _is_single(*term) for term in tap.terms):
        return None
    gradients = gradients_of(scores, [leaf, *(node for _, node, _ in tap.terms)])
    sizes = [inputs.shape[2:]]
    maps: list[Tensor] = []
    vectors: list[Tensor] = []
    for (bias, node, dim), gradient in zip(tap.terms, gradients[1:], strict=True):
        if gradient is None:
            continue
        gradient = gradient[None] if _is_single(bias, node, dim) else gradient
        # The channels last, where the bias (K,) broadcasts over positions; then back to (rows, K, ...).
        product = (gradient.movedim(dim, -1) * bias.float()).movedim(-1, 1)
        spatial = _as_maps(plan, product, sizes, dim) if len(product) == len(inputs) else None
        if spatial is not None:
            maps.append(spatial)
            sizes += [spatial.shape[2:]] if dim != -1 else []
        else:
            rows = len(product) // len(inputs)
            vectors.append(product.reshape(len(inputs), rows, product.shape[1], -1).sum((1, 3)))
    own = gradients[0]
    assert own is not None
    return Biases(inputs * own, maps, vectors)


def _as_maps(plan: Plan, product: Tensor, sizes: Sequence[torch.Size], dim: int) -> Tensor | None:
    """The product (N, K, ...) as maps (N, K, h, w) where its positions are places in the image.

    Args:
        plan: with layers, whose layouts are verified.
        product: of one row an image.
        sizes: of the image, and of the maps of convolutions.
        dim: where the channels were; -1: last.
    """
    if product.ndim == 4:
        is_grid = _is_like(product.shape[2:], sizes[0]) if dim != -1 else _is_divided(product.shape[2:], sizes)
        return product if is_grid else None
    for layer in plan.layers:
        if layer.layout.kind == "tokens" and dim == -1 and layer.layout.fits((len(product), *product.shape[:0:-1])):
            return layer.layout.to_maps(product.transpose(1, 2))
    return None


def _is_like(grid: torch.Size, image: torch.Size) -> bool:
    """Whether positions of a convolution are about as wide to their height as the image."""
    stretch = grid[0] * image[1] / (grid[1] * image[0])
    return tuple(grid) == (1, 1) or 1 / _MOST_STRETCHED < stretch < _MOST_STRETCHED


def _is_divided(grid: torch.Size, sizes: Sequence[torch.Size]) -> bool:
    """Whether positions are one of the sizes, divided by a stride; windows × tokens and heads × tokens are not."""
    return any(
        all(cells in (pixels // stride, -(-pixels // stride)) for cells, pixels in zip(grid, size, strict=True))
        for size in sizes
        for stride in range(1, max(size) + 1)
    )
