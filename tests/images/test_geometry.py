"""Geometry: the view of a crop lies in the image, and points go there and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camcli.images import Placement, Preprocessing, View, restore_view

SIDES = st.integers(1, 5000)
SIZES = st.tuples(SIDES, SIDES)
INPUTS = st.sampled_from([(224, 224), (299, 299), (224, 320), (33, 17)])


@settings(max_examples=200)
@given(SIZES, INPUTS, st.integers(0, 64))
def test_a_crop_sees_only_the_image_and_is_centred(size: tuple[int, int], box: tuple[int, int], more: int) -> None:
    pre = Preprocessing(3, *box, resize="crop", resize_to=(box[0] + more, box[1] + more))
    at = pre.place(size)
    view = at.view
    assert -1e-9 <= view.x0 < view.x1 <= size[1] * (1 + 1e-9)
    assert -1e-9 <= view.y0 < view.y1 <= size[0] * (1 + 1e-9)
    # Whole pixels of the resized image: at most half of one off the middle.
    assert abs((view.x0 + view.x1) / 2 - size[1] / 2) <= 0.5 * size[1] / at.resized[1] + 1e-9
    assert abs((view.y0 + view.y1) / 2 - size[0] / 2) <= 0.5 * size[0] / at.resized[0] + 1e-9


@settings(max_examples=200)
@given(SIZES, INPUTS)
def test_padding_shows_the_whole_image(size: tuple[int, int], box: tuple[int, int]) -> None:
    view = Preprocessing(3, *box, resize="pad").place(size).view
    assert view.x0 <= 1e-9
    assert view.y0 <= 1e-9
    assert view.x1 >= size[1] * (1 - 1e-9)
    assert view.y1 >= size[0] * (1 - 1e-9)


@given(SIZES, INPUTS)
def test_squashing_to_the_input_shows_exactly_the_image(size: tuple[int, int], box: tuple[int, int]) -> None:
    view = Preprocessing(3, *box, resize="squash").place(size).view
    assert (view.x0, view.y0) == (0, 0)
    assert view.x1 == pytest.approx(size[1])
    assert view.y1 == pytest.approx(size[0])


COORDINATES = st.floats(-1e4, 1e4)


@given(COORDINATES, COORDINATES, st.floats(0.5, 1e4), st.floats(0.5, 1e4), COORDINATES, COORDINATES)
def test_points_go_to_the_input_and_back(x0: float, y0: float, w: float, h: float, x: float, y: float) -> None:
    view = View(x0, y0, x0 + w, y0 + h)
    there = view.to_input(x, y)
    assert view.to_original(*there) == pytest.approx((x, y), abs=1e-5)
    assert view.to_original(0, 0) == (x0, y0)
    assert view.to_input(view.x1, view.y1) == pytest.approx((1, 1))


def test_the_view_counts_in_pixels_of_the_original() -> None:
    at = Placement(original=(200, 400), resized=(100, 200), window=(100, 100), top=0, left=50)
    assert at.view == View(100, 0, 300, 200)
    assert at.view.scaled(0.5, 2) == View(50, 0, 150, 400)
    padded = Placement(original=(200, 400), resized=(50, 100), window=(100, 100), top=-25, left=0)
    assert padded.view == View(0, -100, 400, 300)


@pytest.mark.parametrize(
    ("size", "resized"), [((300, 451), (256, 384)), ((451, 300), (384, 256)), ((7, 7), (256, 256))]
)
def test_the_longer_side_is_cut_to_whole_pixels(size: tuple[int, int], resized: tuple[int, int]) -> None:
    assert Preprocessing(resize_to=256).place(size).resized == resized


@settings(max_examples=300)
@given(st.tuples(*[st.integers(8, 3000)] * 2), INPUTS, st.integers(0, 64), st.sampled_from(["crop", "squash", "pad"]))
def test_a_view_that_was_rounded_is_restored(size: tuple[int, int], box: tuple[int, int], more: int, how: str) -> None:
    more = more if how == "crop" else 0
    view = Preprocessing(3, *box, resize=how, resize_to=(box[0] + more, box[1] + more)).place(size).view  # type: ignore[arg-type]
    rounded = [round(end, 3) for end in (view.x0, view.y0, view.x1, view.y1)]
    restored = restore_view(rounded, size, box)
    assert [round(end, 3) for end in (restored.x0, restored.y0, restored.x1, restored.y1)] == rounded
    if max(size) / min(size) < 8:
        assert restored == view


def test_a_view_of_other_rules_stays_as_it_was_rounded() -> None:
    assert restore_view([10.123, 5.5, 90.001, 77.7], (100, 120), (224, 224)) == View(10.123, 5.5, 90.001, 77.7)
    assert restore_view([3, 3, 3, 3], (100, 120), (224, 224)) == View(3, 3, 3, 3)
