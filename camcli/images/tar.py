"""Images in an uncompressed tar: its headers are read one by one, and a member's content only when it is needed."""

import os
import tarfile
from collections.abc import Iterator

from camcli.errors import SourceError
from camcli.images.entry import PASSED_OVER, Problem, SourceItem, TarMember, has_image_extension, parent_name
from camcli.storage import without_query


def is_tar(path: str) -> bool:
    """Whether a file is read as an archive, by its extension."""
    return without_query(path).lower().endswith(".tar")


def check_tar(path: str) -> None:
    """Open an archive once, so that what is wrong with it is reported before any image is explained.

    Raises:
        SourceError: it cannot be read, or is no uncompressed tar.
    """
    try:
        with tarfile.open(path, "r:"):
            return
    except tarfile.TarError as error:
        raise SourceError(
            f"--image-path {path}: not an uncompressed tar ({error}). Decompress it first: members are read in place."
        ) from error
    except OSError as error:
        raise SourceError(f"--image-path {path}: cannot be read ({error.strerror}).") from error


def from_tar(path: str) -> Iterator[SourceItem | None]:
    """Every image of an archive in its order; PASSED_OVER for other members.

    An archive that ends too early or is damaged half-way yields what is before that, then an image that cannot be read.

    Raises:
        SourceError: as :func:`check_tar`.
    """
    check_tar(path)
    name = "nothing"
    with tarfile.open(path, "r:") as archive:
        while True:
            try:
                member = archive.next()
            except tarfile.TarError as error:
                message = f"the tar is damaged after {name} ({error}); what follows was not found"
                yield SourceItem(os.path.basename(path), path, problem=Problem("corrupt", message))
                return
            if member is None:
                return
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every header it has seen
            name = member.name
            if not member.isdir():
                image = member.name.removeprefix("./")
                is_image = member.isreg() and not member.issparse() and has_image_extension(image)
                place = TarMember(member.offset_data, member.size)
                yield SourceItem(image, path, place, parent_name(image)) if is_image else PASSED_OVER
