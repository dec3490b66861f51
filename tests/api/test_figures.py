"""Results draw themselves: in a notebook, as a comparison figure, as a panel; and a run becomes a table of pandas."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import camcli
from camcli.errors import ConfigError, SourceError
from camcli.output.csv_table import COLUMNS
from camcli.render import value_range
from tests.conftest import photographs
from tests.tiny import build


@pytest.fixture(scope="module")
def results() -> camcli.Results:
    paths = [str(path) for path in photographs()[:3]]
    return camcli.explain(
        build(), paths, method="gradcam,layercam", target="top:2", input_size=64, layer="features",
        class_names=["a<b>", "b", "c", "d"],
    )  # fmt: skip


def test_the_results_are_a_list(results: camcli.Results) -> None:
    assert isinstance(results, list)
    assert len(results) == 3
    assert [Path(one.name).name for one in results] == [path.name for path in photographs()[:3]]
    assert list(results[0].maps) == ["gradcam/top1", "gradcam/top2", "layercam/top1", "layercam/top2"]


def test_a_grid_has_images_across_and_maps_down(results: camcli.Results) -> None:
    whole = results.grid()
    less = results.grid(maps=["gradcam/top1"])
    assert whole.mode == less.mode == "RGB"
    assert abs(whole.width - less.width) < 30, "but for the labels"
    assert whole.height > 2 * less.height
    narrow = results.grid(columns=1, maps=["gradcam/top1"])
    assert narrow.height > 2 * less.height, "one page, whatever its height"
    assert results.grid(beside=True, columns=3, maps=["gradcam/top1"]).height > 0


def test_a_grid_is_drawn_as_it_is_told(results: camcli.Results) -> None:
    plain = np.asarray(results.grid(maps=["gradcam/top1"]))
    for look in ({"signed": True}, {"colormap": "viridis"}, {"alpha": 0.1}, {"gamma": 0.4}, {"limits": (0.0, 9.0)}):
        assert not np.array_equal(np.asarray(results.grid(maps=["gradcam/top1"], **look)), plain)  # type: ignore[arg-type]


def test_a_grid_is_written(results: camcli.Results, tmp_path: Path) -> None:
    picture = results.grid(path=tmp_path / "g.png")
    with Image.open(tmp_path / "g.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(picture))
    pytest.importorskip("matplotlib")
    results.grid(path=tmp_path / "g.pdf")
    assert (tmp_path / "g.pdf").read_bytes().startswith(b"%PDF")


def test_what_a_grid_refuses(results: camcli.Results, tmp_path: Path) -> None:
    for arguments, text in (
        ({"maps": ["gradcam/top3"]}, "Did you mean gradcam/top"), ({"columns": 0}, "columns=0"),
        ({"colormap": "jett"}, "Did you mean jet"), ({"canvas": "all"}, "--canvas all"),
        ({"path": tmp_path / "g.gif"}, "path"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=text):
            results.grid(**arguments)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="no maps"):
        camcli.Results().grid()


def test_signed_pictures_and_the_view(results: camcli.Results) -> None:
    one = results[0].maps["gradcam/top1"]
    assert one.overlay().size == one.image.size
    width, height = one.overlay(canvas="view").size
    assert (width, height) == (round(one.view.width), round(one.view.height))
    assert not np.array_equal(np.asarray(one.heatmap(signed=True)), np.asarray(one.heatmap()))
    signed = one.heatmap(signed=True, colormap="bwr", canvas="view")
    ends = value_range(one.native, None, True)
    assert ends is not None
    cell = np.unravel_index(int(np.abs(one.native).argmax()), one.native.shape)
    x, y = ((cell[1] + 0.5) / one.native.shape[1] * width, (cell[0] + 0.5) / one.native.shape[0] * height)
    red, _, blue = signed.getpixel((int(x), int(y)))  # type: ignore[misc]
    assert (red > blue) == (one.native[cell] > 0)


def test_a_panel_is_the_figure_of_a_run(results: camcli.Results) -> None:
    panel = results[0].maps["layercam/top2"].panel()
    assert panel.width > 4 * 288


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.sources.append(dict(attrs)["src"] or "")
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_result_shows_itself_in_a_notebook(results: camcli.Results) -> None:
    page = Page()
    page.feed(results[0]._repr_html_())
    assert page.open == []
    assert len(page.sources) == 1 + 4
    for source in page.sources:
        data = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(data)) as picture:
            assert max(picture.size) <= 480
    assert "http" not in results[0]._repr_html_()
    shown = [word for word in page.words if word in ("a<b>", "b", "c", "d")]
    assert shown == [one.name for one in results[0].predictions], "escaped, and in their order"
    assert f"{100 * (results[0].predictions[0].probability or 0):.1f} %" in page.words


def test_many_results_show_the_first(results: camcli.Results) -> None:
    many = camcli.Results(list(results) * 3)
    html = many._repr_html_()
    assert len(re.findall("<table", html)) == 6
    assert "and 3 more results" in html


def test_arrays_have_numbers_for_names(results: camcli.Results) -> None:
    arrays = [np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)] * 2
    found = camcli.explain(build(), arrays, input_size=64, layer="features")
    assert [one.name for one in found] == ["", ""]
    assert found.grid().width > 300


def test_a_run_as_a_data_frame(tmp_path: Path, samples: Path) -> None:
    pandas = pytest.importorskip("pandas")
    (tmp_path / "broken.png").write_bytes(b"no image")
    summary = camcli.run(
        camcli.RunConfig(
            image_path=[str(samples), str(tmp_path / "broken.png")], output_dir=str(tmp_path / "out"), target="top:2",
            model="factory:tests.tiny:build", input_size="64", save="none",
        )  # type: ignore[arg-type]
    )  # fmt: skip
    frame = summary.frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(COLUMNS)
    items = json.loads((tmp_path / "out" / "index.json").read_text())["items"]
    assert len(frame) == sum(max(1, len(item["maps"])) for item in items)
    first = frame.iloc[0]
    assert first["predicted_probability"] == items[0]["predictions"][0]["probability"]
    assert first["entropy"] == items[0]["maps"][0]["attention"]["entropy"]
    failed = frame[frame["status"] == "failed"]
    assert failed["image"].tolist() == ["broken.png"]
    assert failed["method"].isna().all()


def test_without_pandas_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from camcli.pipeline.stream import Summary

    monkeypatch.setitem(sys.modules, "pandas", None)
    summary = Summary("complete", tmp_path, {}, 0, {"seconds": 0, "images_per_second": 0, "stages": {}})
    with pytest.raises(ImportError, match="pip install pandas"):
        summary.frame()
