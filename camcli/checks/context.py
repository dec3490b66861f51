"""The input of a check: the run, its own settings, and the model and images for checks that need them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camcli.checks.baseline import Baseline
from camcli.checks.judge import Judge
from camcli.checks.manifest_regions import ManifestRegions
from camcli.checks.recorded import ImageRecord, MethodLayer, RecordedRun, SaliencyMap
from camcli.checks.reopened import Picture, ReopenedModel
from camcli.stats import Bootstrap


@dataclass(frozen=True)
class ReopenedImages:
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
    def images(self) -> list[ImageRecord]:
        """The records of the images that were read."""
        return [picture.record for picture in self.pictures]

    @property
    def pixels(self) -> list[np.ndarray]:
        """What the model saw of each image, (H, W, C)."""
        return [picture.pixels for picture in self.pictures]


@dataclass(frozen=True)
class Context:
    """The input of a check.

    Attributes:
        run: what was recorded.
        key: method and layer of the maps that are checked.
        settings: of this check, complete.
        suite: the settings of all checks.
        regions: masks and boxes.
        reopened: opens the model and the images; raises :class:`.UnavailableError` where they are not there.
        baseline: to compare with, where one was given.
    """

    run: RecordedRun
    key: MethodLayer
    settings: Mapping[str, Any]
    suite: Mapping[str, Any]
    regions: ManifestRegions
    reopened: ReopenedModel
    baseline: Baseline | None = None

    @property
    def min_images(self) -> int:
        """The least number of images for a verdict of this check."""
        own = self.settings["min_images"]
        return int(self.suite["min_images"] if own is None else own)

    @property
    def seed(self) -> int:
        """Of everything random in a check."""
        return int(self.suite["seed"])

    def bootstrap(self, tests: int = 1) -> Bootstrap:
        """Intervals; of several tests at once each is wider, so that all of them together keep the confidence."""
        confidence = 1 - (1 - float(self.suite["confidence"])) / tests
        return Bootstrap(confidence, int(self.suite["resamples"]), self.seed)

    def judge(self, tests: int = 1, min_images: int | None = None) -> Judge:
        """Judges by this check's thresholds."""
        return Judge(self.settings, self.min_images if min_images is None else min_images, self.bootstrap(tests))

    def meaningful_maps(self) -> list[tuple[ImageRecord, SaliencyMap]]:
        """The images with a map that is not degenerate; degenerate ones are what ``valid`` counts."""
        pairs = ((record, record.meaningful_map(self.key)) for record in self.run.images)
        return [(record, heat) for record, heat in pairs if heat is not None]

    def measure(
        self, measure_image: Callable[[ImageRecord, SaliencyMap], float | None]
    ) -> tuple[list[ImageRecord], np.ndarray]:
        """The images with a meaningful map and a value, and their values (n,)."""
        pairs = [(record, measure_image(record, heat)) for record, heat in self.meaningful_maps()]
        images = [record for record, value in pairs if value is not None]
        return images, np.array([value for _, value in pairs if value is not None])

    def sample(self, images: Sequence[tuple[ImageRecord, SaliencyMap]]) -> list[tuple[ImageRecord, SaliencyMap]]:
        """As many of them as the setting ``images`` says, chosen at random but always the same, in input order."""
        count = min(len(images), int(self.settings["images"]))
        chosen = np.random.default_rng(self.seed).permutation(len(images))[:count]
        return [images[i] for i in sorted(chosen.tolist())]

    def open_images(self) -> ReopenedImages:
        """A sample of the images with a meaningful map, opened again.

        Raises:
            UnavailableError: the model or the images of the run cannot be opened.
        """
        pictures = self.reopened.pictures([record for record, _ in self.sample(self.meaningful_maps())])
        images = [picture.record for picture in pictures]
        targets = [record.maps[self.key].target or 0 for record in images]
        return ReopenedImages(pictures, targets, self.reopened.seeds(images))
