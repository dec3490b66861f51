"""Activations that look like something they are not. Each trap has its test by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.cait import Cait
from timm.models.hiera import Hiera
from timm.models.vision_transformer import VisionTransformer
from timm.models.xcit import Xcit
from torch import Tensor, nn

from camcli.errors import LayerError
from camcli.layers import Layout, resolve_layers
from camcli.layers.layout import parse_layout
from camcli.layers.measurements import measure_layers
from tests.layers.standin import StandIn, standin, timm_standin


def _vit(height: int = 64, width: int = 64, **options: Any) -> StandIn:
    torch.manual_seed(0)
    module = VisionTransformer(
        img_size=(height, width), patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=10, **options
    )
    return standin(module, height, width)


def _only(model: StandIn, path: str, layout: str = "auto") -> Layout:
    [layer] = resolve_layers(model, [path], layout)
    assert layer.proof == "proven"
    return layer.layout


class Reordered(nn.Module):
    """Patches as tokens in an order of one's own, a block with a residual, average pooling."""

    def __init__(self, reorder: Any) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.reorder = reorder
        self.tokens = nn.Identity()
        self.block = nn.Linear(24, 24)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens(self.reorder(self.patches(x)))
        return self.head((tokens + self.block(tokens)).mean(1))


def _rows_first(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


def test_trap_nhwc_read_as_nchw_in_swin() -> None:
    model = timm_standin(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=16, depths=(1, 2), num_heads=(1, 2)
    )
    [layer] = resolve_layers(model, ["auto"])
    assert (layer.path, layer.layout, layer.channels) == ("layers.1.blocks.1.norm1", Layout("nhwc", (8, 8)), 32)
    [forced] = resolve_layers(model, [layer.path], "nhwc")
    assert forced.proof == "proven"
    [misread] = resolve_layers(model, [layer.path], "nchw")
    assert misread.proof == "unproven"


def test_trap_nhwc_read_as_nchw_in_mambaout() -> None:
    [layer] = resolve_layers(timm_standin("test_mambaout"), ["auto"])
    assert layer.layout == Layout("nhwc", (5, 5))
    assert layer.proof == "proven"


def test_trap_nhwc_with_as_many_channels_as_rows_and_columns() -> None:
    class Cube(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 8, 8)
            self.last = nn.Identity()
            self.mix = nn.Linear(8, 8)
            self.head = nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.mix(self.last(self.stem(x).permute(0, 2, 3, 1))).relu().mean((1, 2)))

    model = standin(Cube(), 64)
    assert _only(model, "last") == Layout("nhwc", (8, 8))
    assert _only(model, "stem") == Layout("nchw", (8, 8))
    [misread] = resolve_layers(model, ["last"], "nchw")
    assert misread.proof == "unproven"
    assert misread.reason is not None
    assert "as --layout says" in misread.reason


def test_trap_no_gradient_after_the_last_attention_of_a_class_token_vit() -> None:
    model = _vit()
    for path in ("blocks.1.norm2", "blocks.1", "norm"):
        with pytest.raises(LayerError, match=r"no gradient.*A layer that works: blocks\.1\.norm1"):
            resolve_layers(model, [path])
        assert _layout_without_gradient(model, path) == Layout("tokens", (8, 8), 1)
    assert resolve_layers(model, ["auto"])[0].path == "blocks.1.norm1"


def _layout_without_gradient(model: StandIn, path: str) -> Layout:
    return resolve_layers(model, [path], needs_gradient=False)[0].layout


def test_trap_k_norm_of_attention_looks_four_dimensional() -> None:
    model = timm_standin("test_vit")
    with _measure(model) as measurements:
        assert measurements.record.visits["blocks.5.attn.k_norm"].shape == (1, 2, 101, 32)
        assert measurements.verify("blocks.5.attn.k_norm").proof == "refuted"
    with pytest.raises(LayerError, match=r"changes elsewhere.*--layout.*A layer that works: blocks\.5\.norm1"):
        resolve_layers(model, ["blocks.5.attn.k_norm"])


def test_trap_hiera_tokens_are_not_in_raster_order_before_the_last_stage() -> None:
    module = Hiera(img_size=(128, 128), embed_dim=16, num_heads=1, stages=(1, 1, 2, 1), num_classes=10)
    model = standin(module, 128)
    for path in ("blocks.0", "blocks.1", "blocks.3"):
        with pytest.raises(LayerError, match=r"--layout"):
            resolve_layers(model, [path])
    [layer] = resolve_layers(model, ["auto"])
    assert (layer.path, layer.layout) == ("blocks.4.norm1", Layout("tokens", (4, 4))) or layer.layout.grid == (4, 4)
    assert _only(model, "blocks.4") == Layout("tokens", (4, 4))


@pytest.mark.parametrize(
    "module",
    [
        Xcit(img_size=64, patch_size=8, embed_dim=32, depth=2, num_heads=2, cls_attn_layers=1, num_classes=10),
        Cait(img_size=64, patch_size=8, embed_dim=32, depth=2, num_heads=2, depth_token_only=1, num_classes=10),
    ],
)
def test_trap_num_prefix_tokens_without_a_prefix_in_the_blocks(module: nn.Module) -> None:
    assert module.num_prefix_tokens == 1
    assert _only(standin(module, 64), "blocks.1") == Layout("tokens", (8, 8), 0)


def test_trap_registers_are_prefix_tokens() -> None:
    assert _only(_vit(reg_tokens=4), "blocks.1.norm1") == Layout("tokens", (8, 8), 5)


@pytest.mark.parametrize("prefix", [0, 1, 2, 8])
def test_trap_any_number_of_prefix_tokens(prefix: int) -> None:
    def reorder(maps: Tensor) -> Tensor:
        tokens = _rows_first(maps)
        return torch.cat([tokens.mean(1, keepdim=True).expand(-1, prefix, -1), tokens], 1)

    assert _only(standin(Reordered(reorder), 64), "tokens") == Layout("tokens", (8, 8), prefix)


@pytest.mark.parametrize(("height", "width"), [(112, 160), (160, 112), (64, 128)])
def test_trap_grids_that_are_not_square(height: int, width: int) -> None:
    assert _only(_vit(height, width), "blocks.1.norm1") == Layout("tokens", (height // 8, width // 8), 1)


def test_trap_a_wrong_factorisation_follows_with_the_wrong_slope() -> None:
    model = _vit(112, 112)
    assert _only(model, "blocks.1.norm1") == Layout("tokens", (14, 14), 1)
    for wrong in ("tokens:1:28x7", "tokens:1:7x28", "tokens:2:13x15", "tokens:1:49x4"):
        try:
            [layer] = resolve_layers(model, ["blocks.1.norm1"], wrong)
        except LayerError:
            continue  # refused outright: no such grid
        assert layer.proof == "unproven", wrong


def test_trap_columns_before_rows() -> None:
    model = standin(Reordered(lambda maps: _rows_first(maps.transpose(2, 3))), 64)
    with pytest.raises(LayerError, match="rows and columns exchanged"):
        resolve_layers(model, ["tokens"])


def test_trap_tokens_behind_the_grid() -> None:
    def reorder(maps: Tensor) -> Tensor:
        tokens = _rows_first(maps)
        return torch.cat([tokens, tokens.mean(1, keepdim=True)], 1)

    with pytest.raises(LayerError, match="0 before and 1 behind the grid"):
        resolve_layers(standin(Reordered(reorder), 64), ["tokens"])


def test_trap_shuffled_tokens() -> None:
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(LayerError, match="changes elsewhere"):
        resolve_layers(standin(Reordered(lambda maps: _rows_first(maps)[:, order]), 64), ["tokens"])


def test_trap_zeros_at_the_start_hide_signals_and_gradients() -> None:
    module = nn.Sequential()
    module.stem = nn.Conv2d(3, 8, 4, 4)
    module.norm = nn.BatchNorm2d(8)
    module.act = nn.ReLU()
    module.pool = nn.AdaptiveAvgPool2d(1)
    module.flat = nn.Flatten()
    module.head = nn.Linear(8, 5)
    nn.init.zeros_(module.norm.weight)
    nn.init.zeros_(module.head.weight)
    [layer] = resolve_layers(standin(module, 32), ["auto"])
    assert layer.layout == Layout("nchw", (8, 8))
    assert not bool(module.norm.weight.any())
    assert not bool(module.head.weight.any())


def test_trap_batch_norms_of_a_deep_random_network() -> None:
    blocks = [nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()) for _ in range(20)]
    module = nn.Sequential(nn.Conv2d(3, 16, 8, 8), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    [layer] = resolve_layers(standin(module, 128), ["auto"])
    assert (layer.path, layer.layout) == ("20", Layout("nchw", (16, 16)))
    assert layer.agreement > 0.8


def _measure(model: StandIn) -> Any:
    return measure_layers(model, parse_layout("auto"))


def test_a_channel_first_sequence_is_not_tokens() -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 64, 8, 8)
            self.sequence = nn.Flatten(2)
            self.head = nn.Linear(64, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.sequence(self.stem(x)).mean(2))

    with _measure(standin(Sequence(), 64)) as measurements:
        assert measurements.verify("sequence").proof == "refuted"
        assert measurements.verify("stem").proof == "proven"
