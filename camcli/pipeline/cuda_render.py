"""Pictures of many maps at once, on a CUDA device; :mod:`camcli.render` draws them one by one on the CPU.

A map is sampled at every pixel of its canvas, raised to the power ``--gamma`` and rounded to a level, 0 to 255;
outside the model's view it is :data:`_FRAME` beside it and :data:`_OUTSIDE` further away. All else is integer look-ups
by level, channel and pixel, in tables that :mod:`camcli.render` fills: for equal levels the pictures are the same
bytes. Levels may differ by one from those of the CPU, where OpenCV rounds positions to 1/32 of a pixel of the model's
input; by more where a map has about as many cells as the input has pixels, and where the power is steep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from camcli.concurrency import Clock
from camcli.device import empty_on_host, free_cached_memory, to_device, to_host
from camcli.errors import describe_error, device_lost, is_device_lost
from camcli.explainer import MapKey
from camcli.map_summary import CONSTANT, VANISHING
from camcli.pipeline.assembly import BatchResults, ExplainedImage, assemble, maps_to_show, record_event, with_note
from camcli.pipeline.items import Explanation, Failed
from camcli.pipeline.setup import Setup
from camcli.render import ZERO, Canvas, Style, blend, colours, dim, frame_width, mix, signed_shares

KINDS = ("overlay", "heatmap", "gray")
"""What is drawn here; the others (``panel``, ``map``) are left to the CPU."""
MOST_PIXELS = 1 << 22
"""Pixels that are drawn at once; each takes about 60 bytes on the device. Larger canvases are left to the CPU."""
_OUTSIDE, _FRAME = 256, 257

Limits = tuple[float, float] | None


@dataclass(frozen=True)
class Subject:
    """A map to draw.

    Attributes:
        raw: (h, w) float32, native and raw, on the painter's device.
        limits: fixed normalisation limits in raw units; None: the map's own extremes.
        canvas: what it is drawn on.
    """

    raw: Tensor
    limits: Limits
    canvas: Canvas


def make_finisher(setup: Setup, clock: Clock) -> DrawingFinisher | None:
    """What draws and assembles the batches of a run; None where the pictures are drawn on the CPU."""
    kinds = tuple(kind for kind in setup.config.save if kind in KINDS)
    if setup.device.type != "cuda" or not kinds:
        return None
    shape = setup.model.preprocessing
    return DrawingFinisher(setup, Painter(setup.device, kinds, setup.style, (shape.height, shape.width), clock))


@dataclass(frozen=True)
class DrawingFinisher:
    """Draws the maps of a batch on the device and assembles the explanations; called from one thread."""

    setup: Setup
    painter: Painter

    def __call__(self, results: list[ExplainedImage | Failed]) -> list[Explanation | Failed]:
        """The explanations of a batch, with pictures.

        What the device fails to draw, having no memory left for example, is left to the CPU, and the row says so.
        Waits for the device once, when all is drawn and copied, and so are the results of the batch.

        Raises:
            CamError: the device is lost.
        """
        images = [one for one in results if isinstance(one, ExplainedImage)]
        batches = list({id(one.results): one.results for one in images}.values())
        subjects = [self._subjects(image) for image in images]
        note = None
        drawn: list[dict[str, np.ndarray]] = []
        try:
            drawn = self.painter([one for own in subjects for one in own.values()], batches)
        except Exception as error:
            if is_device_lost(error):
                raise device_lost(self.painter.device, error) from error
            note = f"drawn on the CPU, since {self.painter.device} failed to ({describe_error(error)})"
        if note is not None:
            free_cached_memory()  # outside the handler: until here the exception holds what the drawing took
        if not drawn:  # the painter has not waited for them
            for batch in batches:
                batch.wait()
        for batch in batches:
            self.painter.clock.add("model", batch.seconds)
        ready, own = iter(drawn), iter(subjects)
        return [one if isinstance(one, Failed) else self._finish(one, next(own), ready, note) for one in results]

    def _finish(
        self, image: ExplainedImage, subjects: Mapping[MapKey, Subject], drawn: Iterator[dict[str, np.ndarray]],
        note: str | None,
    ) -> Explanation | Failed:  # fmt: skip
        if note is None:
            return assemble(self.setup, image, {key: next(drawn) for key in subjects})
        plain = assemble(self.setup, image)
        return with_note(plain, note) if subjects else plain

    def _subjects(self, explained: ExplainedImage) -> dict[MapKey, Subject]:
        """The maps that are drawn on the device: of a canvas that is too large for it, none."""
        canvas, maps, i = explained.image.canvas, explained.results.device.maps, explained.row
        if canvas is None or _area([canvas]) > MOST_PIXELS:
            return {}
        keys = maps_to_show(self.setup, explained)
        return {key: Subject(maps[key][i], self.setup.limits.get(key.method), canvas) for key in keys}


@dataclass(frozen=True)
class Painter:
    """Draws the maps of batches; called from one thread.

    Attributes:
        device: where it is drawn.
        kinds: which pictures, of :data:`KINDS`.
        style: colours and their share.
        model_size: (H, W) of the model's input.
        clock: counts the seconds.
    """

    device: torch.device
    kinds: tuple[str, ...]
    style: Style
    model_size: tuple[int, int]
    clock: Clock

    def __call__(self, subjects: Sequence[Subject], batches: Sequence[BatchResults]) -> list[dict[str, np.ndarray]]:
        """The pictures of each map by kind, once they and the results that they are of are on the host.

        Args:
            subjects: maps, in parts that the device has room for.
            batches: the results they belong to.
        """
        area = _area([subject.canvas for subject in subjects]) if subjects else 1
        most = max(1, MOST_PIXELS // area)  # a wide and a high one together may be too large where each is not
        parts = [subjects[i : i + most] for i in range(0, len(subjects), most)]
        if self.device.type != "cuda":
            with self.clock("render"):
                return [pictures for part in parts for pictures in self.draw(part)]
        with self._own_stream():
            for batch in batches:
                batch.let_stream_wait()
            started = record_event(self.device)
            drawn = [pictures for part in parts for pictures in self.draw(part)]
            if drawn:
                complete = record_event(self.device)
                complete.synchronize()
                self.clock.add("render", started.elapsed_time(complete) / 1000)
        return drawn

    def draw(self, subjects: Sequence[Subject]) -> list[dict[str, np.ndarray]]:
        """The pictures of each map by kind: (height, width, 3) uint8 BGR; ``gray``: (height, width) uint8.

        On CUDA they are complete when the current stream is.
        """
        canvases = [subject.canvas for subject in subjects]
        levels = self._levels(self._upsample(subjects), canvases)
        pictures = {kind: to_host(self._picture(kind, levels, canvases)).numpy() for kind in self.kinds}
        sizes = [canvas.size for canvas in canvases]
        return [{kind: drawn[i, :h, :w] for kind, drawn in pictures.items()} for i, (h, w) in enumerate(sizes)]

    def _upsample(self, subjects: Sequence[Subject]) -> Tensor:
        """(K, 1, H, W) float32 in [0, 1]."""
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i, subject in enumerate(subjects):
            shapes.setdefault(subject.raw.shape, []).append(i)
        parts = []
        for some in shapes.values():
            raw = torch.stack([subjects[i].raw for i in some])
            heat = normalise_maps(raw, [subjects[i].limits for i in some], self.style.signed)[:, None]
            parts.append(interpolate(heat, self.model_size, mode="bilinear", align_corners=False))
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.concatenate(list(shapes.values())))
        return torch.cat(parts)[to_device(torch.from_numpy(order), self.device)]

    def _levels(self, heat: Tensor, canvases: Sequence[Canvas]) -> Tensor:
        """(K, height, width) int32 in 0 … 257 of normalised maps (K, 1, H, W), in the geometry of their canvases."""
        height, width = _largest(canvases)
        views = [(c.view.x0, c.view.x1, c.view.y0, c.view.y1) for c in canvases]
        x0, x1, y0, y1 = to_device(torch.tensor(views, dtype=torch.float64), self.device).unbind(1)
        frames = to_device(torch.tensor([frame_width(c.size) for c in canvases]), self.device)
        x, across, near_across = _sample_positions(x0, x1, width, frames)
        y, down, near_down = _sample_positions(y0, y1, height, frames)
        grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
        sampled = grid_sample(heat, grid, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]
        if self.style.gamma != 1:
            sampled = sampled.abs().pow_(self.style.gamma).copysign(sampled)
        half = 127.5 if self.style.signed else 0.0
        levels = sampled.mul_(255 - half).add_(half).round_().to(torch.int32)
        # Where no pixel is inside, there is no frame.
        is_seen = (across.any(1) & down.any(1))[:, None, None]
        is_frame = near_down[:, :, None] & near_across[:, None, :] & is_seen
        outside = torch.where(is_frame, _FRAME, _OUTSIDE)
        return torch.where(down[:, :, None] & across[:, None, :], levels, outside)

    def _picture(self, kind: str, levels: Tensor, canvases: Sequence[Canvas]) -> Tensor:
        """(K, height, width) uint8 of ``gray``, (K, height, width, 3) of the others, BGR."""
        table = self._tables[kind]
        if kind != "overlay":
            return table[levels]
        channels = torch.arange(3, device=self.device, dtype=torch.int32)
        return table[(levels[..., None] * 3 + channels) * 256 + self._send(canvases)]

    @cached_property
    def _tables(self) -> dict[str, Tensor]:
        """What a level becomes: its ``gray``, (258,) uint8; its colour, (258, 3) uint8; over each value of a pixel, by
        channel, the ``overlay``, 258 × 3 × 256 uint8 in one row.
        """
        coloured, values = colours(self.style.colormap), np.arange(256, dtype=np.uint8)
        over = np.repeat(coloured.reshape(768, 1), 256, axis=1)  # a row for each level and channel
        under = np.tile(values, (768, 1))
        if self.style.signed:
            inside = mix(over, under, np.repeat(signed_shares(self.style.alpha), 3)[:, None])
        else:
            inside = blend(over, under, self.style.alpha)
        outside = np.tile(dim(values).reshape(1, 256), (3, 1))
        tables = {
            "gray": np.append(values, np.full(2, ZERO if self.style.signed else 0, np.uint8)),
            "heatmap": np.vstack([coloured, np.zeros((2, 3), np.uint8)]),
            "overlay": np.vstack([inside, outside, np.full((3, 256), 255, np.uint8)]).ravel(),
        }
        return {kind: torch.from_numpy(table).to(self.device) for kind, table in tables.items()}

    def _send(self, canvases: Sequence[Canvas]) -> Tensor:
        """(K, height, width, 3) uint8, the canvases' pixels; what fills them up to one size is not read."""
        places: dict[int, int] = {}  # several maps may be drawn on one canvas, which then travels once
        place = [places.setdefault(id(canvas), len(places)) for canvas in canvases]
        size = (len(places), *_largest(canvases), 3)
        packed = empty_on_host(size, torch.uint8, pinned=self.device.type == "cuda")
        room = packed.numpy()
        for i, canvas in dict(zip(place, canvases, strict=True)).items():
            room[i, : canvas.size[0], : canvas.size[1]] = canvas.pixels
        sent = packed.to(self.device, non_blocking=True)
        return sent if len(places) == len(canvases) else sent[to_device(torch.tensor(place), self.device)]

    def _own_stream(self) -> AbstractContextManager[object]:
        """A CUDA stream of its own: drawing does not wait for the model's next batch, nor the reverse."""
        return torch.cuda.stream(self._stream) if self.device.type == "cuda" else nullcontext()

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]


def normalise_maps(raw: Tensor, limits: Sequence[Limits], signed: bool = False) -> Tensor:
    """:func:`camcli.render.normalise` of many maps: (K, h, w) float32, raw, to [0, 1], or with their sign."""
    least, most = raw.amin((1, 2)), raw.amax((1, 2))  # NaN where there is one
    farthest = torch.maximum(most, -least)
    own = to_device(torch.tensor([limit is None for limit in limits]), raw.device)
    shows = least.isfinite() & most.isfinite() & ((farthest if signed else most) > VANISHING)
    shows &= ~own | (most - least >= CONSTANT * farthest)
    fixed = to_device(torch.tensor([limit or (0.0, 1.0) for limit in limits], dtype=torch.float64), raw.device)
    if signed:
        ends = torch.where(own, farthest.double(), fixed.abs().amax(1))
        span = torch.where(shows, ends, 1).float()[:, None, None]
        return torch.where(shows[:, None, None], (raw / span).clamp(-1, 1), 0)
    low = torch.where(own, least.clamp(min=0).double(), fixed[:, 0])
    high = torch.where(own, most.double(), fixed[:, 1])
    span = torch.where(shows, high - low, 1).float()[:, None, None]
    scaled = ((raw.clamp(min=0) - low.float()[:, None, None]) / span).clamp(0, 1)
    return torch.where(shows[:, None, None], scaled, 0)


def _sample_positions(start: Tensor, end: Tensor, count: int, near: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Along one side: where in the model's input the centres of a canvas's pixels lie, and which of them do.

    Args:
        start: (K,) float64, where the model's view begins, in pixels of the canvas.
        end: (K,) float64, where it ends.
        count: pixels.
        near: (K,) int64, pixels that are beside it.

    Returns:
        (K, count) float32, from −1 to 1 inside the input, and (K, count) bool twice: inside; inside or beside.
    """
    centres = torch.arange(count, dtype=torch.float64, device=start.device) + 0.5
    start, end, near = start[:, None], end[:, None], near[:, None]
    beside = (centres + near >= start) & (centres - near < end)
    return (2 * (centres - start) / (end - start) - 1).float(), (centres >= start) & (centres < end), beside


def _largest(canvases: Sequence[Canvas]) -> tuple[int, int]:
    """(height, width) that all of them fit into."""
    return max(c.size[0] for c in canvases), max(c.size[1] for c in canvases)


def _area(canvases: Sequence[Canvas]) -> int:
    height, width = _largest(canvases)
    return height * width
