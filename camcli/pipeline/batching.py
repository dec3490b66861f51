"""The part of the stream that runs the model: images become batches, batches become explanations.

One fixed batch shape per run, as far as memory allows: a short batch is padded (:class:`camcli.device.BatchLimit`).
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import torch

from camcli.concurrency import Clock, in_order
from camcli.device import BatchLimit, pad
from camcli.errors import CamError, ImageError, device_lost, is_device_lost, is_out_of_memory
from camcli.explainer import ExplainedBatch
from camcli.images import Sender, Sent, to_input
from camcli.pipeline.assembly import BatchResults, ExplainedImage, assemble, record_event
from camcli.pipeline.items import Explanation, Failed, Loaded, seed_of
from camcli.pipeline.setup import Setup
from camcli.pipeline.targets import NO_TARGET, choose_targets
from camcli.user_code import describe_failure

Image = TypeVar("Image")  # loaded, explained or failed
Finish = Callable[[list[ExplainedImage | Failed]], list[Explanation | Failed]]
"""Waits for the results of a batch, and assembles them."""

_MOST_FAILED = 1024
"""Failed images that an incomplete batch may hold before it is explained as it is."""


@dataclass(frozen=True)
class Group:
    """Images that go through the model together.

    Attributes:
        images: good ones, at most as many as a batch holds, and the failed ones between them.
        sent: the pixels of the good ones, padded to a batch, where they are being copied to the device already.
    """

    images: list[Loaded | Failed]
    sent: Sent | None = None


class BatchExplainer:
    """Explains a stream of images in order.

    Attributes:
        setup: what was decided.
        clock: measures the seconds in the model.
        limit: images that go through the model at once.
    """

    def __init__(self, setup: Setup, clock: Clock) -> None:
        self.setup, self.clock = setup, clock
        self.limit = BatchLimit(setup.batch_size)
        self._sender: Sender | None = None

    def stream(
        self, images: Iterable[Loaded | Failed], is_ending: Callable[[], bool] = lambda: False
    ) -> Generator[Explanation | Failed, None, None]:
        """Explanations in the order of the images; what failed before passes through in its place.

        Args:
            images: what is to be explained.
            is_ending: called before each batch; once it is true, no batch is started, and its images are left out.
        """
        for group in in_batches(images, self.setup.batch_size):
            if is_ending():
                return
            yield from self.finish(self._explain_group(Group(group)))

    def finish(self, results: list[ExplainedImage | Failed]) -> list[Explanation | Failed]:
        """The explanations of a batch, once its results are on the host."""
        for copy in {id(one.results): one.results for one in results if isinstance(one, ExplainedImage)}.values():
            copy.wait()
            self.clock.add("model", copy.seconds)
        return [assemble(self.setup, one) if isinstance(one, ExplainedImage) else one for one in results]

    def stream_ahead(
        self, images: Iterable[Loaded | Failed], is_ending: Callable[[], bool], finish: Finish | None = None
    ) -> Generator[Explanation | Failed, None, None]:
        """The same for an accelerator, the model in a thread of its own, two batches ahead of the reader.

        So the device does not wait until the last batch is drawn and written down, which takes as long as a pass. The
        reader must not use the model meanwhile.

        Args:
            images: what is to be explained.
            is_ending: as above.
            finish: instead of :meth:`finish`; called with every batch in another thread, while the model computes the
                next one.
        """

        def finished(batch: Future[list[ExplainedImage | Failed]]) -> list[Explanation | Failed]:
            results = batch.result()
            try:
                return (finish or self.finish)(results)
            except CamError:
                raise
            except Exception as error:  # what fails on a device is reported when it is waited for
                if is_device_lost(error):
                    raise device_lost(self.setup.device, error) from error
                raise

        def explain(group: Group) -> list[ExplainedImage | Failed]:
            return [] if is_ending() else self._explain_group(group)

        def submit(batch: list[Loaded | Failed]) -> Future[list[ExplainedImage | Failed]]:
            return model.submit(explain, self._send(batch))

        if self.setup.device.type == "cuda":
            self._sender = Sender(self.setup.device)
        settings = settings_of_this_thread()
        with ThreadPoolExecutor(1, "model", settings) as model, ThreadPoolExecutor(1, "finish", settings) as after:
            passes = map(submit, in_batches(images, self.setup.batch_size))
            try:
                with closing(in_order(after, finished, passes, window=3)) as batches:
                    for batch in batches:
                        yield from batch
            finally:
                model.shutdown(cancel_futures=True)

    def _send(self, images: list[Loaded | Failed]) -> Group:
        """Start to copy a batch to the accelerator, while that computes the one before."""
        good = [image for image in images if isinstance(image, Loaded)]
        if self._sender is None or not good or self.limit.size < self.setup.batch_size:
            return Group(images)
        if len({image.pixels.dtype for image in good}) > 1:  # 8-bit images among others
            return Group(images)
        try:
            return Group(images, self._sender([image.pixels for image in pad(good, self.setup.batch_size)]))
        except RuntimeError:  # no memory, or the device is lost: the pass fails in the same way, and handles it
            return Group(images)

    def _explain_group(self, group: Group) -> list[ExplainedImage | Failed]:
        good = [image for image in group.images if isinstance(image, Loaded)]
        explanations = iter(self._explain(good, group.sent) if good else [])
        return [next(explanations) if isinstance(image, Loaded) else image for image in group.images]

    def _explain(self, batch: list[Loaded], sent: Sent | None = None) -> list[ExplainedImage | Failed]:
        def explain(padded: list[Loaded], count: int) -> list[ExplainedImage | Failed]:
            images = padded[:count]
            result = self._try(padded, count, sent if len(padded) == self.setup.batch_size else None)
            if not isinstance(result, ImageError):
                return [ExplainedImage(image, result, i) for i, image in enumerate(images)]
            if count > 1:  # one of them is the cause: each alone, so that the others are explained
                return [alone for image in images for alone in self._explain([image])]
            return [Failed(images[0].entry, result, images[0].metadata)]

        return [result for part in self.limit.run_padded(batch, explain) for result in part]

    def _try(self, batch: list[Loaded], count: int, sent: Sent | None) -> BatchResults | ImageError:
        """Explain a batch; or why that failed, where a smaller batch would not help."""
        device = self.setup.device
        try:
            if device.type == "cuda":  # where this thread only starts the passes
                started = record_event(device)
                explained = explain_batch(self.setup, batch, count, sent)
                return BatchResults.of(explained, len(batch), self.setup.explainer.caveats, started)
            with self.clock("model"):
                explained = explain_batch(self.setup, batch, count, sent)
                return BatchResults.of(explained, len(batch), self.setup.explainer.caveats)
        except CamError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                if len(batch) > 1:
                    if self.setup.recorded is not None:  # no batch of its size comes any more
                        self.setup.recorded.release()
                    raise
                return ImageError("out-of-memory", f"one image does not fit into memory of {device}")
            if is_device_lost(error):
                raise device_lost(device, error) from error
            return ImageError("internal", f"the model failed on it ({describe_failure(error)})")


def explain_batch(setup: Setup, batch: Sequence[Loaded], count: int, sent: Sent | None = None) -> ExplainedBatch:
    """One batch through the model.

    Args:
        setup: what was decided.
        batch: the images, padded.
        count: so many of them count.
        sent: their pixels, where they are being copied to the device already.
    """
    pixels = sent() if sent else [image.pixels for image in batch]
    inputs = setup.tuning.arrange(to_input(pixels, setup.model.preprocessing, setup.device))
    labels, own = [image.label for image in batch], [image.own_target for image in batch]

    def choose(logits: torch.Tensor) -> torch.Tensor:
        return choose_targets(logits, setup.targets, labels, own)

    if setup.recorded is not None and (explained := setup.recorded.explain(inputs, own)) is not None:
        return explained
    seeds = [seed_of(image.metadata.sha256, setup.config.seed) for image in batch]
    classes = torch.tensor([NO_TARGET if label is None else label for label in labels])
    return setup.explainer(inputs, choose, seeds, classes, real=count)


def settings_of_this_thread() -> Callable[[], None]:
    """A function that gives another thread the settings of this one that torch keeps for each thread."""
    count, device = torch.get_num_threads(), torch.get_default_device()
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    current = torch.cuda.current_device() if in_use else None  # asking would start CUDA

    def apply() -> None:
        if current is not None:
            torch.cuda.set_device(current)
        torch.set_num_threads(count)
        if device.type != "cpu":
            torch.set_default_device(device)

    return apply


def in_batches(images: Iterable[Image], size: int) -> Iterator[list[Image]]:
    """Groups that hold ``size`` good images each (the last one fewer), and the failed ones between them."""
    group: list[Image] = []
    good = 0
    for image in images:
        group.append(image)
        good += not isinstance(image, Failed)
        if good == size or not good or len(group) >= size + _MOST_FAILED:
            yield group
            group, good = [], 0
    if group:
        yield group
