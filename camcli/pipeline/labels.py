"""The true class of an image, where the manifest or the folder names it."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from camcli.errors import TargetError
from camcli.images import Entry
from camcli.pipeline.targets import Names


class Labeller:
    """The class index of an entry's label.

    By class name (or WordNet id) where the manifest's column or the folder is one; else by the place of the folder
    among the sorted folders of its source when there are as many as classes; else unknown.

    Args:
        names: the model's class names.
        num_classes: how many classes the model has.
        class_folders: the sorted folders of a source.
    """

    def __init__(
        self, names: Names | None, num_classes: int | None, class_folders: Callable[[str], Sequence[str]]
    ) -> None:
        self._names, self._num_classes = names, num_classes
        self.by_name = lru_cache(maxsize=65536)(self._by_name)
        self._places = lru_cache(maxsize=None)(lambda source: self._order(class_folders(source)))

    def __call__(self, entry: Entry) -> int | None:
        if entry.label is not None:
            return self.by_name(entry.label)
        if entry.folder is None:
            return None
        label = self.by_name(entry.folder, False)
        return label if label is not None else self._places(entry.source).get(entry.folder)

    def _by_name(self, text: str, or_index: bool = True) -> int | None:
        if or_index and (number := re.fullmatch(r"(\d+)(\.0+)?", text)):  # pandas writes 281.0 where there are gaps
            index = int(number[1])
            return index if self._num_classes is None or index < self._num_classes else None
        if self._names is None:
            return None
        try:
            return self._names.find(text)
        except TargetError:  # not a class: the label stays unknown, which the index records
            return None

    def _order(self, folders: Sequence[str]) -> dict[str, int]:
        if len(folders) != self._num_classes:
            return {}
        named = {folder: index for folder in folders if (index := self.by_name(folder, False)) is not None}
        if len(folders) == 2 and len(named) == 1:  # of two classes, a folder of another name than the one is the other
            return {folder: 1 - index for folder in folders if folder not in named for index in named.values()}
        return {folder: place for place, folder in enumerate(folders)}
