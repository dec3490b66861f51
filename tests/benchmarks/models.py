"""The models of the benchmarks, as a user's own factories: `--model factory:tests.benchmarks.models:resnet50`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models import resnet50 as torchvision_resnet50
from torchvision.transforms._presets import ImageClassification

from camcli.models import load_model


def resnet50() -> tuple[nn.Module, Any]:
    """Torchvision's ResNet-50 with random weights, the same every time, and its own transform.

    Norms get statistics as training leaves them (signals keep their size), since speed and maps depend on them.
    """
    torch.manual_seed(0)
    model = torchvision_resnet50(weights=None)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over what is seen
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 224, 224))
    return model.eval(), ImageClassification(crop_size=224)


def builtin() -> tuple[nn.Module, Any]:
    """The built-in EfficientNet-Lite0 with timm's transform for it."""
    from timm.data import create_transform

    model = load_model("builtin", device=torch.device("cpu"))
    shape = model.preprocessing
    size = (shape.channels, shape.height, shape.width)
    transform = create_transform(
        input_size=size, interpolation=shape.interpolation, mean=shape.mean, std=shape.std, crop_pct=shape.crop_pct
    )
    return model.module, transform


def speck() -> tuple[nn.Module, Any]:
    """A classifier of 32×32 pixels that takes next to no time."""
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 16, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1000)
    return nn.Sequential(*parts).eval(), ImageClassification(crop_size=32, resize_size=32)


LAYERS = {"resnet50": "layer4", "builtin": "bn2"}
"""The layer that is explained."""
