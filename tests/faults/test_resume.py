"""Faults 18 to 21: what an earlier start, a hand or another process left in the run folder."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.conftest import index_of

from .conftest import TINY, Tiny, picture, pictures, tree
from .forking import Forks
from .test_interruption import start_paused


@pytest.fixture
def finished(tiny: Tiny, tmp_path: Path) -> tuple[object, ...]:
    """The command of a finished run into `out`."""
    photos = pictures(tmp_path / "photos", 6)
    command = (photos, "--save", "overlay,raw", "--json", "--output-dir", tmp_path / "out")
    assert tiny(*command).code == 0
    return command


@pytest.mark.parametrize("left", [0.5, 0.999, 0.0], ids=["half a line", "all but the newline", "nothing but a byte"])
def test_a_torn_last_line_of_the_journal_is_dropped(
    left: float, finished: tuple[object, ...], tiny: Tiny, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tree(tmp_path / "out")
    lines = (out / "index.jsonl").read_bytes().splitlines(keepends=True)
    torn = lines[-1][: max(1, int(len(lines[-1]) * left))]
    (out / "index.jsonl").write_bytes(b"".join(lines[:-1]) + torn)
    (out / "index.json").unlink()
    again = tiny(*finished)
    assert (again.code, again.document["explained_now"]) == (0, 1)
    assert tree(out) == whole


def test_a_damaged_line_in_the_middle_and_a_torn_header(
    finished: tuple[object, ...], tiny: Tiny, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tree(tmp_path / "out")
    lines = (out / "index.jsonl").read_bytes().splitlines(keepends=True)
    lines[3] = b"\0" * (len(lines[3]) - 1) + b"\n"  # a block that never reached the disk
    (out / "index.jsonl").write_bytes(b"".join(lines))
    assert tiny(*finished).document["explained_now"] == 1
    assert tree(out) == whole
    (out / "index.jsonl").write_bytes(lines[0][:200])
    assert tiny(*finished).document["explained_now"] == 6
    assert tree(out) == whole


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--method", "layercam"), 'config.method: ["gradcam"] → ["layercam"]'),
        (("--layer", "features.5"), "features.5"),
        (("--target", "2"), 'config.target: "predicted" → "2"'),
        (("--model", "factory:tests.faults.models:hungry", "--layer", "altered"), "tests.faults.models:hungry"),
        (("--colormap", "hot"), 'config.colormap: "jet" → "hot"'),
        (("--input-size", "96"), "96"),
        (("--score", "prob"), "prob"),
        (("--batch-size", "3"), " → 3"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_another_configuration_is_refused(
    change: tuple[str, ...], named: str, finished: tuple[object, ...], cam: Tiny, tmp_path: Path
) -> None:
    before = tree(tmp_path / "out")
    refused = cam("run", *finished, *TINY, *change)
    assert refused.code == 2
    assert named in refused.err
    assert "there → asked for" in refused.err
    assert "Choose another --output-dir, or replace what is there with --overwrite." in refused.err
    assert tree(tmp_path / "out") == before


def test_other_weights_of_the_same_model_are_refused(cam: Tiny, tmp_path: Path) -> None:
    import torch

    from tests.tiny import build

    photos = pictures(tmp_path / "photos", 2)
    model = build()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    command = ("run", photos, *TINY, "--checkpoint", tmp_path / "weights.pt", "--output-dir", tmp_path / "out")
    assert cam(*command).code == 0
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    torch.save(model.state_dict(), tmp_path / "weights.pt")  # the same name, other values
    refused = cam(*command)
    assert refused.code == 2
    assert "weights_sha256" in refused.err


@pytest.mark.parametrize("harm", ["deleted", "cut short", "made a folder", "empty"])
def test_an_artefact_lost_after_its_journal_line_is_made_again(
    harm: str, finished: tuple[object, ...], tiny: Tiny, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tree(tmp_path / "out")
    harmed = out / "overlays/gradcam/0004.png.jpg"
    data = harmed.read_bytes()
    harmed.unlink()
    if harm == "made a folder":
        harmed.mkdir()
        again = tiny(*finished)
        assert again.code == 1  # not ours to remove
        assert f"cannot write {harmed}" in again.err
        harmed.rmdir()
    elif harm != "deleted":
        harmed.write_bytes(data[:-1] if harm == "cut short" else b"")
    again = tiny(*finished)
    assert (again.code, again.document["explained_now"]) == (0, 1)
    assert tree(out) == whole


def test_all_artefacts_lost_are_made_again(finished: tuple[object, ...], tiny: Tiny, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tree(tmp_path / "out")
    shutil.rmtree(out / "overlays")
    assert tiny(*finished).document["explained_now"] == 6
    assert tree(out) == whole


def test_an_image_that_was_replaced_by_another(finished: tuple[object, ...], tiny: Tiny, tmp_path: Path) -> None:
    picture(99, (120, 90)).save(tmp_path / "photos" / "0001.png")
    again = tiny(*finished)
    assert again.document["explained_now"] == 1
    item = next(item for item in index_of(tmp_path / "out")["items"] if item["image"] == "0001.png")
    assert item["width"] == 120


def test_a_second_process_is_refused_and_a_dead_one_does_not_block(forks: Forks, cam: Tiny, tmp_path: Path) -> None:
    photos, out = pictures(tmp_path / "photos", 40), tmp_path / "out"
    command = ("run", photos, "--batch-size", 2, "--output-dir", out, *TINY)
    running = start_paused(forks, command, out, 2)
    second = cam(*command)
    assert second.code == 1
    assert f"cam: {out} is being written by process {running.pid} on " in second.err
    assert "Wait until that ends, or choose another --output-dir." in second.err
    third = cam(*command, "--overwrite")
    assert third.code == 1  # and nothing of the first was removed
    rows = (out / "index.jsonl").read_bytes()
    assert rows.count(b"\n") > 2
    running.send(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert (out / ".cam.lock").exists()
    done = cam(*command, "--limit", 12)
    assert done.code == 0
    assert not (out / ".cam.lock").exists()
    assert json.loads(rows.splitlines()[0])["started"] == index_of(out)["started"]


def test_a_process_that_hangs_holds_its_lock(forks: Forks, cam: Tiny, tmp_path: Path) -> None:
    photos, out = pictures(tmp_path / "photos", 40), tmp_path / "out"
    command = ("run", photos, "--batch-size", 2, "--output-dir", out, *TINY)
    running = start_paused(forks, command, out, 2)
    running.send(signal.SIGSTOP)
    second = cam(*command)
    assert second.code == 1
    assert f"is being written by process {running.pid} on " in second.err
    running.send(signal.SIGCONT)
    running.send(signal.SIGKILL)
    running.wait()


def test_without_an_output_dir_the_next_free_folder_is_taken(
    photos: Path, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (photos / "0000.jpg", "--save", "raw"), (photos / "0001.png", "--save", "raw")
    assert tiny(*first).code == 0
    before = tree(tmp_path / "cam-output")
    other = tiny(*second)
    assert other.code == 0
    note = "cam-output holds another run and is left alone; the run folder is cam-output-2"
    assert f"note     {note}" in other.out
    assert "results in cam-output-2 (cam-output holds another run): raw/, index.json" in other.out
    assert tree(tmp_path / "cam-output") == before
    assert index_of(tmp_path / "cam-output-2")["config"]["output_dir"] == "cam-output-2"
    again = tiny(*second, "--quiet")
    assert (again.code, again.out, again.err) == (0, "", f"cam: {note}\n")
    assert "output   cam-output-2: raw" in tiny(*second, "--dry-run").out
    assert "output   cam-output-3: raw" in tiny(*second, "--seed", "1", "--dry-run").out
    refused = tiny(*second, "--output-dir", "cam-output")
    assert refused.code == 2
    assert tiny(*second, "--output-dir", "cam-output", "--dry-run").err == refused.err  # a dry run foretells it
    assert tiny(*first, "--output-dir", "cam-output", "--dry-run").code == 0
    assert tiny(*second, "--output-dir", "cam-output", "--dry-run", "--overwrite").code == 0
    assert tree(tmp_path / "cam-output") == before
    assert tiny(*second, "--json", "--overwrite").document["output_dir"] == "cam-output"
    assert sorted(path.name for path in tmp_path.glob("cam-output*")) == ["cam-output", "cam-output-2"]


def test_a_start_with_nothing_to_do_leaves_the_timing_as_it_was(
    finished: tuple[object, ...], tiny: Tiny, tmp_path: Path
) -> None:
    index = tmp_path / "out" / "index.json"
    document = json.loads(index.read_text())
    document["timing"]["seconds"], document["finished"] = 1234.5, "2026-01-02T03:04:05Z"
    index.write_text(
        "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(document[key])}" for key in document) + "\n}\n"
    )
    again = tiny(*finished).document
    assert (again["explained_now"], again["timing"]["seconds"] < 1000) == (0, True)
    after = index_of(tmp_path / "out")
    assert (after["timing"], after["finished"]) == (document["timing"], "2026-01-02T03:04:05Z")
    assert after["items"] == document["items"]
    (tmp_path / "out" / after["items"][0]["maps"][0]["files"]["raw"]).unlink()
    assert tiny(*finished).document["explained_now"] == 1
    assert index_of(tmp_path / "out")["timing"]["seconds"] < 1000
    index.write_text("damaged")
    assert tiny(*finished).document["explained_now"] == 0
    assert index_of(tmp_path / "out")["items"] == document["items"]
