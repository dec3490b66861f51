"""One input of a run, before anything of it is read."""

from dataclasses import dataclass, field, replace
from typing import Self

from camcli.errors import ErrorKind

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1: half-open, upright original pixels."""

IMAGE_EXTENSIONS = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
        *(".avif", ".avifs", ".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        *(".ico", ".icns", ".cur", ".psd", ".pcx", ".dcx", ".sgi", ".rgb", ".rgba", ".bw", ".dds", ".qoi", ".xbm"),
        *(".xpm", ".ras", ".msp", ".blp", ".fit", ".fits", ".fli", ".flc", ".ftc", ".ftu", ".gbr", ".pxr", ".im"),
        *(".pcd", ".tga", ".icb", ".vda", ".vst", ".npy", ".npz", ".dcm", ".dicom"),
    }
)
"""What folders, archives and open-ended globs are searched for, in any case: the extensions of all that is decoded."""


def has_image_extension(name: str) -> bool:
    """Whether a file in a folder counts as an image."""
    # "._x.jpg" are the resource forks that macOS leaves on foreign disks.
    base = name.rpartition("/")[2]
    return "." + base.rpartition(".")[2].lower() in IMAGE_EXTENSIONS and "." in base and not base.startswith("._")


Version = tuple[int, int]
"""Of a file: its bytes, and when it was modified or, in a store, a hash of what the store says of that and of its
content. One of another version holds other images in the same places."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """Where the content of a member is in its uncompressed archive.

    Attributes:
        offset, size: in bytes.
        content: where it came along with the header.
        version: of the archive as it was listed; None: in a store.
        header: in a store: CRC-32 of the block before it, its header; of another archive it is another one.
    """

    offset: int
    size: int
    content: bytes | None = field(default=None, compare=False, repr=False)
    version: Version | None = field(default=None, compare=False, repr=False)
    header: int | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TableRow:
    """Where the content of an image is in a table.

    Attributes:
        column: that holds the images.
        group: the row group of the file.
        row: in the group.
        version: of the file as it was listed; None: of a web server that says nothing of it.
    """

    column: str
    group: int
    row: int
    version: Version | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an input cannot be read: reading it raises an ImageError of this kind and message."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class SourceItem:
    """What a source yields: an image without its position in the run.

    Attributes:
        image: relative to the source, ``/`` between its parts.
        path: the file on disk, or its URL with all that is needed to read it; of a tar or a table, this one.
        member: its position in that file, else None.
        folder: name of the folder that it is in, which may be its class; None where that is unknown.
        label, target: as the manifest has them.
        mask: path of the manifest's mask, resolved.
        box: the manifest's box.
        avoid: where the model must not look, by the manifest: a box, or the resolved path of a mask.
        problem: set where the input can only fail, such as a folder that cannot be listed.
        size: bytes of the file, where the listing of a store says.
    """

    image: str
    path: str
    member: TarMember | TableRow | None = None
    folder: str | None = None
    label: str | None = None
    target: str | None = None
    mask: str | None = None
    box: Box | None = None
    avoid: Box | str | None = None
    problem: Problem | None = None
    size: int | None = None

    def without_content(self) -> Self:
        """The same without the content that came along, once that is read: rows are in memory longer."""
        if not isinstance(self.member, TarMember) or self.member.content is None:
            return self
        return replace(self, member=replace(self.member, content=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(SourceItem):
    """One image to explain.

    Its ``image`` is the index's: ``#2`` and so on are appended where the same name comes again. Bytes that are not
    UTF-8 are surrogates, as in all paths of Python.

    Attributes:
        ordinal: position in input order, from 0.
        source: the ``--image-path`` as typed; of a URL, without what must stay secret.
        source_slug: a name for the source that can be a folder; with ``image`` it is unique in the run.
    """

    ordinal: int
    source: str
    source_slug: str


PASSED_OVER = None
"""What a source yields for a file that it passes over, to be counted."""


def parent_name(image: str) -> str | None:
    """The name of the folder that a relative name is in; None at the top."""
    return image.rpartition("/")[0].rpartition("/")[2] or None
