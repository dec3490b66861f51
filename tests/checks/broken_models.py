"""Models that a build must stop: ``factory:tests.checks.broken_models:shuffled`` and so on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import camcli


def shuffled() -> tuple[nn.Module, dict[str, Any]]:
    """The built-in model, its classes in another order than their names."""
    model = camcli.load_model("builtin")
    head = [part for part in model.module.modules() if isinstance(part, nn.Linear)][-1]
    order = torch.randperm(head.out_features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head.weight.copy_(head.weight[order])
        head.bias.copy_(head.bias[order])
    model.module.class_names = model.class_names  # type: ignore[assignment]
    own = model.preprocessing
    return model.module, {
        "input_size": (3, own.height, own.width), "mean": own.mean, "std": own.std, "crop_pct": own.crop_pct,
        "interpolation": own.interpolation,
    }  # fmt: skip


class SwappedChannels(nn.Module):
    """A network that gets blue, green, red where it was trained with red, green, blue."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x.flip(1))
        return logits


def swapped() -> tuple[nn.Module, dict[str, Any]]:
    """The built-in model with another preprocessing that no header tells of."""
    model = camcli.load_model("builtin")
    own, network = model.preprocessing, SwappedChannels(model.module)
    network.class_names = model.class_names  # type: ignore[assignment]
    return network, {
        "input_size": (3, own.height, own.width), "mean": own.mean, "std": own.std, "crop_pct": own.crop_pct,
        "interpolation": own.interpolation,
    }  # fmt: skip
