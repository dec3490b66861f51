"""Files that hold images but are none: lists, archives and videos that are named directly, and what to do instead."""

import os

from camcli.images.damage import has_known_start
from camcli.images.tar import COMPRESSED
from camcli.storage import is_remote, masked, read_bytes, without_query

_LISTS = (".txt", ".lst", ".list")
_TABLES = (".json", ".tsv", ".xlsx", ".xls", ".ndjson", ".feather")
_ARCHIVES = (".zip", ".7z", ".rar")
_VIDEOS = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".m2ts", ".mts", ".3gp", ".ogv",
)  # fmt: skip
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # of images in the container of MP4


def what_instead(path: str) -> str | None:
    """What to do with a file that is no image by its extension and its beginning; None where it may be one."""
    name, shown = without_query(path).lower(), masked(path)
    kinds = (
        (_LISTS, f"a list is named with an @: --image-path @{shown}"),
        (_TABLES, "a manifest is a .csv or .jsonl file with a column `image`; convert it"),
        (_ARCHIVES, "an archive is read only as an uncompressed .tar; unpack it and name the folder"),
        (COMPRESSED, "a compressed tar is not read in place; decompress it and name the .tar, or unpack it"),
        (_VIDEOS, _of_video(shown)),
    )
    remedy = next((text for endings, text in kinds if name.endswith(endings)), None)
    return None if remedy is None or _begins_as_image(path) else remedy


def _of_video(path: str) -> str:
    folder = os.path.splitext(os.path.basename(path))[0] or "frames"
    return (
        f"a video; take its frames first (mkdir {folder}; ffmpeg -i {path} -vf fps=1 {folder}/%06d.png) and name the "
        f"folder {folder}"
    )


def _begins_as_image(path: str) -> bool:
    """Whether the content is an image under a wrong name: what is named explicitly is always tried."""
    try:
        head = read_bytes(path, 0, 16) if is_remote(path) else _head(path)
    except OSError:
        return True  # reading it says what is wrong
    if head[4:8] == b"ftyp":
        return head[8:12] in _BRANDS
    return len(head) >= 4 and has_known_start(head)


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(16)
