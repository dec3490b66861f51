"""Where each key's line is in the journal: 16 bytes a key, so that a million images cost 16 MB.

Keys are stored as 64-bit hashes only; a look-up reads the line and checks whether it is the right one. Two
keys of equal hash (in a million, a chance of 3 in 10⁸) cost explaining one of their images again, never a wrong row.
"""

import hashlib

import numpy as np
import numpy.typing as npt

_RECENT = 1 << 13  # keys kept in a dictionary before they are merged into the arrays; bounds its memory to 1 MB


def key_hash(*parts: bytes) -> int:
    """A 64-bit hash of a key made of several parts."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return int.from_bytes(digest.digest(), "little")


class OffsetTable:
    """A map from 64-bit hash to offset: sorted arrays, and a small dictionary of what is not merged into them yet."""

    def __init__(self) -> None:
        self._hashes: npt.NDArray[np.uint64] = np.empty(0, np.uint64)  # sorted
        self._offsets: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._recent: dict[int, int] = {}

    def __setitem__(self, key: int, offset: int) -> None:
        self._recent[key] = offset
        if len(self._recent) >= _RECENT:
            self._merge()

    def get(self, key: int) -> int | None:
        """The offset last set for a key, or None."""
        recent = self._recent.get(key)
        if recent is not None:
            return recent
        place = int(np.searchsorted(self._hashes, np.uint64(key)))
        if place < len(self._hashes) and int(self._hashes[place]) == key:
            return int(self._offsets[place])
        return None

    def offsets(self) -> npt.NDArray[np.int64]:
        """The offsets of all keys, (number of keys,) int64, ascending."""
        self._merge()
        return np.sort(self._offsets)

    def __len__(self) -> int:
        self._merge()
        return len(self._hashes)

    def _merge(self) -> None:
        if not self._recent:
            return
        hashes = np.fromiter(self._recent.keys(), np.uint64, len(self._recent))
        offsets = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        by_hash = np.argsort(hashes)
        hashes, offsets = hashes[by_hash], offsets[by_hash]
        places = np.searchsorted(self._hashes, hashes)
        is_stored = np.zeros(len(hashes), bool)
        inside = places < len(self._hashes)
        is_stored[inside] = self._hashes[places[inside]] == hashes[inside]
        self._offsets[places[is_stored]] = offsets[is_stored]
        self._hashes = np.insert(self._hashes, places[~is_stored], hashes[~is_stored])
        self._offsets = np.insert(self._offsets, places[~is_stored], offsets[~is_stored])
        self._recent = {}
