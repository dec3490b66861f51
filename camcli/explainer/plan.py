"""Which passes a run needs, and whether the model allows its methods: decided before any image is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from torch.nn.attention import SDPBackend, sdpa_kernel

from camcli.capture import Forward, Tail
from camcli.capture.attention_matrices import Blocks
from camcli.explainer.options import ExplainOptions, TargetLayer
from camcli.methods import Method, Score

TAIL_NEEDS = ("tail", "tail gradient")
"""The needs of methods that run the part behind a layer again."""


@dataclass(frozen=True)
class Plan:
    """What every batch of a run goes through.

    Attributes:
        methods: in the order asked for.
        settings: options of each method, by key.
        options: of the run.
        forward: the shared pass.
        trial: the passes of methods that compare scores.
        score: the scalar explained.
        layers: target layers, in the order of the forward pass.
        stages: the layers of each method that looks at several at once, by key.
        tails: how to replay what comes behind a layer, for methods that need it.
        blocks: attention, for methods that need it.
        block_tail: how to replay what comes behind the last block, for methods that need it.
        classless: the model has no classifier, so that there are no targets.
        images_apart: a batch's biases cannot be divided among its images, so that these go through one at a time.
        notes: what the user should know: approximations, fallbacks.
    """

    methods: tuple[Method, ...]
    settings: Mapping[str, Mapping[str, Any]]
    options: ExplainOptions
    forward: Forward
    trial: Forward
    score: Score
    layers: tuple[TargetLayer, ...]
    stages: Mapping[str, tuple[TargetLayer, ...]] = field(default_factory=dict)
    tails: Mapping[str, Tail] = field(default_factory=dict)
    blocks: Blocks | None = None
    block_tail: Tail | None = None
    classless: bool = False
    images_apart: bool = False
    notes: tuple[str, ...] = ()

    @property
    def captured(self) -> tuple[TargetLayer, ...]:
        """Every layer whose activation is kept."""
        return self._unique([self.layers, *self.stages.values()])

    @property
    def needs_gradients(self) -> bool:
        return any(method.needs_gradients for method in self.methods)

    def needing(self, *needs: str) -> tuple[Method, ...]:
        """The methods that need one of several things of the model."""
        return tuple(method for method in self.methods if set(needs) & set(method.needs))

    def layers_of(self, method: Method) -> tuple[TargetLayer, ...]:
        """The layers at which a method looks."""
        return self.stages[method.key] if method.scope == "layers" else self.layers

    def layers_with_tails(self) -> tuple[TargetLayer, ...]:
        """The layers behind which methods run the network again."""
        return self._unique([self.layers_of(method) for method in self.needing(*TAIL_NEEDS)])

    def _unique(self, several: Sequence[Sequence[TargetLayer]]) -> tuple[TargetLayer, ...]:
        return tuple({layer.path: layer for layers in several for layer in layers}.values())

    def attention_kernel(self) -> Any:
        """Fused attention has no second derivative."""
        return sdpa_kernel(SDPBackend.MATH) if self.needing("curvature") else nullcontext()

    def lines(self) -> list[str]:
        """The passes of a batch, one line each, for people."""
        at = ", ".join(layer.path for layer in self.captured)
        shared = [method.key for method in self.methods if method.scope != "network"]
        lines = [f"1 forward ({self.forward.precision}): logits" + (f", activations at {at}" if shared else "")]
        backward = [m for m in self.methods if m.needs_gradients and m.rescore is None]
        if backward:
            where = dict.fromkeys(layer.path for m in backward for layer in self.layers_of(m))
            lines.append(
                f"1 backward a target, from its score to {', '.join(where)}: {', '.join(m.key for m in backward)}"
            )
        lines += [
            f"1 backward a target, from a score of its own: {m.key}"
            for m in self.methods
            if m.needs_gradients and m.rescore is not None
        ]
        free = [m.key for m in self.methods if not m.needs_gradients and not m.needs and m.scope != "network"]
        if free:
            lines.append(f"no more passes: {', '.join(free)}")
        for m in self.methods:
            if m.needs and not (m.needs_gradients and m.rescore is not None):
                shares = ", all targets at once" if m.targets_together else ", a target"
                specific = shares if m.class_specific else ""
                is_trial = {*TAIL_NEEDS, "scoring"} & set(m.needs)
                precision = self.trial.precision if is_trial else self.forward.precision
                lines.append(f"{m.key}: {m.cost_with(self.settings[m.key])} an image{specific} ({precision})")
        if self.options.aug_smooth:
            lines.append("all of this 6 times: 3 intensities, each plain and flipped")
        return lines + [f"note: {note}" for note in self.notes]

    def adding(self, **changes: Any) -> Plan:
        return replace(self, **changes)


def in_layer_order(layers: Sequence[TargetLayer], order: Sequence[str]) -> tuple[TargetLayer, ...]:
    """The layers in the order of a pass, ``order``, a list of paths."""
    return tuple(sorted(layers, key=lambda layer: order.index(layer.path)))
