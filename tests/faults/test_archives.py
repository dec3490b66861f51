"""Damaged and hostile tars: each fault is named, what is whole is explained, and nothing leaves the run folder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Cam, artefacts, items


@pytest.fixture
def members(photos: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(photos.iterdir())[:3]]


def pack(path: Path, members: list[tuple[str, bytes]], *extra: tarfile.TarInfo) -> bytes:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return path.read_bytes()


def headers(data: bytes) -> list[int]:
    """Where the headers are."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [member.offset for member in tar]


def _negative_size(data: bytes) -> bytes:
    """The second header says −1,024 bytes: a reader that believes it goes back, and round for ever."""
    at = headers(data)[1]
    header = bytearray(data[at : at + 512])
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return data[:at] + bytes(header) + data[at + 512 :]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], list[tuple[str, str]]]] = {
    "within a content": (lambda d: d[: headers(d)[2] + 900], [("0002.png", "truncated"), ("set.tar", "corrupt")]),
    "within a header": (lambda d: d[: headers(d)[2] + 200], [("set.tar", "corrupt")]),
    "between two members": (lambda d: d[: headers(d)[2]], [("set.tar", "corrupt")]),
    "no header": (lambda d: d[: headers(d)[2]] + b"\x07" * 512 + d[headers(d)[2] + 512 :], [("set.tar", "corrupt")]),
    "no mark of its end": (lambda d: d[: -(-len(d.rstrip(b"\0")) // 512) * 512], [("set.tar", "corrupt")]),
    "a negative size": (_negative_size, [("set.tar", "corrupt")]),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_tar_is_named_and_what_is_whole_is_explained(
    tmp_path: Path, tiny: Cam, members: list[tuple[str, bytes]], damage: str
) -> None:
    alter, expected = DAMAGES[damage]
    whole = pack(tmp_path / "set.tar", members)
    assert tiny(tmp_path / "set.tar", "-o", tmp_path / "whole").code == 0
    (tmp_path / "set.tar").write_bytes(alter(whole))
    outcome = tiny(tmp_path / "set.tar", "-o", tmp_path / "out")
    assert outcome.code == 3
    rows = items(tmp_path / "out")
    assert [(row["image"], row["error"]["kind"]) for row in rows if row["status"] == "failed"] == expected
    if len(expected) == 1:
        assert "set.tar: the tar is damaged after 000" in outcome.out + outcome.err
    whole_rows = {row["image"]: row for row in items(tmp_path / "whole")}
    explained = [row for row in rows if row["status"] == "ok"]
    assert len(explained) >= 1
    assert all(row == whole_rows[row["image"]] for row in explained)


def test_an_archive_of_hostile_names_stays_in_the_run_folder(
    tmp_path: Path, tiny: Cam, members: list[tuple[str, bytes]]
) -> None:
    content = members[0][1]
    names = ["../../up.png", "/abs/x.png", "a/../../b.png", "same.png", "same.png", "a\nb.png", "n" * 300 + ".png"]
    pack(tmp_path / "set.tar", [(name, content) for name in names])
    run_dir = tmp_path / "deep" / "er" / "out"
    assert tiny(tmp_path / "set.tar", "-o", run_dir, "--save", "overlay").code == 0
    rows = items(run_dir)
    assert [row["image"] for row in rows] == [*names[:4], "same.png#2", *names[5:]]
    files = [row["maps"][0]["files"]["overlay"] for row in rows]
    assert len(set(files)) == len(names)
    assert set(files) == set(artefacts(run_dir)) - {"index.json"}
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and run_dir not in path.parents]
    assert {path.parent.name for path in outside if path.name != "set.tar"} == {"photos"}


def test_links_and_sparse_files_are_named(tmp_path: Path, tiny: Cam, members: list[tuple[str, bytes]]) -> None:
    links = []
    for name, kind in (("hard.png", tarfile.LNKTYPE), ("soft.png", tarfile.SYMTYPE), ("notes.txt", tarfile.SYMTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else members[0][0]
        links.append(info)
    fifo = tarfile.TarInfo("pipe.png")
    fifo.type = tarfile.FIFOTYPE
    pack(tmp_path / "set.tar", members, *links, fifo)
    assert tiny(tmp_path / "set.tar", "-o", tmp_path / "out").code == 3
    failed = {row["image"]: row["error"] for row in items(tmp_path / "out") if row["status"] == "failed"}
    assert set(failed) == {"hard.png", "soft.png"}
    assert {error["kind"] for error in failed.values()} == {"unreadable"}
    assert f"a link to {members[0][0]}, and links in a tar are not followed" in failed["hard.png"]["message"]


def test_a_tar_that_changes_size_is_noticed_by_a_resumed_run(
    tmp_path: Path, tiny: Cam, members: list[tuple[str, bytes]]
) -> None:
    pack(tmp_path / "set.tar", members)
    assert tiny(tmp_path / "set.tar", "-o", tmp_path / "out").code == 0
    before = items(tmp_path / "out")
    pack(tmp_path / "set.tar", [members[0], (members[1][0], members[2][1]), members[2]])
    assert tiny(tmp_path / "set.tar", "-o", tmp_path / "out").code == 0
    after = items(tmp_path / "out")
    assert [one["sha256"] for one in after] == [before[i]["sha256"] for i in (0, 2, 2)]
