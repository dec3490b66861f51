"""What single methods can compute with the model beyond the shared passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor

from camcli.capture import CapturedPass, Forward, Memo, capture, gradients_of
from camcli.capture.attention_matrices import AttentionPass, attention_pass
from camcli.capture.functions import GuidedRelu
from camcli.device import BatchLimit
from camcli.explainer.biases import split_scores
from camcli.explainer.options import TargetLayer
from camcli.explainer.plan import Plan
from camcli.explainer.tail_gradients import TailGradients, TailTrials
from camcli.methods.base import Attention, Biases, Build, BuildOfImages, Reduce, RowScore


@dataclass
class Chunks:
    """How many trials go through the model at once.

    Attributes:
        limit: bytes that the inputs or activations of a chunk may take. On a CPU few trials at once are the fastest:
            what one module hands the next stays in its cache.
        trials: trials in a chunk at most.
        images: images whose graph through the whole network is kept at once.
    """

    limit: int
    trials: BatchLimit
    images: BatchLimit = field(default_factory=partial(BatchLimit, 4))

    def __post_init__(self) -> None:
        self._first = (self.trials.size, self.images.size)

    @property
    def are_halved(self) -> bool:
        """Whether memory has run out."""
        return (self.trials.size, self.images.size) != self._first

    @classmethod
    def for_device(cls, device: torch.device) -> Chunks:
        return (
            cls(512 << 20, BatchLimit(512), BatchLimit(32)) if device.type == "cuda" else cls(16 << 20, BatchLimit(128))
        )

    @classmethod
    def one_at_a_time(cls) -> Chunks:
        """For a model that takes one image in a pass."""
        return cls(1, BatchLimit(1), BatchLimit(1))

    def run(
        self,
        count: int,
        each: int,
        trial: Callable[[slice], Tensor],
        done: Callable[[int, int], None],
        size: int | None = None,
    ) -> Tensor:
        """The results of ``count`` trials of ``each`` bytes, stacked; with ``size``, so many at once."""

        def run_part(part: slice) -> Tensor:
            result = trial(part)
            done(part.stop, count)
            return result

        most = max(1, size or self.limit // max(each, 1))
        return torch.cat(list(self.trials.run(count, run_part, most)))


@dataclass(frozen=True)
class SharedPasses:
    """What all methods share in one batch.

    Attributes:
        plan: of the run.
        inputs: (N, C, H, W).
        captured: the shared pass.
        memos: what the tails need of this batch, by path; of the last attention block, by ``attention``.
        chunks: of the run.
        done: called with progress: method, trials done, trials in total.
    """

    plan: Plan
    inputs: Tensor
    captured: CapturedPass
    memos: dict[str, Memo]
    chunks: Chunks
    done: Callable[[str, int, int], None]

    @cached_property
    def attention(self) -> AttentionPass:
        assert self.plan.blocks is not None
        memo = self.memos.setdefault("attention", {})
        tail = self.plan.block_tail
        if tail is None:
            return attention_pass(self.plan.forward.eager, self.inputs, self.plan.blocks)
        with tail.record(memo):
            return attention_pass(self.plan.forward.eager, self.inputs, self.plan.blocks)


@dataclass(frozen=True)
class NetworkAccess:
    """See :class:`camcli.methods.base.Network`."""

    shared: SharedPasses
    targets: Tensor
    method: str

    def logits(self, inputs: Tensor) -> Tensor:
        return self.shared.plan.trial(inputs)

    def trials(self, count: int, inputs: Build, reduce: Reduce) -> Tensor:
        shared = self.shared
        prefix = shared.plan.trial.prefix
        each = shared.inputs[0].numel() * 4 * 8  # eight times the input: what the widest activations take

        def trial(part: slice) -> Tensor:
            with torch.no_grad():
                return reduce(_run_padded(shared.plan.trial, inputs(part)))

        size = prefix.batch_size if prefix is not None else None
        return shared.chunks.run(count, each, trial, lambda i, n: shared.done(self.method, i, n), size)

    def biases(self) -> Sequence[Biases]:
        return split_scores(self.shared.plan, self.shared.inputs, self.targets)

    def guided_gradient(self) -> Tensor:
        with torch.enable_grad(), GuidedRelu():
            leaf = self.shared.inputs.detach().clone().requires_grad_()
            scores = self._scores(self.shared.plan.forward(leaf))
        (gradient,) = gradients_of(scores, [leaf])
        assert gradient is not None
        return gradient

    def attention(self) -> Attention:
        blocks = self.shared.plan.blocks
        layout = next(layer.layout for layer in self.shared.plan.layers if layer.layout.kind == "tokens")
        assert blocks is not None
        matrices = [matrix.detach().float() for matrix in self.shared.attention.matrices]
        return Attention(matrices, layout.grid, layout.prefix_tokens, blocks.readout)

    def attention_gradients(self) -> Sequence[Tensor]:
        run = self.shared.attention
        with torch.enable_grad():
            scores = self._scores(run.logits)
        return _or_zeros(gradients_of(scores, run.matrices, keep_graph=True), run.matrices)

    def block_gradients(self) -> Sequence[Tensor]:
        run, plan = self.shared.attention, self.shared.plan
        tail, memo = plan.block_tail, self.shared.memos["attention"]
        assert tail is not None
        gradients: list[Tensor] = []
        for matrix, tokens in zip(run.matrices, run.outputs, strict=True):
            with torch.enable_grad():
                scores = self._scores(tail.run_batch(memo, self.shared.inputs, tokens))
            gradients += _or_zeros(gradients_of(scores, [matrix], keep_graph=True), [matrix])
        return gradients

    def _scores(self, logits: Tensor) -> Tensor:
        return self.shared.plan.score(logits, self.targets)


def _or_zeros(gradients: Sequence[Tensor | None], nodes: Sequence[Tensor]) -> list[Tensor]:
    return [
        torch.zeros_like(node, dtype=torch.float32) if g is None else g
        for g, node in zip(gradients, nodes, strict=True)
    ]


def _run_padded(forward: Forward, inputs: Tensor) -> Tensor:
    """Logits of inputs that may be fewer than a compiled prefix takes.

    At least half as many are padded: that costs less than the same passes without the compiled prefix.
    """
    missing = forward.prefix.batch_size - len(inputs) if forward.prefix is not None else 0
    if not 0 < missing <= len(inputs):
        return forward(inputs)
    padded = torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])])
    return forward(padded)[: len(inputs)]


@dataclass(frozen=True)
class LayerAccess:
    """See :class:`camcli.methods.base.AtLayer`."""

    shared: SharedPasses
    layer: TargetLayer
    targets: Tensor
    method: str
    real: int | None = None

    def trials(self, image: int, count: int, maps: Build, reduce: Reduce) -> Tensor:
        shared = self.shared
        tail, memo = shared.plan.tails[self.layer.path], shared.memos[self.layer.path]
        original = tail.original(memo)[image : image + 1]

        def trial(part: slice) -> Tensor:
            with torch.no_grad():
                altered = self.layer.layout.from_maps(maps(part), original)
                return reduce(tail.run(memo, shared.inputs, altered, image))

        # A replayed tail is about as wide as the layer; early activations of the whole model are several times wider.
        each = original.numel() * 4 * (1 if tail.fallback is None else 8)
        return shared.chunks.run(count, each, trial, lambda i, n: shared.done(self.method, i, n))

    def activations(self) -> Tensor:
        tail = self.shared.plan.tails[self.layer.path]
        return maps_of(self.layer, tail.original(self.shared.memos[self.layer.path]))

    def gradients(self, inputs: Tensor) -> Tensor:
        plan, path = self.shared.plan, self.layer.path
        captured = capture(plan.forward, inputs, [path])
        with torch.enable_grad():
            scores = plan.score(captured.logits, self.targets)
        return maps_of(self.layer, captured.gradients(scores, [path])[path])

    def mean_gradients(self, count: int, maps: BuildOfImages, score: RowScore) -> Tensor:
        shared, path = self.shared, self.layer.path
        tail = TailGradients(shared.plan.tails[path], shared.memos[path], shared.inputs, self.layer.layout)
        images = len(shared.inputs) if self.real is None else self.real

        trials = TailTrials(count, maps, score, self.targets)
        most = max(1, shared.chunks.limit // tail.bytes_of_a_trial)
        return shared.chunks.trials.fit(lambda rows: tail.mean(trials, images, rows), most)

    def curvature(self, direction: Tensor) -> Tensor:
        captured, path = self.shared.captured, self.layer.path
        native = self.layer.layout.from_maps(
            direction, torch.zeros_like(captured.activations[path], dtype=torch.float32)
        )
        plan = self.shared.plan
        with torch.enable_grad(), plan.attention_kernel():
            scores = plan.score(captured.logits, self.targets)
            return maps_of(self.layer, captured.curvature(scores, path, native))


def maps_of(layer: TargetLayer, tensor: Tensor) -> Tensor:
    """(N, K, h, w) float32, contiguous, so that no sum depends on how the model lays out memory."""
    return layer.layout.to_maps(tensor).to(torch.float32, memory_format=torch.contiguous_format)
