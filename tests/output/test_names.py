import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camcli.output.jsontext import as_utf8
from camcli.output.names import FOLDERS, MAX_COMPONENT, MAX_IMAGE, artefact_path, level

# Names made of pieces that are hard on their own and harder together.
_PIECES = st.sampled_from(
    [
        "a", "x.jpg", "x.png", ".jpg", ".npy", "..", ".", "/", "//", "\\", "%", "%2", "%2F", "%00", "%u0000", "~",
        "~" + "0" * 32, "~" + "ab" * 16, "\n", "\r", "\x00", "\x7f", " ", "'", '"', "-", "#2", "🐈", "é", "e\u0301",
        "\udcff", "\udc80", "\ud800", "n" * 200, "é" * 128, "0A", "FF", "uDC80",
    ]
)  # fmt: skip
_IMAGES = st.lists(_PIECES, min_size=1, max_size=12).map("".join) | st.text(min_size=1, max_size=40)


def overlay(image: str, **levels: str) -> str:
    return artefact_path("overlay", "gradcam", image, "jpg", **levels)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("a/x.jpg", "a/x.jpg.jpg"),
        ("a/x.png", "a/x.png.jpg"),
        ("a/x.JPG", "a/x.JPG.jpg"),
        ("a/x.jpg.png", "a/x.jpg.png.jpg"),
        ("a/x.jpg#2", "a/x.jpg#2.jpg"),
        ('it\'s a "cat" 🐈.jpg', 'it\'s a "cat" 🐈.jpg.jpg'),
        ("-rf.jpg", "-rf.jpg.jpg"),
        ("100%.jpg", "100%.jpg.jpg"),
        ("a%20b.jpg", "a%2520b.jpg.jpg"),
        ("two\nlines.jpg", "two%0Alines.jpg.jpg"),
        ("caf\udce9.jpg", "caf%E9.jpg.jpg"),
        ("a\\b.jpg", "a%5Cb.jpg.jpg"),
        ("../../etc/x.jpg", "%2E%2E/%2E%2E/etc/x.jpg.jpg"),
        ("/etc/x.jpg", "%00/etc/x.jpg.jpg"),
        ("./a//x.jpg", "%2E/a/%00/x.jpg.jpg"),
        ("..", "%2E%2E.jpg"),
        ("x.jpg/y.png", "x%2Ejpg/y.png.jpg"),
    ],
)
def test_mirrors_the_input_tree_with_escapes_where_needed(image: str, expected: str) -> None:
    assert overlay(image) == f"overlays/gradcam/{expected}"


def test_the_bytes_of_a_name_count_and_not_what_the_locale_makes_of_them() -> None:
    assert overlay("caf\udcc3\udca9.jpg") == overlay("café.jpg") == "overlays/gradcam/café.jpg.jpg"
    assert overlay("caf\udce9.jpg") == "overlays/gradcam/caf%E9.jpg.jpg"


def test_levels_stand_between_method_and_image_in_the_order_of_the_contract() -> None:
    path = artefact_path("raw", "gradcam++", "x.jpg", "npy", layer="features.3", target="top2", source="photos")
    assert path == "raw/gradcam++/features.3/top2/photos/x.jpg.npy"


def test_each_kind_has_a_folder_of_its_own() -> None:
    paths = {artefact_path(kind, "gradcam", "x.jpg", "png").split("/")[0] for kind in FOLDERS}
    assert paths == {"overlays", "heatmaps", "gray", "raw", "maps", "panels"}


@pytest.mark.parametrize(("kind", "extension"), [("overlays", "jpg"), ("overlay", "gif"), ("overlay", ".jpg")])
def test_unknown_kind_or_extension_is_refused(kind: str, extension: str) -> None:
    with pytest.raises(ValueError, match="no artefacts of kind"):
        artefact_path(kind, "gradcam", "x.jpg", extension)


@pytest.mark.parametrize(
    "name", ["Egyptian cat", "tench, Tinca tinca", "7", "blocks.11.norm1", "a/b", "..", "", "x" * 400]
)
def test_a_level_is_one_component_that_can_be_made(name: str, tmp_path: Path) -> None:
    (tmp_path / level(name)).mkdir()
    assert [entry.name for entry in tmp_path.iterdir()] == [level(name)]


@given(_IMAGES)
@example("a" * 255 + ".jpg")
@example("/".join(["d" * 250] * 20))
def test_stays_inside_the_run_and_within_the_limits(image: str) -> None:
    path = overlay(image)
    components = path.split("/")
    assert path.startswith("overlays/gradcam/")
    assert path.endswith(".jpg")
    assert not {"", ".", ".."} & set(components)
    assert "\0" not in path
    assert max(len(component.encode()) for component in components) <= MAX_COMPONENT
    assert len(path.encode()) <= MAX_IMAGE + len("overlays/gradcam/")
    assert path == overlay(image)


@given(st.lists(_IMAGES, min_size=2, max_size=30, unique=True))
@example(["a/x.jpg", "b/x.jpg", "a/x.png", "a/x.JPG", "a/x.jpg.png", "a/x.jpg#2"])
@example(["a/x", "a/x.jpg/y"])
@example(["%", "", "\0", "%00", "%u0000"])
@example(["\udc0a", "\n", "%0A", "\udcff", "%FF"])
def test_no_two_images_share_a_file_nor_a_file_and_a_folder(images: list[str]) -> None:
    paths = {overlay(image) for image in images}
    assert len(paths) == len({as_utf8(image) for image in images})
    folders = {path[:index] for path in paths for index, character in enumerate(path) if character == "/"}
    assert not paths & folders


def test_a_name_that_equals_the_shortened_form_of_another_stays_apart() -> None:
    long = "n" * 300 + ".jpg"
    shortened = overlay(long).split("/")[-1].removesuffix(".jpg")
    assert overlay(shortened) != overlay(long)
    deep = "/".join(["d" * 100] * 10) + "/x.jpg"
    folder = overlay(deep).split("/")[-2]
    assert overlay(f"{folder}/x.jpg") != overlay(deep)


@given(st.lists(st.lists(_PIECES, max_size=6).map("".join), min_size=2, max_size=20, unique=True))
def test_levels_are_injective(names: list[str]) -> None:
    assert len({level(name) for name in names}) == len({as_utf8(name) for name in names})


@pytest.mark.parametrize(
    "image", [b"\xff\xfe.jpg", b"a" * 251 + b".jpg", "é".encode() * 127, b"a\nb.jpg", b"d.jpg/" * 300 + b"x"]
)
def test_files_can_be_made_under_these_names(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / overlay(os.fsdecode(image))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    path.name.encode("utf-8")
