"""Sources: everything --image-path takes, named, ordered and told apart."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from camcli.errors import ImageError, SourceError
from camcli.images import Entry, Sources, read


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


def test_a_folder_is_searched_in_sorted_order(tree: Path) -> None:
    sources = Sources(["photos"])
    entries = list(sources)
    assert [entry.image for entry in entries] == ALL
    assert [entry.ordinal for entry in entries] == list(range(5))
    assert sources.passed_over == 1
    assert list(sources) == entries
    assert sources.passed_over == 1
    assert {entry.source for entry in entries} == {"photos"}
    assert [entry.folder for entry in entries] == ["deep", "a", "a", None, "z.jpg"]
    assert [read(entry) for entry in entries] == [os.path.basename(image).encode() for image in ALL]


def test_the_limit_counts_over_all_sources(tree: Path) -> None:
    assert images("photos", "photos/b.jpg", limit=2) == ALL[:2]
    assert images("photos", limit=0) == []


def test_a_file_is_always_tried(tree: Path) -> None:
    entry = only("photos/notes.txt")
    assert (entry.image, entry.folder, read(entry)) == ("notes.txt", None, b"notes.txt")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*.jpg", ["b.jpg", "z.jpg/inside.png"]),
        ("photos/a/x.*", ["x.jpg", "x.png"]),
        ("photos/*/x.jpg", ["a/x.jpg"]),
        ("photos/**/*.JPG", ["a/deep/y.JPG"]),
        ("photos/**/x.*", ["a/x.jpg", "a/x.png"]),
        ("photos/**", ALL),
        ("photos/a*", ["a/deep/y.JPG", "a/x.jpg", "a/x.png"]),
        ("photos/*.txt", ["notes.txt"]),
        ("photos/[ab].jpg", ["b.jpg"]),
        ("*/b.jp?", ["photos/b.jpg"]),
        ("./photos/b*", ["b.jpg"]),
        ("photos/*.webp", []),
    ],
)
def test_globs_name_what_lies_below_their_fixed_part(tree: Path, pattern: str, found: list[str]) -> None:
    assert images(pattern) == found
    assert images(str(tree / pattern)) == found


def test_wildcards_do_not_stand_for_a_leading_dot(tree: Path) -> None:
    write(tree / "photos/.hidden.jpg")
    assert images("photos/*.jpg") == ["b.jpg", "z.jpg/inside.png"]
    assert images("photos/.*.jpg") == [".hidden.jpg"]
    assert ".hidden.jpg" in images("photos")


def test_an_open_glob_passes_over_what_is_no_image(tree: Path) -> None:
    sources = Sources(["photos/*"])
    assert [entry.image for entry in sources] == ALL
    assert sources.passed_over == 1


def test_a_name_with_brackets_is_a_name(tree: Path) -> None:
    write(tree / "odd[1].jpg")
    assert images("odd[1].jpg") == ["odd[1].jpg"]


def test_resource_forks_are_passed_over(tree: Path) -> None:
    write(tree / "photos/._b.jpg")
    assert images("photos") == ALL


@pytest.mark.parametrize("exclude", ["photos/out", "photos"])
def test_the_run_folder_is_never_explained(tree: Path, exclude: str) -> None:
    write(tree / "photos/out/overlays/b.jpg.jpg")
    if exclude == "photos":
        with pytest.raises(SourceError, match="run folder"):
            Sources(["photos/out"], exclude=Path(exclude))
        return
    (tree / "photos/link").symlink_to(tree / "photos/out")
    for path in ("photos", "photos/**", "photos/*/*/*.jpg", "."):
        assert not any("out" in entry.path or "link" in entry.path for entry in Sources([path], exclude=Path(exclude)))
    assert images("photos", exclude=Path(exclude)) == ALL


def test_other_run_folders_are_not_explained_either(tree: Path) -> None:
    write(tree / "photos/earlier/index.jsonl", b'{"schema": "camcli.index/1"}\n')
    write(tree / "photos/earlier/overlays/b.jpg.jpg")
    write(tree / "photos/dataset/index.jsonl", b'{"image": "q.jpg"}\n')
    write(tree / "photos/dataset/q.jpg")
    assert images("photos") == sorted([*ALL, "dataset/q.jpg"])
    assert images("photos/earlier/overlays") == ["b.jpg.jpg"]


def test_links_in_circles_end(tree: Path) -> None:
    (tree / "photos/a/up").symlink_to(tree / "photos")
    (tree / "photos/self.jpg").symlink_to("self.jpg")
    for name in ("one", "two", "three"):
        (tree / "ring" / name).mkdir(parents=True)
        write(tree / "ring" / name / f"{name}.jpg")
    for name in ("one", "two", "three"):
        for other in ("one", "two", "three"):
            (tree / "ring" / name / f"to-{other}").symlink_to(tree / "ring" / other)
    assert images("photos") == sorted([*ALL, "self.jpg"])
    ring = images("ring")
    assert {"one/one.jpg", "two/two.jpg", "three/three.jpg"} <= set(ring)
    assert len(ring) <= 6
    with pytest.raises(ImageError) as caught:
        read(next(entry for entry in Sources(["photos"]) if entry.image == "self.jpg"))
    assert caught.value.kind == "unreadable"


def test_a_linked_folder_is_followed(tree: Path) -> None:
    write(tree / "elsewhere/e.jpg")
    (tree / "photos/c").symlink_to(tree / "elsewhere")
    assert "c/e.jpg" in images("photos")


def test_pipes_and_sockets_never_block(tree: Path) -> None:
    os.mkfifo(tree / "photos/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("photos/socket.jpg")
        sources = Sources(["photos"])
        assert [entry.image for entry in sources] == ALL
        assert sources.passed_over == 3
        for name in ("photos/pipe.jpg", "photos/socket.jpg"):
            with pytest.raises(ImageError) as caught:
                read(only(name))
            assert caught.value.kind == "unreadable"


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


def test_a_folder_that_cannot_be_listed_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    entries = list(Sources(["photos"]))
    assert [entry.image for entry in entries] == ["a/deep", *ALL[1:]]
    with pytest.raises(ImageError, match="Permission denied"):
        read(entries[0])


ODD = ["with space.jpg", "quote\"'.jpg", "new\nline.jpg", "🐈.jpg", "x" * 251 + ".jpg", "#2.jpg", "%41.jpg"]


def test_odd_names_come_through(tmp_path: Path) -> None:
    for name in ODD:
        write(tmp_path / name)
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(raw, "wb") as file:
        file.write(b"latin")
    entries = list(Sources([str(tmp_path)]))
    assert sorted(entry.image for entry in entries) == sorted([*ODD, "caf\udce9.jpg"])
    assert read(next(entry for entry in entries if "\udce9" in entry.image)) == b"latin"


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


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_what_is_no_tar_is_refused(tree: Path, content: bytes) -> None:
    write(tree / "set.tar", content)
    with pytest.raises(SourceError, match="tar"):
        next(iter(Sources(["set.tar"])))


def test_what_is_not_there_is_refused_with_a_near_miss(tree: Path) -> None:
    for path in ("phoots", "photos/c.jpg", "@list.txt", "nowhere/*.jpg"):
        with pytest.raises(SourceError, match=r"not there|no such|is there"):
            Sources([path])
    with pytest.raises(SourceError, match="Did you mean photos"):
        Sources(["phoots"])
    with pytest.raises(SourceError, match="not a regular file"):
        Sources(["@photos"])


@pytest.mark.parametrize(
    ("paths", "slugs"),
    [
        (["photos", "other/photos"], {"photos", "photos-2"}),
        (["photos", "photos/a"], {"photos", "a"}),
        (["photos/b.jpg", "photos/a/x.jpg"], {"photos", "a"}),
        (["photos/b.jpg", "./photos"], {"photos"}),
        (["photos/a/*.jpg", "photos/a/x.png"], {"a"}),
        (["photos", "photos"], {"photos"}),
    ],
)
def test_names_are_unique_over_all_sources(tree: Path, paths: list[str], slugs: set[str]) -> None:
    write(tree / "other/photos/b.jpg")
    entries = list(Sources(paths))
    assert {entry.source_slug for entry in entries} == slugs
    assert len({(entry.source_slug, entry.image) for entry in entries}) == len(entries)
    assert len({(entry.source, entry.image) for entry in entries}) == len(entries)


def test_a_file_given_twice_is_numbered(tree: Path) -> None:
    assert images("photos/b.jpg", "./photos/b.jpg", "photos/b.jpg") == ["b.jpg", "b.jpg#2", "b.jpg#3"]
    write(tree / "l.txt", b"photos/b.jpg#2\nphotos/b.jpg\nphotos/b.jpg\n")
    assert images("@l.txt") == ["photos/b.jpg#2", "photos/b.jpg", "photos/b.jpg#3"]


def test_slugs_are_safe_folder_names(tree: Path) -> None:
    for name in ("...", "sp ace", "ümlaut\udce9", "-", "x" * 200):
        write(tree / name / "i.jpg")
    entries = list(Sources([f"./{name}" for name in ("...", "sp ace", "ümlaut\udce9", "-", "x" * 200)]))
    slugs = [entry.source_slug for entry in entries]
    assert len(set(slugs)) == 5
    assert all(
        slug and "/" not in slug and slug not in (".", "..") and slug.isascii() and len(slug) <= 80 for slug in slugs
    )


def test_class_folders_are_those_that_hold_images(tree: Path) -> None:
    for name in ("train/cat/1.jpg", "train/dog/1.jpg", "val/cat/2.jpg"):
        write(tree / "set" / name)
    (tree / "set/train/empty").mkdir()
    write(tree / "set/train/doc/readme.txt")
    sources = Sources(["set", "photos"])
    assert sources.class_folders("set") == ("cat", "doc", "dog", "empty")
    assert sources.class_folders("photos") == ("a", "deep", "z.jpg")


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


def test_nothing_is_listed_before_it_is_asked_for(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(50):
        write(tree / f"many/{i:02}/x.jpg")
    listed: list[str] = []
    scandir = os.scandir

    def watch(path: str) -> Any:
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watch)
    sources = Sources(["many"])
    assert listed == []
    next(iter(sources))
    assert len(listed) == 2
