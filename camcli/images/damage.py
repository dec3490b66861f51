"""Why a file could not be decoded, derived from its bytes: cut short, damaged inside, or no image at all.

Decoders report a cut file in many ways, so the containers are walked here: a file whose own structure declares more
bytes than there are was cut short.
"""

import struct
from collections.abc import Callable

from camcli.images.tiff import TIFFS, form

_JPEG, _PNG, _JP2 = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_GIFS = (b"GIF87a", b"GIF89a")
_KNOWN = (_JPEG, _PNG, _JP2, *_GIFS, *TIFFS, b"RIFF", b"BM")

_TIFF_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8}
"""Bytes of one value, by the type of its field; one where it is not listed."""
_PLACES = {3: "H", 4: "I", 16: "Q"}

_NOT_IMAGES = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the image with git lfs pull"),
    (b"<!doctype html", "an HTML page, perhaps of a download that failed"),
    (b"<html", "an HTML page, perhaps of a download that failed"),
    (b"<svg", "an SVG drawing; render it to PNG first"),
    (b"<?xml", "an XML or SVG file"),
    (b"%pdf", "a PDF document; render its page to PNG first"),
    (b"%!ps", "a PostScript file; render it to PNG first"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
)


def has_known_start(data: bytes) -> bool:
    """Whether the bytes begin, or are themselves only the beginning of, a common image format."""
    if data[:4] == b"RIFF" and data[8:12] not in (b"", b"WEBP"[: len(data[8:12])]):
        return False
    return any(data.startswith(k) or (len(data) > 1 and k.startswith(data)) for k in _KNOWN) or _is_boxed(data)


def what_it_is(data: bytes) -> str:
    """A few words on bytes that no decoder recognises."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, words in _NOT_IMAGES:
        if head.startswith(start):
            return words
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    try:
        is_text = data[:512].decode("utf-8").isprintable() or b"\n" in data[:512]
    except UnicodeDecodeError:
        is_text = False
    return "text" if is_text and b"\0" not in data[:512] else "content that no decoder recognises"


def is_cut_short(data: bytes) -> bool:
    """Whether the structure of a common format declares more bytes than there are."""
    if any(len(data) < len(k) and k.startswith(data) for k in _KNOWN):
        return True
    walk = next((walk for start, walk in _WALKS if data.startswith(start)), _boxes if _is_boxed(data) else None)
    if walk is None:
        return False
    try:
        return walk(data)
    except (struct.error, IndexError):  # the walk itself ran over the end
        return True


def _is_boxed(data: bytes) -> bool:
    return data.startswith(_JP2) or data[4:8] == b"ftyp"


def _jpeg(data: bytes) -> bool:
    at = 2
    while True:
        if data[at] != 0xFF:
            return False  # no marker where one must be: damaged, not cut
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xDA:  # scan data follow, in which a true end marker cannot occur
            return data.find(b"\xff\xd9", at) < 0
        elif marker == 0xD9:
            return False
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _png(data: bytes) -> bool:
    at = len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha():
            return False
        at += 12 + length
        if at > len(data):
            return True
        if kind == b"IEND":
            return False


def _gif(data: bytes) -> bool:
    def table(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    at = 13 + table(data[10])
    while data[at] != 0x3B:
        if data[at] == 0x2C:
            at += 11 + table(data[at + 9])
        elif data[at] == 0x21:
            at += 2
        else:
            return False
        while data[at]:  # sub-blocks: a length, then that many bytes
            at += 1 + data[at]
        at += 1
    return False


def _tiff(data: bytes) -> bool:
    order, count_form, place, first = form(data)
    width = struct.calcsize(order + place)
    (start,) = struct.unpack_from(order + place, data, first)
    (entries,) = struct.unpack_from(order + count_form, data, start)
    start += struct.calcsize(order + count_form)
    numbers: dict[int, tuple[int, ...]] = {}
    for i in range(entries):
        at = start + (4 + 2 * width) * i
        tag, kind, count = struct.unpack_from(f"{order}HH{place}", data, at)
        size = count * _TIFF_BYTES.get(kind, 1)
        where = at + 4 + width if size <= width else struct.unpack_from(order + place, data, at + 4 + width)[0]
        if where + size > len(data):
            return True
        if tag in (273, 279, 324, 325) and kind in _PLACES:  # offsets and lengths of strips, of tiles
            numbers[tag] = struct.unpack_from(f"{order}{count}{_PLACES[kind]}", data, where)
    for offsets, lengths in ((273, 279), (324, 325)):
        pieces = zip(numbers.get(offsets, ()), numbers.get(lengths, ()), strict=False)
        if any(offset + length > len(data) for offset, length in pieces):
            return True
    return False


def _boxes(data: bytes) -> bool:
    at = 0
    while at < len(data):
        size = struct.unpack_from(">I", data, at)[0]
        if size == 1:
            size = struct.unpack_from(">Q", data, at + 8)[0]
        if size < 8:  # 0: to the end of the file; others: damaged, not cut
            return False
        at += size
    return at > len(data)


_WALKS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[bytes], bool]], ...] = (
    (_JPEG, _jpeg),
    (_PNG, _png),
    (_GIFS, _gif),
    (b"RIFF", lambda data: struct.unpack_from("<I", data, 4)[0] + 8 > len(data)),
    (b"BM", lambda data: struct.unpack_from("<I", data, 2)[0] > len(data)),
    (TIFFS, _tiff),
)
"""The test of each format for a file that is cut short, by the format's first bytes."""
