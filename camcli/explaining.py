"""The part of the stream that meets the model: images become batches, batches become explanations.

One fixed batch shape per run: a short batch is padded by repeating its last image, since another batch size changes
the last bits of a result while other neighbours in a batch of the same size do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from camcli.errors import CamError, ImageError
from camcli.explainer import Explained, MapKey
from camcli.flow import Clock
from camcli.guard import described, is_device_lost, is_out_of_memory
from camcli.images import to_input
from camcli.items import ChosenClass, ClassMap, Explanation, Failed, Loaded, seed_of
from camcli.setup import Setup
from camcli.targets import NO_SLOT, choose_targets, slots_of

_MOST_WAITING = 1024
"""Failed images that may wait behind an unfilled batch before it is explained as it is."""


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

    def __post_init__(self) -> None:
        self.size = self.setup.batch_size

    def stream(self, images: Iterable[Loaded | Failed]) -> Iterator[Explanation | Failed]:
        """Explanations in the order of the images; what failed before passes through in its place."""
        for group in in_batches(images, self.setup.batch_size):
            good = [image for image in group if isinstance(image, Loaded)]
            explanations = iter(self._explain(good) if good else [])
            for image in group:
                yield next(explanations) if isinstance(image, Loaded) else image

    def _explain(self, batch: list[Loaded]) -> list[Explanation | Failed]:
        done: list[Explanation | Failed] = []
        while len(done) < len(batch):
            part = batch[len(done) : len(done) + self.size]
            explained = self._try(part)
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

    def _try(self, images: list[Loaded]) -> Explained | ImageError:
        """Explain a batch; or why that failed, with nothing left of it in memory (an exception would hold it)."""
        device = self.setup.device
        try:
            with self.clock("model"):
                return self._pass(images)
        except CamError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                return ImageError("out-of-memory", f"one image does not fit into memory of {device}")
            if is_device_lost(error):
                raise CamError(
                    f"{device} failed ({described(error)}). What was explained is kept: the same command continues."
                ) from error
            return ImageError("internal", f"the model failed on it ({described(error)})")

    def _pass(self, images: list[Loaded]) -> Explained:
        setup = self.setup
        padded = images + [images[-1]] * (self.size - len(images))
        pixels = np.stack([image.pixels for image in padded])
        inputs = setup.tuning.arranged(to_input(pixels, setup.model.preprocessing, setup.device))
        labels, own = [i.label for i in padded], [i.own_target for i in padded]

        def choose(logits: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(choose_targets(logits.numpy(), setup.slots, labels, own))

        seeds = [seed_of(image.facts.sha256, setup.config.seed) for image in padded]
        known = torch.tensor([NO_SLOT if label is None else label for label in labels])
        return setup.explainer(inputs, choose, seeds, known, real=len(images))

    def _explanation(self, image: Loaded, explained: Explained, i: int) -> Explanation | Failed:
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
