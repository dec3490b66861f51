"""``cam layers`` for people: short, with every reason that matters, and nothing lost with ``--verbose``."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from camcli.cli.layer_tree import layer_tree
from camcli.layers import LayerSurvey, survey_layers
from camcli.models import Model, load_model


@pytest.fixture(scope="module")
def vit() -> Model:
    torch.manual_seed(0)
    return load_model("timm:test_vit", weights="random")


@pytest.fixture(scope="module")
def survey(vit: Model) -> LayerSurvey:
    return survey_layers(vit)


def _printed(capsys: pytest.CaptureFixture[str], model: Model, survey: LayerSurvey, **options: Any) -> str:
    layer_tree(model, survey, **({"verbose": False, "selected": False} | options))
    return capsys.readouterr().out


def test_a_vit_fits_on_a_screen(capsys: pytest.CaptureFixture[str], vit: Model, survey: LayerSurvey) -> None:
    lines = _printed(capsys, vit, survey).splitlines()
    assert len(lines) < 24
    assert max(len(line.rstrip()) for line in lines) <= 132
    [heading, *_] = lines
    assert "test_vit" in heading
    assert "3×160×160" in heading
    [recommended] = [line for line in lines if "◀ recommended" in line]
    assert "norm1" in recommended
    assert "tokens 10×10 +1" in recommended
    assert any("0 – 4" in line and "Block ×5" in line for line in lines)
    assert any("norm2" in line and "no gradient" in line for line in lines)
    assert any(line.startswith("recommended: blocks.5.norm1") for line in lines)
    hidden = next(int(line.split()[0]) for line in lines if "more modules" in line)
    assert hidden > 100


def test_verbose_shows_every_module_and_every_reason(
    capsys: pytest.CaptureFixture[str], vit: Model, survey: LayerSurvey
) -> None:
    text = _printed(capsys, vit, survey, verbose=True)
    body = text.split("\n\n")[1].splitlines()
    assert len(body) == 1 + len(survey.rows)
    assert "more modules" not in text
    assert text.count("never runs in a forward pass") >= 6
    assert "not spatial" in text


def test_a_selection_has_whole_paths_and_the_recommendation_for_the_whole_model(
    capsys: pytest.CaptureFixture[str], vit: Model
) -> None:
    chosen = survey_layers(vit, verify=["blocks[-1].attn.k_norm"])
    assert chosen.recommended == "blocks.5.norm1"
    text = _printed(capsys, vit, chosen, selected=True)
    assert "blocks.5.attn.k_norm" in text
    assert "refuted  changes elsewhere" in text
    assert "recommended: blocks.5.norm1" in text


def test_nothing_to_recommend_is_said(capsys: pytest.CaptureFixture[str], vit: Model, survey: LayerSurvey) -> None:
    text = _printed(capsys, vit, LayerSurvey(None, survey.rows))
    assert "no layer can be recommended" in text
    assert "--layout" in text
