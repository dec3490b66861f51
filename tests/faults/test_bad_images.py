"""Faults 1 to 5 and 9: files that cannot be explained, alone, among good ones, in whole batches."""

from __future__ import annotations

import errno
import io
import os
import shutil
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image, ImageFile

from camcli.schemas import index_schema
from tests.conftest import index_of, without_notes

from .conftest import TINY, Tiny, picture, pictures, tree
from .forking import Forks
from .processes import as_ordinary_user


def outcome(run_dir: Path) -> dict[str, str]:
    """Image → ``ok`` or the kind of its error."""
    index = index_of(run_dir)
    jsonschema.validate(index, index_schema())
    return {item["image"]: item["error"]["kind"] if item["error"] else "ok" for item in index["items"]}


def encoded(number: int, form: str) -> bytes:
    buffer = io.BytesIO()
    picture(number, (320, 240)).save(buffer, form)
    return buffer.getvalue()


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels in a few hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def test_a_corrupt_file_alone_is_named(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(encoded(1, "JPEG")[:600] + b"\xff" * 50)
    done = tiny(tmp_path / "x.jpg", "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert outcome(tmp_path / "out")["x.jpg"] in ("corrupt", "truncated")
    assert without_notes(done.err)[0].startswith("failed   x.jpg: ")
    assert "1 image: 0 explained, 1 failed" in done.out


def test_a_corrupt_file_among_others_leaves_their_results_as_they_are(tiny: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 11)
    command = ("--batch-size", 3, "--save", "overlay,raw", "--output-dir")
    assert tiny(photos, *command, tmp_path / "clean").code == 0
    bad = {
        "0000a.png": b"",
        "0003a.jpg": b"text",
        "0003b.jpg": encoded(5, "JPEG")[:700],
        "0099.png": b"\x89PNG\r\n\x1a\n",
    }
    for name, data in bad.items():
        (photos / name).write_bytes(data)
    assert tiny(photos, *command, tmp_path / "dirty").code == 3
    clean, dirty = tree(tmp_path / "clean"), tree(tmp_path / "dirty")
    for name in clean:
        if not name.startswith("index"):
            assert dirty[name] == clean[name]
    assert {k for k in dirty if not k.startswith("index")} == {k for k in clean if not k.startswith("index")}
    good = [item for item in index_of(tmp_path / "dirty")["items"] if item["image"] not in bad]
    assert good == index_of(tmp_path / "clean")["items"]


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_truncated_file_is_named_and_explained_when_allowed(form: str, tiny: Tiny, tmp_path: Path) -> None:
    data = encoded(2, form)
    (tmp_path / "x.img").write_bytes(data[: len(data) * 2 // 3])
    done = tiny(tmp_path / "x.img", "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert outcome(tmp_path / "out") == {"x.img": "truncated"}
    assert "--allow-truncated may help (truncated)" in done.err
    done = tiny(tmp_path / "x.img", "--allow-truncated", "--output-dir", tmp_path / "allowed")
    assert done.code == 0
    (item,) = index_of(tmp_path / "allowed")["items"]
    assert item["notes"] == ["truncated: only the part of the image that is there was decoded"]
    assert item["maps"][0]["status"] == "ok"


def test_a_decompression_bomb_is_refused_before_its_pixels_are_there(forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    (photos / "bomb.png").write_bytes(header_only_png(65_000, 65_000))
    (photos / "bomb.jpg").write_bytes(encoded(1, "JPEG").replace(struct.pack(">HH", 240, 320), b"\xfd\xe8\xfd\xe8", 1))
    # The pixels would take 12 GiB: that they are never asked for shows in a process that may have one more.
    limit = (
        "import resource\n"
        "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + 2**30,) * 2)"
    )
    code, running = forks.run(("run", photos, "--workers", 2, "--output-dir", tmp_path / "out", *TINY), limit)
    assert code == 3, running.err
    assert outcome(tmp_path / "out") == {
        "0000.jpg": "ok", "0001.png": "ok", "bomb.jpg": "too-large", "bomb.png": "too-large",
    }  # fmt: skip


def test_max_pixels_is_a_limit_of_its_own(tiny: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    picture(7, (200, 100)).save(photos / "large.png")
    done = tiny(photos, "--max-pixels", 96 * 72, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert outcome(tmp_path / "out")["large.png"] == "too-large"
    assert "it has more than the 6,912 pixels that --max-pixels allows" in done.err


@pytest.mark.parametrize(
    "error",
    [
        SyntaxError("broken"), ValueError("bad"), struct.error("short"), NotImplementedError("never"), EOFError(),
        MemoryError(), KeyError("tile"), IndexError("range"), TypeError("None"), OverflowError("big"),
        ZeroDivisionError("0"), RecursionError("deep"), UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"),
        AttributeError("x"), AssertionError(), OSError(errno.EIO, "I/O error"), zlib.error("stream"),
        BufferError("b"), StopIteration(), Exception("\n\n  many\nlines \x1b[31m"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_any_exception_of_a_decoder_names_the_image(
    error: Exception, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(tmp_path / "photos", 3)
    (photos / "cursed.gif").write_bytes(encoded(1, "GIF"))
    true = ImageFile.ImageFile.load

    def load(image: Any) -> Any:
        if image.format == "GIF":
            raise error
        return true(image)

    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile.load", load, raising=False)
    done = tiny(photos, "--output-dir", tmp_path / "out", "--save", "none")
    assert done.code == 3
    found = outcome(tmp_path / "out")
    expected = {"MemoryError": ("out-of-memory",), "NotImplementedError": ("unsupported",)}
    assert found.pop("cursed.gif") in expected.get(type(error).__name__, ("corrupt", "truncated"))
    assert set(found.values()) == {"ok"}
    line = next(line for line in done.err.splitlines() if line.startswith("failed"))
    assert "\x1b" not in line


def test_any_exception_of_the_users_preprocessing_names_the_image(tiny: Tiny, cam: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 3)
    Image.new("RGB", (50, 50)).save(photos / "black.png")
    model = ("--model", "factory:tests.faults.models:picky_preprocessing")
    done = cam("run", photos, *model, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert outcome(tmp_path / "out")["black.png"] == "internal"
    assert "transform failed: nothing to see (internal)" in done.err


def test_an_exception_of_the_model_names_the_image_alone(cam: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 5)
    command = ("run", photos, "--model", "factory:tests.faults.models:raising", *TINY[2:], "--layer", "altered")
    assert cam(*command, "--batch-size", 4, "--output-dir", tmp_path / "clean").code == 0
    Image.new("RGB", (64, 64), "red").save(photos / "0002a.png")
    done = cam(*command, "--batch-size", 4, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert "failed   0002a.png: the model failed on it (RuntimeError: this model does not like plain" in done.err
    assert "Traceback" not in done.err
    good = [item for item in index_of(tmp_path / "out")["items"] if item["status"] == "ok"]
    assert good == index_of(tmp_path / "clean")["items"]


def test_every_image_of_a_batch_and_of_the_run_is_bad(tiny: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 4)
    for number in range(9):
        (photos / f"0001{number}.png").write_bytes(b"no")
    done = tiny(photos, "--batch-size", 2, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert list(outcome(tmp_path / "out").values()).count("ok") == 4
    for path in photos.iterdir():
        path.write_bytes(b"no")
    done = tiny(photos, "--batch-size", 2, "--output-dir", tmp_path / "none")
    assert done.code == 3
    assert set(outcome(tmp_path / "none").values()) == {"not-an-image"}
    assert "13 images: 0 explained, 13 failed" in done.out


def test_files_that_are_no_images_are_named_or_passed_over(forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("I am not an image.\n")
    (photos / "folder.jpg").mkdir()
    os.mkfifo(photos / "pipe.jpg")
    (photos / "broken.png").symlink_to("nowhere.png")
    shutil.copy(photos / "0000.jpg", photos / "secret.jpg")
    (photos / "secret.jpg").chmod(0)
    with socket.socket(socket.AF_UNIX) as listening:
        there = os.getcwd()
        os.chdir(photos)  # the path of a socket must be short
        listening.bind("socket.jpg")
        os.chdir(there)
        code, done = forks.run(("run", photos, "--output-dir", tmp_path / "out", *TINY), as_ordinary_user())
        assert code == 3, done.err
        assert outcome(tmp_path / "out") == {
            "0000.jpg": "ok", "0001.png": "ok", "broken.png": "missing", "empty.jpg": "empty",
            "secret.jpg": "unreadable", "text.jpg": "not-an-image",
        }  # fmt: skip
        assert index_of(tmp_path / "out")["counts"]["passed_over"] == 2  # the pipe and the socket
        assert "Traceback" not in done.err
        # Named one by one, each is tried; none blocks.
        one_by_one = [photos / name for name in ("pipe.jpg", "socket.jpg", "0000.jpg")]
        code, done = forks.run(("run", *one_by_one, "--output-dir", tmp_path / "named", *TINY))
    assert code == 3, done.err
    assert outcome(tmp_path / "named") == {"pipe.jpg": "unreadable", "socket.jpg": "unreadable", "0000.jpg": "ok"}


def test_a_folder_that_cannot_be_listed_is_said(forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    pictures(photos / "locked", 2)
    (photos / "locked").chmod(0)
    code, _ = forks.run(("run", photos, "--output-dir", tmp_path / "out", *TINY), as_ordinary_user())
    (photos / "locked").chmod(0o755)
    assert code == 3
    assert outcome(tmp_path / "out") == {"0000.jpg": "ok", "0001.png": "ok", "locked": "unreadable"}
