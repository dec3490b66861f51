"""The structure of a JPEG file, walked without decoding it: whether all of an ordinary picture is there.

A decoder that gives no reasons, and may make up what is missing, gets only files in which nothing is missing or
unusual: three components of 8 bits, baseline or progressive, with all their tables, scans and restart markers, up to
the end marker. Whatever libjpeg refuses is not among them; nor are files that it takes with a warning, where the
damage shows in the structure. The content of a scan is not looked at: no decoder can tell damage in it from a picture.
"""

import re
import struct
from dataclasses import dataclass, field

_MARKER, _RESTART = re.compile(rb"\xff[^\x00\xd0-\xd7]"), re.compile(rb"\xff([\xd0-\xd7])")
_BASELINE, _PROGRESSIVE, _TABLES, _END, _SCAN, _QUANTISATION, _INTERVAL, _COMMENT = (
    *(0xC0, 0xC2, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD),
    0xFE,
)
_SAMPLINGS = ((1, 1), (2, 1), (1, 2), (2, 2), (4, 1))
"""Horizontal and vertical samples of the luma for one of each chroma."""
_RGB = (ord("R"), ord("G"), ord("B"))
"""Names of components that are not luma and chroma."""


class _UnusualError(Exception):
    """The file is damaged, or of a rare kind."""


def find_end(data: bytes, size: tuple[int, int]) -> int | None:
    """Where the picture ends, if it is an ordinary and whole one of this (width, height); None if it is not."""
    try:
        return _Walk(data, size).run()
    except (_UnusualError, struct.error, IndexError):
        return None


@dataclass(frozen=True)
class _Component:
    across: int
    down: int
    quantisation: int
    exact: list[int] = field(default_factory=lambda: [_UNSEEN] * 64)
    """The lowest bit that the scans so far have given, of each coefficient."""


_UNSEEN = 99


class _Walk:
    def __init__(self, data: bytes, size: tuple[int, int]) -> None:
        self._data, self._size = data, size
        self._components: dict[int, _Component] = {}
        self._is_progressive = False
        self._quantisations: set[int] = set()
        self._codes: set[tuple[int, int]] = set()  # class (0: DC, 1: AC) and number
        self._interval = 0

    def run(self) -> int:
        at = 2
        while True:
            _require(self._data[at] == 0xFF)
            marker = self._data[at + 1]
            if marker == _END:
                parts = self._components.values()
                _require(len(parts) == 3 and not any(any(part.exact) for part in parts))
                return at + 2
            (length,) = struct.unpack_from(">H", self._data, at + 2)
            body = self._data[at + 4 : at + 2 + length]
            _require(length >= 2 and len(body) == length - 2)
            at += 2 + length
            if marker == _SCAN:
                at = self._skip_scan(at, self._read_scan(body))
            else:
                self._read_segment(marker, body)

    def _read_segment(self, marker: int, body: bytes) -> None:
        if marker in (_BASELINE, _PROGRESSIVE):
            self._is_progressive = marker == _PROGRESSIVE
            self._read_frame(body)
        elif marker == _TABLES:
            self._read_codes(body)
        elif marker == _QUANTISATION:
            _require(len(body) % 65 == 0)
            numbers = set(body[::65])
            _require(max(numbers, default=0) < 4)  # a higher one has values of 16 bits
            self._quantisations |= numbers
        elif marker == _INTERVAL:
            (self._interval,) = struct.unpack(">H", body)
        else:
            _require(0xE0 <= marker <= 0xEF or marker == _COMMENT)

    def _read_frame(self, body: bytes) -> None:
        bits, height, width, count = struct.unpack_from(">BHHB", body)
        _require(not self._components and (bits, count, len(body)) == (8, 3, 15) and (width, height) == self._size)
        names = tuple(body[6::3])
        _require(len(set(names)) == 3 and names != _RGB)
        for name, sampling, table in zip(names, body[7::3], body[8::3], strict=True):
            self._components[name] = _Component(sampling >> 4, sampling & 15, table)
        luma, *chroma = ((part.across, part.down) for part in self._components.values())
        _require(luma in _SAMPLINGS and chroma == [(1, 1), (1, 1)])

    def _read_codes(self, body: bytes) -> None:
        """Huffman tables: complete, no code too long for its length, and none all ones."""
        while body:
            kind, number = body[0] >> 4, body[0] & 15
            counts = body[1:17]
            symbols = body[17 : 17 + sum(counts)]
            _require(kind < 2 and number < 4 and len(counts) == 16 and len(symbols) == sum(counts) <= 256)
            code = 0
            for length, count in enumerate(counts, 1):
                code += count
                _require(not count or code < 1 << length)
                code *= 2
            _require(kind == 1 or max(symbols, default=0) < 16)
            self._codes.add((kind, number))
            body = body[17 + len(symbols) :]

    def _read_scan(self, body: bytes) -> list[_Component]:
        """The components of a scan, once its parameters and tables are right."""
        count = body[0]
        _require(1 <= count <= 3 and len(body) == 4 + 2 * count)
        names, tables = body[1:-3:2], body[2:-3:2]
        _require(len(set(names)) == count and all(name in self._components for name in names))
        first, last, bits = body[-3:]
        before, after = bits >> 4, bits & 15
        if self._is_progressive:
            _require((last == 0 if first == 0 else first <= last <= 63 and count == 1) and after <= 13)
        else:
            _require(count == 3 and (first, last, bits) == (0, 63, 0))
        parts = [self._components[name] for name in names]
        for part, table in zip(parts, tables, strict=True):
            _require(part.quantisation in self._quantisations)
            _require(first > 0 or before > 0 or (0, table >> 4) in self._codes)
            _require(last == 0 or (1, table & 15) in self._codes)
            _require(first == 0 or part.exact[0] != _UNSEEN)
            _require(set(part.exact[first : last + 1]) == {before or _UNSEEN} and (not before or after == before - 1))
            part.exact[first : last + 1] = [after] * (last + 1 - first)
        return parts

    def _skip_scan(self, at: int, parts: list[_Component]) -> int:
        """Where the next marker is that is no restart; restarts are as many as declared, and in their order."""
        end = _MARKER.search(self._data, at)
        _require(end is not None and end.start() > at)
        assert end is not None
        restarts = b"".join(_RESTART.findall(self._data, at, end.start()))
        number = (self._units(parts) - 1) // self._interval if self._interval else 0
        _require(restarts == (bytes(range(0xD0, 0xD8)) * (number // 8 + 1))[:number])
        return end.start()

    def _units(self, parts: list[_Component]) -> int:
        """Units of a scan that restarts count: blocks of one component, or groups of blocks of several."""
        most = [max(pair) for pair in zip(*((p.across, p.down) for p in self._components.values()), strict=True)]
        own = most if len(parts) > 1 else [parts[0].across, parts[0].down]
        across, down = (
            -(-side * share // (8 * whole)) if len(parts) == 1 else -(-side // (8 * whole))
            for side, share, whole in zip(self._size, own, most, strict=True)
        )
        units: int = across * down
        return units


def _require(is_usual: bool) -> None:
    if not is_usual:
        raise _UnusualError
