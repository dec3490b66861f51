"""Maps to pictures: normalisation, placement against torch's upsampling, colours, encoders."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from camcli.config.settings import COLORMAPS, DIVERGING
from camcli.images import View
from camcli.render import (
    OUTSIDE_BRIGHTNESS,
    Canvas,
    Drawing,
    Style,
    colour,
    colours,
    draw_on,
    encode,
    extension,
    frame_width,
    make_canvas,
    normalise,
    place,
)

RNG = np.random.default_rng(0)


def canvas_of(height: int, width: int, view: View | None = None) -> Canvas:
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Canvas(pixels, view or View(0, 0, width, height))


def test_normalise() -> None:
    raw = np.array([[-1.0, 0.0], [1.0, 4.0]], np.float32)
    assert normalise(raw).tolist() == [[0, 0], [0.25, 1]]
    assert normalise(raw, (1.0, 3.0)).tolist() == [[0, 0], [0, 1]]
    for nothing in (np.full((2, 2), np.nan), np.full((2, 2), -1.0), np.full((2, 2), 3.0)):
        assert not normalise(nothing.astype(np.float32)).any()


def place_on_canvas(
    heat: np.ndarray, model_size: tuple[int, int], canvas: Canvas
) -> tuple[np.ndarray, tuple[slice, slice]]:
    patch, inside = place(heat, model_size, canvas)
    placed = np.zeros(canvas.size, np.float32)
    placed[inside] = patch
    return placed, inside


def test_upsampling_is_bilinear_with_unaligned_corners() -> None:
    heat = RNG.random((7, 7), dtype=np.float32)
    placed, inside = place_on_canvas(heat, (224, 224), canvas_of(224, 224))
    expected = torch.nn.functional.interpolate(torch.from_numpy(heat)[None, None], (224, 224), mode="bilinear")
    assert np.abs(placed - expected[0, 0].numpy()).max() < 1e-5
    assert inside == (slice(0, 224), slice(0, 224))


def test_the_map_goes_back_to_where_the_model_looked() -> None:
    heat = np.zeros((7, 7), np.float32)
    heat[1, 5] = 1.0
    canvas = canvas_of(300, 500, View(100, 50, 450, 225))  # cells of 50 × 25
    placed, inside = place_on_canvas(heat, (224, 224), canvas)
    assert inside == (slice(50, 225), slice(100, 450))
    y, x = np.unravel_index(int(placed.argmax()), placed.shape)
    assert (x, y) == (pytest.approx(100 + 5.5 * 50, abs=2), pytest.approx(50 + 1.5 * 25, abs=2))
    outside = placed.copy()
    outside[inside] = 0
    assert not outside.any()


def test_overlay_blends_inside_and_dims_outside() -> None:
    canvas = canvas_of(60, 80, View(10, 20, 70, 50))
    raw = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    drawing = Drawing(raw, canvas, (32, 32), Style(alpha=0.25))
    seen, unseen = drawing.overlay[20:50, 10:70], drawing.overlay[:19]
    blend = 0.25 * drawing.heatmap[20:50, 10:70].astype(float) + 0.75 * canvas.pixels[20:50, 10:70]
    assert np.abs(seen - blend).max() <= 1
    assert np.abs(unseen - OUTSIDE_BRIGHTNESS * canvas.pixels[:19]).max() <= 1
    assert not drawing.heatmap[:20].any()


def test_a_view_larger_than_the_image_shows_its_part_of_the_map() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0] = 1.0  # the padding above the image
    placed, inside = place_on_canvas(heat, (64, 64), canvas_of(50, 100, View(0, -25, 100, 75)))
    assert inside == (slice(0, 50), slice(0, 100))
    assert placed[12:].max() < 0.1


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
def test_gamma_is_the_exponent_of_what_is_drawn_and_of_nothing_else(gamma: float) -> None:
    raw, canvas = RNG.random((4, 5), dtype=np.float32), canvas_of(60, 80, View(10, 20, 70, 50))
    plain, drawn = (Drawing(raw, canvas, (32, 32), style) for style in (Style(), Style(gamma=gamma)))
    powers = plain.patch.astype(np.float64) ** gamma
    assert np.abs(drawn.picture("gray")[20:50, 10:70] - 255 * powers).max() <= 0.51
    levels = drawn.picture("gray")[20:50, 10:70]
    assert np.array_equal(drawn.heatmap[20:50, 10:70], colours("jet")[levels])
    assert not np.array_equal(drawn.overlay, plain.overlay)
    assert not np.array_equal(drawn.panel, plain.panel)
    assert np.array_equal(drawn.picture("map"), plain.picture("map"))
    assert not drawn.picture("gray")[:20].any()


def test_gamma_leaves_a_map_without_heat_cold() -> None:
    for gamma in (0.1, 1.0, 10.0):
        drawing = Drawing(np.zeros((3, 3), np.float32), canvas_of(40, 40), (32, 32), Style(gamma=gamma))
        assert not drawing.picture("gray").any()


def test_alpha_one_is_the_heatmap_and_alpha_zero_the_image() -> None:
    canvas, raw = canvas_of(40, 40), RNG.random((7, 7), dtype=np.float32)
    drawing = Drawing(raw, canvas, (32, 32), Style(alpha=1.0))
    assert np.array_equal(drawing.overlay, drawing.heatmap)
    assert np.array_equal(Drawing(raw, canvas, (32, 32), Style(alpha=0.0)).overlay, canvas.pixels)


def test_degenerate_maps_are_drawn_without_heat() -> None:
    nothing = np.full((7, 7), np.nan, np.float32)
    drawing = Drawing(nothing, canvas_of(40, 40), (32, 32), Style(colormap="jet"))
    assert np.array_equal(np.unique(drawing.heatmap.reshape(-1, 3), axis=0), [[128, 0, 0]])
    assert not drawing.picture("gray").any()


def test_canvas_limits_the_longer_side_and_scales_the_view() -> None:
    rgb = RNG.integers(0, 256, (300, 600, 3), dtype=np.uint8)
    canvas = make_canvas(rgb, View(60, 30, 540, 270), 200)
    assert canvas.size == (100, 200)
    assert canvas.view == View(20, 10, 180, 90)
    assert np.array_equal(make_canvas(rgb, View(0, 0, 1, 1), 0).pixels, rgb[..., ::-1])


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_colormap_of_the_list_is_opencvs(name: str) -> None:
    raw = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    canvas = Canvas(np.zeros((16, 16, 3), np.uint8), View(0, 0, 16, 16))
    drawn = Drawing(raw, canvas, (16, 16), Style(colormap=name)).heatmap
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(16, 16), getattr(cv2, f"COLORMAP_{name.upper()}"))
    assert np.abs(drawn.astype(int) - table).max() <= 3  # bilinear edges


@pytest.mark.parametrize("name", COLORMAPS)
def test_colours_are_those_of_opencv(name: str) -> None:
    placed = np.arange(256, dtype=np.float32).reshape(8, 32) / 255
    plain = cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(8, 32), getattr(cv2, f"COLORMAP_{name.upper()}"))
    assert np.array_equal(colour(placed, name), plain)


def test_artefacts_can_be_read_back() -> None:
    canvas, raw = canvas_of(48, 64), RNG.normal(size=(7, 7)).astype(np.float32)
    for image_format in ("jpg", "png", "webp"):
        style = Style(image_format=image_format)
        drawing = Drawing(raw, canvas, (32, 32), style)
        for kind in ("overlay", "heatmap", "gray"):
            picture = Image.open(io.BytesIO(encode(kind, drawing.picture(kind), style)))
            assert picture.size == (64, 48)
            assert picture.mode == ("L" if kind == "gray" else "RGB")
            assert extension(kind, style) == ("png" if kind == "gray" else image_format)
    assert np.array_equal(np.load(io.BytesIO(encode("raw", raw, Style()))), raw)
    placed = np.load(io.BytesIO(encode("map", drawing.picture("map"), Style())))
    assert placed.dtype == np.float16
    assert placed.shape == (48, 64)


def test_colours_are_not_swapped() -> None:
    hot = np.array([[0.0, 1.0]], np.float32)
    drawing = Drawing(hot, canvas_of(8, 16), (8, 16), Style(colormap="jet", image_format="png"))
    picture = np.asarray(Image.open(io.BytesIO(encode("heatmap", drawing.heatmap, drawing.style))))
    red, _, blue = picture[4, 15].tolist()
    assert red > blue
    red, _, blue = picture[4, 0].tolist()
    assert blue > red


def test_a_frame_of_a_pixel_lies_around_the_view_and_covers_nothing_of_it() -> None:
    canvas = canvas_of(60, 80, View(10, 20, 70, 50))
    overlay = Drawing(np.eye(3, dtype=np.float32), canvas, (32, 32), Style()).overlay
    ring = np.zeros((60, 80), bool)
    ring[19:51, 9:71] = True
    ring[20:50, 10:70] = False
    assert (overlay[ring] == 255).all()
    far = np.ones((60, 80), bool)
    far[19:51, 9:71] = False
    assert np.array_equal(overlay[far], cv2.convertScaleAbs(canvas.pixels, alpha=OUTSIDE_BRIGHTNESS)[far])


def test_where_the_view_reaches_the_edge_there_is_no_frame() -> None:
    raw = np.eye(3, dtype=np.float32)
    whole = canvas_of(60, 80)
    drawing = Drawing(raw, whole, (32, 32), Style())
    blended = cv2.addWeighted(drawing.heatmap, 0.5, whole.pixels, 0.5, 0)
    assert np.array_equal(drawing.overlay, blended)
    middle = Drawing(raw, Canvas(whole.pixels, View(20, 0, 60, 60)), (32, 32), Style()).overlay
    assert (middle[:, [19, 60]] == 255).all()
    assert not (middle[0, :19] == 255).all()


def test_the_frame_is_wider_on_larger_canvases() -> None:
    assert [frame_width(size) for size in ((16, 16), (500, 375), (768, 1024), (100, 4096))] == [1, 1, 2, 8]


def test_a_signed_map_keeps_its_sign_and_zero_is_in_the_middle() -> None:
    raw = np.array([[-2.0, 0.0, 1.0]], np.float32)
    assert normalise(raw, signed=True).tolist() == [[-1, 0, 0.5]]
    assert normalise(raw, (-1.0, 0.5), signed=True).tolist() == [[-1, 0, 1]]
    canvas = Canvas(np.zeros((1, 3, 3), np.uint8), View(0, 0, 3, 1))
    drawing = Drawing(raw, canvas, (1, 3), Style("coolwarm", signed=True))
    assert drawing.picture("gray").tolist() == [[0, 128, 191]]  # 127.5 and 191.25, rounded to even
    assert drawing.picture("map").tolist() == [[-1, 0, 0.5]]
    assert np.array_equal(drawing.heatmap, colours("coolwarm")[[[0, 128, 191]]])


@pytest.mark.parametrize("colormap", ["coolwarm", "turbo"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_share_of_a_signed_map_in_an_overlay_follows_its_values(colormap: str, alpha: float) -> None:
    """At zero the photograph as it is, at both ends ``alpha`` of the colours, in between in proportion."""
    raw = np.array([[-1.0, -0.5, 0.0, 0.25, 1.0]], np.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 5, 3), dtype=np.uint8)
    drawing = Drawing(raw, Canvas(pixels, View(0, 0, 5, 1)), (1, 5), Style(colormap, alpha=alpha, signed=True))
    share = alpha * np.array([1, 0.5, 0, 0.25, 1])[None, :, None]
    expected = share * drawing.heatmap + (1 - share) * pixels
    assert np.abs(drawing.overlay - expected).max() <= 2
    assert (drawing.overlay[0, 2] == pixels[0, 2]).all()
    if alpha == 1:
        assert np.array_equal(drawing.overlay[0, [0, 4]], drawing.heatmap[0, [0, 4]])


def test_a_signed_map_that_shows_nothing_leaves_the_photograph() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    drawing = Drawing(
        np.zeros((2, 2), np.float32), Canvas(pixels, View(0, 0, 4, 4)), (4, 4), Style("coolwarm", signed=True)
    )
    assert np.array_equal(drawing.overlay, pixels)


def test_the_gamma_of_a_signed_map_leaves_its_sign() -> None:
    raw = np.array([[-1.0, -0.25, 0.0, 0.25]], np.float32)
    canvas = Canvas(np.zeros((1, 4, 3), np.uint8), View(0, 0, 4, 1))
    drawing = Drawing(raw, canvas, (1, 4), Style("bwr", gamma=0.5, signed=True))
    assert drawing.picture("gray").tolist() == [[0, 64, 128, 191]]


def test_what_is_nowhere_positive_is_drawn_with_its_sign_only() -> None:
    raw = np.array([[-2.0, -1.0]], np.float32)
    assert not normalise(raw).any()
    assert normalise(raw, signed=True).tolist() == [[-1, -0.5]]
    for nothing in (np.full((2, 2), np.nan), np.zeros((2, 2)), np.full((2, 2), -3.0)):
        assert not normalise(nothing.astype(np.float32), signed=True).any()


def test_outside_the_view_a_signed_map_is_zero() -> None:
    canvas = canvas_of(40, 40, View(10, 10, 30, 30))
    drawing = Drawing(np.array([[-1.0, 1.0]], np.float32), canvas, (32, 32), Style("bwr", signed=True))
    assert (drawing.picture("gray")[:10] == 128).all()
    assert not drawing.picture("map")[:10].any()
    assert not drawing.heatmap[:10].any()


@pytest.mark.parametrize("name", DIVERGING)
def test_diverging_maps_are_those_of_matplotlib(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    theirs = {"rdbu_r": "RdBu_r", "puor_r": "PuOr_r"}.get(name, name)
    expected = np.rint(matplotlib.colormaps[theirs](np.arange(256))[:, 2::-1] * 255)
    assert np.abs(colours(name).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", DIVERGING)
def test_the_middle_of_a_diverging_map_is_grey_and_its_ends_are_not(name: str) -> None:
    spread = np.ptp(colours(name).astype(int), axis=1)
    assert max(spread[127:129]) <= 8
    assert min(spread[0], spread[255]) > 60


def test_the_canvas_of_the_view_is_what_the_model_saw() -> None:
    pixels = RNG.integers(0, 256, (100, 160, 3), dtype=np.uint8)
    view = View(30.2, 0, 130.2, 100)
    canvas = draw_on(Image.fromarray(pixels), view, (160, 100), 0, only_view=True)
    assert np.array_equal(canvas.pixels, pixels[:, 30:130, ::-1])
    assert canvas.view.x0 == pytest.approx(0.2)
    raw = RNG.random((5, 5), dtype=np.float32)
    whole = Drawing(raw, draw_on(Image.fromarray(pixels), view, (160, 100), 0), (50, 50), Style())
    part = Drawing(raw, canvas, (50, 50), Style())
    assert np.abs(whole.heatmap[:, 30:130].astype(int) - part.heatmap).max() <= 3
    assert np.array_equal(part.overlay, cv2.addWeighted(part.heatmap, 0.5, canvas.pixels, 0.5, 0))


@pytest.mark.parametrize(
    "view", [View(0, 0, 160, 100), View(-20, -50, 180, 150)], ids=["the whole image", "with padding around it"]
)
def test_a_model_that_sees_the_whole_image_has_one_canvas(view: View) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (100, 160, 3), dtype=np.uint8))
    for side in (0, 70):
        original, only = (draw_on(image, view, (160, 100), side, only_view=flag) for flag in (False, True))
        assert np.array_equal(original.pixels, only.pixels)
        assert original.view == only.view


def test_a_view_of_less_than_a_pixel_still_has_a_canvas() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (4, 160, 3), dtype=np.uint8))
    canvas = draw_on(image, View(159.6, 1.6, 160, 2.4), (160, 4), 0, only_view=True)
    assert canvas.size == (1, 1)
    assert Drawing(np.eye(2, dtype=np.float32), canvas, (8, 8), Style()).overlay.shape == (1, 1, 3)
