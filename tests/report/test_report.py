"""`cam report` without a browser: what it writes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camcli.map_summary import native_copy
from camcli.render import colours
from camcli.report import ReportOptions, build_report
from camcli.report.command_line import flags_of
from camcli.report.data_files import page_json
from camcli.report.page import _colours
from camcli.report.records import Records, disagreement, hot_share
from tests.conftest import TINY, Cam, index_of
from tests.report.gallery_run import make_run


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    chance = np.random.default_rng(0)
    for number in range(3):
        pixels = chance.integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).resize((160, 120)).save(folder / f"{number}.jpg")
    Image.open(folder / "0.jpg").save(folder / "picture.tif")
    return folder


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(images, tmp_path_factory.mktemp("run") / "run", save="none")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run of its own for each test."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def records_of(page: Path) -> list[dict[str, Any]]:
    """The records that the data files of a page hold."""
    records = []
    for file in sorted(page.with_suffix("").glob("data-*.js")):
        match = re.fullmatch(r"camData\((\d+),(.*)\);\n", file.read_text("utf-8"), re.DOTALL)
        assert match
        records += json.loads(json.loads(match[2]))
    return records


def test_the_page_its_data_and_thumbnails(cam: Cam, run: Path) -> None:
    done = cam("report", run)
    assert (done.code, done.err) == (0, "")
    assert (
        done.out == f"4 images\ngallery in {run / 'report.html'}, its data and thumbnails in {run / 'report'}{os.sep}\n"
    )
    page = (run / "report.html").read_text("utf-8")
    assert 'src="report/data-0001.js"' in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    records = records_of(run / "report.html")
    assert [one["n"] for one in records] == [item["image"] for item in index_of(run)["items"]]
    assert all((run / one["t"]).is_file() for one in records)
    assert [("o" in one, "oc" in one) for one in records] == [(True, False)] * 3 + [
        (False, True)
    ]  # no browser shows TIFF
    with Image.open(run / records[0]["t"]) as picture:
        assert picture.size == (160, 120)  # never enlarged


def test_thumbnails_are_made_once(run: Path) -> None:
    build_report(ReportOptions(str(run)))
    thumbnails = {path: path.stat().st_mtime_ns for path in (run / "report" / "thumbnails").rglob("*.jpg")}
    assert len(thumbnails) == 5  # four thumbnails, and the copy of the TIFF file
    stray = run / "report" / "data-0009.js"
    stray.write_text("of an earlier, longer report")
    build_report(ReportOptions(str(run)))
    assert {path: path.stat().st_mtime_ns for path in thumbnails} == thumbnails
    assert not stray.exists()


def test_json_and_quiet(cam: Cam, run: Path, tmp_path: Path) -> None:
    done = cam("report", run, "--json", "--output", tmp_path / "other.html", "--limit", 2)
    assert done.document["images"] == 2
    assert done.document["page"] == str(tmp_path / "other.html")
    assert done.document["folder"] == str(tmp_path / "other")
    assert (tmp_path / "other" / "data-0001.js").is_file()
    assert not (run / "report.html").exists()
    quiet = cam("report", run, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_originals_that_moved(cam: Cam, images: Path, tmp_path: Path) -> None:
    moving = Path(shutil.copytree(images, tmp_path / "images"))
    bare = make_run(moving, tmp_path / "bare", save="none")
    drawn = make_run(moving, tmp_path / "drawn")
    shutil.rmtree(moving)
    done = cam("report", bare)
    assert (done.code, done.out.splitlines()[0]) == (0, "4 images, 4 without their original")
    assert all(
        one["x"] == "missing" and "t" not in one and one["m"][0]["h"] for one in records_of(bare / "report.html")
    )
    build_report(ReportOptions(str(drawn)))
    records = records_of(drawn / "report.html")
    assert all(one["td"] == 1 and (drawn / one["t"]).is_file() for one in records)


def test_an_original_that_changed_is_not_shown_as_the_old_one(images: Path, tmp_path: Path) -> None:
    moving = Path(shutil.copytree(images, tmp_path / "images"))
    run = make_run(moving, tmp_path / "run", save="none")
    Image.new("RGB", (160, 120)).save(moving / "1.jpg")
    build_report(ReportOptions(str(run)))
    records = {one["n"]: one for one in records_of(run / "report.html")}
    assert records["1.jpg"]["x"] == "changed"
    assert "t" not in records["1.jpg"]
    assert "x" not in records["0.jpg"]


@pytest.mark.parametrize("ending", [b"", b'{"image": "torn'])
def test_a_run_that_goes_on(cam: Cam, run: Path, ending: bytes) -> None:
    lines = (run / "index.jsonl").read_bytes().splitlines(keepends=True)
    (run / "index.json").unlink()
    (run / "index.jsonl").write_bytes(b"".join(lines[:3]) + ending)
    done = cam("report", run)
    assert (done.code, done.out.splitlines()[0]) == (0, "2 images")
    assert "This run is <strong>running</strong>" in (run / "report.html").read_text("utf-8")
    assert (run / "index.jsonl").read_bytes() == b"".join(lines[:3]) + ending  # only read


def test_a_run_without_images_or_with_failures_alone(cam: Cam, run: Path) -> None:
    lines = (run / "index.json").read_text("utf-8").splitlines()
    start = lines.index('"items": [')
    failed = {
        **dict.fromkeys(json.loads(lines[start + 1].rstrip(","))), "image": "x.jpg", "source": "gone",
        "status": "failed", "error": {"kind": "empty", "message": "the file is empty"}, "notes": [], "predictions": [],
        "maps": [], "sizes": {},
    }  # fmt: skip
    for rows in ([], [json.dumps(failed)]):
        (run / "index.json").write_text("\n".join([*lines[: start + 1], ",\n".join(rows), "]}"]), "utf-8")
        done = cam("report", run, "--json")
        assert (done.code, done.document["images"], done.document["failed"]) == (0, len(rows), len(rows)), done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone"], "gone: no such run folder"), (["{tmp}"], "neither index.json nor index.jsonl"),
        (["{run}/index.json"], "is no folder"), (["{run}", "--against", "gone"], "gone"),
        (["{run}", "--limit", "0"], "--limit 0"), (["{run}", "--output", "{tmp}"], "a folder stands in its place"),
    ],
)  # fmt: skip
def test_what_is_refused(cam: Cam, run: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    done = cam("report", *(one.format(run=run, tmp=tmp_path / "empty") for one in arguments))
    assert done.code == 2
    assert words in done.err
    assert not (run / "report.html").exists()


def test_nothing_ends_a_script_element() -> None:
    text = page_json({"name": "</script><!--\u2028\udcff"})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"name": "</script><!--\u2028\N{REPLACEMENT CHARACTER}"}


def test_the_flags_that_explain_one_image_again() -> None:
    config = {
        "image_path": ["photos"], "output_dir": "out", "model": "resnet50", "layer": ["auto"],
        "method": ["gradcam", "eigencam"],
        "device": "cpu", "precision": "fp32", "target": "top:2", "save": [], "resume": True, "aug_smooth": True,
        "scale": "sample:3", "scale_limits": {"gradcam": [0.0, 1.5], "eigencam": [0.0, 1.5]},
        "class_names": "my classes.txt", "limit": 3,
    }  # fmt: skip
    assert shlex.join(flags_of(config, is_cpu=True)) == (
        "--model resnet50 --method gradcam,eigencam --target top:2 --aug-smooth --class-names 'my classes.txt' "
        "--scale 0:1.5"
    )


def one_map(method: str, raw: list[list[float]], **more: object) -> dict[str, Any]:
    return {
        "method": method, "layer": "a", "status": "ok", "target": None, "files": {},
        "native": native_copy(np.array(raw, np.float32)), **more,
    }  # fmt: skip


def test_a_map_in_eight_bits() -> None:
    record = Records().map(one_map("gradcam", [[-1.0, 0.0], [1.0, 2.0]]))
    assert record["g"] == [2, 2]
    assert list(base64.b64decode(record["h"])) == [0, 0, 128, 255]
    fixed = Records(limits={"gradcam": (0.0, 4.0)}).map(one_map("gradcam", [[-1.0, 0.0], [1.0, 2.0]]))
    assert list(base64.b64decode(fixed["h"])) == [0, 0, 64, 128]
    signed = Records(signed=True).map(one_map("gradcam", [[-1.0, 0.0], [1.0, 2.0]]))
    assert list(base64.b64decode(signed["h"])) == [64, 128, 191, 255]


@pytest.mark.parametrize("cells", [7, 28, 56])
def test_how_spread_a_map_is_does_not_depend_on_its_cells(cells: int) -> None:
    places = (np.arange(cells) + 0.5) / cells
    distance = np.hypot(*np.meshgrid(places - 0.5, places - 0.5))
    cone = np.maximum(0, 1 - 2 * distance)  # half the maximum: a disc with a radius of a quarter
    area, mass = hot_share(one_map("a", cone.tolist())) or (0, 0)
    assert area == pytest.approx(np.pi / 16, abs=0.04)
    assert mass == pytest.approx(0.5, abs=0.1)  # half of the volume of a cone lies within half its radius
    spot = np.full((cells, cells), 0.3)
    spot[cells // 7 * 3 : cells // 7 * 4, cells // 7 * 3 : cells // 7 * 4] = 1
    area, mass = hot_share(one_map("a", spot.tolist())) or (0, 0)
    assert area == pytest.approx(1 / 49, abs=0.012)
    assert mass < 0.1
    assert hot_share(one_map("a", np.ones((cells, cells)).tolist())) == [1, 1]


def test_a_map_that_shows_nothing_has_no_spread() -> None:
    assert hot_share(one_map("a", [[0.0, 0.0]], status="zero")) is None
    assert hot_share({**one_map("a", [[1.0]]), "native": None}) is None


def test_disagreement_of_methods() -> None:
    rising, falling = [[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]
    assert disagreement([one_map("a", rising), one_map("b", rising)]) == 0
    assert disagreement([one_map("a", rising), one_map("b", falling)]) == 2
    assert disagreement([one_map("a", rising), one_map("a", falling, layer="b")]) is None  # one method
    assert disagreement([one_map("a", rising), one_map("b", [[1.0, 2.0, 3.0]])]) is None  # another grid


def test_results_of_checks_lie_in_the_run_and_go_with_it(cam: Cam, run: Path, images: Path) -> None:
    document = cam("check", run, "--json", "--fail-on", "never").document
    left = json.loads((run / "check.json").read_text("utf-8"))
    assert left == {**document, "run_finished": index_of(run)["finished"]}
    build_report(ReportOptions(str(run)))
    assert 'data-tab="checks"' in (run / "report.html").read_text("utf-8")
    # Of another run in the same folder: not shown.
    (run / "check.json").write_text(json.dumps({**left, "run_finished": "2001-01-01T00:00:00Z"}), "utf-8")
    build_report(ReportOptions(str(run)))
    assert 'data-tab="checks"' not in (run / "report.html").read_text("utf-8")
    make_run(images, run, overwrite=True)
    assert not (run / "check.json").exists()


def test_a_run_folder_for_reading_only_fails_no_check(cam: Cam, run: Path) -> None:
    (run / "check.json").mkdir()  # stands in the way, for root as well
    done = cam("check", run, "--set", "suite.min_images=1", "--fail-on", "never")
    assert done.code == 0
    assert "`cam report` will not show these results" in done.err


def test_paths_of_artefacts_are_shared(run: Path, images: Path, tmp_path: Path) -> None:
    drawn = make_run(images, tmp_path / "drawn", save=("overlay", "gray"))
    page = build_report(ReportOptions(str(drawn))).page
    meta = json.loads(re.findall(r'id="meta">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[0])
    for record, item in zip(records_of(page), index_of(drawn)["items"], strict=True):
        for one, row in zip(record["m"], item["maps"], strict=True):
            parts = [meta["files"][number] for number in one["fi"]]
            paths = {kind: f"{start}{record['fs']}.{extension}" for kind, start, extension in parts}
            assert paths == {kind: path for kind, path in row["files"].items() if path}


@pytest.mark.parametrize("scale", ["0:0.5", "sample:2"])
def test_a_run_with_fixed_limits_has_a_page_and_a_command_with_them(
    cam: Cam, samples: Path, tmp_path: Path, scale: str
) -> None:
    done = cam(
        "run", samples, *TINY, "--method", "gradcam,layercam", "--scale", scale, "--output-dir", tmp_path / "run"
    )
    assert done.code == 0, done.err
    assert cam("report", tmp_path / "run").code == 0
    config = index_of(tmp_path / "run")["config"]
    words = flags_of({"scale_limits": {"gradcam": config["scale_limits"]["gradcam"]}}, True)
    low, high = config["scale_limits"]["gradcam"]
    assert words == ["--scale", f"{low:.8g}:{high:.8g}"]


def test_signed_maps_are_drawn_with_their_sign() -> None:
    record = Records(signed=True).map(one_map("gradcam", [[-1.0, 0.0], [0.5, 1.0]]))
    assert list(base64.b64decode(record["h"])) == [0, 128, 191, 255]


def test_against_gives_the_distances_of_cam_diff(cam: Cam, run: Path, images: Path, tmp_path: Path) -> None:
    other = make_run(images, tmp_path / "other", save="none", resize="squash", input_size="32")
    page = build_report(ReportOptions(str(run), against=str(other), output=str(tmp_path / "page.html"))).page
    meta = json.loads(re.findall(r'id="meta">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[0])
    document = cam("diff", other, run, "--json", "--fail-on", "never").document
    number = meta["maps"].index([document["method"], document["layer"]])
    distances = {one["n"]: one["a"]["d"][str(number)] for one in records_of(page) if "a" in one}
    assert document["moved"]
    for moved in document["moved"]:
        wanted = [moved[metric] for metric in ("spearman", "iou", "jsd", "centroid")]
        assert distances[moved["image"]] == pytest.approx(wanted, abs=1e-3)
    assert meta["against"]["name"] == str(other)


def test_one_file_holds_its_pictures(cam: Cam, run: Path, tmp_path: Path) -> None:
    done = cam("report", run, "--self-contained", "--output", tmp_path / "one.html", "--limit", 1)
    assert done.out == f"1 image\ngallery in {tmp_path / 'one.html'}\n"
    gallery = build_report(ReportOptions(str(run), output=str(tmp_path / "one.html"), self_contained=True, limit=3))
    assert [path.name for path in tmp_path.iterdir() if path != run] == ["one.html"]
    page = gallery.page.read_text("utf-8")
    pieces = re.findall(r'class="piece">(.*?)</script>', page, re.DOTALL)
    records = [one for piece in pieces for one in json.loads(piece)]
    assert len(records) == gallery.images == 3
    assert all(one["t"].startswith("data:image/jpeg;base64,") and "o" not in one for one in records)
    assert "data-0001.js" not in page


def test_the_colours_of_a_page_have_the_share_of_heat_in_overlays() -> None:
    plain = np.frombuffer(_colours({}), np.uint8).reshape(256, 4)
    assert (plain[:, 3] == 255).all()
    assert np.array_equal(plain[:, 2::-1], colours("jet"))
    signed = np.frombuffer(_colours({"signed": True, "colormap": "coolwarm"}), np.uint8).reshape(256, 4)
    assert signed[[0, 127, 128, 255], 3].tolist() == [255, 0, 0, 255]
    steep = np.frombuffer(_colours({"signed": True, "colormap": "coolwarm", "gamma": 0.5}), np.uint8).reshape(256, 4)
    assert np.abs(steep[[32, 223], 3].astype(int) - 255 * 0.75**0.5).max() <= 3
