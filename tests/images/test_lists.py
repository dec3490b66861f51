"""Inputs that are written down: lists, standard input, manifests."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from camcli.errors import ImageError, SourceError
from camcli.images import Sources, read
from camcli.images.unique import UniqueNames

from .conftest import ALL, images, write


def test_lists_are_relative_to_their_folder(tree: Path) -> None:
    write(
        tree / "lists/some.txt",
        b"\xef\xbb\xbf../photos/b.jpg\r\n\n../photos/a/x.jpg\n../photos/b.jpg\ngone.jpg\ncaf\xe9.jpg",
    )
    entries = list(Sources(["@lists/some.txt"]))
    assert [entry.image for entry in entries] == [
        *("../photos/b.jpg", "../photos/a/x.jpg", "../photos/b.jpg#2", "gone.jpg", "caf\udce9.jpg"),
    ]
    assert read(entries[2]) == b"b.jpg"
    assert entries[1].folder == "a"
    with pytest.raises(ImageError) as caught:
        read(entries[3])
    assert caught.value.kind == "missing"


class Stream(io.StringIO):
    """Standard input that counts how much of it was asked for."""

    lines = 0

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        self.lines += 1
        return super().readline()


def test_standard_input_is_read_as_it_comes_and_only_once(tree: Path) -> None:
    stream = Stream(f"photos/b.jpg\n{tree}/photos/a/x.jpg\n\nphotos/b.jpg\n/elsewhere/y.jpg")
    sources = Sources(["-"], stdin=stream)
    assert next(iter(sources)).image == "photos/b.jpg"
    assert stream.lines == 1
    wanted = ["photos/b.jpg", "photos/a/x.jpg", "photos/b.jpg#2", "/elsewhere/y.jpg"]
    assert [entry.image for entry in sources] == wanted
    assert [entry.image for entry in sources] == wanted
    assert read(next(iter(sources))) == b"b.jpg"


def test_csv_manifests(tree: Path) -> None:
    write(
        tree / "sets/m.csv",
        b"\xef\xbb\xbfimage, label ,target,mask,box,other\n"
        b'../photos/b.jpg,tabby,top:2,b.png,"1,2.5,3,4",x\n'
        b"../photos/a/x.jpg,,,,\n\n"
        b"../photos/b.jpg,285\n",
    )
    first, second, third = Sources(["sets/m.csv"])
    assert (first.image, first.label, first.target, first.box) == ("../photos/b.jpg", "tabby", "top:2", (1, 2.5, 3, 4))
    assert first.mask is not None
    assert Path(first.mask) == tree / "sets/b.png"
    assert (second.label, second.target, second.mask, second.box) == (None, None, None, None)
    assert (third.image, third.label) == ("../photos/b.jpg#2", "285")
    assert read(third) == b"b.jpg"


def test_json_manifests(tree: Path) -> None:
    rows = [{"image": "photos/b.jpg", "label": 3, "box": [0, 0, 5, 5]}, {"image": str(tree / "photos/a/x.jpg")}]
    write(tree / "m.jsonl", "\n".join(map(json.dumps, rows)).encode())
    first, second = Sources(["m.jsonl"])
    assert (first.label, first.box) == ("3", (0, 0, 5, 5))
    assert (second.image, second.folder) == (str(tree / "photos/a/x.jpg"), "a")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", "path,label\nx.jpg,1\n", "`image`"),
        ("m.csv", "", "`image`"),
        ("m.csv", 'image,box\nx.jpg,"1,2,3"\n', "line 2: box"),
        ("m.csv", 'image,box\nx.jpg,"5,0,5,9"\n', "empty"),
        ("m.csv", "image,label\n,3\n", "line 2"),
        ("m.jsonl", '{"image": "x.jpg"}\nnot json\n', "line 2"),
        ("m.jsonl", '{"file": "x.jpg"}\n', "line 1"),
    ],
)
def test_wrong_manifests_are_refused_before_the_first_entry(tree: Path, name: str, content: str, words: str) -> None:
    write(tree / name, content.encode())
    with pytest.raises(SourceError, match=words):
        next(iter(Sources([name])))


def test_names_are_kept_once_for_a_source_not_for_an_image(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[UniqueNames] = []

    def make() -> UniqueNames:
        made.append(UniqueNames())
        return made[-1]

    monkeypatch.setattr("camcli.images.sources.UniqueNames", make)
    write(tree / "l.txt", b"photos/b.jpg\n" * 50)
    assert len(set(images("@l.txt", "photos"))) == 50 + len(ALL)
    assert len(made) == 1
