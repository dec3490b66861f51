"""``--method best``: a run finds the best method by a trial on a few of its images, records why, and keeps to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from PIL import Image
from torch import nn

import camcli
from camcli.config.settings import DEFAULT_BUDGET, RunConfig
from camcli.errors import ConfigError
from camcli.evaluation import EvalOptions, candidates, evaluate
from camcli.evaluation.candidates import Candidate, with_options
from camcli.evaluation.trial import FEWEST, MOST, STEPS, sample_size
from camcli.evaluation.work import WorkCounter
from camcli.schemas import index_schema
from tests.conftest import TINY, Cam, index_of, photographs

BEST = ("--method", "best", "--save", "none")
COUNT = 10


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Small photographs, more than a trial needs, and two files that cannot be read."""
    folder = tmp_path / "many"
    folder.mkdir()
    pictures = photographs()
    for number in range(COUNT):
        picture = Image.open(pictures[number % len(pictures)]).convert("RGB").resize((96, 80))
        picture.rotate(number * 7).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three candidates are quicker than all."""
    table = (Candidate("gradcam"), Candidate("layercam"), Candidate("pathcam", ("pathcam.fast=true",)))
    monkeypatch.setattr(candidates, "CANDIDATES", table)


def choice_of(run_dir: Path) -> dict[str, Any]:
    choice = index_of(run_dir)["chosen_method"]
    assert isinstance(choice, dict)
    return choice


@pytest.mark.usefixtures("few_candidates")
def test_what_a_run_chooses_is_what_an_evaluation_of_the_same_images_ranks_first(
    cam: Cam, many: Path, tmp_path: Path
) -> None:
    done = cam("run", many, *TINY, *BEST, "-o", tmp_path / "out")
    assert done.code == 3, done.err
    jsonschema.validate(index_of(tmp_path / "out"), index_schema())
    choice = choice_of(tmp_path / "out")
    assert choice["source"] == "trial"
    assert len(choice["images"]) == FEWEST
    assert not {"broken.png", "empty.jpg"} & set(choice["images"])
    figures = {}
    for row in choice["candidates"]:
        images = tuple(str(many / name) for name in choice["images"])
        config = RunConfig(
            image_path=images, model=TINY[1], input_size="64", method=(row["method"],), option=tuple(row["options"])
        )
        result = evaluate(config, EvalOptions(("ins-del",), STEPS, baselines=False))
        figures[row["method"], *row["options"]] = result.figures[row["method"]]["ins-del"].value
        assert row["value"] == pytest.approx(figures[row["method"], *row["options"]], abs=2e-3)
    assert max(figures, key=lambda key: figures[key] or 0) == (choice["method"], *choice["options"])
    assert max(choice["candidates"], key=lambda row: row["value"]) == choice["candidates"][0]
    index = index_of(tmp_path / "out")
    assert index["methods"] == index["config"]["method"] == [choice["method"]]
    assert index["config"]["option"] == choice["options"]
    assert {one["method"] for item in index["items"] for one in item["maps"]} == {choice["method"]}
    assert choice["trial"]["passes"] > 0
    assert f"--method {choice['method']}" in done.out
    assert choice["why"][0] in done.out


@pytest.mark.usefixtures("few_candidates")
def test_the_same_command_continues_without_another_trial(
    cam: Cam, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the default folder
    first = cam("run", many, *TINY, *BEST, "--limit", 9)
    assert first.code == 0, first.err
    before = index_of(Path("cam-output"))
    other = cam("run", many, *TINY, *BEST, "--limit", 9, "-o", "other")
    assert other.code == 0, other.err
    assert index_of(Path("other"))["items"] == before["items"], "two runs choose the same"
    monkeypatch.setattr("camcli.evaluation.best.choose_method", None)  # called, it fails
    again = cam("run", many, *TINY, *BEST)
    assert again.code == 3, again.err
    assert not Path("cam-output-2").exists()
    after = index_of(Path("cam-output"))
    assert after["chosen_method"] == before["chosen_method"]
    assert after["items"][: len(before["items"])] == before["items"]
    assert before["chosen_method"]["why"][0] in again.out
    named = cam("run", many, *TINY, "--method", before["methods"][0], "--save", "none", *options(before), "--json")
    assert named.document["explained_now"] == 0, "named or best, it is the same run"


def options(index: dict[str, Any]) -> list[str]:
    return [part for text in index["chosen_method"]["options"] for part in ("--option", text)]


def test_another_budget_is_another_choice(cam: Cam, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cam("run", many, *TINY, *BEST, "--budget", 2, "--limit", 3, "-o", out).code == 0
    cheap = choice_of(out)
    assert (cheap["method"], cheap["budget"]) == ("gradcam", 2)
    assert all(row["passes"] > 2 for row in cheap["excluded"])
    forbidden = cam("run", many, *TINY, *BEST, "--no-resume", "-o", out)
    assert forbidden.code == 2
    assert "trying" not in forbidden.out, "refused before the trial"
    refused = cam("run", many, *TINY, *BEST, "--limit", 3, "-o", out)
    assert refused.code == 2
    assert 'config.method: ["gradcam"] → ["pathcam"]' in refused.err
    replaced = cam("run", many, *TINY, *BEST, "--limit", 3, "-o", out, "--overwrite")
    assert replaced.code == 0
    assert (choice_of(out)["method"], choice_of(out)["budget"]) == ("pathcam", DEFAULT_BUDGET)


def test_with_few_images_the_default_is_taken_and_says_why(cam: Cam, many: Path, tmp_path: Path) -> None:
    done = cam("run", many / "0.png", many / "1.png", many / "2.png", *TINY, *BEST, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    choice = choice_of(tmp_path / "out")
    assert (choice["source"], choice["images"], choice["trial"]) == ("default", [], None)
    assert "3 images can be explained, and fewer than 8" in choice["why"][0]
    assert "nothing was compared" in done.out


def test_where_the_metric_means_nothing_the_default_is_taken(cam: Cam, many: Path, tmp_path: Path) -> None:
    values = cam("run", many, *TINY, *BEST, "--probability", "none", "--limit", 9, "-o", tmp_path / "values")
    assert values.code == 0, values.err
    assert "outputs are values" in choice_of(tmp_path / "values")["why"][0]
    against = cam("run", many, *TINY, *BEST, "--score", "neg-logit", "--limit", 9, "-o", tmp_path / "against")
    assert against.code == 0, against.err
    assert "evidence against" in choice_of(tmp_path / "against")["why"][0]


def test_a_model_without_gradients_gets_a_method_that_needs_none(cam: Cam, many: Path, tmp_path: Path) -> None:
    done = cam(
        "run", many, "-m", f"factory:{__name__}:build_detached", "--input-size", 64, *BEST, "-o", tmp_path / "out"
    )
    assert done.code == 3, done.err
    choice = choice_of(tmp_path / "out")
    assert choice["method"] in ("ablationcam", "eigencam")
    reasons = {row["method"]: row["reason"] for row in choice["excluded"]}
    assert "needs the score's gradient" in reasons["gradcam"]


class Detached(nn.Module):
    """The score leaves autograd's graph."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x).detach().mean((2, 3)))
        return logits


def build_detached() -> nn.Module:
    return Detached()


@pytest.mark.usefixtures("few_candidates")
def test_best_beside_a_named_method_and_its_options(cam: Cam, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ("--method", "best,gradcam", "--option", "pathcam.steps=2", "--option", "pathcam.ordered=0")
    done = cam("run", many, *TINY, *flags, "--limit", 9, "--target", "top:2", "--save", "none", "-o", out)
    assert done.code == 0, done.err
    choice = choice_of(out)
    assert ["pathcam.steps=2", "pathcam.ordered=0"] in [row["options"] for row in choice["candidates"]]
    assert index_of(out)["methods"] == list(dict.fromkeys([choice["method"], "gradcam"]))


def test_a_dry_run_tries_nothing_and_says_what_would_be_tried(cam: Cam, many: Path, tmp_path: Path) -> None:
    plan = cam("run", many, *TINY, *BEST, "--dry-run", "-o", tmp_path / "out")
    assert plan.code == 0, plan.err
    assert f"a run would try 8 candidates of at most 30 forward passes an image on 8 of {COUNT + 2} images" in plan.out
    document = cam("run", many, *TINY, *BEST, "--dry-run", "--json", "-o", tmp_path / "out").document
    assert document["methods"] == ["best"]
    assert document["chosen_method"]["method"] is None
    assert not (tmp_path / "out").exists()


def test_usage(cam: Cam, many: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--budget 5 limits what --method best may choose"):
        RunConfig(budget=5)
    with pytest.raises(ConfigError, match="at least 1"):
        RunConfig(budget=0, method=("best",))
    with pytest.raises(ConfigError, match=r"scorecam is not among what --method best chooses from"):
        with_options(RunConfig(method=("best",), option=("scorecam.max_channels=3",)))
    evaluated = cam("eval", many, *TINY, "--method", "best")
    assert evaluated.code == 2
    assert "only `cam run` and `cam check` choose a method" in evaluated.err
    layer = cam("run", many, *TINY, "--method", "best", "--layer", "best", "-o", tmp_path / "out")
    assert layer.code == 2
    assert "Without --layer, --method best needs no such file" in layer.err


def test_an_evaluation_in_the_run_folder_is_read_unless_there_is_a_budget(cam: Cam, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = cam("eval", many, *TINY, "--recommend", "--metrics", "deletion", "--steps", 4, "-o", out)
    assert found.code == 3, found.err
    recommended = json.loads((out / "eval.json").read_text())["recommended"]
    assert cam("run", many, *TINY, *BEST, "--limit", 3, "-o", out).code == 0
    choice = choice_of(out)
    assert (choice["method"], choice["source"]) == (recommended["method"], "evaluation")
    assert choice["why"] == [f"read from {out / 'eval.json'}, which `cam eval --recommend` wrote", *recommended["why"]]
    assert {row["method"] for row in choice["candidates"]} >= {"gradcam", "layercam"}
    assert cam("run", many, *TINY, *BEST, "--limit", 3, "-o", out, "--overwrite", "--budget", 9).code == 0
    choice = choice_of(out)
    assert choice["source"] == "default"
    assert "eval.json is not used" in choice["why"][-1]


@pytest.mark.parametrize(
    ("option", "said"),
    [("pathcam.stepz=3", "Did you mean steps?"), ("pathcam.steps=0", "steps"), ("pathcam.layers=a", "layers")],
)
def test_an_option_that_is_typed_wrongly_is_no_reason_to_leave_a_method_out(
    cam: Cam, many: Path, tmp_path: Path, option: str, said: str
) -> None:
    done = cam("run", many, *TINY, *BEST, "--option", option, "-o", tmp_path / "out")
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("few_candidates")
def test_a_run_that_is_continued_keeps_its_choice_whatever_is_evaluated_since(
    cam: Cam, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cam("run", many, *TINY, *BEST, "-o", out).code == 3
    before = choice_of(out)
    assert cam("eval", many, *TINY, "--method", "eigencam", "--recommend", "--steps", 4, "-o", out).code == 3
    again = cam("run", many, *TINY, *BEST, "-o", out)
    assert again.code == 3, again.err
    assert choice_of(out) == before


def test_methods_that_draw_the_same_maps_are_not_compared_with_each_other(
    cam: Cam, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "CANDIDATES", (Candidate("gradcam"), Candidate("hirescam")))
    done = cam("run", many, "--model", "factory:tests.evaluation.test_best:pooled", "--input-size", 64, *BEST,
               "--layer", "0", "-o", tmp_path / "out")  # fmt: skip
    assert done.code == 3, done.err
    why = "\n".join(choice_of(tmp_path / "out")["why"])
    assert " draws the same maps here" in why
    assert "difference" not in why


def pooled() -> nn.Module:
    """A linear head behind an average: Grad-CAM and XGrad-CAM are the same map but for the scale of no activation."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 5, stride=8), nn.Softplus()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


@pytest.mark.usefixtures("few_candidates")
def test_from_python(many: Path, tmp_path: Path) -> None:
    config = RunConfig(
        image_path=(str(many),), output_dir=str(tmp_path / "out"), model=TINY[1], input_size="64", save=("none",),
        method=("best",), budget=12, limit=9,
    )  # fmt: skip
    assert camcli.run(config).status == "complete"
    choice = choice_of(tmp_path / "out")
    assert (choice["source"], choice["budget"]) == ("trial", 12)
    assert all(row["passes"] <= 12 for row in choice["candidates"])


def test_the_work_of_a_pass_is_counted() -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    image = torch.zeros(1, 2, 5, 5)
    with torch.inference_mode(), WorkCounter() as counter:
        layer(image)
    assert counter.operations == 2 * 25 * 3 * 2 * 9
    assert counter.moved == 75 + 50 + 54
    with WorkCounter() as both:
        layer(image.requires_grad_()).sum().backward()
    assert both.operations == 3 * counter.operations, "a backward pass to the image and one to the weights"


def test_the_trial_is_a_small_part_of_a_run_of_hundreds() -> None:
    assert [sample_size(count) for count in (8, 100, 200, 400, 10_000)] == [8, 8, 12, MOST, MOST]
