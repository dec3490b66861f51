from __future__ import annotations

import json

import pytest
import torch

from camcli.errors import LayerError
from camcli.layers import LayerReport, report_layers
from tests.layers.standin import timm_standin


@pytest.fixture(scope="module")
def vit() -> dict[str, LayerReport]:
    torch.manual_seed(0)
    return {row.path: row for row in report_layers(timm_standin("test_vit"))}


def test_every_module_has_a_row_in_the_order_of_execution(vit: dict[str, LayerReport]) -> None:
    names = {name for name, _ in timm_standin("test_vit").module.named_modules() if name}
    assert set(vit) == names
    order = list(vit)
    assert order.index("blocks.0.norm1") < order.index("blocks.0") < order.index("blocks.5.norm1") < order.index("head")
    assert order.index("head") < order.index("blocks.0.attn.attn_drop")  # never runs


def test_rows_say_what_is_known(vit: dict[str, LayerReport]) -> None:
    row = vit["blocks.5.norm1"]
    assert row.recommended
    assert json.loads(json.dumps(row.as_json())) == {
        "path": "blocks.5.norm1", "module": "LayerNorm", "shape": [1, 101, 64], "layout": "tokens", "grid": [10, 10],
        "prefix_tokens": 1, "channels": 64, "recommended": True, "proof": "proven", "gradient": True, "reason": None,
    }  # fmt: skip
    assert [path for path, row in vit.items() if row.recommended] == ["blocks.5.norm1"]


def test_rows_without_a_layout_say_why(vit: dict[str, LayerReport]) -> None:
    for path in ("head", "blocks.5.attn.k_norm", "blocks.0.attn.attn_drop"):
        row = vit[path]
        assert (row.layout, row.grid, row.prefix_tokens, row.channels) == (None, None, None, None)
        assert row.proof != "proven"
        assert row.reason
    assert vit["blocks.0.attn.attn_drop"].reason == "never runs in a forward pass"
    assert vit["head"].gradient


def test_gradient_is_that_at_the_patches_not_at_the_class_token(vit: dict[str, LayerReport]) -> None:
    assert vit["blocks.5.norm1"].gradient
    assert vit["blocks.4"].gradient
    assert not vit["blocks.5.norm2"].gradient
    assert vit["blocks.5.norm2"].proof == "proven"


def test_filters_do_not_change_what_is_recommended() -> None:
    model = timm_standin("test_vit")
    assert {row.path for row in report_layers(model, name_contains="NORM1")} == {f"blocks.{i}.norm1" for i in range(6)}
    [row] = report_layers(model, verify=["blocks[-1].norm1"])
    assert (row.path, row.recommended, row.proof) == ("blocks.5.norm1", True, "proven")
    with pytest.raises(LayerError, match="Did you mean"):
        report_layers(model, verify=["blocks.5.nrm1"])
