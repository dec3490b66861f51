"""Where an artefact is with ``--save-to tar``: a tar a unit, and in it a sample of WebDataset for each image.

The members of an image have a key in common, its name with the dots of the last component escaped, since a key ends at
the first dot: ``a/x.jpg`` has ``a/x%2Ejpg.overlay.gradcam.jpg`` and its row, ``a/x%2Ejpg.json``.
"""

from __future__ import annotations

import re

from camcli.output.jsontext import as_utf8
from camcli.output.names import EXTENSIONS, FOLDERS, escape, fit, level

TARS = "tar"
"""The folder of a run folder that holds the tars."""
_SEPARATOR = "#"
_MAX_KEY, _MAX_SUFFIX = 150, 100
"""Bytes of the last component: a file of this name can be unpacked everywhere."""
_OURS = re.compile(rf"{TARS}/\d{{8,}}\.tar")


def tar_name(number: int) -> str:
    """The tar of a unit, relative to the run folder."""
    return f"{TARS}/{number:08d}.tar"


def is_tar_name(relative: str) -> bool:
    """Whether a path below the run folder is one of :func:`tar_name`."""
    return _OURS.fullmatch(relative) is not None


def in_tar(number: int, member: str) -> str:
    """A member of a tar as the index names it: ``tar/00000042.tar#MEMBER``."""
    return f"{tar_name(number)}{_SEPARATOR}{member}"


def split_member(relative: str) -> tuple[str, str] | None:
    """The tar and the member that the index names; None where this is the path of a file."""
    tar, separator, member = relative.partition(_SEPARATOR)
    return (tar, member) if separator and is_tar_name(tar) else None


def sample_key(image: str, source: str | None) -> str:
    """What the members of an image have in common.

    Args:
        image: its name in the index.
        source: its source as the index has it, where the run has more than one.
    """
    *folders, last = (escape(component) for component in as_utf8(image).split("/"))
    last = fit(last.replace(".", "%2E"), most=_MAX_KEY)
    return "/".join([*([level(source)] if source is not None else []), *(fit(name) for name in folders), last])


def member_name(
    kind: str, method: str, key: str, extension: str, *, layer: str | None = None, target: str | None = None
) -> str:
    """The member of one artefact; the arguments are those of :func:`.names.artefact_path`.

    Raises:
        ValueError: an unknown kind or extension.
    """
    if kind not in FOLDERS or extension not in EXTENSIONS:
        raise ValueError(f"there are no artefacts of kind {kind!r} with extension {extension!r}")
    levels = [level(name).replace(".", "%2E") for name in (method, layer, target) if name is not None]
    return f"{key}.{fit('.'.join([kind, *levels]), most=_MAX_SUFFIX)}.{extension}"


def row_member(key: str) -> str:
    """The member that holds the row of an image."""
    return f"{key}.json"
