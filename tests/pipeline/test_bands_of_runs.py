"""Whole runs over images of other bands than RGB: the model's own logits, named failures, what is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

import camcli
from camcli.checks import check_run
from camcli.errors import ImageError
from camcli.images import Preprocessing
from tests import bands as models
from tests.bands import npy, npz, rgba, six_bands, tiff
from tests.conftest import Cam, index_of, items

SIX = six_bands()
SHARES = torch.from_numpy(SIX.astype(np.float32) / np.float32(65535)).permute(2, 0, 1)
PLAIN = ("--input-size", 64, "--mean", "0", "--std", "1", "--resize", "squash")


def run(cam: Cam, tmp_path: Path, model: str, *arguments: object, code: int = 0) -> Any:
    outcome = cam("run", *arguments, "--model", f"factory:tests.bands:{model}", "-o", tmp_path / "out", "--topk", 4)
    assert outcome.code == code, outcome.err
    return outcome


def rows(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {row["image"]: row for row in items(tmp_path / "out")}


def logits_of(row: dict[str, Any]) -> list[float]:
    return [one["logit"] for one in sorted(row["predictions"], key=lambda one: one["index"])]


def by_hand(network: torch.nn.Module, inputs: torch.Tensor) -> list[float]:
    with torch.no_grad():
        logits: list[float] = network(inputs[None])[0].tolist()
    return pytest.approx(logits, abs=1e-5)  # type: ignore[return-value]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six bands in every kind of file, and a photograph."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.tif").write_bytes(tiff(SIX))
    (folder / "planar.tif").write_bytes(tiff(SIX, planarconfig="separate"))
    (folder / "b.npy").write_bytes(npy(SIX))
    (folder / "c.npz").write_bytes(npz(image=SIX))
    Image.fromarray((SIX[:, :, :3] >> 8).astype(np.uint8)).save(folder / "rgb.png")
    return folder


def test_the_logits_of_six_bands_are_the_models_own(cam: Cam, tmp_path: Path, folder: Path) -> None:
    outcome = run(cam, tmp_path, "six", folder, *PLAIN, code=3)
    wanted = by_hand(models.six(), SHARES)
    found = rows(tmp_path)
    for name in ("a.tif", "planar.tif", "b.npy", "c.npz"):
        assert logits_of(found[name]) == wanted, name
        assert (found[name]["width"], found[name]["height"], found[name]["frames"]) == (64, 64, 1)
        assert (tmp_path / "out" / found[name]["maps"][0]["files"]["overlay"]).exists()
    assert found["rgb.png"]["error"]["kind"] == "bands"
    assert "it is a picture of 3 bands (RGB), and the model takes 6: --bands" in found["rgb.png"]["error"]["message"]
    assert outcome.out.count("note     assumed: uint16 values are divided by 65535") == 1
    assert "in turn" not in outcome.out


def in_memory(network: torch.nn.Module, channels: int) -> camcli.Model:
    pre = Preprocessing(channels, 64, 64, mean=(0.0,), std=(1.0,), resize="squash")
    return camcli.Model(module=network, preprocessing=pre, name="tiny", source="factory", weights="none", num_classes=4)


def test_python_gives_the_same(folder: Path) -> None:
    model = in_memory(models.six(), 6)
    results = camcli.explain(model, [SIX, str(folder / "a.tif"), (SIX / 65535).astype(np.float32)])
    for result in results:
        found = [one.logit for one in sorted(result.predictions, key=lambda one: one.index)]
        assert found == by_hand(models.six(), SHARES)
        assert result.maps["gradcam"].overlay().size == (64, 64)
    assert np.array_equal(results[0].maps["gradcam"].native, results[1].maps["gradcam"].native)


def test_python_names_the_file_of_other_bands(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.tif: it has 6 bands, and the model takes 3"):
        camcli.explain(in_memory(models.three(), 3), str(folder / "a.tif"))
    (result,) = camcli.explain(in_memory(models.three(), 3), str(folder / "a.tif"), bands=[4, 3, 2])
    found = [one.logit for one in sorted(result.predictions, key=lambda one: one.index)]
    assert found == by_hand(models.three(), SHARES[[3, 2, 1]])


def test_python_takes_grey_with_an_axis_of_bands() -> None:
    model = in_memory(models.three(), 3)
    grey = (SIX[:, :, 0] >> 8).astype(np.uint8)
    one, other = camcli.explain(model, [grey, grey[:, :, None]])
    assert np.array_equal(one.maps["gradcam"].native, other.maps["gradcam"].native)


def test_default_mean_and_deviation_of_more_channels_are_said(cam: Cam, tmp_path: Path, folder: Path) -> None:
    outcome = run(cam, tmp_path, "six", folder / "a.tif", "--input-size", 64, "--resize", "squash")
    assert outcome.err.count("mean 0.485, 0.456, 0.406, 0.485, 0.456, 0.406 (--mean)") == 1
    assert "0.485" not in outcome.out
    mean, std = (torch.tensor(v).repeat(2)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert logits_of(rows(tmp_path)["a.tif"]) == by_hand(models.six(), (SHARES - mean) / std)


def test_bands_are_chosen_by_number(cam: Cam, tmp_path: Path, folder: Path) -> None:
    run(cam, tmp_path, "three", folder / "a.tif", folder / "rgb.png", *PLAIN, "--bands", "4,3,2", code=3)
    found = rows(tmp_path)
    assert logits_of(found["a.tif"]) == by_hand(models.three(), SHARES[[3, 2, 1]])
    assert "no band 4, as --bands asks for" in found["rgb.png"]["error"]["message"]
    assert "bands 4,3,2" in index_of(tmp_path / "out")["model"]["resize"]


def test_bands_are_repeated_when_that_is_asked_for(cam: Cam, tmp_path: Path, folder: Path) -> None:
    run(cam, tmp_path, "six", folder / "rgb.png", *PLAIN, "--bands", "repeat")
    rgb = torch.from_numpy(np.array(Image.open(folder / "rgb.png")).astype(np.float32) / 255).permute(2, 0, 1)
    assert logits_of(rows(tmp_path)["rgb.png"]) == by_hand(models.six(), torch.cat([rgb, rgb]))


def test_six_bands_are_a_failure_for_three_channels(cam: Cam, tmp_path: Path, folder: Path) -> None:
    run(cam, tmp_path, "three", folder, *PLAIN, code=3)
    found = rows(tmp_path)
    assert found.pop("rgb.png")["status"] == "ok"
    for row in found.values():
        assert row["error"]["kind"] == "bands"
        assert row["error"]["message"] == "it has 6 bands, and the model takes 3: --bands 1,2,3 gives it the first 3"


def test_alpha_reaches_a_model_of_four_channels(cam: Cam, tmp_path: Path) -> None:
    rgba().save(tmp_path / "x.png")
    (tmp_path / "y.npy").write_bytes(npy(SIX[:, :, :4]))
    run(cam, tmp_path, "four", tmp_path / "x.png", tmp_path / "y.npy", *PLAIN)
    shares = torch.from_numpy(np.array(rgba()).astype(np.float32) / 255).permute(2, 0, 1)
    assert logits_of(rows(tmp_path)["x.png"]) == by_hand(models.four(), shares)
    assert logits_of(rows(tmp_path)["y.npy"]) == by_hand(models.four(), SHARES[:4])


def test_colours_become_grey_for_one_channel_and_that_is_said(cam: Cam, tmp_path: Path, folder: Path) -> None:
    outcome = run(cam, tmp_path, "one", folder / "rgb.png", *PLAIN)
    grey = torch.from_numpy(np.array(Image.open(folder / "rgb.png").convert("L")).astype(np.float32) / 255)
    assert logits_of(rows(tmp_path)["rgb.png"]) == by_hand(models.one(), grey[None])
    assert "colours become grey" in outcome.err


def test_dicom_reaches_one_channel_in_full_and_three_as_a_picture(cam: Cam, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    files = Path(pydicom.__file__).parent / "data" / "test_files"
    shutil.copy(files / "CT_small.dcm", folder / "ct.dcm")
    shutil.copy(files / "CT_small.dcm", tmp_path / "without_extension")
    header = pydicom.dcmread(folder / "ct.dcm")
    stored = pydicom.pixels.apply_modality_lut(header.pixel_array, header)  # type: ignore[attr-defined]
    shares = np.clip((stored - 39.5) / 399 + 0.5, 0, 1)
    plain = ("--input-size", 128, "--mean", "0", "--std", "1", "--resize", "squash", "--window", "40,400")
    run(cam, tmp_path, "one", folder, tmp_path / "without_extension", *plain)
    wanted = by_hand(models.one(), torch.from_numpy(shares.astype(np.float32))[None])
    assert [logits_of(row) for row in rows(tmp_path).values()] == [wanted, wanted]
    text = (tmp_path / "out" / "index.json").read_text()
    assert not any(str(header[name].value) in text for name in ("PatientName", "PatientID", "StudyDate"))
    run(cam, tmp_path, "three", folder, *plain, "--overwrite")
    grey = torch.from_numpy(np.rint(shares * 255).astype(np.float32) / 255).expand(3, -1, -1)
    assert logits_of(rows(tmp_path)["ct.dcm"]) == by_hand(models.three(), grey)


def test_own_preprocessing_sees_all_bands_as_the_file_has_them(cam: Cam, tmp_path: Path, folder: Path) -> None:
    run(cam, tmp_path, "choosing", folder / "a.tif")
    values = torch.from_numpy(SIX[:, :, [3, 2, 1]].astype(np.float32) / 10_000).permute(2, 0, 1)
    assert logits_of(rows(tmp_path)["a.tif"]) == by_hand(models.three(), values)
    run(cam, tmp_path, "tensors", folder / "a.tif", "--overwrite")
    assert logits_of(rows(tmp_path)["a.tif"]) == by_hand(models.six(), SHARES)
    rgba().save(tmp_path / "x.png")
    run(cam, tmp_path, "pillow_alpha", tmp_path / "x.png", "--overwrite")
    shares = torch.from_numpy(np.array(rgba()).astype(np.float32) / 255).permute(2, 0, 1)
    assert logits_of(rows(tmp_path)["x.png"]) == by_hand(models.four(), shares)


def test_values_that_are_not_finite_never_reach_the_index(cam: Cam, tmp_path: Path) -> None:
    values = SIX.astype(np.float32)
    values[0, 0, 0] = np.nan
    (tmp_path / "x.npy").write_bytes(npy(values))
    (tmp_path / "y.npy").write_bytes(npy(np.full((64, 64, 6), 3e38, np.float32)))
    run(cam, tmp_path, "six", tmp_path / "x.npy", tmp_path / "y.npy", *PLAIN, code=3)
    found = rows(tmp_path)
    assert "1 of the 4,096 values of band 1 are not finite" in found["x.npy"]["error"]["message"]
    assert found["y.npy"]["status"] == "ok"
    assert set(logits_of(found["y.npy"])) <= {None} or np.isfinite(logits_of(found["y.npy"])).all()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((tmp_path / "out" / "index.json").read_text(), parse_constant=refuse)


def test_the_bands_that_are_drawn_are_part_of_the_pictures_alone(cam: Cam, tmp_path: Path, folder: Path) -> None:
    run(cam, tmp_path, "six", folder / "a.tif", *PLAIN, "--alpha", "0", "--image-format", "png")
    before = index_of(tmp_path / "out")
    run(
        cam, tmp_path, "six", folder / "a.tif", *PLAIN, "--alpha", "0", "--image-format", "png", "--show-bands",
        "6,5,4", "--overwrite",
    )  # fmt: skip
    after = index_of(tmp_path / "out")
    assert before["fingerprint"] == after["fingerprint"]
    assert before["render_fingerprint"] != after["render_fingerprint"]
    drawn = np.asarray(Image.open(tmp_path / "out" / after["items"][0]["maps"][0]["files"]["overlay"]))
    low, high = np.percentile(SIX[:, :, 5], (2, 98))
    red = np.clip((SIX[:, :, 5] - low) / (high - low), 0, 1) * 255
    assert np.abs(drawn[:, :, 0] - red).max() < 1


@pytest.mark.parametrize("model", ["six", "tensors"])
def test_checks_that_intervene_read_the_same_bands(cam: Cam, tmp_path: Path, folder: Path, model: str) -> None:
    own = () if model == "tensors" else PLAIN
    run(cam, tmp_path, model, folder / "a.tif", folder / "b.npy", *own)
    suite = tmp_path / "suite.toml"
    suite.write_text("[suite]\nmin_images = 1\n[stable]\n[random]\n[faithful]\n")
    results = {result.check: result for result in check_run(str(tmp_path / "out"), suite=str(suite))}
    assert {result.status for result in results.values()} <= {"pass", "fail", "warn", "inconclusive"}
    assert all(result.n == 2 for result in results.values())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--bands", "0,1,2"), "--bands 0,1,2: give numbers of bands, counted from 1"),
        (("--bands", "red"), "--bands red"),
        (("--bands", "1,2"), "2 bands for a model whose input has 6 channel(s)"),
        (("--show-bands", "1,2"), "--show-bands 1,2: three bands"),
        (("--window", "40"), "--window 40: give a centre and a width"),
        (("--window", "40,0"), "--window 40,0"),
        (("--mean", "0.1,0.2,0.3"), "--mean has 3 value(s) and the model's input has 6 channel(s)"),
    ],
)
def test_wrong_values_are_refused_before_any_image(
    cam: Cam, tmp_path: Path, folder: Path, flags: tuple[str, str], words: str
) -> None:
    assert words in run(cam, tmp_path, "six", folder, "--input-size", 64, *flags, code=2).err
