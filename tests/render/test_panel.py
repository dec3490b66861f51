"""The panel as a figure: its pictures, its words, its colour bar, at every size of image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from camcli.images import View
from camcli.render import PANEL_SIDE, Canvas, Drawing, PanelText, Style, colours, lettering, panel
from camcli.render.panel import MARGIN, NOT_SEEN, ColourBar, tile_size

RNG = np.random.default_rng(0)
TEXT = PanelText("Egyptian cat  57.3 %", "gradcam, layer bn2, target: predicted")


def drawing_of(
    height: int, width: int, view: View | None = None, raw: np.ndarray | None = None, text: PanelText = TEXT,
    limits: tuple[float, float] | None = None, **style: object,
) -> Drawing:  # fmt: skip
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    canvas = Canvas(pixels, view or View(0, 0, width, height))
    raw = np.arange(49, dtype=np.float32).reshape(7, 7) if raw is None else raw
    return Drawing(raw, canvas, (64, 64), Style(**style), limits, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(384, 512), (512, 341), (16, 16), (90, 1600), (1600, 90), (3000, 4000)])
def test_a_panel_has_four_pictures_apart_on_white(size: tuple[int, int]) -> None:
    drawn = drawing_of(*size).panel
    assert drawn.dtype == np.uint8
    assert (drawn[:MARGIN] == 255).all()
    assert (drawn[:, :MARGIN] == 255).all()
    height, width = tile_size(*size)
    assert max(height, width) == PANEL_SIDE
    column = max(width, 288)
    gutters = [MARGIN + (column + 24) * place - 12 for place in (1, 2, 3)]
    below_the_title = drawn[150 : 150 + height // 2]
    assert (below_the_title[:, gutters] == 255).all()
    assert drawn.shape[1] == 4 * column + 3 * 24 + 2 * MARGIN


def test_the_first_picture_is_the_image_and_the_last_the_overlay() -> None:
    drawing = drawing_of(384, 512)
    top = MARGIN + 57 + 42
    assert np.array_equal(drawing.panel[top : top + 384, MARGIN : MARGIN + 512], drawing.canvas.pixels)
    left = MARGIN + 3 * (512 + 24)
    assert np.array_equal(drawing.panel[top : top + 384, left : left + 512], drawing.overlay)


def test_a_panel_has_no_black_where_the_model_did_not_look() -> None:
    drawn = drawing_of(384, 512, View(180, 60, 330, 320)).panel
    left = MARGIN + 512 + 24
    assert (drawn[130:140, left : left + 512] == NOT_SEEN).all()


def test_text_is_as_large_in_a_small_image_as_in_a_large_one() -> None:
    assert drawing_of(24, 32).panel.shape == drawing_of(384, 512).panel.shape == drawing_of(1536, 2048).panel.shape


def test_a_map_without_heat_has_no_colour_bar() -> None:
    nothing = drawing_of(384, 512, raw=np.zeros((7, 7), np.float32))
    assert nothing.colour_bar is None
    assert nothing.panel.shape[0] < drawing_of(384, 512).panel.shape[0]


def test_a_warning_takes_a_line() -> None:
    warned = drawing_of(384, 512, text=PanelText("a", "b", "improbable class")).panel
    assert warned.shape[0] == drawing_of(384, 512, text=PanelText("a", "b")).panel.shape[0] + 42


@pytest.mark.parametrize(
    ("limits", "signed", "ends"),
    [(None, False, (0, 3.5)), ((0.5, 2.0), False, (0.5, 2)), (None, True, (-3.5, 3.5)), ((-1, 0.5), True, (-1, 1))],
)
def test_the_bar_says_which_values_its_ends_are(
    limits: tuple[float, float] | None, signed: bool, ends: tuple[float, float]
) -> None:
    bar = drawing_of(40, 40, raw=np.array([[-1, 3.5]], np.float32), limits=limits, signed=signed).colour_bar
    assert bar is not None
    assert (bar.low, bar.high) == ends
    assert bar.note.startswith("range of this map" if limits is None else "same in all images")
    if signed:
        assert [words for _, words in bar.ticks][1] == "0"


def test_the_colours_of_the_bar_are_those_of_the_values_below_it() -> None:
    bar = ColourBar("viridis", 0.5, False, 0.0, 4.0)
    assert np.array_equal(bar.colours(5), colours("viridis")[[0, 128, 180, 221, 255], ::-1])
    signed = ColourBar("bwr", 1.0, True, -1.0, 1.0)
    assert signed.colours(3).tolist() == [[0, 0, 255], [255, 254, 254], [255, 0, 0]]


def test_long_names_are_cut_to_the_width() -> None:
    name = "a class with a name of many words " * 9
    assert lettering.text_width(name, 44) > 2000
    cut = lettering.fit(name, 500, 44)
    assert lettering.text_width(cut, 44) <= 500
    assert "..." in cut
    assert cut.startswith("a class")
    assert drawing_of(384, 512, text=PanelText(name, name)).panel.shape == drawing_of(384, 512).panel.shape


def test_ascii_is_written_in_the_font_that_comes_with_pillow() -> None:
    assert lettering.legible("Egyptian cat") == "Egyptian cat"
    assert lettering.font_for("Egyptian cat", 20).getname() == ("Aileron", "Regular")  # type: ignore[union-attr]


def test_accents_are_left_out_and_other_scripts_refused_where_no_font_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lettering, "_installed", tuple)
    lettering.legible.cache_clear()
    try:
        assert lettering.legible("Bergführer\nñu") == "Bergfuhrer nu"
        assert lettering.legible("猫") is None
    finally:
        lettering.legible.cache_clear()


def test_a_font_that_lacks_a_character_is_not_taken() -> None:
    for name in lettering._installed():
        assert not lettering._has(name, lettering._ABSENT + "a")
        assert lettering._has(name, "a")


def test_words_are_written_where_they_are_said_to_be() -> None:
    picture = Image.new("L", (400, 80), 255)
    panel.write(ImageDraw.Draw(picture.convert("RGB")), (0, 0), "x", 20, (0, 0, 0), "ls")
    drawn = drawing_of(384, 512).panel
    title = drawn[MARGIN : MARGIN + 50, MARGIN : MARGIN + 600]
    assert title.min() < 60
    assert (drawn[MARGIN : MARGIN + 50, 1200:] == 255).all()


def test_a_tiny_image_shows_its_pixels_and_a_small_one_is_smooth() -> None:
    tiny, small = drawing_of(16, 16), drawing_of(128, 128)
    top = MARGIN + 57 + 42
    shown = [one.panel[top : top + 512, MARGIN : MARGIN + 512].astype(int) for one in (tiny, small)]
    assert np.array_equal(shown[0][::32, ::32], tiny.canvas.pixels)
    assert (np.diff(shown[0][:, 1:32], axis=1) == 0).all()
    assert not (np.diff(shown[1][:, 1:4], axis=1) == 0).all()
