"""The mean map and the hottest crops of each class, and what covering the hottest part does to the prediction."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import numpy as np
import pytest

from camcli.checks.class_maps import CLASSES, IMAGES, cover_classes, maps_by_class
from camcli.checks.recorded import read_run
from camcli.checks.report.class_sheet import class_rows, hottest_crop
from camcli.images import View
from camcli.render import Canvas
from camcli.schemas import check_schema

from .conftest import World
from .handmade import blob, item, write_run
from .shapes import CLASSES as SHAPES
from .shapes import MARKED

KEY = ("gradcam", "layer")


def test_the_mean_map_is_the_mean_of_the_mass(tmp_path: Path) -> None:
    left, right = np.zeros((2, 4, 4), np.float32)
    left[1, 0], right[2, 3] = 5.0, 0.5  # of any scale: each map counts alike
    items = [item(i, {"gradcam": raw}, predicted=int(i > 3)) for i, raw in enumerate([left, right] * 2 + [left])]
    several, single = maps_by_class(read_run(write_run(tmp_path / "run", items)), KEY)
    assert (several.name, several.n, single.name, single.n) == ("class 0", 4, "class 1", 1)
    assert several.mean[1, 0] == several.mean[2, 3] == pytest.approx(0.5)
    assert single.mean[1, 0] == pytest.approx(1.0)


def test_the_number_of_classes_and_images_is_bounded(tmp_path: Path) -> None:
    items = [item(i, {"gradcam": blob(0.5, 0.5)}, predicted=i // 12) for i in range(12 * 20)]
    classes = maps_by_class(read_run(write_run(tmp_path / "run", items)), KEY)
    assert len(classes) == CLASSES
    assert {len(one.sample) for one in classes} == {IMAGES}


def test_a_crop_shows_the_hottest_place_of_the_view(tmp_path: Path) -> None:
    plateau = np.zeros((10, 10), np.float32)
    plateau[6:9, 1:4] = 1.0
    record = read_run(write_run(tmp_path / "run", [item(0, {"gradcam": plateau})])).images[0]
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[75, 75] = (0, 0, 255)  # BGR; the middle of the plateau in a view that starts at x = 50
    crop = hottest_crop(Canvas(pixels, View(50, 0, 150, 100)), record, KEY)
    assert crop.shape == (30, 30, 3)
    assert crop[15, 15].tolist() == [255, 0, 0]


def test_covering_the_mark_of_a_watermark_model_costs_the_class(world: World) -> None:
    run = read_run(world.run("watermark", "marked"))
    key = run.keys[0]
    classes = {one.name: one for one in cover_classes(run, key, maps_by_class(run, key), None)}
    assert set(classes) == set(SHAPES)
    covering = classes[SHAPES[MARKED]].covering
    assert covering is not None
    assert covering.n == IMAGES
    assert covering.hottest > 0.5
    assert covering.random < 0.3 * covering.hottest
    schema = {**check_schema(), "$ref": "#/$defs/class"}
    schema = {key: schema[key] for key in ("$defs", "$ref", "$schema")}
    for one in classes.values():
        jsonschema.Draft202012Validator(schema).validate(one.as_json())
    rows = class_rows(run, key, list(classes.values()))
    assert len(rows) == 1 + len(classes)
    assert all(len(row.tiles) == 6 for row in rows[1:])


def test_without_images_the_mean_maps_remain(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [item(0, {"gradcam": blob(0.5, 0.5)})]))
    (one,) = cover_classes(run, KEY, maps_by_class(run, KEY), None)
    assert one.covering is None
    assert "cannot be opened" in str(one.problem)
    assert [row.title.split(":")[0] for row in class_rows(run, KEY, [one])] == ["mean map of each class"]
