"""The run folder without ``--output-dir``: what is continued, what is left alone, and two processes at once."""

import shutil
import threading
from pathlib import Path

import pytest

from camcli.config.settings import RunConfig
from camcli.errors import LockedError, ResumeError
from camcli.output import default_folder, find_earlier, open_default_run, open_run, read_header
from camcli.output.lock import RunLock

from .examples import header
from .faults import files_below


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begin(number: int) -> str:
    """Begin the run of this number without naming a folder; the folder it is in."""
    wanted = header(fingerprint=f"sha256:{number}")
    planned = default_folder(wanted)
    with open_default_run(wanted) as folder:
        assert folder.path == planned
        recorded = read_header(folder.path)
        assert recorded is not None
        assert recorded["config"]["output_dir"] == str(folder.path)
        return str(folder.path)


def test_runs_of_other_configurations_get_the_next_free_folder_and_are_each_continued_there() -> None:
    assert [begin(number) for number in (1, 2, 3)] == ["cam-output", "cam-output-2", "cam-output-3"]
    before = files_below(Path())
    assert [begin(number) for number in (3, 2, 1)] == ["cam-output-3", "cam-output-2", "cam-output"]
    assert files_below(Path()) == before


def test_a_run_is_continued_before_a_gap_is_filled() -> None:
    for number in (1, 2, 3):
        begin(number)
    Path("cam-output-2/index.jsonl").unlink()
    assert begin(3) == "cam-output-3"
    assert begin(4) == "cam-output-2"


def test_what_was_taken_instead_of_the_first_folder_is_said() -> None:
    begin(1)
    with open_default_run(header(fingerprint="sha256:2")) as folder:
        assert folder.instead_of == "cam-output holds another run"
        assert folder.notes == ("cam-output holds another run and is left alone; the run folder is cam-output-2",)
    Path("cam-output/index.jsonl").rename("cam-output/other")
    with open_default_run(header(fingerprint="sha256:2")) as folder:
        assert folder.instead_of == "cam-output holds other files"
    shutil.rmtree("cam-output")
    with open_default_run(header(fingerprint="sha256:2")) as folder:
        assert folder.notes == ("the run in cam-output-2 is continued",)


@pytest.mark.parametrize("kind", ["file", "files", "index of another program", "torn journal", "link to nowhere"])
def test_what_is_no_run_of_ours_is_left_alone(kind: str) -> None:
    taken = Path("cam-output")
    if kind == "file":
        taken.write_text("mine")
    elif kind == "link to nowhere":
        taken.symlink_to("nowhere")
    else:
        taken.mkdir()
        name, text = {
            "files": ("notes.txt", "mine"),
            "index of another program": ("index.json", "[1, 2]"),
            "torn journal": ("index.jsonl", '{"schema": "camcli.in'),
        }[kind]
        (taken / name).write_text(text)
    before = files_below(Path())
    assert begin(1) == "cam-output-2"
    assert {name: data for name, data in files_below(Path()).items() if "cam-output-2" not in name} == before
    assert not Path("nowhere").exists()


def test_an_empty_folder_and_an_evaluation_are_no_obstacle() -> None:
    Path("cam-output").mkdir()
    Path("cam-output/eval.json").write_text("{}")
    assert begin(1) == "cam-output"
    assert Path("cam-output/eval.json").read_text() == "{}"


def test_a_folder_that_another_run_is_writing_is_left_alone_and_the_same_run_is_refused() -> None:
    with open_default_run(header(fingerprint="sha256:1")):
        assert begin(2) == "cam-output-2"
        with pytest.raises(LockedError, match="cam-output is being written by process"):
            open_default_run(header(fingerprint="sha256:1"))


def test_a_process_that_has_locked_a_folder_and_not_said_for_what_is_waited_for() -> None:
    Path("cam-output").mkdir()
    lock = RunLock("cam-output")

    def begin_late() -> None:
        lock.release()
        open_run("cam-output", header(fingerprint="sha256:1")).close()

    late = threading.Timer(0.1, begin_late)
    late.start()
    folder = open_default_run(header(fingerprint="sha256:2"))
    folder.close()
    late.join()
    recorded = read_header("cam-output")
    assert folder.path == Path("cam-output-2")
    assert recorded is not None
    assert recorded["fingerprint"] == "sha256:1"


def test_processes_that_start_at_once_get_different_folders() -> None:
    folders: list[str] = []
    gate = threading.Barrier(6)

    def start(number: int) -> None:
        gate.wait()
        with open_default_run(header(fingerprint=f"sha256:{number}")) as folder:
            folders.append(str(folder.path))
            gate.wait()  # nobody leaves before all are in

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folders) == ["cam-output", *(f"cam-output-{number}" for number in range(2, 7))]


def test_a_finished_run_is_refused_where_it_is_not_to_be_continued() -> None:
    begin(1)
    with pytest.raises(ResumeError, match="--no-resume"):
        open_default_run(header(fingerprint="sha256:1"), resume=False)


def test_the_batch_size_is_taken_from_the_run_that_has_the_same_settings() -> None:
    config = RunConfig(image_path=("photos",), alpha=0.7)
    assert find_earlier(config) is None
    for alpha, size in ((0.5, 8), (0.7, 7)):
        settings = {"image_path": ["photos"], "alpha": alpha, "batch_size": size, "target": "predicted", "workers": 3}
        open_default_run(header(config=settings, fingerprint=f"sha256:{size}")).close()
    earlier = find_earlier(config)
    assert earlier is not None
    assert (earlier["config"]["output_dir"], earlier["config"]["batch_size"]) == ("cam-output-2", 7)
    assert find_earlier(RunConfig(image_path=("photos",), alpha=0.7, batch_size="8")) is None
