"""The sweep of faithfulness against cost: its results are those of `cam eval`, and its tables and figure read them."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from camcli.config.settings import RunConfig
from camcli.evaluation import EvalOptions, evaluate
from camcli.models import load_model
from tests.conftest import photographs
from tests.sweeps.faithfulness import __main__ as command
from tests.sweeps.faithfulness import train
from tests.sweeps.faithfulness.contenders import Contender, contenders_of
from tests.sweeps.faithfulness.models import MODELS
from tests.sweeps.faithfulness.photographs import halves, list_photos, spread
from tests.sweeps.faithfulness.plan import Plan
from tests.sweeps.faithfulness.plot import apart, draw_panel
from tests.sweeps.faithfulness.results import collect
from tests.sweeps.faithfulness.table import lines_of
from tests.sweeps.faithfulness.views import Views, store
from tests.sweeps.faithfulness.work import Unit, do, units_of


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four sample photographs under made-up WordNet ids."""
    folder = tmp_path / "photos"
    for number, path in enumerate(photographs()[:4]):
        target = folder / f"n0000000{number}" / f"n0000000{number}_one.jpg"
        target.parent.mkdir(parents=True)
        target.write_bytes(Path(path).read_bytes())
    return folder


@pytest.mark.slow
def test_figures_are_those_of_eval(photos: Path, tmp_path: Path) -> None:
    plan = replace(Plan(photos, tmp_path / "out").quick, images=2, candidates=2)
    unit, _, state = do((Unit("lite0", Contender("gradcam", "gradcam"), "figures"), plan, None))
    assert state == "done"
    result = json.loads(unit.file(plan.out).read_text())
    values = result["values"]
    config = RunConfig(image_path=tuple(str(photos / name) for name in result["images"]), save=(), device="cpu")
    keys = ("ins-del", "road", "drop", "sparsity")
    usual = evaluate(config, EvalOptions(keys, steps=4, baselines=False)).values["gradcam"]
    for key in keys[1:]:
        assert values[key] == pytest.approx(usual[key][:, 0], abs=2e-5)
    [row] = collect([result])[0].rows
    assert row.values("ins-del") == pytest.approx(usual["ins-del"], abs=2e-5)
    mean = evaluate(config, EvalOptions(("ins-del",), steps=4, baselines=False, substrate="mean")).values["gradcam"]
    assert row.values("ins-del.mean") == pytest.approx(mean["ins-del"], abs=2e-5)


@pytest.mark.slow
def test_command_continues(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--photos", photos, "--out", out, "--quick", "--models", "lite0", "--parts", "random"]
    arguments += ["--methods", "hirescam,rollout,baseline-centre"]
    monkeypatch.setattr(sys, "argv", ["faithfulness", *map(str, arguments)])
    command.main()
    assert "3 results to be made" in capsys.readouterr().out
    read = {file.name: json.loads(file.read_text()) for file in out.glob("lite0/*.json")}
    assert len(read["hirescam.random.json"]["median_by_stage"]) == 3
    assert "tokens" in read["rollout.random.json"]["unsuitable"]
    command.main()
    assert capsys.readouterr().out == "0 results to be made\n"


def test_units_end_in_time(tmp_path: Path) -> None:
    plan = Plan(tmp_path, tmp_path / "out")
    units = units_of(["lite0", "lite1"], [], ["figures"], plan.out)
    assert {unit.model for unit in units[: len(units) // 2]} == {"lite0", "lite1"}  # the slow ones come last
    assert do((units[0], plan, 0.0)) == (units[0], 0, "left for another time")


def test_photographs(photos: Path) -> None:
    trained, unseen = halves(list_photos(photos))
    assert [path.name for path in unseen] == ["n00000001_one.jpg", "n00000003_one.jpg"]
    assert not set(trained) & set(unseen)
    assert sorted(spread(range(100))) == list(range(100)) != spread(range(100))
    assert spread([]) == []
    with pytest.raises(SystemExit, match="WordNet"):
        list_photos(photos / "n00000001" / "absent")


def made_up() -> list[dict]:
    """Results of all contenders of a model: PathCAM is ahead by 0.2 on every image."""
    rng = np.random.default_rng(0)
    base, documents = rng.normal(0.3, 0.1, 20), []
    for place, one in enumerate(contenders_of(MODELS["lite0"])):
        n = 8 if one.method == "rise" else 20
        ahead = 0.2 * (one.name == "pathcam")
        values = {f"insertion.{s}": list((base + ahead)[:n]) for s in ("blur", "mean", "noise", "zero")}
        values |= {f"deletion.{s}": [0.1] * n for s in ("blur", "mean", "noise", "zero")}
        values |= {key: [0.5] * n for key in ("road", "drop", "sparsity", "gridpg")}
        known = {"model": "lite0", "contender": one.name, "method": one.method}
        names = [f"{i}.jpg" for i in range(n)]
        documents.append({**known, "part": "figures", "images": names, "values": values, "passes": place + 1})
        own = {"weights": [0.1, None, 0.3], "otherclass": [0.4]}
        documents.append(
            {**known, "part": "random", "values": own, "median_by_stage": [0.3, None, 0.2], "images": names}
        )
        documents.append({**known, "part": "cost", "measured_passes": 2.5, "milliseconds": 51.2})
    return documents


def test_tables() -> None:
    documents = made_up()
    left_out = {"model": "lite0", "contender": "extra", "part": "cost", "unsuitable": "No. Really"}
    [result] = collect([*documents, left_out])
    assert result.rows[0].name == "pathcam"
    assert [row.name for row in result.rows][-4:] == [f"baseline-{k}" for k in ("random", "centre", "sobel", "fakecam")]
    lines = lines_of([result])
    path = next(line for line in lines if line.startswith("| `pathcam` | 20"))
    assert "| +0.200 [0.200, 0.200] |" in path
    assert "| 2.5 | 51 |" in path
    assert any(line.startswith("| `rise` | 8") and "| +0.000 [0.000, 0.000] |" in line for line in lines)
    assert any(line.startswith("| `pathcam` |") and line.count("▲") == 5 for line in lines)
    assert "| `gradcam` | 20 | 0.30 |  | 0.20 | 0.20 | 0.40 |" in lines
    summary = [line for line in lines if line.startswith("| EfficientNet-Lite0")]
    assert ["`pathcam`" in line for line in summary] == [True, False]
    assert "| +0.200 [0.200, 0.200] | 100 % | +0.200 [0.200, 0.200] | +0.000" in summary[0]
    assert "Left out: `extra`: No." in lines


def test_labels_of_the_figure_do_not_overlap() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.text import Text  # an annotation's own extent has its line in it

    documents = made_up()
    for place, one in enumerate(one for one in documents if "values" in one and one["part"] == "figures"):
        shift = 0.0 if one["contender"] in ("cam", "gradcam", "hirescam") else 0.001 * (place + 1)
        one["values"]["deletion.zero"] = [value - shift for value in one["values"]["deletion.zero"]]
    figure, panel = plt.subplots(figsize=(6.6, 4.4))
    [result] = collect(documents)
    labels = draw_panel(panel, result)
    figure.canvas.draw()
    boxes = [Text.get_window_extent(label) for label in labels]
    overlapping = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
    plt.close(figure)
    assert len(labels) == len(result.rows) - 2
    assert "gradcam and 2 equal" in [label.get_text() for label in labels]
    assert not overlapping


def test_apart() -> None:
    assert apart(np.array([0.1, 0.5]), 0.1) == pytest.approx([0.1, 0.5])
    assert apart(np.array([0.5, 0.5, 0.5]), 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert apart(np.array([1.0, 1.0]), 0.1) == pytest.approx([0.9, 1.0])


def test_views() -> None:
    images = [Image.new("RGB", (60, 40), (255, 0, 0)), Image.new("RGB", (30, 40), (0, 0, 255))]
    views = Views(*store(images, torch.device("cpu")), 16)
    for _ in range(6):
        made, first, second, share = views(8)
        assert made.shape == (8, 3, 16, 16)
        whole = (share == 1) | (first == second)
        is_red = made.mean((2, 3))[:, 0] > made.mean((2, 3))[:, 2]
        assert torch.equal(is_red[whole], first[whole] == 0)
        assert bool(((share >= 0) & (share <= 1)).all())


@pytest.mark.slow
def test_training_lowers_the_loss(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network on small views; the time that is gone is made up."""
    teacher = load_model("builtin", device=torch.device("cpu"))
    monkeypatch.setattr(train, "SIZE", 32)
    monkeypatch.setattr(train, "OTHERS", ("chelsea",))
    monkeypatch.setattr(train, "wordnet_id", lambda path: "n02123159")
    network = nn.Sequential(
        nn.Conv2d(3, 32, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1000)
    )
    monkeypatch.setattr(train, "create", lambda name: (network, (torch.zeros(3, 1, 1), torch.ones(3, 1, 1))))
    seconds = iter(range(10_000))
    monkeypatch.setattr(train.time, "monotonic", lambda: float(next(seconds)))
    data = train.load_data(list_photos(photos)[:2], teacher, teacher.device)
    _, curve = train.train("resnet18", teacher, data, 70.0, 4)
    assert curve["steps"] >= 60
    assert curve["loss"][-1] < 0.8 * curve["loss"][0]
