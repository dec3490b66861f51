"""Tail replay: what comes after a layer, run again on altered activations without the part before it.

When the layer returns, some modules have finished. The outermost of them (those not inside another finished one) are
all that the rest of the forward pass can still use: with their outputs recorded and returned in place of running them,
calling the model runs the tail alone, whatever functional code is between the modules. The tail needs no
description of the architecture for that. Most of these outputs are not used again (in a chain of stages only the last
one is); a trial with NaN in their place shows which, and only the used ones are kept. On an accelerator, which NaN may
bring down, they are followed through the pass instead (:mod:`camcli.capture.dependence`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from camcli.capture.forward import Forward
from camcli.capture.frozen import replace_forward
from camcli.capture.hooks import hook_calls, split_call
from camcli.capture.outputs import main_tensor, with_main_tensor

Key = tuple[str, int]
"""A module's path and which of its calls in the pass, from 0."""


def key_of(path: str) -> Key:
    """The call that a layer's path means: ``encoder@2`` is ``("encoder", 1)``."""
    base, call = split_call(path)
    return base, (call or 1) - 1


def may_hold_nan(device: torch.device) -> bool:
    """Whether NaN may be put into a model on purpose: where a model makes an index of it, CUDA ends the context."""
    return device.type == "cpu"


Memo = dict[Key, Any]
"""The recorded outputs of one batch."""


@dataclass(frozen=True)
class Spec:
    """The shape of a recorded tensor, and how it grows with the batch.

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

    def rows(self, tensor: Tensor, image: int, count: int, images: int = 1) -> Tensor:
        """The entries of ``images`` images from ``image`` on, ``count`` times; without a copy of a single entry."""
        if self.dim is None:
            return tensor
        entries = images * self.per
        own = tensor.narrow(self.dim, image * self.per, entries)
        repeats = [1 if entries > 1 else -1] * own.ndim
        repeats[self.dim] = count
        return own.repeat(repeats) if entries > 1 else own.expand(repeats)

    def placeholder(self, count: int, device: torch.device) -> Tensor:
        """NaN in the shape of ``count`` images, one number in memory: should it be used, the logits show it.

        Zero on a device that NaN is kept away from: it may be made into an index that is used for nothing.
        """
        shape = list(self.shape)
        if self.dim is not None:
            shape[self.dim] = self.per * count
        return torch.full((), torch.nan if may_hold_nan(device) else 0, dtype=self.dtype, device=device).expand(shape)


@dataclass(frozen=True)
class Tail:
    """How to run what comes after a layer.

    Attributes:
        forward: runs the whole module, in the precision of the tail.
        path: the layer.
        specs: for each finished outermost call before the layer, and for the layer itself, the tensors it returns.
        structures: the nesting of their outputs, with tensors of one number.
        used: those of them whose values the tail uses.
        copies: return copies, since something behind writes in place.
        fallback: why nothing can be replayed, so that the whole model runs instead; None where it can.
    """

    forward: Forward
    path: str
    specs: Mapping[Key, list[Spec | None]] = field(default_factory=dict)
    structures: Mapping[Key, Any] = field(default_factory=dict)
    used: frozenset[Key] = frozenset()
    copies: bool = False
    fallback: str | None = None

    @property
    def key(self) -> Key:
        """The call of the layer."""
        return key_of(self.path)

    @contextmanager
    def record(self, memo: Memo) -> Iterator[None]:
        """Fill ``memo`` in the forward pass inside with what :meth:`run` will need of this batch."""
        calls: Counter[str] = Counter()
        needed_calls = {self.key, *self.used}

        def keep(path: str, output: Any) -> None:
            key = (path, calls[path])
            calls[path] += 1
            if key in needed_calls:
                memo[key] = pytree.tree_map_only(Tensor, self._detach, output)

        with hook_calls(self.forward.module, (path for path, _ in needed_calls), keep):
            yield

    def original(self, memo: Memo) -> Tensor:
        """The layer's own activation in the batch, in the precision of the tail."""
        tensor = main_tensor(memo[self.key])
        assert tensor is not None
        return tensor

    def run(self, memo: Memo, inputs: Tensor, altered: Tensor, image: int, images: int = 1) -> Tensor:
        """Logits (M, classes) float32 with the layer's activation replaced; differentiable.

        Args:
            memo: of the batch.
            inputs: (N, C, H, W) of the batch.
            altered: (M, ...) activations in the layer's own shape: of each image in turn, then again.
            image: the first image of the batch that they are of, from 0.
            images: how many images they are of.
        """
        count = len(altered) // images
        if self.copies or self.fallback is not None:
            altered = altered.clone()
        output = with_main_tensor(self._repeat_images(self.key, memo, image, count, images), altered)
        own = inputs[image : image + images]
        repeated = own.repeat(count, 1, 1, 1) if images > 1 else own.expand(count, *inputs.shape[1:])
        repeated = repeated.clone() if self.copies else repeated
        if self.fallback is not None:
            return self._whole(repeated, output)
        ready: dict[str, list[Any]] = {}
        for key in self.specs:
            value = output if key == self.key else self._repeat_images(key, memo, image, count, images)
            ready.setdefault(key[0], []).append(value)
        with _return_recorded(self.forward.module, ready):
            return self.forward(repeated)

    def run_batch(self, memo: Memo, inputs: Tensor, altered: Tensor) -> Tensor:
        """Logits (N, classes) with the activations (N, ...) of the whole batch replaced; differentiable."""
        output = with_main_tensor(memo[self.key], altered)
        if self.fallback is not None:
            return self._whole(inputs, output)
        with self.reuse({**memo, self.key: output}, inputs):
            return self.forward(inputs)

    @contextmanager
    def reuse(self, memo: Memo, inputs: Tensor) -> Iterator[None]:
        """Inside, everything up to the layer returns what was recorded of the batch, without running."""
        ready: dict[str, list[Any]] = {}
        for key in self.specs:
            value = memo[key] if key in memo else self._placeholder(key, len(inputs), inputs.device)
            ready.setdefault(key[0], []).append(value)
        with _return_recorded(self.forward.module, ready):
            yield

    def _whole(self, inputs: Tensor, output: Any) -> Tensor:
        with hook_calls(self.forward.module, [self.path], lambda _path, _own: output):
            return self.forward(inputs)

    def _repeat_images(self, key: Key, memo: Memo, image: int, count: int, images: int) -> Any:
        if key not in memo:
            return self._placeholder(key, count * images, None)
        leaves, structure = pytree.tree_flatten(memo[key])
        if key not in self.specs:  # how it grows was not traced: the layer itself, when all runs again
            return memo[key]
        specs = self.specs[key]
        rows = [
            leaf if spec is None else self._rows(spec, leaf, image, count, images)
            for leaf, spec in zip(leaves, specs, strict=True)
        ]
        return pytree.tree_unflatten(rows, structure)

    def _rows(self, spec: Spec, tensor: Tensor, image: int, count: int, images: int) -> Tensor:
        rows = spec.rows(tensor, image, count, images)
        # Several rows are an expanded view, which refuses in-place operations; one row is a view of the recorded
        # tensor itself, which an in-place operation behind would overwrite unnoticed.
        return rows.clone() if self.copies or count == 1 else rows

    def _placeholder(self, key: Key, count: int, device: torch.device | None) -> Any:
        leaves, structure = pytree.tree_flatten(self.structures[key])
        device = device or next((leaf.device for leaf in leaves if isinstance(leaf, Tensor)), torch.device("cpu"))
        filled = [
            leaf if spec is None else spec.placeholder(count, device)
            for leaf, spec in zip(leaves, self.specs[key], strict=True)
        ]
        return pytree.tree_unflatten(filled, structure)

    def _detach(self, tensor: Tensor) -> Tensor:
        # The shared pass may run in half precision where the trials are in float32.
        wide = self.forward.precision == "fp32" and tensor.dtype in (torch.float16, torch.bfloat16)
        is_autocast = wide and self.forward.own_dtype == torch.float32
        own = tensor.detach().to(torch.float32) if is_autocast else tensor.detach()
        return own.clone() if own.data_ptr() == tensor.data_ptr() else own


@contextmanager
def _return_recorded(module: nn.Module, ready: Mapping[str, list[Any]]) -> Iterator[None]:
    """Inside, the first calls of these modules return recorded outputs instead of running; later ones run as always.

    A module may be called again behind the layer (a shared activation function): the recorded outputs end there.
    """
    with ExitStack() as stack:
        for path, values in ready.items():
            part = module.get_submodule(path)
            stack.enter_context(replace_forward(part, _recorded_first(part.forward, list(values))))
        yield


def _recorded_first(forward: Callable[..., Any], values: list[Any]) -> Callable[..., Any]:
    remaining = iter(values)

    def call(*args: Any, **kwargs: Any) -> Any:
        for value in remaining:
            return value
        return forward(*args, **kwargs)

    return call
