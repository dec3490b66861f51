"""Memory that runs out in any pass is met in the same way, whatever the form of the error, and called by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import camcli
from camcli import bench
from camcli.config.settings import RunConfig
from camcli.errors import DeviceError, ImageError
from camcli.evaluation import mosaics
from camcli.explainer import Explainer
from camcli.images.custom import CustomTransform
from camcli.models import fit, load, timm_source, torchvision_source
from camcli.models.checkpoint_file import read_checkpoint
from camcli.pipeline.at_speed import at_speed
from camcli.pipeline.isolation import run_guarded
from camcli.pipeline.setup import prepare
from camcli.pipeline.target_layers import choose_layers
from camcli.speed import compilation
from tests.conftest import photographs
from tests.out_of_memory import FORMS

forms = pytest.mark.parametrize("error", FORMS.values(), ids=FORMS)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
METHODS = ("gradcam", "scorecam", "shapleycam", "fullgrad")


@dataclass
class Memory:
    """Runs out once, in a certain pass, forward or backward."""

    error: BaseException
    fatal: int = -1
    passes: int = 0

    def take(self) -> None:
        self.passes += 1
        if self.passes - 1 == self.fatal:
            raise self.error


class Taking(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, memory: Memory) -> Tensor:
        context.memory = memory
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        context.memory.take()
        return gradient.clone(), None


class Net(nn.Module):
    def __init__(self, memory: Memory) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.memory = memory
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.SiLU())
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.SiLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), nn.SiLU(), nn.Linear(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.memory.take()
        return self.head(Taking.apply(self.body(self.stem(x)), self.memory))


def explain(memory: Memory, **settings: Any) -> list[Any]:
    return camcli.explain(
        Net(memory).eval(), list(IMAGES), input_size=32, option=["scorecam.max_channels=2"], batch_size=2, **settings
    )


@pytest.mark.parametrize("form", ["allocator", "driver", "cudnn"])
def test_every_pass_of_the_checks_and_of_the_explanation(form: str) -> None:
    """Before the first image it is reported as what it is; later, a smaller batch gives the same maps."""
    whole = explain(memory := Memory(FORMS[form]), method=METHODS)
    refused, passes = [], memory.passes
    for fatal in range(passes):
        try:
            results = explain(Memory(FORMS[form], fatal), method=METHODS)
        except DeviceError as error:
            refused.append((fatal, str(error)))
            continue
        for one, other in zip(whole, results, strict=True):
            for key, own in one.maps.items():
                assert np.abs(own.native - other.maps[key].native).max() <= 1e-4 * np.abs(own.native).max()
    assert [fatal for fatal, _ in refused] == list(range(len(refused)))  # the checks, and after them the images
    assert 5 < len(refused) < passes
    for _, message in refused:
        assert message.startswith("--device cpu: memory ran out with model Net, before any image is explained")
        assert "--input-size" in message
    assert DeviceError.exit_code == 2


@forms
def test_every_pass_of_the_tuning_and_of_compiling(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "0.png")
    config = RunConfig(image_path=(str(tmp_path),), model="factory:tests.tiny:build", input_size="32", batch_size="2")
    setup = prepare(config)
    memory = Memory(error)
    with setup.model.module.register_forward_pre_hook(lambda *_: memory.take()), setup.model.prepared():
        with at_speed(setup):
            passes = memory.passes
        for fatal in range(passes):
            memory.passes, memory.fatal = 0, fatal
            with pytest.raises(DeviceError, match="memory ran out"), at_speed(setup):
                pass
        assert passes >= 2
        memory.fatal = -1

        def compile_nothing(*_: object) -> None:
            raise error

        monkeypatch.setattr(compilation, "export_prefix", compile_nothing)
        with at_speed(replace(setup, config=replace(config, compile=True))) as faster:
            assert not faster.tuning.compiled
            assert "memory ran out on compiling what comes before" in faster.tuning.notes[-1]
            assert "the run goes on without" in faster.tuning.notes[-1]
        memory.passes, memory.fatal = 0, passes + 2  # in the trials of the tail
        with at_speed(replace(setup, config=replace(config, compile=True))) as faster:
            assert "memory ran out on compiling" in faster.tuning.notes[-1]


@forms
def test_a_single_image_of_a_failed_batch(error: BaseException) -> None:
    """The batch fails, and the images by themselves run out of memory: that is no fault of the batch."""

    class Batchless(Net):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 1:
                self.memory.fatal = self.memory.passes
                raise ValueError("one at a time, please")
            return super().forward(x)

    module = Batchless(Memory(error)).eval()
    model = camcli.load_model(module, input_size=(32, 32))
    config = RunConfig(image_path=("x",), batch_size="1")
    with model.prepared(), pytest.raises(type(error)) as raised:
        choose_layers(config, model)
    assert raised.value is error


@forms
def test_work_on_one_image_in_a_worker(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(ImageError) as raised:
        run_guarded(work, "reading")
    assert (raised.value.kind, str(raised.value)) == ("out-of-memory", "reading this image does not fit into memory")


@forms
def test_the_users_own_preprocessing(error: BaseException) -> None:
    def full(image: Any) -> Any:
        raise error

    transform = CustomTransform(full)
    attempts: list[Callable[[], object]] = [
        lambda: transform.is_random,
        transform.output_shape,
        lambda: transform.prepare(Image.fromarray(IMAGES[0]), (3, 32, 32)),
        lambda: transform._prepare_bands(IMAGES[0], ("array",), (3, 32, 32)),
        lambda: transform._find_view((32, 32), "picture", 3, None),
    ]
    for attempt in attempts:
        with pytest.raises(type(error)) as raised:
            attempt()
        assert raised.value is error


@forms
def test_weights_that_are_loaded(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt")
    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(type(error)):
        read_checkpoint(tmp_path / "weights.pt", trust=False)
    entry = SimpleNamespace(url="https://example.org/weights.pth")
    monkeypatch.setattr("torchvision.models.get_model", full)
    monkeypatch.setattr(torchvision_source, "unreachable_reason", lambda url: None)
    with pytest.raises(type(error)):
        torchvision_source._pretrained("resnet18", entry, None)
    monkeypatch.setattr(timm_source, "_create", full)
    with pytest.raises(type(error)):
        timm_source._pretrained("resnet18", "resnet18", "timm", {"url": "https://example.org"}, None)
    module = Net(Memory(error))
    monkeypatch.setattr(f"{__name__}.checkpoint_filter_fn", full, raising=False)
    with pytest.raises(type(error)):
        fit._translate({}, module)


@forms
def test_a_model_that_does_not_fit_onto_its_device(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(load, "_load", full)
    with pytest.raises(DeviceError, match=r"--device cpu: memory ran out with model factory:tests.tiny:build"):
        camcli.load_model("factory:tests.tiny:build", input_size=(32, 32))


@forms
def test_mosaics_of_whole_images(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(image_path=(str(photographs()[0]),), model="factory:tests.tiny:build", input_size="32")
    setup = prepare(config)

    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Explainer, "__call__", full)
    with setup.model.prepared():
        explainer, size, reason = mosaics._explainer(setup, 2)
    assert explainer is setup.explainer
    assert (size, reason) == ((32, 32), "memory ran out on a mosaic of whole images")


@forms
def test_a_measured_setting(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(bench, "measure_forward_rate", full)
    measured = bench._measure_pass(None, lambda line: None, 1.0, "plain", "fp32", 4)  # type: ignore[arg-type]
    assert measured.images_per_second is None
    assert measured.reason == (str(error).splitlines() or ["MemoryError"])[0]
