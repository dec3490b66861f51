"""The stream from end to end, on real photographs with the built-in model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from camcli.map_summary import read_native
from camcli.schemas import index_schema
from tests.conftest import Cam, artefacts, index_of, items, photographs


def test_everything_at_once_and_its_index_is_valid(cam: Cam, tmp_path: Path, samples: Path) -> None:
    out = tmp_path / "out"
    done = cam(
        "run", "--image-path", samples, "--method", "gradcam,gradcam++,layercam,eigencam", "--target", "top:2",
        "--save", "overlay,heatmap,gray,raw,panel", "--output-dir", out, "--max-side", 256,
    )  # fmt: skip
    assert done.code == 0, done.err
    index = index_of(out)
    jsonschema.validate(index, index_schema())
    count = len(photographs())
    assert index["status"] == "complete"
    assert index["counts"]["images"] == index["counts"]["ok"] == count
    assert index["counts"]["maps"] == count * 4 * 2
    for item in index["items"]:
        assert [m["target"]["chosen_by"] for m in item["maps"][:2]] == ["top:1", "top:2"]
        for entry in item["maps"]:
            assert entry["status"] == "ok"
            for kind in ("overlay", "heatmap", "gray", "raw", "panel"):
                assert (out / entry["files"][kind]).is_file()
                assert item["sizes"][entry["files"][kind]] == (out / entry["files"][kind]).stat().st_size
            raw = np.load(out / entry["files"]["raw"])
            assert raw.shape == tuple(entry["native"]["grid"])
            assert np.abs(read_native(entry["native"]) - raw).max() <= 1e-3 * np.abs(raw).max()
            assert entry["raw"]["max"] == pytest.approx(raw.max())
    assert "cat" in done.out


def test_the_same_command_again_explains_nothing(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    out = tmp_path / "out"
    command = (photos, "--output-dir", out, "--save", "overlay,raw", "--json")
    first = tiny(*command)
    assert first.code == 3
    assert first.document["counts"]["failed"] == 1
    before, rows = artefacts(out), items(out)
    failed = [row for row in rows if row["status"] == "failed"]
    assert [row["image"] for row in failed] == ["broken.jpg"]
    assert failed[0]["error"]["kind"] in ("corrupt", "not-an-image", "truncated")
    again = tiny(*command)
    assert again.code == 3
    assert again.document["explained_now"] == 0
    assert artefacts(out) == before
    assert items(out) == rows


def test_a_bad_neighbour_changes_nothing(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    assert tiny(photos, "--output-dir", tmp_path / "clean").code == 0
    (photos / "2b.png").write_bytes((photos / "2.png").read_bytes()[:2000])
    assert tiny(photos, "--output-dir", tmp_path / "dirty").code == 3
    assert artefacts(tmp_path / "clean") == artefacts(tmp_path / "dirty")
    clean, dirty = items(tmp_path / "clean"), items(tmp_path / "dirty")
    assert clean == [row for row in dirty if row["image"] != "2b.png"]


def test_other_neighbours_and_a_resume_give_the_same_bytes(cam: Cam, tmp_path: Path, photos: Path) -> None:
    settings = ("--batch-size", 4, "--method", "gradcam,eigencam", "--save", "overlay,raw")
    assert cam("run", photos, "--output-dir", tmp_path / "whole", *settings).code == 0
    assert cam("run", photos, "--output-dir", tmp_path / "parts", "--limit", 1, *settings).code == 0
    assert cam("run", photos, "--output-dir", tmp_path / "parts", *settings).code == 0
    assert artefacts(tmp_path / "whole") == artefacts(tmp_path / "parts")
    assert items(tmp_path / "whole") == items(tmp_path / "parts")
    one = cam("run", photos / "3.png", "--output-dir", tmp_path / "one", *settings)
    assert one.code == 0
    raw = (tmp_path / "one" / "raw" / "gradcam" / "3.png.npy").read_bytes()
    assert raw == (tmp_path / "whole" / "raw" / "gradcam" / "3.png.npy").read_bytes()


def test_any_batch_size_gives_the_same_maps(cam: Cam, tmp_path: Path, photos: Path) -> None:
    maps = {}
    for size in (1, 8):
        out = tmp_path / f"by{size}"
        assert cam("run", photos, "--output-dir", out, "--batch-size", size, "--save", "raw").code == 0
        maps[size] = np.array([np.load(path) for path in sorted(out.rglob("*.npy"))])
    assert len(maps[1]) == 6
    assert np.abs(maps[1] - maps[8]).max() < 1e-4 * np.abs(maps[1]).max()


def test_every_image_bad(tiny: Cam, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(b"nothing")
    done = tiny(tmp_path, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert [row["status"] for row in items(tmp_path / "out")] == ["failed", "failed"]
    jsonschema.validate(index_of(tmp_path / "out"), index_schema())


def test_a_deleted_or_cut_artefact_is_made_again(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    command = (photos, "--output-dir", out, "--save", "overlay", "--json")
    tiny(*command)
    before = artefacts(out)
    names = sorted(before)
    (out / names[0]).unlink()
    (out / names[1]).write_bytes(b"cut")
    assert tiny(*command).document["explained_now"] == 2
    assert artefacts(out) == before


def test_another_configuration_is_refused_and_says_what_differs(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    assert tiny(photos, "--output-dir", out).code == 0
    before = artefacts(out)
    for change, named in (
        (("--method", "layercam"), "layercam"),
        (("--target", "2"), "2"),
        (("--colormap", "hot"), "hot"),
        (("--no-resume",), "--no-resume"),
    ):
        refused = tiny(photos, "--output-dir", out, *change)
        assert refused.code == 2, change
        assert named in refused.err
        assert "--overwrite" in refused.err
    assert artefacts(out) == before
    assert tiny(photos, "--output-dir", out, "--method", "layercam", "--overwrite").code == 0
    assert not (out / "overlays" / "gradcam").exists()


def test_manifest_labels_targets_and_per_row_targets(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text(
        "image,label,target\nphotos/0.png,3.0,\nphotos/1.png,Cat,2\nphotos/2.png,no such thing,\n"
        "photos/3.png,,nothing like it\nphotos/0.png,,\n"
    )
    done = tiny(manifest, "--output-dir", tmp_path / "out")
    assert done.code == 3
    rows = items(tmp_path / "out")
    assert [row["image"] for row in rows] == [f"photos/{n}" for n in ("0.png", "1.png", "2.png", "3.png", "0.png#2")]
    assert [row["label"] and row["label"]["index"] for row in rows] == [3, 0, None, None, None]
    assert rows[1]["maps"][0]["target"]["index"] == 2
    assert rows[1]["maps"][0]["target"]["chosen_by"] == "index"
    assert rows[3]["error"]["kind"] == "target"
    # An explicit flag beats the row.
    done = tiny(manifest, "--output-dir", tmp_path / "flag", "--target", "predicted")
    assert done.code == 0
    assert items(tmp_path / "flag")[1]["maps"][0]["target"]["chosen_by"] == "predicted"


def test_label_as_target(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    for folder, number in (("cat", 0), ("DOG", 1), ("something else", 2)):
        (tmp_path / "tree" / folder).mkdir(parents=True)
        shutil.copy(photos / f"{number}.png", tmp_path / "tree" / folder)
    done = tiny(tmp_path / "tree", "--target", "label", "--output-dir", tmp_path / "out")
    assert done.code == 3
    by_name = {row["image"]: row for row in items(tmp_path / "out")}
    assert by_name["cat/0.png"]["maps"][0]["target"]["index"] == 0
    assert by_name["DOG/1.png"]["maps"][0]["target"]["index"] == 1
    assert by_name["something else/2.png"]["error"]["kind"] == "target"


def test_several_sources_never_share_an_artefact(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    other = tmp_path / "more" / "photos"
    shutil.copytree(photos, other)
    done = tiny(photos, other, "--output-dir", tmp_path / "out", "--limit", 12)
    assert done.code == 0
    rows = items(tmp_path / "out")
    files = [row["maps"][0]["files"]["overlay"] for row in rows]
    assert len(set(files)) == len(files) == 12
    assert {row["source"] for row in rows} == {str(photos), str(other)}


def test_the_folder_that_an_image_lies_in_may_be_its_class(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / "dog"
    shutil.copytree(photos, folder)
    for number, path in enumerate((folder, sorted(p for p in folder.rglob("*") if p.is_file())[0])):
        out = tmp_path / f"out{number}"
        assert tiny(path, "--output-dir", out, "--save", "none", "--target", "label", "--limit", 1).code in (0, 3)
        labels = {item["label"]["name"] for item in items(out) if "/" not in item["image"] and item["label"]}
        assert labels <= {"dog"}
    assert items(tmp_path / "out1")[0]["label"] == {"index": 1, "name": "dog"}


def test_its_own_output_is_never_explained(tiny: Cam, photos: Path) -> None:
    out = photos / "out"
    assert tiny(photos, "--output-dir", out, "--limit", 3).code == 0
    assert tiny(photos, "--output-dir", out).code == 0
    assert len(items(out)) == 6


def test_a_sample_is_continued_by_a_larger_one(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert tiny(photos, "--output-dir", out, "--sample", "2", "--json").document["explained_now"] == 2
    two = items(out)
    assert tiny(photos, "--output-dir", out, "--sample", "4", "--json").document["explained_now"] == 2
    assert [item for item in items(out) if item in two] == two
    assert tiny(photos, "--output-dir", out, "--json").document["explained_now"] == 2
    assert len(items(out)) == 6
    assert tiny(photos, "--output-dir", out, "--sample", "2/class").code == 2


def test_csv_and_quiet(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    done = tiny(photos, "--output-dir", tmp_path / "o", "--csv", tmp_path / "t.csv", "--save", "none", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert len(lines) == 1 + 6
    assert lines[0].startswith("image")


@pytest.mark.parametrize("mode", [("--quiet",), ("--quiet", "--json")])
def test_quiet_leaves_one_line_on_failed_images(tiny: Cam, tmp_path: Path, photos: Path, mode: tuple[str, ...]) -> None:
    (photos / "0.png").write_bytes(b"no picture")
    (photos / "3.png").write_bytes(b"")
    done = tiny(photos, "--output-dir", tmp_path / "o", "--save", "none", *mode)
    assert done.code == 3
    assert bool(done.out) == ("--json" in mode)
    first = next(item for item in items(tmp_path / "o") if item["status"] == "failed")
    assert done.err == (
        f"cam: 2 of 6 images could not be explained; the first: 0.png: {first['error']['message']} (not-an-image); "
        f"see {tmp_path / 'o' / 'index.json'}\n"
    )


def test_json_is_the_only_thing_on_stdout(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    done = tiny(photos, "--output-dir", tmp_path / "o", "--json")
    document = done.document
    assert document["status"] == "complete"
    assert document["exit_code"] == done.code == 0
    assert Path(document["index"]).is_file()
    assert "images/s" not in done.out


def test_dry_run_writes_nothing(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    done = tiny(photos, "--output-dir", tmp_path / "o", "--dry-run")
    assert done.code == 0
    assert "features" in done.out
    assert "6" in done.out
    assert not (tmp_path / "o").exists()
    assert tiny(photos, "--output-dir", tmp_path / "o", "--dry-run", "--json").document["images"] == 6


def test_fail_fast_stops_and_says_so(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    (photos / "0a.png").write_bytes(b"")
    done = tiny(photos, "--output-dir", tmp_path / "o", "--fail-fast", "--batch-size", 1, "--workers", 1)
    assert done.code == 1
    index = index_of(tmp_path / "o")
    assert index["status"] == "aborted"
    assert index["counts"]["failed"] == 1


def test_config_file(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "run.toml").write_text('image-path = ["photos"]\noutput-dir = "out"\nsave = "raw"\nlimit = 2\n')
    assert tiny("--config", tmp_path / "run.toml", "--save", "none").code == 0
    assert len(items(tmp_path / "out")) == 2
    assert not (tmp_path / "out" / "raw").exists()


def test_two_runs_of_a_command_give_the_same_items(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    for name in ("a", "b"):
        assert tiny(photos, "--output-dir", tmp_path / name, "--method", "gradcam,randomcam").code == 0
    assert items(tmp_path / "a") == items(tmp_path / "b")
    assert artefacts(tmp_path / "a") == artefacts(tmp_path / "b")


def test_the_journal_header_says_running(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    assert tiny(photos, "--output-dir", tmp_path / "o", "--save", "none").code == 0
    header, *rows = (tmp_path / "o" / "index.jsonl").read_text().splitlines()
    assert json.loads(header)["status"] == "running"
    assert [json.loads(row)["image"] for row in rows] == [row["image"] for row in items(tmp_path / "o")]


def test_fast_decode_keeps_the_geometry_of_the_original(tiny: Cam, tmp_path: Path, samples: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    Image.open(photographs()[0]).convert("RGB").resize((2000, 1500)).save(big / "x.jpg")
    assert tiny(big, "--output-dir", tmp_path / "full", "--save", "overlay").code == 0
    assert tiny(big, "--output-dir", tmp_path / "fast", "--save", "overlay", "--fast-decode").code == 0
    (full,), (fast,) = items(tmp_path / "full"), items(tmp_path / "fast")
    assert (fast["width"], fast["height"]) == (full["width"], full["height"]) == (2000, 1500)
    assert fast["view"] == pytest.approx(full["view"], abs=12)
    assert fast["notes"] != full["notes"]
