"""The pictures of one image of a finished run, and its new row."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from camcli.errors import ImageError, OutputError
from camcli.images import DecodeSettings, Entry, decode, read, restore_view
from camcli.map_summary import read_native
from camcli.output import EARLIER, ArtefactWriter, artefact_path, read_artefact
from camcli.output.artefacts import artefact_size
from camcli.output.names import FOLDERS
from camcli.pipeline.isolation import run_guarded
from camcli.pipeline.pictures import Limits, panel_text
from camcli.render import Canvas, Drawing, Style, draw_on, encode, extension
from camcli.schemas.index import ExplainedRow, ImageRow, MapRow

REDUCED = "drawn again from a copy of its map with fewer cells"
"""The note of a row whose native map is kept reduced, and whose raw map was not saved."""
_DRAWN = ("overlay", "heatmap", "gray", "map", "panel")


@dataclass(frozen=True)
class Levels:
    """Which levels the paths of a run's artefacts have, where no artefact shows it."""

    layer: bool
    target: bool
    source: bool


@dataclass(frozen=True)
class Painter:
    """Draws the pictures of images and writes them; called from many threads.

    Attributes:
        folder: the run folder.
        writer: writes into it.
        decoding: how originals are read.
        save: what is written.
        style: colours.
        limits: fixed limits of each method, raw units.
        max_side, only_view: of the canvas.
        model_size: (H, W) of the model's input.
        levels: of paths.
        unaffected: kinds of pictures that need not be drawn again where they are there.
    """

    folder: Path
    writer: ArtefactWriter
    decoding: DecodeSettings
    save: tuple[str, ...]
    style: Style
    limits: Mapping[str, Limits]
    max_side: int
    only_view: bool
    model_size: tuple[int, int]
    levels: Levels
    unaffected: frozenset[str]

    def __call__(self, row: ExplainedRow, entry: Entry | None) -> ExplainedRow:
        """Draw and write the pictures of an image; its new row.

        Raises:
            ImageError: its original is not there as it was, or cannot be drawn on; nothing was written.
            OutputError: the folder cannot be written.
        """
        new, artefacts = run_guarded(lambda: self._draw(row, entry), "drawing")
        written = {path: self.writer.write(path, data) for path, data in artefacts.items()}
        named = [path for one in new["maps"] for path in one["files"].values() if path is not None]
        return {**new, "sizes": {path: written.get(path, row["sizes"].get(path, 0)) for path in named}}

    def _draw(self, row: ExplainedRow, entry: Entry | None) -> tuple[ExplainedRow, dict[str, bytes]]:
        artefacts: dict[str, bytes] = {}
        maps: list[MapRow] = []
        canvas: Canvas | None = None
        is_reduced = False
        for one in row["maps"]:
            files: dict[str, str | None] = {"overlay": None, "heatmap": None, "raw": None}
            drawing: Drawing | None = None
            for kind in self.save:
                files[kind] = self._kept(kind, row, one)
                if files[kind] is not None or kind == "raw":
                    continue
                canvas = canvas or self._canvas(row, entry)
                if drawing is None:
                    drawing, reduced = self._drawing(row, one, canvas)
                    is_reduced |= reduced
                files[kind] = path = self._path(kind, row, one, entry)
                try:
                    artefacts[path] = encode(kind, drawing.picture(kind), self.style)
                except OutputError as error:  # the picture is too large for its format
                    raise ImageError("internal", str(error)) from error
            maps.append({**one, "files": files})
        stays = REDUCED in row["notes"] and any(self._kept(kind, row, one) for one in maps for kind in _DRAWN)
        notes = [note for note in row["notes"] if note not in (EARLIER, REDUCED)]
        return {**row, "notes": notes + [REDUCED] * (is_reduced or stays), "maps": maps}, artefacts

    def _drawing(self, row: ExplainedRow, one: MapRow, canvas: Canvas) -> tuple[Drawing, bool]:
        """The pictures of a map; and whether it is drawn from fewer cells than it had."""
        raw, reduced = raw_map(self.folder, row, one)
        limits = self.limits.get(one["method"])
        text = panel_text(one, row["label"], limits is not None, self.style.signed)
        return Drawing(raw, canvas, self.model_size, self.style, limits, text), reduced

    def _kept(self, kind: str, row: ExplainedRow, one: MapRow) -> str | None:
        """The path of an artefact that stays as it is: raw maps, and pictures that another setting does not change."""
        path = one["files"].get(kind)
        if kind == "raw" or path is None:
            return path
        if kind not in self.unaffected or EARLIER in row["notes"]:
            return None
        return path if artefact_size(self.folder, path) == row["sizes"].get(path) else None

    def _canvas(self, row: ExplainedRow, entry: Entry | None) -> Canvas:
        if entry is None:
            raise ImageError("missing", "its original is not there any more")
        data = read(entry)
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise ImageError("changed", "its original is another file now than the one that was explained")
        image = decode(data, self.decoding).image
        view = restore_view(row["view"], (row["height"], row["width"]), self.model_size)
        return draw_on(image, view, (row["width"], row["height"]), self.max_side, self.only_view)

    def _path(self, kind: str, row: ExplainedRow, one: MapRow, entry: Entry | None) -> str:
        """The path of an artefact: where the others of its map are, else by the rules."""
        ending = extension(kind, self.style)
        earlier = next((path for path in one["files"].values() if path is not None), None)
        if earlier is not None:
            return f"{FOLDERS[kind]}/{earlier.partition('/')[2].rpartition('.')[0]}.{ending}"
        assert entry is not None  # else there is no canvas
        layer, target = one["layer"], one["target"]
        return artefact_path(
            kind, one["method"], entry.image, ending,
            layer=layer if self.levels.layer and isinstance(layer, str) else None,
            target=_target_key(one) if self.levels.target and target is not None else None,
            source=entry.source_slug if self.levels.source else None,
        )  # fmt: skip


def raw_map(folder: Path, row: ImageRow, one: MapRow) -> tuple[np.ndarray, bool]:
    """The raw map, float32: exact where the run saved it, else the index's; and whether that has fewer cells."""
    saved = one["files"].get("raw")
    if saved is not None:
        try:
            data = read_artefact(folder, saved)
            if len(data) == row["sizes"].get(saved):
                exact: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
                return exact, False
        except (OSError, ValueError):  # gone or damaged: the index has a copy
            pass
    native = one["native"]
    if native is None:
        return np.full((1, 1), np.nan, np.float32), False
    return read_native(native), native.get("reduced", False)


def path_levels(row_levels: Levels, rows: list[ImageRow]) -> Levels:
    """The levels that these rows show: several targets of a method and layer make a level."""
    for row in rows:
        keys = [(one["method"], str(one["layer"])) for one in row["maps"]]
        if len(keys) != len(set(keys)):
            return Levels(row_levels.layer, True, row_levels.source)
    return row_levels


def _target_key(one: MapRow) -> str:
    target = cast(dict[str, object], one["target"])
    chosen = str(target["chosen_by"])
    if chosen in ("index", "name"):
        return f"class-{target['index']}"
    return chosen.replace(":", "")
