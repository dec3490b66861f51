"""Fault 13: files that vanish or change while the run goes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import Tiny, pictures
from .test_bad_images import outcome


def test_a_file_vanishes_while_the_run_goes(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = pictures(tmp_path / "photos", 8)
    _when_read(monkeypatch, "0002.png", lambda: (photos / "0006.jpg").unlink(missing_ok=True))
    done = tiny(photos, "--workers", 1, "--batch-size", 2, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert outcome(tmp_path / "out")["0006.jpg"] == "missing"
    assert list(outcome(tmp_path / "out").values()).count("ok") == 7


def test_a_file_is_written_while_it_is_read(tiny: Tiny, tmp_path: Path) -> None:
    """Another thread appends to one file and rewrites one of the same length, at full speed."""
    photos = pictures(tmp_path / "photos", 3)
    large = Image.effect_noise((1500, 1500), 90)
    large.save(photos / "grows.bmp")
    large.save(photos / "rewritten.bmp")
    data = (photos / "rewritten.bmp").read_bytes()
    ended = threading.Event()

    def write() -> None:
        with (photos / "grows.bmp").open("ab", 0) as growing, (photos / "rewritten.bmp").open("r+b", 0) as rewritten:
            for _ in range(2000):
                growing.write(b"x")
                rewritten.seek(0)
                rewritten.write(data[:100])
                if ended.wait(0.0002):
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = tiny(photos, "--output-dir", tmp_path / "out")
    finally:
        ended.set()
        writer.join()
    assert done.code in (0, 3)
    found = outcome(tmp_path / "out")
    assert [found[name] for name in ("0000.jpg", "0001.png", "0002.png")] == ["ok"] * 3
    # Either it was caught, or it was read between two writes and is what it says it is.
    assert {found["grows.bmp"], found["rewritten.bmp"]} <= {"ok", "changed"}


def test_a_change_during_reading_is_named_whatever_the_moment(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(tmp_path / "photos", 4)

    def change() -> None:
        (photos / "0001.png").write_bytes((photos / "0001.png").read_bytes()[:-1])

    _when_read(monkeypatch, "0001.png", change)
    done = tiny(photos, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert outcome(tmp_path / "out") == {"0000.jpg": "ok", "0001.png": "changed", "0002.png": "ok", "0003.jpg": "ok"}
    assert "the file changed while it was read; explain it again with --retry-failed (changed)" in done.err
    monkeypatch.undo()
    assert tiny(photos, "--output-dir", tmp_path / "out").code == 3  # what failed is not tried again unasked
    assert tiny(photos, "--output-dir", tmp_path / "out", "--retry-failed").code == 0


def _when_read(monkeypatch: pytest.MonkeyPatch, name: str, then: Callable[[], None]) -> None:
    """Do something right after the content of a file was read."""
    true_open, true_read = os.open, os.read
    opened: set[int] = set()

    def watching_open(path: Any, *arguments: Any, **more: Any) -> int:
        handle = true_open(path, *arguments, **more)
        (opened.add if os.fspath(path).endswith(name) else opened.discard)(handle)
        return handle

    def watching_read(handle: int, size: int) -> bytes:
        data = true_read(handle, size)
        if handle in opened:
            opened.discard(handle)
            then()
        return data

    monkeypatch.setattr(os, "open", watching_open)
    monkeypatch.setattr(os, "read", watching_read)
