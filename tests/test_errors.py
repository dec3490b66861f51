"""Suggestions for mistyped names; errors that say that memory ran out."""

import pytest

from camcli.errors import is_device_lost, is_out_of_memory, near_misses, printable
from tests.out_of_memory import FORMS, LOST, NOT, OTHERS

MODELS = (
    "resnet50",
    "resnet50c",
    "gcvit_tiny",
    "davit_tiny",
    "vit_tiny_patch16_224",
    "vit_small_patch16",
    "vit_tiny_r_s16",
)


@pytest.mark.parametrize(
    ("typed", "names", "near"),
    [
        ("jpeg", ("jpg", "png", "webp"), ["jpg"]),
        ("vit_tinny", MODELS, ["vit_tiny_r_s16", "vit_tiny_patch16_224", "gcvit_tiny"]),
        ("resnt50", MODELS, ["resnet50", "resnet50c"]),
        ("VIRIDS", ("viridis", "jet"), ["viridis"]),
        ("nothing like it", MODELS, []),
        ("x", (), []),
    ],
)
def test_names_that_are_like_a_mistyped_one(typed: str, names: tuple[str, ...], near: list[str]) -> None:
    assert near_misses(typed, names) == near


@pytest.mark.parametrize("error", [*FORMS.values(), *OTHERS], ids=str)
def test_memory_that_ran_out_is_recognised_and_the_device_is_not_lost(error: BaseException) -> None:
    assert is_out_of_memory(error)
    assert not is_device_lost(error)


@pytest.mark.parametrize("error", NOT, ids=str)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", [*LOST, RuntimeError("HIP error: an illegal memory access was encountered")], ids=str)
def test_a_device_that_is_lost(error: BaseException) -> None:
    assert is_device_lost(error)


def test_bytes_that_are_no_character_are_printed_alike_from_a_folder_and_from_an_index() -> None:
    assert printable("bad\udcff.jpg") == printable("bad\ufffd.jpg") == "bad?.jpg"
    assert printable("línea 1\n2") == "línea 1?2"
    assert printable("1\n2", lines=True) == "1\n2"
