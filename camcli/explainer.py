"""From a batch of inputs to raw maps: which passes the methods need, shared between them.

Imported as ``camcli.explainer`` since ``camcli.explain`` is the function of the public API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from camcli.capture import Captured, Forward, capture, frozen
from camcli.errors import ConfigError, MethodError
from camcli.layers import Layer
from camcli.methods import Method, Pass, Score, find_method, parse_options, probabilities

Choose = Callable[[Tensor], Tensor]
"""From logits (N, classes) float32 on the CPU to targets (N, T) int64; -1: this image has no such target."""


class ExplainedModel(Protocol):
    """The part of a loaded model that is needed here."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def multi_label(self) -> bool: ...
    def logits(self, output: Any) -> Tensor: ...


@dataclass(frozen=True)
class ExplainOptions:
    """What is asked of the methods.

    Attributes:
        score: ``logit``, ``prob`` or ``neg-logit``.
        precision: ``fp32``, ``bf16`` or ``fp16``; ``auto`` is bf16 on CUDA and fp32 elsewhere.
        fuse: ``none``, ``mean``, ``max`` or ``product`` of the maps of several layers.
        probability: ``auto``, ``softmax`` or ``sigmoid``.
        method_options: ``METHOD.KEY=VALUE`` each.
        eigen_smooth: the first principal component of the weighted activations instead of their sum.
    """

    score: str = "logit"
    precision: str = "auto"
    fuse: str = "none"
    probability: str = "auto"
    method_options: Sequence[str] = ()
    eigen_smooth: bool = False


@dataclass(frozen=True, slots=True)
class MapKey:
    """Which map: the method, the layer (several when fused, None for whole-network methods), the target slot."""

    method: str
    layer: str | tuple[str, ...] | None
    slot: int


@dataclass(frozen=True)
class Explained:
    """One batch, explained.

    Attributes:
        logits: (N, classes) float32 on the CPU.
        probabilities: (N, classes) float32 on the CPU.
        targets: (N, T) int64 on the CPU; -1 where an image has no such target. Its maps of that slot mean nothing.
        maps: (N, h, w) float32 on the CPU each: raw and signed, on the layer's own grid.
    """

    logits: Tensor
    probabilities: Tensor
    targets: Tensor
    maps: Mapping[MapKey, Tensor]


class Explainer:
    """Methods on layers of a model, checked once and then called for every batch.

    Args:
        model: the loaded model.
        layers: the target layers.
        methods: keys of methods; a key that comes twice counts once.
        options: what is asked of them.

    Raises:
        MethodError: an unknown method or option, or one that the model does not allow.
        LayerError: a layer the methods cannot use.
    """

    def __init__(
        self,
        model: ExplainedModel,
        layers: Sequence[Layer],
        methods: Sequence[str],
        options: ExplainOptions | None = None,
    ) -> None:
        self.options = options or ExplainOptions()
        self.model = model
        self.layers = tuple({layer.path: layer for layer in layers}.values())
        self.methods = tuple({key: find_method(key) for key in methods}.values())
        self.settings = parse_options(self.methods, self.options.method_options)
        self._check()

    def __call__(self, inputs: Tensor, choose: Choose, seeds: Sequence[int]) -> Explained:
        """Explain a batch.

        Args:
            inputs: (N, C, H, W) float32, preprocessed, on the model's device.
            choose: picks the targets when the logits are known.
            seeds: N, one an image, so that randomness depends on the image alone.
        """
        with frozen(self.model.module):
            forward = Forward(self.model.module, self.model.logits, self._precision(inputs.device))
            paths = [layer.path for layer in self.layers]
            captured = capture(forward, inputs, paths, gradients=any(m.needs_gradients for m in self.methods))
            logits = captured.logits.detach()
            targets = choose(logits.cpu())
            maps = self._maps(captured, inputs, targets, seeds)
        sigmoid = self._score(logits).sigmoid
        return Explained(logits.cpu(), probabilities(logits, sigmoid).cpu(), targets, maps)

    def plan(self) -> list[str]:
        """The passes of a batch, one line each, for people."""
        where = ", ".join(layer.path for layer in self.layers)
        lines = [f"1 forward: activations at {where}, for {', '.join(m.key for m in self.methods)}"]
        backward = [m.key for m in self.methods if m.needs_gradients]
        if backward:
            lines.append(f"1 backward a target, from its score to {where}, for {', '.join(backward)}")
        return lines

    def _maps(self, captured: Captured, inputs: Tensor, targets: Tensor, seeds: Sequence[int]) -> dict[MapKey, Tensor]:
        maps: dict[MapKey, Tensor] = {}
        activations = {layer.path: _maps_of(layer, captured.activations[layer.path]) for layer in self.layers}
        slots = targets.shape[1]
        for slot in range(slots):
            chosen = targets[:, slot].clamp(min=0).to(inputs.device)  # no target: explain class 0, to be dropped
            with torch.enable_grad():
                scores = self._score(captured.logits)(captured.logits, chosen)
            gradients = self._gradients(captured, scores, again=slot + 1 < slots)
            for method in self.methods:
                for layer in self.layers:
                    key = MapKey(method.key, layer.path, slot)
                    if slot and not method.class_specific:
                        maps[key] = maps[MapKey(method.key, layer.path, 0)]
                        continue
                    given = Pass(
                        activations=activations[layer.path],
                        logits=captured.logits.detach(),
                        targets=chosen,
                        scores=scores.detach(),
                        seeds=seeds,
                        inputs=inputs,
                        gradients=gradients.get(layer.path),
                        eigen_smooth=self.options.eigen_smooth,
                    )
                    maps[key] = self._run(method, given)
        return maps

    def _run(self, method: Method, given: Pass) -> Tensor:
        # Outside any autocast and graph: the maths of the maps are float32 whatever the model runs in.
        with torch.no_grad():
            return method.compute(given, self.settings[method.key]).float().cpu()

    def _gradients(self, captured: Captured, scores: Tensor, again: bool) -> dict[str, Tensor]:
        if not any(method.needs_gradients for method in self.methods):
            return {}
        paths = [layer.path for layer in self.layers]
        found = captured.gradients(scores, paths, again=again)
        return {layer.path: _maps_of(layer, found[layer.path]) for layer in self.layers}

    def _score(self, logits: Tensor) -> Score:
        wanted = self.options.probability
        automatic = self.model.multi_label or logits.shape[1] == 1
        return Score(self.options.score, automatic if wanted == "auto" else wanted == "sigmoid")

    def _precision(self, device: torch.device) -> str:
        if self.options.precision != "auto":
            return self.options.precision
        return "bf16" if device.type == "cuda" else "fp32"

    def _check(self) -> None:
        options = self.options
        Score(options.score)
        for name, value, allowed in (
            ("precision", options.precision, ("auto", "fp32", "bf16", "fp16")),
            ("fuse", options.fuse, ("none",)),
            ("probability", options.probability, ("auto", "softmax", "sigmoid")),
        ):
            if value not in allowed:
                raise ConfigError(f"--{name} {value}: give {', '.join(allowed)}.")
        if not self.methods:
            raise MethodError("no method was named. `cam methods` lists them.")
        if not self.layers:
            raise MethodError(f"{self.methods[0].key} needs a layer. `cam layers` lists them.")
        for method in self.methods if options.eigen_smooth else ():
            if not method.weighted:
                fits = ", ".join(m.key for m in self.methods if m.weighted) or "gradcam"
                raise MethodError(f"--eigen-smooth needs a weighted sum, which {method.key} is not. Use {fits}.")


def _maps_of(layer: Layer, tensor: Tensor) -> Tensor:
    maps: Tensor = layer.layout.to_maps(tensor)
    return maps.to(torch.float32, memory_format=torch.contiguous_format)
