"""The comparison figure of a run: which picture stands where, in which order, on how many pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camcli.errors import ConfigError, SourceError
from camcli.render.pages import Page, draw_page
from camcli.report import sheet as module
from camcli.report.sheet import Sheet, SheetOptions, write_sheet
from tests.conftest import TINY, Cam, items


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate([(90, 60), (60, 90), (64, 64), (80, 80), (120, 40)]):
        pixels = np.random.default_rng(i).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{'cadbe'[i]}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def run(cam: Cam, photos: Path, tmp_path: Path) -> Path:
    flags = ("--method", "gradcam,layercam", "--layer", "features.0", "--layer", "features", "--target", "top:2")
    done = cam("run", photos, *TINY, *flags, "--save", "none", "--output-dir", tmp_path / "run")
    assert done.code == 3, done.err
    return tmp_path / "run"


def pages(runs: list[Path], monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[list[Page], Sheet]:
    found: list[Page] = []
    monkeypatch.setattr(module, "encode_page", lambda page, kind: found.append(page) or b"x")
    return found, write_sheet(runs, runs[0].parent / "sheet.png", SheetOptions(**options))  # type: ignore[arg-type]


def words(page: Page) -> list[str]:
    return [text.words for text in page.texts]


def names(page: Page) -> list[str]:
    return [word for word in words(page) if word.endswith(".png")]


def test_what_a_run_has_several_of_goes_down(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ((page, *_), _) = pages([run], monkeypatch, columns=5)
    *pictures, _bar = page.pictures
    assert len(pictures) == 5 * (1 + 2 * 2 * 2)
    assert names(page) == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    labels = [text.words for text in page.texts if text.x < 60]
    assert labels[1:] == ["image", *[w for m in ("gradcam", "layercam") for y in ("features.0", "features")
                          for t in ("top:1", "top:2") for w in (m, y, t)]]  # fmt: skip


@pytest.mark.parametrize(("rows", "count"), [("method", 2), ("layer", 2), ("target", 2)])
def test_one_kind_goes_down_and_the_others_are_named_above(
    run: Path, monkeypatch: pytest.MonkeyPatch, rows: str, count: int
) -> None:
    ((page,), _) = pages([run], monkeypatch, columns=5, rows=(rows,))
    assert len(page.pictures) - 1 == 5 * (1 + count)
    fixed = {"method": "method gradcam", "layer": "layer features.0", "target": "target top:1"}
    assert words(page)[1] == ", ".join(text for name, text in fixed.items() if name != rows)


def test_pictures_are_the_overlays_of_the_run(
    cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cam("run", photos, *TINY, "--save", "overlay,raw", "--image-format", "png", "--output-dir", tmp_path / "run",
        "--colormap", "viridis", "--scale", "0:0.2")  # fmt: skip
    ((page,), _) = pages([tmp_path / "run"], monkeypatch)
    cells = page.pictures[:-1]
    assert len(cells) == 10
    square = cells[5 + 3]  # of d.png, 64 × 64
    with Image.open(tmp_path / "run" / "overlays" / "gradcam" / "d.png.png") as overlay:
        expected = np.asarray(overlay.convert("RGB").resize((300, 300), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(square.pixels.astype(int) - expected).mean() < 25
    assert {"0", "0.1", "0.2"} <= set(words(page))


def test_beside_each_other_an_image_comes_before_its_maps(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ((page,), _) = pages([run], monkeypatch, columns=6, rows=("image", "method"))
    *pictures, _bar = page.pictures
    assert len(pictures) == 5 * 3
    assert len({one.x for one in pictures}) == 6, "two images of three pictures each"
    assert words(page)[2:8] == ["image", "gradcam", "layercam"] * 2
    assert names(page) == ["a.png", "b.png", "c.png", "d.png", "e.png"]


def test_a_picture_of_the_class_that_is_not_predicted_says_which(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ((page,), _) = pages([run], monkeypatch, rows=("target",), columns=5)
    second = [row["maps"][1]["target"] for row in items(run) if row["status"] == "ok"]
    for target in second:
        name = target["name"] or f"class {target['index']}"
        assert f"{name} {100 * target['probability']:.1f} %" in words(page)


@pytest.mark.parametrize("key", ["name", "probability", "entropy", "border"])
def test_sorted(run: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    def value(row: dict[str, Any]) -> Any:
        if key in ("name", "probability"):
            return row["image"] if key == "name" else row["predictions"][0]["probability"]
        return row["maps"][0]["attention"][key]

    expected = [row["image"] for row in sorted((r for r in items(run) if r["status"] == "ok"), key=value)]
    ((page,), _) = pages([run], monkeypatch, sort=key, rows=("method",), columns=5)
    assert names(page) == expected
    ((page,), sheet) = pages([run], monkeypatch, sort=f"-{key}", rows=("method",), limit=2)
    assert names(page) == expected[::-1][:2]
    assert (sheet.images, sheet.of) == (2, 5)


def test_several_pages_are_numbered_and_one_is_not(run: Path, tmp_path: Path) -> None:
    one = write_sheet([run], tmp_path / "one.png", SheetOptions(rows=("method",), limit=2))
    assert one.files == [tmp_path / "one.png"]
    many = write_sheet([run], tmp_path / "many.webp", SheetOptions(columns=1))
    assert many.files == [tmp_path / f"many-{i}.webp" for i in range(1, len(many.files) + 1)]
    assert len(many.files) > 1
    for file in many.files:
        with Image.open(file) as picture:
            picture.load()
    assert not (tmp_path / "many.webp").exists()


def test_a_pdf_has_all_pages(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sheet = write_sheet([run], tmp_path / "all.pdf", SheetOptions(columns=1, limit=3, rows=("method",)))
    assert sheet.files == [tmp_path / "all.pdf"]
    assert (tmp_path / "all.pdf").read_bytes().count(b"/Type /Page ") >= 1


def test_originals_that_are_gone_leave_the_maps(run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos.rename(photos.parent / "moved")
    ((page,), _) = pages([run], monkeypatch, rows=("method",), columns=5)
    *pictures, _bar = page.pictures
    assert len(pictures) == 15
    assert len({one.pixels.tobytes() for one in pictures[:5]}) == 1, "one grey picture for what is not there"
    assert all(np.ptp(one.pixels) > 50 for one in pictures[5:])


def reds(page: Page) -> float:
    """How far red exceeds the mean of the others at most: jet has it, viridis has not."""
    pixels = np.concatenate([one.pixels.reshape(-1, 3) for one in page.pictures[:-1]]).astype(int)
    return float((pixels[:, 0] - pixels[:, 1:].max(1)).max())


@pytest.mark.parametrize("how", ["earlier", "half drawn", "another run"])
def test_saved_pictures_with_other_colours_than_the_bar_are_not_shown(
    cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The maps are drawn alone, in the colours of the bar."""
    for path in photos.iterdir():
        if path.name != "broken.png":
            Image.new("RGB", (64, 64), "grey").save(path)
    run, look = tmp_path / "run", tmp_path / "look"
    assert cam("run", photos, *TINY, "--output-dir", run).code == 3
    assert cam("run", photos, *TINY, "--save", "none", "--colormap", "viridis", "--output-dir", look).code == 3
    runs = [look, run] if how == "another run" else [run]
    if how == "earlier":
        (photos / "a.png").unlink()
        assert cam("render", run, "--colormap", "viridis").code == 3
    if how == "half drawn":
        (run / ".cam.redraw").write_text("[]")
        index = json.loads((run / "index.json").read_text())
        index["config"]["colormap"] = "viridis"
        (run / "index.json").write_text(json.dumps(index))
    photos.rename(tmp_path / "moved")
    ((page,), _) = pages(runs, monkeypatch, columns=5)
    assert reds(page) < 80
    ((saved,), _) = pages([run], monkeypatch, columns=5) if how == "another run" else ((page,), None)
    assert how != "another run" or reds(saved) > 80, "the run's own look is that of its pictures"


def test_originals_that_are_gone_are_named_in_a_line(cam: Cam, run: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "a.png").unlink()
    Image.new("RGB", (64, 64)).save(photos / "c.png")
    done = cam("report", run, "--sheet", tmp_path / "f.png", "--rows", "method")
    assert done.code == 0
    assert done.err == "note: originals that are not there as they were, grey in the sheet: a.png, c.png\n"
    photos.rename(tmp_path / "moved")
    done = cam("report", run, "--sheet", tmp_path / "f.png", "--rows", "method", "--limit", 2)
    assert "grey in the sheet: a.png, b.png\n" in done.err


def test_two_runs_carry_their_names_and_one_look(
    cam: Cam, photos: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cam("run", photos, *TINY, "--colormap", "viridis", "--save", "none", "--output-dir", tmp_path / "other",
               "--layer", "features.0", "--limit", "3")  # fmt: skip
    assert done.code in (0, 3)
    ((page,), _) = pages([run, tmp_path / "other"], monkeypatch, rows=("method",), columns=5)
    assert words(page)[0].startswith(str(tmp_path)[:8])
    assert any(word.endswith("other") for word in words(page))
    shown = {row["image"] for row in items(tmp_path / "other") if row["status"] == "ok"}
    *pictures, _bar = page.pictures
    assert len(pictures) == 5 * (1 + 2) + len(shown)
    drawn = draw_page(page)
    assert drawn.size == (page.width, page.height)


def test_what_is_refused(run: Path, tmp_path: Path) -> None:
    for options, text in (
        ({"rows": ("colour",)}, "--rows colour"), ({"sort": "namee"}, "Did you mean name"),
        ({"columns": 0}, "--columns 0"), ({"limit": 0}, "--limit 0"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=text):
            SheetOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="no such run folder"):
        write_sheet([tmp_path / "none"], tmp_path / "a.png")
    index = json.loads((run / "index.json").read_text())
    index["items"] = [row for row in index["items"] if row["status"] != "ok"]
    shutil.copytree(run, tmp_path / "empty")
    (tmp_path / "empty" / "index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match="nothing to show"):
        write_sheet([tmp_path / "empty"], tmp_path / "a.png")


def test_a_run_writes_its_sheet(cam: Cam, photos: Path, tmp_path: Path) -> None:
    done = cam("run", photos, *TINY, "--output-dir", tmp_path / "run", "--sheet", tmp_path / "s.png")
    assert done.code == 3
    assert f"sheet of 5 images in {tmp_path / 's.png'}" in done.out.splitlines()
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.width > 1000
    refused = cam("run", photos, *TINY, "--output-dir", tmp_path / "run", "--sheet", tmp_path / "s.gif")
    assert refused.code == 2
    assert "--sheet" in refused.err


def test_a_report_writes_a_figure_in_place_of_the_gallery(cam: Cam, run: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in run.iterdir())
    flags = ("--columns", 4, "--rows", "method,target", "--sort", "name", "--limit", 4)
    done = cam("report", run, "--sheet", tmp_path / "f.png", *flags)
    assert done.code == 0, done.err
    assert done.out == f"sheet of 4 of 5 images in {tmp_path / 'f.png'}; --limit of `cam report` shows more\n"
    assert sorted(path.name for path in run.iterdir()) == before
    document = cam("report", run, "--sheet", tmp_path / "f.jpg", *flags, "--json").document
    assert document == {"sheet": {"files": [str(tmp_path / "f.jpg")], "images": 4, "of": 5}}


def test_both_where_both_are_asked_for(cam: Cam, run: Path, tmp_path: Path) -> None:
    done = cam("report", run, "--sheet", tmp_path / "f.png", "--output", tmp_path / "page.html")
    assert done.code == 0, done.err
    assert (tmp_path / "f.png").is_file()
    assert (tmp_path / "page.html").is_file()


def test_flags_of_the_figure_alone_are_refused(cam: Cam, run: Path) -> None:
    for flags in (("--columns", 3), ("--rows", "method"), ("--sort", "name")):
        done = cam("report", run, *flags)
        assert done.code == 2
        assert f"{flags[0]} is for the figure: give --sheet FILE as well" in done.err
    assert cam("report", run, "--sheet", "f.gif").code == 2
    assert cam("report", run, "--sheet", "f.png", "--rows", "colour").code == 2
