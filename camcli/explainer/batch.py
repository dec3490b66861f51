"""One batch: the shared forward pass, the backward passes, and every method on what they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from camcli.capture import Memo, capture
from camcli.device import to_device
from camcli.explainer.access import Chunks, LayerAccess, NetworkAccess, SharedPasses, maps_of
from camcli.explainer.fuse import fuse
from camcli.explainer.options import MapKey, TargetChoice, TargetLayer
from camcli.explainer.plan import Plan
from camcli.methods import Method, Pass

Done = Callable[[str, int, int], None]


def _needs_map(method: Method, number: int) -> bool:
    """Whether a method computes a map for this target: not where it is that of the first one, or comes with it."""
    return number == 0 or (method.class_specific and not method.targets_together)


class Batch:
    """The passes of one batch of inputs, inside ``freeze``.

    Args:
        plan: of the run.
        inputs: (N, C, H, W) float32 on the model's device.
        seeds: one an image.
        labels: (N,) int64, the true classes; -1 where there is none.
        chunks: of the run.
        done: called with progress inside a method.
        real: so many images count; what is behind them repeats the last one to fill the batch.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Tensor,
        seeds: Sequence[int],
        labels: Tensor,
        chunks: Chunks,
        done: Done,
        real: int | None = None,
    ) -> None:
        self.plan, self.inputs, self.seeds, self.real = plan, inputs, seeds, real
        self._labels = labels
        memos: dict[str, Memo] = {layer.path: {} for layer in plan.captured if layer.path in plan.tails}
        with ExitStack() as stack:
            for path, memo in memos.items():
                stack.enter_context(plan.tails[path].record(memo))
            stack.enter_context(plan.attention_kernel())
            paths = [layer.path for layer in plan.captured]
            captured = capture(plan.forward, inputs, paths, gradients=plan.needs_gradients)
        self.shared = SharedPasses(plan, inputs, captured, memos, chunks, done)
        self.activations = {layer.path: maps_of(layer, captured.activations[layer.path]) for layer in plan.captured}
        self.logits = captured.logits.detach()

    def gradients(self, targets: Tensor) -> None:
        """The backward passes of targets (N,), for what they take of time and memory."""
        self._gradients(targets)

    @cached_property
    def labels(self) -> Tensor:
        """(N,) int64 on the device, where few methods need them."""
        return to_device(self._labels, self.inputs.device)

    def choose(self, choose: TargetChoice) -> Tensor:
        """(N, T) int64 on the device."""
        if self.plan.classless:
            return torch.zeros(len(self.inputs), 1, dtype=torch.int64, device=self.inputs.device)
        return choose(self.logits).to(self.inputs.device)

    def maps(self, targets: Tensor) -> dict[MapKey, Tensor]:
        """The raw maps (N, h, w) float32 of targets (N, T), by method, then layer, then target."""
        chosen = targets.clamp(min=0)  # no target: explain class 0, to be dropped
        maps: dict[MapKey, Tensor] = {}
        gradients = []
        for number in range(chosen.shape[1]):
            gradients.append(self._gradients(chosen[:, number]))
            for method in self.plan.methods:
                if not method.whole_graph and _needs_map(method, number):
                    maps |= self._of(method, chosen, number, gradients[number])
            # The gradients of the other methods are not needed any more: with many targets they would fill the memory.
            gradients[number] = {m.key: gradients[number].get(m.key, {}) for m in self.plan.methods if m.whole_graph}
        maps |= self._in_small_groups(chosen, gradients)
        return self._in_order(maps, chosen.shape[1])

    def _in_small_groups(
        self, targets: Tensor, gradients: Sequence[dict[str, dict[str, Tensor]]]
    ) -> dict[MapKey, Tensor]:
        """The methods whose graph is that of the whole network, which would not fit into memory for a whole batch."""
        methods = [method for method in self.plan.methods if method.whole_graph]
        count = len(self.inputs) if self.real is None else self.real

        def maps_of_group(group: list[int], counted: int) -> dict[MapKey, Tensor]:
            # Before rows that repeat the last image there may be too few to fill the group: these fill it from behind.
            first = min(group[0], len(self.inputs) - len(group))
            part, counts = slice(first, first + len(group)), slice(group[0] - first, group[0] - first + counted)
            few = self._subset(part)
            maps: dict[MapKey, Tensor] = {}
            for number in range(targets.shape[1]):
                own = {key: {path: g[part] for path, g in by.items()} for key, by in gradients[number].items()}
                for method in methods:
                    if _needs_map(method, number):
                        maps |= few._of(method, targets[part], number, own)
            return {key: each[counts] for key, each in maps.items()}

        limit = self.shared.chunks.images
        groups = list(limit.run_padded(range(count), maps_of_group, len(self.inputs))) if methods else [{}]
        padding = len(self.inputs) - count
        by_key = {key: [group[key] for group in groups] for key in groups[0]}
        return {key: torch.cat(maps + [maps[-1][-1:]] * padding) for key, maps in by_key.items()}

    def _subset(self, part: slice) -> Batch:
        """Some images of the batch, without what was captured: that is of the whole batch."""
        few = copy(self)  # not a new Batch, which would run the shared pass again
        few.inputs, few.seeds, few.logits, few.real = self.inputs[part], self.seeds[part], self.logits[part], None
        few.activations = {path: a[part] for path, a in self.activations.items()}
        few.shared = replace(self.shared, inputs=few.inputs, memos={})
        return few

    def _of(
        self, method: Method, targets: Tensor, number: int, gradients: dict[str, dict[str, Tensor]]
    ) -> dict[MapKey, Tensor]:
        together = method.targets_together
        explained = targets if together else targets[:, number]
        maps: dict[MapKey, Tensor] = {}

        def pass_at(layer: TargetLayer | None) -> Pass:
            return self._pass(method, layer, explained, gradients.get(method.key, {}).get(layer.path if layer else ""))

        def compute(own: Pass) -> Tensor:
            with torch.no_grad():
                return method.compute(own, self.plan.settings[method.key]).float()

        path: str | tuple[str, ...] | None
        if method.scope == "layers":
            layers = self.plan.layers_of(method)
            path = tuple(layer.path for layer in layers)
            several = replace(pass_at(None), layers=[pass_at(layer) for layer in layers])
            return {MapKey(method.key, path, number): compute(several)}
        no_layer: list[TargetLayer | None] = [None]
        for layer in (self.plan.layers[:1] or no_layer) if method.scope == "network" else self.plan.layers:
            result = compute(pass_at(layer))
            path = None if layer is None or method.scope == "network" else layer.path
            if together:
                maps |= {MapKey(method.key, path, t): result[:, t] for t in range(targets.shape[1])}
            else:
                maps[MapKey(method.key, path, number)] = result
        return maps

    def _pass(self, method: Method, layer: TargetLayer | None, targets: Tensor, gradients: Tensor | None) -> Pass:
        plan, none = self.plan, self.inputs.new_empty(len(self.inputs), 0, 0, 0)
        return Pass(
            activations=self.activations[layer.path] if layer is not None else none,
            logits=self.logits,
            targets=targets,
            score=plan.score,
            seeds=self.seeds,
            inputs=self.inputs,
            network=NetworkAccess(self.shared, targets, method.key),
            # A method that needs no layer does not ask for it.
            layer=LayerAccess(self.shared, cast(TargetLayer, layer), targets, method.key, self.real),
            gradients=gradients,
            eigen_smooth=plan.options.eigen_smooth,
            real=self.real,
        )

    def _gradients(self, targets: Tensor) -> dict[str, dict[str, Tensor]]:
        """By method and layer: one backward pass for the run's score, one for every score of a method's own."""
        plan, captured = self.plan, self.shared.captured
        gradients: dict[str, dict[str, Tensor]] = {}
        common = [m for m in plan.methods if m.needs_gradients and m.rescore is None]
        groups = [common] if common else []
        groups += [[m] for m in plan.methods if m.needs_gradients and m.rescore is not None]
        for group in groups:
            layers = {layer.path: layer for m in group for layer in plan.layers_of(m)}
            rescore = group[0].rescore
            with torch.enable_grad():
                if rescore is None:
                    scores = plan.score(captured.logits, targets)
                else:
                    scores = rescore(captured.logits, targets, self.labels, plan.settings[group[0].key])
            native = captured.gradients(scores, list(layers), keep_graph=True)  # for the next group and target
            maps = {path: maps_of(layer, native[path]) for path, layer in layers.items()}
            gradients |= {m.key: maps for m in group}
        return gradients

    def _in_order(self, maps: dict[MapKey, Tensor], targets_per_image: int) -> dict[MapKey, Tensor]:
        plan, ordered = self.plan, {}
        fused = plan.options.fuse != "none" and len(plan.layers) > 1
        paths = tuple(layer.path for layer in plan.layers)
        for method in plan.methods:
            own = dict.fromkeys(key.layer for key in maps if key.method == method.key)
            together: list[str | tuple[str, ...] | None] = [paths] if fused and method.scope == "layer" else list(own)
            for layer in together:
                for number in range(targets_per_image):
                    at = number if method.class_specific else 0
                    if fused and method.scope == "layer":
                        parts = [maps[MapKey(method.key, path, at)] for path in paths]
                        fused_maps = fuse(parts, plan.options.fuse, method.max_fusion_gamma)
                        ordered[MapKey(method.key, layer, number)] = fused_maps
                    else:
                        ordered[MapKey(method.key, layer, number)] = maps[MapKey(method.key, layer, at)]
        return ordered
