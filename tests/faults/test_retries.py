"""A pass that ran out of memory has let go of its activations when the next one begins, on every way to a retry."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camcli
from camcli.api import explanation
from camcli.checks.recorded import read_run
from camcli.checks.reopened import ReopenedModel
from camcli.concurrency import Clock
from camcli.config.settings import RunConfig
from camcli.device import BatchLimit
from camcli.evaluation.entries import MapMaker, MethodEntry
from camcli.evaluation.scorer import ClassScorer
from camcli.explainer.access import Chunks
from camcli.layers import PassError
from camcli.layers.layout import parse_layout
from camcli.layers.measurements import measure_layers
from camcli.pipeline.batching import BatchExplainer
from camcli.pipeline.items import Explanation
from camcli.pipeline.loader import make_loader
from camcli.pipeline.setup import Setup, prepare
from camcli.pipeline.stream import STAGES
from tests.out_of_memory import FORMS

from .conftest import pictures

BATCH = 4


@dataclass
class Watch:
    """Counts the activations of earlier passes that are alive when a pass begins."""

    error: BaseException
    most: int = 1
    sizes: list[int] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    _activations: list[weakref.ref[Tensor]] = field(default_factory=list)

    @contextmanager
    def over(self, module: nn.Module) -> Iterator[None]:
        (*_, last) = (part for part in module.modules() if isinstance(part, nn.Conv2d))
        with ExitStack() as stack:
            stack.callback(module.register_forward_pre_hook(self._begin).remove)
            stack.callback(last.register_forward_pre_hook(self._inside).remove)
            gc.collect()
            gc.disable()  # what is let go of must not wait for the collector
            stack.callback(gc.enable)
            yield

    def _begin(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        if len(self.sizes) < 3:  # until the first pass that fits; after it, results are kept
            self.alive.append(sum(activation() is not None for activation in self._activations))
            self.sizes.append(len(inputs[0]))

    def _inside(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        self._activations.append(weakref.ref(inputs[0]))  # the frame of the Sequential around it holds this one
        if len(inputs[0]) > self.most:
            raise type(self.error)(*self.error.args)


@pytest.fixture(params=["allocator", "driver"])
def watch(request: pytest.FixtureRequest) -> Watch:
    return Watch(FORMS[request.param])


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    config = RunConfig(
        image_path=(str(pictures(tmp_path / "photos", BATCH)),), output_dir=str(tmp_path / "out"), save=("none",),
        model="factory:tests.tiny:build", input_size="64", batch_size=str(BATCH), method=("gradcam",),
    )  # fmt: skip
    decided = prepare(config)
    with decided.model.prepared():
        yield decided


def in_a_run(setup: Setup, watch: Watch, ahead: bool = False) -> None:
    load, explainer = make_loader(setup, Clock(STAGES)), BatchExplainer(setup, Clock(STAGES))
    images = [load(entry) for entry in setup.sources]
    with watch.over(setup.model.module):
        stream = explainer.stream_ahead(iter(images), lambda: False) if ahead else explainer.stream(iter(images))
        assert all(isinstance(result, Explanation) for result in stream)


def in_a_run_ahead(setup: Setup, watch: Watch) -> None:
    in_a_run(setup, watch, ahead=True)


def in_python(setup: Setup, watch: Watch) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (BATCH, 64, 64, 3), dtype=np.uint8))
    model, explain_batch = setup.model, explanation.explain_batch
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:

        def first(*arguments: Any) -> Any:  # behind the checks
            if not watch.sizes:
                stack.enter_context(watch.over(model.module))
            return explain_batch(*arguments)

        patch.setattr(explanation, "explain_batch", first)
        camcli.explain(model, images, batch_size=BATCH)


def in_an_evaluation(setup: Setup, watch: Watch) -> None:
    maker, entry = MapMaker(setup), MethodEntry("gradcam", setup.layers[0].path, False, "gradcam")
    maker._explainer(entry)
    with watch.over(setup.model.module):
        maker.maps_of(entry, torch.randn(BATCH, 3, 64, 64), torch.zeros(BATCH, dtype=torch.int64), [0] * BATCH)


def in_its_scores(setup: Setup, watch: Watch) -> None:
    with watch.over(setup.model.module):
        ClassScorer(setup.model)(torch.randn(BATCH, 3, 64, 64), torch.zeros(BATCH, dtype=torch.int64))


def in_a_check(setup: Setup, watch: Watch) -> None:
    summary = camcli.run(setup.config)
    run = read_run(summary.run_dir)
    with ReopenedModel(run, run.keys[0]) as reopened:
        pixels = [np.zeros((64, 64, 3), np.uint8)] * BATCH
        reopened._own  # noqa: B018 - its passes come first
        with watch.over(reopened.setup.model.module):
            reopened.maps(pixels, [0] * BATCH, [0] * BATCH)


def in_trials(setup: Setup, watch: Watch) -> None:
    chunks, module = Chunks(1 << 30, BatchLimit(BATCH)), setup.model.module
    with watch.over(module), torch.no_grad():
        chunks.run(BATCH, 1, lambda part: module(torch.randn(part.stop - part.start, 3, 64, 64)), lambda *_: None)


WAYS: list[Callable[[Setup, Watch], None]] = [
    in_a_run, in_a_run_ahead, in_python, in_an_evaluation, in_its_scores, in_a_check, in_trials
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_of_a_failed_pass_is_alive(way: Callable[[Setup, Watch], None], setup: Setup, watch: Watch) -> None:
    way(setup, watch)
    assert watch.sizes == [4, 2, 1]
    assert watch.alive == [0, 0, 0]


def test_a_retry_inside_the_handler_is_noticed(setup: Setup, watch: Watch) -> None:
    """What the tests here look for."""

    def run(count: int) -> None:
        try:
            setup.model.module(torch.randn(count, 3, 64, 64))
        except RuntimeError:
            run(count // 2)

    with watch.over(setup.model.module):
        run(BATCH)
    assert watch.alive == [0, 1, 2]


def test_images_are_tried_alone_without_what_their_batch_left(setup: Setup) -> None:
    """In the layer verification: a batch fails for a reason of its own, and each image is run by itself."""
    watch = Watch(ValueError("one at a time"))
    with watch.over(setup.model.module), measure_layers(setup.model, parse_layout("auto")) as measurements:
        watch.sizes.clear(), watch.alive.clear()
        del measurements.record.score
        before = sum(activation() is not None for activation in watch._activations)
        with pytest.raises(PassError, match="takes one image, but fails on 3 at once") as raised:
            measurements.feed(torch.randn(3, 3, 64, 64))
        assert watch.sizes == [3, 1, 1]
        assert watch.alive == [before] * 3
        (*_, last) = watch._activations
        assert last() is None
    assert isinstance(raised.value.__cause__, ValueError)
