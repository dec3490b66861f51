"""Faults 16 and 17: a disk that is full, a folder that cannot be written, an encoder that fails."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.conftest import index_of, without_notes
from tests.output.faults import fail_at, needs_tmpfs, small_disk

from .conftest import TINY, Tiny, pictures, tree
from .forking import Forks
from .processes import as_ordinary_user


# For a disk that is full once, tests/output/test_survival.py does the same without a model.
@pytest.mark.parametrize("forever", [pytest.param(False, marks=pytest.mark.slow), True], ids=["once", "from then on"])
def test_no_space_at_the_kth_write_for_every_k(forever: bool, tiny: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    command = (photos, "--workers", 1, "--save", "overlay", "--csv", tmp_path / "table.csv", "--output-dir")
    assert tiny(*command, tmp_path / "whole").code == 0
    whole = tree(tmp_path / "whole")
    harmless = 0
    for number in range(500):
        out = tmp_path / str(number)
        with fail_at(number, errno.ENOSPC, forever=forever, calls=("write", "mkdir", "replace")) as failed:
            done = tiny(*command, out)
        if done.code == 0:
            harmless += 1  # a folder that is there already need not be made
        else:
            assert done.code == 1, (number, failed, done.err)
            assert re.search(rf"cannot write (--csv )?{re.escape(str(tmp_path))}", done.err)
            assert "No space left on device. Free some space and repeat the same command" in done.err
        for name, data in (tree(out) if out.exists() else {}).items():
            if name in whole and not name.startswith("index"):
                assert data == whole[name]  # complete, or not there
        again = tiny(*command, out)
        assert again.code == 0, again.err
        assert tree(out) == whole
        shutil.rmtree(out)
        if not failed:
            assert number > 12
            assert harmless < 8
            return
    pytest.fail("the run never ended")


@needs_tmpfs
def test_a_real_full_disk_then_more_space(forks: Forks, tmp_path: Path) -> None:
    photos, disk = pictures(tmp_path / "photos", 40), tmp_path / "disk"
    command = ("run", photos, "--batch-size", 4, "--save", "overlay,panel,raw", *TINY, "--output-dir")
    assert forks.run((*command, tmp_path / "whole"))[0] == 0
    disk.mkdir()
    with small_disk(disk, "4m"):  # twice as many images as are in flight, so that some have rows
        code, running = forks.run((*command, disk / "out"))
        assert code == 1
        assert f"cam: cannot write {disk}" in running.err
        assert "No space left on device. Free some space and repeat the same command" in running.err
        assert len(without_notes(running.err)) == 1
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        code, running = forks.run((*command, disk / "out"))
        assert code == 0
        assert "of them were there already" in running.out
        assert tree(disk / "out") == tree(tmp_path / "whole")


@needs_tmpfs
def test_a_disk_that_is_full_from_the_start(forks: Forks, tmp_path: Path) -> None:
    photos, disk = pictures(tmp_path / "photos", 2), tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, "64k"):
        (disk / "filling").write_bytes(b"x" * 65536)
        code, running = forks.run(("run", photos, "--output-dir", disk / "out", *TINY))
    assert code == 1
    assert running.err.startswith(f"cam: cannot write {disk}/out")


def test_a_folder_that_cannot_be_written(forks: Forks, tmp_path: Path) -> None:
    photos, locked = pictures(tmp_path / "photos", 2), tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    code, done = forks.run(("run", photos, "--output-dir", locked / "out", *TINY), as_ordinary_user())
    assert code == 1
    expected = f"cam: cannot write {locked / 'out'}: Permission denied. Check its permissions, or choose another"
    assert done.err.startswith(expected)
    assert "Traceback" not in done.err


def test_another_file_in_the_place_of_the_run_folder(tiny: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    (tmp_path / "file").write_bytes(b"mine")
    done = tiny(photos, "--output-dir", tmp_path / "file")
    assert done.code == 1
    assert str(tmp_path / "file") in done.err
    assert "Something that is no folder stands in its way" in done.err
    assert (tmp_path / "file").read_bytes() == b"mine"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "overlays").write_bytes(b"mine too")
    done = tiny(photos, "--output-dir", tmp_path / "out")
    assert done.code == 1
    assert str(tmp_path / "out" / "overlays") in done.err
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "index.jsonl").write_bytes(b"something else\n")
    done = tiny(photos, "--output-dir", tmp_path / "foreign")
    assert done.code == 2
    assert "was not written by cam" in done.err
    assert (tmp_path / "foreign" / "index.jsonl").read_bytes() == b"something else\n"


@pytest.mark.parametrize("how", ["returns failure", "raises", "gives nothing"])
def test_an_encoder_that_fails_on_one_picture(
    how: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(tmp_path / "photos", 5)
    true, calls = cv2.imencode, []

    def failing(name: str, picture: Any, parameters: Any) -> tuple[bool, Any]:
        calls.append(name)
        if len(calls) != 3:
            return true(name, picture, parameters)
        if how == "raises":
            raise cv2.error("encoder broken")
        return how == "gives nothing", None if how == "returns failure" else b""

    monkeypatch.setattr(cv2, "imencode", failing)
    done = tiny(photos, "--workers", 1, "--save", "raw,overlay", "--output-dir", tmp_path / "out")
    assert done.code == 3
    failed = [item for item in index_of(tmp_path / "out")["items"] if item["status"] == "failed"]
    assert [item["image"] for item in failed] == ["0002.png"]
    assert failed[0]["error"]["message"] == (
        "the jpg encoder failed on a 96×72 picture. Try another --image-format, or --max-side."
    )
    assert failed[0]["bytes"] == (photos / "0002.png").stat().st_size
    assert not list((tmp_path / "out").rglob("0002.png.*"))  # nothing of it was left
    monkeypatch.undo()
    assert (
        tiny(photos, "--workers", 1, "--save", "raw,overlay", "--output-dir", tmp_path / "out", "--retry-failed").code
        == 0
    )


def test_a_picture_too_large_for_its_format(tiny: Tiny, tmp_path: Path) -> None:
    from PIL import Image

    photos = pictures(tmp_path / "photos", 2)
    Image.new("L", (17000, 20), 90).save(photos / "wide.png")  # WebP ends at 16383
    done = tiny(photos, "--image-format", "webp", "--max-side", 0, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert "failed   wide.png: the webp encoder failed on a 17000×20 picture. Try another --image-format" in done.err
    assert index_of(tmp_path / "out")["counts"]["ok"] == 2
