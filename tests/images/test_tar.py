"""Images in a tar: read in place, however damaged it is."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from camcli.errors import ImageError, SourceError
from camcli.images import Sources, read
from camcli.images.tar_members import Members

from .conftest import write


def archive(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        folder = tarfile.TarInfo("cats")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_tars_are_read_in_place(tree: Path) -> None:
    long = "x" * 180 + "/y.jpg"
    archive(
        tree / "set.tar",
        [("cats/b.jpg", b"B" * 700), ("./a.png", b"A"), ("cats/b.jpg", b"C"), ("t.txt", b""), (long, b"L")],
    )
    sources = Sources(["set.tar"])
    entries = list(sources)
    assert [entry.image for entry in entries] == ["cats/b.jpg", "a.png", "cats/b.jpg#2", long]
    assert [read(entry) for entry in entries] == [b"B" * 700, b"A", b"C", b"L"]
    assert [entry.folder for entry in entries][:2] == ["cats", None]
    assert sources.passed_over == 1
    assert sources.class_folders("set.tar") == ("cats", "x" * 180)


def test_a_cut_tar_gives_what_is_there_and_names_the_rest(tree: Path) -> None:
    whole = archive(tree / "set.tar", [(f"{i}.jpg", bytes([i]) * 2000) for i in range(5)]).read_bytes()
    (tree / "set.tar").write_bytes(whole[:7000])
    results: list[tuple[str, int | str]] = []
    for entry in Sources(["set.tar"]):
        try:
            results.append((entry.image, len(read(entry))))
        except ImageError as error:
            results.append((entry.image, error.kind))
    assert results[:2] == [("0.jpg", 2000), ("1.jpg", 2000)]
    assert results[-1][1] in ("corrupt", "truncated")


def test_a_tar_that_is_replaced_while_it_is_read_is_noticed(tree: Path) -> None:
    archive(tree / "set.tar", [("0.jpg", b"a" * 700), ("1.jpg", b"b" * 700)])
    entries = Sources(["set.tar"])
    first, second = entries
    assert read(first) == b"a" * 700
    archive(tree / "new.tar", [("1.jpg", b"b" * 700), ("0.jpg", b"a" * 700)])
    os.replace(tree / "new.tar", tree / "set.tar")
    with pytest.raises(ImageError, match="the tar was changed or replaced since it was listed"):
        read(second)
    assert [read(entry)[:1] for entry in entries] == [b"b", b"a"]


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_what_is_no_tar_is_refused(tree: Path, content: bytes) -> None:
    write(tree / "set.tar", content)
    with pytest.raises(SourceError, match="tar"):
        next(iter(Sources(["set.tar"])))


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_are_read_as_tarfile_reads_them(tree: Path, kind: int) -> None:
    chance = random.Random(kind)
    with tarfile.open(tree / "set.tar", "w", format=kind, encoding="utf-8") as tar:
        for number in range(100):
            parts = [chance.choice(["a", "d d", "\u00e9", "x" * 40]) for _ in range(chance.randint(1, 6))]
            info = tarfile.TarInfo(f"{'/'.join(parts)}/{number}.jpg")
            info.size, info.mtime = chance.randrange(2000), chance.random() * 1e9
            info.uid = 0 if kind == tarfile.USTAR_FORMAT else chance.choice([0, 3_000_000])
            info.type = chance.choice([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.SYMTYPE])
            if info.type == tarfile.SYMTYPE:
                info.size = 0
            tar.addfile(info, io.BytesIO(chance.randbytes(info.size)))
    with tarfile.open(tree / "set.tar", encoding="utf-8") as tar:
        expected = [(one.name, one.size, one.offset_data, one.type) for one in tar]
    with Members(str(tree / "set.tar")) as members:
        assert [(one.name, one.size, one.offset_data, one.type) for one in members] == expected
