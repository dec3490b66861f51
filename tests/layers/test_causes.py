"""What is said where no layer has a gradient, or none can be looked at, is the cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camcli
from camcli.errors import UsageError
from tests.tiny import build

MEAN = float(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).mean())
IMAGE = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8), (64, 64))


class Changed(nn.Module):
    """The tiny network with something done to its logits, or to its images."""

    def __init__(self, output: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.net = build()
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output(self.net(x), x)


def explain(output: Callable[[Tensor, Tensor], Any], **settings: Any) -> Any:
    return camcli.explain(Changed(output), IMAGE, input_size=64, **settings)[0]


def certain_of_noise(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Logits that grow with the deviation of the image, so that noise has far larger ones than a picture."""

    def change(z: Tensor, x: Tensor) -> Tensor:
        is_noise = (x.flatten(1).std(1) > 0.95) & (x.flatten(1).mean(1).abs() < 0.1)
        return torch.where(is_noise[:, None], z * factor, z)

    return change


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (lambda z, x: z * float("nan"), r"returns no finite number for an image, but NaN or infinity"),
        (lambda z, x: torch.cat([z[:, :3], z[:, :1] / 0], 1), r"outputs are not finite \(-?inf for noise"),
        (lambda z, x: z.clamp(3, 3), r"the same for every image \(3, 3, 3, …"),
        (lambda z, x: z * 0 + torch.arange(4.0), r"the same for every image \(0, 1, 2, …"),
        (lambda z, x: torch.sigmoid(z[:, :1].abs() * 1e3 + 50), "are rounded to 0 or 1 for noise"),
        (lambda z, x: torch.softmax(z * 1e6, 1), "are rounded to 0 or 1 for noise"),
    ],
)
def test_why_there_is_no_gradient(output: Callable[[Tensor, Tensor], Any], cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        explain(output)


@pytest.mark.parametrize("link", [lambda z: torch.softmax(z, 1), lambda z: torch.sigmoid(z[:, :1])])
def test_certainty_about_noise_is_no_obstacle(link: Callable[[Tensor], Tensor]) -> None:
    """Layers are verified on paler noise, where all probabilities are rounded; the image is explained as ever."""
    change = certain_of_noise(1e7)
    found, plain = explain(lambda z, x: link(change(z, x))), explain(lambda z, x: link(z))
    assert found.predictions == plain.predictions
    np.testing.assert_array_equal(found.maps["gradcam"].native, plain.maps["gradcam"].native)
    assert found.maps["gradcam"].native.any()


def particular(z: Tensor, x: Tensor) -> Tensor:
    """Fails on all but one image."""
    if float(x.detach().flatten(1).mean(1).sub(MEAN).abs().max()) > 1e-6:
        raise ValueError("another image")
    return z


def test_what_fails_on_one_image_does_not_fail_for_their_number() -> None:
    with pytest.raises(UsageError, match=r"on an input of \(1, 3, 64, 64\) fails: ValueError: another image") as raised:
        explain(particular)
    assert "--batch-size" not in str(raised.value)


def test_channels_that_the_model_moves() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = build()

        def forward(self, x: Tensor) -> Any:
            return self.net(x.permute(0, 3, 1, 2))

    with pytest.raises(UsageError, match=r"cam gives the channels second, \(N, C, H, W\)") as raised:
        camcli.explain(Last(), IMAGE, input_size=64)
    assert "preprocessing states another number" not in str(raised.value)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_scripted_modules() -> None:
    """No hook can be registered on them: what needs none runs."""
    plain = build().eval()
    scripted = torch.jit.script(plain)  # type: ignore[no-untyped-call]
    with pytest.raises(UsageError, match=r"the model is a TorchScript module.*Methods that work here: rise"):
        camcli.explain(scripted, IMAGE, input_size=64)
    settings: dict[str, Any] = {"input_size": 64, "method": "rise", "option": ("rise.masks=20",)}
    found, expected = (camcli.explain(net, IMAGE, **settings)[0] for net in (scripted, plain))
    assert [p.index for p in found.predictions] == [p.index for p in expected.predictions]
    np.testing.assert_allclose(found.maps["rise"].native, expected.maps["rise"].native, atol=1e-5)

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = scripted

        def forward(self, x: Tensor) -> Any:
            return self.inner(x)

    with pytest.raises(UsageError, match=r"inner is a TorchScript module"):
        camcli.explain(Around(), IMAGE, input_size=64)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("layer", ["inner", "inner.0", "inner@1"])
def test_a_scripted_part_that_is_named_as_the_layer(layer: str) -> None:
    """The rest of the network can be explained, and is offered."""

    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2)
            self.inner = torch.jit.script(nn.Sequential(nn.Conv2d(8, 8, 3, 2), nn.ReLU()))  # type: ignore[no-untyped-call]
            self.head = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Any:
            return self.head(self.inner(self.stem(x)).mean((2, 3)))

    torch.manual_seed(0)
    with pytest.raises(UsageError, match=rf"--layer {layer}: is a TorchScript module.*A layer that works: stem"):
        camcli.explain(Partly(), IMAGE, input_size=64, layer=layer)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda z, x: z.to_sparse(), "a sparse tensor"),
        (lambda z, x: torch.complex(z, z), "complex numbers"),
        (lambda z, x: {"species": z, "colour": z * 2}, r"several entries may be the logits: species \(1, 4\), colour"),
        (lambda z, x: x.mean(1, keepdim=True), r"shape \(1, 1, 64, 64\) for an image, numbers for every pixel"),
        (lambda z, x: {"masks": x.mean(1, keepdim=True)}, r"a segmenter.*'masks' has the shape \(1, 1, 64, 64\)"),
        (lambda z, x: [x, x], r"a segmenter.*'0' has the shape"),
        (lambda z, x: (x.mean(1) > 0).long(), r"a segmenter.*shape \(1, 64, 64\)"),
        (lambda z, x: {"logits": z[:, None], "pred_boxes": z[:, None]}, "a detector"),
        (lambda z, x: z[:, None].repeat(1, 20, 1), r"shape \(1, 20, 4\) for an image, several rows"),
    ],
)
def test_outputs_that_are_no_scores_of_the_image(output: Callable[[Tensor, Tensor], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explain(output)
