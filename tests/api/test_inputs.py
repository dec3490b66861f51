"""Whatever form an image comes in, it is the same image; what is none is refused with what is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import camcli
from camcli.errors import ImageError, SourceError
from camcli.images import View
from tests.tiny import build

from ..conftest import photographs


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return build()


@pytest.fixture(scope="module")
def model(net: nn.Module) -> camcli.Model:
    return camcli.load_model(net, input_size=64)


def native(model: Any, image: Any, **settings: Any) -> list[np.ndarray]:
    return [r.maps["gradcam"].native for r in camcli.explain(model, image, layer="features", target=0, **settings)]


PICTURE = Image.open(photographs()[0]).convert("RGB")
PIXELS = np.asarray(PICTURE)
TENSOR = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    "image",
    [
        photographs()[0], str(photographs()[0]), PICTURE, PIXELS, PIXELS.astype(np.float32) / 255, PIXELS / 255,
        PIXELS.transpose(2, 0, 1), TENSOR, TENSOR / 255, (TENSOR / 255).double(), TENSOR.permute(1, 2, 0), TENSOR[None],
        PIXELS[None], PIXELS.transpose(2, 0, 1)[None], (TENSOR[None] / 255).requires_grad_(),
        PICTURE.convert("RGBA"), [PIXELS],
    ],
)  # fmt: skip
def test_every_form_of_an_image_gives_the_same_map(model: camcli.Model, image: Any) -> None:
    (expected,) = native(model, str(photographs()[0]))
    (result,) = native(model, image)
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("grey", [PIXELS[..., 0], PIXELS[..., :1], TENSOR[:1], TENSOR[0], TENSOR[:1][None] / 255])
def test_a_grey_image_has_any_form_too(model: camcli.Model, grey: Any) -> None:
    (expected,) = native(model, np.repeat(PIXELS[..., :1], 3, axis=2))
    (result,) = native(model, grey)
    assert np.array_equal(result, expected)


def test_batches_are_taken_apart_in_order(model: camcli.Model) -> None:
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (5, 70, 80, 3), np.uint8)
    expected = native(model, list(batch), batch_size=2)
    for images in (batch, torch.from_numpy(batch).permute(0, 3, 1, 2), [batch[:2], batch[2:]], iter([batch])):
        results = native(model, images, batch_size=2)
        assert all(np.array_equal(one, other) for one, other in zip(results, expected, strict=True))


def test_a_pillow_image_is_turned_upright_as_its_file_is(model: camcli.Model, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    PICTURE.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        (from_image,) = camcli.explain(model, opened, target=0)
    (from_file,) = camcli.explain(model, tmp_path / "turned.png", target=0)
    assert np.array_equal(from_image.maps["gradcam"].native, from_file.maps["gradcam"].native)
    assert from_image.maps["gradcam"].overlay().size == from_file.maps["gradcam"].overlay().size == PICTURE.size[::-1]


def test_normalised_tensors_are_inputs_as_they_stand(net: nn.Module) -> None:
    tensor = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    results = camcli.explain(net, tensor, mean=(0, 0, 0), std=(1, 1, 1), input_size=64)
    with torch.no_grad():
        logits = net.eval()(tensor)
    for result, row in zip(results, logits, strict=True):
        best = result.predictions[0]
        assert best.index == int(row.argmax())
        assert best.logit == pytest.approx(float(row.max()), abs=1e-5)
        assert result.maps["gradcam"].overlay().size == (64, 64)
        assert result.maps["gradcam"].view == View(0, 0, 64, 64)


def test_pixels_and_inputs_can_be_in_one_batch(net: nn.Module) -> None:
    model = camcli.load_model(net, mean=0, std=1, input_size=64)
    tensor = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    together = native(model, [PIXELS, tensor], batch_size=2)
    assert np.allclose(together[0], native(model, PIXELS, batch_size=2)[0], atol=1e-6)
    assert np.array_equal(together[1], native(model, tensor, batch_size=2)[0])


@pytest.mark.parametrize("values", [TENSOR.float(), TENSOR / 255 - 0.5])
def test_floats_that_are_no_pixels_are_refused_with_what_to_say(model: camcli.Model, values: torch.Tensor) -> None:
    with pytest.raises(SourceError, match=r"floats are pixels in 0 to 1.*Divide by 255.*mean=0, std=1"):
        camcli.explain(model, values)


@pytest.mark.parametrize(
    "wrong",
    [3, None, b"x", {"a": 1}, [3], [[1, 2], [3, 4]], [(TENSOR, 1)], np.zeros((4, 4, 3), np.int64),
     np.zeros(3, np.uint8), torch.zeros(4, 4, 3, dtype=torch.int64), np.array(["a"]),
     np.zeros((1, 1, 4, 4, 3))],
)  # fmt: skip
def test_wrong_types_are_refused_with_what_is_accepted(model: camcli.Model, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"[Gg]ive .*uint8, uint16, int16, or floats in 0 to 1"):
        camcli.explain(model, wrong)


def test_other_bands_than_those_of_the_model_are_named(model: camcli.Model) -> None:
    for array in (np.zeros((40, 30, 28), np.uint8), torch.zeros(28, 40, 30)):
        with pytest.raises(ImageError, match="it has 28 bands, and the model takes 3"):
            camcli.explain(model, array)
    six = np.random.default_rng(0).random((64, 64, 6)).astype(np.float32)
    chosen = native(model, torch.from_numpy(six).permute(2, 0, 1), bands=[4, 3, 2])
    assert np.array_equal(chosen[0], native(model, six[:, :, [3, 2, 1]])[0])


def test_floats_between_the_steps_of_8_bits_are_not_rounded(net: nn.Module) -> None:
    pixels = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    settings: dict[str, Any] = {"mean": 0.5, "std": 0.25, "input_size": 64, "resize": "squash"}
    (result,) = camcli.explain(net, pixels, **settings)
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy((pixels - 0.5) / 0.25).permute(2, 0, 1)[None].float())
    assert result.predictions[0].logit == pytest.approx(float(logits.max()), abs=1e-6)


def test_nothing_is_explained_where_there_is_nothing(model: camcli.Model) -> None:
    assert camcli.explain(model, []) == []
    assert camcli.explain(model, np.zeros((0, 64, 64, 3), np.uint8)) == []


@pytest.mark.parametrize(("count", "passes"), [(1, [1]), (3, [3]), (16, [16]), (17, [9, 9]), (None, [16])])
def test_no_more_images_than_needed_go_through_the_model(
    model: camcli.Model, monkeypatch: pytest.MonkeyPatch, count: int | None, passes: list[int]
) -> None:
    from camcli.explainer import Explainer

    sizes: list[int] = []
    explain = Explainer.__call__

    def recorded(self: Explainer, inputs: torch.Tensor, *more: Any, **named: Any) -> Any:
        sizes.append(len(inputs))
        return explain(self, inputs, *more, **named)

    monkeypatch.setattr(Explainer, "__call__", recorded)
    images = [PIXELS[:40, :40]] * count if count else (PIXELS for _ in range(2))
    camcli.explain(model, images)
    assert sizes == passes


def test_values_that_are_not_finite_are_named(model: camcli.Model) -> None:
    with pytest.raises(SourceError, match="not finite"):
        camcli.explain(model, torch.full((3, 8, 8), torch.nan))


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [(TENSOR.to_sparse(), "sparse"), (TENSOR.to("meta"), "meta")],
    ids=["sparse", "meta"],
)
def test_tensors_without_dense_values_are_refused(model: camcli.Model, tensor: torch.Tensor, kind: str) -> None:
    with pytest.raises(TypeError, match=f"a {kind} tensor is not accepted"):
        camcli.explain(model, tensor)
