"""How much each position of an activation changes for each perturbed image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from camcli.capture.hooks import hook_calls
from camcli.capture.outputs import main_tensor

_MANY_PIXELS = 8 * 384 * 384  # pixels that go through the model at once
KEEP_BYTES = 64 << 20  # bytes of activations that are kept until their change is asked for


@dataclass(frozen=True)
class ActivationChange:
    """How much each position changes, root mean square over the axis that is taken for the channels.

    Attributes:
        shape: of the activation of one image, (1, ...).
        by_axis: axis taken for the channels → (K + 1, ...) float32 on the CPU, the last row for the image replaced
            throughout. Axes 1 and 3 of a four-dimensional activation, axis 2 of a three-dimensional one, as far as
            any candidate layout has its channels there.
    """

    shape: tuple[int, ...]
    by_axis: dict[int, Tensor]

    @classmethod
    def between(cls, changed: Tensor, reference: Tensor, axes: Iterable[int]) -> ActivationChange:
        """From activations of the perturbed images, (K + 1, ...), to that of the image as it is, (1, ...)."""
        squares = (changed - reference).float().square_()
        return cls((1, *changed.shape[1:]), {axis: squares.mean(axis).sqrt_().cpu() for axis in axes})


@dataclass
class PendingChange:
    """What one module returned for a batch of perturbed images, in parts; measured when asked for.

    Most layers are never asked for, and measuring a wide early activation takes longer than computing it.
    """

    axes: Iterable[int]
    reference: Tensor | None
    parts: list[ActivationChange | tuple[Tensor, int]] = field(default_factory=list)

    def add(self, tensor: Tensor, keep: bool) -> None:
        """One part of the batch; without :attr:`reference`, the image as it is comes first in it."""
        if self.reference is None:
            self.parts.append(ActivationChange.between(tensor[1:], tensor[:1], self.axes))
        elif keep:
            self.parts.append((tensor, tensor._version))  # the version shows whether it is overwritten later
        else:
            self.parts.append(ActivationChange.between(tensor, self.reference, self.axes))

    def measure(self) -> ActivationChange | None:
        """The change over the whole batch; None where something behind the module has worked in place since."""
        measured = [part if isinstance(part, ActivationChange) else self._measure(*part) for part in self.parts]
        self.parts = []
        whole = [part for part in measured if part is not None]
        if len(whole) < len(measured):
            return None
        by_axis = {axis: torch.cat([part.by_axis[axis] for part in whole]) for axis in self.axes}
        return ActivationChange(whole[0].shape, by_axis)

    def _measure(self, tensor: Tensor, version: int) -> ActivationChange | None:
        assert self.reference is not None
        return ActivationChange.between(tensor, self.reference, self.axes) if tensor._version == version else None


def record_changes(
    module: nn.Module,
    axes: Mapping[str, Iterable[int]],
    images: Tensor,
    feed: Callable[[Tensor], Any],
    reference: Mapping[str, Tensor],
    keep_bytes: int = KEEP_BYTES,
    batch_size: int | None = None,
) -> dict[str, PendingChange]:
    """How these modules change for perturbed images; those whose output is no activation of the batch are left out.

    Args:
        module: the root, in eval mode.
        axes: of each module, by canonical path, those that may hold its channels.
        images: as in :class:`~camcli.layers.perturb.Perturbation`.
        feed: runs the model on a batch.
        reference: activations (1, ...) for the image as it is, of some modules; with those of all it is not run again.
        keep_bytes: of activations that may be kept, those of the first modules; the others are measured at once.
        batch_size: images that go through the model at once, at most; with 1, modules without a reference are left out.
    """
    if batch_size == 1:
        axes = {path: own for path, own in axes.items() if path in reference}
    changes = {path: PendingChange(axes[path], reference.get(path)) for path in axes}
    height, width = images.shape[2:]
    size = max(1, min(_MANY_PIXELS // (height * width), batch_size or len(images)) - 1)
    first = images[:0] if all(path in reference for path in axes) else images[:1]
    if len(first):
        changes = {path: PendingChange(axes[path], None) for path in axes}
    chunks = torch.split(images[1:], size)

    keep: dict[str, bool] = {}
    for path, change in changes.items():
        keep_bytes -= change.reference.nbytes * (len(images) - 1) if change.reference is not None else 0
        keep[path] = keep_bytes > 0

    def add(path: str, output: Any) -> None:
        tensor = main_tensor(output)
        if tensor is not None and tensor.ndim in (3, 4) and len(tensor) == len(batch):
            changes[path].add(tensor, keep[path] and not tensor.is_inference())

    with hook_calls(module, changes, add), torch.no_grad():
        for chunk in chunks:
            batch = torch.cat([first, chunk]) if len(first) else chunk
            feed(batch)
    return {path: change for path, change in changes.items() if len(change.parts) == len(chunks)}


def record_outputs(
    module: nn.Module, paths: Iterable[str], image: Tensor, feed: Callable[[Tensor], Any]
) -> dict[str, Tensor]:
    """What these modules return for one image (1, C, H, W), as far as that is an activation of it."""
    outputs: dict[str, Tensor] = {}

    def keep(path: str, output: Any) -> None:
        tensor = main_tensor(output)
        if tensor is not None and tensor.ndim in (3, 4) and len(tensor) == 1:
            outputs[path] = tensor.clone()

    paths = list(paths)
    if paths:
        with hook_calls(module, paths, keep), torch.no_grad():
            feed(image)
    return outputs
