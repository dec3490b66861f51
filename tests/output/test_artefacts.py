import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from camcli.errors import OutputError
from camcli.output import artefacts
from camcli.output.artefacts import ArtefactWriter
from camcli.output.atomic import naming_os_errors, sweep_temporaries, write_atomically

from .faults import fail_at, files_below, needs_tmpfs, small_disk

PATH = "overlays/gradcam/a/x.jpg.jpg"


def test_writes_a_file_and_the_folders_above_it(tmp_path: Path) -> None:
    assert ArtefactWriter(tmp_path).write(PATH, b"picture") == 7
    assert files_below(tmp_path) == {PATH: b"picture"}


def test_replaces_what_was_there(tmp_path: Path) -> None:
    writer = ArtefactWriter(tmp_path)
    writer.write(PATH, b"old")
    assert writer.write(PATH, b"new one") == 7
    assert files_below(tmp_path) == {PATH: b"new one"}


def test_a_folder_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    writer = ArtefactWriter(tmp_path)
    writer.write("raw/m/x.npy", b"1")
    (tmp_path / "raw/m/x.npy").unlink()
    (tmp_path / "raw/m").rmdir()
    writer.write("raw/m/y.npy", b"2")
    assert files_below(tmp_path) == {"raw/m/y.npy": b"2"}


@pytest.mark.parametrize("relative", ["/etc/x", "../x", "overlays/../../x"])
def test_never_leaves_the_run_folder(relative: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leaves the run folder"):
        ArtefactWriter(tmp_path / "run").write(relative, b"x")
    assert files_below(tmp_path) == {}


def test_an_encoder_that_gave_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x\.jpg\.jpg: its encoder gave no bytes"):
        ArtefactWriter(tmp_path).write(PATH, b"")
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        ArtefactWriter(tmp_path).write(PATH, b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / PATH).stat().st_mode) == mode


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("there_before", [None, b"before"])
def test_a_fault_at_any_system_call_leaves_before_or_after(
    durable: bool, there_before: bytes | None, tmp_path: Path
) -> None:
    """Every call that touches the disk fails in turn, until one attempt needs no more calls."""
    before = {} if there_before is None else {PATH: there_before}
    for number in range(100):
        run = tmp_path / str(number)
        run.mkdir()
        if there_before is not None:
            ArtefactWriter(run).write(PATH, there_before)
        with fail_at(number, errno.ENOSPC) as failed:
            error = _error_of(lambda: ArtefactWriter(run, durable).write(PATH, b"after"))  # noqa: B023 - called at once
        if error is None:
            assert files_below(run) == {PATH: b"after"}
        else:
            assert f"cannot write {run}" in error
            assert "No space left on device. Free some space and repeat the same command" in error
            assert files_below(run) in (before, {PATH: b"after"})
        if not failed:
            assert number >= 6  # mkdir, open, write, fstat, close, replace
            return
    pytest.fail("the write never ended")


def _error_of(action: Callable[[], object]) -> str | None:
    try:
        action()
    except OutputError as error:
        return str(error)
    return None


def test_a_write_that_is_cut_short_is_not_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_write: Callable[[int, bytes], int] = os.write

    def lying_write(descriptor: int, data: bytes) -> int:
        true_write(descriptor, data[:2])
        return len(data)

    monkeypatch.setattr(os, "write", lying_write)
    with pytest.raises(OutputError, match="2 of 7 bytes arrived"):
        ArtefactWriter(tmp_path).write(PATH, b"picture")
    assert files_below(tmp_path) == {}


def test_an_error_of_the_content_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def content() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    (tmp_path / "index.json").write_bytes(b"whole")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "index.json", content())
    assert files_below(tmp_path) == {"index.json": b"whole"}


def test_fsync_only_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    ArtefactWriter(tmp_path).write(PATH, b"x")
    assert synced == []
    ArtefactWriter(tmp_path, durable=True).write("raw/m/x.npy", b"x")
    assert len(synced) == 4  # the file, its folder, and the two folders that were made


@needs_tmpfs
def test_a_full_disk_is_named_and_earlier_files_stay(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k"):
        writer = ArtefactWriter(tmp_path)
        writer.write("raw/m/a.npy", b"a" * 8000)
        with pytest.raises(OutputError, match=r"b\.npy: No space left on device\. Free some space"):
            writer.write("raw/m/b.npy", b"b" * 100_000)
        assert files_below(tmp_path) == {"raw/m/a.npy": b"a" * 8000}
        writer.write("raw/m/b.npy", b"b" * 8000)


def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    """In a process of its own that is not root, since root may write anywhere."""
    code = (
        "import sys; from camcli.output.artefacts import ArtefactWriter\n"
        "from camcli.errors import OutputError\n"
        "import os\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: ArtefactWriter('.').write('raw/m/x.npy', b'x')\n"
        "except OutputError as error: sys.exit(str(error))"
    )
    tmp_path.chmod(0o555)
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=_with_path())
    assert "raw/m: Permission denied. Check its permissions" in ended.stderr
    assert ended.returncode == 1


def _with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "overlays").write_bytes(b"mine")
    with pytest.raises(OutputError, match="no folder stands in its way"):
        ArtefactWriter(tmp_path).write(PATH, b"x")
    assert files_below(tmp_path) == {"overlays": b"mine"}


def test_threads_may_write_at_once_even_the_same_file(tmp_path: Path) -> None:
    writer = ArtefactWriter(tmp_path)
    contents = [bytes([number]) * 100_000 for number in range(8)]

    def work(number: int) -> None:
        for _ in range(20):
            writer.write(PATH, contents[number])
            writer.write(f"raw/m/{number}/x.npy", contents[number])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    left = files_below(tmp_path)
    assert left.pop(PATH) in contents
    assert left == {f"raw/m/{number}/x.npy": contents[number] for number in range(8)}


def test_many_folders_are_not_all_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "_FOLDERS_REMEMBERED", 3)
    writer = ArtefactWriter(tmp_path)
    made: list[str] = []
    true_mkdir = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        made.append(path)
        true_mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    for number in [0, 0, 1, 2, 2, 3, 0]:
        writer.write(f"raw/{number}/x.npy", b"x")
    assert len(files_below(tmp_path)) == 4
    # `raw` and its four folders once each; 3 was one too many, so 0 is looked for again.
    assert [os.path.basename(path) for path in made].count("0") == 2
    assert [os.path.basename(path) for path in made].count("2") == 1


def test_sweeping_removes_temporaries_and_nothing_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    left = [".cam-0123456789abcdef.tmp", "overlays/.cam-0123456789abcdef.tmp", "overlays/a/b/.cam-fedcba9876543210.tmp"]
    kept = [
        "x.tmp",
        "overlays/.cam-x.tmp",
        "overlays/a/.cam-0123456789abcdef.tmp.jpg",
        "mine/.cam-0123456789abcdef.tmp",
    ]
    for name in left + kept:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(b"")
    (run / "overlays/.cam-aaaaaaaaaaaaaaaa.tmp").mkdir()  # a folder of the input may be called anything
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/.cam-0123456789abcdef.tmp").write_bytes(b"")
    (run / "overlays/link").symlink_to(tmp_path / "elsewhere")
    assert sweep_temporaries(run, ["overlays", "heatmaps"]) == 3
    assert set(files_below(run)) == set(kept)
    assert (tmp_path / "elsewhere/.cam-0123456789abcdef.tmp").exists()


@pytest.mark.parametrize("option", [None, "--csv"])
def test_an_error_of_a_store_is_named_without_secrets(option: str | None) -> None:
    url = "https://me:it's-hush@h/run?sig=hush"
    with pytest.raises(OutputError) as caught, naming_os_errors(url, option=option):
        raise OSError(None, f"no answer of {url}")
    assert "hush" not in str(caught.value)
    assert "https://***@h/run?sig=***: " in str(caught.value)
