"""Draw the pictures of a finished run again. Read :func:`redraw` first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from camcli.checks.recorded import RecordedRun
from camcli.checks.rereading import recorded_settings
from camcli.checks.run_paths import started_in
from camcli.concurrency import default_workers, in_order, lower_priority
from camcli.config.settings import RunConfig
from camcli.errors import ImageError, OutputError
from camcli.images import DecodeSettings, Entry, pillow_limits
from camcli.output import EARLIER, Journal, NothingDrawnError, Redrawing, write_tables
from camcli.output.row_keys import parse_row
from camcli.pipeline.pictures import Limits, fixed_limits, limits_of, style_of
from camcli.redraw.originals import Originals
from camcli.redraw.painting import Levels, Painter, path_levels, raw_map
from camcli.redraw.settings import (
    can_be_continued,
    changed_config,
    new_header,
    recorded_config,
    recorded_limits,
    unaffected,
)
from camcli.schemas.index import ExplainedRow, ImageRow

_LOOKED_AT = 64
"""Rows in which several targets are looked for."""


@dataclass(frozen=True)
class KeptPictures:
    """An image that keeps the pictures it had.

    Attributes:
        image, source: as in the index.
        kind, message: why, as an error of an image.
    """

    image: str
    source: str
    kind: str
    message: str


@dataclass
class RedrawResult:
    """What was drawn.

    Attributes:
        run_dir: the run folder.
        save: what it has now.
        limits: fixed limits of each method; none where each map has its own.
        images: rows of the index.
        drawn: images with new pictures.
        failed: images that the run could not explain, which have no pictures.
        kept: images that keep their pictures.
        notes: what the user should know.
        is_recorded: whether the run now has these settings; not where no image could be drawn.
    """

    run_dir: Path
    save: tuple[str, ...]
    limits: Mapping[str, Limits]
    images: int = 0
    drawn: int = 0
    failed: int = 0
    kept: list[KeptPictures] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_recorded: bool = True

    @property
    def exit_code(self) -> int:
        """3 where images keep their pictures."""
        return 3 if self.kept else 0


class Watcher:
    """Receives what happens; the command line prints it. This one ignores it."""

    def ready(self, result: RedrawResult) -> None:
        """All is decided; the first image comes next."""

    def image(self, kept: KeptPictures | None) -> None:
        """An image was drawn, or keeps its pictures."""


def redraw(run_dir: str | Path, changes: Mapping[str, Any], *, watch: Watcher | None = None) -> RedrawResult:
    """Draw the pictures of a finished run with other settings; what is not given stays as it was.

    Pictures, index and journal are then those of a run with these settings. Pictures are replaced one by one, journal
    and index in the end: a process that ends before leaves a folder that only another call makes whole. Where no image
    can be drawn, all stays as it is; an image that cannot keeps its pictures, and a run with these settings explains it
    again.

    Args:
        run_dir: the run folder.
        changes: settings by name, of :data:`camcli.redraw.settings.PICTURES`; ``workers`` besides.
        watch: told what happens.

    Raises:
        UsageError: no run has ended there; settings that are not allowed, or need the model.
        OutputError: the folder is in use, or cannot be written.
    """
    with Redrawing(run_dir) as folder:
        return _redraw(folder, changes, watch or Watcher())


def _redraw(folder: Redrawing, changes: Mapping[str, Any], watch: Watcher) -> RedrawResult:
    header, journal = folder.header, folder.journal
    before = recorded_config(header)
    after = changed_config(before, changes)
    workers = RunConfig(workers=changes.get("workers", "auto")).parsed.workers or default_workers()
    rows = folder.rows()
    limits = _limits(folder, before, after, rows)
    same = frozenset[str]() if folder.was_stopped else unaffected(before, after)
    painter = _painter(folder, after, limits, rows, same)
    done = RedrawResult(folder.path, after.save, limits, images=len(rows))
    if not can_be_continued(header, before):
        done.notes.append("another version of cam made this run: `cam run` will not continue it")
    if "save" in changes and len(after.save) > len(RunConfig(save=changes["save"]).save):
        done.notes.append("the raw maps that the run saved stay")
    watch.ready(done)
    originals = Originals(folder.path, header, journal)

    def draw(pair: tuple[int, Entry | None]) -> tuple[ImageRow, ImageRow, KeptPictures | None]:
        row = _row(journal, pair[0])
        if row["status"] != "ok":
            return row, row, None
        entry = originals.from_stdin(row) if row["source"] == "-" else pair[1]
        try:
            return row, painter(row, entry), None
        except ImageError as error:
            note = [] if EARLIER in row["notes"] else [EARLIER]
            new: ExplainedRow = {**row, "notes": [*row["notes"], *note]}
            return row, new, KeptPictures(row["image"], row["source"], error.kind, error.message)

    def draw_all() -> Iterator[tuple[ImageRow, ImageRow]]:
        with (
            ThreadPoolExecutor(workers, "draw", lower_priority) as pool,
            closing(originals.pair(rows)) as pairs,
            closing(in_order(pool, draw, pairs, 4 * workers)) as drawn,
        ):
            for old, new, kept in drawn:
                _count(done, new, kept)
                watch.image(kept)
                yield old, new
        if done.kept and not done.drawn:
            raise NothingDrawnError

    try:
        with pillow_limits(max_pixels=after.max_pixels):
            written = folder.replace(new_header(header, after, limits), draw_all())
    except NothingDrawnError:
        done.is_recorded = False
        return done
    _write_table(folder, after, written)
    return done


def _count(done: RedrawResult, row: ImageRow, kept: KeptPictures | None) -> None:
    if kept is not None:
        done.kept.append(kept)
    elif row["status"] == "ok":
        done.drawn += 1
    else:
        done.failed += 1


def _limits(folder: Redrawing, before: RunConfig, after: RunConfig, rows: Sequence[int]) -> dict[str, Limits]:
    """Fixed limits of each method; those of a sample as the run had them, or from the maps of its first images."""
    count = after.parsed.scale.sample
    if not count:
        return fixed_limits(after)
    earlier = recorded_limits(folder.header, before, after)
    if earlier is not None:
        return earlier
    maps: dict[str, list[np.ndarray]] = {}
    taken = 0
    for offset in rows:
        row = _row(folder.journal, offset)
        if row["status"] == "ok" and taken < count:
            taken += 1
            for one in row["maps"]:
                maps.setdefault(one["method"], []).append(raw_map(folder.path, row, one)[0])
        if taken >= count:
            break
    return {method: limits_of(raws, after.signed) for method, raws in maps.items()}


def _painter(
    folder: Redrawing, config: RunConfig, limits: Mapping[str, Limits], rows: Sequence[int], same: frozenset[str]
) -> Painter:
    header = folder.header
    levels = Levels(len(header["layers"]) > 1, False, len(header["config"]["image_path"]) > 1)
    first = [_row(folder.journal, offset) for offset in rows[:_LOOKED_AT]]
    _, height, width = header["model"]["input_size"]
    return Painter(
        folder.path, folder.writer, _decoding(folder, config), config.save, style_of(config), limits, config.max_side,
        config.canvas == "view", (height, width), path_levels(levels, first), same,
    )  # fmt: skip


def _decoding(folder: Redrawing, config: RunConfig) -> DecodeSettings:
    """How the run decoded its images; those that a device decoded differ by what it rounds."""
    settings = recorded_settings(RecordedRun(folder.path, folder.header, [], 0))
    _, height, width = folder.header["model"]["input_size"]
    return replace(
        settings, fast_decode=config.fast_decode, fast_size=(width, height), keeps_bands=config.bands is not None
    )


def _row(journal: Journal, offset: int) -> ImageRow:
    row = parse_row(journal.read_at(offset))
    if row is None:
        raise OutputError(f"the journal has no whole line at byte {offset}. Repeat the `cam run` of this folder.")
    return row


def _write_table(folder: Redrawing, config: RunConfig, journal: Journal) -> None:
    """Write the tables of ``--csv`` and ``--parquet`` again, which name the pictures."""
    start = started_in(RecordedRun(folder.path, folder.header, [], 0)) or ""
    counts = folder.header["counts"]
    order = journal.offsets()
    order = order[: counts["images"]] if counts is not None else order
    csv, parquet = (name and os.path.join(start, name) for name in (config.csv, config.parquet))
    write_tables(csv, parquet, journal.in_order(order))
