"""Row 29: locale, time zone, umask, clocks; and terminals and readers that are not there."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import index_of

from .conftest import TINY, Tiny, pictures, tree
from .forking import ROOT, Forks
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
        {"LANG": "tr_TR.UTF-8", "PYTHONIOENCODING": "latin-1:strict", "TZ": "not/a/zone", "COLUMNS": "7"},
    ],
    ids=["C locale", "odd encoding"],
)
def test_row_29_locale_and_time_zone(settings: dict[str, str], tiny: Tiny, photos: Path, tmp_path: Path) -> None:
    assert tiny(photos, "--output-dir", tmp_path / "here").code == 3
    done = cam_process("run", photos, "--output-dir", tmp_path / "there", *TINY, settings=settings)
    assert done.returncode == 3, done.stderr
    assert "3 images: 2 explained, 1 failed" in done.stdout
    assert "failed   bad.png: " in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
    started = index_of(tmp_path / "there")["started"]
    told = datetime.datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp()
    assert abs(told - time.time()) < 300  # UTC, whatever the zone


def test_row_29_umask_is_the_users(forks: Forks, photos: Path, tmp_path: Path) -> None:
    for mask, file_mode, folder_mode in ((0o077, 0o600, 0o700), (0o002, 0o664, 0o775), (0o022, 0o644, 0o755)):
        out = tmp_path / f"{mask:o}"
        code, _ = forks.run(("run", photos, "--output-dir", out, *TINY), before=f"import os; os.umask({mask})")
        assert code == 3
        for path in (out, *out.rglob("*")):
            assert path.stat().st_mode & 0o777 == (folder_mode if path.is_dir() else file_mode), path
    assert tree(tmp_path / "77") == tree(tmp_path / "2") == tree(tmp_path / "22")


def test_row_29_clocks_that_jump_and_files_of_the_future(
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
    monkeypatch.setattr("camcli.describe.datetime", Jumping)
    assert tiny(photos, "--output-dir", tmp_path / "there", "--limit", 1).code == 3
    assert tiny(photos, "--output-dir", tmp_path / "there").code == 3
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
    index = index_of(tmp_path / "there")
    assert index["timing"]["seconds"] >= 0
    assert index["timing"]["images_per_second"] >= 0


def _piped(arguments: tuple[object, ...], end: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [
        "bash",
        "-o",
        "pipefail",
        "-c",
        f'"$@" {end}',
        "bash",
        sys.executable,
        "-m",
        "camcli",
        *map(str, arguments),
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, timeout=120)


def test_a_reader_that_leaves_does_not_stop_the_run(photos: Path, tmp_path: Path) -> None:
    pictures(photos, 10, start=20)
    done = _piped(("run", photos, "--output-dir", tmp_path / "out", *TINY), "| head -n 1", tmp_path)
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 1
    assert index_of(tmp_path / "out")["status"] == "complete"
    assert [line for line in done.stderr.splitlines() if not line.startswith("failed   bad.png")] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_printing_to_a_full_disk_does_not_stop_the_run_but_a_lost_result_is_said(photos: Path, tmp_path: Path) -> None:
    done = _piped(("run", photos, "--output-dir", tmp_path / "out", *TINY), "> /dev/full", tmp_path)
    assert done.returncode == 3
    assert index_of(tmp_path / "out")["status"] == "complete"
    assert "Traceback" not in done.stderr
    done = _piped(("run", photos, "--output-dir", tmp_path / "out", "--json", *TINY), "> /dev/full", tmp_path)
    assert done.returncode == 1
    assert re.search(r"^cam: .*No space left on device$", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_no_output_at_all(photos: Path, tmp_path: Path) -> None:
    done = _piped(("run", photos, "--output-dir", tmp_path / "out", *TINY), ">&- 2>&- <&-", tmp_path)
    assert done.returncode == 3
    assert index_of(tmp_path / "out")["status"] == "complete"
