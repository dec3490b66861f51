"""Rows 1 to 9 all at once: hundreds of broken files. No crash, no hang, no word but our own, all that can be read read.

``python -m pytest tests/sweeps/test_hostile_thousand.py`` does the same with thousands.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import jsonschema
from PIL import Image

from camcli.errors import ERROR_KINDS
from camcli.images import MAX_PIXELS
from camcli.schemas import index_schema
from tests.conftest import index_of

from .conftest import TINY, tree
from .corpus import write_corpus
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


def check_corpus(forks: Forks, folder: Path, count: int, seed: int, *flags: str) -> dict[str, Any]:
    """Run over a corpus and hold the result to what must be; its index."""
    photos, out = folder / "photos", folder / "out"
    good = write_corpus(photos, count, seed)
    running = forks.start(("run", photos, "--save", "overlay", *flags, *TINY, "--output-dir", out))
    assert running.wait() == 3, running.err[-2000:]
    index = index_of(out)
    jsonschema.validate(index, index_schema())
    items = {item["image"]: item for item in index["items"]}
    assert set(items) == {path.name for path in photos.iterdir()}
    for name, item in items.items():
        if item["status"] == "ok":
            assert (out / item["maps"][0]["files"]["overlay"]).stat().st_size > 0
            assert item["bytes"] == (photos / name).stat().st_size
        else:
            assert name not in good, item["error"]
            assert item["error"]["kind"] in ERROR_KINDS
            assert item["error"]["kind"] != "internal", item
            assert item["error"]["message"].isprintable() or "\\x" in item["error"]["message"]
            assert not pillow_reads(photos / name), (name, item["error"])
    failed = [item for item in items.values() if item["status"] == "failed"]
    lines = [line for line in running.err.splitlines() if not re.fullmatch(r"\d+( of \d+)? images", line)]
    assert [line for line in lines if not line.startswith("failed   ")] == []  # no decoder speaks to people itself
    assert len(lines) == len(failed)
    return index


def test_rows_1_to_9_a_hostile_corpus(forks: Forks, tmp_path: Path) -> None:
    index = check_corpus(forks, tmp_path, 400, seed=5)
    counts = index["counts"]
    assert counts["images"] == 400
    assert counts["ok"] > 120
    assert counts["failed"] > 100
    assert len({item["error"]["kind"] for item in index["items"] if item["error"]}) >= 4
    # The good ones are what they are without the others.
    for item in index["items"]:
        if item["status"] == "failed":
            (tmp_path / "photos" / item["image"]).unlink()
    code, running = forks.run(
        ("run", tmp_path / "photos", "--save", "overlay", *TINY, "--output-dir", tmp_path / "good")
    )
    assert code == 0, running.err
    assert [item for item in index["items"] if item["status"] == "ok"] == index_of(tmp_path / "good")["items"]
    good, all_of_them = tree(tmp_path / "good"), tree(tmp_path / "out")
    assert {k: v for k, v in good.items() if k.startswith("overlays")} == {
        k: v for k, v in all_of_them.items() if k.startswith("overlays")
    }
