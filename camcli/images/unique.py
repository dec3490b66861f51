"""Repeated names are numbered: ``x``, ``x#2``, ``x#3``."""

import hashlib
from array import array
from bisect import bisect_left

_BUCKET_BITS = 12
_MOST_NUMBERS = 1 << 16


class UniqueNames:
    """Make every name unique. Eight bytes are stored of a name, since a list may have millions.

    A name is identified by its 64-bit hash. Of two names with equal hashes (in a million names, a chance of 3 in 10⁸)
    the second gets a number that it does not need; they never count as one image.
    """

    def __init__(self) -> None:
        # A set of hashes: sorted arrays by their first bits, so that an insertion moves few of them.
        self._buckets = [array("Q") for _ in range(1 << _BUCKET_BITS)]
        # The last number of a repeated name. Where it was removed, the numbers are tried from the first again.
        self._numbers: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        unique = name
        while not self._add(unique):
            number = self._numbers.pop(name, 1) + 1
            if len(self._numbers) >= _MOST_NUMBERS:
                self._numbers.clear()
            self._numbers[name] = number
            unique = f"{name}#{number}"
        return unique

    def _add(self, name: str) -> bool:
        """Add a name; False where it is there already."""
        number = _hash(name)
        bucket = self._buckets[number >> (64 - _BUCKET_BITS)]
        place = bisect_left(bucket, number)
        if place < len(bucket) and bucket[place] == number:
            return False
        bucket.insert(place, number)
        return True


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
