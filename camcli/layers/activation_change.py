"""How far each position of an activation moves for each perturbed image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from camcli.capture.outputs import main_tensor

_MANY_PIXELS = 8 * 384 * 384  # pixels that go through the model at once
HOLD = 64 << 20  # bytes of activations that are kept until somebody asks for them


@dataclass(frozen=True)
class Movement:
    """How far each position moves, root mean square over the axis that is taken for the channels.

    Attributes:
        shape: of the activation of one image, (1, ...).
        by_axis: axis taken for the channels → (K + 1, ...) float32 on the CPU, the last row for the image replaced
            throughout. Axes 1 and 3 of a four-dimensional activation, axis 2 of a three-dimensional one, as far as
            any reading has its channels there.
    """

    shape: tuple[int, ...]
    by_axis: dict[int, Tensor]

    @classmethod
    def of(cls, changed: Tensor, still: Tensor, axes: Iterable[int]) -> Movement:
        """From activations of the perturbed images, (K + 1, ...), to that of the image as it is, (1, ...)."""
        squares = (changed - still).float().square_()
        return cls((1, *changed.shape[1:]), {axis: squares.mean(axis).sqrt_().cpu() for axis in axes})


@dataclass
class Moved:
    """What one module returned for a batch of perturbed images, in parts; measured when asked for.

    Most candidates are never asked for, and measuring a wide early activation takes longer than computing it.
    """

    axes: Iterable[int]
    still: Tensor | None
    parts: list[Movement | tuple[Tensor, int]] = field(default_factory=list)

    def add(self, tensor: Tensor, hold: bool) -> None:
        """One part of the batch; without :attr:`still`, the image as it is comes first in it."""
        if self.still is None:
            self.parts.append(Movement.of(tensor[1:], tensor[:1], self.axes))
        elif hold:
            self.parts.append((tensor, tensor._version))
        else:
            self.parts.append(Movement.of(tensor, self.still, self.axes))

    def movement(self) -> Movement | None:
        """The movement of the whole batch; None where something behind the module worked in place meanwhile."""
        measured = [part if isinstance(part, Movement) else self._measured(*part) for part in self.parts]
        self.parts = []
        whole = [part for part in measured if part is not None]
        if len(whole) < len(measured):
            return None
        return Movement(whole[0].shape, {axis: torch.cat([part.by_axis[axis] for part in whole]) for axis in self.axes})

    def _measured(self, tensor: Tensor, version: int) -> Movement | None:
        assert self.still is not None
        return Movement.of(tensor, self.still, self.axes) if tensor._version == version else None


def perturbed(
    module: nn.Module,
    axes: Mapping[str, Iterable[int]],
    images: Tensor,
    feed: Callable[[Tensor], Any],
    still: Mapping[str, Tensor],
    hold: int = HOLD,
) -> dict[str, Moved]:
    """What these modules return for perturbed images; those whose output is no activation of the batch are left out.

    Args:
        module: the root, in eval mode.
        axes: of each module, by canonical path, those that may hold its channels.
        images: as in :class:`~camcli.layers.perturb.Perturbation`.
        feed: runs the model on a batch.
        still: activations (1, ...) for the image as it is, where they are known; where all are, it is not run again.
        hold: bytes of activations that may be kept, those of the first modules; the others are measured at once.
    """
    moved = {path: Moved(axes[path], still.get(path)) for path in axes}
    height, width = images.shape[2:]
    size = max(1, _MANY_PIXELS // (height * width) - 1)
    lead = images[:0] if all(path in still for path in axes) else images[:1]
    if len(lead):
        moved = {path: Moved(axes[path], None) for path in axes}
    chunks = torch.split(images[1:], size)
    batch = [0]

    def watch(one: Moved, held: bool) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = main_tensor(output)
            if tensor is not None and tensor.ndim in (3, 4) and len(tensor) == batch[0]:
                one.add(tensor, held and not tensor.is_inference())

        return hook

    with ExitStack() as hooks, torch.no_grad():
        for path, one in moved.items():
            hold -= one.still.nbytes * (len(images) - 1) if one.still is not None else 0
            hooks.callback(module.get_submodule(path).register_forward_hook(watch(one, hold > 0)).remove)
        for chunk in chunks:
            batch[0] = len(lead) + len(chunk)
            feed(torch.cat([lead, chunk]) if len(lead) else chunk)
    return {path: one for path, one in moved.items() if len(one.parts) == len(chunks)}
