"""Wrong usage: exit 2 before any image is explained, and a message that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import camcli

from ..conftest import Outcome, index_of

Cam = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "blocs[-1]"), "blocks"),
        (("--layer", "classifier"), "classifier"),
        (("--method", "gradcan"), "gradcam"),
        (("--model", "resnet5000"), "resnet50"),
        (("--model", "torchvision:resnet51"), "resnet50"),
        (("--target", "Egyptian catt"), "Egyptian cat"),
        (("--target", "1000"), "0 to 999"),
        (("--checkpoint", "nowhere.pth"), "nowhere.pth"),
        (("--option", "gradcam.gamma=1"), "gamma"),
        (("--save", "overlays"), "overlay"),
        (("--save", ","), "--save none"),
        (("--target", ""), "--target is empty"),
        (("--csv", Path(__file__).parent), "--csv"),
        (("--device", "tpu"), "--device tpu"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
        (("--no-such-flag",), "--no-such-flag: no such flag. `cam run --help` lists all flags."),
        (("--imgsz", "64"), "--imgsz: no such flag. Did you mean --input-size?"),
        (("--img-size=64",), "--img-size: no such flag. Did you mean --input-size?"),
        (("--source", "photos"), "--source: no such flag. Did you mean --image-path?"),
        (("--data-dir", "photos"), "--data-dir: no such flag. Did you mean --image-path?"),
        (("source=photos",), "source=photos: no such image. Did you mean --image-path photos?"),
        (("imgsz=64",), "imgsz=64: no such image. Did you mean --input-size 64?"),
        (("--methd", "gradcam"), "--methd: no such flag. Did you mean --method?"),
    ],
)
def test_exit_2(cam: Cam, tmp_path: Path, samples: Path, arguments: tuple[str, ...], message: str) -> None:
    done = cam("run", samples, "--output-dir", tmp_path / "out", *arguments)
    assert done.code == 2, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_use_cuda_without_cuda(cam: Cam, tmp_path: Path, samples: Path) -> None:
    for flags, named in ((("--use-cuda",), "--use-cuda"), (("--device", "0"), "--device cuda:0")):
        done = cam("run", samples, "--output-dir", tmp_path / "out", *flags)
        assert done.code == 2
        assert named in done.err


def test_short_forms(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    assert tiny(photos, "-o", tmp_path / "out", "-b", 2, "-j", 3, "-m", "factory:tests.tiny:build").code == 0
    config = index_of(tmp_path / "out")["config"]
    assert (config["batch_size"], config["workers"]) == (2, 3)
    assert config["output_dir"] == str(tmp_path / "out")


def test_an_image_may_have_the_name_of_an_assignment(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    image = photos.rename(tmp_path / "source=photos")
    assert tiny(image, "--output-dir", tmp_path / "out", "--limit", 1).code == 0


def test_a_run_with_nothing_left_to_do_states_no_rate(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    command = (photos, "--output-dir", tmp_path / "out", "--limit", 2)
    assert "images/s)" in tiny(*command).out
    again = tiny(*command)
    assert "2 explained (2 of them were there already), 0 failed, in " in again.out
    assert "images/s" not in again.out


def test_no_input(cam: Cam, tmp_path: Path) -> None:
    for arguments in ((), ("--image-path", tmp_path / "nowhere"), ("--image-path", tmp_path)):
        done = cam("run", *arguments, "--output-dir", tmp_path / "out")
        assert done.code == 2, arguments
        assert "--image-path" in done.err


def test_version_and_help(cam: Cam) -> None:
    for command in ((), ("run",), ("layers",), ("models",), ("methods",)):
        assert cam(*command, "--version").out.strip() == f"cam {camcli.__version__}"
        shown = cam(*command, "--help")
        assert shown.code == 0
        assert "Usage: cam" in shown.out


def test_listings(cam: Cam) -> None:
    methods = {m["key"] for m in cam("methods", "--json").document}
    assert {"gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "eigencam", "randomcam"} <= methods
    assert "gradcam++" in cam("methods").out
    piped = cam("methods").out.splitlines()
    assert all(any(line.startswith(f"{key} ") for line in piped) for key in methods)  # no name is cut short
    models = cam("models", "resnet5", "--json").document
    assert any(model["name"] == "torchvision:resnet50" for model in models)
    assert cam("models", "no-such-model").code == 2


def test_layers(cam: Cam) -> None:
    document = cam("layers", "builtin", "--json").document
    assert document["recommended"] == "bn2"
    row = next(row for row in document["layers"] if row["path"] == "bn2")
    assert row["layout"] == "nchw"
    assert row["grid"] == [7, 7]
    assert row["channels"] == 1280
    assert row["proof"] == "proven"
    assert row["recommended"] is True
    assert "recommended" in cam("layers", "factory:tests.tiny:build", "--input-size", 64).out


def test_the_verification_of_one_layer(cam: Cam) -> None:
    for arguments, path in ((("--verify",), "bn2"), (("--verify", "blocks[-1]"), "blocks.6")):
        [row] = cam("layers", "builtin", *arguments, "--json").document["layers"]
        assert (row["path"], row["proof"]) == (path, "proven")
    assert "no layer 'blocs'" in cam("layers", "builtin", "--verify", "blocs").err


def test_layers_take_the_model_as_other_commands_do(cam: Cam, tmp_path: Path) -> None:
    tiny = ("--model", "factory:tests.tiny:build", "--input-size", 64, "--json")
    by_flag = cam("layers", *tiny).document
    assert by_flag == cam("layers", tiny[1], *tiny[2:]).document
    assert len(by_flag["layers"]) > 5
    for arguments, path in ((("--verify",), "features.8"), (("--verify", "features[2]"), "features.2")):
        document = cam("layers", *arguments, *tiny).document
        assert [row["path"] for row in document["layers"]] == [path]
    two = cam("layers", tiny[1], "features.2", "features.5", *tiny[2:]).document
    assert {row["path"] for row in two["layers"]} == {"features.2", "features.5"}
    file = tmp_path / "model.toml"
    file.write_text("model = 'no-such-model'\ninput-size = 64")
    assert cam("layers", tiny[1], "--config", file, "--json").document == by_flag


def test_images_named_on_the_command_line_win_over_the_file(cam: Cam, tmp_path: Path, samples: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f"image-path = ['{tmp_path / 'nowhere'}']\nquiet = true\nsave = 'none'")
    one = next(samples.rglob("*.jpg"))
    done = cam("run", one, "--config", file, "--output-dir", tmp_path / "out")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert [item["image"] for item in index_of(tmp_path / "out")["items"]] == [one.name]


def test_help_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys; from camcli.cli import app; sys.exit(any(m in sys.modules for m in ('torch', 'timm', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_all_is_what_there_is() -> None:
    for name in camcli.__all__:
        assert getattr(camcli, name) is not None
    assert not callable(getattr(camcli, "explainer", None))
    with pytest.raises(AttributeError):
        _ = camcli.no_such_name
