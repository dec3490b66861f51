"""Runs, checks and evaluations of models that return something else than a logit for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import HERE, Cam, index_of
from tests.models.test_output_examination import image


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures in folders of two classes."""
    for place, name in enumerate(("cat/a.png", "cat/b.png", "dog/c.png")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image(place))
    return tmp_path / "pictures"


def arguments(pictures: Path, kind: str) -> list[Any]:
    return [pictures, "--model", f"factory:tests.output_kinds:{kind}", "--input-size", 64]


def run(cam: Cam, pictures: Path, kind: str, *more: object) -> tuple[dict[str, Any], str]:
    run_dir = pictures.parent / f"run-{kind}"
    outcome = cam("run", *arguments(pictures, kind), "--output-dir", run_dir, "--overwrite", *more)
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.err.splitlines() if "brings no preprocessing" not in line] == [
        f"note     {line}" for line in index_of(run_dir)["assumptions"] if "brings no preprocessing" not in line
    ]
    return index_of(run_dir), outcome.out


def test_an_ordinary_classifier(cam: Cam, pictures: Path) -> None:
    """That its outputs are classes is assumed where nothing says so."""
    index, out = run(cam, pictures, "plain", "--class-names", HERE / "tiny_classes.txt")
    assert index["output"] == {"kind": "logits", "key": None, "probability": "softmax", "assumed": None}
    assert "note" not in out
    output = run(cam, pictures, "plain")[0]["output"]
    assert "4 outputs are taken for the logits of 4 classes" in output.pop("assumed")
    assert output == {"kind": "logits", "key": None, "probability": "softmax"}


def test_probabilities(cam: Cam, pictures: Path) -> None:
    plain, _ = run(cam, pictures, "plain")
    index, out = run(cam, pictures, "softmax")
    assert index["output"] == {"kind": "probabilities", "key": None, "probability": "own", "assumed": None}
    assert out.count("note ") == 1
    assert "probabilities already" in out
    for own, expected in zip(index["items"], plain["items"], strict=True):
        chances = [[p["probability"] for p in item["predictions"]] for item in (own, expected)]
        assert chances[0] == pytest.approx(chances[1], abs=1e-6)
        assert [p["logit"] for p in own["predictions"]] == pytest.approx(np.log(chances[1]), abs=1e-5)
        shown = f"class {own['predictions'][0]['index']}  {100 * chances[1][0]:.1f} %"
        assert shown in out


def test_logits_beside_probabilities(cam: Cam, pictures: Path) -> None:
    """All but the entry that was chosen is the same, to the last bit."""
    plain, _ = run(cam, pictures, "plain")
    index, out = run(cam, pictures, "probabilities_first")
    assert index["output"]["key"] == "1"
    assert "note" not in out
    assert index["items"] == plain["items"]


@pytest.mark.parametrize("order", [("cat", "dog"), ("dog", "cat")])
@pytest.mark.parametrize("kind", ["one_logit", "sigmoid"])
def test_correct_with_one_output(cam: Cam, pictures: Path, kind: str, order: tuple[str, str]) -> None:
    """The second name is the class of positive logits; a picture counts as correct for its own label alone."""
    names = pictures.parent / "names.txt"
    names.write_text("\n".join(order))
    index, out = run(cam, pictures, kind, "--class-names", names, "--target", "label")
    assert index["model"]["num_classes"] == 2
    assert (index["output"]["assumed"], "taken for" in out) == (None, False)
    chosen = []
    for item in index["items"]:
        top, other = item["predictions"]
        assert top["probability"] + other["probability"] == pytest.approx(1, abs=1e-6)
        assert (top["index"] == 1) == (top["logit"] > 0 if top["index"] else False)
        assert top["name"] == order[top["index"]]
        assert item["label"]["name"] == item["image"].partition("/")[0]
        assert item["correct"] == (top["name"] == item["label"]["name"])
        assert item["maps"][0]["target"]["name"] == item["label"]["name"]
        chosen.append(item["correct"])
    assert set(chosen) == {True, False}
    assert index["counts"]["correct"] == sum(chosen)


def test_one_name_of_one_output(cam: Cam, pictures: Path) -> None:
    """The class that is not named is the other one, also for folders."""
    names = pictures.parent / "names.txt"
    names.write_text("cat")
    index, _ = run(cam, pictures, "sigmoid", "--class-names", names, "--target", "cat")
    assert [item["label"] for item in index["items"]] == [
        {"index": 1, "name": "cat"}, {"index": 1, "name": "cat"}, {"index": 0, "name": "not cat"},
    ]  # fmt: skip
    assert {item["maps"][0]["target"]["index"] for item in index["items"]} == {1}


def test_values(cam: Cam, pictures: Path) -> None:
    """No percentage anywhere, and no label: checks and metrics say what they leave out."""
    index, out = run(cam, pictures, "age", "--save", "overlay,panel", "--csv", pictures.parent / "age.csv")
    assert (index["output"]["kind"], index["output"]["probability"]) == ("values", "none")
    assert "as a logit it would always mean" in index["output"]["assumed"]
    assert index["output"]["assumed"] in index["assumptions"]
    assert index["counts"]["labelled"] == 0
    for item in index["items"]:
        (value,) = item["predictions"]
        assert (value["probability"], item["maps"][0]["target"]["probability"]) == (None, None)
        assert (item["label"], item["correct"]) == (None, None)
        assert f"output 0  {value['logit']:.4g}\n" in out
        assert 39 < value["logit"] < 42
    told = [line for line in out.splitlines() if "%" in line]
    assert [line for line in told if not line.startswith("note")] == []
    checked = cam("check", pictures.parent / "run-age", "--json").document
    skipped = {one["check"]: one["why"] for one in checked["checks"] if one["status"] == "skipped"}
    assert "values" in skipped["shortcut"]
    figures = cam("eval", *arguments(pictures, "age"), "--json")
    assert figures.code == 0
    assert "left out" in figures.out
    assert "Insertion" in figures.out
    refused = cam("eval", *arguments(pictures, "age"), "--metrics", "drop")
    assert refused.code == 2
    assert "--metrics pointing,energy" in refused.err


def test_the_guess_can_be_overridden(cam: Cam, pictures: Path) -> None:
    index, out = run(cam, pictures, "one_logit", "--probability", "none")
    assert (index["output"]["kind"], index["output"]["assumed"]) == ("values", None)
    assert "note" not in out
    index, _ = run(cam, pictures, "age", "--probability", "sigmoid")
    assert (index["output"]["kind"], index["output"]["probability"]) == ("logits", "sigmoid")


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [
        ("argmax", (), "of int64, such as argmax"),
        ("argmax_float", (), "whole numbers"),
        ("one_logit", ("--probability", "softmax"), "always 1"),
        ("age", ("--target", "label"), "a label is a class"),
        ("age", ("--score", "prob"), "without probabilities"),
        ("unit", (), "every row has length 1"),
    ],
)
def test_refused_before_any_image(cam: Cam, pictures: Path, kind: str, more: tuple[str, ...], reason: str) -> None:
    outcome = cam("run", *arguments(pictures, kind), "--output-dir", pictures.parent / "out", *more)
    assert outcome.code == 2
    assert reason in outcome.err
    assert not (pictures.parent / "out" / "index.json").exists()


def test_the_network_that_is_certain_beyond_float32(cam: Cam, pictures: Path) -> None:
    """Its maps are zero, and the note says why."""
    index, out = run(cam, pictures, "certain")
    zero = [item for item in index["items"] if item["maps"][0]["status"] == "zero"]
    assert zero
    assert all("rounded to 0 or 1" in item["notes"][-1] for item in zero)
    assert "[zero map]" in out


def test_an_encoder(cam: Cam, pictures: Path) -> None:
    index, out = run(cam, pictures, "unit", "--method", "eigencam")
    assert index["output"]["kind"] == "embedding"
    assert index["model"]["num_classes"] is None
    assert all(item["predictions"] == [] for item in index["items"])
    assert "class " not in out
