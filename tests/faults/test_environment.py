"""Fault 29: locale, time zone, umask, clocks; and terminals and readers that are not there."""

from __future__ import annotations

import datetime
import os
import re
import time
from pathlib import Path

import pytest

from tests.conftest import index_of, without_notes

from .conftest import TINY, Tiny, pictures, tree
from .forking import Forks
from .processes import cam_process


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = pictures(tmp_path / "phötos 🐈", 2)
    (folder / "0000.jpg").rename(folder / "é 🐈.jpg")
    os.rename(os.fsencode(folder / "0001.png"), os.path.join(os.fsencode(folder), b"\xff.png"))
    (folder / "bad.png").write_bytes(b"no")
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Pacific/Kiritimati"},
        pytest.param(
            {"LANG": "tr_TR.UTF-8", "PYTHONIOENCODING": "latin-1:strict", "TZ": "not/a/zone", "COLUMNS": "7"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["C locale", "odd encoding"],
)
def test_locale_and_time_zone(settings: dict[str, str], tiny: Tiny, photos: Path, tmp_path: Path) -> None:
    assert tiny(photos, "--output-dir", tmp_path / "here").code == 3
    before = int(time.time())
    done = cam_process("run", photos, "--output-dir", tmp_path / "there", *TINY, settings=settings)
    after = time.time()
    assert done.returncode == 3, done.stderr
    assert "3 images: 2 explained, 1 failed" in done.stdout
    assert "failed   bad.png: " in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
    started = index_of(tmp_path / "there")["started"]
    told = datetime.datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp()
    assert before <= told <= after  # UTC, whatever the zone


def test_umask_is_the_users(forks: Forks, photos: Path, tmp_path: Path) -> None:
    for mask, file_mode, folder_mode in ((0o077, 0o600, 0o700), (0o002, 0o664, 0o775), (0o022, 0o644, 0o755)):
        out = tmp_path / f"{mask:o}"
        code, _ = forks.run(("run", photos, "--output-dir", out, *TINY), before=f"import os; os.umask({mask})")
        assert code == 3
        for path in (out, *out.rglob("*")):
            assert path.stat().st_mode & 0o777 == (folder_mode if path.is_dir() else file_mode), path
    assert tree(tmp_path / "77") == tree(tmp_path / "2") == tree(tmp_path / "22")


def test_clocks_that_jump_and_files_of_the_future(
    tiny: Tiny, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny(photos, "--output-dir", tmp_path / "here").code == 3
    for number, path in enumerate(sorted(photos.iterdir())):
        os.utime(path, (number, [0, 4_102_444_800, -86_400][number]))
    jumps = iter(range(10**6))
    true = time.time

    def jumping() -> float:
        return float(true() + (-1) ** next(jumps) * 10**7)

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.fromtimestamp(jumping(), tz)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr("camcli.pipeline.header.datetime", Jumping)
    assert tiny(photos, "--output-dir", tmp_path / "there", "--limit", 1).code == 3
    assert tiny(photos, "--output-dir", tmp_path / "there").code == 3
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
    index = index_of(tmp_path / "there")
    assert index["timing"]["seconds"] >= 0
    assert index["timing"]["images_per_second"] >= 0


def test_a_reader_that_leaves_does_not_stop_the_run(forks: Forks, photos: Path, tmp_path: Path) -> None:
    leave = "import os; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)"
    code, running = forks.run(("run", photos, "--output-dir", tmp_path / "out", *TINY), leave)
    assert code == 3
    assert index_of(tmp_path / "out")["status"] == "complete"
    assert [line for line in without_notes(running.err) if not line.startswith("failed   bad.png")] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_printing_to_a_full_disk_does_not_stop_the_run_but_a_lost_result_is_said(
    forks: Forks, photos: Path, tmp_path: Path
) -> None:
    full = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    code, running = forks.run(("run", photos, "--output-dir", tmp_path / "out", *TINY), full)
    assert code == 3
    assert index_of(tmp_path / "out")["status"] == "complete"
    assert "Traceback" not in running.err
    code, running = forks.run(("run", photos, "--output-dir", tmp_path / "out", "--json", *TINY), full)
    assert code == 1
    assert re.search(r"^cam: .*No space left on device$", running.err, re.MULTILINE)
    assert "Traceback" not in running.err


def test_no_output_at_all(forks: Forks, photos: Path, tmp_path: Path) -> None:
    close = "import os, sys\nfor n in range(3): os.close(n)\nsys.stdin = sys.stdout = sys.stderr = None"
    code, _ = forks.run(("run", photos, "--output-dir", tmp_path / "out", *TINY), close)
    assert code == 3
    index = index_of(tmp_path / "out")
    assert (index["status"], len(index["items"])) == ("complete", 3)
