"""``--save-to tar``: the items and artefacts of a folder, in shards that the library webdataset reads."""

from __future__ import annotations

import errno
import io
import json
import random
import shutil
import signal
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from camcli.checks.recorded import read_run
from camcli.checks.report.contact_sheet import overlays
from camcli.output import read_artefact
from tests.conftest import Cam, index_of, items
from tests.faults.forking import Forks
from tests.output.faults import fail_at

from .conftest import BATCH, artefacts_of, make_mixed, rows_of

TAR = ("--save-to", "tar")
SLOW = ("--model", "factory:tests.engines.models:build_slow", "--input-size", 64, *BATCH)


def members(run_dir: Path) -> dict[str, bytes]:
    """The content of every member of every tar, as the index names it."""
    contents = {}
    for path in sorted((run_dir / "tar").iterdir()):
        with tarfile.open(path) as tar:
            for one in tar:
                file = tar.extractfile(one)
                assert file is not None
                contents[f"tar/{path.name}#{one.name}"] = file.read()
    return contents


def without_places(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items without where their artefacts are; the sizes stay, in their order."""
    return [
        {
            **row,
            "sizes": list(row["sizes"].values()),
            "maps": [{**one, "files": sorted(one["files"])} for one in row["maps"]],
        }
        for row in rows
    ]


def files_of(row: dict[str, Any]) -> list[str]:
    return [path for one in row["maps"] for path in one["files"].values() if path is not None]


def everything(run_dir: Path) -> dict[str, bytes]:
    """All files of a run but what says when it ran."""
    return {name: data for name, data in artefacts_of(run_dir).items() if not name.startswith("shards/units")} | {
        "rows": json.dumps(rows_of(run_dir)).encode()
    }


def test_items_and_artefacts_are_those_of_a_folder(tiny: Cam, tmp_path: Path) -> None:
    first, second = make_mixed(tmp_path / "a.b"), make_mixed(tmp_path / "c")
    runs = (first, second, *BATCH, "--method", "gradcam,layercam", "--limit", 20, "--save", "overlay,raw")
    assert tiny(*runs, "-o", tmp_path / "folder").code == 3
    outcome = tiny(*runs, "-o", tmp_path / "tar", *TAR)
    assert outcome.code == 3
    assert "results in" in outcome.out
    assert "tar/" in outcome.out
    folder, tar = items(tmp_path / "folder"), items(tmp_path / "tar")
    assert without_places(tar) == without_places(folder)
    contents = members(tmp_path / "tar")
    for one, other in zip(folder, tar, strict=True):
        for path, place in zip(files_of(one), files_of(other), strict=True):
            assert contents[place] == (tmp_path / "folder" / path).read_bytes()
    assert not {path.name for path in (tmp_path / "tar").iterdir()} & {"overlays", "raw"}
    assert index_of(tmp_path / "tar")["counts"] == index_of(tmp_path / "folder")["counts"]


def test_the_library_reads_a_sample_an_image(tiny: Cam, mixed: Path, tmp_path: Path) -> None:
    assert tiny(mixed, "-o", tmp_path / "run", *BATCH, *TAR, "--save", "overlay,raw").code == 3
    paths = [str(path) for path in sorted((tmp_path / "run/tar").iterdir())]
    assert len(paths) == 8
    samples = list(webdataset.WebDataset(paths, shardshuffle=False))
    rows = items(tmp_path / "run")
    assert [json.loads(sample["json"]) for sample in samples] == rows
    assert [sample["__key__"] for sample in samples] == [row["image"].replace(".", "%2E") for row in rows]
    for sample, row in zip(samples, rows, strict=True):
        parts = {name for name in sample if not name.startswith("__")}
        assert parts == {"json"} | ({"overlay.gradcam.jpg", "raw.gradcam.npy"} if row["status"] == "ok" else set())
        if row["status"] == "ok":
            assert Image.open(io.BytesIO(sample["overlay.gradcam.jpg"])).size == (row["width"], row["height"])
            assert np.load(io.BytesIO(sample["raw.gradcam.npy"])).shape == tuple(row["maps"][0]["native"]["grid"])


@pytest.mark.parametrize("way", ["shards", pytest.param("processes", marks=pytest.mark.slow)])
def test_shards_and_processes_write_the_same(tiny: Cam, cam: Cam, mixed: Path, tmp_path: Path, way: str) -> None:
    run, one, parts = (mixed, *BATCH, *TAR), tmp_path / "one", tmp_path / "parts"
    assert tiny(*run, "-o", one).code == 3
    if way == "processes":
        assert tiny(*run, "-o", parts, "--processes", 2).code == 3
    else:
        for part in (1, 0):
            assert tiny(*run, "-o", parts, "--shard", f"{part}/2").code in (0, 3)
        assert cam("merge", parts).code == 3
    assert items(parts) == items(one)
    assert everything(parts) == everything(one)


@pytest.mark.parametrize(
    "damage", ["removed", "cut", *(pytest.param(name, marks=pytest.mark.slow) for name in ("another", "unit"))]
)
def test_a_unit_whose_tar_is_damaged_is_explained_again(tiny: Cam, mixed: Path, tmp_path: Path, damage: str) -> None:
    run = (mixed, "-o", tmp_path / "run", *BATCH, *TAR, "--json")
    assert tiny(*run).document["explained_now"] == 16
    expected = everything(tmp_path / "run")
    assert tiny(*run).document["explained_now"] == 0
    path = tmp_path / "run/tar/00000001.tar"
    if damage == "removed":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-11_000])
    elif damage == "another":
        shutil.copy(tmp_path / "run/tar/00000002.tar", path)
    else:
        (tmp_path / "run/shards/units/00000001.jsonl").unlink()
    assert tiny(*run).document["explained_now"] == 2
    assert everything(tmp_path / "run") == expected
    assert tiny(*run, "--retry-failed").document["explained_now"] == 8  # units of two, each with one that failed
    assert everything(tmp_path / "run") == expected


def test_an_image_that_was_replaced_takes_the_others_along(tiny: Cam, mixed: Path, tmp_path: Path) -> None:
    run = (mixed, "-o", tmp_path / "run", *BATCH, *TAR, "--json")
    tiny(*run)
    shutil.copy(mixed / "07.png", mixed / "06.png")
    assert tiny(*run).document["explained_now"] == 1
    assert tiny(mixed, "-o", tmp_path / "anew", *BATCH, *TAR).code == 3
    assert everything(tmp_path / "run") == everything(tmp_path / "anew")


def test_what_cannot_be_continued_is_refused(tiny: Cam, cam: Cam, mixed: Path, tmp_path: Path) -> None:
    tars, folder = tmp_path / "tars", tmp_path / "folder"
    assert tiny(mixed, "-o", tars, *BATCH, *TAR).code == 3
    assert tiny(mixed, "-o", folder, *BATCH).code == 3
    refused = tiny(mixed, "-o", folder, *BATCH, *TAR)
    assert (refused.code, 'config.save_to: "folder" → "tar"' in refused.err) == (2, True)
    refused = tiny(mixed, "-o", tars, *BATCH)
    assert (refused.code, 'config.save_to: "tar" → "folder"' in refused.err) == (2, True)
    refused = cam("render", tars, "--colormap", "viridis")
    assert (refused.code, "in tars (--save-to tar), which are not drawn again" in refused.err) == (2, True)
    shutil.copy(mixed / "00.png", mixed / "added.png")
    refused = tiny(mixed, "-o", tars, *BATCH, *TAR)
    assert refused.code == 2
    assert "16 → 17 images" in refused.err
    assert "inputs of a run in tars are fixed" in " ".join(refused.err.split())
    assert tiny(mixed, "-o", tars, *BATCH, "--overwrite").code == 3
    assert not (tars / "tar").exists()


def test_reports_and_sheets_read_what_is_in_tars(tiny: Cam, cam: Cam, mixed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert tiny(mixed, "-o", run, *BATCH, *TAR, "--save", "overlay,raw").code == 3
    recorded = read_run(run)
    record = recorded.images[0]
    (key,) = record.maps
    ((_, picture),) = overlays(recorded, key, [record]).items()
    overlay = record.maps[key].overlay
    assert overlay is not None
    assert np.array_equal(picture, np.asarray(Image.open(io.BytesIO(read_artefact(run, overlay)))))
    shutil.rmtree(mixed)  # so that overlays are shown in place of the originals
    assert cam("report", run).code == 0
    assert len(list((run / "report/thumbnails").rglob("*.jpg"))) >= 6
    assert "#" not in "".join(str(path) for path in (run / "report").rglob("*"))
    assert cam("report", run, "--sheet", tmp_path / "sheet.png").code == 0


def has_begun(run_dir: Path, tars: int) -> bool:
    """Whether so many tars are there or being written, or the run has ended."""
    return len(list((run_dir / "tar").glob("*"))) >= tars or (run_dir / "index.jsonl").exists()


def test_killed_at_any_instant_and_repeated(cam: Cam, mixed: Path, tmp_path: Path, forks: Forks) -> None:
    assert cam("run", mixed, *SLOW, "-o", tmp_path / "one", *TAR).code == 3
    run_dir, chance = tmp_path / "run", random.Random()
    command = ["run", mixed, *SLOW, "-o", run_dir, *TAR]
    for _ in range(2):
        wanted = len(list((run_dir / "shards/units").glob("*.jsonl"))) + chance.randint(1, 3)
        running = forks.start(command)
        running.wait_until(partial(has_begun, run_dir, wanted))
        running.send(signal.SIGKILL)
        running.wait()
    assert cam(*command).code == 3
    assert everything(run_dir) == everything(tmp_path / "one")
    assert not [path for path in run_dir.rglob("*") if path.name.endswith(".tmp")]


# The first tar, the rows of its unit, the fourth tar.
@pytest.mark.parametrize("call", [1, 2, pytest.param(7, marks=pytest.mark.slow)])
def test_a_full_disk_is_named_and_the_run_goes_on_later(tiny: Cam, mixed: Path, tmp_path: Path, call: int) -> None:
    assert tiny(mixed, "-o", tmp_path / "one", *BATCH, *TAR).code == 3
    with fail_at(call, errno.ENOSPC, calls=("replace",)) as failed:
        stopped = tiny(mixed, "-o", tmp_path / "run", *BATCH, *TAR)
    assert failed == ["replace"]
    assert stopped.code == 1
    assert "No space left on device" in stopped.err
    assert "repeat the same command" in " ".join(stopped.err.split())
    assert index_of(tmp_path / "run")["status"] == "aborted"
    assert len(items(tmp_path / "run")) == 2 * ((call - 1) // 2)
    assert tiny(mixed, "-o", tmp_path / "run", *BATCH, *TAR).code == 3
    assert everything(tmp_path / "run") == everything(tmp_path / "one")
