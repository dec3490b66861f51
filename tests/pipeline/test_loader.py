"""Loading: what a picture is drawn on, also where the original is much larger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camcli.concurrency import Clock
from camcli.images import DecodeSettings, Entry, Preprocessing
from camcli.pipeline.items import Loaded
from camcli.pipeline.labels import Labeller
from camcli.pipeline.loader import Loader
from camcli.render import make_canvas
from tests.images.files import photo


def loaded(path: Path, side: int) -> Loaded:
    loader = Loader(
        decode=DecodeSettings(), preprocessing=Preprocessing(), labeller=Labeller(None, 10, lambda _: ()), names=None,
        num_classes=10, own_targets=False, canvas_side=side, clock=Clock(("decode", "preprocess")),
    )  # fmt: skip
    result = loader(Entry(path.name, str(path), ordinal=0, source=str(path), source_slug="photos"))
    assert isinstance(result, Loaded)
    return result


@pytest.mark.parametrize("size", [(1500, 1000), (999, 1501), (640, 427), (200, 100)])
def test_a_large_original_gives_the_canvas_of_one_that_is_shrunk_at_once(size: tuple[int, int], tmp_path: Path) -> None:
    image = photo(*size)
    image.save(tmp_path / "x.png")
    side = 300
    found = loaded(tmp_path / "x.png", side)
    at_once = make_canvas(np.asarray(image), found.view, side)
    assert found.canvas is not None
    assert found.canvas.size == at_once.size
    difference = np.abs(found.canvas.pixels.astype(int) - at_once.pixels.astype(int))
    assert difference.mean() < (3 if max(size) >= 2 * side else 1e-9)
    assert found.canvas.view == at_once.view
    assert (found.metadata.width, found.metadata.height) == size


def test_an_unlimited_canvas_is_the_original(tmp_path: Path) -> None:
    image = photo(1500, 1000)
    image.save(tmp_path / "x.png")
    found = loaded(tmp_path / "x.png", 0)
    assert found.canvas is not None
    assert np.array_equal(found.canvas.pixels[..., ::-1], np.asarray(image))
