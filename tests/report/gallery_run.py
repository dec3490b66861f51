"""A small run with everything that a gallery has to show: two methods, two targets, labels, failures, hostile names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from PIL import Image

from camcli import RunConfig, run
from tests.conftest import photographs

HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "\"quotes' & <b>bold.png",
    "\u202egnp.exe.png",
    "line\nbreak.png",
    "-dash ${x} {{7*7}} `id`.png",
    "#part?query%20.png",
)
"""File names that would do harm in HTML, in a script, in a link or in a shell."""

CLASSES = ("cat", "</script><script>alert(1)</script>", "cup", "flower")


def make_images(folder: Path) -> Path:
    """Folders of two classes, hostile names, and files that fail."""
    (folder / "cup").mkdir(parents=True)
    (folder / "flower").mkdir()
    samples = [Image.open(path).convert("RGB") for path in photographs()[:6]]
    for number, picture in enumerate(samples):
        picture.thumbnail((160, 160))
        picture.save(folder / ("cup", "flower")[number % 2] / f"{number}.png")
    for number, name in enumerate(HOSTILE if sys.platform != "win32" else ()):
        samples[number % 6].save(folder / name)
    if sys.platform.startswith("linux"):
        samples[0].save(os.fsencode(folder) + b"/not-utf8-\xff.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text <script>.png").write_text("<script>alert(1)</script>")
    return folder


def make_run(images: Path, output: Path, **changes: object) -> Path:
    """Explain the images with the tiny model."""
    classes = output.parent / "classes.txt"
    classes.write_text("\n".join(CLASSES))
    settings: dict[str, object] = {
        "image_path": (str(images),), "output_dir": str(output), "model": "factory:tests.tiny:build",
        "input_size": "64", "class_names": str(classes), "method": ("gradcam", "layercam"), "target": "top:2",
    }  # fmt: skip
    run(RunConfig(**{**settings, **changes}))  # type: ignore[arg-type]
    return output
