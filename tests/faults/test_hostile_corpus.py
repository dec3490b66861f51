"""Faults 1 to 9 all at once: many broken files. No crash, no hang, every readable image explained.

``pytest -m slow`` does it with hundreds, ``python -m pytest tests/sweeps/test_hostile_thousand.py`` with
thousands.
"""

from __future__ import annotations

import warnings
from dataclasses import astuple
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from camcli.errors import ERROR_KINDS, ImageError
from camcli.images import MAX_PIXELS, Decoded, DecodeSettings, Entry, decode, pillow_limits, read
from camcli.output import true_name
from camcli.schemas import index_schema
from tests.conftest import index_of, without_notes

from .conftest import TINY, tree
from .corpus import NO_FILES, PASSED_OVER, write_corpus, write_oddities
from .forking import Forks


def pillow_reads(path: Path) -> bool:
    """Whether the reference decoder, left to itself, gets pixels of a permitted number out of a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    return False
                image.convert("RGB")
    except Exception:  # decoders raise anything
        return False
    return True


def check_row(item: dict[str, Any], path: Path, out: Path, settings: DecodeSettings) -> None:
    """Hold a row to what the file gives when it is decoded alone."""
    alone: Decoded | ImageError
    try:
        with pillow_limits(max_pixels=MAX_PIXELS):
            alone = decode(read(Entry("", str(path), ordinal=0, source="", source_slug="")), settings)
    except ImageError as error:
        alone = error
    if isinstance(alone, ImageError):
        assert item["error"] == {"kind": alone.kind, "message": alone.message}, path
        assert alone.kind in ERROR_KINDS
        assert alone.kind != "internal", (path, alone)
        assert alone.message.isprintable() or "\\x" in alone.message
        assert not pillow_reads(path), (path, alone)
        return
    assert item["status"] == "ok", (path, item["error"])
    described = (*astuple(alone.metadata)[:-1], list(alone.metadata.notes))
    keys = ("bytes", "sha256", "width", "height", "format", "frames", "notes")
    assert tuple(item[key] for key in keys) == described, path
    with Image.open(out / item["maps"][0]["files"]["overlay"]) as overlay:
        assert max(overlay.size) == min(1024, max(alone.metadata.width, alone.metadata.height)), path


# libtiff, in C, writes its own messages; in a file of their own they cannot fall into the middle of a line of ours.
_APART = """
import os, sys
sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
os.dup2(os.open({!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
"""


def check_folder(forks: Forks, photos: Path, folder: Path, *flags: str) -> dict[str, Any]:
    """Run over a folder and hold every row and every word to what must be; the index."""
    out, decoders = folder / "out", folder / "decoders.txt"
    command = ("run", photos, "--save", "overlay", *flags, *TINY, "--output-dir", out)
    running = forks.start(command, _APART.format(str(decoders)))
    assert running.wait() == 3, running.err[-2000:]
    index = index_of(out)
    jsonschema.validate(index, index_schema())
    fast = (64, 64) if "--fast-decode" in flags else None
    settings = DecodeSettings(
        allow_truncated="--allow-truncated" in flags, fast_decode=fast is not None, fast_size=fast
    )
    for item in index["items"]:
        check_row(item, photos / true_name(item), out, settings)
    failed = [item for item in index["items"] if item["status"] == "failed"]
    lines = without_notes(running.err)
    assert [line for line in lines if not line.startswith("failed   ")] == []  # no library writes on sys.stderr
    assert len(lines) == len(failed)
    by_decoders = decoders.read_text("utf-8", "replace")
    assert not any(word in by_decoders for word in ("Traceback", "Warning", "Fatal"))
    return index


def check_corpus(forks: Forks, folder: Path, count: int, seed: int, *flags: str) -> dict[str, Any]:
    """Run over a corpus of broken files and other things that look like images."""
    photos = folder / "photos"
    good = write_corpus(photos, count, seed)
    write_oddities(photos)
    index = check_folder(forks, photos, folder, *flags)
    assert index["counts"]["passed_over"] == PASSED_OVER
    kinds = {true_name(item): item["error"]["kind"] if item["error"] else "ok" for item in index["items"]}
    expected = {path.name for path in photos.iterdir()} - {"pipe.jpg", "socket.png", "notes.txt"}
    assert set(kinds) == expected - {"folder.jpg", "circle.png"}
    assert {name: kinds[name] for name in NO_FILES} == NO_FILES
    assert {name for name in good if kinds[name] != "ok"} == set()
    return index


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_hostile_corpus(count: int, forks: Forks, tmp_path: Path) -> None:
    index = check_corpus(forks, tmp_path, count, seed=5)
    counts = index["counts"]
    assert counts["images"] == count + len(NO_FILES) + 3
    assert counts["ok"] > 0.3 * count
    assert counts["failed"] > 0.25 * count
    assert len({item["error"]["kind"] for item in index["items"] if item["error"]}) >= 4
    # The good ones are what they are without the others.
    for item in index["items"]:
        if item["status"] == "failed":
            (tmp_path / "photos" / true_name(item)).unlink()
    code, running = forks.run(
        ("run", tmp_path / "photos", "--save", "overlay", *TINY, "--output-dir", tmp_path / "good")
    )
    assert code == 0, running.err
    assert [item for item in index["items"] if item["status"] == "ok"] == index_of(tmp_path / "good")["items"]
    good, all_of_them = tree(tmp_path / "good"), tree(tmp_path / "out")
    assert {k: v for k, v in good.items() if k.startswith("overlays")} == {
        k: v for k, v in all_of_them.items() if k.startswith("overlays")
    }
