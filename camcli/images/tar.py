"""Images in an uncompressed tar: its headers are read one by one, and a member's content only when it is needed.

Consecutive members of one name up to the first dot of their base name are a sample, as in WebDataset: the label in a
``.cls`` or ``.json`` member is that of the images beside it.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from itertools import groupby, islice

from camcli.errors import SourceError
from camcli.images.entry import PASSED_OVER, Problem, SourceItem, TarMember, has_image_extension, parent_name
from camcli.images.label_keys import label_of_json, label_of_text

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4")
"""Extensions of compressed archives."""
_BLOCK = tarfile.BLOCKSIZE
_MOST_IN_SAMPLE = 64
"""More members of one key are no sample but names such as ``frame.0001.jpg``, which a tar may have millions of."""
_MOST_OF_LABEL = 1 << 20
_DAMAGED = (tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError, OSError)
"""What a damaged header raises: a number, a text or a size that cannot be."""


def is_tar(path: str) -> bool:
    """Whether a file is read as an archive, by its extension."""
    return path.lower().endswith(".tar")


def is_compressed_tar(path: str) -> bool:
    """Whether a file is a compressed archive, by its extension."""
    return path.lower().endswith(COMPRESSED)


def check_tar(path: str) -> None:
    """Open an archive once, so that what is wrong with it is reported before any image is explained.

    Raises:
        SourceError: it cannot be read, or is no uncompressed tar.
    """
    try:
        with _open(path) as file, tarfile.open(fileobj=file, mode="r:"):
            return
    except OSError as error:
        raise SourceError(f"--image-path {path}: cannot be read ({error.strerror}).") from error
    except _DAMAGED as error:
        raise SourceError(
            f"--image-path {path}: not an uncompressed tar ({error}). Decompress it first: members are read in place."
        ) from error


def from_tar(path: str) -> Iterator[SourceItem | None]:
    """Every image of an archive in its order; PASSED_OVER for other members, except those with a label.

    An archive that ends too early or is damaged half-way yields what is before that, then an image that cannot be read;
    so do links and sparse files, whose content is not in one piece in their place.

    Raises:
        SourceError: as :func:`check_tar`.
    """
    check_tar(path)
    with _open(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for _, members in groupby(_members(path, file, archive), _sample_key):
            while sample := list(islice(members, _MOST_IN_SAMPLE)):
                yield from _items(path, file, sample)


def _open(path: str) -> io.FileIO:
    # Without a buffer: it would read some of the contents with every header, and again when they are needed.
    return open(path, "rb", buffering=0)


def _members(path: str, file: io.FileIO, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo | SourceItem]:
    """The headers of an archive, then an item with a problem where it ends otherwise than it should."""
    name, end = "nothing", 0
    while True:
        try:
            member = archive.next()
            problem = None if member is not None else _problem_of_end(file, archive.offset, name)
            if member is not None and (member.size < 0 or archive.offset <= end):
                problem = _damaged(name, f"the header at byte {end} has an impossible size")
        except _DAMAGED as error:
            member, problem = None, _damaged(name, str(error) or type(error).__name__)
        if problem is not None:
            yield SourceItem(os.path.basename(path), path, problem=problem)
        if member is None or problem is not None:
            return
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every header it has seen
        name, end = member.name, archive.offset
        yield member


def _problem_of_end(file: io.FileIO, offset: int, name: str) -> Problem | None:
    """What is wrong with the place where no further header was found: tarfile takes anything for the end."""
    file.seek(offset)
    block = file.read(_BLOCK)
    if not block:
        why = "it has no mark of its end and may have been cut short"
    elif len(block) < _BLOCK:
        why = "it is cut short within a header"
    elif block.strip(b"\0"):
        why = f"what is at byte {offset} is no header"
    else:
        return None
    return _damaged(name, why)


def _damaged(name: str, why: str) -> Problem:
    return Problem("corrupt", f"the tar is damaged after {name} ({why}); what follows was not found")


def _sample_key(member: tarfile.TarInfo | SourceItem) -> object:
    """The same for the members of a sample; of a member that belongs to none, its own."""
    if isinstance(member, SourceItem):
        return member
    folder, _, base = member.name.rpartition("/")
    stem = base.partition(".")[0]
    return (folder, stem) if stem else member


def _items(path: str, file: io.FileIO, sample: list[tarfile.TarInfo | SourceItem]) -> Iterator[SourceItem | None]:
    """The images of a sample with its label."""
    headers = [member for member in sample if isinstance(member, tarfile.TarInfo)]
    has_image = any(_is_image(member) for member in headers)
    sidecars = [member for member in headers if has_image and _is_label(member)]
    label = None
    for sidecar in sorted(sidecars, key=lambda member: _suffix(member) != ".cls"):
        label = label if label is not None else _label(file, sidecar)
    for member in sample:
        if isinstance(member, SourceItem):
            yield member
        elif _is_image(member):
            yield _item(path, member, label)
        elif not member.isdir() and member not in sidecars:
            yield PASSED_OVER


def _item(path: str, member: tarfile.TarInfo, label: str | None) -> SourceItem:
    image = member.name.removeprefix("./")
    folder = parent_name(image)
    if member.isreg() and not member.issparse():
        return SourceItem(image, path, TarMember(member.offset_data, member.size), folder, label)
    if member.issparse():
        what = "a sparse file, which is not read from a tar"
    else:
        what = f"a link to {member.linkname}, and links in a tar are not followed"
    remedy = "pack the archive with --dereference --hard-dereference and without --sparse, or unpack it"
    return SourceItem(image, path, None, folder, label, problem=Problem("unreadable", f"{what}: {remedy}"))


def _is_image(member: tarfile.TarInfo) -> bool:
    return (member.isreg() or member.issym() or member.islnk()) and has_image_extension(member.name)


def _is_label(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse() and _suffix(member) in (".cls", ".json")


def _suffix(member: tarfile.TarInfo) -> str:
    return os.path.splitext(member.name)[1].lower()


def _label(file: io.FileIO, member: tarfile.TarInfo) -> str | None:
    """The label in a member of a sample; None where it has none that can be read."""
    if member.size > _MOST_OF_LABEL:
        return None
    file.seek(member.offset_data)
    text = file.read(member.size)
    return label_of_text(text) if _suffix(member) == ".cls" else label_of_json(text)
