"""Rows that only fill a batch: they change nothing, and slow methods do not look at them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import camcli
from camcli.explainer import Explainer, ExplainOptions
from camcli.layers import resolve_layers


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "ablationcam", "reciprocam", "groupcam", "rise"])
def test_padding_is_not_looked_at_again(method: str) -> None:
    model = camcli.load_model("factory:tests.tiny:build", input_size=(32, 32))
    looked: list[int] = []

    def progress(_key: str, done: int, total: int) -> None:
        if done == total:
            looked.append(total)

    choose: Callable[[torch.Tensor], torch.Tensor] = lambda logits: logits.argmax(1, keepdim=True)  # noqa: E731
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([images, images[-1:], images[-1:]])
    with model.prepared():
        layers = resolve_layers(model, ["features.8"])
        options = ExplainOptions(method_options=("rise.masks=20",) if method == "rise" else ())
        explainer = Explainer(model, layers, [method], options, progress)
        looked.clear()
        every = explainer(padded, choose, [1, 2, 2, 2])
        all_rows = len(looked)
        looked.clear()
        real = explainer(padded, choose, [1, 2, 2, 2], real=2)
    (key,) = every.maps
    assert torch.equal(every.maps[key], real.maps[key])
    if method != "gradcam":
        assert 0 < len(looked) <= all_rows // 2
