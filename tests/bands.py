"""Tiny classifiers of other than three channels, as `factory:tests.bands:NAME`, and images of six bands."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tests.tiny import Tiny


def build(channels: int) -> nn.Module:
    """Four classes, and features that differ with every band."""
    torch.manual_seed(channels)
    features = nn.Sequential(
        nn.Conv2d(channels, 8, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
    )  # fmt: skip
    return Tiny(features).eval()


def one() -> nn.Module:
    return build(1)


def two() -> nn.Module:
    return build(2)


def three() -> nn.Module:
    return build(3)


def four() -> nn.Module:
    return build(4)


def six() -> nn.Module:
    return build(6)


def choosing() -> tuple[nn.Module, Any]:
    """Takes bands 4, 3, 2 of any image by itself."""

    def preprocess(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values[:64, :64, [3, 2, 1]].astype(np.float32) / 10_000).permute(2, 0, 1)

    return build(3), preprocess


def tensors() -> tuple[nn.Module, Any]:
    """Preprocessing of torchvision for tensors of six bands."""
    from torchvision.transforms import v2

    return build(6), v2.Compose([v2.Resize((64, 64)), v2.ToDtype(torch.float32, scale=True)])


def pillow_alpha() -> tuple[nn.Module, Any]:
    """Preprocessing of torchvision for Pillow images with alpha."""
    from torchvision import transforms

    return build(4), transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])


def six_bands(height: int = 64, width: int = 64) -> np.ndarray:
    """(height, width, 6) uint16, no two bands alike."""
    rng = np.random.default_rng(6)
    coarse = rng.uniform(0, 65535, (height // 8 + 1, width // 8 + 1, 6))
    fine = np.kron(coarse, np.ones((8, 8, 1)))[:height, :width] + rng.uniform(-3000, 3000, (height, width, 6))
    return np.clip(fine, 0, 65535).astype(np.uint16)


def npy(array: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.savez_compressed(target, **arrays)
    return target.getvalue()


def tiff(array: np.ndarray, **options: Any) -> bytes:
    """A TIFF file of (height, width, bands) as one page."""
    import tifffile

    target = io.BytesIO()
    settings = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None, **options}
    if array.shape[2] == 1:
        array, settings["planarconfig"] = array[:, :, 0], None
    if settings["planarconfig"] == "separate":
        array = array.transpose(2, 0, 1)
    tifffile.imwrite(target, array, **settings)
    return target.getvalue()


def rgba(height: int = 64, width: int = 64) -> Image.Image:
    values = (six_bands(height, width)[:, :, :4] >> 8).astype(np.uint8)
    return Image.fromarray(values)
