"""The prefix of a network (the part before its target layer) as one graph, which can be compiled by itself.

The graph returns the few tensors that the rest of the pass uses (see :mod:`camcli.capture.replay`); the rest then runs
as it is written, so that hooks, gradients and every method see the layer as always. Compiling the whole model instead
would hide the layer from them.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from camcli.capture.forward import Forward
from camcli.capture.hooks import hook_calls
from camcli.capture.replay import Key, Memo, Tail


@dataclass(frozen=True)
class CompiledPrefix:
    """Runs the prefix for batches of one shape: a :class:`camcli.capture.forward.PrefixRunner`.

    Attributes:
        tail: what comes behind it.
        example: inputs of the shape (N, C, H, W) and memory format that it was made for.
        run: from the inputs to the tensors of :func:`used_calls`, one after the other.
    """

    tail: Tail
    example: Tensor
    run: Callable[[Tensor], Sequence[Tensor]]

    @property
    def batch_size(self) -> int:
        """N."""
        return len(self.example)

    @contextmanager
    def run_for(self, inputs: Tensor) -> Iterator[None]:
        """See :class:`camcli.capture.forward.PrefixRunner`; all runs for another shape, or inputs with a gradient."""
        if inputs.shape != self.example.shape or inputs.requires_grad:
            yield
            return
        with torch.no_grad():
            same = inputs.stride() == self.example.stride()  # other strides would start another compilation
            values = iter(self.run(inputs if same else torch.empty_like(self.example).copy_(inputs)))
        memo: Memo = {}
        for key in used_calls(self.tail):
            leaves, structure = pytree.tree_flatten(self.tail.structures[key])
            memo[key] = pytree.tree_unflatten(
                [next(values) if isinstance(leaf, Tensor) else leaf for leaf in leaves], structure
            )
        with self.tail.reuse(memo, inputs):
            yield


def used_calls(tail: Tail) -> list[Key]:
    """The calls whose results the rest of the pass uses, the layer's own last."""
    layer = tail.key
    return [*sorted(tail.used - {layer}), layer]


def export_prefix(forward: Forward, tail: Tail, inputs: Tensor) -> nn.Module:
    """The part before the layer as a module made of plain tensor operations, for inputs of this shape.

    Raises:
        Exception: whatever ``torch.export`` raises for a model that decides by the values of its tensors, or does
            what a graph cannot hold.
    """
    prefix = _Prefix(forward.module, used_calls(tail))
    with torch.no_grad(), _restore_attributes(forward.module), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the attributes that are restored
        exported = torch.export.export(prefix, (inputs,), strict=False)
    return exported.module()


@contextmanager
def _restore_attributes(module: nn.Module) -> Iterator[None]:
    """Afterwards every module has the attributes it had: those that the traced pass sets are tensors without values."""
    before = [(part, dict(part.__dict__)) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes in before:
            part.__dict__.clear()
            part.__dict__.update(attributes)


class _Prefix(nn.Module):
    """A module that returns the results of some calls inside another; export removes what follows as unused code."""

    def __init__(self, module: nn.Module, keys: Sequence[Key]) -> None:
        super().__init__()
        self.module, self.keys = module, keys

    def forward(self, inputs: Tensor) -> list[Tensor]:
        results: Memo = {}
        calls: Counter[str] = Counter()

        def keep(path: str, output: Any) -> None:
            # A copy, since what follows may write into it.
            results[path, calls[path]] = pytree.tree_map_only(Tensor, torch.clone, output)
            calls[path] += 1

        with hook_calls(self.module, (path for path, _ in self.keys), keep):
            self.module(inputs)
        return [leaf for key in self.keys for leaf in pytree.tree_leaves(results[key]) if isinstance(leaf, Tensor)]
