"""TIFF files as far as their directories tell: how many pages there are, and which bands the first has."""

import struct
from contextlib import suppress
from dataclasses import dataclass

TIFFS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

WHITE_IS_ZERO, GREY, RGB, CMYK = 0, 1, 2, 5
"""Values of the tag PhotometricInterpretation."""

_COLOURS = {WHITE_IS_ZERO: 1, GREY: 1, RGB: 3}
"""Bands of each kind of picture, without those that the tag ExtraSamples declares."""
_ALPHA = (1, 2)
_PREMULTIPLIED = 1
_USUAL_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946)  # none, CCITT, LZW, JPEG, deflate, PackBits
_INTEGERS = {1: "B", 3: "H", 4: "L", 16: "Q"}
UNSIGNED, _SIGNED = 1, 2
"""Values of the tag SampleFormat."""
_SEPARATE = 2
"""Value of the tag PlanarConfiguration."""
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _FORMAT = 258, 259, 262, 277, 284, 338, 339


@dataclass(frozen=True)
class Page:
    """What the directory of the first page says.

    Attributes:
        samples: bands.
        photometric: how they are meant; None where it is missing.
        extra: what the bands beyond those of a picture are: 1 or 2 for alpha, 0 for anything else.
        compression: how they are stored.
        bits: of one value of the first band.
        kind: of value: 1 for unsigned, 2 for signed integers, 3 for floating-point numbers.
        is_planar: a plane a band, instead of the bands of one pixel after the other.
    """

    samples: int
    photometric: int | None
    extra: tuple[int, ...]
    compression: int = 1
    bits: int = 8
    kind: int = UNSIGNED
    is_planar: bool = False

    @property
    def has_alpha(self) -> bool:
        """Whether it is a grey or RGB picture with alpha and nothing else."""
        return len(self.extra) == 1 and self.extra[0] in _ALPHA and self.photometric in (GREY, RGB)

    @property
    def is_premultiplied(self) -> bool:
        """Whether its alpha was multiplied into its colours."""
        return self.has_alpha and self.extra[0] == _PREMULTIPLIED

    @property
    def is_misread_by_pillow(self) -> bool:
        """Whether Pillow takes its values for others, without an error or with one that says it is damaged."""
        if self.is_planar and self.samples > 1:
            return self.bits == 16 or self.samples == 2 or self.is_premultiplied
        if self.photometric == WHITE_IS_ZERO:
            return self.bits > 8
        return self.bits in range(9, 16) or (self.bits == 8 and self.kind == _SIGNED)

    @property
    def has_rare_compression(self) -> bool:
        """Whether Pillow may have been built without it."""
        return self.compression not in _USUAL_COMPRESSIONS

    @property
    def has_other_bands(self) -> bool:
        """Whether there are bands that are neither a picture nor its alpha, which Pillow passes over."""
        colours = _COLOURS.get(GREY if self.photometric is None else self.photometric)
        return colours is not None and self.samples > colours and any(kind not in _ALPHA for kind in self.extra)


def first_page(data: bytes) -> Page | None:
    """The bands of the first page; None where the directory cannot be read."""
    order, directory, place, first = form(data)
    try:
        (at,) = struct.unpack_from(order + place, data, first)
        (entries,) = struct.unpack_from(order + directory, data, at)
        at += struct.calcsize(order + directory)
        size = 4 + 2 * struct.calcsize(order + place)
        tags = {}
        for i in range(min(entries, 4096)):
            tag, kind = struct.unpack_from(order + "HH", data, at + i * size)
            if tag in (_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _FORMAT) and kind in _INTEGERS:
                tags[tag] = _numbers(data, at + i * size + 4, order, place, _INTEGERS[kind])
    except (struct.error, OverflowError):
        return None

    values = {tag: numbers[0] for tag, numbers in tags.items() if numbers}
    if any(tag in tags and tag not in values for tag in (_SAMPLES, _COMPRESSION)):
        return None
    return Page(
        values.get(_SAMPLES, 1), values.get(_PHOTOMETRIC), tags.get(_EXTRA, ()), values.get(_COMPRESSION, 1),
        bits=values.get(_BITS, 1), kind=values.get(_FORMAT, UNSIGNED), is_planar=values.get(_PLANES) == _SEPARATE,
    )  # fmt: skip


def _numbers(data: bytes, at: int, order: str, place: str, kind: str) -> tuple[int, ...]:
    (count,) = struct.unpack_from(order + place, data, at)
    count, at = min(count, 4096), at + struct.calcsize(order + place)
    form = f"{order}{count}{kind}"
    if struct.calcsize(form) > struct.calcsize(order + place):
        (at,) = struct.unpack_from(order + place, data, at)
    return struct.unpack_from(form, data, at)


def form(data: bytes) -> tuple[str, str, str, int]:
    """Byte order, types of the number of entries and of a place, and where the place of the first directory stands."""
    order = "<" if data[:2] == b"II" else ">"
    return (order, "Q", "Q", 8) if b"+" in data[2:4] else (order, "H", "L", 4)


def count_pages(data: bytes) -> int:
    """Follow the chain of directories, one a page, to its end or as far as it goes.

    Pillow looks every page up in a list of those before: for a file of a few megabytes, which can hold a hundred
    thousand of them, it takes minutes.

    Args:
        data: a file that begins as TIFF files do, classic or BigTIFF.
    """
    # A directory: the number of its entries, the entries of so many bytes, the place of the next directory. The place
    # of the first one stands in the file's header.
    order, count, place, first = form(data)
    entry = 20 if count == "Q" else 12
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
