"""Inputs whose files hold many images each: tars and tables, one or those of a pattern, and data sets on disk."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Literal

from camcli.errors import SourceError
from camcli.images.braces import expand_braces, has_braces
from camcli.images.entry import SourceItem
from camcli.images.resumed import Resumed
from camcli.images.table_files import require_pyarrow
from camcli.images.tables import check_table, class_names_of, count_rows, from_table, is_table
from camcli.images.tar import from_tar, is_compressed_tar, is_tar
from camcli.images.tar_members import check_tar
from camcli.images.walk import glob, is_pattern, split_pattern
from camcli.storage import StorageError, base_name, find, is_remote, masked

_MOST_NAMED = 5
_MOST_LOOKED_INTO = 1000
_MOST_AT_ONCE = 16
_DATASET = ("state.json", "dataset_info.json")
_SPLITS = "dataset_dict.json"


@dataclass(frozen=True, slots=True)
class Packed:
    """The files of one input.

    Attributes:
        kind: what they are.
        files: their paths, in order.
        dataset: the folder of a data set, whose rows are numbered through all files; None: each file by itself.
        stream: their images with contents, where listing them means to transfer all of the files.
    """

    kind: Literal["tar", "table"]
    files: tuple[str, ...]
    dataset: str | None = None
    stream: Resumed | None = field(default=None, compare=False, repr=False)

    def check(self) -> None:
        """Open each file once; raises SourceError for the first that cannot be read as what it is."""
        check = check_tar if self.kind == "tar" else check_table
        with ThreadPoolExecutor(_MOST_AT_ONCE if any(map(is_remote, self.files)) else 1) as pool:
            for _ in pool.map(check, self.files):
                pass

    def items(self, contents: bool = False) -> Iterator[SourceItem | None]:
        """What the files hold, one after the other; ``contents``: with that of images that are read as a stream."""
        if self.stream is not None:
            yield from (item if contents or item is None else item.without_content() for item in self.stream)
            return
        first = 0
        for file in self.files:
            if self.kind == "tar":
                yield from from_tar(file)
            elif self.dataset is None:
                yield from from_table(
                    file, os.path.splitext(base_name(file) if is_remote(file) else os.path.basename(file))[0]
                )
            else:
                yield from from_table(file, os.path.basename(os.path.abspath(self.dataset)), first)
                first += count_rows(file)

    def class_folders(self) -> tuple[str, ...]:
        """Names of classes in their order: the sorted folders of a tar, or as a table numbers them.

        Of tars in a store none: they are not transferred for it.
        """
        if self.kind == "table":
            return class_names_of(self.files[0])
        if self.stream is not None:
            return ()
        return tuple(sorted({item.folder for item in self.items() if item is not None and item.folder}))


def packed_below(folder: str) -> str | None:
    """A pattern of the tars or tables that are in a folder or one below it; None: none was found.

    Folders are not searched for them: a run of images does not open archives that nobody named.
    """
    levels = [folder, *(one.path for one in _entries(folder) if one.is_dir())]
    for level in levels[:_MOST_LOOKED_INTO]:
        for one in _entries(level):
            if (is_tar(one.name) or is_table(one.name)) and one.is_file():
                return os.path.join(level, f"*{os.path.splitext(one.name)[1]}")
    return None


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(islice(entries, _MOST_LOOKED_INTO), key=lambda entry: entry.name)
    except OSError:
        return []


def find_packed(typed: str) -> Packed | None:
    """The files that an ``--image-path`` names, where it names tars or tables; None: it is something else.

    Raises:
        SourceError: some of them are not there, a data set lacks a file or has several splits, or pyarrow is needed.
    """
    remote = is_remote(typed)
    if not remote and os.path.isdir(typed):
        return _dataset(typed)
    if not remote and os.path.lexists(typed):
        return _of_files(typed, [typed]) if os.path.isfile(typed) else None
    if "::" in typed or not (remote or has_braces(typed) or is_pattern(typed)):
        return None
    names = expand_braces(typed)
    if all(is_tar(name) or is_table(name) for name in names):
        return _of_files(typed, _existing(typed, names))
    if any(map(is_compressed_tar, names)) and len(names) > 1:
        raise SourceError(
            f"--image-path {masked(typed)}: compressed tars are not read in place. Decompress them first."
        )
    return None


def _of_files(typed: str, files: Sequence[str]) -> Packed | None:
    if all(map(is_tar, files)):
        is_stream = any(map(is_remote, files))
        stream = Resumed(lambda: chain.from_iterable(from_tar(file, contents=True) for file in files))
        return Packed("tar", tuple(files), stream=stream if is_stream else None)
    if all(map(is_table, files)):
        require_pyarrow(masked(typed))
        return Packed("table", tuple(files))
    if len(files) > 1:
        raise SourceError(f"--image-path {masked(typed)}: names both tars and tables. Name them one after the other.")
    return None


def _existing(typed: str, names: Sequence[str]) -> list[str]:
    """The files of a pattern, those of globs sorted; raises SourceError where any is not there."""
    shown = masked(typed)
    try:
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:  # each file of a store takes a request
            matches = list(pool.map(_match, names)) if is_remote(typed) else list(map(_match, names))
    except StorageError as error:
        raise SourceError(f"--image-path {shown}: {error.strerror}.") from error
    missing = [masked(name) for name, files in zip(names, matches, strict=True) if not files]
    if not missing:
        return [file for files in matches for file in files]
    if len(names) == 1:
        raise SourceError(
            f"--image-path {shown}: no file {'matches' if is_pattern(typed) else 'of this name is there'}."
        )
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    raise SourceError(
        f"--image-path {shown}: {len(missing)} of {len(names)} files are not there: "
        f"{', '.join(missing[:_MOST_NAMED])}{more}. Fetch them, or narrow the pattern."
    )


def _match(name: str) -> list[str]:
    """The files that one name of a pattern stands for: itself, or what it matches as a glob."""
    listed = find(name) if is_remote(name) else None
    if os.path.isfile(name) or (listed is not None and not listed.is_folder):
        return [name]
    if not is_pattern(name):
        return []
    if not is_remote(name) and not os.path.isdir(split_pattern(name)[0]):
        return []
    return [item.path for item in glob(name, None) if item is not None and item.problem is None]


def _dataset(folder: str) -> Packed | None:
    """The files of a data set that ``datasets`` saved; None: this is another folder."""
    if os.path.isfile(os.path.join(folder, _SPLITS)):
        listed = _read(folder, _SPLITS).get("splits")
        splits = [split for split in (listed if isinstance(listed, list) else ()) if isinstance(split, str)]
        if len(splits) != 1:
            remedy = f"--image-path {os.path.join(folder, splits[0])}" if splits else "one of its folders"
            raise SourceError(
                f"--image-path {folder}: a data set with the splits {', '.join(splits) or 'none'}. Name one: {remedy}."
            )
        return _dataset(os.path.join(folder, splits[0]))
    if not all(os.path.isfile(os.path.join(folder, name)) for name in _DATASET):
        return None
    require_pyarrow(folder)
    names = [
        one.get("filename") for one in _read(folder, "state.json").get("_data_files") or () if isinstance(one, dict)
    ]
    files = tuple(os.path.join(folder, str(name)) for name in names)
    missing = [file for file in files if not os.path.isfile(file)]
    if missing or not files:
        what = (
            f"files of it are not there: {', '.join(missing[:_MOST_NAMED])}" if missing else "state.json lists no file"
        )
        raise SourceError(f"--image-path {folder}: a saved data set, but {what}. Save or copy it again.")
    return Packed("table", files, folder)


def _read(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
    except (OSError, ValueError) as error:
        raise SourceError(f"--image-path {folder}: {path} cannot be read ({error}).") from error
    return fields if isinstance(fields, dict) else {}
