"""What `explain` returns: a list of results that can be drawn as one figure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from camcli.api.notebook import MOST_RESULTS, more_html
from camcli.api.result import Limits, MapResult, Result, only_view, short_name, style
from camcli.errors import ConfigError, SourceError, did_you_mean
from camcli.output import write_named_file
from camcli.render import Canvas, Drawing, Style, draw_on
from camcli.render.grid import CELL, TALLEST, Band, Cell, Legend, lay_out
from camcli.render.pages import Page, draw_page, encode_page, encode_pdf, page_format
from camcli.render.panel import ColourBar


class Results(list[Result]):
    """The results of some images, in order; a list."""

    def grid(
        self, *, columns: int = 6, maps: Sequence[str] | None = None, beside: bool = False, colormap: str | None = None,
        alpha: float = 0.5, gamma: float = 1.0, signed: bool = False, canvas: str = "original",
        limits: Limits | None = None, path: str | os.PathLike[str] | None = None,
    ) -> Image.Image:  # fmt: skip
        """A comparison figure: images across, their maps below them, a colour bar for all.

        Args:
            columns: pictures across.
            maps: which maps, by their keys; None: all.
            beside: every image beside its maps instead of above them.
            colormap, alpha, gamma, signed, canvas: as of :meth:`MapResult.overlay`.
            limits: raw values at the ends of the colours, the same for all maps; None: each map's own range.
            path: also write the figure to this file; ``.pdf`` cuts it into pages, with text as text (extra ``plot``).

        Returns:
            The figure as a picture.

        Raises:
            ConfigError: a key that no result has; a format that is not known, or needs matplotlib.
            SourceError: nothing to draw.
        """
        look, view = style(colormap, alpha, gamma, signed), only_view(canvas)
        keys = list(dict.fromkeys(key for result in self for key in result.maps))
        for key in maps or ():
            if key not in keys:
                raise ConfigError(f"maps: no result has {key!r}.{did_you_mean(key, keys)} There are {', '.join(keys)}.")
        if columns < 1:
            raise ConfigError(f"columns={columns}: must be at least 1.")
        if not keys:
            raise SourceError("there are no maps to draw.")
        chosen = list(maps) if maps is not None else keys
        figure = _Figure(self, chosen, look, view, limits, columns, beside)
        (page,) = figure.pages(None)
        if path is not None:
            kind = page_format(os.fspath(path), "path")
            content = encode_pdf(figure.pages()) if kind == "PDF" else encode_page(page, kind)
            write_named_file("path", os.fspath(path), [content])
        return draw_page(page)

    def _repr_html_(self) -> str:
        shown = [result._repr_html_() for result in self[:MOST_RESULTS]]
        return "".join(shown) + more_html(len(self) - len(shown), "results")


class _Figure:
    def __init__(
        self, results: Sequence[Result], keys: Sequence[str], look: Style, only_view: bool, limits: Limits | None,
        columns: int, beside: bool,
    ) -> None:  # fmt: skip
        self.results, self.keys, self.look, self.only_view, self.limits = results, keys, look, only_view, limits
        self.beside = beside
        self.across = max(1, columns // (1 + len(keys))) if beside else columns
        self.labels = ["image", *(key.replace("/", "\n") for key in keys)]

    def pages(self, tallest: float | None = TALLEST) -> Iterator[Page]:
        count = min(self.across, len(self.results))
        columns = count * (1 + len(self.keys)) if self.beside else count
        labels = [] if self.beside else self.labels
        return lay_out(self._bands(), columns, labels, self._legend(), tallest)

    def _bands(self) -> Iterator[Band]:
        for start in range(0, len(self.results), self.across):
            part = self.results[start : start + self.across]
            drawn = [self._draw(result) for result in part]
            names = [_head(result, start + i) for i, result in enumerate(part)]
            if not self.beside:
                rows = [[cells[i] for cells in drawn] for i in range(len(self.labels))]
                yield Band(names, self.labels, rows)
                continue
            for head, cells in zip(names, drawn, strict=True):
                cells[0] = None if cells[0] is None else Cell(cells[0].pixels, head)
            heads = [label.split("\n") for label in self.labels] * len(part)
            yield Band(heads, (), [[cell for cells in drawn for cell in cells]])

    def _draw(self, result: Result) -> list[Cell | None]:
        """The picture of an image and its maps."""
        first = next(iter(result.maps.values()), None)
        if first is None:
            return [None] * len(self.labels)
        canvas = self._canvas(first)
        top = result.predictions[0].index if result.predictions else None
        cells: list[Cell | None] = [Cell(canvas.pixels[..., ::-1])]
        for key in self.keys:
            one = result.maps.get(key)
            if one is None:
                cells.append(None)
                continue
            overlay = Drawing(one.native, canvas, one.model_size, self.look, self.limits).overlay
            caption = () if one.target is None or one.target.index == top else (one.target.title,)
            cells.append(Cell(np.ascontiguousarray(overlay[..., ::-1]), caption))
        return cells

    def _canvas(self, one: MapResult) -> Canvas:
        image = one.image
        canvas = draw_on(image, one.view, image.size, 2 * CELL, self.only_view)
        scale = CELL / max(canvas.size)
        return canvas.resized(*(max(1, round(side * scale)) for side in canvas.size))

    def _legend(self) -> Legend:
        signed = self.look.signed
        low, high = self.limits or (0.0, 1.0)
        if signed:
            low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
        own = ("against the class", "for it") if signed else ("lowest", "highest")
        title = "of each map by itself" if self.limits is None else "raw map value"
        bar = ColourBar(self.look.colormap, self.look.gamma, signed, low, high, title=title)
        return Legend(bar=bar, ends=own if self.limits is None else None)


def _head(result: Result, number: int) -> list[str]:
    name = short_name(result.name) or f"image {number + 1}"
    return [name, *([result.predictions[0].title] if result.predictions else [])]
