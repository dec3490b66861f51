"""Which bands of an image are the channels of the input, as which numbers, and which are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import v2

from camcli.errors import ConfigError, ImageError
from camcli.images import Bands, DecodeSettings, Preprocessing, decode, from_pillow, to_input
from camcli.images.band_picture import draw
from camcli.images.bands import ASSUMED, BandChoice
from tests.bands import rgba, six_bands
from tests.images.files import encoded, photo

SIX = six_bands(48, 40)


def plain(channels: int, bands: BandChoice | None = None) -> Preprocessing:
    """Takes a 48×40 image as it is."""
    return Preprocessing(channels, 48, 40, mean=(0.0,), std=(1.0,), resize="squash", bands=bands)


def values(image: Image.Image | Bands, channels: int, bands: BandChoice | None = None) -> np.ndarray:
    """The input (channels, height, width) without mean and deviation."""
    pre = plain(channels, bands)
    result: np.ndarray = to_input([pre(image).pixels], pre)[0].numpy()
    return result


def message(image: Image.Image | Bands, channels: int, bands: BandChoice | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        plain(channels, bands)(image)
    assert caught.value.kind == "bands"
    return caught.value.message


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int8, np.int16, np.float16, np.float32, np.float64, np.bool_])
def test_integers_are_divided_by_the_largest_of_their_type_and_floats_are_as_they_are(kind: type) -> None:
    if np.issubdtype(kind, np.integer):
        limits = np.iinfo(kind)
        raw = np.random.default_rng(0).integers(limits.min, limits.max, SIX.shape, kind, endpoint=True)
        wanted = raw.astype(np.float32) / np.float32(limits.max)
    else:
        raw = (SIX / 1000 > 30) if kind is np.bool_ else (SIX / 1000).astype(kind)
        wanted = raw.astype(np.float32)
    prepared = plain(6)(Bands(raw))
    assert np.array_equal(to_input([prepared.pixels], plain(6))[0].numpy(), wanted.transpose(2, 0, 1))
    says = {np.uint8: 0, np.bool_: 0}.get(kind, 1)
    assert sum(note.startswith(ASSUMED) for note in prepared.notes) == says
    if kind in (np.uint8, np.uint16):
        expected = v2.functional.to_dtype(torch.from_numpy(raw).permute(2, 0, 1), torch.float32, scale=True)
        assert np.allclose(wanted.transpose(2, 0, 1), expected.numpy(), atol=1e-7)


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64, np.uint64])
def test_integers_without_a_usual_range_are_refused(kind: type) -> None:
    with pytest.raises(ImageError, match=f"{np.dtype(kind).name} have no usual range.*uint16"):
        plain(6)(Bands(SIX.astype(kind)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_refused_where_the_model_gets_them(wrong: float) -> None:
    raw = SIX.astype(np.float64)
    raw[3, 4, 5] = wrong
    with pytest.raises(ImageError, match=r"1 of the 1,920 values of band 6 are not finite"):
        plain(6)(Bands(raw))
    assert np.array_equal(values(Bands(raw), 3, (1, 2, 3)), raw[:, :, :3].astype(np.float32).transpose(2, 0, 1))


def test_chosen_bands_are_counted_from_one() -> None:
    wanted = SIX.astype(np.float32) / np.float32(65535)
    assert np.array_equal(values(Bands(SIX), 3, (4, 3, 2)), wanted[:, :, [3, 2, 1]].transpose(2, 0, 1))
    assert np.array_equal(values(Bands(SIX), 3, (6,)), wanted[:, :, [5, 5, 5]].transpose(2, 0, 1))
    assert np.array_equal(values(Bands(SIX), 8, "repeat"), wanted[:, :, [0, 1, 2, 3, 4, 5, 0, 1]].transpose(2, 0, 1))


def test_bands_of_a_picture() -> None:
    picture = photo(40, 48)
    shares = np.asarray(picture).astype(np.float32).transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(values(picture, 3, (3, 2, 1)), shares[::-1])
    assert np.array_equal(values(picture, 6, "repeat"), shares[[0, 1, 2, 0, 1, 2]])


def test_other_bands_than_the_model_takes_are_a_failure_with_the_way_out() -> None:
    assert message(Bands(SIX), 3) == "it has 6 bands, and the model takes 3: --bands 1,2,3 gives it the first 3"
    assert message(Bands(SIX), 1).endswith("--bands 1 gives it the first")
    assert message(photo(40, 48), 4) == (
        "it is a picture of 3 bands (RGB), and the model takes 4: --bands repeat repeats them, --bands 1,2,3,1 chooses"
    )
    assert message(Bands(SIX), 3, (7, 1, 2)) == "it has no band 7, as --bands asks for: it has 6 bands"
    assert "6 bands, more than the model's 4" in message(Bands(SIX), 4, "repeat")
    assert "transpose it if its bands come first" in message(Bands(SIX.transpose(2, 0, 1)), 6)


def test_a_choice_that_no_image_can_meet_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--bands 1,2: 2 bands for a model whose input has 3 channel"):
        plain(3, (1, 2))


def test_grey_goes_to_three_channels_and_colours_to_one() -> None:
    shares = SIX.astype(np.float32) / np.float32(65535)
    assert np.array_equal(values(Bands(SIX[:, :, :1]), 3), shares[:, :, [0, 0, 0]].transpose(2, 0, 1))
    luma = shares[:, :, 0] * 0.299 + shares[:, :, 1] * 0.587 + shares[:, :, 2] * 0.114
    assert np.allclose(values(Bands(SIX[:, :, :3]), 1)[0], luma, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_floats_are_resized_as_torch_does_with_antialiasing(interpolation: str) -> None:
    raw = (six_bands(150, 170) / 65535).astype(np.float32)
    pre = Preprocessing(6, 48, 40, mean=(0.0,), std=(1.0,), resize="squash", interpolation=interpolation)
    tensor = torch.from_numpy(raw).permute(2, 0, 1)[None]
    wanted = F.interpolate(tensor, (48, 40), mode=interpolation, antialias=True, align_corners=False)
    found = to_input([pre(Bands(raw)).pixels], pre)
    assert torch.allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_the_geometry_is_that_of_pictures(resize: str) -> None:
    picture = photo(96, 64)
    pre = Preprocessing(3, 40, 40, resize=resize, resize_to=48)  # type: ignore[arg-type]
    as_floats = np.asarray(picture).astype(np.float32) / np.float32(255)
    one, other = pre(picture), pre(Bands(as_floats))
    assert one.view == other.view
    assert torch.allclose(to_input([one.pixels], pre), to_input([other.pixels], pre), atol=0.02)  # of 1/255 over 0.225
    in_bytes = pre(Bands(np.asarray(picture)))
    assert np.array_equal(in_bytes.pixels, one.pixels)


def test_padding_of_floats_has_the_mean() -> None:
    pre = Preprocessing(6, 40, 40, mean=(500.0,) * 6, std=(100.0,), resize="pad")
    prepared = pre(Bands(np.full((20, 40, 6), 600, np.float32)))
    inputs = to_input([prepared.pixels], pre)[0]
    assert (inputs[:, 0] == 0).all()
    assert (inputs[:, 20] == 1).all()


def test_mean_and_deviation_have_a_value_a_channel() -> None:
    pre = plain(6).changed(mean=(1, 2, 3, 4, 5, 6), std=(6, 5, 4, 3, 2, 1))
    raw = SIX.astype(np.float32)
    wanted = (raw - np.arange(1, 7, dtype=np.float32)) / np.arange(6, 0, -1, dtype=np.float32)
    assert np.array_equal(to_input([pre(Bands(raw)).pixels], pre)[0].numpy(), wanted.transpose(2, 0, 1))
    with pytest.raises(ConfigError, match=r"--mean has 3 value\(s\) and the model's input has 6 channel"):
        plain(6).changed(mean=(0.1, 0.2, 0.3))


def test_a_batch_of_eight_bits_and_others_is_computed_image_by_image() -> None:
    pre = Preprocessing(4, 48, 40, resize="squash")
    images = [Bands(np.asarray(rgba(48, 40))), Bands(SIX[:, :, :4]), Bands(np.asarray(rgba(48, 40))[::-1])]
    pixels = [pre(image).pixels for image in images]
    assert {one.dtype.name for one in pixels} == {"uint8", "float32"}
    together = to_input(pixels, pre)
    for one, alone in zip(together, pixels, strict=True):
        assert torch.equal(one, to_input([alone], pre)[0])
    assert together.is_contiguous(memory_format=torch.channels_last)


def test_alpha_is_a_band_for_models_that_take_it_and_lies_over_white_for_others() -> None:
    image = rgba(48, 40)
    data = encoded(image, "PNG")
    shares = np.asarray(image).astype(np.float32) / np.float32(255)
    four = decode(data, DecodeSettings(channels=4))
    assert np.array_equal(values(four.source, 4), shares.transpose(2, 0, 1))
    assert np.array_equal(np.asarray(four.image), np.asarray(decode(data).image))
    three = decode(data)
    assert three.bands is None
    chosen = decode(data, DecodeSettings(keeps_bands=True))
    assert np.array_equal(values(chosen.source, 3, (4, 2, 1)), shares[:, :, [3, 1, 0]].transpose(2, 0, 1))
    assert "it has 4 bands, and the model takes 6" in message(decode(data, DecodeSettings(channels=6)).source, 6)


def test_grey_with_alpha_is_two_bands() -> None:
    image = rgba(48, 40).convert("LA")
    decoded = decode(encoded(image, "PNG"), DecodeSettings(channels=2))
    assert np.array_equal(values(decoded.source, 2) * 255, np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_reaches_a_model_of_one_channel_in_full(kind: str) -> None:
    deep = Image.fromarray(SIX[:, :, 0])
    decoded = decode(encoded(deep, kind), DecodeSettings(channels=1))
    assert np.array_equal(values(decoded.source, 1)[0], SIX[:, :, 0].astype(np.float32) / np.float32(65535))
    assert from_pillow(deep, DecodeSettings()).bands is None


def test_an_orientation_turns_bands_and_picture_alike() -> None:
    image = rgba(48, 40)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        decoded = decode(encoded(image, "PNG", exif=exif), DecodeSettings(channels=4))
        assert decoded.bands is not None
        white = Image.new("RGBA", decoded.image.size, "white")
        drawn = Image.alpha_composite(white, Image.fromarray(decoded.bands.values)).convert("RGB")
        assert np.array_equal(np.asarray(drawn), np.asarray(decoded.image)), orientation


def test_bands_are_drawn_between_two_percentiles() -> None:
    drawn = np.asarray(draw(Bands(SIX), (6, 5, 4))).astype(np.float64)
    for channel, band in enumerate((5, 4, 3)):
        low, high = np.percentile(SIX[:, :, band], (2, 98))
        assert np.abs(drawn[:, :, channel] - np.clip((SIX[:, :, band] - low) / (high - low), 0, 1) * 255).max() <= 0.51
    eight = (SIX >> 8).astype(np.uint8)
    assert np.array_equal(np.asarray(draw(Bands(eight))), eight[:, :, :3])
    assert np.array_equal(np.asarray(draw(Bands(eight[:, :, :2]))), eight[:, :, [0, 0, 0]])
    assert np.array_equal(np.asarray(draw(Bands(eight), (4,))), eight[:, :, [3, 3, 3]])
    with pytest.raises(ImageError, match="no band 7, as --show-bands asks for"):
        draw(Bands(SIX), (1, 2, 7))


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan])
def test_a_band_without_contrast_is_drawn_black(value: float) -> None:
    assert not np.asarray(draw(Bands(np.full((4, 4, 3), value)))).any()


@pytest.mark.parametrize(
    "values",
    [np.linspace(0, 255, 48), np.linspace(-2, 2.6, 48), np.linspace(0, 9000, 48)],
    ids=["255", "normal", "far"],
)
def test_floats_far_from_the_mean_and_deviation_are_refused(values: np.ndarray) -> None:
    bands = Bands(values.astype(np.float32).reshape(4, 4, 3))
    with pytest.raises(ImageError, match="divide them"):
        Preprocessing(height=4, width=4)(bands)
    plain = Preprocessing(height=4, width=4, mean=(0.0,), std=(1.0,))
    assert np.array_equal(plain(bands).pixels, bands.values)
    of_such_values = Preprocessing(height=4, width=4, mean=(1200.0,), std=(500.0,))
    assert np.array_equal(of_such_values(bands).pixels, bands.values)
    near = Bands(np.linspace(-0.1, 1.4, 48, dtype=np.float32).reshape(4, 4, 3))
    assert np.array_equal(Preprocessing(height=4, width=4)(near).pixels, near.values)
