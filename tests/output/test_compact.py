import errno
import json
from pathlib import Path

import pytest

from camcli.errors import OutputError
from camcli.output.journal import Journal

from .examples import header, item
from .faults import fail_at, files_below


def open_journal(run: Path) -> Journal:
    return Journal.open(run, header())


def lines(run: Path) -> list[bytes]:
    return (run / "index.jsonl").read_bytes().splitlines(keepends=True)


def test_gives_the_bytes_of_an_uninterrupted_run(tmp_path: Path) -> None:
    for name, numbers in (("straight", [0, 1, 2, 3]), ("crooked", [3, 1, 1, 0, 2, 1])):
        (tmp_path / name).mkdir()
        with open_journal(tmp_path / name) as journal:
            offsets = {number: journal.append(item(f"{number}.jpg")) for number in numbers}
            new = journal.compact(offsets[number] for number in range(4))
            assert [json.loads(journal.read_at(offset))["image"] for offset in new] == [f"{n}.jpg" for n in range(4)]
            assert journal.find("photos", "2.jpg") is not None
            journal.append(item("later.jpg"))
            assert journal.find("photos", "later.jpg") is not None
    assert lines(tmp_path / "straight") == lines(tmp_path / "crooked")


def test_keeps_the_rows_of_images_that_are_not_in_this_run(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        offsets = [journal.append(item(f"{number}.jpg")) for number in range(4)]
        journal.compact([offsets[2]])
    assert [json.loads(line)["image"] for line in lines(tmp_path)[1:]] == ["2.jpg", "0.jpg", "1.jpg", "3.jpg"]


def test_writes_nothing_where_nothing_changes(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        offsets = [journal.append(item(f"{number}.jpg")) for number in range(3)]
        before = (tmp_path / "index.jsonl").stat()
        assert list(journal.compact(offsets)) == offsets
    assert (tmp_path / "index.jsonl").stat().st_ino == before.st_ino


def test_a_fault_at_any_system_call_loses_no_row(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(3)]
    for number in range(100):
        run = tmp_path / str(number)
        run.mkdir()
        journal = open_journal(run)
        offsets = [journal.append(item(name)) for name in names]
        with fail_at(number, errno.ENOSPC) as failed:
            try:
                journal.compact(reversed(offsets))
            except OutputError as error:
                assert "index.jsonl" in str(error)  # noqa: PT017 - whether it raises depends on the number
        journal.close()
        with open_journal(run) as journal:
            assert all(journal.find("photos", name) for name in names)
        assert list(files_below(run)) == ["index.jsonl"]
        if not failed:
            assert number >= 10
            return
    pytest.fail("the rewriting never ended")
