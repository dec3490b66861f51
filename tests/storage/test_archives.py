"""Tars and tables in stores give the items and artefacts of the same files on a disk, transferred once."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from camcli.errors import ImageError, SourceError
from camcli.images import Sources, read
from camcli.pipeline import read_ahead
from camcli.storage import file_system, reading
from tests.conftest import Cam, artefacts, items
from tests.packing import Samples, as_table, as_tars, make_samples, without_source

from .conftest import Upload

FEW = ("--batch-size", 2, "--save", "overlay")


@pytest.fixture(params=("memory://bucket/in", pytest.param("s3://bucket/in", marks=pytest.mark.slow)))
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty folder of a store."""
    url: str = request.param
    request.getfixturevalue("s3" if url.startswith("s3") else "memory")
    return url


@pytest.fixture
def samples_of(photos: Path) -> Samples:
    return make_samples(photos)


@pytest.mark.parametrize("pack", [as_tars, as_table])
def test_items_and_artefacts_are_those_of_local_files(
    tiny: Cam, store: str, upload: Upload, tmp_path: Path, samples_of: Samples, pack: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "packed").mkdir()
    local = pack(tmp_path / "packed", samples_of)
    upload(tmp_path / "packed", store)
    remote = f"{store}/{Path(local).name}"
    assert tiny(local, "-o", tmp_path / "here", *FEW).code == 3
    ranges: list[tuple[str, int, int]] = []
    whole = reading.read_bytes

    def count(url: str, start: int = 0, end: int | None = None, *, size: int | None = None) -> bytes:
        data = whole(url, start, end, size=size)
        ranges.append((url, start, start + len(data)))
        return data

    monkeypatch.setattr(reading, "read_bytes", count)
    monkeypatch.setattr(read_ahead, "read", _refuse_ranges(read_ahead.read) if pack is as_tars else read_ahead.read)
    assert tiny(remote, "-o", tmp_path / "there", *FEW).code == 3
    assert without_source(tmp_path / "there") == without_source(tmp_path / "here")
    assert artefacts(tmp_path / "there") == artefacts(tmp_path / "here")
    assert {item["source"] for item in items(tmp_path / "there")} == {remote}
    if pack is as_tars:
        assert len(ranges) == 3  # of each shard one transfer, though the model was examined with an image before


def _refuse_ranges(read: Any) -> Any:
    def check(entry: Any) -> Any:
        assert entry.problem is not None or entry.member.content is not None, "read by a request of its own"
        return read(entry)

    return check


def test_shards_and_samples(
    tiny: Cam, cam: Cam, store: str, upload: Upload, tmp_path: Path, samples_of: Samples
) -> None:
    (tmp_path / "packed").mkdir()
    local = as_tars(tmp_path / "packed", samples_of)
    upload(tmp_path / "packed", store)
    assert tiny(local, "-o", tmp_path / "here", *FEW).code == 3
    for part in range(2):
        assert tiny(f"{store}/set-*.tar", "-o", tmp_path / "there", *FEW, "--shard", f"{part}/2").code == 3 * part
    assert cam("merge", tmp_path / "there").code == 3
    assert without_source(tmp_path / "there") == without_source(tmp_path / "here")


def test_missing_and_damaged_files_are_named(
    tiny: Cam, store: str, upload: Upload, tmp_path: Path, samples_of: Samples
) -> None:
    (tmp_path / "packed").mkdir()
    as_tars(tmp_path / "packed", samples_of)
    as_table(tmp_path / "packed", samples_of)
    table = tmp_path / "packed" / "set.parquet"
    table.write_bytes(table.read_bytes()[:-200])
    second = tmp_path / "packed" / "set-1.tar"
    second.write_bytes(second.read_bytes()[:-30000])
    upload(tmp_path / "packed", store)
    with pytest.raises(SourceError, match=r"1 of 4 files are not there: \S+/set-3\.tar\. Fetch"):
        Sources([f"{store}/set-{{0..3}}.tar"])
    with pytest.raises(SourceError, match="no file of this name is there"):
        Sources([f"{store}/other.tar"])
    with pytest.raises(SourceError, match="no file matches"):
        Sources([f"{store}/other-*.parquet"])
    with pytest.raises(SourceError, match=r"set\.parquet: not a Parquet file, or cut short"):
        next(iter(Sources([f"{store}/set.parquet"])))
    assert tiny(f"{store}/set-{{0..2}}.tar", "-o", tmp_path / "out", *FEW).code == 3
    failed = {item["image"]: item["error"]["kind"] for item in items(tmp_path / "out") if item["status"] == "failed"}
    assert failed.pop("bad.png") == "not-an-image"
    assert failed.pop("set-1.tar") == "corrupt"
    assert set(failed.values()) == {"truncated"}


def test_artefacts_in_tars(tiny: Cam, cam: Cam, store: str, tmp_path: Path, photos: Path) -> None:
    run, here, there = (photos, *FEW, "--save-to", "tar", "--json"), tmp_path / "here", f"{store}/run"
    assert tiny(*run, "-o", here).document["explained_now"] == 6
    assert tiny(*run, "-o", there).document["explained_now"] == 6
    fs = file_system(there)

    def tars() -> list[bytes]:
        return [fs.cat_file(path) for path in sorted(fs.find(f"{there}/tar"))]

    expected = [path.read_bytes() for path in sorted((here / "tar").iterdir())]
    assert tars() == expected
    assert json.loads(fs.cat_file(f"{there}/index.json"))["items"] == items(here)
    assert tiny(*run, "-o", there).document["explained_now"] == 0
    fs.rm(f"{there}/tar/00000001.tar")
    assert tiny(*run, "-o", there).document["explained_now"] == 2
    assert tars() == expected
    with fs.open(f"{there}/tar/00000002.tar", "wb") as file:
        file.write(expected[2][:-20_000])
    assert tiny(*run, "-o", there).document["explained_now"] == 2
    assert tars() == expected
    assert tiny(photos, *FEW, "-o", there, "--overwrite").code == 0
    assert not fs.find(f"{there}/tar")


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_tar_that_was_replaced_since_it_was_listed_is_changed(memory: None, kind: int) -> None:
    long = f"{'folder/' * 20}1.jpg"  # PAX and GNU have it in a header of its own

    def put(members: list[tuple[str, bytes]]) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=kind) as tar:
            for name, content in members:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        file_system("memory://").pipe_file("memory://bucket/x.tar", packed.getvalue())

    contents = [(name, os.urandom(700)) for name in ("0.jpg", long, "2.jpg")]
    put(contents)
    listed = list(Sources(["memory://bucket/x.tar"]))
    assert [read(entry) for entry in listed] == [content for _, content in contents]
    put([contents[0], contents[2], contents[1]])
    assert read(listed[0]) == contents[0][1]  # where it was, and as it was
    for entry in listed[1:]:
        with pytest.raises(ImageError, match="the tar was changed or replaced since it was listed") as caught:
            read(entry)
        assert caught.value.kind == "changed"
