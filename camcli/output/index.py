"""``index.json``: the whole run as one document, copied line by line from the journal and put in place at once."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from camcli.errors import OutputError
from camcli.output.atomic import naming_os_errors, write_atomically
from camcli.output.header import INDEX_NAME, ITEMS_BEGIN, header_fields
from camcli.output.jsontext import strict_json, true_name
from camcli.output.row_keys import parse_row
from camcli.schemas.index import Header, ImageRow, Timing
from camcli.storage import run_path

FinalStatus = Literal["complete", "interrupted", "aborted"]


class Rows(Protocol):
    """Where rows of the index are read from, in its order: a journal, or files of units."""

    @property
    def durable(self) -> bool:
        """Whether what is written of them waits for the disk."""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Each row as it was written, without its newline, with its offset in the journal; may be called again."""


@dataclass
class Counts:
    """The ``counts`` of the index, added up item by item."""

    images: int = 0
    ok: int = 0
    failed: int = 0
    maps: int = 0
    degenerate_maps: int = 0  # of a status other than "ok"
    labelled: int = 0
    correct: int = 0
    passed_over: int = 0

    def add(self, item: ImageRow) -> None:
        """Count one item of the index."""
        self.images += 1
        self.ok += item["status"] == "ok"
        self.failed += item["status"] == "failed"
        self.maps += len(item["maps"])
        self.degenerate_maps += sum(one["status"] != "ok" for one in item["maps"])
        self.labelled += item["label"] is not None
        self.correct += item["correct"] is True


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        status: whether all inputs are in the index, or what kept them out.
        finished: the time of the end, ISO 8601 in UTC.
        passed_over: files in folders without the extension of an image; no item lists them.
        timing: ``seconds``, ``images_per_second`` and ``stages`` (busy seconds of each stage).
    """

    status: FinalStatus
    finished: str
    timing: Timing
    passed_over: int = 0


def write_index(
    run_dir: str | Path, header: Header, rows: Rows, ending: Ending, counts: Counts | None = None
) -> Counts:
    """Write ``index.json``: as a stream, so that its size does not matter, and atomically.

    Args:
        run_dir: the run folder.
        header: the top-level fields; those of the ending and the counts are filled in here.
        rows: of the items.
        ending: how the run ended.
        counts: of the rows, where they were counted already: then the rows are read once, not twice.

    Returns:
        The counts that were written.

    Raises:
        OutputError: the system refused, or a row is damaged; an ``index.json`` that was there is as it was before.
        ValueError: a number of the header is not finite.
    """
    if counts is None:
        counts = count_items(rows, ending.passed_over)
    else:
        counts = replace(counts, passed_over=ending.passed_over)
    top = header_fields(
        header, status=ending.status, finished=ending.finished, counts=asdict(counts), timing=ending.timing
    )
    write_atomically(run_path(run_dir) / INDEX_NAME, _document(top, rows), durable=rows.durable)
    return counts


def _document(top: Mapping[str, object], rows: Rows) -> Iterator[bytes]:
    """One top-level field a line, then one item a line: readable, and easy to compare."""
    before = b"{"
    for key, value in top.items():
        yield before + b"\n" + strict_json(key) + b": " + strict_json(value)
        before = b","
    yield b",\n" + ITEMS_BEGIN
    before = b"\n"
    for offset, line in rows.lines():
        if not (line.startswith(b"{") and line.endswith(b"}")):
            raise damage_error(offset)
        yield before + line
        before = b",\n"
    yield b"\n]}\n"


def count_items(rows: Rows, passed_over: int) -> Counts:
    """Add up the items of the index; raises OutputError where a row is damaged."""
    counts = Counts(passed_over=passed_over)
    for item in read_items(rows):
        counts.add(item)
    return counts


def read_items(rows: Rows) -> Iterator[ImageRow]:
    """The items of the index, in the order of :func:`write_index`; raises OutputError where a row is damaged."""
    for offset, line in rows.lines():
        item = parse_row(line)
        if item is None:
            raise damage_error(offset)
        yield item


def read_index_names(run_dir: str | Path) -> Iterator[tuple[str, str]]:
    """The true names of the items of an ``index.json``, in order: source and image."""
    for item in read_index_items(run_dir):
        yield true_name(item, "source"), true_name(item, "image")


def read_index_items(run_dir: str | Path) -> Iterator[ImageRow]:
    """The items of an ``index.json`` as it is written here, one by one."""
    path = run_path(run_dir) / INDEX_NAME
    with naming_os_errors(path, "read"), path.open("rb") as file:
        for line in file:
            if line.startswith(ITEMS_BEGIN):
                break
        for line in file:
            item = parse_row(line.strip().removesuffix(b","))
            if item is not None:
                yield item


def damage_error(offset: int) -> OutputError:
    """The error of a row that is not there as it was appended."""
    return OutputError(
        f"the journal has no whole line at byte {offset}; something else wrote to it. Repeat the same command: "
        "what is damaged is made again."
    )
