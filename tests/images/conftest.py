"""The tree of files that the tests of sources look at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from camcli.images import Entry, Sources


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/{b.jpg, a/x.jpg, a/x.png, a/deep/y.JPG, notes.txt, z.jpg/inside.png}; the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a/x.jpg", "a/x.png", "a/deep/y.JPG", "notes.txt", "z.jpg/inside.png"):
        write(tmp_path / "photos" / name)
    return tmp_path


def write(path: Path, content: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode(path.name) if content is None else content)
    return path


def images(*paths: str, **options: Any) -> list[str]:
    return [entry.image for entry in Sources(paths, **options)]


def only(*paths: str, **options: Any) -> Entry:
    (entry,) = Sources(paths, **options)
    return entry


ALL = ["a/deep/y.JPG", "a/x.jpg", "a/x.png", "b.jpg", "z.jpg/inside.png"]
