"""What an explanation of one image is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from PIL import Image

from camcli.images import View
from camcli.render import Drawing, Style, make_canvas, normalise


@dataclass(frozen=True)
class Target:
    """The class that a map explains."""

    index: int
    name: str | None
    probability: float | None  # None where the outputs of the model are values
    logit: float
    chosen_by: str


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

    @property
    def image(self) -> Image.Image:
        """The upright original, decoded anew: a result holds the content of a file, not its pixels."""
        return self._original()

    @cached_property
    def normalised(self) -> np.ndarray:
        """(h, w) float32 in [0, 1]: ReLU, then min-max."""
        return normalise(self.native)

    def overlay(
        self, *, colormap: str = "jet", alpha: float = 0.5, gamma: float = 1.0, max_side: int = 0
    ) -> Image.Image:
        """The coloured map over the upright original; what lies outside the view is dimmed.

        ``gamma`` is the exponent of the drawn map: below 1 makes weak heat visible.
        """
        return self._picture("overlay", Style(colormap, alpha, gamma), max_side)

    def heatmap(self, *, colormap: str = "jet", gamma: float = 1.0, max_side: int = 0) -> Image.Image:
        """The coloured map alone, in the geometry of the upright original; ``gamma`` as of :meth:`overlay`."""
        return self._picture("heatmap", Style(colormap, gamma=gamma), max_side)

    def _picture(self, kind: str, style: Style, max_side: int) -> Image.Image:
        canvas = make_canvas(np.asarray(self.image), self.view, max_side)
        drawing = Drawing(self.native, canvas, self.model_size, style)
        return Image.fromarray(cv2.cvtColor(drawing.picture(kind), cv2.COLOR_BGR2RGB))


@dataclass(frozen=True)
class Result:
    """Predictions and maps of one image.

    Attributes:
        predictions: the five most probable classes, best first; none where the model has no classes.
        maps: by method; with several layers or targets by ``method/layer/target`` with the levels there are several
            of, as in the paths of artefacts.
    """

    predictions: tuple[Target, ...]
    maps: Mapping[str, MapResult]
