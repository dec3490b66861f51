"""What the page says of the run: layers, times, and why a method was chosen."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camcli.report import ReportOptions, build_report
from camcli.report.changes import drawing_differences
from camcli.report.choice import choice_of, name_of
from camcli.report.records import Records
from camcli.report.rows import RunRows
from camcli.report.run_facts import facts
from tests.conftest import Cam, index_of
from tests.report.gallery_run import make_run
from tests.report.test_report import one_map

CHOSEN: dict[str, Any] = {
    "method": "pathcam", "options": ["pathcam.fast=true"], "layer": None, "source": "trial",
    "why": ["pathcam (fast=true): the highest of 2 candidates", "ahead of gradcam by 0.142 <b>"], "budget": 30,
    "requested": {"method": ["best"], "option": []}, "images": ["a.png", "b.png"],
    "candidates": [
        {"method": "pathcam", "options": ["pathcam.fast=true"], "passes": 4.0, "value": 0.4071,
         "interval": [-0.294, 0.5218]},
        {"method": "gradcam", "options": [], "passes": 1.0, "value": None, "interval": None},
    ],
    "excluded": [{"method": "chefer", "options": [], "passes": None, "reason": "has no tokens"}],
    "trial": {"metric": "ins-del", "steps": 8, "seed": 0, "passes": 2007, "seconds": 161.3},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facts")
    (folder / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    Image.fromarray(pixels).resize((64, 64)).save(folder / "images" / "0.png")
    return make_run(folder / "images", folder / "run", save="none", method=("gradcam",), target="predicted")


def page_of(run: Path, **options: Any) -> str:
    """The text of the page's elements, without tags."""
    page = build_report(ReportOptions(str(run), **options)).page.read_text("utf-8")
    return unescape(
        re.sub(r"\s+", " ", re.sub(r"<(?!b>)[^>]+>", "", page[page.index("<body>") : page.index('id="meta"')]))
    )


def facts_of(run: Path, changes: dict[str, Any], maps: list[dict[str, Any]]) -> dict[str, str]:
    records = Records()
    for one in maps:
        records.record({**index_of(run)["items"][0], "maps": [one]})
    header: Any = {**index_of(run), **changes}
    return {name: value for _, group in facts(RunRows(run, header, 1, None), records) for name, value in group}


def test_why_a_method_was_chosen_is_on_the_page(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    text = (copy / "index.json").read_text("utf-8")
    (copy / "index.json").write_text(
        text.replace('"items": [', f'"chosen_method": {json.dumps(CHOSEN)},\n"items": [', 1), "utf-8"
    )
    text = page_of(copy)
    for words in (
        "Why pathcam (fast=true)", *CHOSEN["why"], "--method best", "30 forward passes a map",
        "2 images, 2,007 forward passes, 161.3 s, before the first map", "0.407 [−0.294, 0.522]", "not measured",
        "Not tried: chefer", "has no tokens",
    ):  # fmt: skip
        assert words in text
    page = (copy / "report.html").read_text("utf-8")
    assert '"choice":"--method best chose pathcam (fast=true). Why: pathcam (fast=true): the highest' in page
    assert "Why pathcam" not in page_of(run)
    assert choice_of(index_of(run)) is None


def test_a_method_without_a_trial() -> None:
    choice = choice_of({"chosen_method": {**CHOSEN, "source": "default", "trial": None, "budget": None, "options": []}})
    assert choice is not None
    assert choice.name == "pathcam"
    assert ("how", "the default, as nothing was measured") in choice.facts
    assert not {"trial", "budget", "layers"} & {name for name, _ in choice.facts}


def test_options_are_named_with_their_own_method() -> None:
    assert (
        name_of("pathcam", ["pathcam.ordered=0", "pathcamx.a=1", "pathcam.fast=true"])
        == "pathcam (ordered=0, fast=true)"
    )


def test_the_seconds_of_a_trial_are_apart(run: Path) -> None:
    timing = {"seconds": 279.3, "images_per_second": 0.215, "stages": {}}
    counts = {**index_of(run)["counts"], "images": 60}
    found = facts_of(run, {"timing": timing, "counts": counts, "chosen_method": CHOSEN}, [])
    assert found["seconds"] == "279.3 in all: 161.3 the trial of --method best, 118.0 the rest"
    assert found["rate"] == "0.5 images/s without the trial"
    # A later start, which had no trial: its seconds are as they are.
    later = {"timing": {**timing, "images_per_second": 0.1}, "counts": counts, "chosen_method": CHOSEN}
    assert facts_of(run, later, [])["rate"] == "0.1 images/s, 279.3 s in all"
    assert facts_of(run, {"timing": timing, "counts": counts}, [])["rate"] == "0.2 images/s, 279.3 s in all"


def test_the_layers_and_cells_of_the_maps_are_said(run: Path) -> None:
    layer = index_of(run)["layers"][0]["path"]
    own = facts_of(run, {}, [one_map("gradcam", [[1.0, 2.0, 3.0]], layer=layer)])
    assert own["maps"] == f"gradcam: of {layer}, 1×3 cells"
    assert "no map is of it" not in own["target layer"]
    several = facts_of(run, {}, [one_map("pathcam", [[1.0, 2.0], [3.0, 4.0]], layer=["blocks.2", "blocks.4"])])
    assert several["maps"] == "pathcam: of blocks.2+blocks.4, 2×2 cells"
    assert several["target layer"].endswith("; no map is of it, see the maps above")
    assert (
        facts_of(run, {}, [one_map("gradients", [[1.0, 2.0]], layer=None)])["maps"]
        == "gradients: of the whole network, 1×2 cells"
    )


def test_runs_that_were_drawn_differently(cam: Cam, run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    assert "drawn differently" not in page_of(run, against=str(copy), output=str(tmp_path / "a.html"))
    done = cam("render", copy, "--colormap", "viridis", "--save", "overlay")
    assert done.code == 0, done.err
    text = page_of(run, against=str(copy), output=str(tmp_path / "b.html"))
    assert "The runs were drawn differently (--colormap viridis there, jet here). The page draws both alike" in text


def test_every_setting_of_the_colours_counts() -> None:
    base = {"colormap": "jet", "gamma": 1.0, "signed": True, "scale": "sample:3", "scale_limits": {"a": [0.0, 1.5]}}
    assert drawing_differences(base, base) == []
    assert drawing_differences(base, {}) == ["--signed on there, off here", "--scale sample:3 there, per-image here"]
    other = {**base, "scale_limits": {"a": [0.0, 2.0]}, "gamma": 0.5}
    assert drawing_differences(base, other) == [
        "--gamma 1.0 there, 0.5 here",
        "--scale a 0 to 1.5 there, a 0 to 2 here",
    ]
