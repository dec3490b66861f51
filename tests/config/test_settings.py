"""Settings: defaults, checks, the TOML file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest

from camcli.config.fields import Effect
from camcli.config.file import read_config_file
from camcli.config.parse import Scale, parse_input_size, parse_scale
from camcli.config.settings import SETTINGS, RunConfig, collect_verbatim
from camcli.config.suggest import suggest_setting
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


def test_every_field_is_classified() -> None:
    assert list(SETTINGS) == [field.name for field in dataclasses.fields(RunConfig)]
    for declared in SETTINGS.values():
        assert declared.affects in get_args(Effect)
        assert declared.kind in (str, int, float, bool, tuple)
        assert declared.help.endswith(".") or "(default: " in declared.help
        assert bool(declared.metavar) == (declared.kind is not bool)
        assert declared.name == "colormap" or all(choice in declared.help for choice in declared.choices)
    shorts = [declared.short for declared in SETTINGS.values() if declared.short]
    assert sorted(shorts) == ["-b", "-j", "-m", "-o"]
    synonyms = [name for declared in SETTINGS.values() for name in declared.synonyms]
    assert len(set(synonyms)) == len(synonyms)
    assert not {name.replace("-", "_") for name in synonyms} & SETTINGS.keys()


def test_lists_derived_from_the_declarations() -> None:
    assert {name for name, declared in SETTINGS.items() if declared.affects == "nothing"} == {
        "output_dir", "trust_checkpoint", "device", "use_cuda", "workers", "csv", "parquet", "resume", "retry_failed",
        "overwrite",
        "durable", "allow_truncated", "max_pixels", "sample", "limit", "shard", "processes", "fail_fast", "dry_run",
        "engine", "ray_address", "gpus_per_worker", "cpus_per_worker", "connections",
    }  # fmt: skip
    assert collect_verbatim(RunConfig(), "maps") == {
        "output_key": None, "probability": "auto", "fuse": "none", "score": "logit", "fast_decode": False, "seed": 0,
    }  # fmt: skip
    assert collect_verbatim(RunConfig(), "pictures") == {
        "colormap": "jet", "alpha": 0.5, "scale": "per-image", "max_side": 1024, "topk": 5,
    }  # fmt: skip
    paths = {name: declared.path for name, declared in SETTINGS.items() if declared.path}
    assert paths == {
        "image_path": "input", "output_dir": "output", "checkpoint": "input", "class_names": "input", "csv": "output",
        "parquet": "output",
    }  # fmt: skip
    kinds: dict[str, type] = {name: SETTINGS[name].kind for name in ("save", "limit", "alpha", "resume", "checkpoint")}
    assert kinds == {"save": tuple, "limit": int, "alpha": float, "resume": bool, "checkpoint": str}


def test_text_is_parsed_once() -> None:
    config = RunConfig(
        input_size="64x96", mean="0.5,0.25,0", std="1", scale="sample:7", batch_size="auto", workers="3"
    )  # fmt: skip
    parsed = config.parsed
    assert config.parsed is parsed
    assert (parsed.input_size, parsed.mean, parsed.std) == ((64, 96), (0.5, 0.25, 0.0), (1.0,))
    assert (parsed.scale, parsed.batch_size, parsed.workers) == (Scale(sample=7), None, 3)
    assert dataclasses.replace(config, batch_size="4").parsed.batch_size == 4
    assert "parsed" not in dataclasses.asdict(config)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("input_size", 64, "64"),
        ("input_size", (64, 96), "64x96"),
        ("mean", (0.5, 0.25, 0), "0.5,0.25,0"),
        ("std", [0.5, 1], "0.5,1"),
        ("scale", (0, 2.5), "0:2.5"),
        ("batch_size", 8, "8"),
        ("workers", 2, "2"),
        ("target", 285, "285"),
        ("device", 1, "cuda:1"),
        ("output_dir", Path("runs/a"), "runs/a"),
    ],
)
def test_python_callers_give_natural_values(name: str, value: Any, text: str) -> None:
    config = RunConfig(**{name: value})
    assert getattr(config, name) == text
    assert config == RunConfig(**{name: text})
    assert RunConfig(image_path=Path("photos")) == RunConfig(image_path=("photos",))  # type: ignore[arg-type]


def test_use_cuda_is_device_cuda() -> None:
    assert RunConfig(use_cuda=True).device == "cuda"
    assert RunConfig(use_cuda=True, device="cuda:1").device == "cuda:1"
    with pytest.raises(ConfigError, match="contradict"):
        RunConfig(use_cuda=True, device="cpu")


def test_a_number_is_a_cuda_device() -> None:
    assert RunConfig(device="0").device == "cuda:0"
    assert RunConfig(device="3", use_cuda=True).device == "cuda:3"
    assert RunConfig(device="cuda").device == "cuda"


def test_names_of_other_tools_are_suggested() -> None:
    known = ["--input-size", "--image-path", "--model"]
    assert suggest_setting("--imgsz", known) == suggest_setting("img_size", known) == " Did you mean --input-size?"
    assert suggest_setting("--source", known) == suggest_setting("--data-dir", known) == " Did you mean --image-path?"
    assert suggest_setting("--modle", known) == " Did you mean --model?"
    assert suggest_setting("--imgsz", ["--model"]) == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"save": "overly"}, "--save overly.*overlay"),
        ({"save": "none,raw"}, "'none' stands alone"),
        ({"colormap": "jett"}, "--colormap jett.*jet"),
        ({"precision": "fp8"}, "--precision fp8"),
        ({"precision": "float16"}, r"--precision float16: no such choice\. Did you mean fp16\?"),
        ({"precision": "Half"}, r"Did you mean fp16\?"),
        ({"precision": "torch.bfloat16"}, r"Did you mean bf16\?"),
        ({"precision": "float32"}, r"Did you mean fp32\?"),
        ({"alpha": 1.5}, "--alpha 1.5: must be between 0 and 1"),
        ({"gamma": 0}, "--gamma 0: must be between 0.1 and 10"),
        ({"gamma": 11}, "--gamma 11: must be between 0.1 and 10"),
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


@pytest.mark.parametrize("name", ["fuse", "alpha", "max_side"])
def test_none_is_no_value_of_a_setting_that_has_a_default(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} None"):
        RunConfig(**{name: None})  # type: ignore[arg-type]


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
        "alpha = 1\nuse-cuda = false\ndevice = 0\ninput-size = [64, 96]\nmean = [0.5, 0.5, 0.5]\nbatch-size = 8\n"
    )
    settings = read_config_file(str(file))
    assert settings["image_path"] == [str(tmp_path / "photos"), f"@{tmp_path / 'list.txt'}", "/abs"]
    assert settings["output_dir"] == str(tmp_path.parent / "out")
    assert settings["mean"] == "0.5,0.5,0.5"
    assert settings["input_size"] == "64x96"
    assert RunConfig(**settings).device == "cuda:0"
    assert RunConfig(**settings).batch_size == "8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methud = ['gradcam']", "unknown key 'methud'.*method"),
        ("imgsz = 64", "unknown key 'imgsz'. Did you mean input-size?"),
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


def test_bands_are_counted_from_one() -> None:
    config = RunConfig(bands=[4, 3, 2], show_bands=5, window=(40, 400))  # type: ignore[arg-type]
    assert (config.parsed.bands, config.parsed.show_bands, config.parsed.window) == ((4, 3, 2), (5,), (40.0, 400.0))
    assert RunConfig(bands="repeat").parsed.bands == "repeat"
    assert RunConfig().parsed.bands is None
