"""Tail replay: what comes after a layer, run again on altered activations without the part before it.

When the layer returns, some modules have finished. The outermost of them (those not inside another finished one) are
all that the rest of the forward pass can still call for: with their outputs remembered and returned as they are,
calling the model runs the tail alone, whatever functional code stands between the modules. Most of these outputs are
never looked at again (a chain of stages hands on the last one only); a trial with NaN in their place finds out, and
only the others are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from camcli.capture.cut import Forward
from camcli.capture.frozen import replace_forward
from camcli.capture.outputs import main_tensor, with_main_tensor

Key = tuple[str, int]
"""A module's path and which of its calls in the pass, from 0."""

Memo = dict[Key, Any]


@dataclass(frozen=True)
class Spec:
    """The shape of a remembered tensor, and how it grows with the batch.

    Attributes:
        shape: of the tensor at a batch of one.
        dim: the dimension that grows with the batch, None where none does (a position bias).
        per: its entries an image.
        dtype: of the tensor.
    """

    shape: tuple[int, ...]
    dim: int | None
    per: int
    dtype: torch.dtype

    def rows(self, tensor: Tensor, image: int, count: int) -> Tensor:
        """The entries of one image, ``count`` times; without a copy where one entry stands for the image."""
        if self.dim is None:
            return tensor
        own = tensor.narrow(self.dim, image * self.per, self.per)
        repeats = [1] * own.ndim
        if self.per > 1:
            repeats[self.dim] = count
            return own.repeat(repeats)
        repeats = [-1] * own.ndim
        repeats[self.dim] = count
        return own.expand(repeats)

    def nothing(self, count: int, device: torch.device) -> Tensor:
        """NaN in the shape of ``count`` images, one number in memory."""
        shape = list(self.shape)
        if self.dim is not None:
            shape[self.dim] = self.per * count
        return torch.full((), torch.nan, dtype=self.dtype, device=device).expand(shape)


@dataclass(frozen=True)
class Tail:
    """How to run what comes after a layer.

    Attributes:
        forward: runs the whole module, in the precision of the tail.
        path: the layer.
        specs: for each finished outermost call before the layer, and for the layer itself, the tensors it returns.
        live: those of them whose values the tail uses.
        copies: hand out copies, since something behind writes in place.
        why_not: the reason why nothing can be replayed, so that the whole model runs instead; None where it can.
    """

    forward: Forward
    path: str
    specs: Mapping[Key, list[Spec | None]] = field(default_factory=dict)
    structures: Mapping[Key, Any] = field(default_factory=dict)
    live: frozenset[Key] = frozenset()
    copies: bool = False
    why_not: str | None = None

    @contextmanager
    def remembering(self, memo: Memo) -> Iterator[None]:
        """Fill ``memo`` in the forward pass inside with what :meth:`run` will need of this batch."""
        calls: dict[str, int] = {}
        wanted = {(self.path, 0), *self.live}

        def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                key = (path, calls.get(path, 0))
                calls[path] = key[1] + 1
                if key in wanted:
                    memo[key] = pytree.tree_map_only(Tensor, self._kept, output)

            return hook

        with ExitStack() as hooks:
            for path in dict.fromkeys(path for path, _ in wanted):
                handle = self.forward.module.get_submodule(path).register_forward_hook(keep(path), prepend=False)
                hooks.callback(handle.remove)
            yield

    def original(self, memo: Memo) -> Tensor:
        """The layer's own activation in the batch, in the precision of the tail."""
        tensor = main_tensor(memo[self.path, 0])
        assert tensor is not None
        return tensor

    def run(self, memo: Memo, inputs: Tensor, altered: Tensor, image: int) -> Tensor:
        """Logits (M, classes) float32 with the layer's activation replaced.

        Args:
            memo: of the batch.
            inputs: (N, C, H, W) of the batch.
            altered: (M, ...) activations in the layer's own shape, all in place of the same image's.
            image: which image of the batch, from 0.
        """
        count = len(altered)
        if self.copies or self.why_not is not None:
            altered = altered.clone()
        output = with_main_tensor(self._given((self.path, 0), memo, image, count), altered)
        copies = [inputs[image : image + 1].expand(count, *inputs.shape[1:])]
        if self.copies:
            copies[0] = copies[0].clone()
        if self.why_not is not None:
            return self._whole(copies[0], output)
        ready: dict[str, list[Any]] = {}
        for path, call in self.specs:
            if path != self.path:
                ready.setdefault(path, []).append(self._given((path, call), memo, image, count))
        ready[self.path] = [output]
        with _answering(self.forward.module, ready):
            return self.forward(copies[0])

    def run_batch(self, memo: Memo, inputs: Tensor, altered: Tensor) -> Tensor:
        """Logits (N, classes) with the activations (N, ...) of the whole batch replaced; differentiable."""
        output = with_main_tensor(memo[self.path, 0], altered)
        if self.why_not is not None:
            return self._whole(inputs, output)
        with self.answering({**memo, (self.path, 0): output}, inputs):
            return self.forward(inputs)

    @contextmanager
    def answering(self, memo: Memo, inputs: Tensor) -> Iterator[None]:
        """Inside, everything up to the layer returns for the batch what is remembered, without running."""
        ready: dict[str, list[Any]] = {}
        for key in self.specs:
            value = memo[key] if key in memo else self._stub(key, len(inputs), inputs.device)
            ready.setdefault(key[0], []).append(value)
        with _answering(self.forward.module, ready):
            yield

    def _whole(self, inputs: Tensor, output: Any) -> Tensor:
        handle = self.forward.module.get_submodule(self.path).register_forward_hook(lambda *_: output)
        try:
            return self.forward(inputs)
        finally:
            handle.remove()

    def _given(self, key: Key, memo: Memo, image: int, count: int) -> Any:
        if key not in memo:
            return self._stub(key, count, None)
        leaves, structure = pytree.tree_flatten(memo[key])
        if key not in self.specs:  # nothing is known about how it grows: the layer itself, when all runs again
            return memo[key]
        specs = self.specs[key]
        rows = [
            leaf if spec is None else self._rows(spec, leaf, image, count)
            for leaf, spec in zip(leaves, specs, strict=True)
        ]
        return pytree.tree_unflatten(rows, structure)

    def _rows(self, spec: Spec, tensor: Tensor, image: int, count: int) -> Tensor:
        rows = spec.rows(tensor, image, count)
        # One copy is a view of the memory itself, which an in-place operation behind would overwrite unnoticed.
        return rows.clone() if self.copies or count == 1 else rows

    def _stub(self, key: Key, count: int, device: torch.device | None) -> Any:
        leaves, structure = pytree.tree_flatten(self.structures[key])
        device = device or next((leaf.device for leaf in leaves if isinstance(leaf, Tensor)), torch.device("cpu"))
        made = [
            leaf if spec is None else spec.nothing(count, device)
            for leaf, spec in zip(leaves, self.specs[key], strict=True)
        ]
        return pytree.tree_unflatten(made, structure)

    def _kept(self, tensor: Tensor) -> Tensor:
        wide = self.forward.precision == "fp32" and tensor.dtype in (torch.float16, torch.bfloat16)
        kept = tensor.detach().to(torch.float32) if wide and not self._half() else tensor.detach()
        return kept.clone() if kept.data_ptr() == tensor.data_ptr() else kept

    def _half(self) -> bool:
        return self.forward.own_dtype != torch.float32


@contextmanager
def _answering(module: nn.Module, ready: Mapping[str, list[Any]]) -> Iterator[None]:
    """Inside, the first calls of these modules return what is ready instead of running; later ones run as always."""
    with ExitStack() as stack:
        for path, values in ready.items():
            part = module.get_submodule(path)
            stack.enter_context(replace_forward(part, _answers(part.forward, list(values))))
        yield


def _answers(forward: Callable[..., Any], values: list[Any]) -> Callable[..., Any]:
    left = iter(values)

    def answer(*args: Any, **kwargs: Any) -> Any:
        for value in left:
            return value
        return forward(*args, **kwargs)

    return answer
