"""``--shard`` and ``cam merge``: the index of one process, whatever the number of parts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from camcli.output.lock import RunLock
from tests.conftest import Cam, index_of, items

from .conftest import BATCH, artefacts_of, rows_of


def test_shards_give_what_one_process_gives(tiny: Cam, cam: Cam, mixed: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    assert tiny(mixed, "-o", one, *BATCH).code == 3
    for count in (1, 2, 3, 7):
        run = tmp_path / f"of-{count}"
        codes = [tiny(mixed, "-o", run, *BATCH, "--shard", f"{i}/{count}").code for i in reversed(range(count))]
        assert set(codes) <= {0, 3}
        merged = cam("merge", run, "--json")
        assert merged.code == 3, merged.err
        assert items(run) == items(one)
        assert rows_of(run) == rows_of(one)
        assert artefacts_of(run) == artefacts_of(one)
        assert index_of(run)["counts"] == index_of(one)["counts"] == merged.document["counts"]
        assert index_of(run)["fingerprint"] == index_of(one)["fingerprint"]


def test_a_row_does_not_depend_on_where_the_inputs_are_cut(tiny: Cam, cam: Cam, mixed: Path, tmp_path: Path) -> None:
    """Images that fail are in no batch: a part's batches hold other images than those of one process."""
    one, run = tmp_path / "one", tmp_path / "run"
    tiny(mixed, "-o", one, "--batch-size", 4, "--save", "raw")
    for i in range(2):
        tiny(mixed, "-o", run, "--batch-size", 4, "--save", "raw", "--shard", f"{i}/2")
    assert cam("merge", run).code == 3
    assert [m["native"] for item in items(run) for m in item["maps"]] == [
        m["native"] for item in items(one) for m in item["maps"]
    ]
    assert artefacts_of(run) == artefacts_of(one)


def test_limits_of_a_sample_are_the_same_in_every_shard(tiny: Cam, cam: Cam, mixed: Path, tmp_path: Path) -> None:
    arguments = (mixed, *BATCH, "--scale", "sample:3", "--limit", 9)
    one, run = tmp_path / "one", tmp_path / "run"
    tiny(*arguments, "-o", one)
    for i in range(3):
        tiny(*arguments, "-o", run, "--shard", f"{i}/3")
    assert cam("merge", run).code == 3
    assert index_of(run)["config"]["scale_limits"] == index_of(one)["config"]["scale_limits"] is not None
    assert items(run) == items(one)
    assert artefacts_of(run) == artefacts_of(one)


def test_merging_twice_and_repeating_a_shard_change_nothing(tiny: Cam, cam: Cam, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for i in range(2):
        assert tiny(photos, "-o", run, *BATCH, "--shard", f"{i}/2").code == 0
    assert cam("merge", run, "--csv", tmp_path / "maps.csv").code == 0
    assert len((tmp_path / "maps.csv").read_text().splitlines()) == 7
    before = {name: (run / name).read_bytes() for name in ("index.json", "index.jsonl")}
    assert cam("merge", run).code == 0
    assert {name: (run / name).read_bytes() for name in before} == before
    again = tiny(photos, "-o", run, *BATCH, "--shard", "1/2", "--json")
    assert again.code == 0
    assert again.document["explained_now"] == 0
    assert cam("merge", run).code == 0
    assert items(run) == json.loads(before["index.json"])["items"]


def test_a_merged_run_is_continued_by_one_process(tiny: Cam, cam: Cam, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for i in range(2):
        tiny(photos, "-o", run, *BATCH, "--shard", f"{i}/2")
    cam("merge", run)
    os.link(photos / "0.png", photos / "added.png")
    refused = tiny(photos, "-o", run, *BATCH, "--shard", "0/2")
    assert refused.code == 2
    assert "6 → 7 images" in refused.err
    more = tiny(photos, "-o", run, *BATCH, "--json")
    assert (more.code, more.document["explained_now"], more.document["counts"]["images"]) == (0, 1, 7)
    assert not (run / "shards").exists()
    assert "nothing to merge" in cam("merge", run).err


def test_what_is_missing_is_named(tiny: Cam, cam: Cam, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny(photos, "-o", run, *BATCH, "--shard", "0/3")
    missing = cam("merge", run)
    assert missing.code == 1
    assert "2 of 3 shards have not ended" in missing.err
    assert "shard 1/3: none of 2 images; missing: 2.png, 3.png" in missing.err
    assert not (run / "index.json").exists()
    tiny(photos, "-o", run, *BATCH, "--shard", "1/3")
    tiny(photos, "-o", run, *BATCH, "--shard", "2/3")
    journal = run / "shards/2-of-3.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    assert "was changed or damaged" in cam("merge", run).err
    assert not (run / "index.jsonl").exists()
    assert tiny(photos, "-o", run, *BATCH, "--shard", "2/3").code == 0
    assert cam("merge", run).code == 0


@pytest.mark.parametrize(
    ("arguments", "differs"),
    [
        (("--shard", "1/3"), "the number of shards: 2 → 3"),
        (("--shard", "1/2", "--method", "layercam"), 'config.method: ["gradcam"] → ["layercam"]'),
        (("--shard", "1/2", "--limit", 3), "the list of inputs: 6 → 3 images"),
        (("--shard", "1/2", "--colormap", "viridis"), 'config.colormap: "jet" → "viridis"'),
        ((), "a run in 2 shards that are not merged"),
    ],
)
def test_shards_of_another_run_are_refused(
    tiny: Cam, photos: Path, tmp_path: Path, arguments: tuple[object, ...], differs: str
) -> None:
    tiny(photos, "-o", tmp_path / "run", *BATCH, "--shard", "0/2")
    before = artefacts_of(tmp_path / "run")
    refused = tiny(photos, "-o", tmp_path / "run", *BATCH, *arguments)
    assert refused.code == 2
    assert differs in refused.err.replace("\n", " ").replace("         ", " ") or differs in refused.err
    assert artefacts_of(tmp_path / "run") == before


def test_a_renamed_input_is_another_list(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    tiny(photos, "-o", tmp_path / "run", *BATCH, "--shard", "0/2")
    (photos / "5.png").rename(photos / "6.png")
    refused = tiny(photos, "-o", tmp_path / "run", *BATCH, "--shard", "1/2")
    assert refused.code == 2
    assert "6 images as before, with other names or order" in refused.err


def test_a_run_of_one_process_is_not_cut_afterwards(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    tiny(photos, "-o", tmp_path / "run", *BATCH)
    refused = tiny(photos, "-o", tmp_path / "run", *BATCH, "--shard", "0/2")
    assert refused.code == 2
    assert "holds a run of one process" in refused.err


def test_overwrite_removes_shards(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny(photos, "-o", run, *BATCH, "--shard", "0/2")
    assert tiny(photos, "-o", run, *BATCH, "--overwrite", "--save", "raw").code == 0
    assert sorted(path.name for path in run.iterdir()) == ["index.json", "index.jsonl", "raw"]


def test_a_shard_is_explained_by_one_process(tiny: Cam, cam: Cam, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny(photos, "-o", run, *BATCH, "--shard", "1/2")
    with RunLock(run, "shards/0-of-2.lock"):
        refused = tiny(photos, "-o", run, *BATCH, "--shard", "0/2")
        assert refused.code == 1
        assert "shard 0/2 of" in refused.err
        assert f"is being written by process {os.getpid()}" in refused.err
        assert "is being written" in cam("merge", run).err
    (run / "shards/0-of-2.lock").write_text("1 elsewhere\n")  # of a process that was killed
    assert tiny(photos, "-o", run, *BATCH, "--shard", "0/2").code == 0
    assert cam("merge", run).code == 0


def test_pictures_that_were_drawn_again_are_not_undone(tiny: Cam, cam: Cam, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny(photos, "-o", run, *BATCH, "--shard", "0/1")
    cam("merge", run)
    assert cam("render", run, "--colormap", "viridis").code == 0
    refused = cam("merge", run)
    assert refused.code == 2
    assert "merged already, and changed since" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shard", "2/2"), "give I/N with I from 0 to N-1"),
        (("--shard", "auto"), "neither RANK and WORLD_SIZE (torchrun) nor"),
        (("--shard", "0/2", "--processes", "2"), "contradict each other"),
        (("--shard", "0/2", "--overwrite"), "would remove what the other shards"),
        (("--shard", "0/2", "--csv", "x.csv"), "cam merge RUN --csv FILE"),
        (("--processes", "0"), "--processes 0: must be a whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tiny: Cam, photos: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    refused = tiny(photos, "-o", tmp_path / "run", *arguments)
    assert refused.code == 2
    assert message in " ".join(refused.err.split())
    assert not (tmp_path / "run").exists()
