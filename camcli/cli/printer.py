"""What ``cam run`` prints for people: what it does, each image's top prediction, progress, a summary."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from tqdm import tqdm

from camcli.cli.options import Talk
from camcli.cli.streams import nobody_listens, printable
from camcli.config.settings import RunConfig
from camcli.errors import CamError
from camcli.images import Sources
from camcli.pipeline.header import layer_fields, model_fields
from camcli.pipeline.setup import Setup, prepare
from camcli.pipeline.stream import Summary, Watcher
from camcli.schemas.index import ImageRow

_LINES = 20
"""So many images are named one by one; the index has them all."""
_EVERY = 5.0
"""Seconds between progress lines where there is no terminal."""
_OFTEN = 0.3
"""The same inside an image, where there is one."""


class Printer(Watcher):
    """Speaks while the run goes: results to stdout, progress to stderr."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.lines = 0
        self.kept = 0
        self.done = 0
        self.total: int | None = None
        self.last = time.monotonic()
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Printer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def compiling(self) -> None:
        if not self.talk.quiet:
            print("compiling what comes before the target layer; this takes up to minutes", file=sys.stderr, flush=True)

    def ready(self, setup: Setup, notes: Sequence[str]) -> None:
        if self.talk.quiet:
            return
        self.last = time.monotonic()
        self.say(*describe_setup(setup, passes=self.talk.verbose))
        for note in (*setup.model.notes, *setup.explainer.notes, *notes):
            self.say(f"note     {note}")
        if sys.stderr.isatty():
            self.bar = tqdm(unit=" images", desc="explaining", leave=False, dynamic_ncols=True)
        if "-" not in setup.config.image_path:
            threading.Thread(target=self._count, args=(setup.config,), daemon=True).start()

    def _count(self, config: RunConfig) -> None:
        # Only for the bar: what is wrong with a source is the stream's to report.
        with suppress(CamError, OSError):
            self.total = Sources(config.image_path, exclude=None, limit=config.limit).count()

    def row(self, row: ImageRow) -> None:
        self.done += 1
        if self.talk.quiet:
            return
        if row["status"] == "failed":
            self.problem(printable(f"failed   {row['image']}: {row['error']['message']} ({row['error']['kind']})"))
        elif self.lines < _LINES or self.talk.verbose:
            self.lines += 1
            self.say(f"{printable(row['image']):<36} {prediction(row)}")
            if self.lines == _LINES and not self.talk.verbose:
                self.say("… the index has the others")
        self._progress()

    def skipped(self, count: int) -> None:
        self.kept += count
        self.done += count

    def inside(self, method: str, done: int, total: int) -> None:
        """How far a method of many passes is inside one image."""
        if self.talk.quiet or time.monotonic() - self.last < (_OFTEN if self.bar is not None else _EVERY):
            return
        self.last = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(f"{method} {done}/{total}")
        else:
            self._print(f"{method}: {done} of {total} passes in one image", sys.stderr)

    def _progress(self) -> None:
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.update(self.done - self.bar.n)
        elif time.monotonic() - self.last > _EVERY:
            self.last = time.monotonic()
            of = f" of {self.total}" if self.total else ""
            self._print(f"{self.done}{of} images", sys.stderr)

    def summary(self, summary: Summary) -> None:
        if self.talk.quiet:
            return
        counts = summary.counts
        kept = f" ({self.kept} of them were there already)" if self.kept else ""
        images = f"{counts['images']} image" + "s" * (counts["images"] != 1)
        self.say(
            "",
            f"{images}: {counts['ok']} explained{kept}, {counts['failed']} failed, "
            f"in {summary.timing['seconds']:.1f} s ({summary.timing['images_per_second']:.1f} images/s)",
        )
        if counts.get("degenerate_maps"):
            self.say(
                f"{counts['degenerate_maps']} of {counts['maps']} maps show nothing (zero, constant or not finite)"
            )
        if counts.get("labelled"):
            self.say(f"{counts['correct']} of {counts['labelled']} labelled images have their label as top prediction")
        if counts.get("passed_over"):
            over = counts["passed_over"]
            self.say(f"{over} other file{'s' if over > 1 else ''} without the extension of an image passed over")
        if self.talk.verbose:
            self.say(
                "busy seconds: "
                + ", ".join(f"{stage} {spent:.2f}" for stage, spent in summary.timing["stages"].items())
            )
        if summary.status != "complete":
            self.say(f"{summary.status}: the same command continues")
        self.say(printable(f"results in {summary.run_dir}: {contents(summary)}"))

    def say(self, *lines: str) -> None:
        for line in lines:
            self._print(line, sys.stderr if self.talk.json else sys.stdout)

    def problem(self, line: str) -> None:
        self._print(line, sys.stderr)

    def _print(self, line: str, stream: TextIO) -> None:
        try:
            if self.bar is not None:
                self.bar.write(line, file=stream)
            else:
                print(line, file=stream, flush=True)
        except OSError:  # the reader (head, a terminal) is gone or its disk is full: the run goes on
            nobody_listens(stream)


def prediction(row: ImageRow) -> str:
    """``Egyptian cat 57.1 %``, and the label where it is another."""
    if not row["predictions"]:
        return "explained"
    top = row["predictions"][0]
    name = top["name"] if top["name"] is not None else f"class {top['index']}"
    chance = "" if top["probability"] is None else f"  {100 * top['probability']:.1f} %"
    label = row["label"]
    wrong = f"  (label: {label['name'] or label['index']})" if label and row["correct"] is False else ""
    degenerate = {m["status"] for m in row["maps"]} - {"ok"}
    note = f"  [{', '.join(sorted(degenerate))} map]" if degenerate else ""
    return f"{name}{chance}{wrong}{note}"


def contents(summary: Summary) -> str:
    """What a reader finds in the run folder."""
    folders = sorted(p.name + "/" for p in summary.run_dir.iterdir() if p.is_dir())
    return ", ".join([*folders, "index.json"])


def describe_setup(setup: Setup, *, passes: bool) -> list[str]:
    """What was decided, in a few lines."""
    model, pre = setup.model, setup.model.preprocessing
    classes = f", {model.num_classes} classes" if model.num_classes else ""
    lines = [f"model    {model.name} ({model.source}, {model.weights}){classes}; {pre.description}"]
    for layer in setup.layers:
        height, width = layer.layout.grid
        lines.append(
            f"layer    {layer.path}  {layer.module}, {layer.layout.kind} {height}×{width}, "
            f"{layer.channels} channels, layout {layer.proof}"
        )
    lines.append(
        f"method   {', '.join(setup.config.method)} for {setup.config.target or 'predicted'}; "
        f"{setup.device}, {setup.precision}, batches of {setup.batch_size}"
    )
    return lines + ([f"passes   {line}" for line in setup.explainer.plan()] if passes else [])


def print_plan(config: RunConfig, talk: Talk) -> None:
    """``--dry-run``: decide everything, say it, write nothing."""
    setup = prepare(config)
    count = setup.sources.count()
    if talk.json:
        plan = {
            "images": count, "model": model_fields(setup), "layers": layer_fields(setup),
            "methods": list(setup.config.method), "batch_size": setup.batch_size, "device": str(setup.device),
            "precision": setup.precision, "save": list(config.save), "output_dir": config.output_dir,
        }  # fmt: skip
        print(json.dumps(plan))
        return
    for line in describe_setup(setup, passes=True):
        print(line)
    print(
        f"images   {count}"
        + (f", {setup.sources.passed_over} other files passed over" if setup.sources.passed_over else "")
    )
    print(f"output   {config.output_dir}: {', '.join(config.save) or 'index only'}")
    print("dry run: nothing was explained or written")
