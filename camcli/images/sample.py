"""``--sample``: a part of the inputs, chosen at random.

Every image has a random priority, a hash of its name and the seed, and the N lowest are chosen. So each image is as
likely as any other, the same command chooses the same images, a larger sample contains the smaller ones, and a file
that is added to a folder replaces at most one other. Memory holds N numbers (of each class), however many inputs there
are.
"""

import hashlib
import heapq
from collections.abc import Iterable

from camcli.errors import SourceError


class Sampler:
    """Chooses images by name.

    Args:
        count: how many; all, where there are fewer.
        per_class: so many of each class: of each label, or where there is none, of each folder. Images without either
            are a class of their own.
        seed: another one chooses other images.
    """

    def __init__(self, count: int, per_class: bool, seed: int) -> None:
        self.count, self.per_class = count, per_class
        self._key = str(seed).encode("ascii")
        self._highest: dict[str | None, int] | None = None  # the highest priority that is chosen, of each class

    @property
    def is_ready(self) -> bool:
        """Whether :meth:`choose` has been called."""
        return self._highest is not None

    def choose(self, images: Iterable[tuple[str, str | None, str | None]]) -> None:
        """Choose among images, each with its name in the run, its label and its folder.

        Raises:
            SourceError: images of each class are wanted, and there is one folder and no label.
        """
        lowest: dict[str | None, list[int]] = {}  # a heap of the lowest priorities, negated
        has_labels = False
        for name, label, folder in images:
            has_labels = has_labels or label is not None
            heap = lowest.setdefault(self._class_of(label, folder), [])
            if len(heap) < self.count:
                heapq.heappush(heap, -self._priority(name))
            else:
                heapq.heappushpop(heap, -self._priority(name))
        if self.per_class and not has_labels and len(lowest) == 1:
            raise SourceError(
                f"--sample {self.count}/class: the images have no labels and are all in one folder, so their classes "
                f"are unknown. Give a folder with a subfolder for each class, a manifest with a column `label`, or "
                f"--sample {self.count}."
            )
        self._highest = {key: -heap[0] for key, heap in lowest.items()}

    def takes(self, name: str, label: str | None, folder: str | None) -> bool:
        """Whether an image was chosen."""
        assert self._highest is not None
        highest = self._highest.get(self._class_of(label, folder))
        return highest is not None and self._priority(name) <= highest

    def _class_of(self, label: str | None, folder: str | None) -> str | None:
        if not self.per_class:
            return None
        return folder if label is None else label

    def _priority(self, name: str) -> int:
        data = name.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, key=self._key, digest_size=8).digest(), "big")
