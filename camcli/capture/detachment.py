"""Where a model takes a tensor out of autograd's graph: what it calls for that, in which line of the user's code."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils import _pytree as pytree

from camcli.user_code import Place, is_own, place_of_frame, place_of_function

_BLOCKS = (torch.no_grad, torch.inference_mode)
_OUT_OF_TORCH = ("numpy", "__array__", "tolist", "item")


@dataclass(frozen=True)
class Detachment:
    """What has no gradient.

    Attributes:
        what: what the model calls, such as ``Tensor.detach`` or ``torch.inference_mode``.
        place: the line of the user's code; None where a library does it.
    """

    what: str
    place: Place | None

    def __str__(self) -> str:
        return self.what + (f" ({self.place})" if self.place is not None else "")


@dataclass(frozen=True)
class _Block:
    kind: type
    place: Place | None

    @property
    def detachment(self) -> Detachment:
        return Detachment(f"torch.{self.kind.__name__}", self.place)


@dataclass
class _Watch(TorchFunctionMode):
    """Notes every operation that takes what autograd records and returns what it does not."""

    blocks: list[_Block]
    detachments: list[Detachment] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        takes_graph = any(isinstance(x, Tensor) and x.requires_grad for x in pytree.tree_leaves((args, kwargs)))
        try:
            output = func(*args, **kwargs)
        except RuntimeError:
            if takes_graph and name in _OUT_OF_TORCH:  # refused, since the tensor has a gradient
                self._note(func, sys._getframe(1))
            raise
        if takes_graph and _leaves_graph(name, output):
            self._note(func, sys._getframe(1))
        return output

    def _note(self, func: Any, frame: FrameType) -> None:
        if torch.is_grad_enabled():
            self.detachments.append(Detachment(_name(func), place_of_frame(frame)))
        elif self.blocks:
            self.detachments.append(self.blocks[-1].detachment)
        else:
            self.detachments.append(Detachment("torch.set_grad_enabled(False)", place_of_frame(frame)))


def find_detachments(run: Callable[[Tensor], object], image: Tensor) -> list[Detachment]:
    """Where a pass takes tensors out of the graph, in the order of the pass.

    Args:
        run: the pass; where it fails, what came before counts.
        image: (1, C, H, W).
    """
    blocks: list[_Block] = []
    # What fails has been reported, or is the cause itself.
    with _noted_blocks(blocks) as seen, torch.enable_grad(), _Watch(blocks) as watch, suppress(Exception):
        run(image.detach().clone().requires_grad_())
    found = watch.detachments or [block.detachment for block in seen if block.kind is torch.inference_mode]
    return list(dict.fromkeys(found))


def _leaves_graph(name: str, output: Any) -> bool:
    if isinstance(output, Tensor):
        return output.is_floating_point() and not output.requires_grad and name not in _WITHOUT_VALUES
    return name in _OUT_OF_TORCH


_WITHOUT_VALUES = {"empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "new_zeros"}


def _name(func: Any) -> str:
    name: str = resolve_name(func) or getattr(func, "__name__", str(func))
    return name.removesuffix(".__get__").removeprefix("torch.").replace("_tensor.", "")


@contextmanager
def _noted_blocks(active: list[_Block]) -> Iterator[list[_Block]]:
    """Inside, the blocks that disable autograd are in ``active`` while they run; yields all that were entered."""
    seen: list[_Block] = []

    def noted(kind: type) -> tuple[Any, Any]:
        enter, leave = kind.__enter__, kind.__exit__  # type: ignore[attr-defined]

        def entering(block: Any) -> None:
            enter(block)
            if getattr(block, "mode", True):
                active.append(_Block(kind, _place_of_block(sys._getframe(1))))
                seen.append(active[-1])

        def leaving(block: Any, *error: Any) -> Any:
            if getattr(block, "mode", True) and active:
                active.pop()
            return leave(block, *error)

        return entering, leaving

    with ExitStack() as undo:
        for kind in _BLOCKS:
            own = (kind.__enter__, kind.__exit__)
            kind.__enter__, kind.__exit__ = noted(kind)  # type: ignore[method-assign]
            undo.callback(_restore, kind, own)
        yield seen


def _restore(kind: Any, own: tuple[Any, Any]) -> None:
    kind.__enter__, kind.__exit__ = own


def _place_of_block(frame: FrameType | None) -> Place | None:
    """Where a block begins: the line of ``with``, or the function that it decorates."""
    decorated = frame.f_locals.get("func") if frame is not None else None
    code = getattr(decorated, "__code__", None)
    if code is not None and is_own(code.co_filename):
        return place_of_function(code)
    return place_of_frame(frame)
