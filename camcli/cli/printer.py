"""What ``cam run`` prints for people: the setup, the top prediction of each image, progress, a summary."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, TextIO

from tqdm import tqdm

from camcli.cli.class_summary import ClassSummary
from camcli.cli.cost import cost_lines, duration, remaining_line
from camcli.cli.options import OutputMode
from camcli.cli.setup_lines import Description, describe
from camcli.cli.streams import discard_output
from camcli.config.settings import RunConfig
from camcli.errors import CamError, printable
from camcli.images import ASSUMED, Sources
from camcli.output import INDEX_NAME
from camcli.output.shard_plan import SHARDS
from camcli.pipeline.folder import own_share
from camcli.pipeline.inputs import list_sources
from camcli.pipeline.items import IMPROBABLE
from camcli.pipeline.setup import Setup
from camcli.pipeline.stream import Summary, Watcher
from camcli.schemas.index import ImageRow
from camcli.storage import is_remote

_LINES = 20
"""Of so many images each has a line, and more are summed up by class; the index lists all."""
_LINE_INTERVAL = 5.0
"""Seconds between progress lines when stderr is not a terminal."""
_BAR_INTERVAL = 0.3
"""Seconds between updates of the bar inside an image."""


class Printer(Watcher):
    """Prints results to stdout (with ``--json`` to stderr) and progress to stderr while the run goes on."""

    def __init__(self, mode: OutputMode) -> None:
        self.mode = mode
        self.lines = 0
        self.are_few = True  # images: each has a line
        self.listing: _Listing | None = None  # of the inputs, where it costs little
        self.classes = ClassSummary()
        self.failed = 0
        self.assumed: set[str] = set()  # notes of images that are printed once
        self.earlier = 0  # images that an earlier start explained
        self.done = 0
        self.total: int | None = None
        self.last = time.monotonic()
        self.bar: tqdm[Any] | None = None
        self.batch_size = 1
        self.inside_image = ""  # how far a slow method is
        self.first_failed: str | None = None
        self.first_batch = 0  # its size, until its time was said
        self.began = self.started = self.last
        self.drawn_by_itself = False  # whether each map has colours of its own scale
        self.improbable = 0  # maps of classes that the model practically rules out
        self.first_improbable = ""
        self.highest_raw = 0.0  # of the other maps

    def __enter__(self) -> Printer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def compiling(self) -> None:
        if not self.mode.quiet:
            print("compiling what comes before the target layer; this takes up to minutes", file=sys.stderr, flush=True)

    def choosing(self, line: str) -> None:
        if not self.mode.quiet:
            self.show(printable(f"best     {line}"))

    def elsewhere(self, note: str) -> None:
        # Said with --quiet, too: a program that reads the default folder would read another run.
        if self.mode.quiet:
            self.problem(printable(f"cam: {note}"))

    def note(self, line: str) -> None:
        if not self.mode.quiet:
            self.problem(printable(f"note     {line}"))

    def ready(self, setup: Setup, notes: Sequence[str]) -> None:
        if self.mode.quiet:
            return
        description = describe(setup, passes=self.mode.verbose)
        self._show_setup(setup.config, description)
        if description.costs:
            self._announce_cost(setup)
        self._begin(setup.config, (*description.notes, *notes))

    def describe(self) -> Callable[[Setup], Any]:
        return partial(describe, passes=self.mode.verbose)

    def ready_elsewhere(self, config: RunConfig, description: Any, notes: Sequence[str]) -> None:
        if self.mode.quiet:
            return
        self._show_setup(config, description)
        for line in description.costs:
            self._print(line, sys.stderr)
        self._begin(config, (*description.notes, *notes))

    def _show_setup(self, config: RunConfig, description: Description) -> None:
        self.last = self.started = time.monotonic()
        self.batch_size = description.batch_size
        # Of standard input nobody knows; the first ones have lines.
        sources = list_sources(config)
        if sources.is_cheap_to_count:
            self.listing = _Listing(sources)
            self.are_few = self.listing.has_at_most(_LINES)
        self.drawn_by_itself = description.drawn_by_itself
        self.show(*description.lines)
        for line in description.assumptions:
            self.problem(printable(f"note     {line}"))
        self.show(*description.limits)

    def _begin(self, config: RunConfig, notes: Sequence[str]) -> None:
        for note in notes:
            self.show(f"note     {note}")
        if sys.stderr.isatty():
            self.bar = tqdm(unit=" images", desc="explaining", leave=False, dynamic_ncols=True)
        if self.listing is not None and self.total is None:
            threading.Thread(target=self._count_aside, args=(config, self.listing), daemon=True).start()

    def _count_aside(self, config: RunConfig, listing: _Listing) -> None:
        # Only for the bar: the stream reports what is wrong with a source.
        with suppress(CamError, OSError):
            self.total = own_share(config, listing.count(), self.batch_size)

    def _announce_cost(self, setup: Setup) -> None:
        """Say what slow methods cost; how long they take is said after the first batch."""
        if self.listing is not None:
            self.total = own_share(setup.config, self.listing.count(), setup.batch_size)
        for line in cost_lines(setup, self.total):
            self._print(line, sys.stderr)
        self.first_batch, self.began = setup.batch_size, time.monotonic()

    def _estimate(self) -> None:
        """After the first batch, whose rows come at once, how long the others take."""
        done, remaining = self.first_batch, (self.total or 0) - self.earlier - self.first_batch
        if done and remaining > 0:
            self._print(remaining_line(time.monotonic() - self.began, done, remaining), sys.stderr)
        self.first_batch = 0

    def row(self, row: ImageRow) -> None:
        self.done += 1
        if self.first_batch and not self.mode.quiet:
            self._estimate()
        if row["status"] == "failed":
            self.failed += 1
            reason = f"{row['image']}: {row['error']['message']} ({row['error']['kind']})"
            self.first_failed = self.first_failed or reason
        self.classes.add(row)
        self._count_improbable(row)
        if self.mode.quiet:
            return
        for note in row["notes"]:
            if note.startswith(ASSUMED) and note not in self.assumed:
                self.assumed.add(note)
                self.show(f"note     {note}")
        if row["status"] == "failed":
            self.problem(printable(f"failed   {row['image']}: {row['error']['message']} ({row['error']['kind']})"))
        elif (self.are_few and self.lines < _LINES) or self.mode.verbose:
            self.lines += 1
            self.show(f"{printable(row['image']):<36} {prediction(row)}")
        self._progress()

    def _count_improbable(self, row: ImageRow) -> None:
        for one in row["maps"]:
            if not one.get("improbable") or (target := one["target"]) is None:
                self.highest_raw = max(self.highest_raw, one["raw"]["max"] or 0)
                continue
            self.improbable += 1
            name, chance = target["name"] or f"class {target['index']}", 100 * (target["probability"] or 0)
            self.first_improbable = self.first_improbable or f"{row['image']}: {name}, {chance:.2g} %"

    def _about_improbable(self) -> str:
        maps = "1 map explains a class" if self.improbable == 1 else f"{self.improbable} maps explain classes"
        limits = f"0:{self.highest_raw:.2g}" if self.highest_raw > 0 else "LO:HI, in raw map values,"
        return (
            f"{maps} with a probability below {100 * IMPROBABLE:g} % ({self.first_improbable}), drawn as bright as any "
            f"other; --scale {limits} draws all maps on one scale"
        )

    def skipped(self, count: int) -> None:
        self.earlier += count
        self.done += count

    def inside(self, method: str, done: int, total: int) -> None:
        """Print the progress of a method of many passes inside one image."""
        if self.mode.quiet or time.monotonic() - self.last < (
            _BAR_INTERVAL if self.bar is not None else _LINE_INTERVAL
        ):
            return
        self.last = time.monotonic()
        if self.bar is not None:
            self.inside_image = f"{method} {done}/{total}"
            self._show_in_bar()
        else:
            self._print(f"{method}: {done} of {total} passes in one image", sys.stderr)

    def _progress(self) -> None:
        if self.bar is not None:
            self.bar.total = self.total
            self.inside_image = ""
            self._show_in_bar()
            self.bar.update(self.done - self.bar.n)
        elif time.monotonic() - self.last > _LINE_INTERVAL:
            self.last = time.monotonic()
            self._print(self._progress_line(), sys.stderr)

    def _show_in_bar(self) -> None:
        assert self.bar is not None
        failed = f"{self.failed:,} failed" if self.failed else ""
        self.bar.set_postfix_str(", ".join(part for part in (self.inside_image, failed) if part), refresh=False)

    def _explained(self) -> int:
        """Images explained now: the rows of a batch come one by one after the whole batch is explained."""
        explained = -(-(self.done - self.earlier) // self.batch_size) * self.batch_size
        return min(explained, self.total - self.earlier) if self.total else explained

    def _progress_line(self) -> str:
        """``1200 of 50000 images, 31.2 images/s, about 26 min left, 3 failed``."""
        spent, now = self.last - self.started, self._explained()
        parts = [f"{self.done}" + (f" of {self.total}" if self.total else "") + " images"]
        if spent > 0 and now > 0:
            parts.append(f"{now / spent:.1f} images/s")
            if self.total:
                parts.append(f"{duration(max(0, self.total - self.earlier - now) * spent / now, about=True)} left")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)

    def failures(self, summary: Summary) -> None:
        """With ``--quiet``: one line that images failed, which are otherwise printed one by one."""
        failed, images = summary.counts["failed"], summary.counts["images"]
        if self.mode.quiet and failed:
            where = f"{summary.run_dir / INDEX_NAME}{', once merged' if summary.unmerged else ''}"
            self.problem(failure_line(failed, images, self.first_failed, f"; see {where}"))

    def summary(self, summary: Summary) -> None:
        if self.mode.quiet:
            self.failures(summary)
            return
        counts = summary.counts
        earlier = f" ({self.earlier} of them were there already)" if self.earlier else ""
        if not self.are_few or self.done - self.earlier > _LINES:
            self.show(*map(printable, ["", *self.classes.lines()]))
        rate = f" ({summary.timing['images_per_second']:.1f} images/s)" if summary.explained else ""
        images = f"{counts['images']} image" + "s" * (counts["images"] != 1)
        self.show(
            "",
            f"{images}: {counts['ok']} explained{earlier}, {counts['failed']} failed, "
            f"in {summary.timing['seconds']:.1f} s{rate}",
        )
        if counts["failed"]:
            self.show("--retry-failed tries the failed images again; the index has the reason of each")
        if counts.get("degenerate_maps"):
            self.show(
                f"{counts['degenerate_maps']} of {counts['maps']} maps show nothing (zero, constant or not finite)"
            )
        if self.improbable and self.drawn_by_itself:
            self.show(printable(self._about_improbable()))
        if counts.get("labelled"):
            self.show(f"{counts['correct']} of {counts['labelled']} labelled images have their label as top prediction")
        if counts.get("passed_over"):
            over = counts["passed_over"]
            self.show(f"{over} other file{'s' if over > 1 else ''} without the extension of an image passed over")
        if self.mode.verbose:
            self.show(
                "busy seconds: "
                + ", ".join(f"{stage} {spent:.2f}" for stage, spent in summary.timing["stages"].items())
            )
        if summary.status != "complete":
            self.show(f"{summary.status}: the same command continues")
        instead = f" ({summary.instead_of})" if summary.instead_of else ""
        if summary.unmerged:
            self.show(printable(f"next     cam merge {shlex.quote(str(summary.run_dir))}   once all shards have ended"))
            return
        self.show(printable(f"results in {summary.run_dir}{instead}: {contents(summary)}"))
        if counts["ok"] and not is_remote(str(summary.run_dir)):
            self.show(
                printable(f"next     cam report {shlex.quote(str(summary.run_dir))} --open   shows them as a page")
            )

    def show(self, *lines: str) -> None:
        for line in lines:
            self._print(line, sys.stderr if self.mode.json else sys.stdout)

    def problem(self, line: str) -> None:
        self._print(line, sys.stderr)

    def _print(self, line: str, stream: TextIO) -> None:
        try:
            if self.bar is not None:
                self.bar.write(line, file=stream)
            else:
                print(line, file=stream, flush=True)
        except OSError:  # the reader (head, a terminal) has exited or a disk is full: the run goes on
            discard_output(stream)


class _Listing:
    """The inputs of a run, listed once and as far as they are asked for."""

    def __init__(self, sources: Sources) -> None:
        self._entries = iter(sources)
        self._listed = 0

    def has_at_most(self, count: int) -> bool:
        self._listed += sum(1 for _ in islice(self._entries, count + 1 - self._listed))
        return self._listed <= count

    def count(self) -> int:
        self._listed += sum(1 for _ in self._entries)
        return self._listed


def failure_line(failed: int, images: int, first: str | None, more: str = "") -> str:
    """That images failed, in one line: how many, and the first with its reason."""
    count = f"{failed} of {images} images" if images > 1 else "the image"
    reason = f"; the first: {first}" if first and images > 1 else f": {first}" if first else ""
    return printable(f"cam: {count} could not be explained{reason}{more}")


def prediction(row: ImageRow) -> str:
    """``Egyptian cat 57.1 %``, and the label if it differs."""
    if not row["predictions"]:
        return "explained"
    top = row["predictions"][0]
    p, value = top["probability"], top["logit"]
    if value is None:
        return "the model's outputs are not finite"
    name = top["name"] if top["name"] is not None else f"{'class' if p is not None else 'output'} {top['index']}"
    chance = f"  {100 * p:.1f} %" if p is not None else f"  {value:.4g}"
    label = row["label"]
    wrong = f"  (label: {label['name'] or label['index']})" if label and row["correct"] is False else ""
    degenerate = {m["status"] for m in row["maps"]} - {"ok"}
    note = f"  [{', '.join(sorted(degenerate))} map]" if degenerate else ""
    return f"{name}{chance}{wrong}{note}"


def contents(summary: Summary) -> str:
    """The subfolders and the index of the run folder."""
    folders = sorted(p.name + "/" for p in summary.run_dir.iterdir() if p.is_dir() and p.name != SHARDS)
    return ", ".join([*folders, "index.json"])
