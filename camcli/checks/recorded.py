"""A finished run as the checks read it: the index read item by item, native maps kept as float16."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from camcli.errors import SourceError
from camcli.images import View
from camcli.map_summary import read_native
from camcli.output import INDEX_NAME, SCHEMA, folder_on_disk, no_finished_run, true_name
from camcli.schemas.index import Header, ImageRow, MapRow

_ITEMS = '"items": ['

MethodLayer = tuple[str, str]
"""Method and layer of a map; several fused layers are joined by ``+``, no layer is the empty string."""


@dataclass(frozen=True, slots=True)
class SaliencyMap:
    """One map of an image.

    Attributes:
        status: as in the index; other maps than ``ok`` ones are degenerate.
        native: (h, w) float16, raw and signed, its largest absolute value 1; None where the index has none.
        target, target_name: the class it explains.
        overlay: its picture, relative to the run folder, where there is one.
    """

    status: str
    native: np.ndarray | None
    target: int | None
    target_name: str | None
    overlay: str | None

    @property
    def raw(self) -> np.ndarray:
        """(h, w) float32, signed, up to a positive factor."""
        assert self.native is not None
        return self.native.astype(np.float32)

    def heat(self, size: tuple[int, int]) -> np.ndarray:
        """(height, width) float32 in [0, 1]: the upsampled map after ReLU, divided by its maximum."""
        positive = np.maximum(self.raw, 0)
        heat = cv2.resize(positive, size[::-1], interpolation=cv2.INTER_LINEAR) / max(float(positive.max()), 1e-12)
        clipped: np.ndarray = np.clip(heat, 0, 1).astype(np.float32)
        return clipped


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One explained image.

    Attributes:
        image, source: as in the index.
        name: the image's true name, and its source's, as Python's file functions take them.
        sha256: of the file's content.
        label, correct: None where the label is unknown.
        predicted, predicted_name, probability: of the top prediction.
        view: what the model saw, in upright original pixels.
        size: (width, height), upright.
        maps: the first map (the first target) of each method and layer.
    """

    image: str
    source: str
    name: tuple[str, str]
    sha256: str
    label: str | None
    correct: bool | None
    predicted: int | None
    predicted_name: str | None
    probability: float | None
    view: View
    size: tuple[int, int]
    maps: Mapping[MethodLayer, SaliencyMap]

    def is_correct(self, label: str | None = None) -> bool | None:
        """Whether the top prediction is the label, the image's own or else the given one; None without a label."""
        if self.correct is not None:
            return self.correct
        return matches_label(self.predicted, self.predicted_name, self.label or label)

    @property
    def prediction(self) -> str:
        """The top prediction for people."""
        return self.predicted_name or f"class {self.predicted}"

    def meaningful_map(self, key: MethodLayer) -> SaliencyMap | None:
        """The map of a method and layer, where there is one and it is not degenerate."""
        heat = self.maps.get(key)
        return heat if heat is not None and heat.status == "ok" and heat.native is not None else None


def matches_label(predicted: int | None, name: str | None, label: str | None) -> bool | None:
    """Whether a prediction is the class that a label names, by its name or its index; None without a label."""
    return None if label is None or predicted is None else label in (name, str(predicted))


@dataclass(frozen=True)
class RecordedRun:
    """A run folder.

    Attributes:
        path: the folder.
        header: the top-level fields of the index.
        images: what was explained, in input order.
        failed: images that could not be explained.
        statuses: how many maps of the run have which status, all methods, layers and targets counted.
        degenerate: (image, source, status) of maps that show nothing, at most :data:`MOST_NAMED`.
    """

    path: Path
    header: Header
    images: list[ImageRecord]
    failed: int
    statuses: Counter[str] = field(default_factory=Counter)
    degenerate: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def keys(self) -> list[MethodLayer]:
        """Methods and layers, in the order of the run."""
        return list(dict.fromkeys(key for record in self.images[:64] for key in record.maps))

    @property
    def returns_values(self) -> bool:
        """Whether the model's outputs are values, as of a regression, and no scores of classes."""
        return "output" in self.header and self.header["output"]["kind"] == "values"


MOST_NAMED = 100


def read_run(path: str | Path) -> RecordedRun:
    """Read a finished run.

    Raises:
        SourceError: no finished run is there, or another version of cam wrote it.
    """
    header, items = read_index(path)
    run = RecordedRun(Path(path), header, [], 0)
    with _naming_errors(run.path):
        failed = sum(not _add_image(run, item) for item in items)
    return replace(run, failed=failed)


def read_index(path: str | Path) -> tuple[Header, Iterator[ImageRow]]:
    """The header of a finished run, and its items one by one.

    Raises:
        SourceError: no finished run is there, or another version of cam wrote it; an item that cannot be read, too.
    """
    folder = folder_on_disk(path)
    with _naming_errors(folder):
        file = (folder / INDEX_NAME).open(encoding="utf-8")
        header, items = open_index(folder, file)
    return header, _closing(folder, file, items)


def _closing(folder: Path, file: Any, items: Iterator[ImageRow]) -> Iterator[ImageRow]:
    with file, _naming_errors(folder):
        yield from items


@contextmanager
def _naming_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_finished_run(folder) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{folder / INDEX_NAME} cannot be read as an index ({error}).") from error


def open_index(folder: Path, file: Any) -> tuple[Header, Iterator[ImageRow]]:
    """The header, and the items one by one where the index has the form we write: a field a line, an item a line."""
    lines: list[str] = []
    for line in file:
        if line.startswith(_ITEMS):
            header = json.loads("".join(lines).rstrip().removesuffix(",") + "}")
            rows = (json.loads(text) for row in file if (text := row.strip().rstrip(",")).startswith("{"))
            return _check_schema(folder, header), rows
        lines.append(line)
    document = json.loads("".join(lines))  # reformatted by another program
    return _check_schema(folder, document), iter(document.pop("items"))


def _check_schema(folder: Path, header: Any) -> Header:
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        schema = header.get("schema") if isinstance(header, dict) else None
        raise SourceError(f"{folder / INDEX_NAME} follows {schema}; this version of cam reads {SCHEMA}.")
    return cast(Header, header)


def _add_image(run: RecordedRun, item: ImageRow) -> bool:
    if item["status"] != "ok":
        return False
    maps: dict[MethodLayer, SaliencyMap] = {}
    for row in item["maps"]:
        run.statuses[row["status"]] += 1
        if row["status"] != "ok" and len(run.degenerate) < MOST_NAMED:
            run.degenerate.append((item["image"], item["source"], row["status"]))
        layer = row["layer"]
        key = row["method"], "+".join(layer) if isinstance(layer, list) else layer or ""
        maps.setdefault(key, _saliency_map(row))
    top = item["predictions"][0] if item["predictions"] else None
    label = item["label"]
    record = ImageRecord(
        image=item["image"],
        source=item["source"],
        name=(true_name(item, "image"), true_name(item, "source")),
        sha256=item["sha256"],
        label=None if label is None else label["name"] or str(label["index"]),
        correct=item["correct"],
        predicted=top["index"] if top else None,
        predicted_name=top["name"] if top else None,
        probability=top["probability"] if top else None,
        view=View(*item["view"]),
        size=(item["width"], item["height"]),
        maps=maps,
    )
    run.images.append(record)
    return True


def _saliency_map(row: MapRow) -> SaliencyMap:
    native, target = row["native"], row["target"]
    # Checks compare shapes, ranks and shares of maps, none of which depends on the scale; float16 halves the memory.
    copy = None if native is None else read_native({**native, "scale": 1.0}).astype(np.float16)
    return SaliencyMap(
        row["status"], copy, target and target["index"], target and target["name"], row["files"]["overlay"]
    )
