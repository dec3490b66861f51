"""The part of a network before its target layer as one graph, which can be compiled by itself.

The graph returns the few tensors that the rest of the pass looks at (see :mod:`camcli.capture.replay`); the rest then
runs as it is written, so that hooks, gradients and every method see the layer as always.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from camcli.capture.cut import Forward
from camcli.capture.replay import Key, Memo, Tail


@dataclass(frozen=True)
class Trunk:
    """Runs the part before the target layer for batches of one shape: a :class:`camcli.capture.cut.Ahead`.

    Attributes:
        tail: what comes behind it.
        like: inputs of the shape (N, C, H, W) and memory that it was made for.
        run: from the inputs to the tensors of :func:`wanted`, one after the other.
    """

    tail: Tail
    like: Tensor
    run: Callable[[Tensor], Sequence[Tensor]]

    @property
    def batch(self) -> int:
        """N."""
        return len(self.like)

    @contextmanager
    def of(self, inputs: Tensor) -> Iterator[None]:
        """See :class:`camcli.capture.cut.Ahead`; inputs of another shape, or that want a gradient, are not for this."""
        if inputs.shape != self.like.shape or inputs.requires_grad:
            yield
            return
        with torch.no_grad():
            same = inputs.stride() == self.like.stride()  # of other memory, all would be compiled again
            values = iter(self.run(inputs if same else torch.empty_like(self.like).copy_(inputs)))
        memo: Memo = {}
        for key in wanted(self.tail):
            leaves, structure = pytree.tree_flatten(self.tail.structures[key])
            memo[key] = pytree.tree_unflatten(
                [next(values) if isinstance(leaf, Tensor) else leaf for leaf in leaves], structure
            )
        with self.tail.answering(memo, inputs):
            yield


def wanted(tail: Tail) -> list[Key]:
    """The calls whose results the rest of the pass looks at, the layer's own last."""
    layer = (tail.path, 0)
    return [*sorted(tail.live - {layer}), layer]


def graph_of(forward: Forward, tail: Tail, inputs: Tensor) -> nn.Module:
    """The part before the layer as a module made of plain tensor operations, for inputs of this shape.

    Raises:
        Exception: whatever ``torch.export`` raises for a model that decides by the values of its tensors, or does
            what a graph cannot hold.
    """
    recording = _Recording(forward.module, wanted(tail))
    with torch.no_grad(), _attributes_kept(forward.module), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the attributes that are put back
        exported = torch.export.export(recording, (inputs,), strict=False)
    return exported.module()


@contextmanager
def _attributes_kept(module: nn.Module) -> Iterator[None]:
    """What a module remembers of the pass inside, tensors without values, it forgets again."""
    before = [(part, dict(part.__dict__)) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes in before:
            part.__dict__.clear()
            part.__dict__.update(attributes)


class _Recording(nn.Module):
    """Runs a module for the results of some of its calls; what follows them is dead code that leaves the graph."""

    def __init__(self, module: nn.Module, keys: Sequence[Key]) -> None:
        super().__init__()
        self.module, self.keys = module, keys

    def forward(self, inputs: Tensor) -> list[Tensor]:
        found: Memo = {}
        calls: dict[str, int] = {}

        def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                # A copy, since what follows may write into it.
                found[path, calls.get(path, 0)] = pytree.tree_map_only(Tensor, torch.clone, output)
                calls[path] = calls.get(path, 0) + 1

            return hook

        with ExitStack() as hooks:
            for path in dict.fromkeys(path for path, _ in self.keys):
                part = self.module.get_submodule(path)
                hooks.callback(part.register_forward_hook(keep(path)).remove)
            self.module(inputs)
        return [leaf for key in self.keys for leaf in pytree.tree_leaves(found[key]) if isinstance(leaf, Tensor)]
