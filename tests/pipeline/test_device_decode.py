"""Runs with --device-decode: what the device decodes, what they record, and where they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from camcli.checks.recorded import read_run
from camcli.checks.reopened import ReopenedModel
from camcli.config.settings import RunConfig
from camcli.errors import CamError, ConfigError
from camcli.images import DecodeSettings, Sources
from camcli.pipeline import crash_guard
from camcli.pipeline.header import make_header
from camcli.pipeline.setup import decode_settings, prepare
from tests.conftest import Cam
from tests.gpu.runs import explain
from tests.nvjpeg import NvJpeg, nvjpeg

SMALL: dict[str, Any] = {"model": "factory:tests.tiny:build", "input_size": "64", "precision": "fp32"}


@pytest.fixture
def photos(samples: Path, tmp_path: Path) -> list[Path]:
    """Two JPEGs and a damaged one."""
    paths = sorted(samples.rglob("*.jpg"))[:2]
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(paths[0].read_bytes()[:5000])
    return [*paths, cut]


def test_a_run_gives_the_device_its_jpegs(photos: list[Path], tmp_path: Path) -> None:
    settings: dict[str, Any] = {"save": ["none"], "batch_size": "2", **SMALL}
    with nvjpeg(NvJpeg()) as decoder:
        plain = explain(photos, tmp_path / "plain", **settings)
        assert decoder.calls == []
        there = explain(photos, tmp_path / "there", device_decode=True, **settings)
    assert sorted(content for _, content in decoder.calls) == sorted(path.read_bytes() for path in photos[:2])
    assert not any(thread == "MainThread" for thread, _ in decoder.calls)
    assert there.items == plain.items
    assert [item["status"] for item in there.items] == ["ok", "ok", "failed"]


def test_a_lost_device_ends_the_run(photos: list[Path], tmp_path: Path) -> None:
    lost = RuntimeError("CUDA error: unspecified launch failure")
    with nvjpeg(NvJpeg(lost)), pytest.raises(CamError, match="cuda:0 failed"):
        explain(photos, tmp_path / "out", save=["none"], device_decode=True, **SMALL)


def test_the_fingerprint_of_the_maps_holds_it_where_it_is_on(samples: Path) -> None:
    def fingerprints(**settings: Any) -> tuple[str, str]:
        config = RunConfig(image_path=(str(samples),), device="cuda", **SMALL, **settings)
        header = make_header(prepare(config), ())
        return header["fingerprint"], header["render_fingerprint"]

    with nvjpeg(NvJpeg()):
        (maps, pictures), on = fingerprints(), fingerprints(device_decode=True)
    assert on[0] != maps
    assert on[1] == pictures


def test_without_cuda_nothing_is_explained(tiny: Cam, samples: Path, tmp_path: Path) -> None:
    result = tiny(samples, "--device-decode", "--device", "cpu", "--output-dir", tmp_path / "out")
    assert result.code == 2
    assert "--device-decode: nvJPEG decodes on a CUDA device, and this run is on cpu. Leave the flag out" in result.err
    assert not (tmp_path / "out").exists()


def test_two_ways_to_decode_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--fast-decode and --device-decode cannot be combined.*Leave one out"):
        RunConfig(fast_decode=True, device_decode=True)


def test_the_process_that_is_risked_starts_no_cuda(monkeypatch: pytest.MonkeyPatch, samples: Path) -> None:
    sent: list[DecodeSettings] = []

    class Child(crash_guard._Child):
        def __init__(self, settings: DecodeSettings) -> None:
            sent.append(settings)
            super().__init__(settings)

    monkeypatch.setattr(crash_guard, "_Child", Child)
    settings = DecodeSettings(allow_truncated=True, device="cuda:0")
    quarantine = crash_guard.CrashQuarantine(settings, 1, lambda: False)
    entry = next(iter(Sources([str(samples)])))
    assert next(quarantine.test_entries([entry])) == entry
    assert sent == [DecodeSettings(allow_truncated=True)]


def test_checks_decode_again_where_the_device_is(photos: list[Path], tmp_path: Path) -> None:
    with nvjpeg(NvJpeg()):
        explain(photos[:2], tmp_path / "out", save=["none"], device_decode=True, **SMALL)
        run = read_run(tmp_path / "out")
        with ReopenedModel(run, run.keys[0]) as reopened:
            setup = reopened.setup
            assert decode_settings(setup.config, setup.model.preprocessing, setup.device).device == "cuda:0"
        with ReopenedModel(run, run.keys[0], "cpu") as reopened:
            assert not reopened.setup.config.device_decode
    with ReopenedModel(run, run.keys[0]) as reopened:  # the device is gone
        assert not reopened.setup.config.device_decode
