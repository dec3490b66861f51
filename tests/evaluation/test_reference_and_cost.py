"""The paired difference to a reference, what maps cost, and the figures that are told while an evaluation runs."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from camcli.config.settings import RunConfig
from camcli.errors import ConfigError, UsageError
from camcli.evaluation import EvalOptions, Evaluation, evaluate
from camcli.evaluation.comparison import Comparison, compare
from camcli.evaluation.cost import CostMeter
from camcli.evaluation.entries import MapMaker, MethodEntry
from camcli.explainer import Explainer
from camcli.metrics import METRICS
from camcli.pipeline.setup import prepare
from camcli.stats import Estimate
from tests.conftest import photographs

ENTRIES = [MethodEntry("gradcam", "a", False, "gradcam"), MethodEntry("layercam", "a", False, "layercam")]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        Image.open(photographs()[number]).convert("RGB").resize((96, 80)).save(folder / f"{number}.png")
    return folder


def config(photos: Path, *methods: str, **settings: Any) -> RunConfig:
    return RunConfig(
        image_path=(str(photos),), model="factory:tests.tiny:build", input_size="64", batch_size="2",
        **{"method": methods, **settings},
    )  # fmt: skip


@pytest.fixture(scope="module")
def told() -> list[tuple[int, str]]:
    return []


@pytest.fixture(scope="module")
def found(photos: Path, told: list[tuple[int, str]]) -> Evaluation:
    options = EvalOptions(metrics=("ins-del", "deletion", "drop", "sparsity"), steps=4, reference="layercam")
    return evaluate(
        config(photos, "eigencam", "gradcam", "layercam"), options, lambda _, done, doing: told.append((done, doing))
    )


@pytest.mark.parametrize(("key", "sign"), [("ins-del", 1), ("deletion", -1)])
def test_the_difference_is_the_mean_of_the_differences_of_images(key: str, sign: int) -> None:
    a, b = [0.5, 0.25, np.nan, 0.75, 0.25], [0.25, 0.5, 0.0, 0.25, 0.25]
    values = {e.name: {key: np.array(v)[:, None]} for e, v in zip(ENTRIES, (a, b), strict=True)}
    (one,) = compare(ENTRIES, values, [METRICS[key]], 0)
    pairs = [x - y for x, y in zip(a, b, strict=True) if x == x]
    assert one.estimate.value == pytest.approx(sum(pairs) / 4)
    assert one.estimate.n == 4
    better = [sum(sign * pair > 0 for pair in pairs) / 4, sum(sign * pair < 0 for pair in pairs) / 4]
    assert [one.a_better, one.b_better] == better == ([0.5, 0.25] if sign > 0 else [0.25, 0.5])


def test_a_comparison_the_other_way_round() -> None:
    one = Comparison("ins-del", "x", "y", Estimate(0.25, (-0.5, 1.0), 7), 0.75, 0.125)
    assert one.reversed == Comparison("ins-del", "y", "x", Estimate(-0.25, (-1.0, 0.5), 7), 0.125, 0.75)
    assert one.reversed.reversed == one


def test_every_row_is_compared_with_the_reference(found: Evaluation) -> None:
    assert found.reference is not None
    assert found.reference.name == found.as_json()["reference"] == "layercam"
    lines = {(x["name"], x["metric"]): x for x in csv.DictReader(io.StringIO(found.as_csv()))}
    for entry in found.entries:
        for key in ("ins-del", "deletion", "drop"):
            compared, line = found.against_reference(entry.name, key), lines[entry.name, key]
            if entry.name == "layercam":
                assert compared is None
                assert line["reference"] == line["difference"] == line["better_on"] == ""
                continue
            assert compared is not None
            assert (compared.a, compared.b) == (entry.name, "layercam")
            apart = found.values[entry.name][key] - found.values["layercam"][key]
            assert compared.estimate.value == pytest.approx(METRICS[key].factor * np.nanmean(apart))
            assert (line["reference"], float(line["difference"])) == ("layercam", compared.estimate.value)
            assert (float(line["difference_low"]), float(line["difference_high"])) == compared.estimate.interval
            assert float(line["better_on"]) == compared.a_better
        assert lines[entry.name, "sparsity"]["difference"] == "", "it does not judge"


@pytest.mark.parametrize(
    ("methods", "reference"), [(("eigencam", "gradcam"), "gradcam"), (("layercam", "eigencam"), "layercam")]
)
def test_the_reference_is_gradcam_or_else_the_first(photos: Path, methods: tuple[str, ...], reference: str) -> None:
    done = evaluate(config(photos, *methods, limit=2), EvalOptions(metrics=("sparsity",), baselines=False))
    assert done.as_json()["reference"] == reference


def test_a_reference_that_is_not_evaluated_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[evaluate.__module__]  # the package has the function under this name
    monkeypatch.setattr(module._EvaluationRun, "run", lambda _: pytest.fail("images were explained"))  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"--reference gradcam: .* Add it: --method layercam,eigencam,gradcam"):
        evaluate(config(photos, "layercam", "eigencam"), EvalOptions(reference="gradcam"))
    with pytest.raises(UsageError, match="hirescan"):
        evaluate(config(photos, "layercam"), EvalOptions(reference="hirescan"))


def test_methods_have_a_cost_and_baselines_none(found: Evaluation) -> None:
    document = found.as_json()
    costs = {row["name"]: (row["cost"], row["passes"]) for row in document["rows"]}
    assert costs["gradcam"] == costs["layercam"] == ("F+B", 2)
    assert costs["eigencam"] == ("F", 1)
    assert costs["random"] == (None, 0)
    times = document["timing"]["milliseconds"]
    assert times.keys() == costs.keys()
    assert all((times[entry.name] is None) == entry.baseline for entry in found.entries)
    assert all(time is None or time > 0 for time in times.values())
    line = next(csv.DictReader(io.StringIO(found.as_csv())))
    assert (line["name"], line["cost"], line["passes"]) == ("eigencam", "F", "1")
    assert float(line["milliseconds"]) == times["eigencam"]


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({"method": "gradcam"}, [2]),
        ({"method": "gradcam", "aug_smooth": True}, [12]),
        ({"method": "gradcam", "layer": ("features.0", "features.2")}, [2, 2]),
        ({"method": "scorecam", "option": "scorecam.max_channels=3"}, [4]),
    ],
)
def test_passes_are_those_of_one_map(photos: Path, settings: dict[str, Any], passes: list[int]) -> None:
    done = evaluate(config(photos, limit=1, **settings), EvalOptions(metrics=("sparsity",), baselines=False))
    assert [row["passes"] for row in done.as_json()["rows"]] == passes


@pytest.mark.parametrize(("many", "seen"), [(100, [2, 2, 2, 2]), (1, [1])])
def test_the_time_is_that_of_the_first_batches_and_of_slow_methods_of_one_image(
    photos: Path, monkeypatch: pytest.MonkeyPatch, many: int, seen: list[int]
) -> None:
    made: list[int] = []

    class Counted(Explainer):
        def __call__(self, inputs: torch.Tensor, *more: Any, **options: Any) -> Any:
            made.append(len(inputs))
            return super().__call__(inputs, *more, **options)

    monkeypatch.setattr("camcli.evaluation.cost.MANY_PASSES", many)
    monkeypatch.setattr("camcli.evaluation.entries.Explainer", Counted)
    setup = prepare(config(photos, "gradcam"))
    meter = CostMeter(setup, MapMaker(setup))
    entry = MethodEntry("gradcam", setup.layers[0].path, False, "gradcam")
    with setup.model.prepared():
        for _ in range(6):
            meter.measure(entry, torch.randn(2, 3, 64, 64), torch.tensor([0, 1]), [0, 1])
            meter.measure(MethodEntry("random", None, True, "random"), torch.randn(2, 3, 64, 64), torch.zeros(2), [0])
    assert made == seen


def test_means_of_the_images_that_are_done_are_told(found: Evaluation, told: list[tuple[int, str]]) -> None:
    texts: dict[int, str] = dict(reversed(told))  # the first of each count
    assert "so far" not in texts[0]
    for done in (2, 4):
        means = {
            name: float(np.mean(found.values[name]["ins-del"][:done])) for name in ("eigencam", "gradcam", "layercam")
        }
        ordered = sorted(means, key=lambda name: -means[name])
        listed = ", ".join(f"{name} {means[name]:.3f}" for name in ordered).replace("-", "−")
        assert texts[done].endswith(f"; Insertion − Deletion so far: {listed}")
