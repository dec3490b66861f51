"""From a row of the index to what the page keeps of it: short keys, classes by number, maps as 8-bit grids."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import cv2
import numpy as np

from camcli.checks.distances import spearman
from camcli.map_summary import read_native
from camcli.output import split_member
from camcli.render import normalise, to_levels
from camcli.report.rows import Row

MethodLayer = tuple[str, str]
Limits = Mapping[str, tuple[float, float]]
"""Of the normalisation, in raw units, by method; a method without has each map's own extremes."""
_FINE = 112
"""Samples along the longer side of a map, or a few more."""


@dataclass
class Table:
    """Values by number, in the order in which they come."""

    numbers: dict[Any, int] = field(default_factory=dict)

    def number(self, value: Any) -> int:
        """Of a value; a new one gets the next."""
        return self.numbers.setdefault(value, len(self.numbers))


@dataclass
class Records:
    """Turns rows into records, and keeps the tables that they refer to.

    Attributes:
        limits: of the normalisation of maps.
        signed: whether maps are drawn with their sign.
        classes: (index, name).
        maps: (method, layer).
        sources: the ``--image-path`` as typed.
        files: (kind, beginning of the path, extension) of artefacts.
        grids: of the maps of the run itself, as the index has them, and whether it has averaged them; by method and
            layer.
    """

    limits: Limits = field(default_factory=dict)
    signed: bool = False
    classes: Table = field(default_factory=Table)
    maps: Table = field(default_factory=Table)
    sources: Table = field(default_factory=Table)
    files: Table = field(default_factory=Table)
    grids: dict[MethodLayer, dict[tuple[int, int, bool], None]] = field(default_factory=dict)

    def record(self, row: Row) -> dict[str, Any]:
        """What the page has of one image; keys without a value are left out."""
        failed = row["status"] != "ok"
        label = row.get("label")
        for one in row.get("maps", ()):
            self._note_grid(one)
        record = {
            "n": row["image"],
            "s": self.sources.number(row.get("source", "")),
            "st": 1 if failed else 0,
            "e": [row["error"]["kind"], row["error"]["message"]] if row.get("error") else None,
            "wh": [row["width"], row["height"]] if row.get("width") else None,
            "by": row.get("bytes"),
            "f": row.get("format"),
            "no": row.get("notes") or None,
            "l": None if label is None else self._class(label),
            "c": None if row.get("correct") is None else int(row["correct"]),
            "p": self.predictions(row),
            "v": [round(value, 1) for value in row["view"]] if row.get("view") else None,
            "m": [self.map(one) for one in row.get("maps", ())],
            "d": disagreement(row.get("maps", ())),
        }
        return {key: value for key, value in record.items() if value is not None}

    def predictions(self, row: Row) -> list[list[Any]]:
        """[class, probability, logit] each, the top one first."""
        return [
            [self._class(one), _short(one.get("probability")), _short(one.get("logit"))] for one in row["predictions"]
        ]

    def map(self, one: Mapping[str, Any]) -> dict[str, Any]:
        """One map, base64: its grid in [0, 255] after normalisation; with its sign, 0 is between 127 and 128."""
        target, attention, raw = one.get("target"), one.get("attention") or {}, one.get("raw") or {}
        grid = self._grid(one)
        record = {
            "k": self.maps.number(key_of(one)),
            "t": None if target is None else self._class(target),
            "tp": None if target is None else _short(target.get("probability")),
            "tb": None if target is None else target.get("chosen_by"),
            "st": None if one.get("status", "ok") == "ok" else one["status"],
            "pk": attention.get("peak"),
            "en": _short(attention.get("entropy")),
            "bo": _short(attention.get("border")),
            "bx": attention.get("box"),
            "hs": hot_share(one),
            "r": None if raw.get("max") is None else [_short(raw["min"]), _short(raw["max"])],
            "g": None if grid is None else [*grid.shape],
            "h": None if grid is None else base64.b64encode(grid.tobytes()).decode("ascii"),
            "rd": 1 if (one.get("native") or {}).get("reduced") else None,
            "im": 1 if one.get("improbable") else None,
        }
        return {key: value for key, value in record.items() if value is not None}

    def add_files(self, record: dict[str, Any], row: Row) -> None:
        """The artefacts of an image: the end that their paths share, and the number of the rest for each."""
        files = [
            {kind: path for kind, path in (one.get("files") or {}).items() if path and split_member(path) is None}
            for one in row.get("maps", ())
        ]  # a page cannot link to what is in a tar
        stems = [path.rpartition(".")[0] for each in files for path in each.values() if path]
        if not stems:
            return
        record["fs"] = end = common_end(stems)
        for one, each in zip(record["m"], files, strict=True):
            one["fi"] = [
                self.files.number((kind, stem[: len(stem) - len(end)], extension))
                for kind, path in each.items()
                if path
                for stem, _, extension in [path.rpartition(".")]
            ]

    def _note_grid(self, one: Mapping[str, Any]) -> None:
        grids, native = self.grids.setdefault(key_of(one), {}), one.get("native")
        if native is not None:
            grids[native["grid"][0], native["grid"][1], bool(native.get("reduced"))] = None

    def _grid(self, one: Mapping[str, Any]) -> np.ndarray | None:
        if one.get("native") is None:
            return None
        heat = normalise(read_native(one["native"]), self.limits.get(one["method"]), self.signed)
        return to_levels(heat, 1.0, self.signed)

    def _class(self, one: Mapping[str, Any]) -> int:
        return self.classes.number((one.get("index"), one.get("name")))


def common_end(paths: Sequence[str]) -> str:
    """The last components that all paths have in common: the image's part of the paths of its artefacts."""
    split = [path.split("/") for path in paths]
    count = 0
    while all(len(parts) > count and parts[-count - 1] == split[0][-count - 1] for parts in split):
        count += 1
    return "/".join(split[0][len(split[0]) - count :])


def key_of(one: Mapping[str, Any]) -> MethodLayer:
    """Method and layer of a map; fused layers are joined by ``+``, none is the empty string."""
    layer = one.get("layer")
    return one["method"], "+".join(layer) if isinstance(layer, list) else layer or ""


def hot_share(one: Mapping[str, Any]) -> list[float] | None:
    """Of a map after ReLU, interpolated as it is drawn: the share of its area at half its maximum or more, and the
    share of the heat that lies there. Both hardly depend on the number of cells, as the entropy does.
    """
    if one.get("native") is None or one.get("status", "ok") != "ok":
        return None
    heat = np.maximum(read_native(one["native"]), 0).astype(np.float32)
    finer = max(1, -(-_FINE // max(heat.shape)))
    full = cv2.resize(heat, None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    hot = full >= 0.5 * full.max()
    return [float(f"{hot.mean():.3g}"), float(f"{full[hot].sum() / full.sum():.3g}")] if full.max() > 0 else None


def disagreement(maps: Sequence[Mapping[str, Any]]) -> float | None:
    """1 − the mean rank correlation of the maps of one target, all pairs of methods; None without a pair.

    As the check ``agree`` compares: after ReLU, on one grid. 0: the same order of cells; 1: none in common.
    """
    correlations = [correlation for one, other in _pairs(maps) if (correlation := spearman(one, other)) is not None]
    return round(1 - sum(correlations) / len(correlations), 3) if correlations else None


def _pairs(maps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    first: dict[MethodLayer, np.ndarray] = {}
    for one in maps:
        key = key_of(one)
        if key not in first and one.get("native") is not None and one.get("status") == "ok":
            first[key] = np.maximum(read_native(one["native"]), 0)
    for (own, a), (other, b) in combinations(first.items(), 2):
        if own[0] != other[0] and a.shape == b.shape:
            yield a, b


def _short(value: float | None) -> float | None:
    """Four digits: more than a person reads."""
    return None if value is None else float(f"{value:.4g}")
