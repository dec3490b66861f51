"""The pictures of the gallery: one thumbnail an image, and a larger copy of what no browser shows.

Maps are not among them: the page draws them over the picture, so that one thumbnail serves all methods, layers and
targets. Pictures are named after the content of their image, and made once however often a report is made.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image

from camcli.checks.recorded import RecordedRun
from camcli.checks.rereading import recorded_settings
from camcli.errors import ImageError
from camcli.images import DecodeSettings, Entry, decode, read, was_replaced
from camcli.output import read_artefact, write_named_file
from camcli.report.originals import SHOWN_BY_BROWSERS
from camcli.report.rows import Row, RunRows
from camcli.storage import is_remote

THUMBNAIL = 288
"""Longer side of a thumbnail in pixels; twice that of the smallest tile."""
COPY = 1024
"""Longer side of the copy of an image that no browser shows."""
EMBEDDED = 448
"""Longer side of the one picture an image of a self-contained page."""
_QUALITY = 80

Problem = Literal["missing", "changed"]


@dataclass(frozen=True)
class Pictures:
    """What the page has of one image.

    Attributes:
        thumbnail: path below the report's folder; None where nothing can be shown.
        drawn: whether the thumbnail is the run's overlay, because the original is not there.
        copy: path of the larger copy, where one is needed.
        original: the file, where a browser can show it.
        problem: why the original cannot be used.
        data: the content of the thumbnail, where it is to be embedded.
    """

    thumbnail: str | None = None
    drawn: bool = False
    copy: str | None = None
    original: str | None = None
    problem: Problem | None = None
    data: bytes | None = None


class PictureMaker:
    """Makes the pictures of a run; :meth:`make` may be called from several threads.

    Args:
        run: whose images they are.
        folder: where they are kept.
        embedded: give one larger picture as bytes, and write nothing.
    """

    def __init__(self, run: RunRows, folder: Path, embedded: bool = False) -> None:
        self._run, self._folder, self._embedded = run, folder, embedded
        self._settings = _settings(run)
        config = run.header["config"]
        self._look = f"{config.get('show_bands')} {config.get('window')} {self._settings.channels}"

    def make(self, row: Row, entry: Entry | None) -> Pictures:
        """The pictures of one image, made where they are not there yet.

        Args:
            row: of the index.
            entry: where the image is; None where that is not known.

        Raises:
            OutputError: the system refused to write one.
        """
        if row["status"] != "ok":
            return Pictures()
        problem = _problem(row, entry)
        shown = entry if problem is None else None
        if self._embedded:
            return self._embed(row, shown, problem)
        name, copy = self._name(row, THUMBNAIL), self._name(row, COPY)
        needs_copy = not _shown_by_browsers(row, entry)
        missing = [path for path in (name, *([copy] if needs_copy else [])) if not self._exists(path)]
        if missing and shown is not None:
            problem = self._decode(row, shown, name, copy if needs_copy else None)
        if not self._exists(name):
            return self._from_overlay(row, problem or "missing")
        return Pictures(
            name,
            copy=copy if needs_copy and self._exists(copy) else None,
            original=entry.path if entry is not None and problem is None and not needs_copy else None,
            problem=problem,
        )

    def _decode(self, row: Row, entry: Entry, name: str, copy: str | None) -> Problem | None:
        image, problem = self._open(row, entry, COPY if copy else THUMBNAIL)
        if image is None:
            return problem
        if copy is not None:
            self._write(copy, _encode(image, COPY))
        self._write(name, _encode(image, THUMBNAIL))
        return None

    def _open(self, row: Row, entry: Entry, side: int) -> tuple[Image.Image | None, Problem | None]:
        """The upright picture, of ``side`` pixels or more, or why there is none."""
        scale = side / max(row["width"], row["height"], 1)
        size = (max(1, round(row["width"] * scale / 2)), max(1, round(row["height"] * scale / 2)))
        try:
            decoded = decode(read(entry), replace(self._settings, fast_size=size))
        except ImageError:
            return None, "missing"
        if decoded.metadata.sha256 != row["sha256"]:
            return None, "changed"
        return decoded.image, None

    def _from_overlay(self, row: Row, problem: Problem) -> Pictures:
        """What can be shown without the original: the run's overlay, if there is one."""
        files = [one.get("files", {}).get("overlay") for one in row["maps"][:1]]
        if not files or not files[0]:
            return Pictures(problem=problem)
        name = self._name(row, THUMBNAIL, files[0])
        if not self._exists(name):
            try:
                with Image.open(io.BytesIO(read_artefact(self._run.path, files[0]))) as picture:
                    self._write(name, _encode(picture.convert("RGB"), THUMBNAIL))
            except OSError:
                return Pictures(problem=problem)
        return Pictures(name, drawn=True, problem=problem)

    def _embed(self, row: Row, entry: Entry | None, problem: Problem | None) -> Pictures:
        image = None
        if entry is not None:
            image, problem = self._open(row, entry, EMBEDDED)
        if image is not None:
            return Pictures(problem=problem, data=_encode(image, EMBEDDED))
        overlay = next((one.get("files", {}).get("overlay") for one in row["maps"][:1]), None)
        try:
            with Image.open(io.BytesIO(read_artefact(self._run.path, overlay or ""))) as picture:
                return Pictures(drawn=True, problem=problem, data=_encode(picture.convert("RGB"), EMBEDDED))
        except OSError:
            return Pictures(problem=problem)

    def _name(self, row: Row, side: int, overlay: str = "") -> str:
        digest = hashlib.blake2b(f"{row['sha256']} {side} {self._look} {overlay}".encode(), digest_size=12).hexdigest()
        return f"thumbnails/{digest[:2]}/{digest[2:]}.jpg"

    def _exists(self, name: str) -> bool:
        return (self._folder / name).is_file()

    def _write(self, name: str, data: bytes) -> None:
        write_named_file("--output", self._folder / name, [data])


def _settings(run: RunRows) -> DecodeSettings:
    """How the run decoded its images, but large JPEGs at reduced size."""
    return replace(recorded_settings(RecordedRun(run.path, run.header, [], 0)), fast_decode=True)


def _problem(row: Row, entry: Entry | None) -> Problem | None:
    if entry is None or (entry.member is None and not _is_there(entry.path)):
        return "missing"
    return "changed" if was_replaced(entry, row.get("bytes")) else None


def _is_there(path: str) -> bool:
    """Whether an image is there; of one in a store, its listing says so, or reading it will."""
    return is_remote(path) or os.path.isfile(path)


def _shown_by_browsers(row: Row, entry: Entry | None) -> bool:
    """Whether a browser shows the file itself as the run saw it; notes say what was converted."""
    is_file = entry is None or (entry.member is None and not is_remote(entry.path))
    plain = row.get("format") in SHOWN_BY_BROWSERS and row.get("frames") == 1 and not row.get("notes")
    return bool(is_file and plain)


def _encode(image: Image.Image, side: int) -> bytes:
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
