"""Comparison figures: where pictures and words stand, how pages are cut, and that both outputs show the same."""

from __future__ import annotations

import io
import re
import zlib

import numpy as np
import pytest
from PIL import Image

from camcli.errors import ConfigError
from camcli.render import lettering
from camcli.render import pages as module
from camcli.render.grid import CELL, Band, Cell, Legend, lay_out
from camcli.render.pages import Page, Picture, Text, draw_page, encode_page, encode_pdf, page_format
from camcli.render.panel import ColourBar

BAR = ColourBar("viridis", 1.0, False, 0.0, 2.5)


def band(columns: int, rows: int, height: int = 60, width: int = 90) -> Band:
    cells = [
        [Cell(np.full((height, width, 3), 10 * (columns * row + column), np.uint8)) for column in range(columns)]
        for row in range(rows)
    ]
    return Band([(f"image {i}.jpg", "Egyptian cat 57 %") for i in range(columns)], ["image", "gradcam"][:rows], cells)


def pages_of(*bands: Band, legend: Legend | None = None) -> list[Page]:
    legend = legend or Legend("a model", "layer bn2", BAR)
    return list(lay_out(bands, max(len(one.heads) for one in bands), ["image", "gradcam"], legend))


def test_pictures_stand_in_rows_and_columns_of_one_width() -> None:
    (page,) = pages_of(band(3, 2))
    *pictures, bar = page.pictures
    assert [one.size for one in pictures] == [(CELL, 200)] * 6
    across, down = sorted({one.x for one in pictures}), sorted({one.y for one in pictures})
    assert len(across) == 3
    assert np.diff(across).tolist() == [CELL + 14] * 2
    assert np.diff(down).tolist() == [214]
    assert bar.y > max(down) + 200
    assert all(one.x >= 0 and one.x + one.size[0] <= page.width for one in page.pictures)
    assert all(one.y >= 0 and one.y + one.size[1] <= page.height for one in page.pictures)
    assert all(0 < text.x < page.width and 0 < text.y < page.height for text in page.texts)


def test_every_word_is_there() -> None:
    (page,) = pages_of(band(3, 2))
    words = [text.words for text in page.texts]
    assert words[:2] == ["a model", "layer bn2"]
    assert {"image", "gradcam", "image 0.jpg", "image 2.jpg", "Egyptian cat 57 %", "0", "1.25", "2.5"} <= set(words)


def test_a_page_is_as_high_as_a4_at_most_and_a_band_stays_whole() -> None:
    bands = [band(4, 3) for _ in range(7)]
    found = pages_of(*bands)
    assert len(found) > 1
    assert sum(len(page.pictures) - 1 for page in found) == 7 * 12
    for page in found:
        assert (len(page.pictures) - 1) % 12 == 0
        assert page.height <= 1.42 * page.width
        assert "a model" in [text.words for text in page.texts]
        assert "2.5" in [text.words for text in page.texts]


def test_a_band_higher_than_a_page_has_one_of_its_own() -> None:
    tall = band(1, 2)
    high = Band(tall.heads, ["gradcam"] * 40, [row for row in tall.rows for _ in range(20)])
    assert [len(page.pictures) - 1 for page in pages_of(high, tall)] == [40, 2]


def test_pages_are_made_as_they_are_asked_for() -> None:
    taken = []

    def bands():  # type: ignore[no-untyped-def]
        for i in range(50):
            taken.append(i)
            yield band(4, 3)

    next(lay_out(bands(), 4, ["image"], Legend()))
    assert len(taken) < 6


def test_odd_proportions_keep_them() -> None:
    (page,) = pages_of(band(1, 1, height=900, width=30), legend=Legend())
    assert page.pictures[0].size == (10, CELL)
    (page,) = pages_of(band(1, 1, height=2, width=900), legend=Legend())
    assert page.pictures[0].size == (CELL, 1)


def test_places_without_a_picture_stay_empty() -> None:
    (page,) = pages_of(
        Band([("a",), ("b",)], ["gradcam"], [[None, Cell(np.zeros((9, 9, 3), np.uint8))]]), legend=Legend()
    )
    assert len(page.pictures) == 1


def test_words_in_place_of_values_where_the_maps_have_no_common_range() -> None:
    legend = Legend(bar=ColourBar("coolwarm", 1.0, True, -1, 1), ends=("against", "for"))
    (page,) = pages_of(band(2, 1), legend=legend)
    words = [text.words for text in page.texts]
    assert words[words.index("against") :][:3] == ["against", "0", "for"]


def test_a_page_is_drawn_as_it_is_laid_out() -> None:
    page = Page(200, 100, 100)
    page.pictures.append(Picture(20, 30, (40, 20), np.full((2, 4, 3), (200, 10, 20), np.uint8)))
    page.texts.append(Text(120, 60, "text", 24))
    drawn = np.asarray(draw_page(page))
    assert (drawn[30:50, 20:60] == (200, 10, 20)).all()
    assert (drawn[:30] == 255).all()
    assert drawn[40:62, 120:170].min() < 80
    assert Image.open(io.BytesIO(encode_page(page, "PNG"))).size == (200, 100)


def test_a_pdf_has_its_text_as_text_and_a_page_for_each() -> None:
    pytest.importorskip("matplotlib")
    page = Page(480, 240, 240)
    page.pictures.append(Picture(20, 30, (40, 20), np.full((2, 4, 3), 77, np.uint8)))
    page.texts.append(Text(120, 60, "$x_1$ gradcam", 24))
    document = encode_pdf([page, page])
    assert document.startswith(b"%PDF")
    assert document.count(b"/Type /Page ") == 2
    assert b"/MediaBox [ 0 0 144 72 ]" in document
    streams = [
        zlib.decompress(s) for s in re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", document, re.S)
    ]
    shown = [stream for stream in streams if b" Tf" in stream]
    assert len(shown) == 2, "letters are drawn by a font, not as shapes"
    assert b"CreationDate" not in document


def test_the_name_of_a_file_decides_its_format(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"a.png": "PNG", "a.JPG": "JPEG", "a.webp": "WEBP"}
    assert {name: page_format(name) for name in names} == names
    with pytest.raises(ConfigError, match=r"--sheet a.gif: give a name that ends in .*\.pdf"):
        page_format("a.gif")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install matplotlib \(.*pip install '\.\[plot\]'\)"):
        page_format("a.pdf")


def test_characters_that_no_font_has_are_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_installed", tuple)
    lettering.legible.cache_clear()
    (page,) = pages_of(Band([("a猫b.jpg",)], ["gradcam"], [[Cell(np.zeros((9, 9, 3), np.uint8))]]), legend=Legend())
    lettering.legible.cache_clear()
    assert "a?b.jpg" in [text.words for text in page.texts]
