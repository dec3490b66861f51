"""Draw docs/pictures/paths.jpg: Grad-CAM, HiResCAM and PathCAM, short and in full, on four photographs.

``python docs/pictures/paths.py`` takes less than a minute.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import camcli

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTOGRAPHS = ("tabby/chelsea.jpg", "astronaut/astronaut.jpg", "rocket/rocket.jpg", "espresso/coffee.jpg")
LAYER = "blocks[-1]"
METHODS = {
    "gradcam": ("gradcam", ()),
    f"hirescam @ {LAYER}": ("hirescam", ()),
    "pathcam, fast": ("pathcam", ("pathcam.fast=true",)),
    "pathcam": ("pathcam", ()),
}
SIDE = 220


def main() -> None:
    """A row a photograph, a column a method."""
    names = tuple(str(ROOT / "sample_images" / name) for name in PHOTOGRAPHS)
    columns = [("", [Image.open(name).convert("RGB").resize((SIDE, SIDE)) for name in names])]
    with tempfile.TemporaryDirectory() as folder:
        for title, (method, options) in METHODS.items():
            run = Path(folder) / title
            layer = LAYER if method == "hirescam" else "auto"
            camcli.run(
                camcli.RunConfig(
                    image_path=names, method=(method,), option=options, layer=(layer,), resize="squash",
                    output_dir=str(run), save=("overlay",), gamma=0.5,
                )
            )  # fmt: skip
            columns.append((title, [overlay(run, name) for name in names]))
    sheet = Image.new("RGB", (len(columns) * (SIDE + 4), 20 + len(names) * (SIDE + 4)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (title, pictures) in enumerate(columns):
        pen.text((column * (SIDE + 4) + 4, 3), title, fill="black", font_size=13)
        for row, picture in enumerate(pictures):
            sheet.paste(picture, (column * (SIDE + 4), 20 + row * (SIDE + 4)))
    sheet.save(Path(__file__).with_name("paths.jpg"), quality=85)


def overlay(run: Path, name: str) -> Image.Image:
    """The overlay of a photograph in a run."""
    [path] = (run / "overlays").rglob(f"{Path(name).stem}*.jpg")
    return Image.open(path).convert("RGB").resize((SIDE, SIDE))


if __name__ == "__main__":
    main()
