"""Draw docs/pictures/overlays.jpg, the picture of the README: ``python docs/pictures/overlays.py``.

One column a sample photograph: the prediction, the photograph, then its overlays by several methods as ``cam run``
writes them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

import camcli

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "sample_images"
METHODS = {
    "gradcam": "gradients,\none pass",
    "layercam": "gradients at\neach position",
    "eigencam": "no gradients,\nno class",
}
HEIGHT = 190
GAP = 4
LEFT = 108
TOP = 26


def main() -> None:
    """Run the sample photographs and put the overlays side by side."""
    with tempfile.TemporaryDirectory() as folder:
        camcli.run(
            camcli.RunConfig(image_path=(str(SAMPLES),), method=tuple(METHODS), output_dir=folder, save=("overlay",))
        )
        items = json.loads((Path(folder) / "index.json").read_text(encoding="utf-8"))["items"]
        columns = [draw_column(item, Path(folder)) for item in items]
    height = TOP + (1 + len(METHODS)) * (HEIGHT + GAP)
    sheet = Image.new("RGB", (LEFT + sum(column.width + GAP for column in columns), height), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (title, text) in enumerate([("photograph", "and prediction"), *METHODS.items()]):
        middle = TOP + row * (HEIGHT + GAP) + HEIGHT // 2
        pen.text((6, middle - 24), title, fill="black", font_size=17)
        pen.text((6, middle), text, fill="#555", font_size=13)
    left = LEFT
    for column in columns:
        sheet.paste(column, (left, 0))
        left += column.width + GAP
    sheet.save(Path(__file__).with_name("overlays.jpg"), quality=85, optimize=True)


def draw_column(item: dict[str, Any], run: Path) -> Image.Image:
    """The prediction, the photograph and its overlays, one above the other."""
    files = [SAMPLES / item["image"], *(run / entry["files"]["overlay"] for entry in item["maps"])]
    pictures = [Image.open(file).convert("RGB") for file in files]
    width = round(pictures[0].width * HEIGHT / pictures[0].height)
    column = Image.new("RGB", (width, TOP + len(pictures) * (HEIGHT + GAP)), "white")
    best = item["predictions"][0]
    ImageDraw.Draw(column).text((2, 4), f"{best['name']} {best['probability']:.0%}", fill="black", font_size=15)
    for row, picture in enumerate(pictures):
        column.paste(picture.resize((width, HEIGHT), Image.Resampling.LANCZOS), (0, TOP + row * (HEIGHT + GAP)))
    return column


if __name__ == "__main__":
    main()
