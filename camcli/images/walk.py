"""Folders and globs: a walk in sorted order that ends, whatever the links, and never enters the run folder.

Memory holds the names in the folders on the way down, and no others.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from camcli.errors import SourceError
from camcli.images.entry import PASSED_OVER, SourceItem, has_image_extension, parent_name
from camcli.images.levels import Level, open_level
from camcli.storage import is_url, masked, without_query

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Walk:
    """How a folder is walked.

    Attributes:
        exclude: real path of a folder that is never entered, the run folder; None where there is none.
        enter: whether to descend into a folder, given its path relative to the root.
        take: whether a file counts at all, given its relative path; what does not is not even passed over.
        any_extension: take files whatever their extension.
    """

    exclude: str | None = None
    enter: Callable[[str], bool] = lambda _: True
    take: Callable[[str], bool] = lambda _: True
    any_extension: bool = False

    def __call__(self, root: str) -> Iterator[SourceItem | None]:
        """Every image below ``root``, folders and files together in sorted order; PASSED_OVER for other files.

        A folder that cannot be listed is an image that cannot be read, so that it is named and not left out.

        Raises:
            SourceError: the root itself cannot be listed.
        """
        linked: set[tuple[int, int]] = set()  # a folder reached by links is entered once, or n links give n! paths
        levels = [open_level(root)]
        if levels[0].problem is not None:
            raise SourceError(f"--image-path {masked(root)}: {levels[0].problem.message}. {levels[0].remedy}")
        while levels:
            level = levels[-1]
            name, is_folder = next(level.names, (None, False))
            if name is None:
                levels.pop()
                continue
            relative = f"{level.relative}/{name}" if level.relative else name
            if not is_folder:
                if self.take(relative):
                    yield self._file(level, name, relative)
                continue
            if not self.enter(relative):
                continue
            below = level.below(name)
            if below.problem is not None:
                yield SourceItem(relative, below.path, folder=parent_name(relative), problem=below.problem)
            elif not self._is_repeated(below, name in level.links, levels, linked) and not below.is_run:
                levels.append(below)

    def _file(self, level: Level, name: str, relative: str) -> SourceItem | None:
        if name in level.others or not (self.any_extension or has_image_extension(name)):
            return PASSED_OVER
        path, size = level.path_of(name), level.sizes.get(name)
        return SourceItem(relative, path, folder=parent_name(relative), size=size)

    def _is_repeated(self, below: Level, is_link: bool, levels: list[Level], linked: set[tuple[int, int]]) -> bool:
        if below.real == self.exclude:
            return True
        if not is_link:
            return False
        if below.identity in linked or any(below.identity == above.identity for above in levels):
            return True
        linked.add(below.identity)
        return False


def class_folders(root: str, exclude: str | None = None) -> tuple[str, ...]:
    """Sorted names of the folders below ``root`` that hold images, or nothing: what ImageFolder takes for classes."""
    classes: set[str] = set()
    pending = [partial(open_level, root)]
    while pending:
        level = pending.pop()()
        if level.is_run or level.real == exclude:
            continue
        names = list(level.names)
        folders = {name for name, is_folder in names if is_folder}
        # A linked folder is a class of its own and is not descended into: it may be circular.
        pending += [partial(level.below, name) for name in sorted(folders - level.links, reverse=True)]
        classes |= level.links
        holds_images = any(has_image_extension(name) for name, is_folder in names if not is_folder)
        if level.relative and (holds_images or not folders):
            classes.add(level.relative.rpartition("/")[2])
    return tuple(sorted(classes))


def is_pattern(path: str) -> bool:
    """Whether a path that does not exist as it is written is a glob; of a URL, what comes after the bucket or host."""
    return _MAGIC.search(_split_store(path)[1]) is not None


def split_pattern(pattern: str) -> tuple[str, list[str]]:
    """The fixed folder a glob begins in, and the components of the rest."""
    store, path = _split_store(pattern)
    parts = path.replace(os.sep, "/").split("/")
    first = next(i for i, part in enumerate(parts) if _MAGIC.search(part))
    fixed = store + "/".join(parts[:first])
    if not store:
        fixed = fixed or ("/" if pattern.startswith("/") else ".")
    return fixed, [part for part in parts[first:] if part not in ("", ".")]


def _split_store(path: str) -> tuple[str, str]:
    """What a URL names a store by, with its slash, and the path in it; of a local path, nothing and the path."""
    if not is_url(path):
        return "", path
    scheme, _, rest = without_query(path).partition("://")
    if scheme == "memory":  # of this process: it has no name
        return f"{scheme}://", rest
    bucket, slash, inside = rest.partition("/")
    return f"{scheme}://{bucket}{slash}", inside


def glob(pattern: str, exclude: str | None) -> Iterator[SourceItem | None]:
    """What a glob matches: files, and the images of folders; ``**`` stands for any number of folders.

    Files are taken whatever their extension where the pattern ends in one (``*.dat``). Wildcards do not stand for a
    leading dot. With ``**`` the pattern itself says which files are meant, so folders that match are not opened.
    """
    root, parts = split_pattern(pattern)
    deep = "**" in parts
    fixed = parts[: parts.index("**")] if deep else parts

    def take(relative: str) -> bool:
        names = relative.split("/")
        return _match(names, parts) or (not deep and len(names) > len(parts) and _match(names[: len(parts)], parts))

    def enter(relative: str) -> bool:
        return all(_matches(name, part) for name, part in zip(relative.split("/"), fixed, strict=False))

    any_extension = "." in parts[-1] and not is_pattern(parts[-1].rpartition(".")[2])
    return Walk(exclude, enter, take, any_extension)(root)


def _match(names: list[str], parts: list[str]) -> bool:
    if not parts:
        return not names
    if parts[0] != "**":
        return bool(names) and _matches(names[0], parts[0]) and _match(names[1:], parts[1:])
    if _match(names, parts[1:]):
        return True
    return bool(names) and not names[0].startswith(".") and _match(names[1:], parts)


def _matches(name: str, part: str) -> bool:
    return fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
