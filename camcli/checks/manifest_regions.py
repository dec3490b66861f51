"""What the manifests of a finished run give for its images: the object, and what is to be avoided."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from camcli.checks.distances import mass
from camcli.checks.recorded import ImageRecord, RecordedRun
from camcli.checks.run_paths import as_typed, locate
from camcli.errors import CamError
from camcli.images import Sources
from camcli.images.regions import Region, cells_of_region


@dataclass(frozen=True)
class ManifestRegions:
    """The regions of a run's images.

    Attributes:
        run: the run, whose ``--image-path`` may be or hold manifests.
        manifest: another manifest to take them from, matched by the name of the image.
    """

    run: RecordedRun
    manifest: str | None = None

    def foreground(self, record: ImageRecord) -> Region | None:
        """The object of an image: its mask, else its box."""
        return self._regions(record)[0]

    def forbidden(self, record: ImageRecord) -> Region | None:
        """What the model must not look at in an image: the manifest's ``avoid``."""
        return self._regions(record)[1]

    @property
    def problem(self) -> str | None:
        """Why the manifests of the run cannot be read (any more), or None."""
        try:
            _ = self._by_name
        except CamError as error:
            return str(error)
        return None

    def _regions(self, record: ImageRecord) -> tuple[Region | None, Region | None]:
        image, source = record.name
        return self._by_name.get((image, "" if self.manifest else source), (None, None))

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], tuple[Region | None, Region | None]]:
        return dict(self._read())

    def _read(self) -> Iterator[tuple[tuple[str, str], tuple[Region | None, Region | None]]]:
        for path in [self.manifest] if self.manifest else self._manifests():
            for entry in as_typed(self.run, Sources([path])):
                region: Any = entry.mask or entry.box
                if region is not None or entry.avoid is not None:
                    key = (entry.image, "" if self.manifest else entry.source)
                    yield key, (region, entry.avoid)

    def _manifests(self) -> list[str]:
        paths = self.run.header["config"]["image_path"]
        return [locate(self.run, path) for path in paths if Path(path).suffix.lower() in (".csv", ".jsonl")]


def relative_mass(
    raw: np.ndarray, region: Region | None, record: ImageRecord, largest: float = math.inf
) -> float | None:
    """The mass of an image's map in a region, over the share of the view that the region covers.

    Args:
        raw: (h, w), the map.
        region: in upright original pixels.
        record: the image.
        largest: share of the view above which a region is left out.

    Returns:
        None without a region, and where the model sees nothing of it or it is too large.

    Raises:
        SourceError: a mask that cannot be read, or that has another shape than the image.
    """
    if region is None:
        return None
    cells = cells_of_region(region, record.size[::-1], record.view, (raw.shape[0], raw.shape[1]))
    share = float(cells.mean())
    return float((mass(raw) * cells).sum()) / share if 0 < share <= largest else None
