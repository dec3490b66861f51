"""One batch of perturbed images and what it shows about layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from camcli.layers.activation_change import HOLD, Moved, Movement, perturbed
from camcli.layers.layout import LayoutFlag
from camcli.layers.perturb import Perturbation
from camcli.layers.probe import Feed, Visit
from camcli.layers.verification import Prover, Verdict


@dataclass
class Evidence:
    """How layers move for one batch of perturbed images.

    Attributes:
        module: the network.
        perturbation: the batch.
        feed: runs the network on a batch of float32 images on the CPU.
        visits: what the modules did for the image that is perturbed.
        prover: reads the movements.
        earlier: evidence with other blocks in the same image; tells how far everything can move.
    """

    module: nn.Module
    perturbation: Perturbation
    feed: Feed
    visits: Mapping[str, Visit]
    prover: Prover
    earlier: Evidence | None = None
    _seen: dict[str, Moved | None] = field(default_factory=dict)
    _moved: dict[str, Movement | None] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module, perturbation: Perturbation, feed: Feed, visits: Mapping[str, Visit]) -> Evidence:
        """Evidence that is gathered when it is asked for."""
        height, width = perturbation.images.shape[2:]
        return cls(module, perturbation, feed, visits, Prover(perturbation.boxes, (height, width)))

    def more(self, perturbation: Perturbation) -> Evidence:
        """Evidence with other blocks in the same image; ``perturbation`` has no image replaced throughout."""
        prover = Prover(perturbation.boxes, self.prover.image)
        return Evidence(self.module, perturbation, self.feed, self.visits, prover, earlier=self)

    @property
    def paths(self) -> list[str]:
        """The modules looked at so far."""
        return list(self._seen)

    def gather(self, paths: Iterable[str]) -> None:
        """Look at all these modules, for the price of one batch."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._seen]
        if wanted:
            self._look(wanted, HOLD)

    def verdict(self, path: str, flag: LayoutFlag) -> Verdict:
        """What it says about one module's output."""
        moved = self.movement(path)
        if moved is None:
            return Verdict(None, "refuted", "not spatial: images of a batch do not stay apart")
        return self.prover.verdict(moved, flag)

    def movement(self, path: str) -> Movement | None:
        """How far the module's output moves; None where it is no activation of the batch."""
        self.gather([path])
        if path not in self._moved:
            seen = self._seen[path]
            moved = seen.movement() if seen is not None else None
            if seen is not None and moved is None:
                self._look([path], hold=0)
                seen = self._seen[path]
                moved = seen.movement() if seen is not None else None
            self._moved[path] = self._complete(path, moved)
        return self._moved[path]

    def _look(self, paths: list[str], hold: int) -> None:
        axes = {path: self.prover.axes(self.visits[path].shape) for path in paths}
        still = {path: kept for path in paths if (kept := self.visits[path].still) is not None}
        seen = perturbed(self.module, axes, self.perturbation.images, self.feed, still, hold)
        self._seen.update({path: seen.get(path) for path in paths})

    def _complete(self, path: str, moved: Movement | None) -> Movement | None:
        """With how far everything moves, where that was seen earlier."""
        if moved is None or self.earlier is None:
            return moved
        before = self.earlier.movement(path)
        if before is None:
            return None
        everything = {axis: before.by_axis[axis][-1:] for axis in moved.by_axis}
        return Movement(moved.shape, {axis: torch.cat([new, everything[axis]]) for axis, new in moved.by_axis.items()})
