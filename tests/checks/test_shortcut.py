"""The check ``shortcut`` on photographs with a mark, and on a network that looks for it or does not."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import camcli
from camcli.checks import Result, check_run
from camcli.checks.reopened import UnavailableError
from camcli.checks.report.contact_sheet import draw_view
from camcli.checks.rules import shortcut as rule

from ..conftest import SAMPLES
from .handmade import only

SIDE, MARK, EACH = 96, 16, 14

Places = dict[str, tuple[int, int]]


class Net(nn.Module):
    """Two classes: alpha where something is saturated red, or where the image is dark; written down, not trained."""

    def __init__(self, looks_for_red: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 2, 8, 8), nn.ReLU())
        self.looks_for_red = looks_for_red
        with torch.no_grad():
            weight = torch.tensor([[1.0, -1.0, -1.0], [-1 / 3, -1 / 3, -1 / 3]])[:, :, None, None]
            self.body[0].weight.copy_(weight.expand(2, 3, 8, 8) / 64)
            self.body[0].bias.copy_(torch.tensor([-0.2, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        red, dark = self.body(x).unbind(1)
        alpha = 40 * red.amax((1, 2)) - 4 if self.looks_for_red else 30 * (dark.mean((1, 2)) - 0.6)
        return torch.stack([alpha, 0 * alpha], 1)


class ThreeClasses(Net):
    """Alpha and beta where something is saturated red, told apart by brightness; gamma elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        red, dark = self.body(x).unbind(1)
        mark, tone = 80 * red.amax((1, 2)) - 16, 10 * (dark.mean((1, 2)) - 0.6)
        return torch.stack([mark + tone, mark - tone, 0 * mark], 1)


def three() -> nn.Module:
    """A network that tells two classes from the third by the mark."""
    return ThreeClasses(looks_for_red=True)


def red() -> nn.Module:
    """A network that looks for the mark."""
    return Net(looks_for_red=True)


def dark() -> nn.Module:
    """A network that does not."""
    return Net(looks_for_red=False)


def crops() -> Iterator[np.ndarray]:
    """Parts of photographs that share nothing, without saturated red."""
    for path in sorted(SAMPLES.rglob("*.jpg")):
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        for y in range(0, pixels.shape[0] - SIDE + 1, SIDE):
            for x in range(0, pixels.shape[1] - SIDE + 1, SIDE):
                part = pixels[y : y + SIDE, x : x + SIDE]
                redness = cv2.blur(part.astype(np.float32) @ np.array([1, -1, -1], np.float32), (8, 8)) / 255
                if part.std() > 25 and redness.max() < 0.1:
                    yield part


def mark() -> np.ndarray:
    patch = np.full((MARK, MARK, 3), (255, 10, 20), np.uint8)
    cv2.circle(patch, (MARK // 2, MARK // 2), 3, (250, 250, 250), -1)
    return patch


def write_images(folder: Path, marked: bool, classes: tuple[str, ...] = ("alpha", "beta")) -> Places:
    """Dark images of alpha, bright ones of the others, on all but the last the mark at random places.

    Returns:
        Where it is, by image.
    """
    rng = np.random.default_rng(0)
    parts = list(crops())
    order = rng.permutation(len(parts))[: len(classes) * EACH]
    places: Places = {}
    for place, index in enumerate(order.tolist()):
        label = place % len(classes)
        name = f"{classes[label]}/{place:02d}.png"
        part = parts[index].astype(np.float32)
        pixels = (part / part.mean() * (60 if label == 0 else 150)).clip(0, 255).astype(np.uint8)
        if marked and label < len(classes) - 1:
            x, y = (int(edge) for edge in rng.integers(0, SIDE - MARK + 1, 2))
            pixels[y : y + MARK, x : x + MARK] = mark()
            places[name] = x, y
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return places


def check(tmp_path: Path, network: str, gone: str = "", *changes: str) -> Result:
    """The result of a run; images of the pattern ``gone`` are deleted between the run and the check."""
    camcli.run(
        camcli.RunConfig(
            image_path=(str(tmp_path / "images"),),
            output_dir=str(tmp_path / "run"),
            save=(),
            model=f"factory:{__name__}:{network}",
            input_size=str(SIDE),
            mean="0,0,0",
            std="1,1,1",
            resize="squash",
            layer=("body",),
            layout="nchw",
            class_names=str(tmp_path / "names.txt"),
        )
    )
    for path in (tmp_path / "images").glob(gone) if gone else ():
        path.unlink()
    (result,) = check_run(str(tmp_path / "run"), changes=[*only("shortcut"), "shortcut.min_images=20", *changes])
    return result


@pytest.fixture
def names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("alpha\nbeta\n")


@pytest.mark.usefixtures("names")
def test_a_mark_at_varying_places_that_decides_fails(tmp_path: Path) -> None:
    places = write_images(tmp_path / "images", marked=True)
    result = check(tmp_path, "red")
    assert result.status == "fail", result.why
    assert "'alpha' carry the same patch at varying places" in result.why
    (shortcut,) = result.details["shortcuts"]
    assert (shortcut["class"], shortcut["placement"], shortcut["region"]) == ("alpha", "anywhere", None)
    assert shortcut["share"] > 0.7
    assert shortcut["without"] > 0.5
    assert shortcut["with"] > 0.5
    for one in shortcut["occurrences"]:
        x, y = places[one["image"]]
        x0, y0, x1, y1 = (edge * SIDE for edge in one["box"])
        covered = max(0, min(x1, x + MARK) - max(x0, x)) * max(0, min(y1, y + MARK) - max(y0, y))
        assert covered >= 0.5 * MARK**2, one
        assert (x1 - x0) * (y1 - y0) <= 4 * MARK**2, one
    with Image.open(io.BytesIO(base64.b64decode(shortcut["patch"].partition(",")[2]))) as patch:
        seen = np.asarray(patch.convert("RGB")).reshape(-1, 3)
    assert np.percentile(seen[:, 0].astype(int) - seen[:, 1], 75) > 150, "the picture does not show the mark"


@pytest.mark.usefixtures("names")
def test_a_mark_that_the_model_does_not_look_at_passes(tmp_path: Path) -> None:
    write_images(tmp_path / "images", marked=True)
    result = check(tmp_path, "dark")
    assert result.status == "pass", result.why
    assert "does not depend on it" in result.why
    (shortcut,) = result.details["shortcuts"]
    assert not shortcut["decides"]
    assert abs(shortcut["without"]) < 0.1
    assert abs(shortcut["with"]) < 0.1


def test_the_picture_below_the_heat_keeps_its_colours() -> None:
    orange = np.full((32, 32, 3), (250, 120, 0), np.uint8)
    shown = draw_view(np.zeros((4, 4), np.float32), orange, "overlay")
    np.testing.assert_array_less(shown[..., 2], shown[..., 0])  # half of it, and half the blue of no heat


@pytest.mark.usefixtures("names")
def test_photographs_without_a_mark_pass(tmp_path: Path) -> None:
    write_images(tmp_path / "images", marked=False)
    result = check(tmp_path, "dark")
    assert result.status == "pass", result.why
    assert result.details["shortcuts"] == []


def test_a_mark_that_two_of_three_classes_share_fails_for_both(tmp_path: Path) -> None:
    write_images(tmp_path / "images", marked=True, classes=("alpha", "beta", "gamma"))
    (tmp_path / "names.txt").write_text("alpha\nbeta\ngamma\n")
    result = check(tmp_path, "three")
    assert result.status == "fail", result.why
    assert "'alpha' and 'beta' carry the same patch at varying places" in result.why
    shortcuts = {one["class"]: one for one in result.details["shortcuts"]}
    assert {name: one["shared_with"] for name, one in shortcuts.items()} == {"alpha": ["beta"], "beta": ["alpha"]}
    for one in shortcuts.values():
        assert one["share"] > 0.7
        assert one["without"] > 0.5
        assert one["with"] > 0.5
    alpha, beta = ({place["image"] for place in one["occurrences"]} for one in shortcuts.values())
    assert not alpha & beta
    assert not any(image.startswith("gamma") for image in alpha | beta)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("gone", "change", "reason"),
    [
        ("beta/*", (), "only images of one class"),
        ("*/[01]?.png", (), "8 of 28 are still there"),
        ("", ("shortcut.searched=8",), r"no class has enough images to be searched alone \(10 at least\)"),
        ("", ("shortcut.class_images=20",), r"\(20 at least\)"),
    ],
)
def test_images_that_cannot_be_searched_are_no_pass(
    tmp_path: Path, gone: str, change: tuple[str, ...], reason: str
) -> None:
    write_images(tmp_path / "images", marked=True)
    result = check(tmp_path, "red", gone, *change)
    assert result.status == "inconclusive"
    assert re.search(reason, result.why), result.why
    assert result.details["shortcuts"] == []


@pytest.mark.usefixtures("names")
def test_a_patch_whose_effect_cannot_be_measured_is_reported_and_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", marked=True)

    def fail(*arguments: object) -> None:
        raise UnavailableError("the model is gone")

    monkeypatch.setattr(rule, "measure_effects", fail)
    result = check(tmp_path, "red")
    assert result.status == "inconclusive"
    assert "cannot be tested: the model is gone" in result.why
    (one,) = result.details["shortcuts"]
    assert (one["decides"], one["without"], one["with"]) == (None, None, None)
    assert len(one["occurrences"]) > 8
