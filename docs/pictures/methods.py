"""Draw docs/pictures/methods.jpg: every method for convolutional networks on two photographs.

``python docs/pictures/methods.py`` takes some minutes on two cores; `sscam`, `iscam` and `rise` use fewer masks than by
default.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import camcli
from camcli.errors import MethodError
from camcli.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTOGRAPHS = ("tabby/chelsea.jpg", "tripod/cameraman.jpg")
OPTIONS = ("scorecam.max_channels=128", "sscam.max_channels=32", "iscam.max_channels=32", "rise.masks=400")
SIDE = 150
COLUMNS = 7


def main() -> None:
    """Explain the photographs by one method after the other and lay the overlays out."""
    tiles: list[tuple[str, Image.Image]] = []
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            try:
                overlays = explained(method, Path(folder) / method)
            except MethodError as error:
                print(f"{method}: {error}")
                continue
            tiles.append((method, side_by_side(overlays)))
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * (2 * SIDE + 20)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (method, picture) in enumerate(tiles):
        left, top = place % COLUMNS * SIDE, place // COLUMNS * (2 * SIDE + 20)
        pen.text((left + 4, top + 3), method, fill="black", font_size=13)
        sheet.paste(picture, (left, top + 20))
    sheet.save(Path(__file__).with_name("methods.jpg"), quality=85)


def explained(method: str, run: Path) -> list[Image.Image]:
    """The overlays of the photographs, of which the model sees all."""
    names = tuple(str(ROOT / "sample_images" / name) for name in PHOTOGRAPHS)
    options = tuple(option for option in OPTIONS if option.startswith(f"{method}."))
    camcli.run(
        camcli.RunConfig(
            image_path=names, method=(method,), option=options, resize="squash", output_dir=str(run), save=("overlay",)
        )
    )
    return [Image.open(path).convert("RGB") for path in sorted((run / "overlays").rglob("*.jpg"))]


def side_by_side(overlays: list[Image.Image]) -> Image.Image:
    """The overlays of one method, one above the other."""
    picture = Image.new("RGB", (SIDE, SIDE * len(overlays)))
    for row, overlay in enumerate(overlays):
        picture.paste(overlay.resize((SIDE, SIDE)), (0, row * SIDE))
    return picture


if __name__ == "__main__":
    main()
