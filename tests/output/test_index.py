import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from camcli.errors import OutputError
from camcli.output import atomic
from camcli.output.header import HEADER_KEYS, read_header
from camcli.output.index import Counts, Ending, write_index
from camcli.output.journal import Journal

from .examples import TIMING, failed, header, item
from .faults import fail_at, files_below

ENDING = Ending("complete", "2026-01-02T03:05:05Z", TIMING)


def zero_map() -> dict[str, object]:
    return {**item()["maps"][0], "status": "zero"}


def test_items_are_in_the_given_order_and_counted(tmp_path: Path) -> None:
    items = [
        item("a.jpg"),
        item("b.jpg", correct=False, maps=[*item()["maps"], zero_map()]),
        failed("c.jpg"),
        item("d.jpg", label=None, correct=None),
    ]
    with Journal.open(tmp_path, header()) as journal:
        offsets = [journal.append(one) for one in reversed(items)]
        top = header(extra="kept")
        counts = write_index(tmp_path, top, journal.in_order(reversed(offsets)), replace(ENDING, passed_over=2))
    index = json.loads((tmp_path / "index.json").read_bytes())
    assert index["items"] == items
    assert list(index) == [*HEADER_KEYS, "extra", "items"]
    assert index["status"] == "complete"
    assert index["finished"] == "2026-01-02T03:05:05Z"
    assert index["timing"] == TIMING
    assert index["counts"] == {
        "images": 4,
        "ok": 3,
        "failed": 1,
        "maps": 4,
        "degenerate_maps": 1,
        "labelled": 2,
        "correct": 1,
        "passed_over": 2,
    }
    assert counts == Counts(**index["counts"])


def test_without_an_order_the_rows_stand_as_they_were_appended(tmp_path: Path) -> None:
    items = [item("b.jpg"), failed("a.jpg"), item("c.jpg")]
    with Journal.open(tmp_path, header()) as journal:
        for one in items:
            journal.append(one)
        with fail_at(0, errno.ENOSPC, calls=("write", "ftruncate"), forever=True), pytest.raises(OutputError):
            journal.append(item("torn.jpg"))
        counts = write_index(tmp_path, header(), journal, ENDING)
    assert json.loads((tmp_path / "index.json").read_bytes())["items"] == items
    assert (counts.images, counts.failed) == (3, 1)


def test_without_items_it_is_still_a_document(tmp_path: Path) -> None:
    with Journal.open(tmp_path, header()) as journal:
        write_index(tmp_path, header(), journal.in_order([]), Ending("aborted", "2026-01-02T03:05:05Z", TIMING))
    index = json.loads((tmp_path / "index.json").read_bytes())
    assert (index["items"], index["status"]) == ([], "aborted")


def test_one_item_a_line(tmp_path: Path) -> None:
    with Journal.open(tmp_path, header()) as journal:
        write_index(
            tmp_path, header(), journal.in_order([journal.append(item(f"{n}\n.jpg")) for n in range(3)]), ENDING
        )
    text = (tmp_path / "index.json").read_bytes()
    items = text.split(b'"items": [\n')[1].splitlines()
    assert [json.loads(line.rstrip(b","))["image"] for line in items[:-1]] == ["0\n.jpg", "1\n.jpg", "2\n.jpg"]
    assert items[-1] == b"]}"


def test_the_header_is_found_again_when_the_journal_is_lost(tmp_path: Path) -> None:
    with Journal.open(tmp_path, header()) as journal:
        write_index(tmp_path, header(), journal.in_order([journal.append(item())]), ENDING)
    (tmp_path / "index.jsonl").unlink()
    recorded = read_header(tmp_path)
    assert recorded is not None
    assert recorded == header(
        status="complete", finished=ENDING.finished, timing=TIMING, counts=recorded["counts"], schema="camcli.index/1"
    )


def test_a_fault_at_any_system_call_leaves_the_old_or_the_new_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_BLOCK", 1)  # a write for each line
    with Journal.open(tmp_path, header()) as journal:
        offsets = [journal.append(item(f"{number}.jpg")) for number in range(2)]
        write_index(tmp_path, header(), journal.in_order(offsets[:1]), ENDING)
        old = (tmp_path / "index.json").read_bytes()
        for number in range(200):
            with fail_at(number, errno.EIO) as failed_call:
                try:
                    write_index(tmp_path, header(), journal.in_order(offsets), ENDING)
                except OutputError as error:
                    assert "Input/output error" in str(error)  # noqa: PT017 - whether it raises depends on the number
            now = (tmp_path / "index.json").read_bytes()
            if not failed_call:
                assert len(json.loads(now)["items"]) == 2
                assert number > 20
                return
            assert now == old
            assert set(files_below(tmp_path)) == {"index.json", "index.jsonl"}
    pytest.fail("the writing never ended")


def test_a_damaged_row_is_named_rather_than_copied(tmp_path: Path) -> None:
    with Journal.open(tmp_path, header()) as journal:
        offset = journal.append(item())
        with pytest.raises(OutputError, match=f"no whole line at byte {offset + 5}"):
            write_index(tmp_path, header(), journal.in_order([offset + 5]), ENDING)
    assert not (tmp_path / "index.json").exists()
