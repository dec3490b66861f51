"""Inputs whose files hold many images each: tars and tables, one or those of a pattern, and data sets on disk."""

import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from camcli.errors import SourceError
from camcli.images.braces import expand_braces, has_braces
from camcli.images.entry import SourceItem
from camcli.images.table_files import require_pyarrow
from camcli.images.tables import check_table, class_names_of, count_rows, from_table, is_table
from camcli.images.tar import check_tar, from_tar, is_compressed_tar, is_tar
from camcli.images.walk import is_pattern

_MOST_NAMED = 5
_DATASET = ("state.json", "dataset_info.json")
_SPLITS = "dataset_dict.json"


@dataclass(frozen=True, slots=True)
class Packed:
    """The files of one input.

    Attributes:
        kind: what they are.
        files: their paths, in order.
        dataset: the folder of a data set, whose rows are numbered through all files; None: each file by itself.
    """

    kind: Literal["tar", "table"]
    files: tuple[str, ...]
    dataset: str | None = None

    def check(self) -> None:
        """Open each file once; raises SourceError for the first that cannot be read as what it is."""
        for file in self.files:
            (check_tar if self.kind == "tar" else check_table)(file)

    def items(self) -> Iterator[SourceItem | None]:
        """What the files hold, one after the other."""
        first = 0
        for file in self.files:
            if self.kind == "tar":
                yield from from_tar(file)
            elif self.dataset is None:
                yield from from_table(file, os.path.splitext(os.path.basename(file))[0])
            else:
                yield from from_table(file, os.path.basename(os.path.abspath(self.dataset)), first)
                first += count_rows(file)

    def class_folders(self) -> tuple[str, ...]:
        """Names of classes in their order: the sorted folders of a tar, or as a table numbers them."""
        if self.kind == "table":
            return class_names_of(self.files[0])
        return tuple(sorted({item.folder for item in self.items() if item is not None and item.folder}))


def find_packed(typed: str) -> Packed | None:
    """The files that an ``--image-path`` names, where it names tars or tables; None: it is something else.

    Raises:
        SourceError: some of them are not there, a data set lacks a file or has several splits, or pyarrow is needed.
    """
    if os.path.isdir(typed):
        return _dataset(typed)
    if os.path.lexists(typed):
        if not os.path.isfile(typed):
            return None
        return _of_files(typed, [typed])
    if not (has_braces(typed) or is_pattern(typed)):
        return None
    names = expand_braces(typed)
    if not all(is_tar(name) or is_table(name) for name in names):
        if any(map(is_compressed_tar, names)):
            raise SourceError(f"--image-path {typed}: compressed tars are not read in place. Decompress them first.")
        return None
    return _of_files(typed, list(_existing(typed, names)))


def _of_files(typed: str, files: Sequence[str]) -> Packed | None:
    if all(map(is_tar, files)):
        return Packed("tar", tuple(files))
    if all(map(is_table, files)):
        require_pyarrow(typed)
        return Packed("table", tuple(files))
    if len(files) > 1:
        raise SourceError(f"--image-path {typed}: names both tars and tables. Name them one after the other.")
    return None


def _existing(typed: str, names: Sequence[str]) -> Iterator[str]:
    """The files of a pattern, those of globs sorted; raises SourceError where any is not there."""
    missing, matched = [], 0
    for name in names:
        files = [name] if os.path.isfile(name) else _match(name) if is_pattern(name) else []
        if not files:
            missing.append(name)
        matched += len(files)
        yield from files
    if not missing:
        return
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    listed = ", ".join(missing[:_MOST_NAMED]) + more
    if not matched and len(names) == 1:
        raise SourceError(f"--image-path {typed}: no file matches.")
    raise SourceError(
        f"--image-path {typed}: {len(missing)} of {len(names)} files are not there: {listed}. Fetch them, or narrow "
        "the pattern."
    )


def _match(pattern: str) -> list[str]:
    return sorted(file for file in glob.glob(pattern, recursive=True) if os.path.isfile(file))


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
