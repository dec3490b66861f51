"""What a check is given: the run, its own settings, and what it may open when it needs more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from camcli.checks.judge import Judge
from camcli.checks.manifest_regions import ManifestRegions
from camcli.checks.recorded import Heat, MapKey, Recorded, Seen
from camcli.stats import Bootstrap

if TYPE_CHECKING:
    from camcli.checks.baseline import Baseline
    from camcli.checks.reopened import Lab, Picture


@dataclass(frozen=True)
class Reopened:
    """Images of the run, read again, with what it takes to make their maps again.

    Attributes:
        pictures: what was read.
        targets: the class that each image's map explains; 0 where it is of none.
        seeds: of each image, as the run had it.
    """

    pictures: list[Picture]
    targets: list[int]
    seeds: list[int]

    @property
    def images(self) -> list[Seen]:
        return [picture.seen for picture in self.pictures]

    @property
    def pixels(self) -> list[np.ndarray]:
        return [picture.pixels for picture in self.pictures]


@dataclass(frozen=True)
class Context:
    """One check's view of a run.

    Attributes:
        run: what was recorded.
        key: method and layer of the maps that are checked.
        settings: of this check, complete.
        suite: the settings of all checks.
        regions: masks and boxes.
        lab: opens the model and the images; raises :class:`.UnavailableError` where they are not there.
        baseline: to compare with, where one was given.
    """

    run: Recorded
    key: MapKey
    settings: Mapping[str, Any]
    suite: Mapping[str, Any]
    regions: ManifestRegions
    lab: Lab
    baseline: Baseline | None = None

    @property
    def min_images(self) -> int:
        own = self.settings["min_images"]
        return int(self.suite["min_images"] if own is None else own)

    @property
    def seed(self) -> int:
        return int(self.suite["seed"])

    def bootstrap(self, tests: int = 1) -> Bootstrap:
        """Intervals; of several tests at once each is wider, so that all of them together keep the confidence."""
        confidence = 1 - (1 - float(self.suite["confidence"])) / tests
        return Bootstrap(confidence, int(self.suite["resamples"]), self.seed)

    def judge(self, tests: int = 1, min_images: int | None = None) -> Judge:
        """Decides by this check's thresholds."""
        return Judge(self.settings, self.min_images if min_images is None else min_images, self.bootstrap(tests))

    def shown(self, key: MapKey | None = None) -> list[tuple[Seen, Heat]]:
        """The images with a map that shows something; degenerate ones are the business of ``valid``."""
        wanted = self.key if key is None else key
        pairs = ((seen, seen.heats.get(wanted)) for seen in self.run.images)
        return [
            (seen, heat) for seen, heat in pairs if heat is not None and heat.status == "ok" and heat.native is not None
        ]

    def sample(self, images: Sequence[tuple[Seen, Heat]]) -> list[tuple[Seen, Heat]]:
        """As many of them as the setting ``images`` says, chosen at random but always the same, in input order."""
        count = min(len(images), int(self.settings["images"]))
        chosen = np.random.default_rng(self.seed).permutation(len(images))[:count]
        return [images[i] for i in sorted(chosen.tolist())]

    def reopened(self) -> Reopened:
        """A sample of the images with a map that shows something.

        Raises:
            UnavailableError: the model or the images of the run cannot be opened.
        """
        pictures = self.lab.pictures([seen for seen, _ in self.sample(self.shown())])
        images = [picture.seen for picture in pictures]
        targets = [seen.heats[self.key].target or 0 for seen in images]
        return Reopened(pictures, targets, self.lab.seeds(images))


def names(images: Iterable[Seen]) -> list[tuple[str, str]]:
    """(image, source) of each."""
    return [(seen.image, seen.source) for seen in images]
