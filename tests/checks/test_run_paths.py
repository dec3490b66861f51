"""A run that was given relative paths is checked from anywhere: its images, manifest and model are found again."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import camcli
from camcli.checks import check_run, read_run
from camcli.checks.recorded import RecordedRun
from camcli.checks.run_paths import locate, started_in

from ..conftest import Outcome, photographs
from .handmade import HEADER, blob, item, write_run

SUITE = ("layout.enabled=true", "stable.enabled=true", "stable.images=2", "foreground.enabled=true")
MODEL = """
import torch
from torch import nn
def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, 3))
"""


@pytest.fixture(params=["photos", "photos/*.png", "@photos/list.txt", "photos/m.csv"])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A folder with images, a manifest and a model, and a run that was started there with relative paths alone."""
    root = tmp_path / "project"
    (root / "photos").mkdir(parents=True)
    for number, path in enumerate(photographs()[:3]):
        Image.open(path).convert("RGB").resize((80, 80)).save(root / "photos" / f"{number}.png")
    (root / "photos" / "list.txt").write_text("0.png\n1.png\n2.png\n")
    (root / "photos" / "m.csv").write_text('image,box\n0.png,"0,0,40,40"\n1.png,"0,0,40,40"\n2.png,"0,0,40,40"\n')
    module = f"model_{abs(hash(str(tmp_path)))}"  # every test imports its own
    (root / f"{module}.py").write_text(MODEL)
    monkeypatch.chdir(root)
    config = camcli.RunConfig(
        image_path=(request.param,), model=f"factory:{module}:build", input_size="64", output_dir="out/a", save=(),
        layer=("2",), batch_size="2",
    )  # fmt: skip
    assert camcli.run(config).exit_code == 0
    return root, request.param


def statuses(run: Path) -> dict[str, str]:
    results = check_run(str(run), changes=["suite.min_images=1", *SUITE])
    return {result.check: f"{result.status}: {result.why}" for result in results}


def test_from_another_folder_everything_is_found(
    project: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cam: Callable[..., Outcome]
) -> None:
    root, given = project
    here = statuses(root / "out" / "a")
    assert not here["layout"].startswith("skipped")
    assert not here["stable"].startswith("skipped")
    assert here["foreground"].startswith("skipped") == (given != "photos/m.csv")
    monkeypatch.chdir(tmp_path)
    del sys.modules[read_run(root / "out" / "a").header["config"]["model"].split(":")[1]]
    before = list(sys.path)
    assert statuses(Path("project/out/a")) == here
    assert sys.path == before
    sheet = tmp_path / "sheet.png"
    assert cam("check", "project/out/a", "--sheet", sheet, "--fail-on", "never").code == 0
    with Image.open(sheet) as picture:  # the run saved no overlays: they are drawn from the images that were found
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 20_000


def test_a_run_folder_that_was_moved_away_says_what_is_missing_and_what_to_do(
    project: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, given = project
    moved = shutil.move(root / "out" / "a", tmp_path / "elsewhere")
    assert not statuses(moved)["stable"].startswith("skipped")  # called from where the run was started
    monkeypatch.chdir(tmp_path)
    why = statuses(moved)["stable"]
    assert why.startswith("skipped")
    assert given in why
    assert f"looked for in {tmp_path}; call this where it was started" in why


def recorded(path: str, output_dir: str) -> RecordedRun:
    return RecordedRun(Path(path), {**HEADER, "config": {**HEADER["config"], "output_dir": output_dir}}, [], 0)


def test_where_a_run_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert started_in(recorded("/a/b/out", "out")) == "/a/b"
    assert started_in(recorded("/a/b/out", "./b/out/")) == "/a"
    for unknown in ("/a/b/out", "../out", "other", "ut"):
        assert started_in(recorded("/a/b/out", unknown)) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").touch()
    run = recorded(str(tmp_path / "work" / "out"), "out")
    assert locate(run, "here.csv") == "here.csv"  # it lies only where the check is called
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "here.csv").touch()
    assert locate(run, "here.csv") == str(tmp_path / "work" / "here.csv")
    assert locate(run, "@here.csv") == "@" + str(tmp_path / "work" / "here.csv")
    assert [locate(run, path) for path in ("-", "/x/y")] == ["-", "/x/y"]


def test_absolute_paths_get_no_advice(tmp_path: Path) -> None:
    config = {**HEADER["config"], "image_path": [str(tmp_path / "gone")]}
    run = write_run(tmp_path / "run", [item(0, {"gradcam": blob(0.5, 0.5)})], config=config)
    assert read_run(run).images
    assert "call this where" not in statuses(run)["stable"]
