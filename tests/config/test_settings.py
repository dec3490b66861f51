"""Settings: defaults, checks, the TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from camcli.config.file import read_config_file
from camcli.config.parse import Scale, parse_input_size, parse_scale
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError


def test_lists_are_tuples_and_comma_lists_are_split() -> None:
    config = RunConfig(image_path=["a,b"], method="gradcam, layercam", save=["overlay", "raw,raw"])
    assert config.image_path == ("a,b",)
    assert config.method == ("gradcam", "layercam")
    assert config.save == ("overlay", "raw")


def test_save_none_saves_nothing() -> None:
    assert RunConfig(save="none").save == ()
    assert not RunConfig(save="raw").pictures
    assert RunConfig(save="raw,gray").pictures


def test_use_cuda_is_device_cuda() -> None:
    assert RunConfig(use_cuda=True).device == "cuda"
    assert RunConfig(use_cuda=True, device="cuda:1").device == "cuda:1"
    with pytest.raises(ConfigError, match="contradict"):
        RunConfig(use_cuda=True, device="cpu")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"save": "overly"}, "--save overly.*overlay"),
        ({"save": "none,raw"}, "'none' stands alone"),
        ({"colormap": "jett"}, "--colormap jett.*jet"),
        ({"precision": "fp8"}, "--precision fp8"),
        ({"alpha": 1.5}, "--alpha 1.5: must be between 0 and 1"),
        ({"quality": 0}, "--quality 0"),
        ({"limit": 0}, "--limit 0"),
        ({"topk": 0}, "--topk 0"),
        ({"max_side": -1}, "--max-side -1"),
        ({"batch_size": "0"}, "--batch-size 0"),
        ({"workers": "many"}, "--workers many"),
        ({"input_size": "224x"}, "--input-size 224x"),
        ({"mean": "0.5,x"}, "--mean 0.5,x"),
        ({"std": "0,1,1"}, "--std 0,1,1"),
        ({"scale": "2:1"}, "--scale 2:1"),
        ({"scale": "sample:0"}, "--scale sample:0"),
        ({"method": ()}, "--method is empty"),
    ],
)
def test_wrong_values_name_their_flag(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**settings)  # type: ignore[arg-type]


def test_scale() -> None:
    assert parse_scale("per-image") == Scale()
    assert parse_scale("-1:2.5") == Scale(low=-1, high=2.5)
    assert parse_scale("sample:50") == Scale(sample=50)


def test_input_size_is_height_by_width() -> None:
    assert parse_input_size("224") == (224, 224)
    assert parse_input_size("224x320") == (224, 320)


def test_file_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'image-path = ["photos", "@list.txt", "/abs"]\noutput_dir = "../out"\nmethod = ["gradcam"]\n'
        "alpha = 1\nuse-cuda = false\nmean = [0.5, 0.5, 0.5]\nbatch-size = 8\n"
    )
    settings = read_config_file(str(file))
    assert settings["image_path"] == [str(tmp_path / "photos"), f"@{tmp_path / 'list.txt'}", "/abs"]
    assert settings["output_dir"] == str(tmp_path.parent / "out")
    assert settings["mean"] == "0.5,0.5,0.5"
    assert RunConfig(**settings).batch_size == "8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methud = ['gradcam']", "unknown key 'methud'.*method"),
        ("alpha = 'much'", "alpha = 'much' must be a number"),
        ("resume = 1", "resume = 1 must be true or false"),
        ("limit = 1.5", "limit = 1.5 must be a whole number"),
        ("batch-size = 2.0", "batch-size = 2.0 must be a string or a whole number"),
        ("quiet = 1", "quiet = 1 must be true or false"),
        ("max-side = 5\nmax_side = 6", "max_side repeats"),
        ("resume = true\nno-resume = true", "no-resume repeats"),
        ("save = [1]", "save = .* must be a string or a list of strings"),
        ("method = ", "not a TOML file"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config_file(str(file))


def test_every_long_flag_can_stand_in_it(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("no-resume = true\njson = true\nverbose = false\nquiet = false")
    assert read_config_file(str(file)) == {"resume": False, "json": True, "verbose": False, "quiet": False}


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        read_config_file("nowhere.toml")
