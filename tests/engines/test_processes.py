"""``--processes``: the index of one process, whatever happens to them. The kills are real ones."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines import child, processes
from camcli.errors import CamError
from camcli.pipeline.stream import Watcher
from camcli.schemas.index import ImageRow
from tests.conftest import Cam, index_of, items
from tests.faults.forking import Forks
from tests.faults.test_crashing_decoder import Decoder, harmful

from . import conftest
from .conftest import BATCH, artefacts_of, explain, make_mixed, rows_of
from .forked import Forked, ForkServer

FAST = "factory:tests.tiny:build"
"""The slow model, with the same weights, for the run of one process that others are compared with."""
SLOW = ("--model", "factory:tests.engines.models:build_slow", "--input-size", 64, *BATCH)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    decoder = Decoder(tmp_path_factory.mktemp("decoder") / "decoder")
    yield decoder
    decoder.release()


@pytest.fixture(scope="module")
def server(forks: Forks, decoder: Decoder) -> Iterator[ForkServer]:
    """Forks processes with a decoder that a picture can let crash."""
    with ForkServer(forks, before=decoder.before) as server:
        yield server


@pytest.fixture
def forked(server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are forked, instead of started anew."""
    monkeypatch.setattr(child, "spawn", lambda: Forked(server.address))


def settings(images: Path, run_dir: Path, count: int, **more: object) -> RunConfig:
    return conftest.settings(images, run_dir, processes=str(count), **more)


class Pids(Watcher):
    """Records the processes that are started, and acts at a row."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, at: int = -1, act: Callable[[Pids], None] | None = None
    ) -> None:
        self.at, self.act = at, act
        self.rows = 0
        self.started: list[subprocess.Popen[bytes]] = []
        self.notes: list[str] = []
        begin = child.begin

        def recorded(process: subprocess.Popen[bytes], *arguments: object) -> None:
            self.started.append(process)
            begin(process, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(processes, "begin", recorded)

    def row(self, row: ImageRow) -> None:
        self.rows += 1
        if self.rows == self.at and self.act is not None:
            self.act(self)

    def note(self, line: str) -> None:
        self.notes.append(line)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all tests share."""
    return make_mixed(tmp_path_factory.mktemp("images") / "mixed")


@pytest.fixture(scope="module")
def one(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert explain(settings(mixed, folder, 1, model=FAST)).exit_code == 3
    return folder


def finish(cam: Cam, mixed: Path, run_dir: Path) -> None:
    """What --processes does, in this process, which has everything imported."""
    for i in range(2):
        assert cam("run", mixed, *SLOW, "-o", run_dir, "--shard", f"{i}/2").code in (0, 3)
    assert cam("merge", run_dir).code == 3


def lines_of(journal: Path) -> int:
    """How many whole lines a shard's journal has; none before its process has begun it."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def assert_same(run_dir: Path, one: Path) -> None:
    assert items(run_dir) == items(one)
    assert rows_of(run_dir) == rows_of(one)
    assert artefacts_of(run_dir) == artefacts_of(one)
    assert index_of(run_dir)["status"] == "complete"


def test_a_process_that_is_killed_is_replaced(
    mixed: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pids: Pids) -> None:
        first = random.randrange(2)
        for shard in (first, 1 - first):
            os.kill(pids.started[shard].pid, signal.SIGSTOP)
            # Of its 8 images; had it all rows, it might have said that it is done, and nobody would miss it.
            if lines_of(tmp_path / f"run/shards/{shard}-of-2.jsonl") < 1 + 8:
                os.kill(pids.started[shard].pid, signal.SIGKILL)
                return
            os.kill(pids.started[shard].pid, signal.SIGCONT)
        pytest.skip("both processes were done before this one had seen half of their rows")

    watch = Pids(monkeypatch, random.Random().randint(1, 8), kill)
    summary = explain(settings(mixed, tmp_path / "run", 2, csv=str(tmp_path / "maps.csv")), watch)
    assert summary.exit_code == 3
    assert summary.counts == index_of(one)["counts"]
    assert len(watch.started) == 3
    assert "ended (SIGKILL); another one goes on" in watch.notes[0]
    assert_same(tmp_path / "run", one)
    assert len((tmp_path / "maps.csv").read_text().splitlines()) == 17


@pytest.mark.usefixtures("forked")
def test_a_process_that_somebody_else_stops_is_replaced(
    mixed: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Pids(monkeypatch, 3, lambda pids: os.kill(pids.started[0].pid, signal.SIGTERM))
    summary = explain(settings(mixed, tmp_path / "run", 2), watch)
    assert summary.status == "complete"
    assert_same(tmp_path / "run", one)


@pytest.mark.usefixtures("forked")
def test_a_run_that_is_stopped_goes_on_with_the_same_command(
    cam: Cam, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, one = tmp_path / "photos", tmp_path / "one"
    for name in ("a", "b"):  # more than what is in flight
        shutil.copytree(mixed, photos / name)
    explain(settings(photos, one, 1, model=FAST))
    stop, run_dir = Stop(), tmp_path / "run"
    config = settings(photos, run_dir, 2)
    watch = Pids(monkeypatch, 2, lambda _: stop.request(signal.SIGINT))
    summary = explain(config, watch, stop)
    assert (summary.status, summary.exit_code) == ("interrupted", 130)
    partial = index_of(run_dir)
    assert partial["status"] == "interrupted"
    assert 2 <= len(partial["items"]) < 32
    whole = items(one)
    assert partial["items"] == [item for item in whole if item["image"] in {i["image"] for i in partial["items"]}]
    finish(cam, photos, run_dir)
    assert_same(run_dir, one)


@pytest.mark.usefixtures("forked")
def test_an_image_that_kills_its_process_is_named(
    mixed: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = Path(shutil.copytree(mixed, tmp_path / "mixed"))
    Image.open(photos / "03.png").save(photos / "03.jpg", comment=b"SEGV")
    watch = Pids(monkeypatch)
    assert explain(settings(photos, tmp_path / "run", 2), watch).exit_code == 3
    assert watch.notes
    *others, fatal = sorted(items(tmp_path / "run"), key=lambda item: item["image"] == "03.jpg")
    assert fatal["error"]["kind"] == "worker-died"
    assert others == [{**item, "source": str(photos)} for item in items(one)]


@pytest.mark.usefixtures("forked")
def test_tars_are_those_of_one_process(mixed: Path, tmp_path: Path) -> None:
    for count in (1, 2):
        explain(settings(mixed, tmp_path / f"{count}", count, save_to="tar", model=FAST))
    tars = {path.name: path.read_bytes() for path in (tmp_path / "1/tar").iterdir()}
    assert len(tars) > 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "2/tar").iterdir()} == tars
    assert items(tmp_path / "2") == items(tmp_path / "1")


def test_a_process_that_always_dies_is_replaced_a_few_times(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    started: list[int] = []

    def spawn() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process.pid)
        return process

    monkeypatch.setattr(child, "spawn", spawn)
    with pytest.raises(CamError, match=r"ended 3 times \(SIGKILL\) without explaining an image"):
        explain(settings(mixed, tmp_path / "run", 2))
    assert 3 <= len(started) <= 6


def test_a_head_that_is_gone_is_one_signal_however_many_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *signalled: sent.append(signalled))
    monkeypatch.setattr(child, "_missed", threading.Lock())
    (events_end, events), (settings_end, settings) = os.pipe(), os.pipe()
    for descriptor in (events_end, settings):  # what the head has
        os.close(descriptor)
    sender = child._Events(events)
    sender.send("row", row={})
    child._watch_head(settings_end)
    sender.send("row", row={})
    assert sent == [(os.getpid(), signal.SIGTERM)]
    for descriptor in (events, settings_end):
        os.close(descriptor)


def test_the_head_is_killed_and_started_again(
    cam: Cam, mixed: Path, tmp_path: Path, server: ForkServer, decoder: Decoder
) -> None:
    photos, one, run_dir = Path(shutil.copytree(mixed, tmp_path / "mixed")), tmp_path / "one", tmp_path / "run"
    harmful(photos / "98.jpg", "WAIT")  # the process that comes to it is not done before the head is killed
    assert explain(settings(photos, one, 1, model=FAST)).exit_code == 3
    running = server.start(["run", photos, *SLOW, "-o", run_dir, "--processes", 2])
    shards = run_dir / "shards"
    running.wait_until(lambda: decoder.lingering is not None and any(lines_of(p) > 1 for p in shards.glob("*.jsonl")))
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    decoder.release()
    until = time.monotonic() + 60
    while list(shards.glob("*.lock")) and time.monotonic() < until:  # the others notice, and stop
        time.sleep(0.05)
    assert not list(shards.glob("*.lock"))
    refused = cam("run", photos, *SLOW, "-o", run_dir)
    assert refused.code == 2
    assert "2 shards that are not merged" in " ".join(refused.err.split())
    assert not (run_dir / "index.jsonl").exists()
    finish(cam, photos, run_dir)
    assert_same(run_dir, one)


def test_a_shard_is_killed_and_started_again(
    cam: Cam, mixed: Path, one: Path, tmp_path: Path, server: ForkServer
) -> None:
    run_dir, rows = tmp_path / "run", random.Random().randint(1, 4)
    command = ["run", mixed, *SLOW, "-o", run_dir, "--shard", "0/2"]
    journal = run_dir / "shards/0-of-2.jsonl"
    running = server.start(command)
    running.wait_until(lambda: lines_of(journal) > rows)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert cam("run", mixed, *SLOW, "-o", run_dir, "--shard", "1/2").code in (0, 3)
    if not (run_dir / "shards/0-of-2.json").exists():  # else the signal came after its end
        assert "shard 0/2" in cam("merge", run_dir).err
    assert cam(*command).code in (0, 3)
    assert cam("merge", run_dir).code == 3
    assert_same(run_dir, one)
