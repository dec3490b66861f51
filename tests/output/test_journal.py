import json
import threading
from pathlib import Path

import pytest

from camcli.errors import ResumeError
from camcli.output.journal import Journal
from camcli.output.jsontext import true_name

from .examples import header, item
from .faults import files_below

STRANGE = [
    "a b.jpg",
    'it\'s "x".jpg',
    "two\nlines.jpg",
    "🐈.jpg",
    "back\\slash.jpg",
    "caf\udce9.jpg",
    "\u2028.jpg",
    "\x00.jpg",
]


def open_journal(run: Path, **options: bool) -> Journal:
    return Journal.open(run, header(), **options)


def lines(run: Path) -> list[bytes]:
    return (run / "index.jsonl").read_bytes().splitlines(keepends=True)


def test_a_new_journal_is_a_header_line_of_a_running_run(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        assert journal.header == header()
    (line,) = lines(tmp_path)
    assert json.loads(line) == header()
    assert list(json.loads(line)) == list(header())
    assert json.loads(line)["status"] == "running"


def test_finds_what_was_appended_now_and_after_reopening(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        offset = journal.append(item("a.jpg", width=1))
        assert journal.find("photos", "a.jpg") is not None
    with open_journal(tmp_path) as journal:
        row = journal.find("photos", "a.jpg")
        assert row is not None
        assert (row.offset, row.item) == (offset, item("a.jpg", width=1))
        assert json.loads(journal.read_at(offset)) == row.item
        assert journal.find("photos", "b.jpg") is None
        assert journal.find("other", "a.jpg") is None


def test_the_last_line_wins(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        for width in (1, 2):
            journal.append(item(width=width))
        row = journal.find("photos", "a/x.jpg")
        assert row is not None
        assert row.item["width"] == 2
    with open_journal(tmp_path) as journal:
        row = journal.find("photos", "a/x.jpg")
        assert row is not None
        assert row.item["width"] == 2


@pytest.mark.parametrize("name", STRANGE)
def test_names_of_all_kinds_are_found_by_their_true_name(name: str, tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append(item(name, source=f"dir/{name}"))
        journal.append(item("other.jpg"))
    with open_journal(tmp_path) as journal:
        row = journal.find(f"dir/{name}", name)
        assert row is not None
        assert true_name(row.item) == name
        assert true_name(row.item, "source") == f"dir/{name}"
    assert len(lines(tmp_path)) == 3
    lines(tmp_path)[1].decode("utf-8")


def test_names_that_are_not_utf8_carry_their_bytes(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        for name in ("\udce9.jpg", "\udce8.jpg"):
            journal.append(item(name))
        rows = [journal.find("photos", name) for name in ("\udce9.jpg", "\udce8.jpg", "\ufffd.jpg")]
    assert rows[0] is not None
    assert rows[1] is not None
    assert (rows[0].item["image"], rows[0].item["image_b64"]) == ("\ufffd.jpg", "6S5qcGc=")
    assert rows[1].item["image_b64"] == "6C5qcGc="
    assert rows[2] is None


def test_a_row_read_back_can_be_appended_again(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append(item("\udce9.jpg"))
        row = journal.find("photos", "\udce9.jpg")
        assert row is not None
        journal.append({**row.item, "width": 3})
        again = journal.find("photos", "\udce9.jpg")
        assert again is not None
        assert again.item["width"] == 3


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_and_nothing_written(number: float, tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        before = files_below(tmp_path)
        bad = item()
        bad["maps"][0]["raw"]["min"] = number
        with pytest.raises(ValueError, match=r"maps\[0\]\.raw\.min is -?(nan|inf), which JSON cannot hold"):
            journal.append(bad)
        assert files_below(tmp_path) == before
        assert journal.find("photos", "a/x.jpg") is None


def test_a_tail_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        for number in range(2):
            journal.append(item(f"{number}.jpg", notes=["é\n🐈"]))
        last = journal.append(item("last.jpg", notes=["é\n🐈"]))
    whole = (tmp_path / "index.jsonl").read_bytes()
    for end in range(last, len(whole)):
        (tmp_path / "index.jsonl").write_bytes(whole[:end])
        with open_journal(tmp_path) as journal:
            assert journal.find("photos", "last.jpg") is None
            assert journal.find("photos", "1.jpg") is not None
            assert (tmp_path / "index.jsonl").read_bytes() == whole[:last]
            journal.append(item("last.jpg", notes=["é\n🐈"]))
        assert (tmp_path / "index.jsonl").read_bytes() == whole


def test_a_torn_header_begins_anew(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    whole = (tmp_path / "index.jsonl").read_bytes()
    for end in (0, 1, 20, 40, len(whole) - 1):
        (tmp_path / "index.jsonl").write_bytes(whole[:end])
        open_journal(tmp_path).close()
        assert (tmp_path / "index.jsonl").read_bytes() == whole


@pytest.mark.parametrize("damage", [b"\0" * 500, b"\0\n\0\n", b"{\n", b'{"image": "x"}\n', b"[1]\n", b"{}}\n"])
def test_damage_at_the_end_is_cut_and_in_the_middle_ignored(damage: bytes, tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append(item("a.jpg"))
    whole = (tmp_path / "index.jsonl").read_bytes()
    (tmp_path / "index.jsonl").write_bytes(whole + damage)
    with open_journal(tmp_path) as journal:
        assert journal.find("photos", "a.jpg") is not None
    assert (tmp_path / "index.jsonl").read_bytes() == whole
    (tmp_path / "index.jsonl").write_bytes(
        whole + damage.rstrip(b"\n") + b"\n" + lines(tmp_path)[1].replace(b"a.jpg", b"b.jpg")
    )
    with open_journal(tmp_path) as journal:
        assert journal.find("photos", "a.jpg") is not None
        assert journal.find("photos", "b.jpg") is not None


def test_a_row_damaged_inside_counts_as_missing(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append(item("a.jpg"))
    path = tmp_path / "index.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"sha256": "4', b'"sha256": \0\0'))
    with open_journal(tmp_path) as journal:
        assert journal.find("photos", "a.jpg") is None


@pytest.mark.parametrize("content", [b"my notes\n", b'{"schema": "other/1"}\n', b"[]\n", b"my notes", b"\xff\n"])
def test_a_file_of_another_origin_is_refused_and_kept(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_bytes(content)
    with pytest.raises(ResumeError, match=r"index\.jsonl was not written by cam"):
        open_journal(tmp_path)
    assert files_below(tmp_path) == {"index.jsonl": content}


def test_a_journal_of_a_later_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_text('{"schema": "camcli.index/2"}\n')
    with pytest.raises(ResumeError, match=r"follows camcli\.index/2; this version of cam supports camcli\.index/1"):
        open_journal(tmp_path)


def test_threads_may_append_and_find(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:

        def work(name: int) -> None:
            for number in range(50):
                journal.append(item(f"{name}/{number}.jpg"))
                assert journal.find("photos", f"{name}/{number}.jpg") is not None

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [journal.find("photos", f"{name}/{number}.jpg") for name in range(8) for number in range(50)]
    assert None not in found
    assert all(json.loads(line) for line in lines(tmp_path))
