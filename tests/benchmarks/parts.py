"""What each part of an image's work takes by itself: ``python -m tests.benchmarks.parts``.

One thread, photographs of 500×375 pixels, medians. This is the profile behind the shares of the other tables: whatever
the model takes, an image takes these as well.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from camcli.images import Preprocessing, View, decode, to_input
from camcli.map_summary import map_statistics, native_copy, raw_statistics
from camcli.output.atomic import write_atomically
from camcli.render import Drawing, Style, encode, make_canvas
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.photographs import SIZE, make_photographs

PHOTOGRAPHS, CALLS = 16, 400
INPUT = (224, 224)


def milliseconds(work: Callable[[int], object]) -> float:
    """The median of many calls, each with the number of another photograph."""
    taken = []
    for _, number in zip(range(CALLS), cycle(range(PHOTOGRAPHS)), strict=False):
        start = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - start)
    return 1000 * median(taken)


def parts(folder: Path) -> Iterator[tuple[str, float]]:
    """Name and milliseconds of each."""
    files = [path.read_bytes() for path in make_photographs(folder, PHOTOGRAPHS)]
    images = [decode(data).image for data in files]
    yield "decoding, with EXIF and hash", milliseconds(lambda i: decode(files[i]))
    for filter_ in ("bilinear", "bicubic"):
        own = Preprocessing(resize_to=256, interpolation=filter_)
        yield f"resizing and cropping, {filter_}", milliseconds(lambda i, own=own: own(images[i]))  # type: ignore[misc]
    pixels = np.stack([own(image).pixels for image in images])
    yield "normalising", milliseconds(lambda i: to_input(pixels[i : i + 1], own))
    view = View(62.5, 0, 437.5, 375)
    yield "pixels to draw on", milliseconds(lambda i: make_canvas(np.asarray(images[i]), view, 1024))
    canvases = [make_canvas(np.asarray(image), view, 1024) for image in images]
    raw = cv2.GaussianBlur(np.random.default_rng(0).random((7, 7), np.float32), (0, 0), 1)  # one region, as usual
    overlays = [Drawing(raw, canvas, INPUT, Style()).overlay for canvas in canvases]
    yield "drawing an overlay", milliseconds(lambda i: Drawing(raw, canvases[i], INPUT, Style()).overlay)
    yield (
        "measuring a map",
        milliseconds(lambda i: (map_statistics(raw, view, SIZE, INPUT), raw_statistics(raw), native_copy(raw))),
    )
    encoded = encode("overlay", overlays[0], Style())
    yield "encoding an overlay", milliseconds(lambda i: encode("overlay", overlays[i], Style()))
    yield "writing it", milliseconds(lambda i: write_atomically(folder / f"{i}.out", [encoded]))


def main() -> None:
    print("\n".join(describe_machine()), flush=True)
    print("\n| part | ms |\n|---|---|")
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for name, taken in parts(Path(temporary)):
            print(f"| {name} | {taken:.2f} |", flush=True)


if __name__ == "__main__":
    main()
