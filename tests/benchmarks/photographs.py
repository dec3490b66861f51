"""Photographs of the size of ImageNet's, cut out of the samples."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

SAMPLES = Path(__file__).resolve().parents[2] / "sample_images"
SIZE = (500, 375)


def make_photographs(folder: Path, count: int, size: tuple[int, int] = SIZE) -> list[Path]:
    """Write ``count`` JPEG files of ``size`` (width, height): crops of the samples, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [Image.open(path).convert("RGB") for path in sorted(SAMPLES.rglob("*.jpg"))]
    chance = random.Random(0)
    paths = []
    for i in range(count):
        sample = samples[i % len(samples)]
        width = chance.uniform(0.5, 1.0) * min(sample.width, sample.height * size[0] / size[1])
        height = width * size[1] / size[0]
        x, y = chance.uniform(0, sample.width - width), chance.uniform(0, sample.height - height)
        path = folder / f"{i:05}.jpg"
        sample.resize(size, box=(x, y, x + width, y + height)).save(path, quality=90)
        paths.append(path)
    return paths
