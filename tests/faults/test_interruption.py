"""Faults 14 and 15: processes that are killed or asked to stop."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import index_of

from .conftest import TINY, pictures, tree
from .forking import Forks, Running

# What is to be interrupted pauses: so it is where it should be when the signal comes, however fast it is otherwise.
_PAUSE = """
def pause_after(rows, forever):
    import time
    from camcli.concurrency import Stop
    from camcli.output.journal import Journal
    append, request, appended, signals = Journal.append, Stop.request, [], []

    def pausing(self, item):
        offset = append(self, item)
        appended.append(offset)
        while len(appended) >= rows and (forever or not signals):
            time.sleep(0.005)
        return offset

    def requested(self, number):
        request(self, number)
        signals.append(number)

    Journal.append, Stop.request = pausing, requested

"""
STOPPING = "stopping after the images in flight; the same command continues"


def pause_after(rows: int, *, forever: bool = False) -> str:
    """What makes a forked `cam` pause when it has journalled so many rows, until it is asked to stop, or for ever."""
    return f"{_PAUSE}pause_after({rows}, {forever})\n"


def rows_in(run_dir: Path) -> int:
    journal = run_dir / "index.jsonl"
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0


def start_paused(forks: Forks, command: Sequence[object], run_dir: Path, rows: int, before: str = "") -> Running:
    """Start a command that pauses after so many rows of its own, and wait until it does."""
    there = rows_in(run_dir)
    running = forks.start(command, f"{before}\n{pause_after(rows)}")
    running.wait_until(lambda: rows_in(run_dir) == there + rows)
    return running


def kill_until_done(
    forks: Forks, command: tuple[object, ...], run_dir: Path, kills: int, chance: random.Random, calls: int
) -> int:
    """Start a command again and again, each time killed at one of its first system calls; then let it end.

    Returns:
        How often it died.
    """
    died = 0
    for _ in range(kills):
        code, _ = forks.run(command, f"from tests.output.faults import die_at; die_at({chance.randrange(calls)})")
        died += code == -signal.SIGKILL
        check_journal(run_dir)
    code, running = forks.run(command)
    assert code == 0, running.err
    return died


def check_journal(run_dir: Path) -> None:
    """What is journalled as done is there, whole."""
    journal = run_dir / "index.jsonl"
    if not journal.exists():
        return
    lines = journal.read_bytes().split(b"\n")[1:-1]  # the last one is empty, or torn
    for line in lines:
        for path, size in json.loads(line)["sizes"].items():
            assert (run_dir / path).stat().st_size == size


def test_kill_9_at_random_instants_restarted_until_done(forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 24)
    command = ("run", photos, "--save", "overlay,raw", "--batch-size", 4, "--workers", 2, *TINY, "--output-dir")
    assert forks.run((*command, tmp_path / "whole"))[0] == 0
    killed = tmp_path / "killed"
    # The whole run makes more than 450 calls: three starts at least cannot finish.
    assert kill_until_done(forks, (*command, killed), killed, 6, random.Random(14), calls=150) > 2
    assert tree(killed) == tree(tmp_path / "whole")
    assert len(tree(killed)) == 2 * 24 + 2  # no temporary file, no lock
    assert index_of(killed)["status"] == "complete"


@pytest.fixture
def stopped(request: pytest.FixtureRequest, forks: Forks, tmp_path: Path) -> tuple[Running, int, Path]:
    """A run that was sent a signal when it had explained a few of its images, its exit code, its folder."""
    photos = pictures(tmp_path / "photos", 80)
    out = tmp_path / "out"
    command = ("run", photos, "--batch-size", 2, "--workers", 2, "--output-dir", out, *TINY)
    running = start_paused(forks, command, out, 4)
    running.send(request.param)
    return running, running.wait(), out


@pytest.mark.parametrize(
    ("stopped", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], indirect=["stopped"], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_finishes_what_is_in_flight(
    stopped: tuple[Running, int, Path], code: int, forks: Forks, tmp_path: Path
) -> None:
    running, ended, out = stopped
    assert ended == code
    index = index_of(out)
    assert index["status"] == "interrupted"
    assert 4 < len(index["items"]) < 40
    assert index["counts"]["ok"] == len(index["items"]) == rows_in(out)
    assert [item["image"] for item in index["items"]] == sorted(item["image"] for item in index["items"])
    assert not list(out.rglob("*.tmp"))
    assert not (out / ".cam.lock").exists()
    assert STOPPING in running.err
    assert "interrupted: the same command continues" in running.out
    assert "Traceback" not in running.err
    # The same command completes it, to the tree of a run that nothing stopped.
    command = ("run", tmp_path / "photos", "--batch-size", 2, "--workers", 2, *TINY, "--limit", 16, "--output-dir")
    assert forks.run((*command, out))[0] == 0
    assert forks.run((*command, tmp_path / "whole"))[0] == 0
    assert [i["image"] for i in index_of(out)["items"]] == [i["image"] for i in index_of(tmp_path / "whole")["items"]]
    assert {k: v for k, v in tree(out).items() if k in tree(tmp_path / "whole") and k != "index.jsonl"} == {
        k: v for k, v in tree(tmp_path / "whole").items() if k != "index.jsonl"
    }


def test_an_interrupted_index_keeps_what_earlier_starts_did(forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 60)
    command = ("run", photos, "--batch-size", 2, "--workers", 2, "--save", "none", "--output-dir", tmp_path / "out")
    assert forks.run((*command, *TINY, "--limit", 20))[0] == 0
    first = (tmp_path / "out" / "index.jsonl").read_bytes().split(b"\n")
    # The rows of the first ten are lost, so that the next start begins before what is there already.
    (tmp_path / "out" / "index.jsonl").write_bytes(b"\n".join(first[:1] + first[11:]))
    running = start_paused(forks, (*command, *TINY), tmp_path / "out", 2)
    running.send(signal.SIGINT)
    assert running.wait() == 130
    index = index_of(tmp_path / "out")
    names = [item["image"] for item in index["items"]]
    assert index["status"] == "interrupted"
    assert names == sorted(set(names))
    assert {f"{n:04}.{'png' if n % 3 else 'jpg'}" for n in range(10, 20)} < set(names)


def test_the_second_signal_ends_the_process_at_once(forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 12)
    out = tmp_path / "out"
    # What is in flight never ends.
    running = forks.start(("run", photos, "--batch-size", 2, "--output-dir", out, *TINY), pause_after(1, forever=True))
    running.wait_until(lambda: rows_in(out) == 1)
    running.send(signal.SIGINT)
    running.wait_until(lambda: STOPPING in running.err)
    running.send(signal.SIGINT)
    assert running.wait() == 130
    assert rows_in(out) == 1
    check_journal(out)


def test_before_the_first_image_a_signal_leaves_nothing_behind(forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 3)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        reached = tmp_path / f"reached-{code}"
        late = (
            "import time, pathlib, camcli.pipeline.setup as setup\n"
            "def load_model(*_, **__):\n"
            f"    pathlib.Path({str(reached)!r}).touch()\n"
            "    while True: time.sleep(1)\n"
            "setup.load_model = load_model"
        )
        running = forks.start(("run", photos, "--output-dir", tmp_path / "out", *TINY), before=late)
        running.wait_until(reached.exists)
        running.send(number)
        assert running.wait() == code
        assert running.err.strip() == "cam: stopped before the first image."
        assert not (tmp_path / "out").exists()


# From the signal on, no file can be put in its place any more.
_FULL_AFTER_THE_SIGNAL = """
import errno, os
from camcli.concurrency import Stop
request, replace, full = Stop.request, os.replace, []

def requested(self, number):
    full.append(number)
    request(self, number)

def replaced(*names):
    if full:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return replace(*names)

Stop.request, os.replace = requested, replaced
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_then_a_full_disk(number: int, code: int, forks: Forks, tmp_path: Path) -> None:
    photos, out = pictures(tmp_path / "photos", 12), tmp_path / "out"
    command = ("run", photos, "--batch-size", 2, "--workers", 2, *TINY, "--output-dir")
    running = start_paused(forks, (*command, out), out, 2, _FULL_AFTER_THE_SIGNAL)
    running.send(number)
    assert running.wait() == code
    assert f"cam: cannot write {out}" in running.err
    assert "No space left on device" in running.err
    assert "Traceback" not in running.err
    check_journal(out)
    assert forks.run((*command, out))[0] == 0
    assert forks.run((*command, tmp_path / "whole"))[0] == 0
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_a_signal_while_the_scale_is_sampled(number: int, forks: Forks, tmp_path: Path) -> None:
    photos, out, reached = pictures(tmp_path / "photos", 12), tmp_path / "out", tmp_path / "reached"
    command = ("run", photos, "--batch-size", 2, *TINY, "--scale", "sample:8", "--save", "overlay,raw", "--output-dir")
    sampling = (
        "import pathlib, time\nfrom camcli.pipeline import batching\n"
        "def stay(*_):\n"
        f"    pathlib.Path({str(reached)!r}).touch()\n"
        "    while True: time.sleep(1)\n"
        "batching.explain_batch = stay"
    )
    running = forks.start((*command, out), before=sampling)
    running.wait_until(reached.exists)
    running.send(number)
    assert running.wait() == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert not out.exists()  # the limits belong into its header, and are not known yet
    if number == signal.SIGINT:
        assert running.err.strip() == "cam: stopped before the first image."
    # Then it is stopped again, when the limits are known and the first rows are there.
    running = start_paused(forks, (*command, out), out, 2)
    running.send(number)
    assert running.wait() == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert forks.run((*command, out))[0] == 0
    assert forks.run((*command, tmp_path / "whole"))[0] == 0
    assert tree(out) == tree(tmp_path / "whole")
