"""A small run, stopped at every point in every way and continued: the tree is that of a run that nothing stopped."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from camcli.errors import OutputError
from camcli.output import Counts, Ending, artefact_path, artefacts_intact, open_run, write_csv, write_index

from .examples import TIMING, header, item
from .faults import fail_at, files_below, needs_tmpfs, small_disk

IMAGES = [f"{folder}/{name}.jpg" for folder in "ab" for name in "xyz"]


def run(run_dir: Path, images: list[str] = IMAGES, padding: int = 0) -> int:
    """What a run does to its folder, with artefacts that depend on the image alone; returns how many were made."""
    made = 0
    order = []
    with open_run(run_dir, header()) as folder:
        for image in images:
            row = folder.journal.find("photos", image)
            if row is not None and artefacts_intact(run_dir, row.item):
                order.append(row.offset)
                continue
            sizes = {}
            for kind, extension in (("overlay", "jpg"), ("raw", "npy")):
                path = artefact_path(kind, "gradcam", image, extension)
                sizes[path] = folder.writer.write(path, f"{kind} of {image!a}".encode() + b" " * padding)
            order.append(folder.journal.append(item(image, maps=[], sizes=sizes)))
            made += 1
        order = list(folder.journal.compact(order))
        write_index(
            run_dir,
            folder.journal.header,
            folder.journal.in_order(order),
            Ending("complete", "2026-01-02T03:05:05Z", TIMING),
        )
        write_csv(run_dir / "index.csv", folder.journal.in_order(order))
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run that nothing stopped."""
    run_dir = tmp_path_factory.mktemp("undisturbed")
    assert run(run_dir) == len(IMAGES)
    return files_below(run_dir)


def test_an_undisturbed_run_is_complete_and_continuing_it_makes_nothing(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    run(tmp_path)
    assert run(tmp_path) == 0
    assert files_below(tmp_path) == undisturbed
    assert len(undisturbed) == 2 * len(IMAGES) + 3
    assert [one["image"] for one in json.loads(undisturbed["index.json"])["items"]] == IMAGES


@pytest.mark.parametrize("forever", [False, True])
def test_no_space_at_the_kth_write_for_every_k(forever: bool, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    for number in range(1000):
        run_dir = tmp_path / str(number)
        message = None
        with fail_at(number, errno.ENOSPC, forever=forever, calls=("write", "mkdir", "replace")) as failed:
            try:
                run(run_dir)
            except OutputError as error:
                message = str(error)
        left = files_below(run_dir)
        for path in left.keys() & undisturbed.keys() - {"index.jsonl"}:
            assert left[path] == undisturbed[path]  # complete or not at all
        run(run_dir)
        assert files_below(run_dir) == undisturbed
        if not failed:
            assert number > 3 * len(IMAGES)
            return
        if message is None:  # a folder that is there already need not be made
            assert failed == ["mkdir"]
            continue
        assert f"cannot write {run_dir}" in message or f"cannot write --csv {run_dir}" in message
        assert "No space left on device. Free some space and repeat the same command" in message
    pytest.fail("the run never ended")


@needs_tmpfs
def test_a_real_full_disk_then_more_space(tmp_path: Path) -> None:
    disk, elsewhere = tmp_path / "disk", tmp_path / "elsewhere"
    disk.mkdir()
    run(elsewhere, padding=20_000)
    with small_disk(disk, "128k"):
        with pytest.raises(OutputError, match="No space left on device"):
            run(disk / "run", padding=20_000)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert 0 < run(disk / "run", padding=20_000) < len(IMAGES)
        assert files_below(disk / "run") == files_below(elsewhere)


# Forks a process for each number of a system call; prints how each ended.
_DYING = """
import json, os, sys
from pathlib import Path
from tests.output.faults import die_at
from tests.output.test_survival import run

run_dir, images, numbers = json.loads(sys.argv[1])
ended = []
for number in numbers:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            die_at(number)
            run(Path(run_dir), images)
            code = 0
        finally:
            os._exit(code)
    ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(json.dumps(ended))
"""


def test_kill_9_at_random_instants_restarted_until_done(tmp_path: Path) -> None:
    """Processes of their own, killed at one of their first system calls, again and again."""
    images = [f"{number:03}.jpg" for number in range(150)]
    run(tmp_path / "whole", images)
    chance = random.Random(0)
    numbers = [chance.randrange(300) for _ in range(12)] + [sys.maxsize]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    request = json.dumps([str(tmp_path / "killed"), images, numbers])
    ended = json.loads(
        subprocess.run(
            [sys.executable, "-c", _DYING, request], env=environment, stdout=subprocess.PIPE, check=True
        ).stdout
    )
    assert set(ended) <= {0, -signal.SIGKILL}
    # The whole run makes more than 1,500 calls: five starts cannot finish.
    assert ended[:5] == [-signal.SIGKILL] * 5
    assert ended[-1] == 0
    assert files_below(tmp_path / "killed") == files_below(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["deleted", "cut short"])
def test_an_artefact_lost_after_its_line_is_made_again(
    harm: str, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    run(tmp_path)
    harmed = tmp_path / "overlays/gradcam/a/y.jpg.jpg"
    if harm == "deleted":
        harmed.unlink()
    else:
        harmed.write_bytes(harmed.read_bytes()[:-1])
    assert run(tmp_path) == 1
    assert files_below(tmp_path) == undisturbed


def test_a_line_torn_off_is_made_again(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    run(tmp_path)
    with (tmp_path / "index.jsonl").open("r+b") as journal:
        journal.truncate(journal.seek(0, os.SEEK_END) - 10)
    assert run(tmp_path) == 1
    assert files_below(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "settings",
    [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"TZ": "Pacific/Kiritimati"}],
)
def test_locale_and_time_zone_change_nothing(settings: dict[str, str], tmp_path: Path) -> None:
    images = ["é 🐈.jpg", "\udcff.jpg"]
    run(tmp_path / "here", images)
    code = (
        "import os, sys; from pathlib import Path; from tests.output.test_survival import run\n"
        "run(Path(sys.argv[1]), ['\\xe9 \\U0001f408.jpg', '\\udcff.jpg'])"
    )
    environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, env=environment)
    assert files_below(tmp_path / "there") == files_below(tmp_path / "here")


def test_counts_of_the_index_are_those_of_its_items(undisturbed: dict[str, bytes]) -> None:
    counts = Counts()
    index = json.loads(undisturbed["index.json"])
    for one in index["items"]:
        counts.add(one)
    assert index["counts"] == counts.__dict__
