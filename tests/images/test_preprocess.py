"""Preprocessing: the tensor is that of torchvision's and timm's own transforms, and the view says where it is from."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config  # type: ignore[attr-defined]
from timm.models import get_pretrained_cfg, list_pretrained
from torchvision.models import get_model_weights, list_models
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from camcli.errors import ConfigError
from camcli.images import Preprocessing, View, to_input

SAMPLES = Path(__file__).parents[2] / "sample_images"
SIZES = [(640, 427), (427, 640), (300, 300), (224, 224), (100, 333), (225, 1001), (31, 17), (513, 384)]
INTERPOLATIONS = ["bilinear", "bicubic"]


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(SAMPLES / "espresso" / "coffee.jpg") as opened:
        return opened.convert("RGB")


def tensor(pre: Preprocessing, image: Image.Image) -> torch.Tensor:
    return to_input(pre(image).pixels[None], pre, "cpu")[0]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("crop", "resize"), [(224, 256), (224, 232), (299, 342), (64, 64), (224, 200)])
def test_torchvision_gives_the_same_bits(photo: Image.Image, crop: int, resize: int, interpolation: str) -> None:
    theirs = ImageClassification(crop_size=crop, resize_size=resize, interpolation=InterpolationMode(interpolation))
    ours = Preprocessing(height=crop, width=crop, resize_to=resize, interpolation=interpolation)
    for size in SIZES:
        image = photo.resize(size)
        assert torch.equal(tensor(ours, image), theirs(image)), size


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("box", [(224, 224), (200, 320), (97, 33)])
def test_timm_gives_the_same_bits(photo: Image.Image, box: tuple[int, int], crop_mode: str, interpolation: str) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    for crop_pct, size in itertools.product([0.875, 0.95, 1.0, 0.9], SIZES):
        config: dict[str, Any] = {
            "input_size": (3, *box),
            "crop_pct": crop_pct,
            "crop_mode": crop_mode,
            "mean": mean,
            "std": std,
        }
        theirs = create_transform(**config, interpolation=interpolation)
        ours = timm_like(box, crop_pct, crop_mode, interpolation=interpolation, mean=mean, std=std)
        image = photo.resize(size)
        assert torch.equal(tensor(ours, image), theirs(image)), (crop_pct, size)


def test_every_configuration_of_timms_pretrained_models_gives_the_same_bits(photo: Image.Image) -> None:
    """One model for each way of cropping, of those that are not too large to be quick."""
    seen = set()
    for name in list_pretrained():
        config = resolve_data_config({}, pretrained_cfg=vars(get_pretrained_cfg(name)))  # type: ignore[no-untyped-call]
        _, height, width = config["input_size"]
        how = (config["crop_pct"], config["crop_mode"], config["interpolation"], height == width)
        if how in seen or max(height, width) > 512:
            continue
        seen.add(how)
        stats = {"mean": config["mean"], "std": config["std"], "interpolation": config["interpolation"]}
        ours = timm_like((height, width), config["crop_pct"], config["crop_mode"], **stats)
        assert torch.equal(tensor(ours, photo), create_transform(**config)(photo)), name
    assert len(seen) > 20


def test_every_transform_of_torchvisions_weights_gives_the_same_bits(photo: Image.Image) -> None:
    presets = {}
    for name in list_models():
        for weights in get_model_weights(name):
            theirs = weights.transforms()
            if isinstance(theirs, ImageClassification):
                presets[repr(theirs)] = theirs
    assert len(presets) > 15
    for theirs in presets.values():
        (crop,), (resize,) = theirs.crop_size, theirs.resize_size
        ours = Preprocessing(
            *(3, crop, crop, tuple(theirs.mean), tuple(theirs.std)),
            resize_to=resize,
            interpolation=theirs.interpolation.value,
        )
        assert torch.equal(tensor(ours, photo), theirs(photo)), theirs


def timm_like(box: tuple[int, int], crop_pct: float, crop_mode: str, **rest: Any) -> Preprocessing:
    """What timm's configuration means in our terms: made at a size of one pixel and brought to its own."""
    resize = {"center": "crop", "squash": "squash", "border": "pad"}[crop_mode]
    small = Preprocessing(3, 1, 1, resize=resize, resize_to=1, crop_pct=crop_pct, **rest)  # type: ignore[arg-type]
    return small.changed(input_size=box)


@pytest.mark.parametrize("channels", [1, 4, 5])
def test_other_channel_counts(photo: Image.Image, channels: int) -> None:
    pre = Preprocessing(channels, 64, 64, resize_to=64, bands=None if channels == 1 else "repeat")
    pixels = pre(photo).pixels
    assert pixels.shape == (64, 64, channels)
    rgb = Preprocessing(3, 64, 64, resize_to=64)(photo).pixels
    if channels == 1:
        grey = Preprocessing(3, 64, 64, resize_to=64)(photo.convert("L").convert("RGB")).pixels
        assert np.array_equal(pixels, grey[..., :1])
        assert pre.mean == pytest.approx([(0.485 + 0.456 + 0.406) / 3])
    else:
        for c in range(channels):
            assert np.array_equal(pixels[..., c], rgb[..., c % 3])
            assert pre.std[c] == rgb_std(c)
    assert to_input(pixels[None], pre).shape == (1, channels, 64, 64)


def rgb_std(channel: int) -> float:
    return (0.229, 0.224, 0.225)[channel % 3]


def test_the_view_is_where_the_pixels_are_from() -> None:
    """A white square exactly on the view, in black, fills the input; one pixel less does not."""
    pre = Preprocessing(3, 64, 96, resize="crop", resize_to=(80, 112), interpolation="box")
    size = (700, 500)
    view = pre.place(size[::-1]).view
    image = Image.new("RGB", size)
    box = [round(v) for v in (view.x0, view.y0, view.x1, view.y1)]
    image.paste((255, 255, 255), (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1))
    assert pre(image).pixels.min() == 255
    inset = Image.new("RGB", size)
    inset.paste((255, 255, 255), (box[0] + 6, box[1] + 6, box[2] - 6, box[3] - 6))
    seen = pre(inset).pixels[..., 0]
    assert max(seen[0].max(), seen[-1].max(), seen[:, 0].max(), seen[:, -1].max()) < 255
    assert seen[2:-2, 2:-2].min() == 255


def test_padding_has_the_mean_colour_and_lies_outside_the_image(photo: Image.Image) -> None:
    pre = Preprocessing(3, 90, 90, resize="pad")
    prepared = pre(photo)  # 600 × 400
    assert prepared.view == View(0, -100, 600, 500)
    assert prepared.pixels[0, 0].tolist() == [round(255 * m) for m in pre.mean]
    assert to_input(prepared.pixels[None], pre)[0, :, 0, 0].abs().max() < 0.02


def test_a_smaller_decode_has_the_view_of_the_original(photo: Image.Image) -> None:
    pre = Preprocessing(resize_to=256)
    whole = pre(photo).view
    half = pre(photo.resize((300, 200)), original=(400, 600)).view
    assert (half.x0, half.y0, half.x1, half.y1) == pytest.approx((whole.x0, whole.y0, whole.x1, whole.y1))


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (3, 9000)])
@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_extreme_shapes_are_prepared(size: tuple[int, int], resize: str) -> None:
    pre = Preprocessing(3, 224, 224, resize=resize, resize_to=256)  # type: ignore[arg-type]
    image = Image.new("RGB", size, (10, 200, 30))
    pixels = pre(image).pixels
    assert [10, 200, 30] in pixels[111:113, 111:113].reshape(-1, 3).tolist()  # padded, the image is one pixel wide


def test_large_resizes_are_the_same_without_their_surroundings(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    pre = Preprocessing(resize_to=256)
    whole = pre(photo).pixels
    monkeypatch.setattr("camcli.images.resample._MAX_RESIZED", 1)
    part = pre(photo).pixels
    assert np.abs(whole.astype(int) - part).max() <= 1


@pytest.mark.parametrize(("crop_pct", "own", "resized"), [(None, 257, 367), (0.875, 256, 365), (0.95, 235, 336)])
def test_another_input_size_keeps_the_share_that_is_shown(crop_pct: float | None, own: int, resized: int) -> None:
    pre = Preprocessing(resize_to=own, crop_pct=crop_pct)
    changed = pre.changed(input_size=(320, 320))
    assert (changed.height, changed.width, changed.resize_to) == (320, 320, resized)
    assert pre.changed(input_size=(224, 320)).resize_to == (own, resized)


def test_changes_by_hand(photo: Image.Image) -> None:
    pre = Preprocessing(resize_to=256)
    assert pre.changed() is pre
    assert pre.changed(resize="crop") is pre
    squashed = pre.changed(resize="squash", mean=(0.5,), std=(0.5, 0.5, 0.25))
    assert squashed.place((400, 600)).view == View(0, 0, 600, 400)
    assert (squashed.mean, squashed.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.25))
    padded = pre.changed(resize="pad", mean=(1.0, 0.0, 0.0))
    assert padded(photo).pixels[0, 0].tolist() == [255, 0, 0]
    assert padded.changed(resize="crop").place((400, 600)).view.width == pytest.approx(400)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mean": (0.5, 0.5)}, "--mean has 2"),
        ({"std": (0.0,)}, "positive"),
        ({"std": (float("nan"),)}, "finite"),
        ({"resize": "stretch"}, "crop, squash or pad"),
        ({"interpolation": "cubic"}, "bicubic"),
        ({"height": 0}, "no pixels"),
    ],
)
def test_values_that_do_not_fit_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Preprocessing(**wrong)  # type: ignore[arg-type]


def test_the_description_says_what_happens() -> None:
    assert Preprocessing(resize_to=256).description == "crop: shorter side to 256, bilinear, central 224×224"
    assert "fit into 224×224" in Preprocessing(resize="pad").description
