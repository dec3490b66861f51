"""The last part of the stream: an explanation becomes pictures on disk and a row of the index."""

import numpy as np

from camcli.concurrency import Clock
from camcli.errors import ImageError, OutputError
from camcli.images import Entry
from camcli.output import ArtefactWriter, ImagePlace, TarWriter
from camcli.pipeline.isolation import run_guarded
from camcli.pipeline.items import (
    ClassMap,
    Explanation,
    Failed,
    class_name,
    explained_row,
    failed_row,
    is_improbable,
    map_row,
)
from camcli.pipeline.pictures import panel_text
from camcli.pipeline.setup import Setup
from camcli.render import Drawing, Style, encode, extension
from camcli.schemas.index import ClassFields, ExplainedRow, ImageRow, MapRow


class Drawer:
    """Draws and writes the artefacts of one image; called from many threads.

    The row is returned only after every artefact of the image is in place.
    """

    def __init__(self, setup: Setup, artefacts: ArtefactWriter | TarWriter, clock: Clock) -> None:
        self.setup, self.artefacts, self.clock = setup, artefacts, clock
        self.several_sources = len(setup.config.image_path) > 1

    def __call__(self, result: Explanation | Failed) -> tuple[Entry, ImageRow]:
        if isinstance(result, Failed):
            return result.entry, failed_row(result)
        entry = result.loaded.entry
        try:
            # All is drawn before anything is written: an image that fails has no picture on disk.
            row, artefacts = run_guarded(lambda: self._draw(result), "drawing")
        except ImageError as error:
            return entry, failed_row(Failed(entry, error, result.loaded.metadata))
        with self.clock("write"):
            row["sizes"] = {path: self.artefacts.write(path, data) for path, data in artefacts.items()}
        return entry, row

    def _draw(self, result: Explanation) -> tuple[ExplainedRow, dict[str, bytes]]:
        """The row of an image, and its artefacts by path."""
        setup, artefacts = self.setup, dict[str, bytes]()
        model_size = (setup.model.preprocessing.height, setup.model.preprocessing.width)
        rows: list[MapRow] = []
        for class_map in result.maps:
            with self.clock("render"):
                row = map_row(result, class_map, {}, setup.model.class_names, model_size)
                row = {**row, "improbable": True} if self._is_improbable(result, class_map) else row
            row["files"] = self._artefacts(result, class_map, row, model_size, artefacts)
            rows.append(row)
        return explained_row(result, rows, setup.model.class_names, setup.config.topk), artefacts

    def _artefacts(
        self, result: Explanation, class_map: ClassMap, row: MapRow, model_size: tuple[int, int],
        artefacts: dict[str, bytes],
    ) -> dict[str, str | None]:  # fmt: skip
        """Encode what ``--save`` asks for, into ``artefacts``; the path of each kind, relative to the run folder."""
        style = self.setup.style
        files: dict[str, str | None] = {"overlay": None, "heatmap": None, "raw": None}
        drawing = None
        for kind in self.setup.config.save:
            with self.clock("render"):
                if kind == "raw":
                    picture = class_map.raw
                elif kind in class_map.pictures:
                    picture = class_map.pictures[kind]
                else:
                    drawing = drawing or self._drawing(result, class_map, row, model_size)
                    picture = drawing.picture(kind)
            files[kind] = path = self._path(kind, result.loaded.entry, class_map, extension(kind, style))
            with self.clock("encode"):
                artefacts[path] = _encode(kind, picture, style)
        return files

    def _drawing(self, result: Explanation, class_map: ClassMap, row: MapRow, model_size: tuple[int, int]) -> Drawing:
        canvas = result.loaded.canvas
        assert canvas is not None  # made for every image of a run that saves pictures
        limits = self.setup.limits.get(class_map.method)
        label = result.loaded.label
        of_label: ClassFields | None = None
        if label is not None:
            of_label = {"index": label, "name": class_name(label, self.setup.model.class_names)}
        text = panel_text(row, of_label, limits is not None, self.setup.style.signed)
        return Drawing(class_map.raw, canvas, model_size, self.setup.style, limits, text)

    def _is_improbable(self, result: Explanation, class_map: ClassMap) -> bool:
        # Evidence against a class is what is wanted of a class that is ruled out; values have no probability.
        has_probability = not self.setup.model.returns_values and self.setup.config.score != "neg-logit"
        return has_probability and is_improbable(result, class_map)

    def _path(self, kind: str, entry: Entry, class_map: ClassMap, suffix: str) -> str:
        setup = self.setup
        several_layers = len(setup.layers) > 1 and isinstance(class_map.layer, str)  # fused: one map for all of them
        source, slug = (entry.source, entry.source_slug) if self.several_sources else (None, None)
        return self.artefacts.locate(
            ImagePlace(entry.ordinal, entry.image, source, slug),
            kind,
            class_map.method,
            suffix,
            layer=str(class_map.layer) if several_layers else None,
            target=class_map.target_key if len(setup.targets) > 1 else None,
        )


def _encode(kind: str, picture: np.ndarray, style: Style) -> bytes:
    try:
        return encode(kind, picture, style)
    except OutputError as error:  # the picture is the cause (too large for its format), not the disk
        raise ImageError("internal", str(error)) from error
