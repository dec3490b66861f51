"""What an ``--image-path`` that is a URL names, and whether its store can be used."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

from camcli.errors import SourceError
from camcli.images.entry import SourceItem
from camcli.images.lists import is_manifest
from camcli.images.walk import is_pattern, split_pattern
from camcli.storage import Listed, StorageError, find, is_remote, is_web, masked, require_store, without_slash

RemoteKind = Literal["list", "folder", "manifest", "file", "glob"]

_TRIED = 3  # files of one store, before it counts as one that cannot be used


def kind_of_url(typed: str) -> tuple[RemoteKind, str, int | None]:
    """What a URL is, as ``@`` says, as the store answers, or else as a pattern: kind, URL, bytes of a file.

    Raises:
        SourceError: it names nothing, or the store refuses; the message says what to do.
    """
    url, shown = typed.removeprefix("@"), masked(typed)
    if "::" in url:
        raise SourceError(f"--image-path {shown}: chained URLs (with ::) are not read. Name the file itself.")
    listed = _look_up(url, shown)
    if typed.startswith("@"):
        if listed is None or listed.is_folder:
            reason = "no list is there" if listed is None else "this is a folder, and @ stands before a list"
            raise SourceError(f"--image-path {shown}: {reason}.")
        return "list", url, listed.size
    if listed is None:
        if not is_pattern(url):
            raise SourceError(f"--image-path {shown}: nothing of this name is there.")
        return "glob", url, None
    if listed.is_folder:
        return "folder", url if is_web(url) else without_slash(url), None
    return "manifest" if is_manifest(url) else "file", url, listed.size


def _look_up(url: str, shown: str) -> Listed | None:
    try:
        if is_pattern(url) and is_web(url):  # most servers answer with an error, which is no news
            find(without_slash(split_pattern(url)[0]) + "/")
            return None
        return find(url)
    except StorageError as error:
        raise SourceError(f"--image-path {shown}: {error.strerror}.") from error


def check_stores(shown: str, items: Iterable[SourceItem | None]) -> None:
    """Check that the stores of what a list or manifest names can be used, by a few of its files.

    A web server that does not answer is left out: its images fail one by one, as in any list of links.

    Raises:
        SourceError: none of the files that were tried can be read because of their store.
    """
    failures: dict[str, list[StorageError | None]] = {}
    for item in items:
        if item is None or not is_remote(item.path):
            continue
        tried = failures.setdefault("/".join(item.path.split("/")[:3]), [])
        if len(tried) >= _TRIED or None in tried:
            continue
        tried.append(_failure(item.path))
        if tried[-1] is not None and tried[-1].cause == "unusable":
            break
    for store, tried in failures.items():
        errors = [error for error in tried if error is not None]
        if errors and len(errors) == len(tried) and not (is_web(store) and errors[-1].cause != "unusable"):
            raise SourceError(f"--image-path {shown}: {masked(store)}: {errors[-1].strerror}.")


def _failure(url: str) -> StorageError | None:
    try:
        require_store(url)
    except StorageError as error:
        return error
    return None


def first_of(items: Iterator[SourceItem]) -> list[SourceItem]:
    """The first few items of a list, which may be long."""
    return list(islice(items, _TRIED))
