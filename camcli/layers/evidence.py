"""One batch of perturbed images and what it shows about layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from camcli.layers.layout import LayoutFlag
from camcli.layers.perturb import Movement, Perturbation, movements
from camcli.layers.probe import Feed
from camcli.layers.proof import Prover, Verdict


@dataclass
class Evidence:
    """How layers move for one batch of perturbed images.

    Attributes:
        module: the network.
        perturbation: the batch.
        feed: runs the network on a batch of float32 images on the CPU.
        prover: reads the movements.
    """

    module: nn.Module
    perturbation: Perturbation
    feed: Feed
    prover: Prover
    _moved: dict[str, Movement | None] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module, perturbation: Perturbation, feed: Feed) -> Evidence:
        """Evidence that is gathered when it is asked for."""
        height, width = perturbation.images.shape[2:]
        return cls(module, perturbation, feed, Prover(perturbation.boxes, (height, width)))

    @property
    def paths(self) -> list[str]:
        """The modules looked at so far."""
        return list(self._moved)

    def gather(self, paths: Iterable[str]) -> None:
        """Look at all these modules, for the price of one batch."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._moved]
        if wanted:
            moved = movements(self.module, wanted, self.perturbation.images, self.feed)
            self._moved.update({path: moved.get(path) for path in wanted})

    def verdict(self, path: str, flag: LayoutFlag) -> Verdict:
        """What it says about one module's output."""
        self.gather([path])
        moved = self._moved[path]
        if moved is None:
            return Verdict(None, "refuted", "not spatial: images of a batch do not stay apart")
        return self.prover.verdict(moved, flag)
