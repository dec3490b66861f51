"""Reading one input: its bytes, or why there are none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from camcli.errors import ImageError
from camcli.images import Sources, read

from .conftest import write


@contextmanager
def not_root() -> Iterator[None]:
    """Root may read everything, so be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_named(tree: Path) -> None:
    tree.chmod(0o755)
    (tree / "photos/b.jpg").chmod(0)
    (tree / "photos/a").chmod(0)
    kinds = {}
    with not_root():
        for entry in Sources(["photos"]):
            try:
                read(entry)
            except ImageError as error:
                kinds[entry.image] = error.kind
    (tree / "photos/a").chmod(0o755)
    assert kinds == {"a": "unreadable", "b.jpg": "unreadable"}


def test_a_file_that_vanishes_or_changes_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {entry.image: entry for entry in Sources(["photos"])}
    (tree / "photos/b.jpg").unlink()
    with pytest.raises(ImageError) as caught:
        read(entries["b.jpg"])
    assert caught.value.kind == "missing"

    file, really_read = tree / "photos/a/x.jpg", os.read

    def growing(handle: int, length: int) -> bytes:
        with file.open("ab") as more:
            more.write(b"more")
        return really_read(handle, length)

    monkeypatch.setattr(os, "read", growing)
    with pytest.raises(ImageError) as caught:
        read(entries["a/x.jpg"])
    assert caught.value.kind == "changed"


def test_what_cannot_be_read_says_why(tree: Path) -> None:
    write(tree / "empty.jpg", b"")
    write(tree / "l.txt", b"photos\nempty.jpg\nzero\0byte.jpg\n" + b"y" * 300 + b".jpg\nempty.jpg/x.jpg\n")
    kinds = []
    for entry in Sources(["@l.txt"]):
        with pytest.raises(ImageError) as caught:
            read(entry)
        kinds.append(caught.value.kind)
    assert kinds == ["unreadable", "empty", "missing", "missing", "missing"]
