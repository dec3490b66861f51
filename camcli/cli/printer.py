"""What ``cam run`` prints for people: the setup, the top prediction of each image, progress, a summary."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TextIO

from tqdm import tqdm

from camcli.cli.cost import cost_lines, remaining_line
from camcli.cli.layer_tree import verification
from camcli.cli.options import OutputMode
from camcli.cli.streams import discard_output
from camcli.config.settings import RunConfig
from camcli.errors import CamError, printable
from camcli.images import ASSUMED, Sources
from camcli.models import Model
from camcli.output import INDEX_NAME
from camcli.pipeline.folder import earlier_header, plan_folder
from camcli.pipeline.header import layer_fields, model_fields, output_fields
from camcli.pipeline.items import IMPROBABLE
from camcli.pipeline.pictures import limit_lines
from camcli.pipeline.setup import Setup, in_run_folder, list_sources, prepare
from camcli.pipeline.stream import Summary, Watcher
from camcli.schemas.index import CandidateFields, ChosenMethod, ImageRow

_LINES = 20
"""Images that are printed one by one; the index lists all."""
_LINE_INTERVAL = 5.0
"""Seconds between progress lines when stderr is not a terminal."""
_BAR_INTERVAL = 0.3
"""Seconds between updates of the bar inside an image."""


class Printer(Watcher):
    """Prints results to stdout (with ``--json`` to stderr) and progress to stderr while the run goes on."""

    def __init__(self, mode: OutputMode) -> None:
        self.mode = mode
        self.lines = 0
        self.assumed: set[str] = set()  # notes of images that are printed once
        self.earlier = 0  # images that an earlier start explained
        self.done = 0
        self.total: int | None = None
        self.last = time.monotonic()
        self.bar: tqdm[Any] | None = None
        self.first_failed: str | None = None
        self.first_batch = 0  # its size, until its time was said
        self.began = self.last
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

    def ready(self, setup: Setup, notes: Sequence[str]) -> None:
        if self.mode.quiet:
            return
        self.last = time.monotonic()
        self.drawn_by_itself = setup.config.pictures and not setup.limits
        self.show(*describe_setup(setup, passes=self.mode.verbose))
        for line in setup.assumptions:
            self.problem(printable(f"note     {line}"))
        if setup.config.parsed.scale.sample:
            self.show(*limit_lines(setup.limits))
        self._announce_cost(setup)
        for note in (*setup.model.notes, *setup.explainer.notes, *notes):
            self.show(f"note     {note}")
        if sys.stderr.isatty():
            self.bar = tqdm(unit=" images", desc="explaining", leave=False, dynamic_ncols=True)
        if "-" not in setup.config.image_path:
            threading.Thread(target=self._count, args=(setup.config,), daemon=True).start()

    def _count(self, config: RunConfig) -> None:
        # Only for the bar: the stream reports what is wrong with a source.
        with suppress(CamError, OSError):
            self.total = list_sources(config).count()

    def _announce_cost(self, setup: Setup) -> None:
        """Say what slow methods cost; how long they take is said after the first batch."""
        if not cost_lines(setup, None):
            return
        if "-" not in setup.config.image_path:
            self.total = setup.sources.count()
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
        if row["status"] == "failed" and self.first_failed is None:
            self.first_failed = f"{row['image']}: {row['error']['message']} ({row['error']['kind']})"
        self._count_improbable(row)
        if self.mode.quiet:
            return
        for note in row["notes"]:
            if note.startswith(ASSUMED) and note not in self.assumed:
                self.assumed.add(note)
                self.show(f"note     {note}")
        if row["status"] == "failed":
            self.problem(printable(f"failed   {row['image']}: {row['error']['message']} ({row['error']['kind']})"))
        elif self.lines < _LINES or self.mode.verbose:
            self.lines += 1
            self.show(f"{printable(row['image']):<36} {prediction(row)}")
            if self.lines == _LINES and not self.mode.verbose:
                self.show("… the index lists the others")
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
            self.bar.set_postfix_str(f"{method} {done}/{total}")
        else:
            self._print(f"{method}: {done} of {total} passes in one image", sys.stderr)

    def _progress(self) -> None:
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.update(self.done - self.bar.n)
        elif time.monotonic() - self.last > _LINE_INTERVAL:
            self.last = time.monotonic()
            of = f" of {self.total}" if self.total else ""
            self._print(f"{self.done}{of} images", sys.stderr)

    def failures(self, summary: Summary) -> None:
        """With ``--quiet``: one line that images failed, which are otherwise printed one by one."""
        failed, images = summary.counts["failed"], summary.counts["images"]
        if self.mode.quiet and failed:
            self.problem(failure_line(failed, images, self.first_failed, f"; see {summary.run_dir / INDEX_NAME}"))

    def summary(self, summary: Summary) -> None:
        if self.mode.quiet:
            self.failures(summary)
            return
        counts = summary.counts
        earlier = f" ({self.earlier} of them were there already)" if self.earlier else ""
        rate = f" ({summary.timing['images_per_second']:.1f} images/s)" if summary.explained else ""
        images = f"{counts['images']} image" + "s" * (counts["images"] != 1)
        self.show(
            "",
            f"{images}: {counts['ok']} explained{earlier}, {counts['failed']} failed, "
            f"in {summary.timing['seconds']:.1f} s{rate}",
        )
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
        self.show(printable(f"results in {summary.run_dir}{instead}: {contents(summary)}"))

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
    folders = sorted(p.name + "/" for p in summary.run_dir.iterdir() if p.is_dir())
    return ", ".join([*folders, "index.json"])


def describe_setup(setup: Setup, *, passes: bool) -> list[str]:
    """Model, layers, method, device and batch size, in a few lines."""
    model, pre = setup.model, setup.model.preprocessing
    classes = f", {counted(model)}" if model.num_classes else ""
    lines = [f"model    {model.name} ({model.source}, {model.weights}){classes}; {pre.description}"]
    for layer in setup.layers:
        height, width = layer.layout.grid
        lines.append(
            f"layer    {layer.path}  {layer.module}, {layer.layout.kind} {height}×{width}, "
            f"{layer.channels} channels, layout {verification(layer.proof)}"
        )
    lines.append(
        f"method   {', '.join(setup.config.method)} for {setup.config.target or 'predicted'}; "
        f"{setup.device}, {setup.precision}, batches of {setup.batch_size}"
    )
    lines += choice_lines(setup.choice)
    return lines + ([f"passes   {line}" for line in setup.explainer.plan()] if passes else [])


def choice_lines(choice: ChosenMethod | None) -> list[str]:
    """What ``--method best`` stands for, and why."""
    if choice is None:
        return []
    options = "".join(f" --option {text}" for text in choice["options"])
    lines = [f"best     --method {choice['method']}{options}"]
    lines += [f"         {line}" for line in choice["why"]]
    if (trial := choice["trial"]) is not None:
        lines.append(f"         the trial took {trial['passes']:,} forward passes, {trial['seconds']:.0f} s")
    return [printable(line) for line in lines]


def candidate_name(candidate: CandidateFields) -> str:
    """``pathcam (fast=true)``."""
    own = ", ".join(text.partition(".")[2] for text in candidate["options"])
    return f"{candidate['method']} ({own})" if own else candidate["method"]


def counted(model: Model) -> str:
    """``1000 classes``; ``1 output`` of a model that returns values."""
    count = model.num_classes or 0
    kind = ("output" + "s" * (count != 1)) if model.returns_values else "classes"
    return f"{count} {kind}"


def print_plan(config: RunConfig, mode: OutputMode) -> None:
    """``--dry-run``: decide everything, print it, write nothing; ``--method best`` is not tried."""
    undecided: list[str] = []

    def plan(config: RunConfig, model: Model, sources: Sources) -> ChosenMethod:
        from camcli.evaluation.best import choose_method

        return choose_method(config, model, sources, undecided.append, dry_run=True)

    setup = prepare(config, earlier_header(config), decide=plan)
    folder = plan_folder(setup)
    count = in_run_folder(setup, folder).sources.count()
    if mode.json:
        planned = {
            "images": count, "model": model_fields(setup), "output": output_fields(setup),
            "layers": layer_fields(setup),
            "methods": list((config if undecided else setup.config).method),
            "batch_size": setup.batch_size, "device": str(setup.device),
            "precision": setup.precision, "save": list(config.save), "output_dir": str(folder),
        }  # fmt: skip
        if setup.choice is not None:
            open_choice = {"method": None, "source": None, "why": undecided} if undecided else {}
            planned["chosen_method"] = {**setup.choice, **open_choice}
        print(json.dumps(planned))
        return
    if undecided and setup.choice is not None:
        costs = ", ".join(f"{candidate_name(one)} {one['passes']:g}" for one in setup.choice["candidates"])
        undecided.append(f"passes of a map: {costs}")
        setup = replace(setup, config=replace(setup.config, method=config.method), choice=None)
    for line in describe_setup(setup, passes=not undecided):
        print(line)
    for line in undecided:
        print(printable(f"best     {line}"))
    for line in setup.assumptions:
        print(printable(f"note     {line}"), file=sys.stderr)
    for note in setup.model.notes:
        print(f"note     {note}")
    for line in cost_lines(setup, count):
        print(line)
    print(
        f"images   {count}"
        + (f", {setup.sources.passed_over} other files passed over" if setup.sources.passed_over else "")
    )
    print(f"output   {folder}: {', '.join(config.save) or 'index only'}")
    print("dry run: nothing was explained or written")
