"""The part of the stream that meets the model: images become batches, batches become explanations.

One fixed batch shape per run: a short batch is padded by repeating its last image, since another batch size changes
the last bits of a result while other neighbours in a batch of the same size do not.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch

from camcli.concurrency import Clock, in_order
from camcli.errors import CamError, ImageError
from camcli.explainer import ExplainedBatch, MapKey
from camcli.images import Sender, Sent, to_input
from camcli.pipeline.isolation import described, device_lost, is_device_lost, is_out_of_memory
from camcli.pipeline.items import ChosenClass, ClassMap, Explanation, Failed, Loaded, seed_of
from camcli.pipeline.setup import Setup
from camcli.pipeline.targets import NO_SLOT, choose_targets, slots_of

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
        size: images that go through the model at once; halved when the device runs out of memory.
    """

    setup: Setup
    clock: Clock
    size: int = field(init=False)
    _sender: Sender | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.size = self.setup.batch_size

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
        if self._sender is None or not good or self.size < self.setup.batch_size:
            return Group(images)
        try:
            return Group(images, self._sender([image.pixels for image in self._padded(good)]))
        except RuntimeError:  # no memory, or the device is lost: the pass will meet the same, where it is dealt with
            return Group(images)

    def _padded(self, images: list[Loaded]) -> list[Loaded]:
        return images + [images[-1]] * (self.size - len(images))

    def _explained(self, group: Group) -> list[Explanation | Failed]:
        good = [image for image in group.images if isinstance(image, Loaded)]
        explanations = iter(self._explain(good, group.sent) if good else [])
        return [next(explanations) if isinstance(image, Loaded) else image for image in group.images]

    def _explain(self, batch: list[Loaded], sent: Sent | None = None) -> list[Explanation | Failed]:
        done: list[Explanation | Failed] = []
        while len(done) < len(batch):
            part = batch[len(done) : len(done) + self.size]
            explained = self._try(part, sent if self.size == self.setup.batch_size else None)
            if not isinstance(explained, ImageError):
                done += [self._explanation(image, explained, i) for i, image in enumerate(part)]
            elif explained.kind == "out-of-memory" and self.size > 1:
                self.size = (self.size + 1) // 2
                torch.cuda.empty_cache()
            elif len(part) > 1:  # one of them is at fault: each alone, and the others as if it were not there
                done += [result for image in part for result in self._explain([image])]
            else:
                done.append(Failed(part[0].entry, explained, part[0].facts))
        return done

    def _try(self, images: list[Loaded], sent: Sent | None) -> ExplainedBatch | ImageError:
        """Explain a batch; or why that failed, with nothing left of it in memory (an exception would hold it)."""
        device = self.setup.device
        try:
            with self.clock("model"):
                return self._pass(images, sent)
        except CamError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                return ImageError("out-of-memory", f"one image does not fit into memory of {device}")
            if is_device_lost(error):
                raise device_lost(device, error) from error
            return ImageError("internal", f"the model failed on it ({described(error)})")

    def _pass(self, images: list[Loaded], sent: Sent | None) -> ExplainedBatch:
        setup, padded = self.setup, self._padded(images)
        pixels = sent() if sent else np.stack([image.pixels for image in padded])
        inputs = setup.tuning.arrange(to_input(pixels, setup.model.preprocessing, setup.device))
        labels, own = [i.label for i in padded], [i.own_target for i in padded]

        def choose(logits: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(choose_targets(logits.numpy(), setup.slots, labels, own))

        seeds = [seed_of(image.facts.sha256, setup.config.seed) for image in padded]
        known = torch.tensor([NO_SLOT if label is None else label for label in labels])
        return setup.explainer(inputs, choose, seeds, known, real=len(images))

    def _explanation(self, image: Loaded, explained: ExplainedBatch, i: int) -> Explanation | Failed:
        targets = explained.targets[i].tolist()
        if all(target == NO_SLOT for target in targets) and not self.setup.classless:
            return Failed(image.entry, ImageError("target", _NO_LABEL), image.facts)
        maps = tuple(self._maps(image, explained, i))
        notes = []
        if NO_SLOT in targets and image.own_target is None and not self.setup.classless:
            notes.append("its label is not known; it has no map for it")
        if self.size < self.setup.batch_size:
            notes.append(f"explained in a batch of {self.size} after running out of memory")
        logits, probabilities = explained.logits[i].numpy(), explained.probabilities[i].numpy()
        return Explanation(image, logits, probabilities, maps, tuple(notes))

    def _maps(self, image: Loaded, explained: ExplainedBatch, i: int) -> Iterator[ClassMap]:
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


def in_batches(images: Iterable[Loaded | Failed], size: int) -> Iterator[list[Loaded | Failed]]:
    """Groups that hold ``size`` good images each (the last one fewer); failed ones ride along in their place."""
    group: list[Loaded | Failed] = []
    good = 0
    for image in images:
        group.append(image)
        good += isinstance(image, Loaded)
        if good == size or not good or len(group) >= size + _MOST_WAITING:
            yield group
            group, good = [], 0
    if group:
        yield group
