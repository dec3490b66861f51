"""Files that a flag names: through links, into pipes and devices, and refusals that name the flag."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from camcli.errors import ConfigError, OutputError
from camcli.output import check_named_file, write_named_file


def write(path: Path | str, *chunks: bytes) -> int:
    check_named_file("--csv", path)
    return write_named_file("--csv", path, chunks or [b"a,b\n", b"1,2\n"])


def test_a_new_file_with_its_folders(tmp_path: Path) -> None:
    assert write(tmp_path / "a/b/t.csv") == 8
    assert (tmp_path / "a/b/t.csv").read_bytes() == b"a,b\n1,2\n"
    assert sorted(os.listdir(tmp_path / "a/b")) == ["t.csv"]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_stays_and_its_target_is_replaced_at_once(absolute: bool, tmp_path: Path) -> None:
    target = tmp_path / "there/t.csv"
    target.parent.mkdir()
    target.write_text("before")
    number = target.stat().st_ino
    (tmp_path / "second.csv").symlink_to(target if absolute else Path("there/t.csv"))
    link = tmp_path / "link.csv"
    link.symlink_to("second.csv")
    write(link)
    assert target.read_bytes() == b"a,b\n1,2\n"
    assert target.stat().st_ino != number  # replaced: a reader sees the old file or the new one
    assert os.readlink(link) == "second.csv"

    def fail() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_named_file("--csv", link, fail())
    assert target.read_bytes() == b"a,b\n1,2\n"
    assert sorted(os.listdir(target.parent)) == ["t.csv"]


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join()
    assert received == [b"a,b\n1,2\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_whose_reader_has_exited_takes_no_more(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert write(f"/dev/fd/{writing}", b"not wanted") == 0
    finally:
        os.close(writing)


def test_a_device_is_written_and_stays_a_device() -> None:
    assert write("/dev/null") == 8
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_keeps_what_was_printed_before_and_after(name: str, tmp_path: Path) -> None:
    if name == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = str(tmp_path / "link")
    if not os.path.exists(name):
        pytest.skip(f"this system has no {name}")
    code = (
        "from camcli.output import write_named_file as write; print('before'); "
        f"write('--csv', {name!r}, [b'a,b\\n']); print('after')"
    )
    with (tmp_path / "out.txt").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\na,b\nafter\n"


def test_what_cannot_be_written_is_refused_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name, words in {
        ".": "a folder stands in its place",
        "dangling": f"a link to {tmp_path / 'nowhere'}, which is not there",
        "loop": "a link that leads back to itself",
        "file/t.csv": f"{tmp_path / 'file'} is no folder",
    }.items():
        with pytest.raises(ConfigError) as caught:
            check_named_file("--csv", tmp_path / name)
        assert str(caught.value).startswith(f"--csv {tmp_path / name}: ")
        assert words in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["dangling", "file", "loop"]
    check_named_file("--csv", tmp_path / "new/folder/t.csv")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_named_with_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(OutputError) as caught:
        check_named_file("--junit", tmp_path / "t.xml")
    assert str(caught.value) == (
        f"cannot write --junit {tmp_path / 't.xml'}: {tmp_path} cannot be written. "
        "Check its permissions, or give --junit another file."
    )


def test_an_error_of_the_system_names_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError) as caught:
        write(tmp_path / "t.csv")
    words = "No space left on device. Free some space and repeat the same command."
    assert str(caught.value) == f"cannot write --csv {tmp_path / 't.csv'}: {words}"
