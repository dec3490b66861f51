"""A model as the layers package sees it, and small networks with the habits of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm
from torch import Tensor, nn

from camcli.errors import ModelError


@dataclass(frozen=True)
class Size:
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class StandIn:
    module: nn.Module
    preprocessing: Size

    def logits(self, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 2:
            raise ModelError("the output holds no logits")
        return output


def standin(module: nn.Module, height: int = 64, width: int | None = None, channels: int = 3) -> StandIn:
    return StandIn(module, Size(channels, height, width or height))


def timm_standin(name: str, **options: Any) -> StandIn:
    module = timm.create_model(name, pretrained=False, **options)
    size = options.get("img_size") or module.pretrained_cfg["input_size"][1:]
    height, width = (size, size) if isinstance(size, int) else size
    return standin(module, height, width)
