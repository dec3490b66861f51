"""Everything ``--image-path`` takes, as one stream of entries in a fixed order.

What a path means, in this order: ``-`` is standard input; ``@x`` a list; a path that exists is a folder, a manifest
(.csv, .jsonl), an archive (.tar), a table (.parquet), a data set saved on disk or a file; what contains ``*``, ``?``,
``[`` or braces and ends in ``.tar`` or ``.parquet`` names several of these; any other pattern is a glob. The same holds
for URLs.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

from camcli.errors import CamError, SourceError, near_misses
from camcli.images.entry import PASSED_OVER, Entry, Problem, SourceItem
from camcli.images.lists import Replay, from_list, from_manifest, from_stdin, is_manifest
from camcli.images.other_files import what_instead
from camcli.images.packed import Packed, find_packed
from camcli.images.remote import check_stores, first_of, kind_of_url
from camcli.images.sample import Sampler
from camcli.images.unique import UniqueNames
from camcli.images.walk import Walk, class_folders, glob, is_pattern, split_pattern
from camcli.storage import StorageError, as_local, base_name, is_remote, is_url, masked, parent, without_slash

Kind = Literal["stdin", "list", "folder", "manifest", "packed", "file", "glob"]


@dataclass(frozen=True, slots=True)
class _Source:
    kind: Kind
    typed: str  # as it is recorded: a URL without secrets
    path: str
    slug: str
    repeats: bool  # whether the same image name may come more than once below this slug
    packed: Packed | None = None
    size: int | None = None  # of a file in a store

    @property
    def folder(self) -> str | None:
        """Name of the folder of the images that are in no folder below the source."""
        if is_remote(self.path):
            place = parent(self.path) if self.kind == "file" else self.path
            return base_name(place) if self.kind in ("file", "folder") else None
        if self.kind == "file":
            return os.path.basename(os.path.dirname(os.path.abspath(self.path))) or None
        return os.path.basename(os.path.abspath(self.path)) or None if self.kind == "folder" else None


class Sources:
    """The inputs of a run; nothing is listed until it is iterated, and every iteration gives the same order.

    Args:
        image_paths: the values of ``--image-path``.
        exclude: the run folder, which is never entered.
        limit: at most so many entries; None for all.
        sample: chooses entries before they are counted; None for all.
        stdin: read for ``-``; None is the process's own.

    Attributes:
        passed_over: files without a known image extension in folders, archives and open-ended globs; of the latest
            iteration, as far as it went.

    Raises:
        SourceError: a path that is not there, or is in the run folder; nothing but lists, archives and videos; on
            iteration, before the first entry, a list, manifest or archive that cannot be read as one.
        CamError: on iteration, a store failed after the first entry.
    """

    def __init__(
        self,
        image_paths: Sequence[str],
        *,
        exclude: Path | None = None,
        limit: int | None = None,
        sample: Sampler | None = None,
        stdin: TextIO | None = None,
    ) -> None:
        self.passed_over = 0
        self._exclude = None if exclude is None else _real(exclude)
        self._limit = limit
        self._sampler = sample
        self._stdin = Replay(stdin)
        self._checked = False
        self._class_folders: dict[str, tuple[str, ...]] = {}
        self._listing = threading.Lock()
        self._sources = self._with_slugs([self._source(os.fspath(path)) for path in image_paths])
        self._refuse_other_files()

    def __iter__(self) -> Iterator[Entry]:
        return self._entries(contents=False)

    def with_contents(self) -> Iterator[Entry]:
        """The same entries; those whose source is read from front to back come with their content."""
        return self._entries(contents=True)

    @property
    def is_cheap_to_count(self) -> bool:
        """Whether :meth:`count` neither waits for standard input nor transfers archives."""
        return not any(
            s.kind == "stdin" or (s.packed is not None and s.packed.stream is not None) for s in self._sources
        )

    def _entries(self, contents: bool) -> Iterator[Entry]:
        sampler = self._sampler
        chosen = self._list(self._limit, contents) if sampler is None else self._sample(sampler, contents)
        for ordinal, (source, image, item) in enumerate(chosen):
            yield _entry(ordinal, source, image, item)

    def _sample(self, sampler: Sampler, contents: bool) -> Iterator[tuple[_Source, str, SourceItem]]:
        """The entries of the sample; the first time, all are listed twice."""
        if not sampler.is_ready:
            sampler.choose(_features(one) for one in self._list(None))
        return islice((one for one in self._list(None, contents) if sampler.takes(*_features(one))), self._limit)

    def exclude(self, run_dir: Path) -> None:
        """Never enter this folder from now on, instead of the one before."""
        self._exclude = _real(run_dir)

    def count(self) -> int:
        """How many entries an iteration gives."""
        if self._sampler is not None:
            return sum(1 for _ in self)
        return sum(1 for _ in self._items(self._limit))

    def _list(self, limit: int | None, contents: bool = False) -> Iterator[tuple[_Source, str, SourceItem]]:
        """Every item with its name in the run."""
        names = {source.slug: UniqueNames() for source in self._sources if source.repeats}
        for source, item in self._items(limit, contents):
            yield source, names[source.slug](item.image) if source.repeats else item.image, item

    def _items(self, limit: int | None, contents: bool = False) -> Iterator[tuple[_Source, SourceItem]]:
        self.check()
        self.passed_over = listed = 0
        try:
            for source in self._sources:
                for item in self._items_of(source, contents):
                    if limit is not None and listed >= limit:
                        return
                    if item is PASSED_OVER:
                        self.passed_over += 1
                    else:
                        listed += 1
                        yield source, item
        except SourceError as error:
            if not listed or not isinstance(error.__cause__, StorageError):
                raise
            # What follows is not known, so that the run must not go on as if this were all.
            raise CamError(f"{error} What was explained is kept: the same command continues.") from error

    def check(self) -> None:
        """Read lists, manifests and the heads of archives once, so that their errors come before any result.

        Raises:
            SourceError: one of them cannot be read, or a row of a manifest is wrong.
        """
        if self._checked:
            return
        for source in self._sources:
            if source.kind == "manifest":
                check_stores(source.typed, from_manifest(source.path))
            elif source.kind == "list":
                check_stores(source.typed, first_of(from_list(source.path)))
            elif source.packed is not None:
                source.packed.check()
        self._checked = True

    def class_folders(self, source: str) -> tuple[str, ...]:
        """Sorted names of the class folders below a source, as typed; of lists, manifests and standard input none."""
        with self._listing:  # threads ask for it at the same time, and a store takes its time
            if source not in self._class_folders:
                self._class_folders[source] = self._list_class_folders(source)
        return self._class_folders[source]

    def _list_class_folders(self, source: str) -> tuple[str, ...]:
        for candidate in self._sources:
            if candidate.typed == source and candidate.kind == "folder":
                return class_folders(candidate.path, self._exclude)
            if candidate.typed == source and candidate.packed is not None:
                return candidate.packed.class_folders()
            if candidate.typed == source and candidate.kind == "glob":
                return tuple(sorted({f.folder for f in self._items_of(candidate) if f is not None and f.folder}))
        return ()

    def _source(self, typed: str) -> _Source:
        def of(kind: Kind, path: str) -> _Source:
            return _Source(kind, typed, path, "", repeats=kind in ("stdin", "list", "manifest"))

        if typed == "-":
            return of("stdin", typed)
        if is_url(typed.removeprefix("@")):
            return self._url_source(typed)
        if typed.startswith("@"):
            if not os.path.exists(typed[1:]):
                raise SourceError(f"--image-path {typed}: no list {typed[1:]!r} is there.{_suggestion(typed[1:])}")
            if not os.path.isfile(typed[1:]):  # it is read more than once, which a pipe cannot be
                raise SourceError(
                    f"--image-path {typed}: not a regular file. Pipe the list to `--image-path -` instead."
                )
            return of("list", typed[1:])
        packed = find_packed(typed)
        if packed is not None:
            self._refuse_run_folder(typed, packed.files[0])
            return _Source("packed", typed, typed, "", repeats=True, packed=packed)
        if os.path.isdir(typed):
            self._refuse_run_folder(typed, typed)
            return of("folder", typed)
        if os.path.lexists(typed):
            if not os.path.isfile(typed):  # a pipe or a broken link: named when it is read
                return of("file", typed)
            return of("manifest" if is_manifest(typed) else "file", typed)
        if is_pattern(typed):
            root = split_pattern(typed)[0]
            if not os.path.isdir(root):
                raise SourceError(f"--image-path {typed}: the folder {root!r} is not there.{_suggestion(root)}")
            self._refuse_run_folder(typed, root)
            return of("glob", typed)
        raise SourceError(f"--image-path {typed}: no such file or folder.{_suggestion(typed)}{_looked_in(typed)}")

    def _url_source(self, typed: str) -> _Source:
        at, url = ("@", typed[1:]) if typed.startswith("@") else ("", typed)
        if not is_remote(url):
            return replace(self._source(at + as_local(url)), typed=typed)
        if not at and (packed := find_packed(url)) is not None:
            self._refuse_run_folder(masked(typed), packed.files[0])
            return _Source("packed", masked(typed), url, "", repeats=True, packed=packed)
        kind, path, size = kind_of_url(typed)
        if kind in ("folder", "glob"):
            self._refuse_run_folder(masked(typed), path if kind == "folder" else split_pattern(path)[0])
        return _Source(kind, masked(typed), path, "", kind in ("list", "manifest"), size=size)

    def _refuse_run_folder(self, typed: str, path: str) -> None:
        real = _real(path)
        if self._exclude is not None and (
            real == self._exclude or real.startswith(f"{self._exclude.rstrip(os.sep)}{os.sep}")
        ):
            raise SourceError(
                f"--image-path {typed} lies in the run folder {self._exclude}, whose pictures are results. "
                "Choose another --output-dir."
            )

    def _refuse_other_files(self) -> None:
        """Refuse inputs that are nothing but lists, archives and videos; among others, such a file fails by itself."""
        remedies = [what_instead(s.path) if s.kind == "file" else None for s in self._sources]
        if remedies and all(remedies):
            raise SourceError(f"--image-path {self._sources[0].typed}: {remedies[0]}.")

    def _with_slugs(self, sources: list[_Source]) -> list[_Source]:
        """The sources with slugs: one for all sources that begin in the same place."""
        places = [_place(source) for source in sources]
        slugs: dict[tuple[str, str], str] = {}
        used: set[str] = set()
        for place in places:
            if place not in slugs:
                slugs[place] = slug = _unused_slug(_slug(place), used)
                used.add(slug.casefold())
        return [
            replace(s, slug=slugs[place], repeats=s.repeats or places.count(place) > 1)
            for s, place in zip(sources, places, strict=True)
        ]

    def _items_of(self, source: _Source, contents: bool = False) -> Iterator[SourceItem | None]:
        if source.packed is not None:
            return source.packed.items(contents)
        readers: dict[Kind, Callable[[str], Iterator[SourceItem | None]]] = {
            "folder": Walk(self._exclude), "glob": partial(glob, exclude=self._exclude),
            "manifest": from_manifest, "list": from_list, "stdin": lambda _: from_stdin(self._stdin),
            "file": lambda path: iter((_file_item(path, source.size),)),
        }  # fmt: skip
        return readers[source.kind](source.path)


def _file_item(path: str, size: int | None) -> SourceItem:
    remedy = what_instead(path)
    name = base_name(path) if is_remote(path) else os.path.basename(path)
    return SourceItem(name, path, problem=Problem("not-an-image", remedy) if remedy else None, size=size)


def _real(path: str | Path) -> str:
    """A path without links; of a URL, one without a slash at its end."""
    return without_slash(masked(str(path))) if is_url(str(path)) else os.path.realpath(path)


def _features(one: tuple[_Source, str, SourceItem]) -> tuple[str, str | None, str | None]:
    """What a sampler sees of an item: its name in the run, its label, its folder."""
    source, image, item = one
    return f"{source.slug}/{image}", item.label, item.folder or source.folder


def _entry(ordinal: int, source: _Source, image: str, item: SourceItem) -> Entry:
    values = {field.name: getattr(item, field.name) for field in fields(item)}
    values |= {"image": image, "folder": item.folder or source.folder}
    return Entry(**values, ordinal=ordinal, source=source.typed, source_slug=source.slug)


def _place(source: _Source) -> tuple[str, str]:
    """What makes two sources the same place: names below it are relative to it."""
    if source.kind == "glob":
        return "folder", _real(split_pattern(source.path)[0])
    if source.kind == "file":
        if is_remote(source.path):
            return "folder", masked(parent(source.path))
        return "folder", os.path.realpath(os.path.dirname(source.path) or ".")
    if source.kind == "stdin":
        return "stdin", "-"
    return source.kind, _real(source.path)


def _slug(place: tuple[str, str]) -> str:
    kind, path = place
    name = "stdin" if kind == "stdin" else base_name(path) if is_url(path) else os.path.basename(path)
    name = name if kind == "folder" else os.path.splitext(name)[0]
    return re.sub(r"[^0-9A-Za-z._-]+", "_", name)[:64].strip(".") or "root"


def _unused_slug(slug: str, used: set[str]) -> str:
    number, unique = 1, slug
    while unique.casefold() in used:
        number += 1
        unique = f"{slug}-{number}"
    return unique


def _suggestion(path: str) -> str:
    """Names in the folder of a path that are like it; an extension in common does not make them so."""
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return ""
    stem = os.path.splitext(name)[0]
    near = near_misses(stem, {os.path.splitext(each)[0] for each in names})
    similar = sorted((each for each in names if os.path.splitext(each)[0] in near), key=lambda each: each != name)[:3]
    return f" Did you mean {', '.join(os.path.join(folder, each) for each in similar)}?" if similar else ""


def _looked_in(path: str) -> str:
    """Where a relative path was looked for, and the first folder of it that is not there."""
    folder = os.path.dirname(path)
    missing = ""
    while folder and not os.path.lexists(folder):
        missing, folder = folder, os.path.dirname(folder)
    there = f" The folder {missing} is not there either." if missing else ""
    return there if os.path.isabs(path) else f"{there} The working directory is {os.getcwd()}."
