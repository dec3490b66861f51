"""The automatic layer follows convention where there is one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torchvision.models as tv
from timm.models.convnext import ConvNeXt
from torch import nn

from camcli.layers import resolve_layers
from tests.layers.standin import standin, timm_standin


def _vgg() -> nn.Module:
    module = tv.VGG(tv.vgg.make_layers([8, "M", 8, "M", 16, "M", 16, "M"]), 5, init_weights=False)
    module.classifier = nn.Sequential(nn.Linear(16 * 49, 5))
    return module


def _vit() -> nn.Module:
    return tv.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=5)


def _swin() -> nn.Module:
    return tv.SwinTransformer([4, 4], 16, [1, 2], [1, 2], [4, 4], num_classes=5)


@pytest.mark.parametrize(
    ("module", "side", "path", "kind"),
    [
        (lambda: tv.resnet18(weights=None), 160, "layer4", "nchw"),
        (_vgg, 64, "features.11", "nchw"),
        (lambda: tv.DenseNet(4, (1, 1, 2, 2), 8, num_classes=5), 128, "features.norm5", "nchw"),
        (lambda: tv.MNASNet(0.5, 5), 160, "layers.16", "nchw"),
        (lambda: tv.SqueezeNet("1_1", 5), 96, "features.12", "nchw"),
        (lambda: tv.MobileNetV2(5, 0.25), 128, "features.18", "nchw"),
        (_vit, 64, "encoder.layers.encoder_layer_1.ln_1", "tokens"),
        (_swin, 64, "features.3.1.norm1", "nhwc"),
        (lambda: ConvNeXt(num_classes=5, depths=(1, 1, 2, 1), dims=(8, 8, 16, 16)), 128, "stages.3", "nchw"),
    ],
)
def test_conventions(module: Callable[[], nn.Module], side: int, path: str, kind: str) -> None:
    torch.manual_seed(0)
    [layer] = resolve_layers(standin(module(), side), ["auto"])
    assert (layer.path, layer.layout.kind, layer.proof) == (path, kind, "proven")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("test_efficientnet", "bn2"),
        ("test_vit2", "blocks.7.norm1"),
        ("test_vit3", "blocks.8.norm1"),  # attention pooling: its own maps are not layers
        ("test_nfnet", "final_act"),
        ("test_coatnet", "norm"),
    ],
)
def test_timm_conventions(name: str, path: str) -> None:
    assert resolve_layers(timm_standin(name), ["auto"])[0].path == path


class TwoBranches(nn.Module):
    """Two token streams that meet only in the score, after blocks without a list."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.fine = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU())
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x)
        return self.head(torch.cat([self.fine(x).mean((2, 3)), self.coarse(x).mean((2, 3))], 1))


def test_branches_that_meet_only_in_the_score_are_not_passed_over_for_the_stem() -> None:
    [layer] = resolve_layers(standin(TwoBranches(), 64), ["auto"])
    assert layer.path.startswith("coarse")


class Mixing(nn.Module):
    """A residual block whose branch begins with a local convolution and ends with all positions interchanged."""

    def __init__(self, channels: int, positions: int, seed: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
        self.order = torch.randperm(positions, generator=torch.Generator().manual_seed(seed))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.1 * x + self.conv(x).flatten(2)[:, :, self.order].unflatten(2, x.shape[2:])


def test_a_stage_that_keeps_places_comes_before_a_branch_inside_a_later_block() -> None:
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.ReLU())
    blocks = nn.Sequential(*(Mixing(16, 64, seed) for seed in range(4)))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    net = nn.Sequential(OrderedDict(stem=stem, blocks=blocks, head=head))
    [layer] = resolve_layers(standin(net, 64), ["auto"])
    assert layer.path == "stem"
    [inside] = resolve_layers(standin(net, 64), ["blocks.0.conv"])
    assert inside.proof == "proven"


def test_a_grid_of_four_by_four_is_preferred_to_a_deeper_one() -> None:
    module = tv.resnet18(weights=None)
    assert resolve_layers(standin(module, 128), ["auto"])[0].path == "layer4"
    assert resolve_layers(standin(module, 64), ["auto"])[0].path == "layer3"


def test_maps_of_class_scores_are_not_chosen_before_features() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert resolve_layers(standin(module, 64), ["auto"])[0].path == "1"


def test_as_many_channels_as_classes_make_no_map_of_scores() -> None:
    assert resolve_layers(standin(tv.resnet18(weights=None, num_classes=512), 160), ["auto"])[0].path == "layer4"


def test_the_score_of_a_user_class_without_containers() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, padding=1)
            self.head = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))

    assert resolve_layers(standin(Plain(), 32), ["auto"])[0].path == "second"
