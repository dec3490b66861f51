import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from camcli.errors import LockedError, OutputError, ResumeError
from camcli.output.header import read_header
from camcli.output.index import Ending, write_index
from camcli.output.lock import LOCK_NAME
from camcli.output.run_folder import RunFolder, open_run

from .examples import TIMING, header, item
from .faults import files_below, needs_tmpfs, small_disk

PATH = "overlays/gradcam/a/x.jpg.jpg"


def finish(folder: RunFolder) -> None:
    """Write one image and the index, as a run does."""
    folder.writer.write(PATH, b"12345678")
    offset = folder.journal.append(item())
    write_index(
        folder.path,
        folder.journal.header,
        folder.journal.in_order([offset]),
        Ending("complete", "2026-01-02T03:05:05Z", TIMING),
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of one image."""
    with open_run(tmp_path / "run", header()) as folder:
        assert not folder.resumed
        finish(folder)
    return tmp_path / "run"


def test_a_finished_run_leaves_its_files_and_nothing_else(run: Path) -> None:
    assert set(files_below(run)) == {"index.json", "index.jsonl", PATH}


def test_a_new_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    with open_run(tmp_path / "a/b/run", header()) as folder:
        assert folder.notes == ()
        assert folder.path.is_dir()


def test_the_same_configuration_is_continued(run: Path) -> None:
    before = files_below(run)
    (run / "overlays/.cam-0123456789abcdef.tmp").write_bytes(b"left by a dead process")
    (run / ".cam-0123456789abcdef.tmp").write_bytes(b"left by a dead process")
    unlike = header(started="later", command=["cam"], environment={})
    unlike["config"]["workers"] = 16
    with open_run(run, unlike) as folder:
        assert folder.resumed
        assert folder.journal.find("photos", "a/x.jpg") is not None
        assert folder.journal.header["config"]["batch_size"] == 8
    assert files_below(run) == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fingerprint": "sha256:9", "config": {"method": ["layercam"]}}, 'config.method: ["gradcam"] → ["layercam"]'),
        ({"render_fingerprint": "sha256:9", "config": {"alpha": 0.7}}, "config.alpha: 0.5 → 0.7"),
        ({"config": {"image_path": ["photos", "more"]}}, 'config.image_path: ["photos"] → ["photos", "more"]'),
        ({"fingerprint": "sha256:9", "model": {"weights_sha256": "5"}}, f'model.weights_sha256: "{"3" * 64}" → "5"'),
        ({"fingerprint": "sha256:9"}, f'fingerprint: "sha256:{"1" * 64}" → "sha256:9"'),
    ],
)
@pytest.mark.parametrize("journal_lost", [False, True])
def test_another_configuration_is_refused_with_what_differs(
    run: Path, changed: dict[str, Any], said: str, journal_lost: bool
) -> None:
    if journal_lost:
        (run / "index.jsonl").unlink()
    before = files_below(run)
    asked = header()
    for key, value in changed.items():
        asked[key] = {**asked[key], **value} if isinstance(value, dict) else value
    asked["config"] |= {"workers": 16, "max_pixels": 7, "allow_truncated": True}  # affect nothing, and are not named
    with pytest.raises(ResumeError) as caught:
        open_run(run, asked)
    message = str(caught.value)
    assert f"{run} holds a run of another configuration" in message
    assert said in message
    assert message.count("→") == 2  # the legend, and the one setting
    assert "Choose another --output-dir" in message
    assert "--overwrite" in message
    assert caught.value.exit_code == 2
    assert files_below(run) == before


def test_layers_are_compared_by_their_fields(run: Path) -> None:
    asked = header(fingerprint="sha256:9")
    asked["layers"][0]["path"] = "conv_head"
    with pytest.raises(ResumeError, match=r'layers\[0\]\.path: "bn2" → "conv_head"'):
        open_run(run, asked)


def test_of_long_values_the_part_that_differs_is_shown(run: Path) -> None:
    asked = header(fingerprint="sha256:9")
    asked["model"]["weights"] = "default" + "x" * 500
    with open_run(run.parent / "long", asked):
        pass
    asked["model"]["weights"] = "default" + "x" * 500 + "y"
    with pytest.raises(ResumeError, match=r'model\.weights: …x+" → …x+y"\n'):
        open_run(run.parent / "long", {**asked, "fingerprint": "sha256:8"})


def test_many_differences_are_not_all_listed(run: Path) -> None:
    asked = header(fingerprint="sha256:9")
    asked["config"] |= {f"option{number}": number for number in range(20)}
    with pytest.raises(ResumeError, match="and 8 more"):
        open_run(run, asked)


def test_no_resume_refuses_a_run_and_takes_an_empty_folder(run: Path) -> None:
    with pytest.raises(ResumeError, match=r"--no-resume forbids to continue it.*--overwrite"):
        open_run(run, header(), resume=False)
    (run.parent / "empty").mkdir()
    open_run(run.parent / "empty", header(), resume=False).close()


def test_overwriting_removes_what_the_run_wrote_and_nothing_else(run: Path) -> None:
    mine = ["notes.txt", "overlays/mine.txt", "photos/x.jpg", "raw/mine/data.csv"]
    orphans = ["heatmaps/gradcam/y.jpg.webp", "raw/gradcam/y.jpg.npy", "panels/.cam-0123456789abcdef.tmp"]
    for name in mine + orphans:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(name.encode())
    (run / "maps").symlink_to(run.parent)
    with open_run(run, header(fingerprint="sha256:9"), overwrite=True) as folder:
        assert not folder.resumed
        assert folder.journal.find("photos", "a/x.jpg") is None
        assert folder.journal.header["fingerprint"] == "sha256:9"
    assert set(files_below(run)) == {*mine, "index.jsonl"}
    assert not (run / "heatmaps").exists()
    assert not (run / "overlays/gradcam").exists()


def test_overwriting_a_folder_that_is_no_run_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays/x.jpg").write_bytes(b"mine")
    with open_run(tmp_path, header(), overwrite=True) as folder:
        assert not folder.resumed
    assert set(files_below(tmp_path)) == {"overlays/x.jpg", "index.jsonl"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["index.json", "index.jsonl"])
def test_an_index_of_another_origin_is_never_touched(name: str, overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b'{"mine": true}\n')
    with pytest.raises(ResumeError, match=f"{name} was not written by cam"):
        open_run(tmp_path, header(), overwrite=overwrite)
    assert files_below(tmp_path) == {name: b'{"mine": true}\n'}


def test_a_run_without_its_journal_is_done_again(run: Path) -> None:
    (run / "index.jsonl").unlink()
    with open_run(run, header()) as folder:
        assert folder.resumed
        assert folder.journal.find("photos", "a/x.jpg") is None


def test_whether_the_last_process_ended_by_itself(run: Path) -> None:
    (run / LOCK_NAME).write_bytes(b"1 elsewhere\n")  # as a process leaves it that was killed
    with open_run(run, header()) as folder:
        assert folder.abandoned
        assert "killed or crashed" in folder.notes[0]
    with open_run(run, header()) as folder:
        assert (folder.abandoned, folder.notes) == (False, ())
    (run / LOCK_NAME).write_bytes(b"1 elsewhere\n")
    with open_run(run, header(), overwrite=True) as folder:  # a new run: nothing was in flight
        assert (folder.abandoned, folder.notes) == (False, ())


def test_a_refused_folder_is_free_again(run: Path) -> None:
    with pytest.raises(ResumeError):
        open_run(run, header(fingerprint="sha256:9"))
    open_run(run, header()).close()


def test_two_at_once_are_refused_before_anything_is_touched(run: Path) -> None:
    with open_run(run, header()):
        (run / "overlays/.cam-0123456789abcdef.tmp").write_bytes(b"of the first")
        before = files_below(run)
        with pytest.raises(LockedError):
            open_run(run, header(), overwrite=True)
        assert files_below(run) == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file/run: Not a directory\. Something that is no folder"):
        open_run(tmp_path / "file/run", header())


@needs_tmpfs
def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path, "64k", "ro"),
        pytest.raises(OutputError, match=r"Read-only file system\. Check its permissions, or choose an"),
    ):
        open_run(tmp_path, header())


def test_a_run_folder_of_another_user_is_named(run: Path) -> None:
    code = (
        "import os, sys; from camcli.errors import OutputError; from camcli.output.run_folder import open_run\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: open_run('.', {})\n"
        "except OutputError as error: sys.exit(str(error))"
    )
    run.chmod(0o555)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], cwd=run, capture_output=True, text=True, env=environment)
    assert "cannot write .cam.lock: Permission denied. Check its permissions, or choose another" in ended.stderr


def test_the_recorded_header_can_be_read_before_opening(run: Path, tmp_path: Path) -> None:
    recorded = read_header(run)
    assert recorded is not None
    assert recorded["config"]["batch_size"] == 8
    assert read_header(tmp_path / "nothing") is None
