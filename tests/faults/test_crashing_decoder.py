"""Faults 14 and 23: decoders that end the whole process. The crashes are real ones, of real processes of `cam`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from camcli.errors import ImageError
from camcli.images import DecodeSettings, Sources
from camcli.pipeline.crash_guard import CrashQuarantine
from camcli.pipeline.items import Failed, Loaded
from tests.conftest import index_of, without_notes

from .conftest import TINY, picture, pictures, tree
from .forking import Forks
from .test_interruption import STOPPING, start_paused

SMALL = ("--batch-size", 2, "--workers", 2, "--save", "overlay,raw", "--output-dir")
NOTE = "note     the last start was killed or crashed: the images it was at are tried in a process of their own"

# Python runs a module of this name whenever it starts. This one lets the JPEG decoder do what a picture's comment says.
_DECODER = """
import ctypes, os, resource, signal, time
from PIL import JpegImagePlugin

HERE = os.path.dirname(os.path.abspath(__file__))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
prepare = JpegImagePlugin.JpegImageFile.load_prepare

def once():
    try:
        os.unlink(os.path.join(HERE, "once"))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def linger():
    try:
        with open(os.path.join(HERE, "lingering"), "x") as file:
            print(os.getpid(), file=file)
    except FileExistsError:
        return
    while not os.path.exists(os.path.join(HERE, "released")):
        time.sleep(0.01)

ACTS = {
    b"SEGV": lambda: ctypes.string_at(0),
    b"ABRT": os.abort,
    b"EXIT": lambda: os._exit(7),
    b"ONCE": once,
    b"WAIT": linger,
}

def load_prepare(self):
    word = (self.info.get("comment") or b"")[:4]
    if word in ACTS:
        os.write(1, b"+++ a decoder that prints +++")
        os.write(2, b"+++ a decoder that prints +++")
        ACTS[word]()
    return prepare(self)

JpegImagePlugin.JpegImageFile.load_prepare = load_prepare
"""

# Says in a file when the process starts another one.
_NOTING = """
import sys
def noting(event, arguments, path={path!r}):
    if event == "subprocess.Popen" and "camcli.pipeline.crash_guard" in str(arguments):
        with open(path, "a") as file:
            print("started", file=file)
sys.addaudithook(noting)
"""


class Decoder:
    """A decoder that harms its process, for the processes of `cam` and for theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_DECODER)

    @property
    def before(self) -> str:
        module, started = str(self.folder / "sitecustomize.py"), str(self.folder / "started")
        path = f"{str(self.folder)!r} + os.pathsep + os.environ['PYTHONPATH']"
        use = f"import os, runpy\nos.environ['PYTHONPATH'] = {path}\nrunpy.run_path({module!r})\n"
        return use + _NOTING.format(path=started)

    @property
    def children(self) -> int:
        """How many processes the runs have started so far."""
        started = self.folder / "started"
        return len(started.read_text().splitlines()) if started.exists() else 0

    @property
    def lingering(self) -> int | None:
        """The first process that has come to a picture that takes until :meth:`release`; for the others it does not."""
        found = self.folder / "lingering"
        return int(found.read_text() or 0) or None if found.exists() else None

    def release(self) -> None:
        """Let the process that has come to that picture get on."""
        (self.folder / "released").touch()


@pytest.fixture
def decoder(tmp_path: Path) -> Iterator[Decoder]:
    decoder = Decoder(tmp_path / "decoder")
    yield decoder
    decoder.release()


def harmful(path: Path | str | bytes, word: str) -> None:
    with open(path, "wb") as file:
        picture(77).save(file, "JPEG", comment=word.encode())


def artefacts(run_dir: Path) -> dict[str, Any]:
    return {name: data for name, data in tree(run_dir).items() if not name.startswith("index.json")}


def ok_items(run_dir: Path) -> list[dict[str, Any]]:
    return [item for item in index_of(run_dir)["items"] if item["status"] == "ok"]


def failures(run_dir: Path) -> dict[str, tuple[str, str]]:
    return {
        item["image"]: (item["error"]["kind"], item["error"]["message"])
        for item in index_of(run_dir)["items"]
        if item["status"] == "failed"
    }


def packed(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return archive


def wait_until_gone(pid: int) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        while b") Z " not in Path(f"/proc/{pid}/stat").read_bytes():
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("source", "word", "ended", "said"),
    [
        ("folder", "SEGV", -signal.SIGSEGV, "SIGSEGV"),
        ("tar", "EXIT", 7, "exit code 7"),
        pytest.param("folder", "ABRT", -signal.SIGABRT, "SIGABRT", marks=pytest.mark.slow),
        pytest.param("folder", "EXIT", 7, "exit code 7", marks=pytest.mark.slow),
        pytest.param("tar", "SEGV", -signal.SIGSEGV, "SIGSEGV", marks=pytest.mark.slow),
    ],
)
def test_the_same_command_gets_past_images_that_crash_their_decoder(
    source: str, word: str, ended: int, said: str, forks: Forks, decoder: Decoder, tmp_path: Path
) -> None:
    photos = pictures(tmp_path / "photos", 8)
    names = packed(photos, tmp_path / "photos.tar") if source == "tar" else photos
    assert forks.run(("run", names, *SMALL, tmp_path / "whole", *TINY))[0] == 0
    for name in ("0003x.jpg", "0006.jpg.jpg"):
        harmful(photos / name, word)
    names = packed(photos, tmp_path / "photos.tar") if source == "tar" else photos
    command, out = ("run", names, *SMALL, tmp_path / "out", *TINY), tmp_path / "out"
    assert forks.run(command, decoder.before)[0] == ended
    assert decoder.children == 0
    code, second = forks.run(command, decoder.before)
    assert code == 3, second.err
    message = f"reading this image ends the whole process ({said}): it crashes its decoder"
    assert failures(out) == dict.fromkeys(("0003x.jpg", "0006.jpg.jpg"), ("worker-died", message))
    assert without_notes(second.err) == [
        f"failed   0003x.jpg: {message} (worker-died)",
        f"failed   0006.jpg.jpg: {message} (worker-died)",
    ]
    assert NOTE in second.out
    assert "+++" not in second.out
    assert artefacts(out) == artefacts(tmp_path / "whole")
    assert ok_items(out) == ok_items(tmp_path / "whole")
    assert [item["image"] for item in index_of(out)["items"]] == sorted(path.name for path in photos.iterdir())
    # Once it has ended by itself, there is nothing more to do and nobody to suspect.
    before, children = tree(out), decoder.children
    code, third = forks.run(command, decoder.before)
    assert code == 3
    assert "8 explained (10 of them were there already)" in third.out
    assert tree(out) == before
    assert decoder.children == children


def test_names_that_are_no_text_are_named(forks: Forks, decoder: Decoder, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 4)
    harmful(os.path.join(os.fsencode(photos), b"0002 \xff\n'.jpg"), "SEGV")
    command = ("run", photos, *SMALL, tmp_path / "out", *TINY)
    assert forks.run(command, decoder.before)[0] == -signal.SIGSEGV
    code, running = forks.run(command, decoder.before)
    assert code == 3, running.err
    assert [kind for kind, _ in failures(tmp_path / "out").values()] == ["worker-died"]
    assert len(ok_items(tmp_path / "out")) == 4


def test_images_that_fail_ride_along_and_do_not_hide_the_one_that_crashes(
    forks: Forks, decoder: Decoder, tmp_path: Path
) -> None:
    """More than a window of them wait for the batch that a single good image has begun."""
    photos = pictures(tmp_path / "photos", 1)
    for number in range(100):
        (photos / f"0001-{number:03}.jpg").write_bytes(b"no image")
    harmful(photos / "0002.jpg", "SEGV")
    command = ("run", photos, *SMALL, tmp_path / "out", *TINY)
    assert forks.run(command, decoder.before)[0] == -signal.SIGSEGV
    code, running = forks.run(command, decoder.before)
    assert code == 3, running.err
    assert failures(tmp_path / "out")["0002.jpg"][0] == "worker-died"
    assert index_of(tmp_path / "out")["counts"]["ok"] == 1


def test_an_image_that_is_tried_again_is_named_again(forks: Forks, decoder: Decoder, tmp_path: Path) -> None:
    photos, out = pictures(tmp_path / "photos", 5), tmp_path / "out"
    harmful(photos / "0002x.jpg", "SEGV")
    command = ("run", photos, "--retry-failed", *SMALL, out, *TINY)
    for ended in (-signal.SIGSEGV, 3, -signal.SIGSEGV, 3):
        assert forks.run(command, decoder.before)[0] == ended
    assert list(failures(out)) == ["0002x.jpg"]


def test_a_process_that_was_killed_names_no_image(forks: Forks, decoder: Decoder, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 30)
    command = ("run", photos, "--batch-size", 2, "--workers", 2, *TINY, "--output-dir")
    assert forks.run((*command, tmp_path / "whole"))[0] == 0
    running = start_paused(forks, (*command, tmp_path / "out"), tmp_path / "out", 4, decoder.before)
    running.send(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert decoder.children == 0
    code, running = forks.run((*command, tmp_path / "out"), decoder.before)
    assert code == 0, running.err
    assert NOTE in running.out
    assert decoder.children == 1
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_after_a_run_that_ended_by_itself_no_image_is_tested(forks: Forks, decoder: Decoder, tmp_path: Path) -> None:
    photos, out = pictures(tmp_path / "photos", 30), tmp_path / "out"
    command = ("run", photos, "--batch-size", 2, "--workers", 2, *TINY, "--output-dir", out)
    running = start_paused(forks, command, out, 4, decoder.before)
    running.send(signal.SIGINT)
    assert running.wait() == 130
    code, running = forks.run(command, decoder.before)
    assert code == 0
    assert "the last start" not in running.out
    assert decoder.children == 0


@pytest.fixture
def abandoned(forks: Forks, decoder: Decoder, tmp_path: Path) -> tuple[object, ...]:
    """The command of a run that was killed before its first row."""
    photos = pictures(tmp_path / "photos", 6)
    harmful(photos / "0002x.jpg", "ONCE")
    command = ("run", photos, *SMALL, tmp_path / "out", *TINY)
    (decoder.folder / "once").touch()
    assert forks.run(command, decoder.before)[0] == -signal.SIGKILL
    return command


def test_an_image_at_which_a_child_ends_once_has_not_failed(
    abandoned: tuple[object, ...], forks: Forks, decoder: Decoder, tmp_path: Path
) -> None:
    (decoder.folder / "once").touch()
    code, running = forks.run(abandoned, decoder.before)
    assert code == 0, running.err
    assert not (decoder.folder / "once").exists()
    assert decoder.children == 2


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/false", "/bin/true", ""])
def test_without_a_child_the_run_goes_on_as_before(
    interpreter: str, abandoned: tuple[object, ...], forks: Forks, decoder: Decoder, tmp_path: Path
) -> None:
    code, running = forks.run(abandoned, decoder.before + f"sys.executable = {interpreter!r}")
    assert code == 0, running.err
    assert "Traceback" not in running.err
    assert decoder.children == 1  # it is not tried again for every image
    assert index_of(tmp_path / "out")["counts"]["ok"] == 7


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_child_ends_with_its_run_and_no_image_is_named_for_it(
    number: signal.Signals, abandoned: tuple[object, ...], forks: Forks, decoder: Decoder, tmp_path: Path
) -> None:
    harmful(tmp_path / "photos" / "0002x.jpg", "WAIT")
    running = forks.start(abandoned, decoder.before)
    running.wait_until(lambda: decoder.lingering is not None)
    child = decoder.lingering
    assert child is not None
    assert child != running.pid
    if number != signal.SIGKILL:
        os.kill(child, number)  # as a scheduler sends it to all processes of a job
    running.send(number)
    if number != signal.SIGKILL:
        running.wait_until(lambda: STOPPING in running.err)
    decoder.release()
    assert running.wait() == (-number if number == signal.SIGKILL else 128 + number)
    wait_until_gone(child)
    assert decoder.children == 1
    assert "Traceback" not in running.err
    if number != signal.SIGKILL:
        assert failures(tmp_path / "out") == {}
    code, running = forks.run(abandoned, decoder.before)
    assert code == 0, running.err
    assert index_of(tmp_path / "out")["counts"]["ok"] == 7


def test_only_as_many_are_tried_as_can_have_been_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, tried = pictures(tmp_path / "photos", 20), []
    monkeypatch.setattr("camcli.pipeline.crash_guard._Child.__call__", lambda _, entry: tried.append(entry.image))
    quarantine = CrashQuarantine(DecodeSettings(), 5, lambda: False)
    fails = {"0002.png", "0003.jpg", "0007.png"}

    def load(entry: Any) -> Any:
        failed = Failed(entry, ImageError("corrupt", "it is"))
        return failed if entry.image in fails else Loaded(entry, *[None] * 6)  # type: ignore[arg-type]

    loading = quarantine.wrap_loader(load)
    came = [loading(item).entry.image for item in quarantine.test_entries(Sources([str(photos)]))]
    assert came == sorted(path.name for path in photos.iterdir())
    assert tried == came[: 5 + 2]


def test_no_verdict_once_the_run_is_being_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, tried = pictures(tmp_path / "photos", 5), []

    def ended(_: object, entry: Any) -> str:
        tried.append(entry.image)
        return "SIGTERM"

    monkeypatch.setattr("camcli.pipeline.crash_guard._Child.__call__", ended)
    quarantine = CrashQuarantine(DecodeSettings(), 5, lambda: len(tried) == 2)
    items = list(quarantine.test_entries(Sources([str(photos)])))
    assert [type(item) for item in items] == [Failed]  # of the second, nothing is said, and it is not decoded here


def test_a_real_child_is_quick_and_names_what_ends_it(
    decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    photos = pictures(tmp_path / "photos", 3)
    for number, word in enumerate(random.Random(1).sample(["SEGV", "EXIT", "ABRT"], 3)):
        harmful(photos / f"{number:04}-{word}.jpg", word)
    monkeypatch.setenv("PYTHONPATH", str(decoder.folder))
    items = list(CrashQuarantine(DecodeSettings(), 9, lambda: False).test_entries(Sources([str(photos)])))
    found = {item.entry.image: item.error.message for item in items if isinstance(item, Failed)}
    assert len(items) == 6
    for word, cause in (("SEGV", "(SIGSEGV)"), ("EXIT", "(exit code 7)"), ("ABRT", "(SIGABRT)")):
        (message,) = [message for image, message in found.items() if word in image]
        assert cause in message
    assert capfd.readouterr() == ("", "")


def test_a_child_needs_no_torch() -> None:
    ask = "import sys, camcli.pipeline.crash_guard; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.check_output([sys.executable, "-c", ask], env=environment) == b"False\n"
