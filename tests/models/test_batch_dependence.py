"""Models whose output for an image depends on the others of its batch: noticed at the start, and run one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import camcli
from camcli.errors import ModelError
from camcli.images import to_input
from camcli.models import load_model
from camcli.models.output_examination import examine
from camcli.models.repetition import make_repeatable
from tests.tiny import build


class Mixing(nn.Module):
    """The tiny network with something done to a batch of its features."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner: Any = build()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner.head(self.change(self.inner.features(x)).mean((2, 3)))
        return logits


def normalised(features: Tensor) -> Tensor:
    return F.batch_norm(features, None, None, training=True).relu()


def relative(features: Tensor) -> Tensor:
    return features * 2 - features.mean(0, keepdim=True)


def paired(features: Tensor) -> Tensor:
    return features + features.flip(0)


def image(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("change", [normalised, relative, paired])
def test_an_image_is_explained_as_if_it_were_alone(change: Callable[[Tensor], Tensor]) -> None:
    module = Mixing(change).eval()
    results = camcli.explain(module, [image(0), image(1)], input_size=64, method="layercam")
    model = load_model(module, input_size=64)
    for seed, result in enumerate(results):
        pixels = model.preprocessing(Image.fromarray(image(seed))).pixels[None]
        with torch.no_grad():
            expected = module(to_input(pixels, model.preprocessing, torch.device("cpu")))[0]
        own = {p.index: p.logit for p in result.predictions}
        assert own == pytest.approx(dict(enumerate(expected.tolist())), abs=1e-5)
        alone = camcli.explain(module, image(seed), input_size=64, method="layercam")[0]
        assert result.predictions == alone.predictions
        np.testing.assert_array_equal(result.maps["layercam"].native, alone.maps["layercam"].native)


def test_it_is_said() -> None:
    model = load_model(Mixing(relative), input_size=64)
    with model.prepared():
        examined = examine(model)
    passes = make_repeatable(examined.model, examined.repeated, 0).passes
    assert passes is not None
    assert passes.alone
    assert "depends on the others of its batch" in passes.lines[0]


def test_gradcam_before_a_norm_over_the_batch_is_zero_and_not_rounding() -> None:
    """The mean gradient of what a norm centres is zero."""
    results = camcli.explain(
        Mixing(normalised), [image(0), image(1)], input_size=64, method="gradcam,layercam", layer="inner.features"
    )
    for result in results:
        assert not result.maps["gradcam"].native.any()
        assert result.maps["layercam"].native.max() > 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda features: features[:1], "scores of 1 where 2 images went in.*--batch-size 1"),
        (lambda features: torch.cat([features, features]), "returns 2 rows for one image"),
    ],
)
def test_other_than_one_row_for_an_image(change: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        camcli.explain(Mixing(change), image(0), input_size=64, batch_size=4)


def test_the_first_of_a_batch_alone_works_one_at_a_time() -> None:
    plain = camcli.explain(Mixing(lambda features: features), [image(0), image(1)], input_size=64, batch_size=1)
    first = camcli.explain(Mixing(lambda features: features[:1]), [image(0), image(1)], input_size=64, batch_size=1)
    assert [one.predictions for one in first] == [one.predictions for one in plain]


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "rise"])
def test_trials_of_an_image_go_through_one_at_a_time(method: str) -> None:
    """So the maps are those of a network that does the same to each image by itself."""

    def alone(features: Tensor) -> Tensor:
        return torch.cat([normalised(one) for one in features.split(1)])

    settings: dict[str, Any] = {"input_size": 64, "method": method, "layer": "inner.features"}
    settings |= {"option": ("rise.masks=16",)} if method == "rise" else {}
    found, expected = (camcli.explain(Mixing(change), image(0), **settings)[0] for change in (normalised, alone))
    np.testing.assert_allclose(found.maps[method].native, expected.maps[method].native, atol=1e-4)
    assert found.maps[method].native.any()
