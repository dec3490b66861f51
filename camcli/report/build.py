"""A gallery, from the run folder to the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camcli.checks.report.run_document import CHECK_NAME, DIFF_NAME
from camcli.concurrency import cores, in_order
from camcli.config.parse import parse_scale
from camcli.images import Entry, pillow_limits
from camcli.output import true_name, write_named_file
from camcli.report.changes import Earlier, read_earlier
from camcli.report.check_results import read_results
from camcli.report.command_line import image_argument
from camcli.report.data_files import DataFiles
from camcli.report.originals import Originals, find_originals, href
from camcli.report.page import describe_run, render_page
from camcli.report.pictures import PictureMaker, Pictures
from camcli.report.records import Limits, Records
from camcli.report.rows import Row, RunRows, first_rows, open_rows

Progress = Callable[[int, int], None]
"""Called with the images done and all images."""


@dataclass(frozen=True)
class ReportOptions:
    """What is asked for.

    Attributes:
        run: the run folder.
        against: another run, to show what changed.
        output: the page; None for ``RUN/report.html``.
        self_contained: one file with everything in it.
        limit: the first so many images; None for all.
    """

    run: str
    against: str | None = None
    output: str | None = None
    self_contained: bool = False
    limit: int | None = None

    @property
    def page(self) -> Path:
        """Where the page is written."""
        return Path(self.output) if self.output else Path(self.run) / "report.html"

    @property
    def folder(self) -> Path:
        """Where its data and thumbnails are."""
        return self.page.with_suffix("") if self.page.suffix else self.page.with_name(self.page.name + "-data")


@dataclass(frozen=True)
class Gallery:
    """A page that was written.

    Attributes:
        page: its file.
        images, failed: in it.
        missing: images whose original is not there any more, or has another content.
        bytes: of the page alone.
        folder: of its data and thumbnails; None where the page holds them.
    """

    page: Path
    images: int
    failed: int
    missing: int
    bytes: int
    folder: Path | None = None


def build_report(options: ReportOptions, progress: Progress | None = None) -> Gallery:
    """Write the gallery of a run.

    Raises:
        UsageError: no run is there, or ``against`` cannot be compared with it.
        OutputError: a file cannot be written.
    """
    run = open_rows(options.run)
    earlier = None if options.against is None else read_earlier(options.against, options.run)
    builder = _Builder(options, run, earlier, find_originals(run))
    with pillow_limits(max_pixels=run.header["config"].get("max_pixels")):
        builder.add_all(progress or (lambda done, total: None))
    return builder.finish()


class _Builder:
    def __init__(self, options: ReportOptions, run: RunRows, earlier: Earlier | None, originals: Originals) -> None:
        self.options, self.run, self.earlier, self.originals = options, run, earlier, originals
        self.records = Records(limits_of(run), bool(run.header["config"].get("signed")))
        self.pictures = PictureMaker(run, options.folder, options.self_contained)
        self.data = DataFiles(None if options.self_contained else options.folder)
        self.images = self.failed = self.missing = 0

    def add_all(self, progress: Progress) -> None:
        total = self.run.count if self.options.limit is None else min(self.run.count, self.options.limit)
        workers = cores()
        with ThreadPoolExecutor(workers, thread_name_prefix="picture") as pool:
            rows = self._with_entries(first_rows(self.run, self.options.limit))
            for row, entry, pictures in in_order(pool, self._make, rows, 4 * workers):
                self.data.add(self._record(row, entry, pictures))
                self.images += 1
                self.failed += row["status"] != "ok"
                self.missing += pictures.problem is not None
                progress(self.images, total)
        self.data.close()

    def _with_entries(self, rows: Iterator[Row]) -> Iterator[tuple[Row, Entry | None]]:
        for row in rows:
            yield row, self.originals.get((true_name(row, "image"), true_name(row, "source")))

    def _make(self, pair: tuple[Row, Entry | None]) -> tuple[Row, Entry | None, Pictures]:
        return *pair, self.pictures.make(*pair)

    def _record(self, row: Row, entry: Entry | None, pictures: Pictures) -> dict[str, Any]:
        record = self.records.record(row)
        more = {
            **self._links(pictures),
            "x": pictures.problem,
            "cmd": image_argument(row, entry),
            "a": None if self.earlier is None else self.earlier.record(row, self.records),
        }
        if not self.options.self_contained:
            self.records.add_files(record, row)
        return record | {key: value for key, value in more.items() if value is not None}

    def _links(self, pictures: Pictures) -> dict[str, Any]:
        page = self.options.page
        if pictures.data is not None:
            from base64 import b64encode

            thumbnail: str | None = "data:image/jpeg;base64," + b64encode(pictures.data).decode("ascii")
        else:
            thumbnail = pictures.thumbnail and href(self.options.folder / pictures.thumbnail, page)
        return {
            "t": thumbnail,
            "td": 1 if pictures.drawn else None,
            "o": pictures.original and href(pictures.original, page),
            "oc": pictures.copy and href(self.options.folder / pictures.copy, page),
        }

    def finish(self) -> Gallery:
        """Write the page, after everything that it refers to."""
        meta: Mapping[str, Any] = {
            **describe_run(self.run, self.records, self.images),
            "folder": href(self.run.path, self.options.page),
            "chunks": self.data.names(self.options.page),
            "check": read_results(self.run.path, CHECK_NAME, self.run.header),
            "diff": read_results(self.run.path, DIFF_NAME, self.run.header),
            "against": None if self.earlier is None else {"name": self.earlier.name, **self.earlier.summary},
        }
        page = render_page(self.run, self.records, meta, self.data.embedded)
        folder = None if self.options.self_contained else self.options.folder
        size = write_named_file("--output", self.options.page, (part.encode("utf-8") for part in page))
        return Gallery(self.options.page, self.images, self.failed, self.missing, size, folder)


def limits_of(run: RunRows) -> Limits:
    """The fixed limits that the run drew its maps with."""
    config = run.header["config"]
    if config.get("scale_limits"):
        return {method: (low, high) for method, (low, high) in config["scale_limits"].items()}
    scale = parse_scale(config.get("scale") or "per-image")
    if scale.low is None or scale.high is None:
        return {}
    return dict.fromkeys(run.header["methods"], (scale.low, scale.high))


def as_json(gallery: Gallery) -> str:
    """What ``--json`` prints."""
    return json.dumps(
        {
            "page": str(gallery.page), "images": gallery.images, "failed": gallery.failed, "missing": gallery.missing,
            "bytes": gallery.bytes, "folder": None if gallery.folder is None else str(gallery.folder),
        }
    )  # fmt: skip
