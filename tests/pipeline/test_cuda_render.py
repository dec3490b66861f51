"""Pictures drawn in batches as on an accelerator, against those drawn one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from camcli.concurrency import Clock
from camcli.config.settings import COLORMAPS, RunConfig
from camcli.errors import CamError, ImageError, describe_error
from camcli.explainer import ExplainedBatch, MapKey
from camcli.images import Entry, View
from camcli.pipeline import cuda_render
from camcli.pipeline.assembly import BatchResults, ExplainedImage
from camcli.pipeline.batching import BatchExplainer
from camcli.pipeline.cuda_render import KINDS, DrawingFinisher, Painter, Subject, normalise_maps
from camcli.pipeline.items import Explanation, Failed, ImageMetadata, Loaded
from camcli.pipeline.stream import STAGES, Stream, run
from camcli.pipeline.targets import TargetSpec
from camcli.render import Canvas, Drawing, Style, colours, encode, mix, normalise, signed_shares
from camcli.render.canvas import framed
from tests.out_of_memory import FORMS

INPUT = (64, 96)
HIGHEST = 1
"""Levels by which a map may differ that is much coarser than the model's input."""

Result = Explanation | Failed


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def painter(kinds: tuple[str, ...] = KINDS, device: str = "cpu", **style: Any) -> Painter:
    return Painter(torch.device(device), kinds, Style(**style), INPUT, Clock(STAGES))


def finish(batch: list[ExplainedImage | Failed], limits: Mapping[str, tuple[float, float]] = {}) -> list[Result]:
    """Draw and assemble a batch of a run with two targets."""
    setup: Any = SimpleNamespace(
        config=SimpleNamespace(method=("gradcam",)), layers=(SimpleNamespace(path="layer4"),), classless=False,
        targets=(TargetSpec("index", 0), TargetSpec("index", 1)), limits=limits, batch_size=1,
        model=SimpleNamespace(output=SimpleNamespace(kind="logits")),
    )  # fmt: skip
    return DrawingFinisher(setup, painter())(batch)


@pytest.fixture
def subjects(rng: np.random.Generator) -> list[Subject]:
    """Maps and canvases of many sizes, views inside, across and beyond the edges, and maps that show nothing."""
    views = [
        ((100, 120), View(0, 0, 120, 100)), ((61, 47), View(3.3, 7.9, 40.2, 55.5)), ((50, 100), View(0, -25, 100, 75)),
        ((40, 60), View(-10.5, -3.2, 70.4, 43.9)), ((1, 90), View(20, 0, 70, 1)), ((90, 1), View(0, 11.5, 1, 80.5)),
        ((33, 77), View(60.5, 0, 77, 16.5)),
    ]  # fmt: skip
    found = []
    for i, (size, view) in enumerate(views):
        canvas = Canvas(rng.integers(0, 256, (*size, 3), dtype=np.uint8), view)
        for grid in ((7, 7), (4, 6), (1, 1), (2, 1)):
            raw = rng.normal(size=grid).astype(np.float32)
            found.append(Subject(torch.from_numpy(raw), [None, (0.1, 0.8)][i % 2], canvas))
        found += [Subject(torch.full((7, 7), x), None, canvas) for x in (np.nan, np.inf, -1.0, 0.0, 3.0)]
        found.append(Subject(torch.full((7, 7), 3.0), (2.0, 5.0), canvas))
    return found


def one_by_one(subject: Subject, style: Style | None = None) -> Drawing:
    return Drawing(subject.raw.numpy(), subject.canvas, INPUT, style or Style(), subject.limits)


def test_levels_are_those_of_the_cpu(subjects: list[Subject]) -> None:
    for subject, drawn in zip(subjects, painter(("gray",)).draw(subjects), strict=True):
        expected = one_by_one(subject).picture("gray")
        assert drawn["gray"].shape == expected.shape
        assert drawn["gray"].dtype == np.uint8
        assert np.abs(drawn["gray"].astype(int) - expected).max() <= HIGHEST


@pytest.mark.parametrize("gamma", [0.5, 2.2])
def test_gamma_is_that_of_the_cpu(subjects: list[Subject], gamma: float) -> None:
    """Within a level of the power of what the CPU samples, which differs by at most a level itself."""
    style = Style(gamma=gamma)
    for subject, drawn in zip(subjects, painter(("gray",), gamma=gamma).draw(subjects), strict=True):
        own = one_by_one(subject, style)
        near = [255 * np.clip(own.patch + step / 255, 0, 1) ** gamma for step in (-HIGHEST, HIGHEST)]
        levels = drawn["gray"][own.inside].astype(int)
        assert (levels >= near[0] - HIGHEST).all()
        assert (levels <= near[1] + HIGHEST).all()


@pytest.mark.parametrize("gamma", [0.5, 2.2])
def test_gamma_on_a_canvas_of_the_size_of_the_input_is_that_of_the_cpu(rng: np.random.Generator, gamma: float) -> None:
    canvas = Canvas(rng.integers(0, 256, (*INPUT, 3), dtype=np.uint8), View(0, 0, INPUT[1], INPUT[0]))
    subject = Subject(torch.from_numpy(rng.normal(size=(7, 7)).astype(np.float32)), None, canvas)
    drawn = painter(gamma=gamma).draw([subject])[0]
    expected = one_by_one(subject, Style(gamma=gamma))
    assert np.abs(drawn["gray"].astype(int) - expected.picture("gray")).max() <= HIGHEST
    plain = painter().draw([subject])[0]
    assert not np.array_equal(drawn["heatmap"], plain["heatmap"])
    assert not np.array_equal(drawn["overlay"], plain["overlay"])


def test_a_map_as_fine_as_the_input_lies_where_it_lies_on_the_cpu(rng: np.random.Generator) -> None:
    fine = cv2.GaussianBlur(rng.random(INPUT, dtype=np.float32), (0, 0), 2)
    for size, view in (((64, 96), View(0, 0, 96, 64)), ((200, 151), View(10.2, 20.7, 140.1, 190.3))):
        subject = Subject(torch.from_numpy(fine), None, Canvas(rng.integers(0, 256, (*size, 3), dtype=np.uint8), view))
        drawn = painter(("gray",)).draw([subject])[0]["gray"].astype(int)
        assert np.abs(drawn - one_by_one(subject).picture("gray")).max() <= 3


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_equal_levels_give_the_same_bytes(subjects: list[Subject], colormap: str) -> None:
    """Every picture is what OpenCV makes of the levels."""
    alpha = 0.37
    for subject, drawn in zip(subjects, painter(colormap=colormap, alpha=alpha).draw(subjects), strict=True):
        _, inside = one_by_one(subject).patch, one_by_one(subject).inside
        coloured, pixels = np.zeros_like(subject.canvas.pixels), subject.canvas.pixels
        coloured[inside] = colours(colormap)[drawn["gray"][inside]]
        assert np.array_equal(drawn["heatmap"], coloured)
        overlay = framed(cv2.convertScaleAbs(pixels, alpha=0.5), inside)
        overlay[inside] = cv2.addWeighted(coloured[inside], alpha, pixels[inside], 1 - alpha, 0)
        assert np.array_equal(drawn["overlay"], overlay)


def test_signed_maps_are_those_of_the_cpu(subjects: list[Subject]) -> None:
    style = Style("coolwarm", signed=True)
    for subject, drawn in zip(subjects, painter(colormap="coolwarm", signed=True).draw(subjects), strict=True):
        own = one_by_one(subject, style)
        assert np.abs(drawn["gray"].astype(int) - own.picture("gray")).max() <= HIGHEST
        outside = np.ones(own.canvas.size, bool)
        outside[own.inside] = False
        assert np.array_equal(drawn["overlay"][outside], own.overlay[outside])
        assert np.array_equal(drawn["heatmap"][outside], own.heatmap[outside])


@pytest.mark.parametrize("alpha", [0.37, 1.0])
def test_equal_levels_of_signed_maps_give_the_same_bytes(subjects: list[Subject], alpha: float) -> None:
    style = Style("coolwarm", alpha=alpha, signed=True)
    shares = signed_shares(alpha)
    for subject, drawn in zip(subjects, painter(colormap="coolwarm", alpha=alpha, signed=True).draw(subjects),
                              strict=True):  # fmt: skip
        own = one_by_one(subject, style)
        levels, pixels = drawn["gray"][own.inside], subject.canvas.pixels[own.inside]
        expected = mix(colours("coolwarm")[levels], pixels, shares[levels][..., None])
        assert np.array_equal(drawn["overlay"][own.inside], expected)
        is_zero = (levels == 127) | (levels == 128)
        assert np.array_equal(drawn["overlay"][own.inside][is_zero], pixels[is_zero])


@pytest.mark.parametrize("gamma", [0.5, 2.2])
def test_the_gamma_of_signed_maps_is_that_of_the_cpu(rng: np.random.Generator, gamma: float) -> None:
    canvas = Canvas(rng.integers(0, 256, (*INPUT, 3), dtype=np.uint8), View(0, 0, INPUT[1], INPUT[0]))
    subject = Subject(torch.from_numpy(rng.normal(size=(7, 7)).astype(np.float32)), None, canvas)
    drawn = painter(("gray",), gamma=gamma, signed=True).draw([subject])[0]["gray"]
    expected = one_by_one(subject, Style(gamma=gamma, signed=True)).picture("gray")
    assert np.abs(drawn.astype(int) - expected).max() <= HIGHEST


def test_neighbours_do_not_matter(subjects: list[Subject]) -> None:
    together = painter().draw(subjects)
    for subject, drawn in zip(subjects, together, strict=True):
        alone = painter().draw([subject])[0]
        for kind in KINDS:
            assert np.array_equal(drawn[kind], alone[kind])


@pytest.mark.parametrize("signed", [False, True])
def test_normalising_is_that_of_the_cpu(rng: np.random.Generator, signed: bool) -> None:
    raws = [rng.normal(size=(5, 7)).astype(np.float32) * scale for scale in (1e-20, 1e-3, 1, 1e6, 1e30)]
    raws += [np.full((5, 7), value, np.float32) for value in (np.nan, -np.inf, np.inf, 0.0, -2.0, 4.0)]
    nearly = np.full((5, 7), 4.0, np.float32)
    nearly[0, 0] = np.nextafter(np.float32(4), np.float32(5))
    raws += [nearly, np.abs(raws[2]) + 5]
    for limits in (None, (0.0, 1.0), (0.25, 1e3)):
        batch = normalise_maps(torch.from_numpy(np.stack(raws)), [limits] * len(raws), signed).numpy()
        for found, raw in zip(batch, raws, strict=True):
            assert np.array_equal(found, normalise(raw, limits, signed))


def test_what_is_drawn_can_be_encoded(subjects: list[Subject]) -> None:
    """Pictures are windows of larger ones: no row begins where the one before ends."""
    for image_format in ("png", "jpg", "webp"):
        style = Style(image_format=image_format)
        for drawn in painter().draw(subjects[:12]):
            for kind, picture in drawn.items():
                assert encode(kind, picture, style) == encode(kind, picture.copy(), style)


def explained(subjects: list[Subject], canvas: Canvas | None) -> ExplainedImage:
    """An image with a map of one class or of two."""
    entry, metadata = (
        Entry("a.png", "photos/a.png", ordinal=0, source="photos", source_slug="photos"),
        ImageMetadata(1, "0" * 64, 1, 1, "PNG", 1),
    )
    own = TargetSpec("index", 0) if len(subjects) == 1 else None
    loaded = Loaded(entry, metadata, np.zeros((1, 1, 3), np.uint8), View(0, 0, 1, 1), canvas, None, own)
    maps = {MapKey("gradcam", "layer4", t): subject.raw[None] for t, subject in enumerate(subjects)}
    results = ExplainedBatch(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([[0, 1]]), maps)
    return ExplainedImage(loaded, BatchResults.of(results, 1), 0)


@pytest.fixture
def batch(subjects: list[Subject]) -> list[ExplainedImage | Failed]:
    """Two maps on a canvas, a failed image, one map on another canvas, an image without a canvas."""
    failed = Failed(
        Entry("b.png", "photos/b.png", ordinal=1, source="photos", source_slug="photos"),
        ImageError("corrupt", "not an image"),
    )
    return [
        explained(subjects[:2], subjects[0].canvas), failed,
        explained(subjects[10:11], subjects[10].canvas), explained(subjects[:1], None),
    ]  # fmt: skip


def pictures(result: Result) -> list[dict[str, np.ndarray]]:
    assert isinstance(result, Explanation)
    return [dict(one.pictures) for one in result.maps]


def test_a_batch_gets_its_pictures_and_keeps_its_order(
    subjects: list[Subject], batch: list[ExplainedImage | Failed]
) -> None:
    done = finish(batch, {"gradcam": (0.0, 2.0)})
    assert done[1] is batch[1]
    assert pictures(done[3]) == [{}]
    assert [result.notes for result in done if isinstance(result, Explanation)] == [(), (), ()]
    expected = painter().draw([replace(subjects[i], limits=(0.0, 2.0)) for i in (0, 1, 10)])
    for found, other in zip(pictures(done[0]) + pictures(done[2]), expected, strict=True):
        assert found.keys() == set(KINDS)
        assert all(np.array_equal(found[kind], other[kind]) for kind in KINDS)


def test_much_is_drawn_in_parts_and_very_much_left_to_the_cpu(
    batch: list[ExplainedImage | Failed], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = finish(batch), []
    draw = Painter.draw

    def counted(self: Painter, some: list[Subject]) -> list[dict[str, np.ndarray]]:
        parts.append(len(some))
        return draw(self, some)

    monkeypatch.setattr(Painter, "draw", counted)
    monkeypatch.setattr(cuda_render, "MOST_PIXELS", 100 * 120)  # the size of the larger canvas
    for i, result in enumerate(finish(batch)):
        if i in (0, 2):
            for found, other in zip(pictures(result), pictures(whole[i]), strict=True):
                assert all(np.array_equal(found[kind], other[kind]) for kind in KINDS)
    assert parts == [1, 1, 1]
    monkeypatch.setattr(cuda_render, "MOST_PIXELS", 100 * 120 - 1)
    done = finish(batch)
    assert pictures(done[0]) == [{}, {}]
    assert pictures(done[2])[0].keys() == set(KINDS)


def test_canvases_that_fit_one_by_one_and_not_together(
    subjects: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is wide and one is high: what holds both is larger than either may be."""
    wide, high = (next(s for s in subjects if s.canvas.size == size) for size in ((1, 90), (90, 1)))
    expected = [painter().draw([replace(one, limits=None)])[0] for one in (wide, high)]
    monkeypatch.setattr(cuda_render, "MOST_PIXELS", 90)
    done = finish([explained([wide], wide.canvas), explained([high], high.canvas)])
    assert [result.notes for result in done if isinstance(result, Explanation)] == [(), ()]
    for found, other in zip([*pictures(done[0]), *pictures(done[1])], expected, strict=True):
        assert all(np.array_equal(found[kind], other[kind]) for kind in KINDS)


def test_nothing_to_draw(batch: list[ExplainedImage | Failed]) -> None:
    assert finish([]) == []
    assert finish([batch[1], batch[3]])[0] is batch[1]


@pytest.mark.parametrize("error", FORMS.values(), ids=FORMS)
def test_what_the_device_fails_to_draw_is_left_to_the_cpu_and_said(
    error: Exception, batch: list[ExplainedImage | Failed], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Painter, some: list[Subject]) -> list[dict[str, np.ndarray]]:
        raise error

    monkeypatch.setattr(Painter, "draw", full)
    done = finish(batch)
    assert done[1] is batch[1]
    for i in (0, 2):
        assert pictures(done[i])[0] == {}
        note = f"drawn on the CPU, since cpu failed to ({describe_error(error)})"
        assert done[i].notes == (note,)  # type: ignore[union-attr]
    assert done[3].notes == ()  # type: ignore[union-attr]


def test_a_lost_device_ends_the_run(batch: list[ExplainedImage | Failed], monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: Painter, some: list[Subject]) -> list[dict[str, np.ndarray]]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Painter, "draw", lost)
    with pytest.raises(CamError, match="the same command continues"):
        finish(batch)


def test_a_run_that_is_drawn_in_batches_is_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same index but for sizes and times; pictures that differ by some levels at most."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(7):
        pixels = np.random.default_rng(i).integers(0, 256, (40 + 9 * i, 90 - 5 * i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{i}.png")
    (photos / "broken.png").write_bytes(b"no image")
    save = ("overlay", "heatmap", "gray", "raw", "map", "panel")

    def index_of(name: str) -> dict[str, Any]:
        config = RunConfig(
            image_path=(str(photos),), output_dir=str(tmp_path / name), model="factory:tests.tiny:build", device="cpu",
            layer=("features",), input_size="64", batch_size="3", save=save, target="top:2", image_format="png",
        )  # fmt: skip
        run(config)
        index: dict[str, Any] = json.loads((tmp_path / name / "index.json").read_text())
        return index

    one_by_one = index_of("one-by-one")

    def in_batches(self: Stream, loaded: Iterator[Loaded | Failed]) -> Iterator[Result]:
        paint = Painter(self.setup.device, KINDS, self.setup.style, (64, 64), self.clock)
        return BatchExplainer(self.setup, self.clock).stream_ahead(
            loaded, lambda: False, DrawingFinisher(self.setup, paint)
        )

    monkeypatch.setattr(Stream, "_explain", in_batches)
    together = index_of("together")
    for one, other in zip(one_by_one["items"], together["items"], strict=True):
        files = list(one.pop("sizes"))
        assert files == list(other.pop("sizes"))
        assert one == other
        for path in files:
            first, second = tmp_path / "one-by-one" / path, tmp_path / "together" / path
            if path.endswith(".npy"):
                assert first.read_bytes() == second.read_bytes()
            else:
                with Image.open(first) as a, Image.open(second) as b:
                    assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("gamma", "signed"), [(1.0, False), (0.5, False), (1.0, True), (0.5, True)])
def test_a_real_device_draws_the_same(subjects: list[Subject], gamma: float, signed: bool) -> None:
    sent = [replace(one, raw=one.raw.cuda()) for one in subjects]
    found, expected = (
        painter(device="cuda", gamma=gamma, signed=signed)(sent, []),
        painter(gamma=gamma, signed=signed).draw(subjects),
    )
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one["gray"].astype(int) - other["gray"]).max() <= HIGHEST


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_device_draws_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: Path) -> None:
    def explained(name: str) -> list[Path]:
        run(RunConfig(image_path=(str(samples),), output_dir=str(tmp_path / name), device="cuda", image_format="png"))
        return sorted((tmp_path / name).rglob("*.png"))

    on_device = explained("device")
    monkeypatch.setattr("camcli.pipeline.stream.make_finisher", lambda setup, clock: None)
    for one, other in zip(on_device, explained("cpu"), strict=True):
        with Image.open(one) as a, Image.open(other) as b:
            assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 6
