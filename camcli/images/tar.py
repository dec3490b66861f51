"""Images in an uncompressed tar, with labels.

Consecutive members of one name up to the first dot of their base name are a sample, as in WebDataset: the label in a
``.cls`` or ``.json`` member is that of the images beside it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from camcli.errors import SourceError
from camcli.images.entry import PASSED_OVER, Problem, SourceItem, TarMember, has_image_extension, parent_name
from camcli.images.label_keys import label_of_json, label_of_text
from camcli.images.tar_members import Damage, Header, Members, check_tar
from camcli.storage import StorageError, base_name, is_remote, masked, without_query

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4")
"""Extensions of compressed archives."""
_LABELS = (".cls", ".json")
_MOST_IN_SAMPLE = 64
"""More members of one key are no sample but names such as ``frame.0001.jpg``, which a tar may have millions of."""
_MOST_OF_LABEL = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """One member: its item, where it is an image, or its label, where it holds one."""

    key: object
    item: SourceItem | None = None
    label: str | None = None
    suffix: str = ""


def is_tar(path: str) -> bool:
    """Whether a file is read as an archive, by its extension."""
    return without_query(path).lower().endswith(".tar")


def is_compressed_tar(path: str) -> bool:
    """Whether a file is a compressed archive, by its extension."""
    return without_query(path).lower().endswith(COMPRESSED)


def from_tar(path: str, contents: bool = False) -> Iterator[SourceItem | None]:
    """Every image of an archive in its order; PASSED_OVER for other members, except those with a label.

    An archive that ends too early or is damaged half-way yields what is before that, then an image that cannot be read;
    so do links and sparse files, whose content is not in one piece in their place.

    Args:
        path: the archive.
        contents: of one in a store, images come with their content, so that nothing is read twice.

    Raises:
        SourceError: as :func:`check_tar`, and where the store fails half-way.
    """
    check_tar(path)
    try:
        with Members(path) as archive:
            for _, members in groupby(_members(path, archive, contents), lambda member: member.key):
                while sample := list(islice(members, _MOST_IN_SAMPLE)):
                    yield from _items(sample)
    except StorageError as error:
        raise SourceError(f"--image-path {masked(path)}: cannot be read ({error.strerror}).") from error


def _members(path: str, archive: Members, contents: bool) -> Iterator[_Member]:
    try:
        for header in archive:
            if not header.isdir():
                yield _member(path, archive, header, contents)
    except Damage as error:
        name = base_name(path) if is_remote(path) else os.path.basename(path)
        yield _Member(object(), SourceItem(name, path, problem=Problem("corrupt", str(error))))


def _member(path: str, archive: Members, header: Header, contents: bool) -> _Member:
    folder, _, base = header.name.rpartition("/")
    stem, suffix = base.partition(".")[0], os.path.splitext(base)[1].lower()
    key = (folder, stem) if stem else object()  # a name that begins with a dot is of no sample
    if header.isreg() and not header.issparse() and suffix in _LABELS and header.size <= _MOST_OF_LABEL:
        text = archive.content(header) or b""
        return _Member(key, None, label_of_text(text) if suffix == ".cls" else label_of_json(text), suffix)
    if not has_image_extension(header.name) or not (header.isreg() or header.issym() or header.islnk()):
        return _Member(key)
    image = header.name.removeprefix("./")
    if not header.isreg() or header.issparse():
        return _Member(key, SourceItem(image, path, folder=parent_name(image), problem=_problem(header)))
    content = archive.content(header) if contents and archive.is_stream else None
    checksum = header.checksum if archive.is_stream else None
    place = TarMember(header.offset_data, header.size, content, archive.version, checksum)
    return _Member(key, SourceItem(image, path, place, parent_name(image)))


def _problem(header: Header) -> Problem:
    if header.issparse():
        what = "a sparse file, which is not read from a tar"
    else:
        what = f"a link to {header.linkname}, and links in a tar are not followed"
    remedy = "pack the archive with --dereference --hard-dereference and without --sparse, or unpack it"
    return Problem("unreadable", f"{what}: {remedy}")


def _items(sample: list[_Member]) -> Iterator[SourceItem | None]:
    """The images of a sample with its label."""
    labels = {member.suffix: member.label for member in sample if member.label is not None}
    label = labels.get(".cls", labels.get(".json"))
    has_image = any(member.item is not None for member in sample)
    for member in sample:
        if member.item is not None:
            item = member.item
            yield item if label is None else _labelled(item, label)
        elif not (has_image and member.suffix):
            yield PASSED_OVER


def _labelled(item: SourceItem, label: str) -> SourceItem:
    # Not dataclasses.replace, which takes as long as reading a header.
    return SourceItem(item.image, item.path, item.member, item.folder, label, problem=item.problem)
