"""The whole of `cam eval`: its figures against the metrics called by hand, its table, files, refusals."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

import camcli
import camcli.metrics
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError, SourceError
from camcli.evaluation import EvalOptions, Evaluation, evaluate
from camcli.evaluation.entries import upsample
from camcli.images import to_input
from camcli.metrics.deletion import deletion
from camcli.pipeline.items import seed_of
from camcli.schemas import evaluation_schema
from tests.conftest import Outcome, photographs

Cam = Callable[..., Outcome]
HERE = Path(__file__).resolve().parent
MODEL = ("--model", "factory:tests.tiny:build", "--input-size", 64, "--class-names", HERE.parent / "tiny_classes.txt")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small photographs, and a manifest with boxes for two, a mask for one."""
    folder = tmp_path_factory.mktemp("photos")
    rows = []
    for number in range(6):
        picture = Image.open(photographs()[number]).convert("RGB")
        picture = picture.resize((96, 80) if number < 4 else (80, 96))
        picture.save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png"})
    rows[0]["box"], rows[1]["box"] = [20, 10, 70, 60], [0, 0, 3, 80]  # type: ignore[assignment]
    mask = np.zeros((80, 96), np.uint8)
    mask[20:60, 30:60] = 255
    Image.fromarray(mask).save(folder / "mask2.gif")
    rows[2]["mask"] = "mask2.gif"
    (folder / "objects.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def config(images: Path, **settings: Any) -> RunConfig:
    return RunConfig(
        image_path=(str(images),), model="factory:tests.tiny:build", input_size="64", save=("none",),
        **{"method": ("gradcam", "layercam"), **settings},
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(photos: Path) -> Evaluation:
    options = EvalOptions(metrics=("all",), steps=4, grid_probability=0.0)
    return evaluate(config(photos / "objects.jsonl"), options)


def test_every_row_has_every_figure(found: Evaluation) -> None:
    assert [entry.name for entry in found.entries] == ["gradcam", "layercam", "random", "centre", "sobel", "fakecam"]
    keys = {metric.key for metric in found.metrics}
    # Mosaics need four classes among the predictions; a net of random weights may have fewer.
    assert keys | {"gridpg"} == set(camcli.metrics.METRICS)
    for entry in found.entries:
        for key in keys - {"gridpg"}:
            assert found.figures[entry.name][key].value is not None, (entry.name, key)


def errors(document: object) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(evaluation_schema()).iter_errors(document)]


def test_the_document_follows_its_schema_and_the_schema_notices_what_is_wrong(found: Evaluation) -> None:
    jsonschema.Draft202012Validator.check_schema(evaluation_schema())
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert errors(document) == []
    for path, wrong in (
        (("schema",), "camcli.evaluation/2"), (("images",), 0), (("rows", 0, "figures", "drop", "n"), -1),
        (("metrics", 0, "better"), "more"), (("comparisons", 0, "interval"), [1.0]), (("settings", "seed"), "0"),
        (("items", 0, "values", "gradcam", "drop"), "low"), (("recommended",), {"method": "gradcam"}),
        (("comparisons", 0, "a_better"), 2), (("rows", 0, "passes"), -1), (("timing", "milliseconds", "gradcam"), -1),
        (("settings", "substrate"), "blurr"), (("reference",), 1),
    ):  # fmt: skip
        bad = json.loads(json.dumps(document))
        place = bad
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        assert errors(bad), path


def test_deletion_is_that_of_the_metric_called_by_hand(found: Evaluation, photos: Path) -> None:
    model = camcli.load_model("factory:tests.tiny:build", input_size=(64, 64))
    pictures = [photos / name for name in found.images]
    results = camcli.explain(model, [str(path) for path in pictures], method="layercam", batch_size=8)
    pixels = np.stack([model.preprocessing(Image.open(path).convert("RGB")).pixels for path in pictures])
    inputs = to_input(pixels, model.preprocessing)
    native = torch.from_numpy(np.stack([result.maps["layercam"].native for result in results]))
    chosen = torch.tensor([result.maps["layercam"].target.index for result in results])

    def scorer(x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), model.prepared() as module:
            return module(x).softmax(1).gather(1, classes[:, None])[:, 0]

    seeds = [seed_of(hashlib.sha256(path.read_bytes()).hexdigest(), 0) for path in pictures]
    heat = upsample(native, (64, 64), torch.device("cpu"))
    by_hand = deletion(inputs, heat, chosen, scorer, seeds, steps=4).area
    assert found.values["layercam"]["deletion"][:, 0] == pytest.approx(by_hand.numpy(), abs=1e-5)


def test_figures_agree_with_each_other(found: Evaluation) -> None:
    for entry in found.entries:
        values, figures = found.values[entry.name], found.figures[entry.name]
        assert values["ins-del"] == pytest.approx(values["insertion"] - values["deletion"])
        assert figures["drop"].value == pytest.approx(100 * np.nanmean(values["drop"]))
        for metric in found.metrics:
            interval, value = figures[metric.key].interval, figures[metric.key].value
            if interval is not None and value is not None:
                assert interval[0] - 1e-9 <= value <= interval[1] + 1e-9
    assert sum(found.figures[entry.name]["win"].value or 0 for entry in found.methods) == pytest.approx(100)


def test_fake_cam_keeps_the_class_and_adcc_sees_through_it(found: Evaluation) -> None:
    value = {key: figure.value or 0 for key, figure in found.figures["fakecam"].items()}
    assert value["drop"] < 0.5
    assert value["adcc"] < 0.01


def test_only_images_with_an_object_count_where_one_is_needed(found: Evaluation) -> None:
    # The box at the left border lies outside the central square that the model sees.
    assert {found.figures[entry.name]["energy"].n for entry in found.entries} == {2}
    item = found.as_json()["items"][1]
    assert item["image"] == "1.png"
    assert item["values"]["gradcam"]["energy"] is None


def test_the_energy_of_a_box_is_that_of_the_view(found: Evaluation) -> None:
    view = camcli.load_model("factory:tests.tiny:build", input_size=(64, 64)).preprocessing.place((80, 96)).view
    columns, rows = (
        start + (np.arange(64) + 0.5) / 64 * (end - start) for start, end in ((view.x0, view.x1), (view.y0, view.y1))
    )
    centre = np.outer(
        np.exp(-(((np.arange(64) + 0.5) / 64 - 0.5) ** 2) / (2 * 0.25**2)),
        np.exp(-(((np.arange(64) + 0.5) / 64 - 0.5) ** 2) / (2 * 0.25**2)),
    )
    heat = (centre - centre.min()) / (centre.max() - centre.min())
    box = np.outer((rows >= 10) & (rows < 60), (columns >= 20) & (columns < 70))
    expected = (heat * box).sum() / heat.sum()
    assert found.values["centre"]["energy"][0, 0] == pytest.approx(expected, abs=1e-4)


def test_other_batches_give_the_same_figures(found: Evaluation, photos: Path) -> None:
    options = EvalOptions(metrics=("ins-del", "adcc", "road"), steps=4)
    small = evaluate(config(photos / "objects.jsonl", batch_size="3", limit=4), options)
    for entry in found.entries:
        for key in ("ins-del", "adcc", "road"):
            assert small.values[entry.name][key] == pytest.approx(found.values[entry.name][key][:4], abs=2e-4)


def test_twice_is_the_same_and_another_seed_is_not(photos: Path) -> None:
    options = EvalOptions(metrics=("ins-del",), steps=4)
    first, again, other = (evaluate(config(photos, seed=seed), options) for seed in (0, 0, 1))
    one, two = ({**done.as_json(), "timing": None} for done in (first, again))
    assert one == two
    assert (first.values["random"]["ins-del"] != other.values["random"]["ins-del"]).any()


def test_another_substrate_gives_other_figures_and_is_recorded(found: Evaluation, photos: Path) -> None:
    plain = found.as_json()["settings"]
    assert plain["substrate"] is None
    assert (plain["insertion"]["substrate"], plain["deletion"]["substrate"]) == ("blur", "zero")
    assert plain["deletion"]["replaced_by"] == 0
    for substrate, same in (("blur", "insertion"), ("zero", "deletion"), ("noise", None)):
        options = EvalOptions(metrics=("ins-del", "insertion", "deletion"), steps=4, substrate=substrate)
        done, again = (evaluate(config(photos / "objects.jsonl", batch_size=size), options) for size in ("auto", "4"))
        for metric in ("insertion", "deletion"):
            values = done.values["gradcam"][metric]
            assert (values == found.values["gradcam"][metric]).all() == (metric == same)
            assert again.values["gradcam"][metric] == pytest.approx(values, abs=2e-4)
        settings = done.as_json()["settings"]
        assert settings["substrate"] == settings["insertion"]["substrate"] == settings["deletion"]["substrate"]
        assert settings["deletion"]["replaced_by"] == (0 if substrate == "zero" else None)
        assert errors(done.as_json()) == []


def test_mosaics_of_a_size_flexible_model_are_not_shrunk(photos: Path) -> None:
    from camcli.evaluation.entries import MethodEntry
    from camcli.evaluation.mosaics import Candidates, measure_mosaics
    from camcli.pipeline.setup import prepare

    setup = prepare(config(photos))
    rows = [MethodEntry(m, setup.layers[0].path, False, m) for m in ("gradcam", "layercam")] + [
        MethodEntry("sobel", None, True, "sobel")
    ]
    pixels = [setup.model.preprocessing(Image.open(p).convert("RGB")).pixels for p in sorted(photos.glob("*.png"))[:4]]
    with setup.model.prepared():
        grids = measure_mosaics(setup, rows, Candidates(2, 0.0, pixels * 2, [0, 1, 2, 3] * 2))
    assert (grids.mosaics, grids.shrunk) == (2, None)
    assert grids.values["sobel"] == pytest.approx(0.25)
    assert all(0 <= v <= 1 for v in grids.values["gradcam"].ravel())


def test_too_few_sure_images_leave_out_the_mosaics_with_a_note(photos: Path) -> None:
    done = evaluate(config(photos), EvalOptions(metrics=("gridpg", "sparsity"), grid_probability=1.0))
    assert [metric.key for metric in done.metrics] == ["sparsity"]
    assert any("GridPG needs 4 images" in note for note in done.notes)


def test_a_recommendation_names_a_method_and_layer_that_are_there(photos: Path) -> None:
    done = evaluate(config(photos), EvalOptions(metrics=("deletion",), steps=4, recommend=True))
    assert done.recommended is not None
    assert len({entry.layer for entry in done.methods}) == 2, "a finer layer is tried as well"
    ranked = {entry.name: done.figures[entry.name]["ins-del"].value or 0 for entry in done.methods}
    assert done.recommended.why[0].startswith(max(ranked, key=lambda name: ranked[name]))
    assert done.recommended.entry in done.methods
    assert done.recommended.entry.layer_path == done.recommended.entry.layer
    assert errors(done.as_json()) == []


def test_masks_are_turned_upright_and_refused_in_another_shape(photos: Path, tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    mask = Image.new("L", (96, 80))
    mask.paste(255, (20, 10, 70, 60))
    exif = Image.Exif()
    exif[0x0112] = 8
    mask.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "turned.png", exif=exif)
    (tmp_path / "boxes.csv").write_text('image,box\n0.png,"20,10,70,60"\n1.png,"20,10,70,60"\n', encoding="utf-8")
    (tmp_path / "masks.csv").write_text("image,mask\n0.png,turned.png\n1.png,turned.png\n", encoding="utf-8")
    by_box, by_mask = (
        evaluate(config(tmp_path / name), EvalOptions(metrics=("energy",))) for name in ("boxes.csv", "masks.csv")
    )
    for entry in by_box.entries:
        assert np.array_equal(by_mask.values[entry.name]["energy"], by_box.values[entry.name]["energy"])
    mask.resize((96, 96)).save(tmp_path / "turned.png")
    with pytest.raises(SourceError, match=r"turned\.png has 96×96 pixels and its image 96×80"):
        evaluate(config(tmp_path / "masks.csv"), EvalOptions(metrics=("energy",)))


def test_what_cannot_be_asked_is_refused_before_anything_is_explained(photos: Path) -> None:
    for options, why in (
        ({"metrics": ("insdel",)}, r"insdel: no such metric\. Did you mean ins-del"),
        ({"steps": 1}, "--steps 1"),
        ({"grid": 1}, "--grid 1"),
        ({"substrate": "blurr"}, r"--substrate blurr: no such substrate\. Did you mean blur\?"),
        ({"grid_probability": 2.0}, "--grid-probability 2"),
    ):
        with pytest.raises(ConfigError, match=why):
            EvalOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one target"):
        evaluate(config(photos, target="top:2"))
    with pytest.raises(SourceError, match="no image has a box or a mask"):
        evaluate(config(photos), EvalOptions(metrics=("energy",)))


def test_the_command_writes_table_json_csv_and_plot(cam: Cam, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("eval", photos / "objects.jsonl", "--method", "gradcam,layercam", "--steps", 4, "--output-dir", out)
    done = cam(*command, "--limit", 4, "--plot", tmp_path / "other.jpg", *MODEL)
    assert done.code == 0, done.err
    for words in ("Insertion − Deletion ↑", "Average Drop % ↓", "fakecam", "compared image by image", "4 images"):
        assert words in done.out
    document = json.loads((out / "eval.json").read_text(encoding="utf-8"))
    assert errors(document) == []
    assert {row["name"] for row in document["rows"]} >= {"gradcam", "layercam", "centre"}
    lines = list(csv.DictReader(io.StringIO((out / "eval.csv").read_text(encoding="utf-8"))))
    assert len(lines) == len(document["rows"]) * len(document["metrics"])
    figure = document["rows"][0]["figures"]["deletion"]
    line = next(x for x in lines if x["name"] == "gradcam" and x["metric"] == "deletion")
    assert float(line["value"]) == figure["value"]
    for path in (out / "eval.png", tmp_path / "other.jpg"):
        with Image.open(path) as picture:
            assert picture.width == 2400
            assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 5


def test_a_plot_that_cannot_be_written_is_refused_before_images_are_explained(
    cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("eval", photos, "--metrics", "sparsity", *MODEL)
    monkeypatch.setattr("camcli.evaluation.evaluate", lambda *_: pytest.fail("images were explained"))
    unknown = cam(*command, "--plot", tmp_path / "plot.bmp")
    assert unknown.code == 2
    assert "give one of .png, .jpg, .jpeg, .webp, .pdf, .svg" in unknown.err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    missing = cam(*command, "--plot", tmp_path / "plot.png")
    assert missing.code == 2
    assert "Install the extra 'plot': pip install matplotlib." in missing.err


def test_without_matplotlib_the_folder_lacks_only_the_plot(
    cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = cam("eval", photos, "--metrics", "sparsity", "--output-dir", tmp_path, *MODEL)
    assert done.code == 0, done.err
    assert {path.name for path in tmp_path.iterdir()} == {"eval.json", "eval.csv"}
    assert "eval.png is left out" in done.err


@pytest.mark.parametrize("name", ["eval.json", "eval.csv", "eval.png", "table.csv", "plot.svg"])
def test_a_file_is_written_completely_or_stays_as_it_was(
    cam: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_text("before")
    replace = os.replace

    def refuse(source: str, target: str) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    files = ("--csv", tmp_path / "table.csv", "--plot", tmp_path / "plot.svg", "--output-dir", tmp_path)
    done = cam("eval", photos, "--metrics", "sparsity", "--no-baselines", *files, *MODEL)
    assert done.code == 1
    flag = {"table.csv": "--csv", "plot.svg": "--plot"}.get(name, "--output-dir")
    assert f"cannot write {flag} {tmp_path / name}: No space left on device. Free some space and repeat" in done.err
    assert "Sparsity" in done.out, "the figures are printed before anything is written"
    assert (tmp_path / name).read_text() == "before"
    assert not list(tmp_path.glob(".cam-*"))


def test_json_is_one_document_and_a_bad_image_is_told(cam: Cam, photos: Path, tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    (tmp_path / "bad.png").write_bytes(b"nothing")
    done = cam("eval", tmp_path, "--metrics", "sparsity", "--no-baselines", "--json", *MODEL)
    assert done.code == 3
    assert errors(done.document) == []
    assert done.document["images"] == 2
    assert [row["name"] for row in done.document["rows"]] == ["gradcam"]
    assert [failed["image"] for failed in done.document["failed"]] == ["bad.png"]


def test_all_images_bad_is_an_error_and_not_an_empty_table(cam: Cam, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    done = cam("eval", tmp_path, *MODEL)
    assert done.code == 3
    assert "none of 1 image could be explained. bad.png: this is text" in done.err


def test_quiet_leaves_one_line_on_images_that_are_left_out(cam: Cam, photos: Path) -> None:
    broken = min(photos.rglob("*.png"))
    broken.write_bytes(b"")
    done = cam("eval", photos, "--metrics", "sparsity", "--no-baselines", "--quiet", *MODEL)
    assert done.code == 3
    assert re.fullmatch(
        rf"cam: 1 of \d+ images could not be explained; the first: .*{broken.name}: .* \(empty\); left out\n", done.err
    )
