"""Folders and globs: a walk in sorted order that ends, whatever the links, and never enters the run folder.

Memory holds the names in the folders on the way down, and no others.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from camcli.errors import SourceError
from camcli.images.entry import PASSED_OVER, Problem, SourceItem, has_image_extension, parent_name

_MAGIC = re.compile(r"[*?\[]")
_RUN_MARK = b'"camcli.index/'
_RUN_FILES = (("index.jsonl", "index.jsonl"), ("shards", "shards/plan.json"))
"""What shows that a folder is a run, and the file that has the mark: the journal, or the plan of its shards."""


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
        levels = [_Level(root, "", os.path.realpath(root))]
        if levels[0].problem is not None:
            raise SourceError(f"--image-path {root}: {levels[0].problem.message}. Check its permissions.")
        while levels:
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                levels.pop()
                continue
            relative = f"{level.relative}/{name}" if level.relative else name
            if name not in level.folders:
                if self.take(relative):
                    yield self._file(level, name, relative)
                continue
            if not self.enter(relative):
                continue
            below = _Level(os.path.join(level.path, name), relative, level.real_below(name))
            if below.problem is not None:
                yield SourceItem(relative, below.path, folder=parent_name(relative), problem=below.problem)
            elif not self._is_repeated(below, name in level.links, levels, linked) and not below.is_run:
                levels.append(below)

    def _file(self, level: _Level, name: str, relative: str) -> SourceItem | None:
        if name in level.others or not (self.any_extension or has_image_extension(name)):
            return PASSED_OVER
        return SourceItem(relative, os.path.join(level.path, name), folder=parent_name(relative))

    def _is_repeated(self, below: _Level, is_link: bool, levels: list[_Level], linked: set[tuple[int, int]]) -> bool:
        if below.real == self.exclude:
            return True
        if not is_link:
            return False
        if below.identity in linked or any(below.identity == above.identity for above in levels):
            return True
        linked.add(below.identity)
        return False


class _Level:
    """One folder on the way down, listed."""

    def __init__(self, path: str, relative: str, real: str) -> None:
        self.path, self.relative, self.real = path, relative, real
        self.folders: set[str] = set()
        self.links: set[str] = set()
        self.others: set[str] = set()  # pipes, sockets, devices: opening one may block
        self.identity = (0, 0)
        self.problem: Problem | None = None
        names: list[str] = []
        try:
            info = os.stat(path)
            self.identity = (info.st_dev, info.st_ino)
            with os.scandir(path) as listing:
                for item in listing:
                    names.append(item.name)
                    self._sort_in(item)
        except OSError as error:
            self.problem = Problem("unreadable", f"the folder cannot be listed ({error.strerror})")
        self.is_run = bool(relative) and any(name in names and _is_run(path, file) for name, file in _RUN_FILES)
        self.names = iter(sorted(names))

    def _sort_in(self, item: os.DirEntry[str]) -> None:
        try:
            if item.is_dir():
                self.folders.add(item.name)
                if item.is_symlink():
                    self.links.add(item.name)
            elif not item.is_file() and os.path.exists(item.path):  # reading a broken link names it
                self.others.add(item.name)
        except OSError:  # a circular link: reading it names it
            return

    def real_below(self, name: str) -> str:
        below = os.path.join(self.real, name)
        return os.path.realpath(below) if name in self.links else below


def _is_run(path: str, file: str) -> bool:
    """Whether a folder is the result of an earlier run: its overlays are results, not inputs."""
    try:
        with open(os.path.join(path, file), "rb") as journal:
            return _RUN_MARK in journal.read(4096)
    except OSError:
        return False


def class_folders(root: str, exclude: str | None = None) -> tuple[str, ...]:
    """Sorted names of the folders below ``root`` that hold images, or nothing: what ImageFolder takes for classes."""
    names: set[str] = set()
    pending = [root]
    while pending:
        path = pending.pop()
        below = path != root
        level = _Level(path, path if below else "", path)
        if level.is_run or os.path.realpath(path) == exclude:
            continue
        # A linked folder is a class of its own and is not descended into: it may be circular.
        pending += [os.path.join(path, name) for name in level.folders - level.links]
        names |= level.links
        holds_images = any(has_image_extension(name) for name in level.names if name not in level.folders)
        if below and (holds_images or not level.folders):
            names.add(os.path.basename(path))
    return tuple(sorted(names))


def is_pattern(path: str) -> bool:
    """Whether a path that does not exist as it is written is a glob."""
    return _MAGIC.search(path) is not None


def split_pattern(pattern: str) -> tuple[str, list[str]]:
    """The fixed folder a glob begins in, and the components of the rest."""
    parts = pattern.replace(os.sep, "/").split("/")
    first = next(i for i, part in enumerate(parts) if is_pattern(part))
    fixed = "/".join(parts[:first])
    return fixed or ("/" if pattern.startswith("/") else "."), [part for part in parts[first:] if part not in ("", ".")]


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
