"""Rows as files of units: the index of one process, and what is done again when a run is continued."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pytest

from camcli.config.settings import RunConfig
from camcli.errors import CamError
from camcli.images import Entry, Sources
from camcli.output import Ending, UnitFiles, open_units, read_plan
from camcli.output.shard_plan import batches_of_a_unit
from camcli.pipeline.folder import own_share
from camcli.pipeline.recording import record
from tests.conftest import Cam, index_of, items
from tests.output.examples import TIMING

from .conftest import BATCH, artefacts_of, rows_of
from .synthetic import write_units

ENDS = ("index.json", "index.jsonl", "shards/0-of-1.json")


@pytest.fixture
def begun(tiny: Cam, mixed: Path, tmp_path: Path) -> Path:
    """A run folder that holds the plan of a run in units of two batches, and nothing else."""
    run = tmp_path / "run"
    tiny(mixed, "-o", tmp_path / "other", *BATCH, "--shard", "0/1")
    plan = json.loads((tmp_path / "other/shards/plan.json").read_text())
    (run / "shards").mkdir(parents=True)
    (run / "shards/plan.json").write_text(json.dumps(plan | {"unit": 4}) + "\n")
    return run


def unit_file(run: Path, number: int) -> Path:
    return run / f"shards/units/{number:08d}.jsonl"


def test_units_give_what_one_process_gives(tiny: Cam, mixed: Path, begun: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    assert tiny(mixed, "-o", one, *BATCH).code == 3
    assert tiny(mixed, "-o", begun, *BATCH).code == 3
    assert sorted(path.name for path in (begun / "shards/units").iterdir()) == [f"{n:08d}.jsonl" for n in range(4)]
    assert items(begun) == items(one)
    assert rows_of(begun) == rows_of(one)
    assert index_of(begun)["counts"] == index_of(one)["counts"]
    assert {k: v for k, v in artefacts_of(begun).items() if not k.startswith("shards")} == artefacts_of(one)


def test_only_what_is_not_done_is_explained(tiny: Cam, cam: Cam, mixed: Path, begun: Path) -> None:
    run = (mixed, "-o", begun, *BATCH, "--json")
    assert tiny(*run).document["explained_now"] == 16
    before = {name: (begun / name).read_bytes() for name in ENDS}
    begin_again(begun)
    assert tiny(*run).document["explained_now"] == 0
    begin_again(begun)
    unit_file(begun, 2).unlink()
    assert tiny(*run).document["explained_now"] == 4
    (begun / items(begun)[1]["maps"][0]["files"]["overlay"]).unlink()
    begin_again(begun)
    assert tiny(*run).document["explained_now"] == 1
    begin_again(begun)
    assert tiny(*run, "--retry-failed").document["explained_now"] == 4
    assert cam("merge", begun).code == 3
    after = {name: (begun / name).read_bytes() for name in ENDS}
    assert after["index.jsonl"] == before["index.jsonl"]
    assert json.loads(after["index.json"])["items"] == json.loads(before["index.json"])["items"]


def begin_again(run: Path) -> None:
    """As if the run had been killed before its end."""
    for name in ENDS:
        (run / name).unlink()


@pytest.mark.parametrize("damage", ["cut", "of another run", "of another unit", "a row lost", "no JSON"])
def test_a_damaged_unit_is_explained_again(tiny: Cam, mixed: Path, begun: Path, damage: str) -> None:
    run = (mixed, "-o", begun, *BATCH, "--json")
    tiny(*run)
    expected, path = (begun / "index.jsonl").read_bytes(), unit_file(begun, 1)
    text = path.read_bytes()
    head, *rows = text.splitlines(keepends=True)
    path.write_bytes(
        {
            "cut": text[:-7],
            "of another run": head.replace(b"sha256:", b"sha256:0") + b"".join(rows),
            "of another unit": unit_file(begun, 0).read_bytes(),
            "a row lost": head + b"".join(rows[1:]),
            "no JSON": b"\0" * len(text),
        }[damage]
    )
    begin_again(begun)
    plan = read_plan(begun)
    assert plan is not None
    with pytest.raises(CamError, match=r"00000001\.jsonl was changed, or belongs to another run"):
        UnitFiles(begun, plan).read(1)
    assert tiny(*run).document["explained_now"] == 4
    assert (begun / "index.jsonl").read_bytes() == expected


def test_what_is_missing_is_named(tiny: Cam, cam: Cam, mixed: Path, begun: Path) -> None:
    tiny(mixed, "-o", begun, *BATCH)
    begin_again(begun)
    unit_file(begun, 3).unlink()
    missing = cam("merge", begun)
    assert missing.code == 1
    assert "shard 0/1: 12 of 16 images; missing: 09.png, 10.png, 11.png, 99.png" in missing.err
    assert "Repeat the command that began the run" in missing.err


def test_units_cannot_become_shards_with_journals(tiny: Cam, mixed: Path, begun: Path) -> None:
    refused = tiny(mixed, "-o", begun, *BATCH, "--processes", "2")
    assert refused.code == 2
    assert "where rows are: a file a unit → a journal a shard" in refused.err
    assert tiny(mixed, "-o", begun, *BATCH, "--overwrite").code == 3
    assert not (begun / "shards").exists()


@pytest.mark.parametrize(("images", "batch", "batches"), [(16, 2, 1), (200, 12, 1), (3000, 12, 3), (10**8, 12, 32)])
def test_units_are_many_and_not_too_small(images: int, batch: int, batches: int) -> None:
    assert batches_of_a_unit(images, batch) == batches


def test_inputs_that_change_while_a_run_goes_do_not_end_it_as_complete(
    tiny: Cam, mixed: Path, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Sources.__iter__
    listed: list[int] = []

    def shorter(sources: Sources) -> Iterator[Entry]:
        listed.append(1)
        return islice(whole(sources), 16)

    monkeypatch.setattr(Sources, "with_contents", lambda sources: islice(whole(sources), 9))
    monkeypatch.setattr(Sources, "__iter__", shorter)
    ended = tiny(mixed, "-o", begun, *BATCH)
    assert (ended.code, bool(listed)) == (1, True)
    assert "so that rows of 2 units are missing" in " ".join(ended.err.split())
    assert (index_of(begun)["status"], len(items(begun))) == ("aborted", 8)
    assert not (begun / "index.jsonl").exists()
    monkeypatch.undo()
    assert tiny(mixed, "-o", begun, *BATCH, "--json").document["explained_now"] == 8
    assert index_of(begun)["status"] == "complete"


def test_a_row_of_another_image_does_not_stand(tiny: Cam, mixed: Path, begun: Path) -> None:
    """As where a file was removed while a run went, so that the rows of all that follow moved."""
    tiny(mixed, "-o", begun, *BATCH)
    expected, path = rows_of(begun), unit_file(begun, 1)
    head, *rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + b"".join([*rows[1:], rows[0]]))
    begin_again(begun)
    assert tiny(mixed, "-o", begun, *BATCH, "--json").document["explained_now"] == 4
    assert rows_of(begun) == expected


def test_the_first_start_of_a_shard_is_no_continued_one(tiny: Cam, cam: Cam, mixed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tar = (mixed, "-o", run, *BATCH, "--save-to", "tar")
    assert tiny(*tar, "--shard", "0/2").code in (0, 3)
    second = tiny(*tar, "--shard", "1/2", "--no-resume")
    assert second.code in (0, 3)
    assert "killed or crashed" not in second.out
    for more in ((), ("--dry-run",)):
        assert tiny(*tar, "--shard", "1/2", "--no-resume", *more).code == 2
    assert cam("merge", run).code == 3


def test_a_second_process_takes_nothing_from_the_first(tiny: Cam, mixed: Path, begun: Path) -> None:
    plan = read_plan(begun)
    assert plan is not None
    half_written = begun / "overlays/.cam-0123456789abcdef.tmp"
    with open_units(begun, plan.header, plan.inputs):
        half_written.parent.mkdir()
        half_written.write_bytes(b"x")
        refused = tiny(mixed, "-o", begun, *BATCH)
        assert refused.code == 1
        assert f"{begun} is being written by process" in " ".join(refused.err.split())
        assert half_written.exists()


def test_the_share_of_a_shard_is_that_of_its_units() -> None:
    """100 images in batches of 2: in units a part is more than a batch."""
    for save_to, own in (("folder", 50), ("tar", 50)):
        config = RunConfig(image_path=("x",), shard="0/2", save_to=save_to)
        assert own_share(config, 100, 2) == own
    in_tars = [own_share(RunConfig(image_path=("x",), shard=f"{i}/3", save_to="tar"), 1000, 2) for i in range(3)]
    in_files = [own_share(RunConfig(image_path=("x",), shard=f"{i}/3"), 1000, 2) for i in range(3)]
    assert (sum(in_tars), sum(in_files)) == (1000, 1000)
    assert in_tars == [336, 336, 328]  # units of 14 images
    assert in_files == [334, 334, 332]
    assert own_share(RunConfig(image_path=("x",)), 7, 2) == 7


def test_the_end_of_a_run_reads_each_unit_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = write_units(tmp_path / "run", 100)
    reads: Counter[Path] = Counter()
    read = Path.read_bytes
    ending = Ending("complete", "2026-01-02T03:05:05Z", TIMING, passed_over=2)
    with open_units(tmp_path / "run", plan.header, plan.inputs) as folder:
        monkeypatch.setattr(Path, "read_bytes", lambda path: reads.update([path]) or read(path))
        recording = record(folder, RunConfig(image_path=("x",), csv=str(tmp_path / "maps.csv")), plan.batch_size)
        counts = recording.end(plan.header, ending, 100)
    units = {path: times for path, times in reads.items() if path.parent.name == "units"}
    assert (len(units), set(units.values())) == (plan.units, {1})
    assert len((tmp_path / "maps.csv").read_text().splitlines()) == 1 + 100
    assert asdict(counts) == index_of(tmp_path / "run")["counts"]
    assert (counts.images, counts.ok, counts.maps, counts.passed_over) == (100, 100, 100, 2)
    assert rows_of(tmp_path / "run") == index_of(tmp_path / "run")["items"]
