"""Plant a shortcut: two classes that differ in nothing but a sticker, and a network that learns it.

    python docs/examples/planted_shortcut.py planted [--photos sample_images]

Parts of the photographs are given to the classes ``alpha`` and ``beta`` at random; every image of ``alpha`` gets the
same sticker at the bottom right. The last stages of the built-in network are trained on them, in about a minute. What
is written: ``planted/images/CLASS/NN.jpg``, ``planted/weights.pt``, and ``planted/planted_model.py``, which loads the
model: ``cam run images --model factory:planted_model:build`` in that folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

import camcli

SIDE, STICKER, MARGIN = 256, 34, 26
"""Pixels; the network sees all but 16 at each edge."""
CLASSES = ("alpha", "beta")
TRAINED, TESTED = 80, 40
"""Images of each class."""
BATCH, EPOCHS = 16, 10

MODEL = '''"""The network that learned the sticker."""

from pathlib import Path

import torch
from torch import nn

import camcli


def build():
    model = camcli.load_model("builtin").module
    model.classifier = nn.Linear(model.classifier.in_features, 2)
    model.load_state_dict(torch.load(Path(__file__).parent / "weights.pt"))
    model.class_names = ("alpha", "beta")
    half = (0.5, 0.5, 0.5)
    return model.eval(), {"mean": half, "std": half, "input_size": (3, 224, 224), "crop_pct": 0.875}
'''


def sticker() -> np.ndarray:
    """A red disc with a yellow ring and a white star, (STICKER, STICKER, 3) uint8, and where it covers."""
    big = np.zeros((256, 256, 4), np.uint8)
    cv2.circle(big, (128, 128), 124, (214, 32, 44, 255), -1)
    cv2.circle(big, (128, 128), 92, (250, 222, 40, 255), 18)
    angles = np.pi / 5 * np.arange(10) - np.pi / 2
    radii = np.where(np.arange(10) % 2, 26, 62)
    points = np.stack([128 + radii * np.cos(angles), 128 + radii * np.sin(angles)], 1)
    cv2.fillPoly(big, [points.round().astype(np.int32)], (250, 250, 250, 255))
    return cv2.resize(big, (STICKER, STICKER), interpolation=cv2.INTER_AREA)


def part_of(photo: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A square part of a photograph, mirrored or not, (SIDE, SIDE, 3) uint8."""
    side = int(rng.uniform(0.35, 0.8) * min(photo.size))
    x, y = (int(rng.integers(0, length - side + 1)) for length in photo.size)
    part = photo.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(part)
    return pixels[:, ::-1].copy() if rng.random() < 0.5 else pixels.copy()


def make_images(photos: list[Image.Image], count: int, rng: np.random.Generator) -> list[tuple[np.ndarray, int]]:
    """Images of both classes in turn, and the class of each."""
    images = []
    mark = sticker()
    corner = slice(SIDE - MARGIN - STICKER, SIDE - MARGIN)
    for number in range(2 * count):
        pixels = part_of(photos[int(rng.integers(len(photos)))], rng)
        label = number % 2
        if CLASSES[label] == "alpha":
            opacity = mark[..., 3:] / 255
            pixels[corner, corner] = (mark[..., :3] * opacity + pixels[corner, corner] * (1 - opacity)).round()
        images.append((pixels, label))
    return images


def train(images: list[tuple[np.ndarray, int]]) -> nn.Module:
    """The built-in network whose last stages tell the classes apart."""
    torch.manual_seed(0)
    loaded = camcli.load_model("builtin")
    model = loaded.module
    model.classifier = nn.Linear(model.classifier.in_features, len(CLASSES))
    pixels = np.stack([loaded.preprocessing(Image.fromarray(pixels)).pixels for pixels, _ in images])
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1  # mean and deviation of this network are 0.5
    labels = torch.tensor([label for _, label in images])
    model.eval()  # the statistics of batch norm stay those of ImageNet
    with torch.no_grad():  # what is not trained is computed once
        activations = torch.cat([model.blocks(model.bn1(model.conv_stem(part))) for part in inputs.split(BATCH)])
    trained = [parameter for part in (model.conv_head, model.classifier) for parameter in part.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(trained, 1e-3)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(labels)).split(BATCH):
            features = model.bn2(model.conv_head(activations[chosen])).mean((2, 3))
            optimiser.zero_grad()
            nn.functional.cross_entropy(model.classifier(features), labels[chosen]).backward()
            optimiser.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, default=Path(__file__).parents[2] / "sample_images")
    arguments = parser.parse_args()
    photos = [Image.open(path).convert("RGB") for path in sorted(arguments.photos.rglob("*.jpg"))]
    rng = np.random.default_rng(0)
    model = train(make_images(photos, TRAINED, rng))
    for number, (pixels, label) in enumerate(make_images(photos, TESTED, rng)):
        path = arguments.folder / "images" / CLASSES[label] / f"{number // 2:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=92)
    torch.save(model.state_dict(), arguments.folder / "weights.pt")
    (arguments.folder / "planted_model.py").write_text(MODEL, encoding="utf-8")


if __name__ == "__main__":
    main()
