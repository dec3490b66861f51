"""The part of the stream that meets the model: images become batches, batches become explanations.

One fixed batch shape per run, as far as memory allows: a short batch is padded (:class:`camcli.device.BatchLimit`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from camcli.concurrency import Clock, in_order
from camcli.device import BatchLimit
from camcli.errors import CamError, ImageError, is_out_of_memory
from camcli.explainer import Explained, MapKey
from camcli.images import Sender, Sent, to_input
from camcli.pipeline.isolation import described, device_lost, is_device_lost
from camcli.pipeline.items import ChosenClass, ClassMap, Explanation, Failed, Loaded, seed_of
from camcli.pipeline.setup import Setup
from camcli.pipeline.targets import NO_SLOT, choose_targets, slots_of

Image = TypeVar("Image")  # loaded, explained or failed
Then = Callable[[list[Explanation | Failed]], list[Explanation | Failed]]

_MOST_WAITING = 1024
"""Failed images that may wait behind an unfilled batch before it is explained as it is."""


@dataclass(frozen=True)
class Group:
    """What goes through the model together.

    Attributes:
        images: good ones, at most as many as a batch holds, and failed ones in their places.
        sent: the pixels of the good ones, padded to a batch, where they are on their way to the device already.
    """

    images: list[Loaded | Failed]
    sent: Sent | None = None


@dataclass
class Explaining:
    """Explains a stream of images in order.

    Attributes:
        setup: what was decided.
        clock: counts the seconds in the model.
        limit: images that go through the model at once.
    """

    setup: Setup
    clock: Clock
    limit: BatchLimit = field(init=False)
    _sender: Sender | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.limit = BatchLimit(self.setup.batch_size)

    def stream(
        self, images: Iterable[Loaded | Failed], ending: Callable[[], bool] = lambda: False
    ) -> Generator[Explanation | Failed, None, None]:
        """Explanations in the order of the images; what failed before passes through in its place.

        Args:
            images: what is to be explained.
            ending: asked before a batch is begun; once it says yes, no other is, and its images are left out.
        """
        for group in in_batches(images, self.setup.batch_size):
            if ending():
                return
            yield from self._explained(Group(group))

    def stream_ahead(
        self, images: Iterable[Loaded | Failed], ending: Callable[[], bool], then: Then = list
    ) -> Generator[Explanation | Failed, None, None]:
        """The same for an accelerator, the model in a thread of its own, two batches ahead of the reader.

        So the device does not wait until the last batch is drawn and written down, which takes as long as a pass. The
        reader must not use the model meanwhile.

        Args:
            images: what is to be explained.
            ending: as above.
            then: done with every batch in another thread, while the model has the next one.
        """

        def explained(group: Group) -> list[Explanation | Failed]:
            return [] if ending() else self._explained(group)

        def begun(batch: list[Loaded | Failed]) -> Future[list[Explanation | Failed]]:
            return model.submit(explained, self._sent(batch))

        if self.setup.device.type == "cuda":
            self._sender = Sender(self.setup.device)
        settings = settings_of_this_thread()
        with ThreadPoolExecutor(1, "model", settings) as model, ThreadPoolExecutor(1, "then", settings) as after:
            passes = map(begun, in_batches(images, self.setup.batch_size))
            try:
                with closing(in_order(after, lambda batch: then(batch.result()), passes, window=3)) as batches:
                    for batch in batches:
                        yield from batch
            finally:
                model.shutdown(cancel_futures=True)

    def _sent(self, images: list[Loaded | Failed]) -> Group:
        """Begin to copy a batch to the accelerator, while that is busy with the one before."""
        good = [image for image in images if isinstance(image, Loaded)]
        if self._sender is None or not good or self.limit.size < self.setup.batch_size:
            return Group(images)
        padded = good + good[-1:] * (self.setup.batch_size - len(good))
        try:
            return Group(images, self._sender([image.pixels for image in padded]))
        except RuntimeError:  # no memory, or the device is lost: the pass will meet the same, where it is dealt with
            return Group(images)

    def _explained(self, group: Group) -> list[Explanation | Failed]:
        good = [image for image in group.images if isinstance(image, Loaded)]
        explanations = iter(self._explain(good, group.sent) if good else [])
        return [next(explanations) if isinstance(image, Loaded) else image for image in group.images]

    def _explain(self, batch: list[Loaded], sent: Sent | None = None) -> list[Explanation | Failed]:
        def explained(padded: list[Loaded], count: int) -> list[Explanation | Failed]:
            images = padded[:count]
            result = self._try(padded, count, sent if len(padded) == self.setup.batch_size else None)
            if not isinstance(result, ImageError):
                return [self._explanation(image, result, i) for i, image in enumerate(images)]
            if count > 1:  # one of them is at fault: each alone, and the others as if it were not there
                return [alone for image in images for alone in self._explain([image])]
            return [Failed(images[0].entry, result, images[0].facts)]

        return [result for part in self.limit.run_padded(batch, explained) for result in part]

    def _try(self, batch: list[Loaded], count: int, sent: Sent | None) -> Explained | ImageError:
        """Explain a batch; or why that failed, where a smaller batch would not help."""
        device = self.setup.device
        try:
            with self.clock("model"):
                return explain_batch(self.setup, batch, count, sent)
        except CamError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                if len(batch) > 1:
                    raise
                return ImageError("out-of-memory", f"one image does not fit into memory of {device}")
            if is_device_lost(error):
                raise device_lost(device, error) from error
            return ImageError("internal", f"the model failed on it ({described(error)})")

    def _explanation(self, image: Loaded, explained: Explained, i: int) -> Explanation | Failed:
        targets = explained.targets[i].tolist()
        if all(target == NO_SLOT for target in targets) and not self.setup.classless:
            return Failed(image.entry, ImageError("target", _NO_LABEL), image.facts)
        maps = tuple(self._maps(image, explained, i))
        notes = []
        if NO_SLOT in targets and image.own_target is None and not self.setup.classless:
            notes.append("its label is not known; it has no map for it")
        if self.limit.size < self.setup.batch_size:
            notes.append(f"explained in a batch of {self.limit.size} after running out of memory")
        logits, probabilities = explained.logits[i].numpy(), explained.probabilities[i].numpy()
        return Explanation(image, logits, probabilities, maps, tuple(notes))

    def _maps(self, image: Loaded, explained: Explained, i: int) -> Iterator[ClassMap]:
        """The image's maps: by method as asked for, then by layer, then by target."""
        setup, slots = self.setup, slots_of(self.setup.slots, image.own_target)
        methods = {method: place for place, method in enumerate(setup.config.method)}
        layers = {layer.path: place for place, layer in enumerate(setup.layers)}

        def place(key: MapKey) -> tuple[int, int, int]:
            return methods[key.method], layers.get(key.layer, 0) if isinstance(key.layer, str) else 0, key.slot

        for key in sorted(explained.maps, key=place):
            target = int(explained.targets[i, key.slot])
            if target == NO_SLOT and not setup.classless:
                continue
            chosen = ChosenClass(target, slots[key.slot].chosen_by) if not setup.classless else None
            slot_key = setup.slots[key.slot].key
            yield ClassMap(key.method, key.layer, slot_key, chosen, explained.maps[key][i].numpy())


def explain_batch(setup: Setup, batch: Sequence[Loaded], count: int, sent: Sent | None = None) -> Explained:
    """One batch through the model.

    Args:
        setup: what was decided.
        batch: the images, padded.
        count: so many of them count.
        sent: their pixels, where they are on their way to the device already.
    """
    pixels = sent() if sent else np.stack([image.pixels for image in batch])
    inputs = setup.tuning.arranged(to_input(pixels, setup.model.preprocessing, setup.device))
    labels, own = [image.label for image in batch], [image.own_target for image in batch]

    def choose(logits: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(choose_targets(logits.numpy(), setup.slots, labels, own))

    seeds = [seed_of(image.facts.sha256, setup.config.seed) for image in batch]
    known = torch.tensor([NO_SLOT if label is None else label for label in labels])
    return setup.explainer(inputs, choose, seeds, known, real=count)


def settings_of_this_thread() -> Callable[[], None]:
    """What makes another thread compute as this one does, where torch keeps a setting for each thread."""
    count, device = torch.get_num_threads(), torch.get_default_device()

    def take_over() -> None:
        torch.set_num_threads(count)
        if device.type != "cpu":
            torch.set_default_device(device)

    return take_over


_NO_LABEL = (
    "--target label, and its label is not known: name its folder after a class, or give a manifest with a label column"
)


def in_batches(images: Iterable[Image], size: int) -> Iterator[list[Image]]:
    """Groups that hold ``size`` good images each (the last one fewer); failed ones ride along in their place."""
    group: list[Image] = []
    good = 0
    for image in images:
        group.append(image)
        good += not isinstance(image, Failed)
        if good == size or not good or len(group) >= size + _MOST_WAITING:
            yield group
            group, good = [], 0
    if group:
        yield group
