"""Images of stores are read before a loader needs them, many at once: each waits for an answer, and uses no core."""

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain

from camcli.concurrency import in_order
from camcli.errors import ImageError
from camcli.images import Entry, read
from camcli.images.entry import TarMember
from camcli.pipeline.isolation import run_guarded
from camcli.pipeline.items import Failed, Fetched
from camcli.storage import is_remote


def read_ahead(items: Iterable[Entry | Failed], connections: int) -> Generator[Entry | Failed | Fetched, None, None]:
    """The images in their order, those of stores with their content; as long as all are files, nothing is done.

    At most ``connections`` images are read at once, and twice as many are read or on their way, fewer where they are
    large (:func:`camcli.concurrency.in_order`).
    """
    rest = iter(items)
    for item in rest:
        if _is_remote(item):
            break
        yield item
    else:
        return
    with (
        ThreadPoolExecutor(connections, "read") as pool,
        closing(in_order(pool, _fetch, chain([item], rest), 2 * connections, _size)) as fetched,
    ):
        yield from fetched


def _is_remote(item: Entry | Failed) -> bool:
    return isinstance(item, Entry) and item.problem is None and is_remote(item.path)


def _fetch(item: Entry | Failed) -> Entry | Failed | Fetched:
    if not isinstance(item, Entry) or not _is_remote(item):
        return item
    try:
        return Fetched(item.without_content(), run_guarded(lambda: read(item), "reading"))
    except ImageError as error:
        return Failed(item.without_content(), error)


def _size(item: Entry | Failed | Fetched) -> int:
    if isinstance(item, Fetched):
        return len(item.content)
    if not isinstance(item, Entry):
        return 0
    return item.member.size if isinstance(item.member, TarMember) else item.size or 0
