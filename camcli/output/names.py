"""Where an artefact is: a path that mirrors the input tree, never collides and never leaves the run folder.

The rules, which together make the mapping from (levels, image) to path injective:

* What a file system or a terminal does not allow (control characters, backslashes, bytes that are not UTF-8, the
  components ``.`` and ``..``, empty components) is written as ``%XX``; a ``%`` or ``~`` of the name that could be
  mistaken for something written here is written so too. Everything else stays as it is.
* The artefact's extension is appended to the whole name (``a/x.jpg`` → ``a/x.jpg.png``), so that ``x.jpg`` and
  ``x.png`` stay apart; and no folder ends in an artefact's extension, so that the picture of ``a/x.jpg`` and a folder
  ``a/x.jpg.jpg`` of the input stay apart.
* A component over 255 bytes is cut and closed with ``~`` and 128 bits of a hash of all of it; a path that is too long
  as a whole keeps only its last component, below a folder that is such a hash.
"""

import hashlib
import re
from dataclasses import dataclass
from types import MappingProxyType

from camcli.output.jsontext import as_utf8

FOLDERS = MappingProxyType(
    {"overlay": "overlays", "heatmap": "heatmaps", "gray": "gray", "raw": "raw", "map": "maps", "panel": "panels"}
)
"""The folder of each kind of artefact (the values of ``--save``)."""

EXTENSIONS = ("jpg", "png", "webp", "npy")
"""The extensions that artefacts have."""

MAX_COMPONENT = 255
"""Bytes in one component of a path: the limit of nearly all file systems."""
MAX_IMAGE = 800
"""Bytes of an image's part of a path: with levels and run folder it stays below 1,024, the least limit in use."""

_HASH_DIGITS = 32
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f\\\ud800-\udfff]"  # control characters, the other path separator, bytes that are not UTF-8
    r"|%(?=[0-9A-F]{2}|u[0-9A-F]{4})"  # looks like an escape
    rf"|~(?=[0-9a-f]{{{_HASH_DIGITS}}}\Z)"  # looks like the hash of a name that was cut
)
_LIKE_AN_ARTEFACT = re.compile(rf"\.(?=(?:{'|'.join(EXTENSIONS)})\Z)")


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """An image as its artefacts are named after it.

    Attributes:
        ordinal: position in input order.
        image: its name in the index.
        source: the ``--image-path``, where the run has more than one; else None.
        slug: the folder name of that source, or None.
    """

    ordinal: int
    image: str
    source: str | None
    slug: str | None


def artefact_path(
    kind: str,
    method: str,
    image: str,
    extension: str,
    *,
    layer: str | None = None,
    target: str | None = None,
    source: str | None = None,
) -> str:
    """The path of one artefact, relative to the run folder, with ``/`` between components.

    Args:
        kind: a key of :data:`FOLDERS`.
        method: the method's key.
        image: the image's name in the index (``/`` between components, anything else allowed).
        extension: one of :data:`EXTENSIONS`.
        layer: the layer, where the run has more than one.
        target: the key of the target specification (``predicted``, ``top2``, …), where the run has more than one.
        source: the folder name of the image's source, where the run has more than one.

    Raises:
        ValueError: an unknown kind or extension.
    """
    if kind not in FOLDERS or extension not in EXTENSIONS:
        raise ValueError(f"there are no artefacts of kind {kind!r} with extension {extension!r}")
    levels = [FOLDERS[kind], *(level(name) for name in (method, layer, target, source) if name is not None)]
    return "/".join([*levels, _image_path(image, extension)])


def level(name: str) -> str:
    """A name (of a layer, a target, a source) as one folder: injective, at most 255 bytes."""
    return _folder(escape(as_utf8(name)).replace("/", "%2F"))


def _image_path(image: str, extension: str) -> str:
    *folders, last = (escape(component) for component in as_utf8(image).split("/"))
    file = fit(last, f".{extension}")
    path = "/".join([*map(_folder, folders), file])
    if len(path.encode()) <= MAX_IMAGE:
        return path
    return f"~{_hash('/'.join(folders))}/{file}"


def escape(component: str) -> str:
    """One component of a path with what a file system does not allow written as ``%XX``."""
    if component in ("", ".", ".."):
        return component.replace(".", "%2E") or "%00"
    return _UNSAFE.sub(lambda match: _escape_character(match[0]), component)


def _escape_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: one byte of a name that is not UTF-8
        return f"%{code - 0xDC00:02X}"
    # NUL is %u0000 because %00 encodes an empty component; the other surrogates encode no byte.
    return f"%u{code:04X}" if code == 0 or code > 0xFF else f"%{code:02X}"


def _folder(escaped: str) -> str:
    return fit(_LIKE_AN_ARTEFACT.sub("%2E", escaped))


def fit(escaped: str, suffix: str = "", most: int = MAX_COMPONENT) -> str:
    """A component of at most so many bytes: what is too long is cut, and closed with a hash of all of it."""
    data = escaped.encode()
    if len(data) + len(suffix) <= most:
        return escaped + suffix
    start = data[: most - len(suffix) - 1 - _HASH_DIGITS].decode("utf-8", "ignore")
    return f"{start}~{_hash(escaped)}{suffix}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_HASH_DIGITS // 2).hexdigest()
