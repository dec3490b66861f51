"""Class names: index to name, and from whatever a user calls a class back to its index."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from camcli.errors import ConfigError, TargetError, did_you_mean
from camcli.models.imagenet import imagenet_classes


class ClassNames:
    """The names of a model's classes.

    Args:
        names: one name per class, in the order of the logits.
        synonyms: other names of each class, the usual one first; the names proper have priority.
        ids: a unique id of each class, such as a WordNet id.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        synonyms: Sequence[Sequence[str]] | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self.ids: tuple[str, ...] | None = tuple(ids) if ids is not None else None
        self._synonyms = tuple(tuple(s) for s in synonyms) if synonyms is not None else ()

    @classmethod
    def imagenet(cls) -> ClassNames:
        """ImageNet-1k, with its WordNet ids and lemma names."""
        classes = imagenet_classes()
        return cls(
            (c.name for c in classes), synonyms=[c.synonyms for c in classes], ids=[c.wordnet_id for c in classes]
        )

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassNames) and (self.names, self.ids) == (other.names, other.ids)

    def __hash__(self) -> int:
        return hash((self.names, self.ids))

    def __repr__(self) -> str:
        return f"ClassNames({len(self)} names)"

    def name(self, index: int) -> str:
        """The name of a class; its index as text where it has none.

        Raises:
            IndexError: the index is negative.
        """
        if index < 0:
            raise IndexError(f"class index {index}")
        return self.names[index] if index < len(self.names) and self.names[index] else str(index)

    def find(self, text: str) -> int:
        """The index of a class that is called ``text``: by id, by name, by a synonym, in this order.

        Upper and lower case, and spaces, underscores and hyphens, count as equal; of ``tench, Tinca tinca`` either
        half or both name the class.

        Raises:
            TargetError: no class is called so (near misses are given), or several are (their indices are given).
        """
        for keys, fold in self._levels:
            indices = keys.get(fold(text), ())
            if len(indices) == 1:
                return indices[0]
            if indices and fold is _fold:
                listed = ", ".join(str(i) for i in indices)
                raise TargetError(f"class {text!r} is ambiguous, give the index: {listed}.")
        every = dict.fromkeys([*self.names, *(s for synonyms in self._synonyms for s in synonyms)])
        raise TargetError(f"no class is called {text!r}.{did_you_mean(text, every)}")

    @cached_property
    def _levels(self) -> tuple[tuple[dict[str, tuple[int, ...]], Callable[[str], str]], ...]:
        # A class's usual synonym has the priority of its name: "crane" is the usual name of the bird as well, though
        # the machine alone is listed under it, and a guess between them would be wrong half of the time.
        proper = [(i, [name, *self._usual(i)]) for i, name in enumerate(self.names)]
        parts = [(i, name.split(",")) for i, name in enumerate(self.names)]
        others = [(i, [*names, ", ".join(names)]) for i, names in enumerate(self._synonyms)]
        return (
            (_index(enumerate([i] for i in self.ids or ()), _fold), _fold),
            (_index(proper, str.strip), str.strip),  # Cardigan is a dog, cardigan a garment
            (_index(proper, _fold), _fold),
            (_index(parts, _fold), _fold),
            (_index(others, _fold), _fold),
        )

    def _usual(self, index: int) -> Sequence[str]:
        return self._synonyms[index][:1] if self._synonyms else ()


def _fold(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").replace("-", " ").replace(",", " , ").split())


def _index(entries: Iterable[tuple[int, Sequence[str]]], fold: Callable[[str], str]) -> dict[str, tuple[int, ...]]:
    classes: dict[str, dict[int, None]] = {}
    for index, names in entries:
        for name in names:
            if key := fold(name):
                classes.setdefault(key, {})[index] = None
    return {key: tuple(indices) for key, indices in classes.items()}


def read_class_names(path: str | Path) -> ClassNames:
    """The ``--class-names`` file: one name a line, a JSON list, or a JSON object in either direction.

    ``{"0": "cat"}``, ``{"cat": 0}`` and ImageNet's ``{"0": ["n02123045", "tabby"]}`` are understood.

    Raises:
        ConfigError: the file cannot be read, or its indices are not 0 … n-1.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--class-names {path}: cannot be read as text ({error}).") from error
    if not text.lstrip().startswith(("[", "{")):
        return _check(path, ClassNames(line.strip() for line in text.rstrip().splitlines()))
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--class-names {path}: neither JSON nor one name a line ({error}).") from error
    return _check(path, _from_json(path, value))


def _from_json(path: str | Path, value: object) -> ClassNames:
    by_index = value
    if isinstance(value, list):
        by_index = dict(enumerate(value))
    elif isinstance(value, dict) and value and all(_is_int(v) for v in value.values()):
        by_index = {v: k for k, v in value.items()}
    if not isinstance(by_index, dict) or not all(_is_int(k) for k in by_index):
        raise ConfigError(f"--class-names {path}: give a JSON list of names, or an object from index to name.")
    ordered = sorted((int(k), v) for k, v in by_index.items())
    if [k for k, _ in ordered] != list(range(len(ordered))):
        raise ConfigError(f"--class-names {path}: the indices must be 0 to {len(ordered) - 1}, each once.")
    pairs = [v if isinstance(v, list) else [v] for _, v in ordered]
    if not all(pair and all(isinstance(p, str) for p in pair) for pair in pairs):
        raise ConfigError(f"--class-names {path}: every name must be text.")
    has_ids = all(len(pair) == 2 for pair in pairs)
    return ClassNames((pair[-1] for pair in pairs), ids=[pair[0] for pair in pairs] if has_ids else None)


def _is_int(value: object) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value.isdecimal())


def _check(path: str | Path, names: ClassNames) -> ClassNames:
    if not len(names):
        raise ConfigError(f"--class-names {path}: the file holds no names.")
    return names


def names_given(value: object) -> ClassNames:
    """Of a file, or of the names themselves: a sequence, or a mapping in either direction.

    Raises:
        ConfigError: the file cannot be read.
        TypeError: neither a path nor names.
    """
    if isinstance(value, ClassNames):
        return value
    if isinstance(value, str | os.PathLike):
        return read_class_names(Path(value))
    if not isinstance(value, Mapping | str) and isinstance(value, Iterable):
        value = list(value)
    if (names := names_from(value, None)) is None:
        raise TypeError(
            f"class_names: {type(value).__name__} without a name for each class is not accepted. Give a sequence of "
            "strings in the order of the model's outputs, a mapping from index to name, or the path of a file."
        )
    return names


def names_from(value: object, count: int | None) -> ClassNames | None:
    """Class names stored beside a model (a list, or a mapping in either direction) that are as many as its classes."""
    if isinstance(value, Mapping):
        if value and all(_is_int(v) for v in value.values()):
            value = [k for k, _ in sorted(value.items(), key=lambda item: int(item[1]))]
        elif value and all(_is_int(k) for k in value):
            value = [v for _, v in sorted(value.items(), key=lambda item: int(item[0]))]
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(v, str) for v in value):
        return None
    return ClassNames(value) if count in (None, len(value)) else None
