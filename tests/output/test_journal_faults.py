import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from camcli.errors import OutputError
from camcli.output.journal import Journal

from .examples import header, item
from .faults import fail_at


def open_journal(run: Path, **options: bool) -> Journal:
    return Journal.open(run, header(), **options)


def lines(run: Path) -> list[bytes]:
    return (run / "index.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("durable", [False, True])
def test_a_fault_at_any_system_call_loses_no_earlier_row(durable: bool, tmp_path: Path) -> None:
    for number in range(30):
        run = tmp_path / str(number)
        run.mkdir()
        with open_journal(run, durable=durable) as journal:
            journal.append(item("a.jpg"))
            whole = (run / "index.jsonl").read_bytes()
            with fail_at(number, errno.ENOSPC) as failed:
                try:
                    journal.append(item("b.jpg"))
                except OutputError as error:
                    message = str(error)
                else:
                    message = ""
            if not failed:
                assert number >= 2
                return
            assert "index.jsonl: No space left on device" in message
            assert (run / "index.jsonl").read_bytes() == whole
            assert journal.find("photos", "b.jpg") is None
            journal.append(item("c.jpg"))
        with open_journal(run) as journal:
            assert [journal.find("photos", name) is not None for name in ("a.jpg", "b.jpg", "c.jpg")] == [
                True,
                False,
                True,
            ]
    pytest.fail("the append never ended")


def test_a_real_limit_on_the_file_size_tears_no_line(tmp_path: Path) -> None:
    """The kernel itself writes a part of a line, then refuses the rest."""
    code = (
        "import resource, signal, sys; from camcli.output.journal import Journal\n"
        "from camcli.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal = Journal.open('.', {}); end = journal.append({'image': 'a', 'source': 's'})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (end + 200, -1))\n"
        "try: journal.append({'image': 'b', 'source': 's', 'notes': ['x' * 1000]})\n"
        "except OutputError as error: sys.exit(str(error))"
    )
    ended = run_python(code, tmp_path)
    assert "index.jsonl: File too large" in ended.stderr
    assert [line[:13] for line in lines(tmp_path)[1:]] == [b'{"image": "a"']


@pytest.mark.parametrize("attempt", range(5))
def test_kill_9_while_appending_loses_nothing_that_was_appended(attempt: int, tmp_path: Path) -> None:
    """A process that reports each row after `append` returned is killed; every reported row is there."""
    code = (
        "import sys; from camcli.output.journal import Journal\n"
        "journal = Journal.open('.', {}); number = 0\n"
        "while True:\n"
        "    journal.append({'image': f'{number}.jpg', 'source': 's', 'notes': ['x' * 100_000]})\n"
        "    print(number, flush=True); number += 1"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, env=_environment())
    assert process.stdout is not None
    for _ in range(5 + attempt * 7):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    reported = 5 + attempt * 7 + len(process.stdout.read().splitlines())
    process.wait()
    process.stdout.close()
    with Journal.open(tmp_path, {}) as journal:
        assert all(journal.find("s", f"{number}.jpg") for number in range(reported))
        journal.append({"image": "after.jpg", "source": "s"})
    assert all(json.loads(line) for line in lines(tmp_path))


def run_python(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=_environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
