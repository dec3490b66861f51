"""``--method best --layer best``: what ``cam eval --recommend`` found is what ``cam run`` then uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import camcli
from camcli.config.recommended import with_recommended
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError
from tests.conftest import Outcome, index_of, photographs

Cam = Callable[..., Outcome]
MODEL = ("--model", "factory:tests.tiny:build", "--input-size", 64)
BEST = ("--method", "best", "--layer", "best")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.open(photographs()[number]).convert("RGB").resize((80, 80)).save(folder / f"{number}.png")
    return folder


def written(folder: Path, **recommended: Any) -> RunConfig:
    """A recommendation by hand, and the configuration that asks for it."""
    folder.mkdir()
    document = {
        "schema": "camcli.evaluation/1", "recommended": {"method": "layercam", "layer": "a.b", "why": []} | recommended,
        "model": {"name": "m", "weights_sha256": "0" * 64},
    }  # fmt: skip
    (folder / "eval.json").write_text(json.dumps(document))
    return RunConfig(output_dir=str(folder), method=("best",), layer=("best",))


def test_a_run_uses_what_the_evaluation_found(cam: Cam, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = cam("eval", photos, *MODEL, "--recommend", "--metrics", "deletion", "--steps", 4, "--output-dir", out)
    assert found.code == 0, found.err
    assert f"--method best --layer best --output-dir {out}" in found.err
    recommended = json.loads((out / "eval.json").read_text())["recommended"]
    done = cam("run", photos, *MODEL, *BEST, "--output-dir", out)
    assert done.code == 0, done.err
    index = index_of(out)
    assert index["methods"] == [recommended["method"]]
    assert [layer["path"] for layer in index["layers"]] == [recommended["layer"]]
    assert index["config"]["method"] == [recommended["method"]]
    named = ("--method", recommended["method"], "--layer", recommended["layer"], "--output-dir", out)
    again = cam("run", photos, *MODEL, *named, "--json")
    assert again.document["explained_now"] == 0, "named or best, it is the same run"


def test_another_model_than_the_evaluated_one_is_refused(cam: Cam, photos: Path, tmp_path: Path) -> None:
    written(tmp_path / "out")
    refused = cam("run", photos, *MODEL, *BEST, "--output-dir", tmp_path / "out")
    assert refused.code == 2
    assert "recommends for m with other weights" in refused.err


def test_no_recommendation_says_how_to_get_one(cam: Cam, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    missing = cam("run", photos, *MODEL, *BEST, "--output-dir", out)
    assert missing.code == 2
    assert f"cam eval IMAGES --recommend --output-dir {out}" in missing.err
    out.mkdir()
    for text, why in (
        ("no json", "is no evaluation"), ("[]", "is no evaluation"), ('{"schema": "camcli.index/1"}', "camcli.index/1"),
        ('{"schema": "camcli.evaluation/1", "recommended": null, "model": {}}', "recommends nothing"),
    ):  # fmt: skip
        (out / "eval.json").write_text(text)
        with pytest.raises(ConfigError, match=why):
            with_recommended(RunConfig(output_dir=str(out), layer=("best",)))


def test_best_stands_beside_others_and_each_flag_by_itself(tmp_path: Path) -> None:
    config = written(tmp_path / "out")
    found, _ = with_recommended(config)
    assert (found.method, found.layer) == (("layercam",), ("a.b",))
    two, _ = with_recommended(camcli.RunConfig(output_dir=config.output_dir, method=("gradcam", "best", "layercam")))
    assert (two.method, two.layer) == (("gradcam", "layercam"), ("auto",))
    plain = RunConfig(output_dir=config.output_dir)
    assert with_recommended(plain) == (plain, None)


def test_whole_network_and_fused_recommendations(tmp_path: Path) -> None:
    whole, _ = with_recommended(written(tmp_path / "whole", layer=None))
    assert whole.layer == ("auto",)
    fused = written(tmp_path / "fused", layer="a+b")
    with pytest.raises(ConfigError, match="give --fuse"):
        with_recommended(fused)
    config = RunConfig(output_dir=fused.output_dir, layer=("best",), fuse="mean")
    assert with_recommended(config)[0].layer == ("a", "b")
