"""Which pictures of which runs stand where on a comparison figure, and how they are drawn."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from camcli.checks.recorded import RecordedRun, read_index
from camcli.checks.rereading import decode_again
from camcli.config.settings import RunConfig
from camcli.errors import SourceError, printable
from camcli.images import View, restore_view
from camcli.output import EARLIER, read_artefact, true_name
from camcli.output.redrawing import is_half_drawn
from camcli.pipeline.pictures import limits_in, percentage, shown_name, style_of, title_of, why_empty
from camcli.redraw.painting import raw_map
from camcli.redraw.settings import recorded_config
from camcli.render import Canvas, Drawing, Style, draw_on
from camcli.render.grid import ABSENT, CELL, Band, Cell, Legend, lay_out
from camcli.render.pages import Page
from camcli.render.panel import ColourBar
from camcli.schemas.index import ExplainedRow, Header, MapRow

ROWS = ("method", "layer", "target", "image")

Name = tuple[str, str]
Key = tuple[str, str, str]
"""Method, layer and target of a map, as they are shown."""


@dataclass(frozen=True)
class Wanted:
    """An image to be read again."""

    name: Name
    sha256: str


@dataclass(frozen=True)
class RunOfSheet:
    """A run folder, and how its maps are drawn."""

    folder: Path
    name: str
    header: Header
    config: RunConfig
    style: Style
    limits: Mapping[str, tuple[float, float]]

    @classmethod
    def open(cls, folder: str | Path, several: bool) -> RunOfSheet:
        header, _ = read_index(folder)
        config = recorded_config(header)
        name = os.path.normpath(folder) if several else ""
        return cls(Path(folder), name, header, config, style_of(config), limits_in(header["config"]))

    def rows(self) -> Iterator[ExplainedRow]:
        """The explained images, in order."""
        _, items = read_index(self.folder)
        for item in items:
            if item["status"] == "ok":
                yield item

    def canvases(self, rows: Sequence[ExplainedRow]) -> dict[Name, Canvas]:
        """What the maps of these images are drawn on; those that are gone or changed are left out."""
        record = RecordedRun(self.folder, self.header, [], 0)
        wanted = [Wanted(_name(row), row["sha256"]) for row in rows]
        canvases = {}
        try:
            for place, decoded in decode_again(record, wanted):
                row = rows[place]
                size = row["width"], row["height"]
                view = restore_view(row["view"], size[::-1], self.model_size)
                canvas = draw_on(decoded.image, view, size, 2 * CELL, self.config.canvas == "view")
                canvases[wanted[place].name] = _at_cell_size(canvas)
        except SourceError:
            return canvases  # the originals are elsewhere by now
        return canvases

    def has_look_of(self, other: RunOfSheet, row: ExplainedRow) -> bool:
        """Whether the overlays that the run saved of an image have the colours and limits of a run, another or this."""
        if EARLIER in row["notes"] or is_half_drawn(self.folder):
            return False
        # The format of the files is no part of the look.
        styles = [replace(style, image_format="", quality=0) for style in (self.style, other.style)]
        return styles[0] == styles[1] and (self.config.scale, self.limits) == (other.config.scale, other.limits)

    @property
    def model_size(self) -> tuple[int, int]:
        """(H, W) of the model's input."""
        _, height, width = self.header["model"]["input_size"]
        return height, width


@dataclass(frozen=True)
class Plan:
    """Which maps are shown where."""

    runs: Sequence[RunOfSheet]
    others: Sequence[Mapping[str, ExplainedRow]]  # of each further run, by content and by name
    keys: Sequence[tuple[int, Key]]  # the maps, each of a run
    varied: tuple[str, ...]
    beside: bool
    columns: int
    missing: list[str] = field(default_factory=list)
    """Images whose original was not there as it was; complete when all pages are drawn."""

    @classmethod
    def of(cls, runs: Sequence[RunOfSheet], chosen: Sequence[ExplainedRow], rows: Sequence[str], columns: int) -> Plan:
        found = list(dict.fromkeys(_key(one) for row in chosen for one in row["maps"]))
        beside = "image" in rows
        dimensions = tuple(name for name in rows if name != "image")
        varied = dimensions or tuple(
            name for i, name in enumerate(ROWS[:3]) if len({key[i] for key in found}) > 1
        ) or ("method",)  # fmt: skip
        shown = dict.fromkeys(tuple(key[ROWS.index(name)] for name in varied) for key in found)
        firsts = [next(key for key in found if _matches(key, varied, values)) for values in shown]
        keys = [(number, key) for key in firsts for number in range(len(runs))]
        others = [_by_content(run, chosen) for run in runs[1:]]
        return cls(runs, others, keys, varied, beside, columns)

    def pages(self, chosen: Sequence[ExplainedRow], progress: Callable[[int, int], None]) -> Iterator[Page]:
        """All pages, images drawn as they are needed."""
        labels = ["image", *(self._label(*key) for key in self.keys)]
        if not self.beside:
            bands = self._bands_below(chosen, labels, progress)
            return lay_out(bands, min(self.columns, len(chosen)), labels, self._legend())
        blocks = min(len(chosen), max(1, self.columns // (1 + len(self.keys))))
        bands = self._bands_beside(chosen, labels, blocks, progress)
        return lay_out(bands, blocks * (1 + len(self.keys)), (), self._legend())

    def _bands_below(
        self, chosen: Sequence[ExplainedRow], labels: Sequence[str], progress: Callable[[int, int], None]
    ) -> Iterator[Band]:
        for number, part in enumerate(_parts(chosen, self.columns)):
            drawn = self._draw(part)
            rows = [[cells[i] for cells in drawn] for i in range(1 + len(self.keys))]
            yield Band([_head(row) for row in part], labels, rows)
            progress(number * self.columns + len(part), len(chosen))

    def _bands_beside(
        self, chosen: Sequence[ExplainedRow], labels: Sequence[str], blocks: int, progress: Callable[[int, int], None]
    ) -> Iterator[Band]:
        for number, part in enumerate(_parts(chosen, blocks)):
            drawn = self._draw(part)
            cells: list[Cell | None] = []
            for row, (image, *maps) in zip(part, drawn, strict=True):
                cells += [None if image is None else Cell(image.pixels, _head(row)), *maps]
            heads = [label.split("\n") for label in labels] * len(part)
            yield Band(heads, (), [cells])
            progress(number * blocks + len(part), len(chosen))

    def _draw(self, part: Sequence[ExplainedRow]) -> list[list[Cell | None]]:
        """Of each image, its picture and its maps."""
        canvases = [run.canvases(part if i == 0 else self._same(i, part)) for i, run in enumerate(self.runs)]
        drawn: list[list[Cell | None]] = []
        for row in part:
            canvas = canvases[0].get(_name(row))
            if canvas is None:
                self.missing.append(row["image"])
            pixels = ABSENT if canvas is None else canvas.pixels[..., ::-1]
            cells: list[Cell | None] = [Cell(pixels)]
            for number, key in self.keys:
                own = row if number == 0 else self._other(number, row)
                cells.append(None if own is None else self._cell(number, key, own, canvases[number].get(_name(own))))
            drawn.append(cells)
        return drawn

    def _same(self, number: int, part: Sequence[ExplainedRow]) -> list[ExplainedRow]:
        return [other for row in part if (other := self._other(number, row)) is not None]

    def _other(self, number: int, row: ExplainedRow) -> ExplainedRow | None:
        rows = self.others[number - 1]
        return rows.get(row["sha256"]) or rows.get(row["image"])

    def _cell(self, number: int, key: Key, row: ExplainedRow, canvas: Canvas | None) -> Cell | None:
        values = tuple(key[ROWS.index(name)] for name in self.varied)
        one = next((one for one in row["maps"] if _matches(_key(one), self.varied, values)), None)
        if one is None:
            return None
        look = self.runs[0]
        return Cell(
            _overlay(self.runs[number], look, row, one, canvas), _caption(row, one, number > 0, look.style.signed)
        )

    def _label(self, number: int, key: Key) -> str:
        words = [key[ROWS.index(name)] for name in self.varied if key[ROWS.index(name)]]
        return "\n".join([*words, *([self.runs[number].name] if self.runs[number].name else [])])

    def _legend(self) -> Legend:
        run, (_, key) = self.runs[0], self.keys[0]
        fixed = [f"{name} {key[i]}" for i, name in enumerate(ROWS[:3]) if name not in self.varied and key[i]]
        title = " | ".join(one.name for one in self.runs) if len(self.runs) > 1 else run.header["model"]["name"]
        limits = {run.limits.get(key[0]) for _, key in self.keys}
        style = run.style
        bar, ends = ColourBar(style.colormap, style.gamma, style.signed, 0.0, 1.0), None
        common = limits.pop() if len(limits) == 1 else (0.0, 0.0)
        if common is None:
            ends = ("against the class", "for it") if style.signed else ("lowest", "highest")
            bar = ColourBar(style.colormap, style.gamma, style.signed, 0.0, 1.0, title="of each map by itself")
        elif common == (0.0, 0.0):
            ends = ("low", "high")
            bar = ColourBar(style.colormap, style.gamma, style.signed, 0.0, 1.0, title="limits of each method")
        else:
            low, high = (-max(map(abs, common)), max(map(abs, common))) if style.signed else common
            bar = ColourBar(style.colormap, style.gamma, style.signed, low, high)
        return Legend(title, ", ".join(fixed), bar, ends)


def _by_content(run: RunOfSheet, chosen: Sequence[ExplainedRow]) -> dict[str, ExplainedRow]:
    hashes, names = {row["sha256"] for row in chosen}, {row["image"] for row in chosen}
    found: dict[str, ExplainedRow] = {}
    for row in run.rows():
        if row["sha256"] in hashes:
            found[row["sha256"]] = row
        elif row["image"] in names:
            found.setdefault(row["image"], row)
    return found


def _overlay(run: RunOfSheet, look: RunOfSheet, row: ExplainedRow, one: MapRow, canvas: Canvas | None) -> np.ndarray:
    """The overlay of a map: drawn as another run draws its maps; where the original is gone, as the run saved it, if it
    has the same look; else the map alone.
    """
    raw, _ = raw_map(run.folder, row, one)
    draw = partial(Drawing, raw, model_size=run.model_size, style=look.style, limits=look.limits.get(one["method"]))
    if canvas is not None:
        return draw(canvas).overlay[..., ::-1]
    saved = one["files"].get("overlay")
    if saved is not None and run.has_look_of(look, row):
        try:
            with Image.open(io.BytesIO(read_artefact(run.folder, saved))) as picture:
                return np.asarray(picture.convert("RGB"))
        except OSError:
            pass
    height, width = run.model_size
    return draw(Canvas(np.zeros((height, width, 3), np.uint8), View(0, 0, width, height))).heatmap[..., ::-1]


def _at_cell_size(canvas: Canvas) -> Canvas:
    height, width = canvas.size
    scale = CELL / max(height, width)
    return canvas.resized(max(1, round(height * scale)), max(1, round(width * scale)))


def _key(one: MapRow) -> Key:
    layer, target = one["layer"], one["target"]
    chosen = "" if target is None else target["chosen_by"]
    if target is not None and chosen in ("index", "name"):
        chosen = shown_name(target)
    return one["method"], "+".join(layer) if isinstance(layer, list) else layer or "", chosen


def _matches(key: Key, varied: Sequence[str], values: Sequence[str]) -> bool:
    return all(key[ROWS.index(name)] == value for name, value in zip(varied, values, strict=True))


def _head(row: ExplainedRow) -> list[str]:
    """The name of an image, its prediction, and its label where that is another class."""
    lines = [printable(row["image"].rpartition("/")[2])]
    if row["predictions"]:
        top = row["predictions"][0]
        chance = top["probability"]
        value = "" if top["logit"] is None else f" {top['logit']:.4g}"
        lines.append(f"{shown_name(top)}{value if chance is None else f' {percentage(chance)}'}")
    if row["label"] is not None and row["correct"] is False:
        lines.append(f"label: {shown_name(row['label'])}")
    return lines


def _caption(row: ExplainedRow, one: MapRow, is_other_run: bool, signed: bool) -> list[str]:
    """The class that a map explains, where it is not the prediction above; and why it shows nothing."""
    target, top = one["target"], row["predictions"][0]["index"] if row["predictions"] else None
    lines = (
        [title_of(one).replace("  ", " ")] if target is not None and (is_other_run or target["index"] != top) else []
    )
    reason = why_empty(one, signed)
    return [*lines, f"no heat: {reason}"] if reason else lines


def _name(row: ExplainedRow) -> Name:
    return true_name(row, "image"), true_name(row, "source")


def _parts(rows: Sequence[ExplainedRow], count: int) -> Iterator[Sequence[ExplainedRow]]:
    for start in range(0, len(rows), count):
        yield rows[start : start + count]
