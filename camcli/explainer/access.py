"""What single methods may ask of the model beyond the shared passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from camcli.capture import Captured, Forward, Memo, capture, gradients_of
from camcli.capture.attention_matrices import AttentionPass, attention_pass
from camcli.capture.functions import BiasTap, GuidedRelu
from camcli.device import BatchLimit
from camcli.explainer.options import Target
from camcli.explainer.plan import Plan
from camcli.methods.base import Attention, Biases, Build, Reduce


@dataclass
class Chunks:
    """How many trials go through the model at once.

    Attributes:
        limit: bytes that the inputs or activations of a chunk may take. On a CPU few trials at once are the fastest:
            what one module hands the next stays in its cache.
        trials: trials in a chunk at most.
        images: images whose graph through the whole network is held at once.
    """

    limit: int
    trials: BatchLimit
    images: int = 4

    @classmethod
    def on(cls, device: torch.device) -> Chunks:
        return cls(512 << 20, BatchLimit(512), 32) if device.type == "cuda" else cls(16 << 20, BatchLimit(128))

    def run(
        self,
        count: int,
        each: int,
        trial: Callable[[slice], Tensor],
        done: Callable[[int, int], None],
        together: int | None = None,
    ) -> Tensor:
        """The results of ``count`` trials of ``each`` bytes, one below the other; ``together``: so many at once."""

        def tried(part: slice) -> Tensor:
            result = trial(part)
            done(part.stop, count)
            return result

        most = max(1, together or self.limit // max(each, 1))
        return torch.cat(list(self.trials.run(count, tried, most)))


@dataclass(frozen=True)
class Runs:
    """One batch, for all methods.

    Attributes:
        plan: of the run.
        inputs: (N, C, H, W).
        captured: the shared pass.
        memos: what the tails need of this batch, by path.
        chunks: of the run.
        done: told of progress: method, trials done, trials in total.
    """

    plan: Plan
    inputs: Tensor
    captured: Captured
    memos: dict[str, Memo]
    chunks: Chunks
    done: Callable[[str, int, int], None]

    @cached_property
    def attention(self) -> AttentionPass:
        assert self.plan.blocks is not None
        memo = self.memos.setdefault("attention", {})
        tail = self.plan.block_tail
        if tail is None:
            return attention_pass(self.plan.forward.plain, self.inputs, self.plan.blocks)
        with tail.remembering(memo):
            return attention_pass(self.plan.forward.plain, self.inputs, self.plan.blocks)


@dataclass(frozen=True)
class NetworkAccess:
    """See :class:`camcli.methods.base.Network`."""

    runs: Runs
    targets: Tensor
    method: str

    def logits(self, inputs: Tensor) -> Tensor:
        return self.runs.plan.trial(inputs)

    def trials(self, count: int, inputs: Build, reduce: Reduce) -> Tensor:
        runs = self.runs
        ahead = runs.plan.trial.ahead
        each = runs.inputs[0].numel() * 4 * 8  # eight times the input: what the widest activations take

        def trial(part: slice) -> Tensor:
            with torch.no_grad():
                return reduce(_filled(runs.plan.trial, inputs(part)))

        together = ahead.batch if ahead is not None else None
        return runs.chunks.run(count, each, trial, lambda i, n: runs.done(self.method, i, n), together)

    def biases(self) -> Biases:
        with torch.enable_grad(), BiasTap() as tap:
            leaf = self.runs.inputs.detach().clone().requires_grad_()
            scores = self._scores(self.runs.plan.forward(leaf))
        gradients = gradients_of(scores, [leaf, *(node for _, node, _ in tap.terms)])
        maps: list[Tensor] = []
        vectors: list[Tensor] = []
        for (bias, node, dim), gradient in zip(tap.terms, gradients[1:], strict=True):
            if gradient is None:
                continue
            product = (gradient.movedim(dim, -1) * bias.float()).movedim(-1, 1)
            where = self._map_of(product, node, dim)
            (vectors if where is None else maps).append(
                (product if product.ndim == 2 else product.flatten(2).sum(2)) if where is None else where
            )
        own = gradients[0]
        assert own is not None
        return Biases(self.runs.inputs * own, maps, vectors)

    def guided_gradient(self) -> Tensor:
        with torch.enable_grad(), GuidedRelu():
            leaf = self.runs.inputs.detach().clone().requires_grad_()
            scores = self._scores(self.runs.plan.forward(leaf))
        (gradient,) = gradients_of(scores, [leaf])
        assert gradient is not None
        return gradient

    def attention(self) -> Attention:
        blocks = self.runs.plan.blocks
        layout = next(layer.layout for layer in self.runs.plan.layers if layer.layout.kind == "tokens")
        assert blocks is not None
        matrices = [matrix.detach().float() for matrix in self.runs.attention.matrices]
        return Attention(matrices, layout.grid, layout.prefix_tokens, blocks.readout)

    def attention_gradients(self) -> Sequence[Tensor]:
        run = self.runs.attention
        with torch.enable_grad():
            scores = self._scores(run.logits)
        return _or_zeros(gradients_of(scores, run.matrices, again=True), run.matrices)

    def block_gradients(self) -> Sequence[Tensor]:
        run, plan = self.runs.attention, self.runs.plan
        tail, memo = plan.block_tail, self.runs.memos["attention"]
        assert tail is not None
        found = []
        for matrix, tokens in zip(run.matrices, run.outputs, strict=True):
            with torch.enable_grad():
                scores = self._scores(tail.run_batch(memo, self.runs.inputs, tokens))
            found += _or_zeros(gradients_of(scores, [matrix], again=True), [matrix])
        return found

    def _scores(self, logits: Tensor) -> Tensor:
        return self.runs.plan.score(logits, self.targets)

    def _map_of(self, product: Tensor, node: Tensor, dim: int) -> Tensor | None:
        """The product as maps (N, K, h, w) where its positions are places in the image."""
        if product.ndim == 4:
            return product
        for layer in self.runs.plan.layers:
            if layer.layout.kind == "tokens" and dim == -1 and layer.layout.fits(tuple(node.shape)):
                return layer.layout.to_maps(product.transpose(1, 2))
        return None


def _or_zeros(gradients: Sequence[Tensor | None], nodes: Sequence[Tensor]) -> list[Tensor]:
    return [
        torch.zeros_like(node, dtype=torch.float32) if g is None else g
        for g, node in zip(gradients, nodes, strict=True)
    ]


def _filled(forward: Forward, inputs: Tensor) -> Tensor:
    """Logits of inputs that may be fewer than the compiled part takes: nearly as many are filled up."""
    missing = forward.ahead.batch - len(inputs) if forward.ahead is not None else 0
    if not 0 < missing <= len(inputs):
        return forward(inputs)
    filled = torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])])
    return forward(filled)[: len(inputs)]


@dataclass(frozen=True)
class LayerAccess:
    """See :class:`camcli.methods.base.AtLayer`."""

    runs: Runs
    layer: Target
    targets: Tensor
    method: str

    def trials(self, image: int, count: int, maps: Build, reduce: Reduce) -> Tensor:
        runs = self.runs
        tail, memo = runs.plan.tails[self.layer.path], runs.memos[self.layer.path]
        original = tail.original(memo)[image : image + 1]

        def trial(part: slice) -> Tensor:
            with torch.no_grad():
                altered = self.layer.layout.from_maps(maps(part), original)
                return reduce(tail.run(memo, runs.inputs, altered, image))

        each = original.numel() * 4 * (1 if tail.why_not is None else 8)
        return runs.chunks.run(count, each, trial, lambda i, n: runs.done(self.method, i, n))

    def activations(self) -> Tensor:
        tail = self.runs.plan.tails[self.layer.path]
        return maps_of(self.layer, tail.original(self.runs.memos[self.layer.path]))

    def gradients(self, inputs: Tensor) -> Tensor:
        plan, path = self.runs.plan, self.layer.path
        captured = capture(plan.forward, inputs, [path])
        with torch.enable_grad():
            scores = plan.score(captured.logits, self.targets)
        return maps_of(self.layer, captured.gradients(scores, [path])[path])

    def curvature(self, direction: Tensor) -> Tensor:
        captured, path = self.runs.captured, self.layer.path
        native = self.layer.layout.from_maps(
            direction, torch.zeros_like(captured.activations[path], dtype=torch.float32)
        )
        plan = self.runs.plan
        with torch.enable_grad(), plan.attention_kernel():
            scores = plan.score(captured.logits, self.targets)
            return maps_of(self.layer, captured.curvature(scores, path, native))


def maps_of(layer: Target, tensor: Tensor) -> Tensor:
    """(N, K, h, w) float32, contiguous, so that no sum depends on how the model lays out memory."""
    return layer.layout.to_maps(tensor).to(torch.float32, memory_format=torch.contiguous_format)
