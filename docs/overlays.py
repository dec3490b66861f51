"""Draw docs/overlays.jpg, the picture of the README: ``python docs/overlays.py``.

One column a sample photograph: the photograph, then its overlays by several methods, as ``cam run`` writes them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import camcli

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("gradcam", "layercam", "eigencam")
HEIGHT = 200
MARGIN = 84


def main() -> None:
    """Run the sample photographs and put the overlays side by side."""
    photographs = sorted((ROOT / "sample_images").rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        samples = str(ROOT / "sample_images")
        camcli.run(camcli.RunConfig(image_path=(samples,), method=METHODS, output_dir=folder, save=("overlay",)))
        columns = [column(path, Path(folder)) for path in photographs]
    sheet = Image.new("RGB", (MARGIN + sum(c.width for c in columns), columns[0].height), "white")
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(("photograph", *METHODS)):
        pen.text((6, row * HEIGHT + HEIGHT // 2), name, fill="black", font_size=14)
    left = MARGIN
    for picture in columns:
        sheet.paste(picture, (left, 0))
        left += picture.width
    sheet.save(ROOT / "docs" / "overlays.jpg", quality=85)


def column(path: Path, run: Path) -> Image.Image:
    """A photograph above its overlays."""
    inside = path.relative_to(ROOT / "sample_images")
    overlays = [run / "overlays" / method / f"{inside}.jpg" for method in METHODS]
    pictures = [Image.open(file).convert("RGB") for file in (path, *overlays)]
    width = round(pictures[0].width * HEIGHT / pictures[0].height)
    stack = Image.new("RGB", (width, HEIGHT * len(pictures)))
    for row, picture in enumerate(pictures):
        stack.paste(picture.resize((width, HEIGHT)), (0, row * HEIGHT))
    return stack


if __name__ == "__main__":
    main()
