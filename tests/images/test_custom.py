"""A user's own preprocessing: where it looks is found by asking it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as T

from camcli.errors import ConfigError, ImageError
from camcli.images import Bands, Preprocessing, View, to_input

NORMALISE = [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]


def image(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise)


def close(found: View, wanted: View, size: tuple[int, int]) -> bool:
    return all(
        abs(getattr(found, name) - getattr(wanted, name)) <= max(1.0, 0.01 * max(size))
        for name in ("x0", "y0", "x1", "y1")
    )


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1500, 1000), (60, 90)])
@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_crops_squashes_and_pads_are_found(size: tuple[int, int], resize: str) -> None:
    own = Preprocessing(3, 160, 160, resize=resize, resize_to=160 if resize != "crop" else 200)  # type: ignore[arg-type]

    def transform(picture: Image.Image) -> torch.Tensor:
        return to_input(own(picture).pixels[None], own)[0]

    custom = Preprocessing.from_callable(transform)
    assert (custom.channels, custom.height, custom.width) == (3, 160, 160)
    prepared = custom(image(*size))
    assert prepared.notes == ()
    assert close(prepared.view, own(image(*size)).view, size)
    assert torch.equal(to_input(prepared.pixels[None], custom)[0], transform(image(*size)))


def test_a_corner_crop_in_grey_is_found() -> None:
    transform = T.Compose([T.Grayscale(), T.Lambda(lambda i: i.crop((20, 40, 148, 168))), T.Resize(64), T.ToTensor()])
    custom = Preprocessing.from_callable(transform)
    assert custom.channels == 1
    assert close(custom(image(320, 240)).view, View(20, 40, 148, 168), (320, 240))


def mirrored(picture: Image.Image) -> Any:
    return T.Compose([T.RandomHorizontalFlip(1.0), T.Resize((64, 64)), *NORMALISE])(picture)


def turned(picture: Image.Image) -> Any:
    return T.Compose([T.Lambda(lambda i: i.rotate(90)), T.Resize((64, 64)), *NORMALISE])(picture)


def standardised(picture: Image.Image) -> Any:
    pixels = T.ToTensor()(picture.resize((64, 64)))
    return (pixels - pixels.mean()) / pixels.std()


def blind(picture: Image.Image) -> Any:
    return torch.zeros(3, 64, 64)


def random_crop(picture: Image.Image) -> Any:
    x, y = random.randrange(picture.width // 2), int(torch.randint(picture.height // 2, ()))
    return T.ToTensor()(picture.crop((x, y, x + picture.width // 2, y + picture.height // 2)).resize((64, 64)))


@pytest.mark.parametrize("transform", [mirrored, turned, standardised, blind])
def test_what_cannot_be_located_is_said(transform: Any) -> None:
    prepared = Preprocessing.from_callable(transform)(image(200, 120))
    assert prepared.view == View(0, 0, 200, 120)
    assert "whole image" in prepared.notes[0]


def test_a_random_callable_is_seeded_by_the_image_and_shows_where_it_looked() -> None:
    random.seed(3)
    before = random.getstate(), torch.get_rng_state()
    first, again = (Preprocessing.from_callable(random_crop).seeded(0) for _ in range(2))
    other = first.seeded(1)
    views = set()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (120, 200, 3), np.uint8)
        picture = Image.fromarray(pixels)
        one, same, different = first(picture), again(picture), other(picture)
        assert np.array_equal(one.pixels, same.pixels)
        assert one.view == same.view
        assert not np.array_equal(one.pixels, different.pixels)
        assert one.notes == ()
        box = tuple(round(side) for side in (one.view.x0, one.view.y0, one.view.x1, one.view.y1))
        shown = T.ToTensor()(picture.crop(box).resize((64, 64)))
        assert np.array_equal(one.pixels, shown.numpy())
        views.add(box)
    assert len(views) == 4
    assert random.getstate() == before[0]
    assert torch.get_rng_state().equal(before[1])


def test_a_callable_that_no_seed_repeats_is_refused() -> None:
    generator = np.random.default_rng()

    def jitter(picture: Image.Image) -> Any:
        return T.ToTensor()(picture.resize((8, 8))) + float(generator.random())

    with pytest.raises(ConfigError, match=r"jitter gives another tensor each time.*without augmentation"):
        Preprocessing.from_callable(jitter)


def test_probing_is_done_once_for_each_size() -> None:
    calls = 0

    def transform(picture: Image.Image) -> Any:
        nonlocal calls
        calls += 1
        return T.ToTensor()(picture.resize((8, 8)))

    custom = Preprocessing.from_callable(transform)
    custom(image(50, 40))
    first = calls
    custom(image(50, 40))
    assert calls == first + 1


def test_failures_are_named() -> None:
    def fails(picture: Image.Image) -> Any:
        raise RuntimeError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        Preprocessing.from_callable(fails)
    with pytest.raises(ConfigError, match="shape"):
        Preprocessing.from_callable(lambda picture: torch.zeros(5))
    with pytest.raises(ImageError, match="no such thing") as caught:
        Preprocessing(custom=fails)(image(9, 9))
    assert caught.value.kind == "internal"
    with pytest.raises(ImageError, match="3×40×50") as caught:
        Preprocessing(custom=T.ToTensor())(image(50, 40))
    assert caught.value.kind == "unsupported"


def test_flags_do_not_reach_into_a_callable() -> None:
    custom = Preprocessing.from_callable(T.Compose([T.Resize((8, 8)), T.ToTensor()]))
    with pytest.raises(ConfigError, match="callable"):
        custom.changed(input_size=(4, 4))


BANDS = np.random.default_rng(2).integers(0, 65536, (120, 160, 6), np.uint16)


def from_array(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values[20:100, 30:110].astype(np.float32) / 65535).permute(2, 0, 1)


@pytest.mark.parametrize(
    "transform", [from_array, T.Compose([T.ToTensor(), T.Resize((80, 80)), T.Lambda(lambda t: t.float())])]
)
def test_bands_come_as_an_array(transform: Any) -> None:
    custom = Preprocessing.from_callable(transform, channels=6)
    assert (custom.channels, custom.height, custom.width) == (6, 80, 80)
    values = BANDS.astype(np.float32)
    prepared = custom(Bands(values))
    assert torch.equal(to_input([prepared.pixels], custom)[0], transform(values))
    crop = View(30, 20, 110, 100) if transform is from_array else View(0, 0, 160, 120)
    assert close(prepared.view, crop, (160, 120))
    assert prepared.notes == ()


def test_pictures_come_as_arrays_to_a_callable_that_takes_no_pillow_image() -> None:
    def transform(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)[:64, :64] / 255).permute(2, 0, 1)

    custom = Preprocessing.from_callable(transform)
    picture = image(100, 80)
    assert np.array_equal(custom(picture).pixels, transform(np.asarray(picture)).numpy())
    assert close(custom(picture).view, View(0, 0, 64, 64), (100, 80))


def test_bands_come_as_a_tensor_where_an_array_does_not_do() -> None:
    def transform(values: Any) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(values.float(), (60, 80))

    custom = Preprocessing.from_callable(transform, channels=6)
    prepared = custom(Bands(BANDS))
    wanted = transform(torch.from_numpy(BANDS).permute(2, 0, 1))
    assert torch.allclose(torch.from_numpy(prepared.pixels), wanted)
    assert close(prepared.view, View(0, 0, 160, 120), (160, 120))


def test_bands_of_another_number_are_an_error_that_says_what_was_tried() -> None:
    custom = Preprocessing.from_callable(from_array, channels=6)
    with pytest.raises(
        ImageError, match=r"does not give the model's 6×80×80: for uint16 array 120×160×4 it gives 4×80×80"
    ):
        custom(Bands(BANDS[:, :, :4]))


def test_chosen_bands_are_all_that_it_sees() -> None:
    custom = replace(Preprocessing.from_callable(from_array, channels=3), bands=(6, 5, 4))
    prepared = custom(Bands(BANDS))
    assert np.array_equal(prepared.pixels, from_array(BANDS[:, :, [5, 4, 3]]).numpy())


def test_its_values_must_be_finite() -> None:
    values = BANDS.astype(np.float32)
    values[50, 50] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        Preprocessing.from_callable(from_array, channels=6)(Bands(values))
