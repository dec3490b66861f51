"""Time and memory of the comparison of many classes, which `cam check` makes before it searches some of them.

    python -m tests.sweeps.shortcut_classes --photos FOLDER [50 100 200 400]

Each class has four parts of photographs; those of the first five classes carry the same sticker. Both figures should
grow linearly, and the five classes should be the first group.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from camcli.checks.shortcuts.many_classes import Pool, compare_classes
from tests.sweeps.shortcut_battery.scenes import list_photos

SIDE, STICKER, EACH, MARKED = 144, 20, 4, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("classes", type=int, nargs="*", default=[50, 100, 200])
    arguments = parser.parse_args()
    photos = [np.asarray(Image.open(path).convert("RGB").resize((320, 320))) for path in list_photos(arguments.photos)]
    print("classes  processor time  peak memory  first group")
    for classes in arguments.classes:
        pool = make_pool(photos, classes)
        began = time.process_time()
        promising = compare_classes(pool, share=0.3, ratio=4.0, seed=0)
        seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"{classes:7}  {seconds:12.1f} s  {peak:7} MiB  {promising.groups[:1]}", flush=True)


def make_pool(photos: list[np.ndarray], classes: int) -> Pool:
    """A pool whose first classes carry the sticker, each map hot where it lies or at a random place."""
    rng = np.random.default_rng(0)
    pixels, heat = [], []
    for number in range(classes * EACH):
        photo, side = photos[int(rng.integers(len(photos)))], int(rng.integers(150, 300))
        x, y = rng.integers(0, 320 - side, 2)
        part = cv2.resize(photo[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        x, y = rng.integers(0, SIDE - STICKER, 2)
        if number // EACH < MARKED:
            part[y : y + STICKER, x : x + STICKER] = (214, 32, 44)
            cv2.circle(part, (int(x) + STICKER // 2, int(y) + STICKER // 2), STICKER // 4, (250, 222, 40), 2)
        hot = np.full((SIDE, SIDE), 0.1, np.float32)
        hot[max(0, y - 10) : y + STICKER + 10, max(0, x - 10) : x + STICKER + 10] = 1
        pixels.append(part)
        heat.append(hot)
    return Pool(pixels, heat, np.repeat(np.arange(classes), EACH))


if __name__ == "__main__":
    main()
