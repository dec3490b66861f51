"""Every check that reads the run folder alone: where it passes, where it fails, where it cannot tell, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camcli.checks import Result, check_run
from camcli.checks.distances import mass
from camcli.errors import ConfigError, SourceError
from camcli.map_summary import border_share
from camcli.output import is_run_folder

from .handmade import HEADER, blob, blobs, item, only, write_run

RING = np.pad(np.zeros((5, 5), np.float32), 1, constant_values=1.0)


def check(run: Path, name: str, *changes: str, **more: Any) -> Result:
    found = check_run(str(run), changes=[*only(name), *changes], **more)
    return next(result for result in found if result.check == name)


def of_maps(folder: Path, maps: list[np.ndarray], **more: Any) -> Path:
    return write_run(folder, [item(i, {"gradcam": raw}, **more) for i, raw in enumerate(maps)])


def test_valid_counts_every_kind_of_degenerate_map(tmp_path: Path) -> None:
    good = blobs(400)
    assert check(of_maps(tmp_path / "good", good), "valid").status == "pass"
    one_bad = [*good[:-1], np.zeros((7, 7), np.float32)]
    assert check(of_maps(tmp_path / "one", one_bad), "valid").status == "pass"  # 0.25 %
    bad = [*good[:-3], np.zeros((7, 7), np.float32), np.ones((7, 7), np.float32), np.full((7, 7), np.nan, np.float32)]
    failed = check(of_maps(tmp_path / "bad", bad), "valid")
    assert failed.status == "fail"  # 0.75 % by value, whatever an interval would say
    assert failed.deciding is not None
    assert failed.deciding.value == pytest.approx(3 / 400)
    assert "1 constant, 1 nonfinite, 1 zero" in failed.why
    assert {one.image for one in failed.worst} == {"397.jpg", "398.jpg", "399.jpg"}


def test_border_fails_for_heat_in_a_ring_and_names_the_worst(tmp_path: Path) -> None:
    assert check(of_maps(tmp_path / "good", blobs(40)), "border").status == "pass"
    maps = [RING + 0.01 * i * blob(0.5, 0.5) for i in range(40)]
    failed = check(of_maps(tmp_path / "ring", maps), "border")
    assert failed.status == "fail"
    assert [one.image for one in failed.worst[:3]] == ["000.jpg", "001.jpg", "002.jpg"]
    assert failed.worst[0].value == pytest.approx(border_share(mass(RING)), abs=1e-3)
    assert 1.9 < failed.worst[0].value < 2.1


def test_border_is_inconclusive_on_small_grids(tmp_path: Path) -> None:
    found = check(of_maps(tmp_path / "run", blobs(40, grid=4)), "border")
    assert found.status == "inconclusive"
    assert "7×7" in found.why


def test_focus_fails_for_even_maps_and_for_single_cells(tmp_path: Path) -> None:
    assert check(of_maps(tmp_path / "good", blobs(40)), "focus").status == "pass"
    even = check(of_maps(tmp_path / "even", blobs(40, base=50.0)), "focus")
    assert even.status == "fail"
    assert even.deciding is not None
    assert (even.deciding.side, even.deciding.threshold) == ("max", 0.97)
    cell = np.zeros((7, 7), np.float32)
    cell[3, 3] = 1
    single = check(of_maps(tmp_path / "cell", [cell] * 40), "focus")
    assert single.status == "fail"
    assert single.deciding is not None
    assert single.deciding.side == "min"


def spread_by_class(folder: Path, entropies: dict[int, tuple[float, int]], classes: int) -> Path:
    """A run of a model with so many classes; of each class, (base of its maps, number of images)."""
    items, maps = [], blobs(sum(count for _, count in entropies.values()))
    for index, (base, count) in entropies.items():
        for _ in range(count):
            number = len(items)
            items.append(item(number, {"gradcam": maps[number] + base}, predicted=index))
    return write_run(folder, items, model={**HEADER["model"], "num_classes": classes})


def test_focus_passes_where_a_class_is_recognised_by_absence(tmp_path: Path) -> None:
    even, focused = (50.0, 40), (0.1, 20)
    one = check(spread_by_class(tmp_path / "one", {0: even, 1: focused}, 2), "focus")
    assert one.status == "pass"
    assert one.details["spread_classes"] == ["class 0"]
    assert "maps of 'class 0' or more are spread evenly. That is natural" in one.why
    assert check(spread_by_class(tmp_path / "both", {0: even, 1: even}, 2), "focus").status == "fail"
    # A few focused maps of one of two classes are enough, as the other 16 may be decided by absence as well.
    some = spread_by_class(tmp_path / "some", {0: even, 1: (50.0, 16)}, 2)
    rows = [item(100 + i, {"gradcam": m}, predicted=1) for i, m in enumerate(blobs(6))]
    index = json.loads((some / "index.json").read_text())
    mixed = write_run(tmp_path / "mixed", [*index["items"], *rows], model={**HEADER["model"], "num_classes": 2})
    assert check(mixed, "focus").status == "pass"
    only = check(spread_by_class(tmp_path / "only", {0: even}, 2), "focus")
    assert only.status == "fail"  # nothing shows that the maps can be focused at all


def test_focus_sets_at_most_one_of_many_classes_aside(tmp_path: Path) -> None:
    even, focused = (50.0, 40), (0.1, 20)
    one = check(spread_by_class(tmp_path / "one", {0: even, 1: focused, 2: focused[:1] + (15,)}, 3), "focus")
    assert one.status == "pass"
    two = check(spread_by_class(tmp_path / "two", {0: even, 1: even, 2: focused}, 3), "focus")
    assert two.status == "fail"
    assert two.deciding is not None
    assert two.deciding.name == "without class class 0: median"


def test_too_few_images_are_inconclusive_unless_allowed(tmp_path: Path) -> None:
    run = of_maps(tmp_path / "run", blobs(12))
    few = check(run, "focus")
    assert few.status == "inconclusive"
    assert "only 12 images where 30 are needed" in few.why
    assert check(run, "focus", "suite.min_images=10").status == "pass"
    assert check(run, "focus", "focus.min_images=10").status == "pass"


def manifest(folder: Path, rows: list[str], columns: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.csv").write_text(columns + "\n" + "\n".join(rows) + "\n")
    return f'suite.manifest="{folder / "m.csv"}"'


def test_foreground_by_boxes_and_by_masks(tmp_path: Path) -> None:
    run = of_maps(tmp_path / "run", [blob(0.3, 0.3) for _ in range(40)])
    on = manifest(tmp_path / "on", [f'{i:03d}.jpg,"7,7,35,35"' for i in range(40)], "image,box")
    off = manifest(tmp_path / "off", [f'{i:03d}.jpg,"42,42,70,70"' for i in range(40)], "image,box")
    assert check(run, "foreground", on).status == "pass"
    failed = check(run, "foreground", off)
    assert failed.status == "fail"
    assert "not on the objects" in failed.why
    mask = np.zeros((140, 140), np.uint8)  # of twice the image's size
    mask[14:70, 14:70] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    masks = manifest(tmp_path, [f"{i:03d}.jpg,mask.png" for i in range(40)], "image,mask")
    by_mask, by_box = check(run, "foreground", masks), check(run, "foreground", on)
    assert by_mask.deciding is not None
    assert by_box.deciding is not None
    assert by_mask.deciding.value == pytest.approx(by_box.deciding.value, rel=1e-9)


@pytest.mark.parametrize(("name", "column"), [("foreground", "mask"), ("avoid", "avoid")])
def test_a_mask_is_turned_upright_and_refused_in_another_shape(tmp_path: Path, name: str, column: str) -> None:
    run = of_maps(tmp_path / "run", [blob(0.3, 0.3) for _ in range(40)])
    upright = np.zeros((140, 140), np.uint8)
    upright[14:70, 14:42] = 1
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(upright).save(tmp_path / "upright.png")
    Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    values = []
    for mask in ("upright.png", "turned.png"):
        found = check(run, name, manifest(tmp_path, [f"{i:03d}.jpg,{mask}" for i in range(40)], f"image,{column}"))
        assert found.deciding is not None
        values.append(found.deciding.value)
    assert values[0] == values[1]
    Image.fromarray(upright[:70]).save(tmp_path / "half.png")
    halves = manifest(tmp_path, [f"{i:03d}.jpg,half.png" for i in range(40)], f"image,{column}")
    with pytest.raises(SourceError, match=r"mask .*half\.png has 140×70 pixels and its image 70×70"):
        check(run, name, halves)


def test_foreground_judges_classes_by_themselves(tmp_path: Path) -> None:
    items = [item(i, {"gradcam": blob(0.3, 0.3)}, predicted=0, label=0) for i in range(60)]
    items += [item(i, {"gradcam": blob(0.8, 0.8)}, predicted=1, label=1) for i in range(60, 80)]
    run = write_run(tmp_path / "run", items)
    boxes = manifest(tmp_path, [f'{i:03d}.jpg,"7,7,35,35"' for i in range(80)], "image,box")
    failed = check(run, "foreground", boxes, "foreground.p05_min=false")
    assert failed.status == "fail"
    assert failed.deciding is not None
    assert failed.deciding.name == "class class 1: median"
    assert check(run, "foreground", boxes, "foreground.p05_min=false", "foreground.class_images=1000").status == "pass"


def test_foreground_leaves_out_objects_that_fill_the_view(tmp_path: Path) -> None:
    run = of_maps(tmp_path / "run", [blob(0.5, 0.5) for _ in range(40)])
    full = manifest(tmp_path, [f'{i:03d}.jpg,"0,0,70,69"' for i in range(40)], "image,box")
    skipped = check(run, "foreground", full)
    assert skipped.status == "skipped"
    assert "covers less than 0.6 of it" in skipped.why
    rows = [f'{i:03d}.jpg,"0,0,70,{69 if i < 4 else 35}"' for i in range(40)]
    some = check(run, "foreground", manifest(tmp_path, rows, "image,box"))
    assert (some.n, some.details["left_out"]) == (36, 4)
    assert check(run, "foreground", full, "foreground.largest=1.0").status == "fail"


def test_avoid_by_one_box_and_by_the_manifest(tmp_path: Path) -> None:
    bottom = of_maps(tmp_path / "bottom", [blob(0.5, 0.95) for _ in range(40)])
    middle = of_maps(tmp_path / "middle", [blob(0.5, 0.4) for _ in range(40)])
    bar = "avoid.box=0,0.85,1,1"
    assert check(bottom, "avoid", bar).status == "fail"
    assert check(middle, "avoid", bar).status == "pass"
    own = manifest(tmp_path, [f'{i:03d}.jpg,"0,59.5,70,70"' for i in range(40)], "image,avoid")
    found = check(bottom, "avoid", own)
    by_box = check(bottom, "avoid", bar)
    assert found.status == "fail"
    assert found.deciding is not None
    assert by_box.deciding is not None
    assert found.deciding.value == pytest.approx(by_box.deciding.value)
    assert check(middle, "avoid").status == "skipped"
    with pytest.raises(ConfigError, match="shares of the picture"):
        check(middle, "avoid", "avoid.box=0,60,70,70")


def test_agree_needs_two_families_and_only_warns(tmp_path: Path) -> None:
    maps = blobs(40)

    def run(name: str, other: list[np.ndarray], method: str = "reciprocam") -> Path:
        pairs = enumerate(zip(maps, other, strict=True))
        return write_run(tmp_path / name, [item(i, {"gradcam": a, method: b}) for i, (a, b) in pairs])

    assert check(run("same", [m**2 for m in maps]), "agree").status == "pass"  # the same order of cells
    other = check(run("other", [blob(0.9, 0.1, base=0.01 * i) for i in range(40)]), "agree")
    assert other.status == "warn"
    assert "gradcam and reciprocam" in other.why
    assert check(run("one_family", maps, method="layercam"), "agree").status == "skipped"


def test_wrong_reports_and_never_fails(tmp_path: Path) -> None:
    items = [item(i, {"gradcam": blob(0.5, 0.5)}, predicted=0, label=0) for i in range(30)]
    items += [item(i, {"gradcam": blob(0.5, 0.5, base=9.0)}, predicted=0, label=1) for i in range(30, 50)]
    found = check(write_run(tmp_path / "run", items), "wrong")
    assert found.status == "pass"
    assert "they differ" in found.why
    assert found.details["wrong"]["n"] == 20
    assert found.details["wrong"]["median"] > found.details["right"]["median"]
    alike = [item(i, {"gradcam": blob(0.5, 0.5)}, predicted=0, label=int(i >= 30)) for i in range(50)]
    assert "no clear difference" in check(write_run(tmp_path / "alike", alike), "wrong").why
    assert "too few to decide" in check(write_run(tmp_path / "few", items[:32]), "wrong").why
    assert "nothing to compare" in check(write_run(tmp_path / "right", items[:30]), "wrong").why
    assert check(of_maps(tmp_path / "unlabelled", blobs(5)), "wrong").status == "skipped"


def test_shortcut_without_images_or_classes_is_inconclusive(tmp_path: Path) -> None:
    blobs_of_two = [item(i, {"gradcam": blob(0.1, 0.1)}, predicted=i % 2) for i in range(80)]
    gone = check(write_run(tmp_path / "gone", blobs_of_two), "shortcut")
    assert gone.status == "inconclusive"
    assert "cannot be searched" in gone.why
    alone = check(write_run(tmp_path / "alone", [item(i, {"gradcam": blob(0.1, 0.1)}) for i in range(80)]), "shortcut")
    assert alone.status == "inconclusive"
    assert "two classes" in alone.why


def test_a_folder_without_a_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither index\.json nor index\.jsonl, so it is no run"):
        check_run(str(tmp_path))
    (tmp_path / "index.jsonl").write_text("{}\n")  # a run that has not ended is not taken for a folder of images
    assert is_run_folder(str(tmp_path))
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(SourceError, match="this version of cam reads"):
        check_run(str(tmp_path))


def test_of_several_thresholds_the_nearest_to_failing_is_told(tmp_path: Path) -> None:
    found = check(of_maps(tmp_path / "run", blobs(40, base=0.1)), "focus")
    assert found.status == "pass"
    assert found.deciding is not None
    assert (found.deciding.side, len(found.conditions)) == ("max", 2)  # 0.9 is nearer to 0.97 than to 0.05


def test_layout_has_nothing_to_verify_without_a_layer(tmp_path: Path) -> None:
    found = check(of_maps(tmp_path / "run", blobs(3)), "layout")
    assert found.status == "skipped"
    assert "take no layer" in found.why


def test_which_maps_are_checked_can_be_chosen(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [item(i, {"gradcam": m, "layercam": RING}) for i, m in enumerate(blobs(40))])
    assert check(run, "border").status == "pass"
    assert check(run, "border", "suite.method=layercam").status == "fail"
    with pytest.raises(ConfigError, match="Did you mean gradcam"):
        check(run, "border", "suite.method=gradcm")
