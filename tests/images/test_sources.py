"""Sources: everything --image-path takes, named, ordered and told apart."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from camcli.errors import ImageError, SourceError
from camcli.images import Sources, read

from .conftest import ALL, images, only, write


def test_a_folder_is_searched_in_sorted_order(tree: Path) -> None:
    sources = Sources(["photos"])
    entries = list(sources)
    assert [entry.image for entry in entries] == ALL
    assert [entry.ordinal for entry in entries] == list(range(5))
    assert sources.passed_over == 1
    assert list(sources) == entries
    assert sources.passed_over == 1
    assert {entry.source for entry in entries} == {"photos"}
    assert [entry.folder for entry in entries] == ["deep", "a", "a", "photos", "z.jpg"]
    assert [read(entry) for entry in entries] == [os.path.basename(image).encode() for image in ALL]


def test_the_limit_counts_over_all_sources(tree: Path) -> None:
    assert images("photos", "photos/b.jpg", limit=2) == ALL[:2]
    assert images("photos", limit=0) == []


def test_a_file_is_always_tried(tree: Path) -> None:
    (tree / "photos" / "notes.dat").write_bytes(b"notes")
    entry = only("photos/notes.dat")
    assert (entry.image, entry.folder, read(entry)) == ("notes.dat", "photos", b"notes")


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


def test_a_path_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("beach.jpg", "town.png", "cat.jpg"):
        (tmp_path / name).touch()
    here = f"The working directory is {tmp_path}."
    for typed, words in {
        "beech.jpg": f"no such file or folder. Did you mean beach.jpg? {here}",
        "cat.jpeg": f"no such file or folder. Did you mean cat.jpg? {here}",
        "nope.jpg": f"no such file or folder. {here}",
        "a/b/x.jpg": f"no such file or folder. The folder a is not there either. {here}",
        str(tmp_path / "beech.jpg"): f"no such file or folder. Did you mean {tmp_path / 'beach.jpg'}?",
    }.items():
        with pytest.raises(SourceError) as caught:
            Sources([typed])
        assert str(caught.value) == f"--image-path {typed}: {words}"
