"""How many pages a TIFF file has."""

import struct
from contextlib import suppress


def count_pages(data: bytes) -> int:
    """Follow the chain of directories, one a page, to its end or as far as it goes.

    Pillow looks every page up in a list of those before: for a file of a few megabytes, which can hold a hundred
    thousand of them, it takes minutes.

    Args:
        data: a file that begins as TIFF files do, classic or BigTIFF.
    """
    order = "<" if data[:2] == b"II" else ">"
    # A directory: the number of its entries, the entries of so many bytes, the place of the next directory. The place
    # of the first one stands in the file's header.
    count, entry, place, first = ("Q", 20, "Q", 8) if b"+" in data[2:4] else ("H", 12, "L", 4)
    number, position = struct.Struct(order + count), struct.Struct(order + place)
    pages: set[int] = set()
    with suppress(struct.error, OverflowError):  # a directory that lies beyond the end of the file
        (at,) = position.unpack_from(data, first)
        while at and at not in pages:
            (entries,) = number.unpack_from(data, at)
            (following,) = position.unpack_from(data, at + number.size + entry * entries)
            pages.add(at)
            at = following
    return len(pages)
