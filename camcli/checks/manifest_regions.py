"""What the manifests of a finished run say about its images: the object, and what is to be avoided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from camcli.checks.recorded import ImageRecord, RecordedRun
from camcli.checks.run_paths import as_typed, located
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
        return self._by_name.get(self._key(record), (None, None))[0]

    def forbidden(self, record: ImageRecord) -> Region | None:
        """What the model must not look at in an image: the manifest's ``avoid``."""
        return self._by_name.get(self._key(record), (None, None))[1]

    def cells(self, region: Region, record: ImageRecord, grid: tuple[int, int]) -> np.ndarray:
        """Share of each cell of a map of the image that lies in the region.

        Raises:
            SourceError: a mask that cannot be read, or that has another shape than the image.
        """
        return cells_of_region(region, record.size[::-1], record.view, grid)

    @property
    def problem(self) -> str | None:
        """Why the manifests of the run cannot be read (any more), or None."""
        try:
            _ = self._by_name
        except CamError as error:
            return str(error)
        return None

    def _key(self, record: ImageRecord) -> tuple[str, str]:
        image, source = record.name
        return (image, "") if self.manifest else (image, source)

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
        return [located(self.run, path) for path in paths if Path(path).suffix.lower() in (".csv", ".jsonl")]
