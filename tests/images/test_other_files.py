"""Lists, archives and videos that are named directly: what to do instead; images under such names are tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from camcli.errors import ImageError, SourceError
from camcli.images import Sources, read


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("list.txt", b"a.jpg\nb.jpg\n", r"--image-path @.*list\.txt"),
        ("list.lst", b"", r"--image-path @.*list\.lst"),
        ("photos.zip", b"PK\x03\x04", "unpack it"),
        ("photos.tar.gz", b"\x1f\x8b\x08", "unpack it"),
        ("clip.mp4", b"\x00\x00\x00\x20ftypisom", r"ffmpeg -i .*clip\.mp4 .* name the folder clip"),
        ("clip.AVI", b"RIFF\x00\x00\x00\x00AVI LIST", "ffmpeg"),
        ("clip.mov", b"\x00\x00\x00\x14ftypqt  ", "ffmpeg"),
        ("rows.json", b"[]", "a manifest is a .csv or .jsonl"),
    ],
)
def test_what_to_do_instead_is_said(tmp_path: Path, name: str, content: bytes, remedy: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=remedy):
        Sources([str(tmp_path / name)])
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    sources = Sources([str(tmp_path)])  # in a folder it is passed over
    assert [entry.image for entry in sources] == ["x.png"]
    assert sources.passed_over == 1


def test_among_other_inputs_only_that_file_fails(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\x00\x00\x00\x20ftypisom")
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    image, video = Sources([str(tmp_path / name) for name in ("x.png", "clip.mp4")])  # as the shell expands *
    assert image.problem is None
    with pytest.raises(ImageError, match="ffmpeg"):
        read(video)


def test_an_image_under_such_a_name_is_tried(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{kind}.txt", kind)
        Image.new("RGB", (4, 4)).save(tmp_path / f"{kind}.mov", kind)
    for path in tmp_path.iterdir():
        assert [entry.path for entry in Sources([str(path)])] == [str(path)]
