"""What an explanation of one image is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from PIL import Image

from camcli.api.notebook import MOST_MAPS, SIDE, more_html, result_html
from camcli.images import View
from camcli.pipeline.pictures import how_chosen, percentage
from camcli.render import Drawing, PanelText, Style, draw_on, normalise
from camcli.render.lettering import legible

Limits = tuple[float, float]


@dataclass(frozen=True)
class Target:
    """The class that a map explains."""

    index: int
    name: str | None
    probability: float | None  # None where the outputs of the model are values
    logit: float
    chosen_by: str

    @property
    def title(self) -> str:
        """The class and its probability, or its value, in words."""
        value = f"{self.logit:.4g}" if self.probability is None else percentage(self.probability)
        return f"{self.name or f'class {self.index}'} {value}"


@dataclass(frozen=True)
class MapResult:
    """One map of one image.

    Attributes:
        native: (h, w) float32, raw: before ReLU and normalisation, signed where the method is signed.
        target: the class it explains; None where the model has no classes.
        layer: path of the layer, several when fused, None for whole-network methods.
        view: the part of the image that is the model's input (x0, y0, x1, y1), in upright original pixels.
    """

    native: np.ndarray
    target: Target | None
    layer: str | tuple[str, ...] | None
    view: View
    model_size: tuple[int, int]
    _original: Callable[[], Image.Image]
    method: str = ""

    @property
    def image(self) -> Image.Image:
        """The upright original, decoded anew: a result holds the content of a file, not its pixels."""
        return self._original()

    @cached_property
    def normalised(self) -> np.ndarray:
        """(h, w) float32 in [0, 1]: ReLU, then min-max."""
        return normalise(self.native)

    def overlay(
        self, *, colormap: str | None = None, alpha: float = 0.5, gamma: float = 1.0, max_side: int = 0,
        signed: bool = False, canvas: str = "original", limits: Limits | None = None,
    ) -> Image.Image:  # fmt: skip
        """The coloured map over the upright original; what lies outside the view is dimmed.

        The arguments are those of ``cam run``: ``gamma`` is the exponent of the drawn map (below 1 makes weak heat
        visible), ``signed`` keeps its sign, with zero in the middle of the colours, and ``canvas="view"`` shows what
        the model saw, and nothing else. ``limits`` are raw values at the ends of the colours, in place of the map's own
        range. Without ``colormap``, ``jet``, and ``coolwarm`` for signed maps.
        """
        return self._picture("overlay", style(colormap, alpha, gamma, signed), max_side, canvas, limits)

    def heatmap(
        self, *, colormap: str | None = None, gamma: float = 1.0, max_side: int = 0, signed: bool = False,
        canvas: str = "original", limits: Limits | None = None,
    ) -> Image.Image:  # fmt: skip
        """The coloured map alone, in the geometry of the upright original; arguments as of :meth:`overlay`."""
        return self._picture("heatmap", style(colormap, 0.5, gamma, signed), max_side, canvas, limits)

    def panel(
        self, *, colormap: str | None = None, alpha: float = 0.5, gamma: float = 1.0, signed: bool = False,
        canvas: str = "original", limits: Limits | None = None,
    ) -> Image.Image:  # fmt: skip
        """Image, both heatmaps and overlay as a figure with labels and a colour bar; see :meth:`overlay`."""
        return self._picture("panel", style(colormap, alpha, gamma, signed), 0, canvas, limits)

    def _picture(
        self, kind: str, style: Style, max_side: int, canvas: str, limits: Limits | None
    ) -> Image.Image:  # fmt: skip
        image = self.image
        drawn_on = draw_on(image, self.view, image.size, max_side, only_view(canvas))
        drawing = Drawing(self.native, drawn_on, self.model_size, style, limits, self._text())
        return Image.fromarray(cv2.cvtColor(drawing.picture(kind), cv2.COLOR_BGR2RGB))

    def _text(self) -> PanelText:
        layer = "+".join(self.layer) if isinstance(self.layer, tuple) else self.layer
        parts = [
            self.method,
            f"layer {layer}" if layer else "",
            f"target: {how_chosen(self.target.chosen_by)}" if self.target else "",
        ]
        title = "no class" if self.target is None else legible(self.target.title) or f"class {self.target.index}"
        return PanelText(title, ", ".join(part for part in parts if part))


@dataclass(frozen=True)
class Result:
    """Predictions and maps of one image; in a notebook it shows itself.

    Attributes:
        predictions: the five most probable classes, best first; none where the model has no classes.
        maps: by method; with several layers or targets by ``method/layer/target`` with the levels there are several
            of, as in the paths of artefacts.
        name: of the file; empty for what is in memory.
    """

    predictions: tuple[Target, ...]
    maps: Mapping[str, MapResult]
    name: str = ""

    def _repr_html_(self) -> str:
        maps = list(self.maps.items())
        pictures = [(maps[0][1].image, short_name(self.name) or "image")] if maps else []
        top = self.predictions[0].index if self.predictions else None
        for key, one in maps[:MOST_MAPS]:
            is_of_top = one.target is None or one.target.index == top
            caption = key if one.target is None or is_of_top else f"{key}: {one.target.title}"
            pictures.append((one.overlay(max_side=2 * SIDE), caption))
        classes = [(one.name or f"class {one.index}", one.probability, one.logit) for one in self.predictions]
        return result_html(pictures, classes) + more_html(len(maps) - MOST_MAPS, "maps")


def short_name(name: str) -> str:
    """The last part of a path."""
    return name.replace("\\", "/").rpartition("/")[2]


def style(colormap: str | None, alpha: float, gamma: float, signed: bool) -> Style:
    """How maps are drawn.

    Raises:
        ConfigError: a value that ``cam run`` would refuse.
    """
    from camcli.config.settings import RunConfig
    from camcli.pipeline.pictures import style_of

    return style_of(RunConfig(colormap=colormap, alpha=alpha, gamma=gamma, signed=signed))


def only_view(canvas: str) -> bool:
    """Whether the part that the model saw is drawn on alone.

    Raises:
        ConfigError: neither ``original`` nor ``view``.
    """
    from camcli.config.settings import RunConfig

    return RunConfig(canvas=canvas).canvas == "view"
