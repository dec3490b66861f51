"""What flows through the stream for one image, and its row in the index, whether it was explained or not."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from camcli.errors import ImageError
from camcli.images import Entry, ImageMetadata, View
from camcli.map_summary import map_statistics, map_status, native_copy, raw_statistics
from camcli.pipeline.targets import Names, TargetSpec, highest
from camcli.render import Canvas
from camcli.schemas.index import ExplainedRow, FailedRow, MapRow, ScoredClass

IMPROBABLE = 0.01
"""A map of a class with a lower probability is drawn as bright as any other where each map has its own scale."""


@dataclass(frozen=True)
class Loaded:
    """A preprocessed image: its pixels as the model takes them, and what is needed to draw on it."""

    entry: Entry
    metadata: ImageMetadata
    pixels: np.ndarray
    view: View
    canvas: Canvas | None  # None where no picture is wanted
    label: int | None
    own_target: TargetSpec | None


@dataclass(frozen=True)
class Fetched:
    """An image of a store, and the content of its file."""

    entry: Entry
    content: bytes


@dataclass(frozen=True)
class Failed:
    """An image that cannot be explained, and why."""

    entry: Entry
    error: ImageError
    metadata: ImageMetadata | None = None


@dataclass(frozen=True)
class ChosenClass:
    """The class that a map explains, and how it was chosen."""

    index: int
    chosen_by: str


@dataclass(frozen=True)
class ClassMap:
    """One map of one image: a method at a layer for a class."""

    method: str
    layer: str | tuple[str, ...] | None
    target_key: str  # of the run's target specification: a level of the artefact's path
    target: ChosenClass | None  # None: the model has no classes
    raw: np.ndarray  # (h, w) float32, native and raw
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)  # those that are drawn already, by kind


@dataclass(frozen=True)
class Explanation:
    """The outputs of the model and the methods for one image.

    Attributes:
        logits: (C,) float32.
        probabilities: (C,) float32.
        maps: one per method, layer and target.
        notes: anything a reader of the row should know.
    """

    loaded: Loaded
    logits: np.ndarray
    probabilities: np.ndarray
    maps: tuple[ClassMap, ...]
    notes: tuple[str, ...] = field(default=())


def pixel_bytes(thing: object) -> int:
    """Bytes of pixels, or of the content of a file, that an item of the stream holds."""
    if isinstance(thing, Fetched):
        return len(thing.content)
    if isinstance(thing, Explanation):
        drawn = sum(picture.nbytes for one in thing.maps for picture in one.pictures.values())
        return pixel_bytes(thing.loaded) + drawn
    if not isinstance(thing, Loaded):
        return 0
    return thing.pixels.nbytes + (thing.canvas.pixels.nbytes if thing.canvas is not None else 0)


def class_name(index: int, names: Names | None) -> str | None:
    """The name of a class, or None where the model has none for it."""
    return names.names[index] if names is not None and index < len(names.names) else None


def failed_row(failed: Failed) -> FailedRow:
    """The row of an image that could not be explained; every key is there, null or empty."""
    metadata = failed.metadata
    return {
        "image": failed.entry.image,
        "source": failed.entry.source,
        "bytes": metadata.bytes if metadata else None,
        "sha256": metadata.sha256 if metadata else None,
        "status": "failed",
        "error": {"kind": failed.error.kind, "message": failed.error.message},
        "width": metadata.width if metadata else None,
        "height": metadata.height if metadata else None,
        "format": metadata.format if metadata else None,
        "frames": metadata.frames if metadata else None,
        "notes": list(metadata.notes) if metadata else [],
        "label": None, "correct": None, "predictions": [], "view": None, "maps": [], "sizes": {},
    }  # fmt: skip


def explained_row(explanation: Explanation, map_rows: list[MapRow], names: Names | None, topk: int) -> ExplainedRow:
    """The row of an explained image; ``sizes`` are filled in when its artefacts are written."""
    loaded, metadata = explanation.loaded, explanation.loaded.metadata
    top = highest(explanation.logits, topk)
    label = loaded.label
    return {
        "image": loaded.entry.image,
        "source": loaded.entry.source,
        "bytes": metadata.bytes,
        "sha256": metadata.sha256,
        "status": "ok",
        "error": None,
        "width": metadata.width,
        "height": metadata.height,
        "format": metadata.format,
        "frames": metadata.frames,
        "notes": [*metadata.notes, *explanation.notes],
        "label": None if label is None else {"index": label, "name": class_name(label, names)},
        "correct": None if label is None or not len(top) else bool(top[0] == label),
        "predictions": [_score_class(int(index), explanation, names) for index in top],
        "view": [round(v, 3) for v in (loaded.view.x0, loaded.view.y0, loaded.view.x1, loaded.view.y1)],
        "maps": map_rows,
        "sizes": {},
    }


def map_row(
    explanation: Explanation,
    class_map: ClassMap,
    files: dict[str, str | None],
    names: Names | None,
    model_size: tuple[int, int],
) -> MapRow:
    """The row of one map of an image; that its target is improbable is added by the caller."""
    loaded = explanation.loaded
    size = (loaded.metadata.width, loaded.metadata.height)
    layer, target = class_map.layer, class_map.target
    scored = None if target is None else _score_class(target.index, explanation, names)
    return {
        "method": class_map.method,
        "layer": list(layer) if isinstance(layer, tuple) else layer,
        "target": None if scored is None or target is None else {**scored, "chosen_by": target.chosen_by},
        "status": map_status(class_map.raw),
        "raw": raw_statistics(class_map.raw),
        "attention": map_statistics(class_map.raw, loaded.view, size, model_size),
        "native": native_copy(class_map.raw),
        "files": files,
    }


def is_improbable(explanation: Explanation, class_map: ClassMap) -> bool:
    """Whether a map explains a class that the model practically rules out: another than the predicted one."""
    if class_map.target is None or map_status(class_map.raw) != "ok":
        return False
    index = class_map.target.index
    return bool(explanation.probabilities[index] < IMPROBABLE and index != highest(explanation.logits, 1)[0])


def _score_class(index: int, explanation: Explanation, names: Names | None) -> ScoredClass:
    return {
        "index": index,
        "name": class_name(index, names),
        "probability": _finite(explanation.probabilities[index]),
        "logit": _finite(explanation.logits[index]),
    }


def _finite(value: np.floating[Any]) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def seed_of(sha256: str, seed: int) -> int:
    """A seed of the image's content and ``--seed`` alone, so that a result does not depend on order or batch."""
    digest = hashlib.sha256(f"{seed}:{sha256}".encode("ascii")).digest()
    return int.from_bytes(digest[:8], "little") >> 1
