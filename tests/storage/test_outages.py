"""A store that fails while tars and tables are listed or read: never taken for damage, and nothing is left out."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from camcli.errors import CamError, ImageError, SourceError
from camcli.images import Entry, Sources, read, table_files
from camcli.storage import StorageError, file_system, open_stream, reading
from camcli.storage.retry import ATTEMPTS
from tests.conftest import Cam, items
from tests.packing import as_table, as_tars, make_samples

from .conftest import Upload

STORE = "memory://bucket/in"
FEW = ("--batch-size", 2, "--save", "none")
BLOCK = 4096

Requests = Callable[[str, int], bool]


class Outage:
    """Which requests fail, by URL and first byte, and how many more."""

    def __init__(self) -> None:
        self.fails: Requests = lambda *_: False
        self.times = 10**9

    def begin(self, fails: Requests, times: int = 10**9) -> None:
        self.fails, self.times = fails, times

    def end(self) -> None:
        self.times = 0


@pytest.fixture
def outage(memory: None, monkeypatch: pytest.MonkeyPatch) -> Outage:
    """Of the store in memory, whose files are requested in small parts."""
    fs, state = file_system(STORE), Outage()
    whole = fs.cat_file

    def cat_file(url: str, start: int | None = None, end: int | None = None) -> bytes:
        if state.times > 0 and state.fails(url, start or 0):
            state.times -= 1
            raise OSError(errno.EIO, "no answer")
        content: bytes = whole(url, start=start, end=end)
        return content

    monkeypatch.setattr(fs, "cat_file", cat_file)
    monkeypatch.setattr(reading, "BLOCK", BLOCK)
    monkeypatch.setattr(reading, "_PART", BLOCK)
    monkeypatch.setattr(table_files, "_BUFFER", BLOCK)
    return state


def small_tar() -> tuple[bytes, list[tuple[str, bytes]]]:
    """A tar of several blocks, and its images."""
    images = [(f"a/{number}.jpg", os.urandom(10_000)) for number in range(6)]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in images:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue(), images


def listed_until_error(entries: Iterable[Entry]) -> tuple[list[Entry], CamError | None]:
    """The entries before an error, and the error."""
    listed: list[Entry] = []
    try:
        listed.extend(entries)
    except CamError as error:
        return listed, error
    return listed, None


def test_a_stream_does_not_skip_the_block_that_failed(outage: Outage) -> None:
    content = os.urandom(5 * BLOCK)
    file_system(STORE).pipe_file(f"{STORE}/x.tar", content)
    outage.begin(lambda _, start: start == BLOCK, ATTEMPTS)
    with open_stream(f"{STORE}/x.tar") as stream:
        assert stream.read(BLOCK) == content[:BLOCK]
        for _ in range(3):
            with pytest.raises(StorageError, match="no answer"):
                stream.read(10)


@pytest.mark.parametrize("contents", [True, False])
def test_no_failed_block_of_a_tar_hides_images(outage: Outage, contents: bool) -> None:
    packed, images = small_tar()
    file_system(STORE).pipe_file(f"{STORE}/x.tar", packed)
    counts = []
    for block in range(len(packed) // BLOCK):
        outage.begin(lambda _, start, first=block * BLOCK: start == first, ATTEMPTS)  # type: ignore[misc]
        sources = Sources([f"{STORE}/x.tar"])
        listed, error = listed_until_error(sources.with_contents() if contents else sources)
        if error is None:
            assert len(listed) == len(images), f"after block {block}"
        else:
            end = " What was explained is kept: the same command continues." if listed else ""
            assert str(error) == f"--image-path {STORE}/x.tar: cannot be read (no answer; it was tried 3 times).{end}"
            assert isinstance(error, SourceError) == (not listed)
        assert [entry.problem for entry in listed] == [None] * len(listed)
        outage.end()
        if contents:
            assert [read(entry) for entry in listed] == [content for _, content in images[: len(listed)]]
        counts.append(len(listed))
    assert len(set(counts)) > 3


def test_a_run_ends_and_the_same_command_continues(
    tiny: Cam, outage: Outage, upload: Upload, tmp_path: Path, photos: Path
) -> None:
    (tmp_path / "packed").mkdir()
    local = as_tars(tmp_path / "packed", make_samples(photos))
    upload(tmp_path / "packed", STORE)
    middle = (tmp_path / "packed/set-1.tar").stat().st_size // 2 // BLOCK * BLOCK
    tiny(local, "-o", tmp_path / "here", *FEW)
    run = (f"{STORE}/{Path(local).name}", "-o", tmp_path / "there", *FEW)
    outage.begin(lambda url, start: url.endswith("set-1.tar") and start == middle)
    stopped = tiny(*run)
    assert stopped.code == 1
    assert f"{STORE}/set-1.tar: cannot be read (no answer; it was tried 3 times)" in stopped.err
    assert "the same command continues" in stopped.err
    assert "Traceback" not in stopped.err
    assert "corrupt" not in json.dumps(items(tmp_path / "there"))
    outage.end()
    assert tiny(*run).code == 3
    rows = [items(tmp_path / folder) for folder in ("there", "here")]
    assert [{**row, "source": ""} for row in rows[0]] == [{**row, "source": ""} for row in rows[1]]


@pytest.fixture
def table(outage: Outage, upload: Upload, tmp_path: Path) -> tuple[str, list[bytes]]:
    """A table of several groups of rows in the store, and its images."""
    samples = [(f"{number}.jpg", os.urandom(20_000), number) for number in range(12)]
    (tmp_path / "packed").mkdir()
    as_table(tmp_path / "packed", samples)
    upload(tmp_path / "packed", STORE)
    return f"{STORE}/set.parquet", [content for _, content, _ in samples]


def outcome_of(entry: Entry) -> bytes | str:
    try:
        return read(entry)
    except ImageError as error:
        return f"{error.kind}: {error}"


def test_rows_are_read_again_when_the_store_is_back(outage: Outage, table: tuple[str, list[bytes]]) -> None:
    url, contents = table
    entries = list(Sources([url]))
    outcomes = []
    for number, entry in enumerate(entries):
        if number in (3, 10):  # the beginning of a group, which opens the table, and the middle of one
            outage.begin(lambda *_: True)
        outcomes.append(outcome_of(entry))
        outage.end()
    failed = "unreadable: the table cannot be read: no answer; it was tried 3 times"
    assert outcomes[3] in (failed, contents[3])  # it may be in memory already
    assert [one for number, one in enumerate(outcomes) if number not in (3, 10)] == [
        one for number, one in enumerate(contents) if number not in (3, 10)
    ]
    assert outcomes[10] in (failed, contents[10])
    assert [outcome_of(entry) for entry in entries] == contents


def write_table(contents: list[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table({"image": contents}), sink)
    file_system(STORE).pipe_file(f"{STORE}/x.parquet", sink.getvalue())


def test_a_table_that_was_replaced_is_another_one(memory: None) -> None:
    old, new = [os.urandom(1000) for _ in range(3)], [os.urandom(1000) for _ in range(3)]
    write_table(old)
    listed = list(Sources([f"{STORE}/x.parquet"]))
    assert read(listed[0]) == old[0]
    write_table(new)
    assert [read(entry) for entry in Sources([f"{STORE}/x.parquet"])] == new


def test_a_table_that_was_replaced_before_it_was_read_is_changed(memory: None) -> None:
    write_table([os.urandom(1000)])
    listed = list(Sources([f"{STORE}/x.parquet"]))
    write_table([os.urandom(1000)])
    with pytest.raises(ImageError, match="changed or replaced since it was listed") as caught:
        read(listed[0])
    assert caught.value.kind == "changed"


def test_an_outage_within_a_group_is_not_kept(outage: Outage, tmp_path: Path, memory: None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    contents = [os.urandom(20_000) for _ in range(80)]
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": contents}), sink, use_dictionary=False, data_page_size=BLOCK, write_batch_size=1)
    file_system(STORE).pipe_file(f"{STORE}/x.parquet", sink.getvalue())
    entries = list(Sources([f"{STORE}/x.parquet"]))
    outcomes = []
    for number, entry in enumerate(entries):
        if number == 30:
            outage.begin(lambda *_: True)
        if number == 50:
            outage.end()
        outcomes.append(outcome_of(entry))
    failed = [number for number, one in enumerate(outcomes) if isinstance(one, str)]
    assert failed
    assert set(failed) <= set(range(30, 50))
    assert {outcomes[number] for number in failed} == {
        "unreadable: the table cannot be read: no answer; it was tried 3 times"
    }
    assert [one for one in outcomes if isinstance(one, bytes)] == [
        one for number, one in enumerate(contents) if number not in failed
    ]


def test_rows_that_are_not_listed_end_the_listing(outage: Outage, table: tuple[str, list[bytes]]) -> None:
    listing = iter(Sources([table[0]]))
    assert next(listing).problem is None
    outage.begin(lambda *_: True)
    rest, error = listed_until_error(listing)
    assert error is not None
    assert str(error) == (
        f"--image-path {table[0]}: cannot be read (no answer; it was tried 3 times). What was explained is kept: the "
        "same command continues."
    )
    assert error.exit_code == 1
    assert [entry.problem for entry in rest] == [None] * len(rest)
    with pytest.raises(SourceError, match=r"set\.parquet: cannot be read \(no answer"):
        next(iter(Sources([table[0]])))
