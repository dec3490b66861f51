"""Gradients of scores at altered activations: trials of the tail forwards and backwards, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camcli.capture import Memo, Tail, gradients_of
from camcli.layers.layout import Layout
from camcli.methods.base import BuildOfImages, RowScore

_GRAPH = 8  # a trial of a replayed tail takes about as many times the layer's activation at once


@dataclass(frozen=True)
class TailTrials:
    """What is tried at one layer.

    Attributes:
        count: trials of each image.
        maps: makes their activations.
        score: of a trial.
        targets: (N,) of the batch.
    """

    count: int
    maps: BuildOfImages
    score: RowScore
    targets: Tensor


@dataclass(frozen=True)
class TailGradients:
    """The part of the network behind a layer, for one batch.

    Attributes:
        tail: how to run it.
        memo: recorded of the batch.
        inputs: (N, C, H, W) of the batch.
        layout: of the layer.
    """

    tail: Tail
    memo: Memo
    inputs: Tensor
    layout: Layout

    @property
    def original(self) -> Tensor:
        """The layer's activation (N, ...) in its own shape."""
        return self.tail.original(self.memo)

    @property
    def bytes_of_a_trial(self) -> int:
        """About what a trial takes of memory."""
        return max(1, self.original[0].numel() * 4 * _GRAPH)

    def mean(self, trials: TailTrials, images: int, rows: int) -> Tensor:
        """The mean over the trials of ∂score/∂a of each image, (N, K, h, w) float32.

        Args:
            trials: what is tried.
            images: so many images count; those behind them repeat the last one's result.
            rows: trials that go through the tail at once, of all images together.
        """
        batch = len(self.inputs)
        together = min(max(1, rows // trials.count), batch)
        results = []
        for first in range(0, images, together):
            # All groups have the same size, so that the last bits do not depend on which images are beside one.
            start = min(first, batch - together)
            group = self._mean_of_group(trials, slice(start, start + together), max(1, rows // together))
            results.append(group[first - start :])
        means = torch.cat(results)[:images]
        return torch.cat([means, means[-1:].expand(batch - images, *means.shape[1:])])

    def _mean_of_group(self, trials: TailTrials, images: slice, most: int) -> Tensor:
        count = images.stop - images.start
        total: Tensor | None = None
        for first in range(0, trials.count, most):
            part = slice(first, min(first + most, trials.count))
            each = self._gradient(trials, images, part)
            gradient = each.reshape(-1, count, *each.shape[1:]).sum(0)
            total = gradient if total is None else total + gradient
        assert total is not None
        return total / trials.count

    def _gradient(self, trials: TailTrials, images: slice, part: slice) -> Tensor:
        """∂score/∂a of some trials of some images: of each image in turn, then again, (M, K, h, w) float32."""
        repeats, forward = part.stop - part.start, self.tail.forward
        leaf = trials.maps(images, part).flatten(0, 1).detach().requires_grad_()
        original = self.original[images]
        like = original.repeat(repeats, *[1] * (original.ndim - 1)) if self.layout.prefix_tokens else original
        with torch.enable_grad():
            # A copy: what is behind the layer may write into its activation, which a leaf of the graph forbids.
            altered = self.layout.from_maps(leaf, like).to(original.dtype).clone()
            logits = self.tail.run(self.memo, self.inputs, altered, images.start, images.stop - images.start)
            scores = trials.score(logits, trials.targets[images].repeat(repeats))
        (gradient,) = gradients_of(scores, [leaf], half=forward.precision == "fp16")
        return torch.zeros_like(leaf) if gradient is None else gradient
