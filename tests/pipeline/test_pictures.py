"""What decides the pictures, and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from camcli.config.settings import RunConfig
from camcli.pipeline.pictures import (
    decides_pictures,
    fixed_limits,
    limits_of,
    panel_text,
    percentage,
    style_of,
    title_of,
    why_empty,
)

TARGET = {"index": 285, "name": "Egyptian cat", "probability": 0.573, "logit": 9.1, "chosen_by": "predicted"}


def row(**changed: Any) -> Any:
    fields = {
        "method": "gradcam",
        "layer": "bn2",
        "target": TARGET,
        "status": "ok",
        "raw": {"min": -1, "max": 2, "mean": 0},
    }
    return {**fields, **changed}


def test_a_panel_names_class_method_layer_and_target() -> None:
    text = panel_text(row(), None, False, False)
    assert (text.title, text.subtitle, text.warning) == (
        "Egyptian cat  57.3 %", "gradcam, layer bn2, target: predicted", "",
    )  # fmt: skip
    fused = panel_text(row(layer=["a", "b"], target={**TARGET, "chosen_by": "name"}), None, False, False)
    assert fused.subtitle == "gradcam, layer a+b, target: as given"
    assert panel_text(row(layer=None), None, False, False).subtitle == "gradcam, target: predicted"


def test_a_label_is_named_where_it_is_another_class() -> None:
    same: Any = {"index": 285, "name": "Egyptian cat"}
    other: Any = {"index": 7, "name": None}
    assert "label" not in panel_text(row(), same, False, False).subtitle
    assert panel_text(row(), other, False, False).subtitle.endswith(", label: class 7")


@pytest.mark.parametrize(
    ("target", "title"),
    [
        (None, "no class"), ({**TARGET, "probability": None}, "Egyptian cat  9.1"),
        ({**TARGET, "name": None}, "class 285  57.3 %"),
        ({**TARGET, "probability": None, "logit": None}, "Egyptian cat"),
        ({**TARGET, "probability": 0.000123}, "Egyptian cat  0.012 %"),
    ],
)  # fmt: skip
def test_the_title_is_the_class_and_its_probability_or_value(target: Any, title: str) -> None:
    assert title_of(row(target=target)) == title


def test_what_would_mislead_is_said() -> None:
    assert "improbable class" in panel_text(row(improbable=True), None, False, False).warning
    assert panel_text(row(improbable=True), None, True, False).warning == "", "fixed limits do not stretch"
    for status in ("zero", "constant", "nonfinite"):
        assert panel_text(row(status=status), None, False, False).warning == f"this map shows nothing: {status}"


def test_a_map_that_is_nowhere_positive_shows_something_with_its_sign_only() -> None:
    assert why_empty(row(status="zero"), signed=False) == "zero"
    assert why_empty(row(status="zero"), signed=True) == ""
    nothing = {"min": 0.0, "max": 0.0, "mean": 0.0}
    assert why_empty(row(status="zero", raw=nothing), signed=True) == "zero"
    assert why_empty(row(status="nonfinite", raw=dict.fromkeys(nothing)), signed=True) == "nonfinite"


def test_percentages() -> None:
    assert [percentage(p) for p in (1, 0.5, 0.001, 0.00099, 1e-9, 0)] == [
        "100.0 %", "50.0 %", "0.1 %", "0.099 %", "1e-07 %", "0 %",
    ]  # fmt: skip


def test_limits_of_a_sample_are_percentiles_of_what_is_drawn() -> None:
    maps = [np.arange(-100, 0, dtype=np.float32), np.arange(0, 101, dtype=np.float32), np.array([np.nan], np.float32)]
    low, high = limits_of(maps, signed=False)
    assert low == 0
    assert high == pytest.approx(np.percentile(np.maximum(np.arange(-100, 101), 0), 99))
    assert limits_of(maps, signed=True) == (-99, 99)
    assert limits_of([np.zeros(4, np.float32)], signed=True) == (-1, 1)
    assert limits_of([np.full(4, np.nan, np.float32)], signed=False) == (0, 1)


def test_colours_by_themselves_follow_the_sign() -> None:
    assert [style_of(RunConfig(signed=signed)).colormap for signed in (False, True)] == ["jet", "coolwarm"]
    assert style_of(RunConfig(signed=True, colormap="turbo")).colormap == "turbo"
    assert fixed_limits(RunConfig(scale="-1:2", method="a,b")) == {"a": (-1, 2), "b": (-1, 2)}
    assert fixed_limits(RunConfig(scale="sample:4")) == {}


def test_new_settings_are_in_the_fingerprint_where_they_are_used_only() -> None:
    plain = decides_pictures(RunConfig(), None, "names")
    assert not {"signed", "canvas", "gamma"} & plain.keys()
    used = decides_pictures(RunConfig(signed=True, canvas="view"), {"a": (0.0, 1.0)}, "names")
    assert (used["signed"], used["canvas"], used["limits"]) == (True, "view", {"a": [0.0, 1.0]})
