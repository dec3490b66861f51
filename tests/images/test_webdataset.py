"""Tars of WebDataset: samples with labels, shards named by a pattern, each byte read once."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import webdataset

from camcli.errors import SourceError
from camcli.images import Sampler, Sources, read, tar_members
from camcli.images.entry import TarMember
from camcli.images.tar import is_compressed_tar

from .test_tar import archive


def write_shards(folder: Path, count: int, samples: int) -> None:
    """Shards as the library writes them: an image, its class and an object with more of it in each sample."""
    for shard in range(count):
        with webdataset.TarWriter(str(folder / f"train-{shard:04d}.tar")) as sink:
            for number in range(samples):
                key = f"{shard}-{number}"
                sink.write({"__key__": key, "jpg": key.encode(), "cls": shard * 10 + number, "json": {"label": "no"}})


def test_a_pattern_names_shards_and_the_class_is_in_the_sample(tree: Path) -> None:
    write_shards(tree, 3, 2)
    for typed in ("train-{0000..0002}.tar", "train-*.tar", "train-000{0,1,2}.tar", "{train-0000,train-000[12]}.tar"):
        sources = Sources([typed])
        entries = list(sources)
        assert [entry.image for entry in entries] == [f"{s}-{n}.jpg" for s in range(3) for n in range(2)]
        assert [entry.label for entry in entries] == ["0", "1", "10", "11", "20", "21"]
        assert [read(entry).decode() for entry in entries] == [entry.image[:-4] for entry in entries]
        assert {entry.source for entry in entries} == {typed}
        assert (sources.passed_over, sources.count()) == (0, 6)


@pytest.mark.parametrize(
    ("members", "labels"),
    [
        ([("a.jpg", b"x"), ("a.cls", b"7\n")], ["7"]),
        ([("a.cls", b"tabby cat"), ("a.jpg", b"x")], ["tabby cat"]),
        ([("a.jpg", b"x"), ("a.json", b'{"caption": "c", "label": 3}'), ("a.cls", b"4")], ["4"]),
        ([("a.jpg", b"x"), ("a.json", b'{"class": "tabby"}')], ["tabby"]),
        ([("a.jpg", b"x"), ("a.json", b'{"target": 2.0, "cls": null}')], ["2"]),
        ([("a.jpg", b"x"), ("a.json", b'{"label": true, "category": [1]}')], [None]),
        ([("a.jpg", b"x"), ("a.json", b"[1, 2]")], [None]),
        ([("a.jpg", b"x"), ("a.json", b"{no json"), ("b.jpg", b"y"), ("b.cls", b"\xff\xfe")], [None, None]),
        ([("d/a.left.jpg", b"x"), ("d/a.right.jpg", b"y"), ("d/a.cls", b"5")], ["5", "5"]),
        ([("d/a.jpg", b"x"), ("e/a.cls", b"5")], [None]),  # the folder is part of the key
        ([("a.jpg", b"x"), ("b.jpg", b"y"), ("a.cls", b"5")], [None, None]),  # not consecutive: no sample
        ([("a.jpg", b"x"), ("a.CLS", b" 5 ")], ["5"]),
        ([(".jpg", b"x"), (".cls", b"5")], [None]),  # a name without a key
    ],
)
def test_labels_are_those_of_the_sample(
    tree: Path, members: Sequence[tuple[str, bytes]], labels: list[str | None]
) -> None:
    archive(tree / "set.tar", members)
    assert [entry.label for entry in Sources(["set.tar"])] == labels


def test_what_belongs_to_no_image_is_passed_over(tree: Path) -> None:
    archive(tree / "set.tar", [("a.jpg", b"x"), ("a.json", b"{}"), ("a.txt", b"caption"), ("b.json", b"{}")])
    sources = Sources(["set.tar"])
    assert sources.count() == 1
    assert sources.passed_over == 2  # the caption, and the object without an image


def test_a_million_names_of_one_key_are_not_held(tree: Path) -> None:
    archive(tree / "set.tar", [(f"frame.{i:04d}.jpg", b"x") for i in range(300)])
    assert [entry.image for entry in Sources(["set.tar"])] == [f"frame.{i:04d}.jpg" for i in range(300)]


def test_repeated_keys_of_shards_and_samples_of_them_are_stable(tree: Path) -> None:
    for shard in "ab":
        archive(tree / f"{shard}.tar", [(f"{i}.jpg", shard.encode()) for i in range(20)])
    entries = list(Sources(["{a,b}.tar"]))
    assert [entry.image for entry in entries[18:22]] == ["18.jpg", "19.jpg", "0.jpg#2", "1.jpg#2"]
    chosen = list(Sources(["{a,b}.tar"], sample=Sampler(7, False, 0), limit=5))
    assert len(chosen) == 5
    assert {(entry.image, read(entry)) for entry in chosen} <= {(entry.image, read(entry)) for entry in entries}
    assert [entry.image for entry in Sources(["{a,b}.tar"], sample=Sampler(7, False, 0))][:5] == [
        entry.image for entry in chosen
    ]


def test_missing_shards_are_named_before_any_image(tree: Path) -> None:
    write_shards(tree, 3, 1)
    (tree / "train-0001.tar").unlink()
    with pytest.raises(SourceError, match=r"1 of 3 files are not there: train-0001\.tar\. Fetch"):
        Sources(["train-{0000..0002}.tar"])
    with pytest.raises(SourceError, match=r"9998 of 10000 files .* and 9993 more"):
        Sources(["train-{0000..9999}.tar"])
    with pytest.raises(SourceError, match="no file matches"):
        Sources(["valid-*.tar"])
    (tree / "train-0001.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(SourceError, match=r"train-0001\.tar: not an uncompressed tar"):
        next(iter(Sources(["train-{0000..0002}.tar"])))


def test_compressed_tars_are_refused_with_what_to_do(tree: Path) -> None:
    for mode, name in (("w:gz", "a.tar.gz"), ("w:gz", "b.tgz"), ("w:xz", "c.tar.xz"), ("w:bz2", "d.tar.bz2")):
        with tarfile.open(tree / name, mode):  # type: ignore[call-overload]
            pass
        assert is_compressed_tar(name)
        with pytest.raises(SourceError, match="decompress it"):
            Sources([name])
    with pytest.raises(SourceError, match="compressed tars are not read in place"):
        Sources(["{0..9}.tar.gz"])
    (tree / "a.tar.gz").rename(tree / "a.tar")
    with pytest.raises(SourceError, match="Decompress it first"):
        next(iter(Sources(["a.tar"])))


class _Counting(io.FileIO):
    """A file that notes which of its bytes were read."""

    places: ClassVar[list[tuple[int, int]]] = []

    def read(self, size: int | None = -1, /) -> Any:
        data = super().read(-1 if size is None else size)
        self.places.append((self.tell() - len(data), len(data)))
        return data


def test_each_byte_is_read_at_most_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {f"{i}.jpg": os.urandom(30_000 + 77 * i) for i in range(40)}
    members = [pair for name, data in contents.items() for pair in ((name, data), (name[:-3] + "cls", b"1"))]
    archive(tree / "set.tar", members)
    monkeypatch.setattr(tar_members, "open_unbuffered", lambda path: _Counting(path, "rb"))
    _Counting.places.clear()
    of_contents = []
    for entry in Sources(["set.tar"]):  # as the stream: the content is read in place, when its turn has come
        assert read(entry) == contents[entry.image]
        assert isinstance(entry.member, TarMember)
        of_contents.append((entry.member.offset, entry.member.size))
    assert sum(size for _, size in of_contents) == sum(map(len, contents.values()))
    end = max(start for start, _ in of_contents)
    times = bytearray(end)
    for start, size in [*_Counting.places, *of_contents]:
        for place in range(start, min(start + size, end)):
            times[place] += size > 1  # tarfile reads one byte to see that what it skips is there
    assert max(times[:512]) == 3  # the first header: twice to see that this is a tar at all
    assert max(times[512:]) == 1


def test_json_of_the_library_round_trips(tree: Path) -> None:
    with webdataset.TarWriter("x.tar") as sink:
        sink.write({"__key__": "a/b", "png": b"data", "json": {"label": "tabby", "extra": [1]}})
    (entry,) = Sources(["x.tar"])
    assert (entry.image, entry.label, entry.folder) == ("a/b.png", "tabby", "a")
    assert json.loads(next(iter(webdataset.WebDataset("x.tar", shardshuffle=False)))["json"])["label"] == "tabby"
