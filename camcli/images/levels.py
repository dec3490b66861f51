"""One folder on the way down a walk, listed: on a disk, or in a store."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from camcli.images.entry import Problem
from camcli.storage import Listed, StorageError, child, is_remote, list_folder, masked, read_bytes, without_slash

_RUN_MARK = b'"camcli.index/'
_RUN_FILES = (("index.jsonl", "index.jsonl"), ("shards", "shards/plan.json"))
"""What shows that a folder is a run, and the file that has the mark: the journal, or the plan of its shards."""
_LISTED_AHEAD = 8  # subfolders of a store whose names are requested before they are needed


class Level(ABC):
    """One folder, listed.

    Attributes:
        path: where it is.
        relative: its path below the root of the walk; empty: the root.
        real: its path without links.
        names: what is in it, sorted, and whether each is a folder; a store may have both of one name.
        links: names of folders that are links.
        others: names of pipes, sockets, devices: opening one may block.
        sizes: bytes of the files, where the listing says.
        identity: the same for all paths to one folder.
        problem: why it cannot be listed.
        remedy: what to do about that.
        is_run: whether it is the result of an earlier run: its overlays are results, not inputs.
    """

    remedy = "Check its permissions."

    def __init__(self, path: str, relative: str, real: str) -> None:
        self.path, self.relative, self.real = path, relative, real
        self.names: Iterator[tuple[str, bool]] = iter(())
        self.links: set[str] = set()
        self.others: set[str] = set()
        self.sizes: Mapping[str, int | None] = {}
        self.identity = (0, 0)
        self.problem: Problem | None = None
        self.is_run = False

    @abstractmethod
    def path_of(self, name: str) -> str:
        """The path of a file in it."""

    @abstractmethod
    def below(self, name: str) -> Level:
        """A folder in it, listed."""

    def _relative_to(self, name: str) -> str:
        return f"{self.relative}/{name}" if self.relative else name


def open_level(root: str) -> Level:
    """The folder that a walk begins in."""
    if is_remote(root):
        return _RemoteLevel(root, "")
    return _LocalLevel(root, "", os.path.realpath(root))


class _LocalLevel(Level):
    def __init__(self, path: str, relative: str, real: str) -> None:
        super().__init__(path, relative, real)
        names: list[str] = []
        folders: set[str] = set()
        try:
            info = os.stat(path)
            self.identity = (info.st_dev, info.st_ino)
            with os.scandir(path) as listing:
                for item in listing:
                    names.append(item.name)
                    self._sort_in(item, folders)
        except OSError as error:
            self.problem = Problem("unreadable", f"the folder cannot be listed ({error.strerror})")
        self.is_run = bool(relative) and any(name in names and self._is_run(file) for name, file in _RUN_FILES)
        self.names = iter([(name, name in folders) for name in sorted(names)])

    def path_of(self, name: str) -> str:
        return os.path.join(self.path, name)

    def below(self, name: str) -> Level:
        real = os.path.join(self.real, name)
        real = os.path.realpath(real) if name in self.links else real
        return _LocalLevel(os.path.join(self.path, name), self._relative_to(name), real)

    def _sort_in(self, item: os.DirEntry[str], folders: set[str]) -> None:
        try:
            if item.is_dir():
                folders.add(item.name)
                if item.is_symlink():
                    self.links.add(item.name)
            elif not item.is_file() and os.path.exists(item.path):  # reading a broken link names it
                self.others.add(item.name)
        except OSError:  # a circular link: reading it names it
            return

    def _is_run(self, file: str) -> bool:
        try:
            with open(os.path.join(self.path, file), "rb") as journal:
                return _RUN_MARK in journal.read(4096)
        except OSError:
            return False


class _RemoteLevel(Level):
    """A folder of a store; its subfolders are listed ahead, since each listing waits for an answer."""

    def __init__(self, path: str, relative: str, listing: list[Listed] | None = None) -> None:
        super().__init__(path, relative, without_slash(masked(path)))
        if relative.endswith("/"):
            message = "objects with // in their names cannot be listed; name them in a list (@list.txt)"
            self.problem = Problem("unreadable", message)
            return
        try:
            listed = list_folder(path) if listing is None else listing
        except StorageError as error:
            self.problem = Problem("unreadable", f"the folder cannot be listed ({error.strerror})")
            self.remedy = "Check the address."
            return
        self.names = iter([(one.name, one.is_folder) for one in listed])
        self.sizes = {one.name: one.size for one in listed if not one.is_folder}
        names = {one.name for one in listed}
        self.is_run = bool(relative) and any(name in names and self._is_run(file) for name, file in _RUN_FILES)
        self._folders = [one.name for one in listed if one.is_folder and one.name]
        self._asked = 0  # how many of them
        self._coming: deque[tuple[str, Future[list[Listed]]]] = deque()
        self._pool = ThreadPoolExecutor(_LISTED_AHEAD, "list") if len(self._folders) > 1 else None

    def path_of(self, name: str) -> str:
        return child(self.path, name)

    def below(self, name: str) -> Level:
        url = child(self.path, name, is_folder=True)
        return _RemoteLevel(url, self._relative_to(name), self._listing(name) if name else None)

    def _listing(self, name: str) -> list[Listed] | None:
        """The names in a subfolder, where they could be listed ahead."""
        if self._pool is None:
            return None
        self._asked = max(self._asked, self._folders.index(name, self._asked - len(self._coming)))
        while self._coming and self._coming[0][0] != name:
            self._coming.popleft()[1].cancel()
        while len(self._coming) < _LISTED_AHEAD and self._asked < len(self._folders):
            asked = self._folders[self._asked]
            url = child(self.path, asked, is_folder=True)
            self._coming.append((asked, self._pool.submit(list_folder, url)))
            self._asked += 1
        if self._asked == len(self._folders):
            self._pool.shutdown(wait=False)
        try:
            return self._coming.popleft()[1].result()
        except StorageError:
            return None  # listed once more, which says what is wrong

    def _is_run(self, file: str) -> bool:
        try:
            return _RUN_MARK in read_bytes(child(self.path, file), 0, 4096)
        except StorageError:
            return False
