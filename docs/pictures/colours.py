"""Draw the pictures of the guide on pictures: ``python docs/pictures/colours.py``.

``colours.jpg`` has one map in several colour maps, and the same without colour, as a black-and-white printer shows it.
``panel.jpg`` is a panel, ``signed.jpg`` maps without and with their sign, ``canvas.jpg`` both canvases.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageChops, ImageOps

import camcli
from camcli.render.grid import Band, Cell, Legend, lay_out
from camcli.render.pages import draw_page
from camcli.render.panel import ColourBar

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent.parent / "sample_images"
PHOTOGRAPHS = ("tabby/chelsea.jpg", "espresso/coffee.jpg")
COLOURS = ("jet", "turbo", "viridis", "inferno", "cividis")


def main() -> None:
    """Explain photographs and draw their maps."""
    model = camcli.load_model("builtin")
    cat, coffee = (one.maps["gradcam"] for one in camcli.explain(model, [SAMPLES / name for name in PHOTOGRAPHS]))
    save(draw_colours(cat), "colours.jpg", 1200)
    save(cat.panel(colormap="inferno"), "panel.jpg", 1400)
    save(draw_signed(model), "signed.jpg", 1200)
    save(draw_canvases(coffee), "canvas.jpg", 700)


def draw_colours(one: camcli.MapResult) -> Image.Image:
    """A ramp, a heatmap and an overlay in each colour map, and the first two without colour."""
    columns = []
    for name in COLOURS:
        ramp = ColourBar(name, 1.0, False, 0, 1).colours(240)[None].repeat(40, axis=0)
        heatmap = np.asarray(one.heatmap(colormap=name, canvas="view"))
        overlay = np.asarray(one.overlay(colormap=name, canvas="view"))
        columns.append([ramp, without_colour(ramp), heatmap, without_colour(heatmap), overlay])
    rows = [[Cell(column[i]) for column in columns] for i in range(5)]
    labels = ["low to high", "printed in grey", "heatmap", "printed in grey", "overlay"]
    (page,) = lay_out([Band([[name] for name in COLOURS], labels, rows)], len(COLOURS), labels, Legend(), None)
    return draw_page(page)


def without_colour(picture: np.ndarray) -> np.ndarray:
    """The lightness of a picture (CIE L*) as grey."""
    lightness = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[..., :1]
    return np.repeat(lightness, 3, axis=2)


def draw_signed(model: camcli.Model) -> Image.Image:
    """Maps of classes that are not predicted: what speaks for them, and what speaks against them, too."""
    names = ["astronaut/astronaut.jpg", "rocket/rocket.jpg"]
    results = camcli.explain(model, [SAMPLES / name for name in names], targets=["space shuttle", "tripod"])
    bands = []
    for result in results:
        one = result.maps["gradcam"]
        assert one.target is not None
        row = [Cell(np.asarray(one.image.convert("RGB")), [f"explained: {one.target.title}"])]
        row += [cell(one.overlay(colormap="inferno")), cell(one.overlay(signed=True)), cell(one.heatmap(signed=True))]
        heads = [["image"], ["for the class"], ["for and against"], ["heatmap"]] if not bands else []
        bands.append(Band(heads, (), [row]))
    bar = ColourBar("coolwarm", 1.0, True, -1, 1, title="of each map by itself")
    (page,) = lay_out(bands, 4, [], Legend(bar=bar, ends=("against the class", "for it")), None)
    return draw_page(page)


def draw_canvases(one: camcli.MapResult) -> Image.Image:
    """An overlay on the whole photograph, and on what the model saw."""
    row = [cell(one.overlay(colormap="turbo")), cell(one.overlay(colormap="turbo", canvas="view"))]
    (page,) = lay_out([Band([["--canvas original"], ["--canvas view"]], (), [row])], 2, [], Legend(), None)
    return draw_page(page)


def cell(picture: Image.Image) -> Cell:
    return Cell(np.asarray(picture))


def save(picture: Image.Image, name: str, width: int) -> None:
    """Write a picture without its empty margins, not wider than this."""
    box = ImageChops.invert(picture).getbbox()
    if box is not None:
        picture = ImageOps.expand(picture.crop(box), 20, "white")
    picture.thumbnail((width, 10_000))
    picture.save(HERE / name, quality=85, optimize=True)


if __name__ == "__main__":
    main()
