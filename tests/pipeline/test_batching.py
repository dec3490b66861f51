"""Images through the model, a batch ahead of what is done with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from camcli.concurrency import Clock
from camcli.config.settings import RunConfig
from camcli.errors import CamError, ImageError
from camcli.images import Sender
from camcli.pipeline.assembly import ExplainedImage
from camcli.pipeline.batching import BatchExplainer, settings_of_this_thread
from camcli.pipeline.items import Explanation, Failed, Loaded
from camcli.pipeline.loader import make_loader
from camcli.pipeline.setup import Setup, prepare
from camcli.pipeline.stream import STAGES
from tests.out_of_memory import FORMS

HANG = 120  # seconds after which a thread that waits gives up, so that a fault ends in a failure


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    """Seven images and a tiny model, in batches of two."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(7):
        pixels = np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    config = RunConfig(
        image_path=(str(folder),), output_dir=str(tmp_path / "out"), model="factory:tests.tiny:build", device="cpu",
        layer=("features",), input_size="64", batch_size="2",
    )  # fmt: skip
    found = prepare(config)
    with found.model.prepared():
        yield found


@pytest.fixture
def explainer(setup: Setup) -> BatchExplainer:
    return BatchExplainer(setup, Clock(STAGES))


@pytest.fixture
def images(setup: Setup) -> list[Loaded | Failed]:
    load = make_loader(setup, Clock(STAGES))
    loaded = [load(entry) for entry in setup.sources]
    loaded[3] = Failed(loaded[3].entry, ImageError("corrupt", "not an image"))
    return loaded


def never() -> bool:
    return False


@contextmanager
def watched(setup: Setup, seen: Any) -> Iterator[None]:
    """Something is called before each pass through the model."""
    hook = setup.model.module.register_forward_pre_hook(lambda module, inputs: seen(*inputs))
    try:
        yield
    finally:
        hook.remove()


def test_ahead_gives_what_one_after_the_other_gives(explainer: BatchExplainer, images: list[Loaded | Failed]) -> None:
    plain, ahead = list(explainer.stream(images)), list(explainer.stream_ahead(iter(images), never))
    assert len(plain) == len(ahead) == 7
    for one, other in zip(plain, ahead, strict=True):
        if isinstance(one, Failed):
            assert other is one
            continue
        assert isinstance(other, Explanation)
        assert one.loaded is other.loaded
        assert np.array_equal(one.logits, other.logits)
        assert np.array_equal(one.maps[0].raw, other.maps[0].raw)


def test_the_next_batch_is_explained_while_the_last_is_looked_at(
    setup: Setup, explainer: BatchExplainer, images: list[Loaded | Failed]
) -> None:
    passes, second = [], threading.Event()

    def seen(inputs: torch.Tensor) -> None:
        passes.append(threading.get_ident())
        if len(passes) == 2:
            second.set()

    with watched(setup, seen):
        stream = explainer.stream_ahead(iter(images), never)
        next(stream)
        assert second.wait(HANG)  # nobody asks for the second batch
        stream.close()
    assert set(passes) == {passes[0]} != {threading.get_ident()}


def test_a_batch_is_finished_in_one_thread_while_the_model_has_the_next(
    setup: Setup, explainer: BatchExplainer, images: list[Loaded | Failed]
) -> None:
    second = threading.Event()
    passes, finished = [], []

    def seen(inputs: torch.Tensor) -> None:
        passes.append(threading.get_ident())
        if len(passes) == 2:
            second.set()

    def finish(batch: list[ExplainedImage | Failed]) -> list[Explanation | Failed]:
        finished.append(threading.get_ident())
        return (
            explainer.finish(batch) if second.wait(HANG) else []
        )  # the first batch waits until the second is in the model

    with watched(setup, seen):
        found = list(explainer.stream_ahead(iter(images), never, finish))
    assert [result is image or result.loaded is image for result, image in zip(found, images, strict=True)] == [
        True
    ] * 7
    assert set(finished) == {finished[0]}
    assert finished[0] not in {threading.get_ident(), *passes}


def test_batches_that_were_not_begun_are_dropped_when_the_reader_leaves(
    setup: Setup, explainer: BatchExplainer, images: list[Loaded | Failed], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, second, left = [], threading.Event(), threading.Event()

    def seen(inputs: torch.Tensor) -> None:
        passes.append(1)
        if len(passes) == 2:
            second.set()
            left.wait(HANG)

    true_shutdown = ThreadPoolExecutor.shutdown

    def shutdown(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """The second pass ends when all has been cancelled that will be, and not before."""
        true_shutdown(pool, wait=False, cancel_futures=cancel_futures)
        left.set()
        true_shutdown(pool, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown)
    with watched(setup, seen):
        stream = explainer.stream_ahead(iter(images), never)
        next(stream)
        assert second.wait(HANG)  # the third batch waits for it
        stream.close()
    assert len(passes) == 2


def test_no_batch_is_begun_once_it_is_to_end(
    setup: Setup, explainer: BatchExplainer, images: list[Loaded | Failed]
) -> None:
    started, ended = threading.Event(), threading.Event()

    def wait(inputs: torch.Tensor) -> None:
        started.set()
        ended.wait(HANG)

    def end_before_the_last() -> Iterator[Loaded | Failed]:
        yield from images[:-1]
        assert started.wait(HANG)  # the first batch is in the model, the second waits for it
        ended.set()
        yield images[-1]

    with watched(setup, wait):
        found = list(explainer.stream_ahead(end_before_the_last(), ended.is_set))
    assert [result.loaded.entry.ordinal for result in found if isinstance(result, Explanation)] == [0, 1]


def test_the_models_thread_computes_with_as_many_threads_as_this_one(
    setup: Setup, explainer: BatchExplainer, images: list[Loaded | Failed]
) -> None:
    threads, settings = torch.get_num_threads(), []
    torch.set_num_threads(threads + 1)
    try:
        with watched(setup, lambda inputs: settings.append(torch.get_num_threads())):
            list(explainer.stream_ahead(iter(images[:2]), never))
    finally:
        torch.set_num_threads(threads)
    assert settings == [threads + 1]


def test_a_default_device_goes_along_to_the_models_thread() -> None:
    with torch.device("meta"):
        apply = settings_of_this_thread()
    with ThreadPoolExecutor(1, initializer=apply) as thread:
        assert thread.submit(lambda: torch.empty(1).device).result() == torch.device("meta")
    assert torch.empty(1).device == torch.device("cpu")


def test_an_error_that_ends_the_run_comes_out_here(
    setup: Setup, explainer: BatchExplainer, images: list[Loaded | Failed]
) -> None:
    def lost(inputs: torch.Tensor) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with watched(setup, lost), pytest.raises(CamError, match="the same command continues"):
        list(explainer.stream_ahead(iter(images), never))


class MadeUpStream:
    """Of a made-up CUDA device; what uses it is written down, and copies are made at once."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self.done = name, done

    def record_event(self) -> str:
        return f"{self.name}'s event"

    def wait_event(self, event: str) -> None:
        self.done.append(f"{self.name} waits for the {event}")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done on a made-up CUDA device."""
    done: list[str] = []
    current = [MadeUpStream("model", done)]
    empty, to = torch.empty, torch.Tensor.to

    @contextmanager
    def stream(other: MadeUpStream) -> Iterator[None]:
        current.append(other)
        yield
        current.pop()

    def pinned(*size: Any, pin_memory: bool = False, **more: Any) -> torch.Tensor:
        done.append("pinned" if pin_memory else "not pinned")
        return empty(*size, **more)

    def copied(tensor: torch.Tensor, *target: Any, non_blocking: bool = False, **more: Any) -> torch.Tensor:
        done.append(f"{current[-1].name} copies" + ("" if non_blocking else " and all wait"))
        return to(tensor, *target, **more)

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: MadeUpStream("sender", done))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current[-1])
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: done.append(f"kept for {stream.name}"))
    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.Tensor, "to", copied)
    return done


def test_a_batch_is_copied_beside_the_model_which_waits_for_it(done: list[str]) -> None:
    pixels = [np.full((4, 5, 3), i, np.uint8) for i in range(3)]
    sent = Sender(torch.device("cpu"))(pixels)
    assert done == ["pinned", "sender copies"]
    found = sent()
    assert done[2:] == ["model waits for the sender's event", "kept for model"]
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), np.stack(pixels))


@pytest.mark.parametrize("error", FORMS.values(), ids=FORMS)
def test_without_memory_to_pin_a_batch_is_copied_from_other_memory(
    error: Exception, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = torch.empty

    def none_pinned(*size: Any, pin_memory: bool = False, **more: Any) -> torch.Tensor:
        if pin_memory:
            raise error
        return empty(*size, **more)

    monkeypatch.setattr(torch, "empty", none_pinned)
    pixels = [np.full((4, 5, 3), i, np.uint8) for i in range(3)]
    assert np.array_equal(Sender(torch.device("cpu"))(pixels)().numpy(), np.stack(pixels))
    assert done[:2] == ["not pinned", "sender copies"]


def test_what_was_sent_ahead_is_what_is_explained(
    explainer: BatchExplainer, images: list[Loaded | Failed], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = list(explainer.stream(images))
    sent = []

    class StubSender:
        """A sender whose batches are there at once."""

        def __call__(self, pixels: list[np.ndarray]) -> Any:
            sent.append(len(pixels))
            return lambda: torch.from_numpy(np.stack(pixels))

    explainer._sender = StubSender()  # type: ignore[assignment]
    ahead = list(explainer.stream_ahead(iter(images), never))
    assert sent == [2, 2, 2]
    for one, other in zip(plain, ahead, strict=True):
        if isinstance(one, Explanation):
            assert isinstance(other, Explanation)
            assert np.array_equal(one.maps[0].raw, other.maps[0].raw)


@pytest.mark.parametrize("error", [FORMS[form] for form in ("allocator", "driver")])
def test_a_device_without_memory_for_the_next_batch_is_no_error_yet(
    error: Exception, explainer: BatchExplainer, images: list[Loaded | Failed]
) -> None:
    def full(pixels: list[np.ndarray]) -> Any:
        raise error

    explainer._sender = full  # type: ignore[assignment]
    assert sum(isinstance(result, Explanation) for result in explainer.stream_ahead(iter(images), never)) == 6


def test_a_halved_batch_does_not_use_what_was_sent_for_a_whole_one(
    explainer: BatchExplainer, images: list[Loaded | Failed]
) -> None:
    explainer.limit.size = 1
    explainer.setup = replace(explainer.setup, batch_size=2)
    explainer._sender = lambda pixels: pytest.fail("sent")  # type: ignore[assignment]
    assert sum(isinstance(result, Explanation) for result in explainer.stream_ahead(iter(images), never)) == 6
