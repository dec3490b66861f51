"""One batch of perturbed images and what it shows about layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from camcli.layers.activation_change import KEEP_BYTES, ActivationChange, PendingChange, record_changes, record_outputs
from camcli.layers.layout import LayoutFlag
from camcli.layers.layout_verification import LayoutVerifier, Verification
from camcli.layers.perturb import Perturbation
from camcli.layers.probe import Feed, Visit


@dataclass
class Evidence:
    """How layers change for one batch of perturbed images.

    Attributes:
        module: the network.
        perturbation: the batch.
        feed: runs the network on a batch of float32 images on the CPU.
        visits: what the modules did for the image that is perturbed.
        verifier: verifies layouts by the changes.
        batch_size: images that go through the network at once, at most; None: as many as are the fastest.
        earlier: evidence with other blocks in the same image, and with how much every position can change.
    """

    module: nn.Module
    perturbation: Perturbation
    feed: Feed
    visits: Mapping[str, Visit]
    verifier: LayoutVerifier
    batch_size: int | None = None
    earlier: Evidence | None = None
    _pending: dict[str, PendingChange | None] = field(default_factory=dict)
    _changes: dict[str, ActivationChange | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        module: nn.Module,
        perturbation: Perturbation,
        feed: Feed,
        visits: Mapping[str, Visit],
        batch_size: int | None = None,
    ) -> Evidence:
        """Evidence that is gathered when it is asked for."""
        height, width = perturbation.images.shape[2:]
        verifier = LayoutVerifier(perturbation.boxes, (height, width))
        return cls(module, perturbation, feed, visits, verifier, batch_size)

    def with_other_blocks(self, perturbation: Perturbation) -> Evidence:
        """Evidence with other blocks in the same image; ``perturbation`` has no image replaced throughout."""
        verifier = LayoutVerifier(perturbation.boxes, self.verifier.image)
        return Evidence(self.module, perturbation, self.feed, self.visits, verifier, self.batch_size, earlier=self)

    @property
    def paths(self) -> list[str]:
        """The modules whose changes are ready."""
        return list(self._pending)

    def gather(self, paths: Iterable[str]) -> None:
        """Have the changes of all these modules ready, for the price of one batch."""
        unrecorded = [path for path in dict.fromkeys(paths) if path not in self._pending]
        if unrecorded:
            self._record(unrecorded, KEEP_BYTES)

    def verify(self, path: str, flag: LayoutFlag) -> Verification:
        """The layout of one module's output, as far as it can be verified."""
        change = self.change(path)
        if change is None:
            return Verification(None, "refuted", "not spatial: images of a batch do not stay apart")
        return self.verifier.verify(change, flag)

    def change(self, path: str) -> ActivationChange | None:
        """How much the module's output changes; None where it is no activation of the batch."""
        self.gather([path])
        if path not in self._changes:
            pending = self._pending[path]
            change = pending.measure() if pending is not None else None
            if pending is not None and change is None:  # overwritten since: once more, measured at once
                self._record([path], keep_bytes=0)
                pending = self._pending[path]
                change = pending.measure() if pending is not None else None
            self._changes[path] = self._complete(path, change)
        return self._changes[path]

    def _record(self, paths: list[str], keep_bytes: int) -> None:
        axes = {path: self.verifier.axes(self.visits[path].shape) for path in paths}
        reference = {path: own for path in paths if (own := self.visits[path].reference) is not None}
        if self.batch_size == 1:
            missing = [path for path in paths if path not in reference]
            reference |= record_outputs(self.module, missing, self.perturbation.images[:1], self.feed)
        pending = record_changes(
            self.module, axes, self.perturbation.images, self.feed, reference, keep_bytes, self.batch_size
        )
        self._pending.update({path: pending.get(path) for path in paths})

    def _complete(self, path: str, change: ActivationChange | None) -> ActivationChange | None:
        """With the change for an image replaced throughout, where that was measured earlier."""
        if change is None or self.earlier is None:
            return change
        before = self.earlier.change(path)
        if before is None:
            return None
        rows = {axis: torch.cat([own, before.by_axis[axis][-1:]]) for axis, own in change.by_axis.items()}
        return ActivationChange(change.shape, rows)
