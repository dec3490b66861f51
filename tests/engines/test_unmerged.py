"""What other commands say of a folder whose shards are not merged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cam, index_of

from .conftest import BATCH

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check", "RUN"),
    ("report", "RUN"),
    ("report", "MERGED", "--against", "RUN"),
    ("report", "RUN", "--sheet", "x.png"),
    ("diff", "RUN", "MERGED"),
    ("diff", "MERGED", "RUN"),
    ("render", "RUN", "--colormap", "viridis"),
)


def test_commands_name_the_merge(
    tiny: Cam, cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, merged = tmp_path / "run", tmp_path / "merged"
    tiny(photos, "-o", run, *BATCH, "--limit", 3, "--shard", "0/2")
    tiny(photos, "-o", merged, *BATCH, "--limit", 2, "--shard", "0/1")
    assert cam("merge", merged).code == 0
    before = sorted(run.rglob("*"))
    folders = {"RUN": run, "MERGED": merged}
    monkeypatch.chdir(tmp_path)
    for arguments in COMMANDS:
        refused = cam(*(folders.get(argument, argument) for argument in arguments))
        assert refused.code == 2, arguments
        assert f"{run} holds a run in 2 shards that are not merged" in refused.err, arguments
        assert f"`cam merge {run}`" in refused.err, arguments
    assert sorted(run.rglob("*")) == before


def test_pictures_of_shards_are_no_inputs(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    tiny(photos, "-o", photos / "run", *BATCH, "--limit", 3, "--shard", "0/2")
    assert tiny(photos, "-o", tmp_path / "out", *BATCH).code == 0
    assert index_of(tmp_path / "out")["counts"]["images"] == 6


def test_the_default_folder_says_what_it_avoids(
    tiny: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny(photos, *BATCH, "--limit", 3, "--shard", "0/2")
    elsewhere = tiny(photos, *BATCH, "--limit", 1)
    assert "cam-output holds a run in 2 shards that are not merged (`cam merge cam-output`)" in " ".join(
        elsewhere.out.split()
    )
    assert (tmp_path / "cam-output-2/index.json").exists()


def test_a_quiet_shard_says_where_its_failures_will_be(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    (photos / "0.jpg").write_text("no image")
    shard = tiny(photos, "-o", tmp_path / "run", *BATCH, "--limit", 2, "--shard", "0/1", "--quiet")
    assert shard.code == 3
    assert f"see {tmp_path / 'run/index.json'}, once merged" in shard.err


def test_a_sheet_of_a_shard_is_written_later(tiny: Cam, cam: Cam, photos: Path, tmp_path: Path) -> None:
    run, sheet = tmp_path / "run", tmp_path / "sheet.png"
    shard = tiny(photos, "-o", run, *BATCH, "--limit", 2, "--shard", "0/1", "--sheet", sheet)
    assert shard.code == 0
    assert f"after `cam merge`, `cam report {run} --sheet {sheet}` writes it" in shard.err
    cam("merge", run)
    assert cam("report", run, "--sheet", sheet).code == 0
    assert sheet.exists()
