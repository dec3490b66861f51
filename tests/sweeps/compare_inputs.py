"""The images, lists and models that :mod:`tests.sweeps.compare_commits` gives to both versions."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from skimage import data
from torchvision.models import squeezenet1_1

SAMPLES = Path(__file__).resolve().parents[2] / "sample_images"

# A module of its own, since the tests of the two versions may lie in different places.
_FACTORY = '''"""A small convolutional classifier with fixed weights."""
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    layers = []
    for channels, width in ((3, 8), (8, 16), (16, 16)):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)), (64, 64)


def small():
    return build()[0]
'''

_RUN_FILE = """image-path = ["photos"]
method = ["gradcam", "layercam"]
target = "top:2"
save = ["overlay", "raw"]
colormap = "viridis"
"""

_CHECKS = """[suite]
min_images = 4
manifest = "boxes.csv"
[valid]
[layout]
[border]
[focus]
[foreground]
[shortcut]
[stable]
images = 4
[random]
images = 4
[agree]
"""


def make_inputs(folder: Path) -> None:
    """Write everything that the configurations name, below ``folder``."""
    folder.mkdir()
    shutil.copytree(SAMPLES, folder / "sample_images")
    _write_photographs(folder / "photos")
    _write_odd_images(folder / "odd")
    _write_lists(folder)
    (folder / "small_model.py").write_text(_FACTORY)
    (folder / "run.toml").write_text(_RUN_FILE)
    (folder / "checks.toml").write_text(_CHECKS)
    torch.manual_seed(1)
    torch.save({"state_dict": squeezenet1_1(num_classes=4).state_dict()}, folder / "squeezenet.pt")
    (folder / "classes.txt").write_text("cat\ndog\ncup\nflower\n")
    with tarfile.open(folder / "photos.tar", "w") as archive:
        archive.add(folder / "photos", "photos")


def _write_photographs(folder: Path) -> None:
    """Eight photographs in three formats, of different shapes, in two folders."""
    (folder / "more").mkdir(parents=True)
    cat, coffee, astronaut = (Image.fromarray(array) for array in (data.chelsea(), data.coffee(), data.astronaut()))
    camera, rocket, coins = (Image.fromarray(array) for array in (data.camera(), data.rocket(), data.coins()))
    cat.save(folder / "cat.jpg", quality=92)
    coffee.crop((0, 0, 300, 400)).save(folder / "coffee.png")
    astronaut.resize((256, 256)).save(folder / "astronaut.webp", quality=80)
    camera.save(folder / "camera.jpg", quality=85)
    rocket.save(folder / "more" / "rocket.jpg", progressive=True)
    coins.save(folder / "more" / "coins.png")
    ImageOps.mirror(cat).crop((40, 20, 300, 280)).save(folder / "more" / "cat.jpg")
    coffee.resize((1400, 930)).save(folder / "more" / "large coffee.jpg", quality=75)


def _write_odd_images(folder: Path) -> None:
    """What can be decoded but seldom is seen, and what cannot be decoded."""
    folder.mkdir()
    cat = Image.fromarray(data.chelsea()).resize((226, 150))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        cat.save(folder / f"orientation {orientation}.jpg", exif=exif)
    grey = cat.convert("L")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 200).save(folder / "16 bits.png")
    cat.convert("CMYK").save(folder / "cmyk.jpg")
    cat.quantize(32).save(folder / "still.gif")
    cat.save(folder / "two frames.gif", save_all=True, append_images=[ImageOps.mirror(cat)])
    cat.save(folder / "two pages.tiff", save_all=True, append_images=[ImageOps.mirror(cat)])
    cat.convert("RGBA").save(folder / "rgba.webp", lossless=True)
    cat.quantize(32).save(folder / "transparent palette.png", transparency=3)
    grey.convert("LA").save(folder / "grey alpha.png")
    grey.convert("1").save(folder / "one bit.bmp")
    Image.fromarray(np.asarray(grey).astype(np.float32) / 255).save(folder / "float.tif")
    cat.resize((1, 1)).save(folder / "one pixel.png")
    Image.new("RGB", (90, 60), (120, 120, 120)).save(folder / "uniform.jpg")
    buffer = io.BytesIO()
    cat.save(buffer, "JPEG")
    content = buffer.getvalue()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (folder / "only a header.jpg").write_bytes(content[:24])
    (folder / "text.jpg").write_text("This is no image.\n" * 20)
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("not searched for")


def _write_lists(folder: Path) -> None:
    """Manifests with targets, labels, boxes and masks; a plain list."""
    with (folder / "targets.csv").open("w", newline="") as file:
        csv.writer(file).writerows([
            ("image", "label", "target"), ("photos/cat.jpg", "Egyptian cat", "285"),
            ("photos/coffee.png", "espresso", "top:2"), ("photos/camera.jpg", "", "tripod"),
            ("photos/more/rocket.jpg", "missile", ""), ("photos/missing.jpg", "", "predicted"),
        ])  # fmt: skip
    mask = Image.new("L", (451, 300))
    mask.paste(255, (100, 60, 380, 250))
    mask.save(folder / "mask.png")
    boxes = (("cat.jpg", "100,30,400,280"), ("coffee.png", "40,60,280,330"), ("more/cat.jpg", "20,20,240,240"),
             ("camera.jpg", "150,60,330,420"), ("more/rocket.jpg", "250,40,400,400"))  # fmt: skip
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "box"), *((f"photos/{image}", box) for image, box in boxes)])
    masked = {"image": "photos/cat.jpg", "mask": "mask.png", "target": "predicted"}
    (folder / "masks.jsonl").write_text(json.dumps(masked) + "\n")
    (folder / "list.txt").write_text("photos/cat.jpg\nodd/orientation 6.jpg\nphotos/cat.jpg\nphotos/nowhere.jpg\n")
