"""Suggestions for mistyped names."""

import pytest

from camcli.errors import near_misses

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
