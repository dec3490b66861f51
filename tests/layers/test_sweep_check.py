"""The sweep's own check is worth something: what is reported rightly passes it, what is reported wrongly does not."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from tests.sweeps.layers_check import Reported, follows
from tests.sweeps.layers_sweep import FEW_PLACES, PLACES


def _vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(img_size=96, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=5).eval()


@pytest.mark.parametrize("places", [PLACES, FEW_PLACES])
@pytest.mark.parametrize(
    ("grid", "prefix", "right"),
    [((12, 12), 1, True), ((24, 6), 1, False), ((6, 24), 1, False), ((8, 18), 1, False), ((11, 13), 2, False)],
)
def test_tokens(grid: tuple[int, int], prefix: int, right: bool, places: int) -> None:
    followed = follows(_vit(), Reported("blocks.1.norm1", "tokens", grid, prefix), (3, 96, 96), places)
    assert (not followed.faults) == right, followed


@pytest.mark.parametrize("places", [PLACES, FEW_PLACES])
def test_maps_with_as_many_channels_as_rows(places: int) -> None:
    torch.manual_seed(0)
    module = timm.create_model("test_resnet", num_classes=5).eval()
    cut = torch.nn.Sequential(module.conv1, module.bn1, module.act1, torch.nn.AdaptiveAvgPool2d(32)).eval()
    [channels] = {layer.num_features for layer in cut if hasattr(layer, "num_features")}
    found = {
        kind: follows(cut, Reported("3", kind, grid, 0), (3, 160, 160), places)
        for kind, grid in (("nchw", (32, 32)), ("nhwc", (channels, 32)))
    }
    assert not found["nchw"].faults, found
    assert found["nhwc"].faults, found
