"""Faults 10, 11 and 12: names that collide, that nothing can show, that lead elsewhere; links that lead in circles."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import index_of

from .conftest import TINY, Tiny, picture, pictures
from .forking import Forks
from .processes import as_ordinary_user


def test_names_that_look_alike_give_separate_artefacts(tiny: Tiny, tmp_path: Path) -> None:
    names = ["a/x.jpg", "b/x.jpg", "a/x.png", "a/x.JPG", "a/x.jpg.png"]
    photos = tmp_path / "photos"
    for number, name in enumerate(names):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(photos / name)
    done = tiny(photos, "--save", "overlay,heatmap,gray,raw", "--output-dir", tmp_path / "out")
    assert done.code == 0, done.err
    items = index_of(tmp_path / "out")["items"]
    assert {item["image"] for item in items} == set(names)
    files = [path for item in items for path in item["maps"][0]["files"].values() if path]
    assert len({path.casefold() for path in files}) >= 5 * 4 - 4  # a disk that ignores case has x.jpg and x.JPG as one
    assert len(set(files)) == 5 * 4
    assert all((tmp_path / "out" / path).is_file() for path in files)


STRANGE = [
    "with space.png", "quote'\"s.png", "new\nline.png", "tab\there.png", "🐈 emoji.png", "back\\slash.png",
    "%41.png", "-dash.png", "semi;colon&.png", "é combining e\u0301.png", "right\u202eto left.png",
    "n" * 251 + ".png", "€" * 83 + ".png", ".hidden.png", "trailing .png", "CON.png",
    "a" * 200 + "/" + "b" * 200 + ".png",
]  # fmt: skip
NOT_UTF8 = b"caf\xe9 \xff.png"


def test_names_with_any_bytes_round_trip(tiny: Tiny, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, name in enumerate(STRANGE):
        (photos / name).parent.mkdir(exist_ok=True)
        picture(number).save(photos / name, "PNG")
    picture(50).save(tmp_path / "plain.png")
    os.rename(os.fsencode(tmp_path / "plain.png"), os.path.join(os.fsencode(photos), NOT_UTF8))
    done = tiny(
        photos, "--save", "overlay,raw", "--csv", tmp_path / "t.csv", "--verbose", "--output-dir", tmp_path / "out"
    )
    assert done.code == 0, done.err
    assert "new?line.png" in done.out
    assert "\u202e" not in done.out
    items = index_of(tmp_path / "out")["items"]
    names = {os.fsdecode(base64.b64decode(i["image_b64"])) if "image_b64" in i else i["image"] for i in items}
    assert names == {*STRANGE, os.fsdecode(NOT_UTF8)}
    odd = [item for item in items if "image_b64" in item]
    assert len(odd) == 1
    assert odd[0]["image"] == "caf\ufffd \ufffd.png"
    files = [path for item in items for path in item["maps"][0]["files"].values() if path]
    assert len(set(files)) == 2 * len(items)
    for path in files:
        assert (tmp_path / "out" / path).is_file()
        assert all(len(part.encode()) <= 255 for part in path.split("/"))
    # The same command finds all of them done.
    again = tiny(
        photos, "--save", "overlay,raw", "--csv", tmp_path / "t.csv", "--json", "--output-dir", tmp_path / "out"
    )
    assert (again.code, again.document["explained_now"]) == (0, 0)


def test_manifest_paths_never_leave_the_run_folder(tiny: Tiny, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    photos = pictures(tmp_path / "photos", 3)
    rows = [
        "../photos/0000.jpg",
        str(photos / "0001.png"),
        "./../photos/../photos/0002.png",
        "../../../../etc/passwd",
        "",
    ]
    (lists / "m.jsonl").write_text("".join(json.dumps({"image": row}) + "\n" for row in rows if row))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    done = tiny(lists / "m.jsonl", "--save", "overlay,raw", "--output-dir", tmp_path / "out" / "run")
    assert done.code == 3
    items = index_of(tmp_path / "out" / "run")["items"]
    assert [item["image"] for item in items] == rows[:4]
    assert [item["status"] for item in items] == ["ok", "ok", "ok", "failed"]
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all((tmp_path / "out" / "run") in path.parents for path in after - before)
    (lists / "bad.csv").write_text("image\n\n" + rows[0] + "\n" + '"   "\n')
    refused = tiny(lists / "bad.csv", "--output-dir", tmp_path / "other")
    assert refused.code == 2
    assert "line 4: `image` is empty" in refused.err


def test_a_run_folder_and_a_source_with_a_name_that_is_not_utf8(tiny: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / os.fsdecode(b"in\xfe"), 2)
    out = tmp_path / os.fsdecode(b"out\xfe\n")
    for expected in (2, 0):
        done = tiny(photos, "--output-dir", out)
        assert done.code == 0, done.err
        assert f"{expected} of them were there already" not in done.out or expected == 2
    assert len(index_of(out)["items"]) == 2
    done = tiny(photos, "--output-dir", out, "--colormap", "hot")
    assert done.code == 2
    assert "jet" in done.err


def test_symbolic_link_loops_terminate(tiny: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    pictures(photos / "deep" / "deeper", 1, start=5)
    (photos / "deep" / "up").symlink_to(photos)
    (photos / "deep" / "deeper" / "self").symlink_to(".")
    (photos / "round").symlink_to("round")
    (photos / "round.png").symlink_to("round.png")
    for n in range(6):  # every one of these leads to all others
        (photos / f"ring{n}").mkdir()
        for m in range(6):
            (photos / f"ring{n}" / f"to{m}").symlink_to(photos / f"ring{m}")
    done = tiny(photos, "--output-dir", tmp_path / "out")
    assert done.code == 3
    items = index_of(tmp_path / "out")["items"]
    assert [item["image"] for item in items if item["status"] == "ok"] == [
        "0000.jpg",
        "0001.png",
        "deep/deeper/0005.png",
    ]
    assert [item["image"] for item in items if item["status"] == "failed"] == ["round.png"]


@pytest.mark.parametrize("where", ["out", "deep/er/out", "linked"])
def test_output_inside_input_is_never_explained(where: str, tiny: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 3)
    if where == "linked":
        (tmp_path / "real").mkdir()
        (photos / "linked").symlink_to(tmp_path / "real")
    out = photos / where
    for method in ("gradcam", "gradcam"):
        done = tiny(photos, "--method", method, "--save", "overlay,heatmap,panel", "--output-dir", out)
        assert done.code == 0
        assert [item["image"] for item in index_of(out)["items"]] == ["0000.jpg", "0001.png", "0002.png"]
    other = photos / "another"  # nor is the output of another run
    assert tiny(photos, "--method", "layercam", "--output-dir", other).code == 0
    assert len(index_of(other)["items"]) == 3
    refused = tiny(out / "overlays", "--output-dir", out)
    assert refused.code == 2
    assert "lies in the run folder" in refused.err


def test_a_read_only_input_folder_and_a_very_long_path(forks: Forks, tmp_path: Path) -> None:
    deep = tmp_path / "photos" / "/".join("d" * 60 + str(n) for n in range(6))
    pictures(deep, 2)
    assert len(str(deep)) > 300
    for folder in (deep, tmp_path / "photos"):
        folder.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    out = tmp_path / "out" / deep.relative_to(tmp_path)
    code, done = forks.run(("run", tmp_path / "photos", "--output-dir", out, *TINY), as_ordinary_user())
    for folder in (tmp_path / "photos", deep):
        folder.chmod(0o755)
    assert code == 0, done.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    items = index_of(out)["items"]
    assert len(items) == 2
    shutil.rmtree(tmp_path / "out")
