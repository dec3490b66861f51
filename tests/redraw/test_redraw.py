"""`cam render`: the pictures of a run with other settings are those of a run with these settings."""

from __future__ import annotations

import json
import os as system
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camcli.output import Journal, read_header
from tests.conftest import TINY, Cam, artefacts, index_of, items

PNG = ("--image-format", "png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    for i, (name, size) in enumerate({"a.png": (90, 60), "b/c.png": (50, 80), "d.jpg": (64, 64)}.items()):
        pixels = np.random.default_rng(i).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def explain(cam: Cam, photos: Path, out: Path, *flags: object, code: int = 3) -> dict[str, Any]:
    done = cam("run", photos, *TINY, "--resize", "crop", "--output-dir", out, *PNG, *flags)
    assert done.code == code, done.err
    return index_of(out)


def draw(cam: Cam, out: Path, *flags: object, code: int = 0) -> dict[str, Any]:
    done = cam("render", out, *flags, "--json")
    assert done.code == code, done.err
    document: dict[str, Any] = done.document
    return document


OTHER = [
    ("--alpha", "0.2"), ("--colormap", "viridis", "--gamma", "0.5"), ("--signed",),
    ("--signed", "--colormap", "bwr", "--scale", "-1:2"), ("--canvas", "view", "--max-side", "40"),
    ("--scale", "0:0.5"), ("--scale", "sample:2"), ("--scale", "sample:2", "--signed"),
    ("--save", "panel,gray,map"), ("--save", "none"), ("--image-format", "webp", "--quality", "70"),
]  # fmt: skip


@pytest.mark.parametrize("flags", OTHER, ids=" ".join)
def test_it_is_the_same_as_a_run_with_these_settings(
    cam: Cam, photos: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """With raw maps, byte for byte; and such a run then has nothing to do."""
    kinds = flags[1].replace("none", "raw") if "--save" in flags else "overlay,heatmap"
    explain(cam, photos, tmp_path / "out", "--save", "overlay,heatmap,raw", "--target", "top:2")
    draw(cam, tmp_path / "out", *flags)
    others = () if "--save" in flags else flags
    again = ("--save", f"{kinds},raw", "--target", "top:2", *others)
    explain(cam, photos, tmp_path / "expected", *again)
    assert artefacts(tmp_path / "out") == artefacts(tmp_path / "expected")
    one, other = index_of(tmp_path / "out"), index_of(tmp_path / "expected")
    assert one["items"] == other["items"]
    assert one["render_fingerprint"] == other["render_fingerprint"]
    assert one["counts"] == other["counts"]
    before = (tmp_path / "out" / "index.json").read_bytes()
    done = cam("run", photos, *TINY, "--resize", "crop", "--output-dir", tmp_path / "out", *PNG, *again, "--json")
    assert done.document["explained_now"] == 0
    assert json.loads(before)["items"] == index_of(tmp_path / "out")["items"]


def test_without_raw_maps_pictures_differ_by_a_level_at_most(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out", "--save", "overlay")
    draw(cam, tmp_path / "out", "--save", "gray", "--gamma", "1")
    explain(cam, photos, tmp_path / "expected", "--save", "gray")
    found, expected = ([Image.open(p) for p in sorted((tmp_path / n).rglob("*.png"))] for n in ("out", "expected"))
    assert len(found) == len(expected) == 3
    for one, other in zip(found, expected, strict=True):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def test_what_is_not_given_stays(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out", "--colormap", "inferno", "--scale", "0:1")
    draw(cam, tmp_path / "out", "--alpha", "0.9")
    config = index_of(tmp_path / "out")["config"]
    kept = config["colormap"], config["scale"], config["alpha"], config["save"]
    assert kept == ("inferno", "0:1", 0.9, ["overlay", "heatmap"])
    header = read_header(tmp_path / "out")
    assert header is not None
    assert header["config"] == config


def test_the_colours_follow_the_sign_where_they_were_not_chosen(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out")
    for flags, colours in (
        (["--signed"], "coolwarm"), (["--no-signed"], "jet"), (["--colormap", "turbo"], "turbo"),
        (["--signed"], "turbo"), (["--colormap", "bwr"], "bwr"),
    ):  # fmt: skip
        draw(cam, tmp_path / "out", *flags)
        assert index_of(tmp_path / "out")["config"]["colormap"] == colours


def test_other_pictures_take_the_place_of_those_before(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out", "--method", "gradcam,layercam")
    (tmp_path / "out" / "heatmaps" / "mine.txt").write_text("stays")
    draw(cam, tmp_path / "out", "--save", "overlay", "--image-format", "jpg")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"overlays", "heatmaps", "index.json", "index.jsonl"}
    assert [path.name for path in (tmp_path / "out" / "heatmaps").iterdir()] == ["mine.txt"]
    named = {p for row in items(tmp_path / "out") for one in row["maps"] for p in one["files"].values() if p}
    assert named == {p for p in artefacts(tmp_path / "out") if p.startswith("overlays/")}
    assert len(named) == 6


def test_pictures_of_a_run_without_any_are_where_a_run_puts_them(cam: Cam, photos: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    shutil.copytree(photos / "b", more)
    for name, flags in (
        ("plain", ()), ("targets", ("--target", "top:2")), ("classes", ("--target", "1,2")), ("sources", (more,)),
        ("methods", ("--method", "gradcam,fullgrad", "--layer", "features", "--layer", "features.0")),
    ):  # fmt: skip
        explain(cam, photos, tmp_path / name, "--save", "none", *flags)
        draw(cam, tmp_path / name, "--save", "overlay,heatmap")
        explain(cam, photos, tmp_path / f"{name}-expected", *flags)
        assert artefacts(tmp_path / name).keys() == artefacts(tmp_path / f"{name}-expected").keys()
        assert artefacts(tmp_path / name)


def test_originals_that_are_gone_or_changed_are_named_and_keep_their_pictures(
    cam: Cam, photos: Path, tmp_path: Path
) -> None:
    explain(cam, photos, tmp_path / "out")
    before = artefacts(tmp_path / "out")
    (photos / "a.png").unlink()
    Image.new("RGB", (64, 64)).save(photos / "d.jpg")
    (photos / "aa.png").write_bytes((photos / "b" / "c.png").read_bytes())
    document = draw(cam, tmp_path / "out", "--alpha", "0.1", code=3)
    assert [(one["image"], one["kind"]) for one in document["kept"]] == [("a.png", "missing"), ("d.jpg", "changed")]
    assert document["counts"] == {"images": 4, "drawn": 1, "kept": 2, "failed": 1}
    assert document["exit_code"] == 3
    after = artefacts(tmp_path / "out")
    changed = {path for path in before if before[path] != after[path]}
    assert before.keys() == after.keys()
    assert changed == {"overlays/gradcam/b/c.png.png"}, "a heatmap does not change with the share of heat"
    notes = {row["image"]: row["notes"] for row in items(tmp_path / "out") if row["status"] == "ok"}
    earlier = ["its pictures are of earlier settings, since its original was not there as it was"]
    assert notes == {"a.png": earlier, "b/c.png": [], "d.jpg": earlier}
    shown = cam("render", tmp_path / "out", "--alpha", "0.1")
    assert "kept     a.png: its original is not there any more (missing)" in shown.err
    quiet = cam("render", tmp_path / "out", "--quiet")
    assert quiet.err == (
        "cam: 2 of 4 images keep their pictures; the first: a.png: its original is not there any more. A `cam run` "
        "with the new settings explains them again. To draw them, put the originals back and repeat this command.\n"
    )
    assert quiet.out == ""


def test_an_image_that_kept_its_pictures_gets_all_of_them_later(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out", "--save", "overlay,heatmap,raw")
    (photos / "a.png").rename(tmp_path / "a.png")
    draw(cam, tmp_path / "out", "--colormap", "viridis", code=3)
    (tmp_path / "a.png").rename(photos / "a.png")
    draw(cam, tmp_path / "out", "--alpha", "0.2")
    explain(
        cam, photos, tmp_path / "expected", "--save", "overlay,heatmap,raw", "--colormap", "viridis", "--alpha", "0.2"
    )
    assert artefacts(tmp_path / "out") == artefacts(tmp_path / "expected")
    assert items(tmp_path / "out") == items(tmp_path / "expected")


def test_where_nothing_can_be_drawn_all_stays_as_it_is(cam: Cam, photos: Path, tmp_path: Path) -> None:
    """The settings that the run recorded are those of its pictures; the same command draws them later."""
    explain(cam, photos, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    photos.rename(tmp_path / "moved")
    document = draw(cam, tmp_path / "out", "--colormap", "viridis", code=3)
    assert document["counts"] == {"images": 4, "drawn": 0, "kept": 3, "failed": 1}
    assert document["settings_recorded"] is False
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    shown = cam("render", tmp_path / "out", "--colormap", "viridis")
    assert shown.err.splitlines()[-1] == (
        "cam: 3 of 4 images keep their pictures. No image could be drawn, and the run keeps its settings. "
        "To draw them, put the originals back and repeat this command."
    )
    (tmp_path / "moved").rename(photos)
    assert draw(cam, tmp_path / "out", "--colormap", "viridis")["settings_recorded"] is True
    explain(cam, photos, tmp_path / "expected", "--colormap", "viridis")
    assert index_of(tmp_path / "out")["render_fingerprint"] == index_of(tmp_path / "expected")["render_fingerprint"]


def test_a_stopped_start_is_still_known_where_nothing_can_be_drawn(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out")
    (tmp_path / "out" / ".cam.redraw").write_text("[]")
    photos.rename(tmp_path / "moved")
    draw(cam, tmp_path / "out", "--colormap", "viridis", code=3)
    assert (tmp_path / "out" / ".cam.redraw").exists()


def test_a_run_explains_again_what_could_not_be_drawn(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out")
    (photos / "a.png").rename(tmp_path / "a.png")
    draw(cam, tmp_path / "out", "--colormap", "viridis", code=3)
    (tmp_path / "a.png").rename(photos / "a.png")
    flags = ("--resize", "crop", "--output-dir", tmp_path / "out", *PNG, "--colormap", "viridis", "--json")
    assert cam("run", photos, *TINY, *flags).document["explained_now"] == 1
    explain(cam, photos, tmp_path / "expected", "--colormap", "viridis")
    name = "overlays/gradcam/a.png.png"
    assert artefacts(tmp_path / "out")[name] == artefacts(tmp_path / "expected")[name]
    assert not any("earlier settings" in note for row in items(tmp_path / "out") for note in row["notes"])
    assert cam("run", photos, *TINY, *flags).document["explained_now"] == 0


def test_inputs_that_were_reordered_are_found(cam: Cam, photos: Path, tmp_path: Path) -> None:
    names = [str(photos / name) for name in ("a.png", "b/c.png", "d.jpg")]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(names))
    explain(cam, Path(f"@{listed}"), tmp_path / "out", code=0)
    before = [row["image"] for row in items(tmp_path / "out")]
    listed.write_text("\n".join(reversed(names)))
    assert draw(cam, tmp_path / "out", "--alpha", "0.1")["counts"]["drawn"] == 3
    assert [row["image"] for row in items(tmp_path / "out")] == before


def test_a_sample_prints_its_range(cam: Cam, photos: Path, tmp_path: Path) -> None:
    done = cam("run", photos, *TINY, "--output-dir", tmp_path / "out", "--scale", "sample:2")
    low, high = index_of(tmp_path / "out")["config"]["scale_limits"]["gradcam"]
    line = f"scale    gradcam: raw values from {low:.4g} to {high:.4g} (as --scale {low:.4g}:{high:.4g})"
    assert line in done.out.splitlines()
    again = cam("render", tmp_path / "out", "--alpha", "0.3")
    assert line in again.out.splitlines()


def test_what_it_refuses(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(tmp_path / "out", unfinished)
    (unfinished / "index.json").unlink()
    for flags, words in (
        ((tmp_path / "none",), "none: no such run folder"), ((tmp_path,), "neither index.json nor index.jsonl"),
        ((photos / "a.png",), "a.png is no folder"), ((unfinished,), "no run has ended there"),
        ((tmp_path / "out", "--save", "raw"), "--overwrite"),
        ((tmp_path / "out", "--colormap", "viridsi"), "Did you mean viridis"),
        ((tmp_path / "out", "--alpha", "2"), "between 0 and 1"), ((tmp_path / "out", "--method", "x"), "--method"),
    ):  # fmt: skip
        done = cam("render", *flags)
        assert done.code == 2, flags
        assert words in done.err
    assert not (tmp_path / "out" / ".cam.redraw").exists()


def test_settings_of_a_file_that_are_no_pictures_are_left_alone(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out")
    (tmp_path / "look.toml").write_text('alpha = 0.3\nmethod = "layercam"\n')
    draw(cam, tmp_path / "out", "--config", tmp_path / "look.toml")
    config = index_of(tmp_path / "out")["config"]
    assert (config["alpha"], config["method"]) == (0.3, ["gradcam"])


def test_the_table_names_the_new_pictures(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out", "--csv", tmp_path / "t.csv")
    draw(cam, tmp_path / "out", "--save", "panel")
    table = (tmp_path / "t.csv").read_text()
    assert "panels/gradcam/a.png.png" in table
    assert "overlays/" not in table


def test_raw_maps_stay(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out", "--save", "overlay,raw")
    done = cam("render", tmp_path / "out", "--save", "heatmap")
    assert "note     the raw maps that the run saved stay" in done.err
    assert index_of(tmp_path / "out")["config"]["save"] == ["heatmap", "raw"]
    assert len(list((tmp_path / "out" / "raw").rglob("*.npy"))) == 3


def test_a_damaged_raw_map_is_replaced_by_the_index(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out", "--save", "gray,raw")
    before = artefacts(tmp_path / "out")
    (tmp_path / "out" / "raw" / "gradcam" / "a.png.npy").write_bytes(b"damaged")
    draw(cam, tmp_path / "out")
    after = artefacts(tmp_path / "out")
    assert {p for p in before if before[p] != after[p]} <= {"raw/gradcam/a.png.npy", "gray/gradcam/a.png.png"}


def test_a_map_of_many_cells_says_that_it_is_drawn_from_fewer(cam: Cam, photos: Path, tmp_path: Path) -> None:
    index = explain(cam, photos, tmp_path / "out", "--method", "fullgrad")
    assert index["items"][0]["maps"][0]["native"]["reduced"]
    draw(cam, tmp_path / "out")
    draw(cam, tmp_path / "out")
    notes = [row["notes"] for row in items(tmp_path / "out") if row["status"] == "ok"]
    assert notes == [["drawn again from a copy of its map with fewer cells"]] * 3


def test_a_folder_in_use_is_left_alone(cam: Cam, photos: Path, tmp_path: Path) -> None:
    from camcli.output.lock import RunLock

    explain(cam, photos, tmp_path / "out")
    with RunLock(tmp_path / "out"):
        done = cam("render", tmp_path / "out")
    assert done.code == 1
    assert "is being written by process" in done.err


def test_torch_is_not_imported(cam: Cam, photos: Path, tmp_path: Path) -> None:
    explain(cam, photos, tmp_path / "out")
    code = (
        "import sys; from camcli.redraw import redraw; "
        f"done = redraw({str(tmp_path / 'out')!r}, {{'alpha': 0.1}}); print(done.drawn, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False"]


class Killed(BaseException):
    """The end of the process."""


def test_killed_at_any_instant_it_can_be_repeated(
    cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every file that is put in place or removed: the index names files that are there, `cam run` refuses, and
    the same command makes the folder whole.
    """
    from camcli.redraw import redraw

    flags = {"save": ("overlay", "panel"), "image_format": "jpg", "workers": "1"}
    explain(cam, photos, tmp_path / "start")
    shutil.copytree(tmp_path / "start", tmp_path / "expected")
    redraw(tmp_path / "expected", flags)
    counted = [0]
    plain_replace, plain_unlink = system.replace, system.unlink

    def limited(allowed: int) -> None:
        counted[0] = 0

        def ended() -> bool:
            counted[0] += 1
            return counted[0] > allowed

        def replace(*names: Any) -> None:
            if ended():
                raise Killed
            plain_replace(*names)

        def unlink(path: Any, **more: Any) -> None:
            if str(path).endswith(".lock"):  # the system's own lock ends with the process
                plain_unlink(path, **more)
                return
            if ended():
                raise Killed
            plain_unlink(path, **more)

        monkeypatch.setattr("os.replace", replace)
        monkeypatch.setattr("os.unlink", unlink)

    limited(10**9)
    shutil.copytree(tmp_path / "start", tmp_path / "counting")
    redraw(tmp_path / "counting", flags)
    steps = counted[0]
    assert steps > 10
    for allowed in range(steps):
        out = tmp_path / f"killed-{allowed}"
        shutil.copytree(tmp_path / "start", out)
        limited(allowed)
        with pytest.raises(Killed):
            redraw(out, flags)
        limited(10**9)
        for row in items(out):
            assert all((out / path).is_file() for path in row["sizes"])
        marked = (out / ".cam.redraw").exists()
        assert marked == (allowed > 0)
        if marked:
            done = cam("run", photos, *TINY, "--resize", "crop", "--output-dir", out, *PNG)
            assert done.code == 2
            assert "`cam render` of this folder was stopped" in done.err
        redraw(out, flags)
        assert artefacts(out) == artefacts(tmp_path / "expected")
        assert items(out) == items(tmp_path / "expected")
        with Journal.open(out, index_of(out)) as journal:  # type: ignore[arg-type]
            assert len(journal.offsets()) == 4
        shutil.rmtree(out)


def test_names_of_any_bytes(cam: Cam, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, name in enumerate((b"\xff\xfe.png", "línea\nnueva.png".encode(), b"x" * 251 + b".png", b"50%2F.png")):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "plain.png")
        system.rename(folder / "plain.png", system.fsencode(folder) + b"/" + name)
    explain(cam, folder, tmp_path / "out", "--save", "overlay,raw", code=0)
    assert draw(cam, tmp_path / "out", "--save", "heatmap,panel", "--alpha", "0.1")["counts"]["drawn"] == 4
    explain(cam, folder, tmp_path / "expected", "--save", "heatmap,panel,raw", "--alpha", "0.1", code=0)
    assert artefacts(tmp_path / "out") == artefacts(tmp_path / "expected")
    assert items(tmp_path / "out") == items(tmp_path / "expected")


def test_a_name_that_is_no_text_is_printed_as_by_the_run(
    cam: Cam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    bad = system.fsdecode(system.fsencode(folder) + b"/bad\xff.png")
    Image.new("RGB", (50, 40), "red").save(folder / "plain.png")
    system.rename(folder / "plain.png", bad)
    said = cam("run", folder, *TINY, "--output-dir", tmp_path / "out")
    assert "bad?.png" in said.out
    system.rename(bad, tmp_path / "gone.png")
    assert "kept     bad?.png: " in cam("render", tmp_path / "out").err
    sheet = cam("report", tmp_path / "out", "--sheet", tmp_path / "s.png")
    assert sheet.err == "note: originals that are not there as they were, grey in the sheet: bad?.png\n"


def test_paths_from_standard_input_are_those_of_where_the_run_was_started(
    cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.chdir(tmp_path)
    lines = "photos/a.png\nphotos/b/c.png\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    explain(cam, Path("-"), Path("out"), "--save", "none", code=0)
    monkeypatch.chdir("/")
    document = draw(cam, tmp_path / "out", "--save", "overlay")
    assert document["counts"]["drawn"] == 2


def test_a_disk_that_fails_ends_it_with_a_message_and_the_same_command_continues(
    cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain(cam, photos, tmp_path / "out")
    plain = system.replace
    counted = [0]

    def full(*names: Any) -> None:
        counted[0] += 1
        if counted[0] == 4:
            raise OSError(28, "No space left on device")
        plain(*names)

    monkeypatch.setattr("os.replace", full)
    done = cam("render", tmp_path / "out", "--alpha", "0.1")
    assert done.code == 1
    assert "No space left on device. Free some space" in done.err
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert draw(cam, tmp_path / "out", "--alpha", "0.1")["counts"]["drawn"] == 3
