"""The settings of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """What is measured on how many photographs.

    Attributes:
        photos: folder of photographs.
        out: where results go, a folder for each model.
        checkpoints: folder with the weights of the models that are trained here.
        device: as ``--device`` takes it.
        images: photographs for methods of fewer than ``slow`` passes.
        slow_images: for slower ones; ``slowest_images``: from ``slowest`` passes on.
        random_images: for the weight-randomisation check, at most; half of ``slow_images`` for slow methods.
        candidates: photographs that mosaics are made of, at most.
        steps: of insertion and deletion with their usual substrates; ``other_steps``: with the others.
        grid_probability: least probability of the top class of an image in a mosaic.
        batch: images explained at once; ``scored``: altered inputs scored at once.
        seed: of everything random.
    """

    photos: Path
    out: Path
    checkpoints: Path | None = None
    device: str = "cpu"
    images: int = 40
    slow_images: int = 12
    slowest_images: int = 2
    slow: int = 200
    slowest: int = 5000
    random_images: int = 32
    candidates: int = 100
    steps: int = 32
    other_steps: int = 16
    grid_probability: float = 0.8
    batch: int = 8
    scored: int = 4
    seed: int = 0

    @property
    def quick(self) -> Plan:
        """The same in little time, to see whether all works."""
        return replace(
            self, images=min(self.images, 4), slow_images=2, slowest_images=1, random_images=2, candidates=8, steps=4,
            other_steps=4, grid_probability=0.1,
        )  # fmt: skip

    def images_for(self, passes: int, most: int | None = None) -> int:
        """How many photographs a method of so many passes gets, ``most`` of them at most."""
        count = (
            self.images if passes < self.slow else self.slow_images if passes < self.slowest else self.slowest_images
        )
        return count if most is None else min(count, most)
