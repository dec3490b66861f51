"""Every entry of the registry is complete. A new check is one more entry of ``OUTCOMES``."""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from camcli.checks import CHECKS, check_run, rules
from camcli.checks.judge import LIMIT
from camcli.checks.settings import COMMON
from tests.checks.handmade import blobs, item, only, write_run

OUTCOMES = {
    "valid": "test_each_check.test_valid_counts_every_kind_of_degenerate_map",
    "layout": "test_interventions.test_layout_is_verified_again_and_a_wrong_record_is_found",
    "border": "test_each_check.test_border_fails_for_heat_in_a_ring_and_names_the_worst",
    "focus": "test_each_check.test_focus_fails_for_even_maps_and_for_single_cells",
    "foreground": "test_each_check.test_foreground_by_boxes_and_by_masks",
    "avoid": "test_each_check.test_avoid_by_one_box_and_by_the_manifest",
    "shortcut": "test_shortcut.test_a_mark_at_varying_places_that_decides_fails",
    "stable": "test_interventions.test_stable_passes_for_a_trained_model_and_fails_for_a_chaotic_one",
    "random": "test_interventions.test_random_passes_for_a_class_map_and_fails_for_one_that_ignores_the_weights",
    "faithful": "test_interventions.test_faithful_passes_for_evidence_and_fails_for_its_opposite",
    "agree": "test_each_check.test_agree_needs_two_families_and_only_warns",
    "predictions": "test_predictions.test_predictions_pass_for_the_same_and_fail_for_many_changed",
    "drift": "test_planted.test_drift_between_runs_of_one_model_and_of_two",
    "wrong": "test_each_check.test_wrong_reports_and_never_fails",
}
"""The test of each check on runs whose outcome is known."""


def modules() -> list[str]:
    """The modules that describe a check."""
    names = [module.name for module in iter_modules(rules.__path__)]
    return [name for name in names if hasattr(import_module(f"camcli.checks.rules.{name}"), "CHECK")]


@pytest.mark.parametrize("name", modules())
def test_every_module_with_a_check_is_registered_under_its_key(name: str) -> None:
    module = import_module(f"camcli.checks.rules.{name}")
    assert CHECKS[module.CHECK.key] is module.CHECK
    assert module.__doc__
    assert module.__doc__.startswith(f"``{module.CHECK.key}``: ")


@pytest.mark.parametrize("key", CHECKS)
def test_an_entry_is_complete(key: str, tmp_path: Path) -> None:
    check = CHECKS[key]
    module, name = OUTCOMES[key].split(".")
    assert callable(getattr(import_module(f"tests.checks.{module}"), name))
    assert check.question.endswith("?")
    assert not set(check.settings) & set(COMMON)
    for setting, spec in check.settings.items():
        assert spec.help
        assert spec.default is None or isinstance(spec.default, spec.kind)
        if LIMIT.fullmatch(setting):
            assert spec.kind is float, "a threshold is a number"
            assert math.isfinite(spec.low), "a threshold knows the range of what it is compared with"
            assert spec.low <= spec.default <= spec.high
    run = write_run(tmp_path / "run", [item(i, {"gradcam": raw}) for i, raw in enumerate(blobs(3))])
    (result,) = check_run(str(run), changes=only(key))
    assert result.status in ("pass", "inconclusive", "skipped"), "nothing is wrong with this run"
    assert result.why
    json.dumps(result.as_json(), allow_nan=False)
