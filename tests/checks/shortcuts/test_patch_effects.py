"""Filling and pasting, also of patches with a hole in them."""

from __future__ import annotations

import numpy as np

from camcli.checks.shortcuts.patch_effects import fill, put

FRAME = np.ones((8, 8), bool)
FRAME[1:-1, 1:-1] = False


def test_filling_leaves_nothing_of_a_bright_mark_and_the_rest_untouched() -> None:
    image = np.full((64, 64, 3), 64, np.uint8)
    image[:16, :16] = 255
    filled = fill(image, (0, 0, 16, 16))
    np.testing.assert_allclose(filled[:16, :16].astype(int), 64, atol=1)
    np.testing.assert_array_equal(filled[16:], image[16:])
    np.testing.assert_array_equal(filled[:, 16:], image[:, 16:])


def test_a_frame_is_filled_from_its_inside() -> None:
    image = np.full((64, 64, 3), 200, np.uint8)
    image[8:-8, 8:-8] = 40
    filled = fill(image, (0, 0, 64, 64), FRAME)
    np.testing.assert_allclose(filled.astype(int), 40, atol=2)
    np.testing.assert_array_equal(filled[12:-12, 12:-12], image[12:-12, 12:-12])


def test_a_frame_is_put_around_an_image_and_not_over_it() -> None:
    image, patch = np.full((64, 64, 3), 40, np.uint8), np.full((32, 32, 3), 200, np.uint8)
    framed = put(image, patch, (0, 0, 64, 64), FRAME)
    assert (framed[:6] == 200).all()
    assert (framed[:, -6:] == 200).all()
    np.testing.assert_array_equal(framed[12:-12, 12:-12], image[12:-12, 12:-12])
    assert (put(image, patch, (0, 0, 64, 64)) == 200).all()
