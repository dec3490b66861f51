"""What is searched for something that the images of a class have in common, and what is found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from camcli.checks.shortcuts.matching import Spectra
from camcli.stats import log_hypergeometric_tail

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1, half-open, in shares of the view."""

SIGNIFICANCE = 0.01
"""Significance level, corrected for every window, tolerance and class that was tried (Bonferroni)."""


@dataclass(frozen=True)
class Pattern:
    """Something that recurs.

    Attributes:
        boxes: by index among the images of the class, where it lies.
        share: of the class's images that show it; ``others``: of the other images.
        chance: probability of that under independence, corrected for everything that was tried.
        medoid: index of the image whose patch is most like all others.
        fixed: whether it lies at the same place in all images.
        mask: (h, w) bool, the part of the box that it fills, at the working size; None: all of it. A frame has one.
    """

    boxes: dict[int, Box]
    share: float
    others: float
    chance: float
    medoid: int
    fixed: bool
    mask: np.ndarray | None = None

    @property
    def region(self) -> Box:
        """The median box."""
        x0, y0, x1, y1 = np.median(list(self.boxes.values()), axis=0).tolist()
        return x0, y0, x1, y1


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        own: (N, H, W, 3) float32, levels of 0 to 255: images of the class at the working size.
        others: (M, H, W, 3) float32, images of other classes.
        heat: (N, H, W) float32 in [0, 1], the maps of the images of the class, each divided by its maximum.
        share: least share of the class's images.
        ratio: how many times more often than in other images.
        log_tried: natural logarithm of the number of classes, and of groups of them, that could have been searched,
            for the correction of the significance.
    """

    own: np.ndarray
    others: np.ndarray
    heat: np.ndarray
    share: float
    ratio: float
    log_tried: float = 0.0

    @cached_property
    def own_spectra(self) -> Spectra:
        """Of the images of the class."""
        return Spectra.of(self.own)

    @cached_property
    def others_spectra(self) -> Spectra:
        """Of the other images."""
        return Spectra.of(self.others)

    def significance(self, inside: np.ndarray, outside: np.ndarray, tried: int) -> float:
        """Probability, at most 1, that matches lie as one-sidedly by chance; 1 where they are too few.

        Args:
            inside: (N,) bool, the images of the class that match.
            outside: (M,) bool, other images that match.
            tried: windows and tolerances.
        """
        hits, misses = int(inside.sum()), int(outside.sum())
        if hits < self.share * len(inside):
            return 1.0
        log_tried = math.log(tried) + self.log_tried
        return chance_of(hits, len(inside), misses, len(outside), self.ratio, log_tried)

    def separate(
        self, boxes: Mapping[int, Box], inside: np.ndarray, outside: np.ndarray, largest: float, tried: int
    ) -> Pattern | None:
        """What the images of the class show whose distance to something stays below a limit; None: not significant.

        Of all limits the one is taken with which most images of the class and fewest others match.

        Args:
            boxes: where it lies, by index among the images of the class.
            inside: (N,) distances of the images of the class; ``outside``: (M,) of others.
            largest: limit.
            tried: limits and places, for the correction of the significance.
        """
        best: tuple[float, float, float] | None = None
        for limit in np.sort(inside[inside <= largest]).tolist():
            chance = self.significance(inside <= limit, outside <= limit, tried)
            excess = float((inside <= limit).mean() - self.ratio * (outside <= limit).mean())
            if chance < SIGNIFICANCE and (best is None or excess >= best[0]):
                best = excess, limit, chance
        if best is None:
            return None
        _, limit, chance = best
        showing = {i: box for i, box in sorted(boxes.items()) if inside[i] <= limit}
        share, others = len(showing) / len(inside), float((outside <= limit).mean())
        return Pattern(showing, share, others, chance, min(showing, key=lambda i: inside[i]), is_fixed(showing))


def chance_of(hits: int, own: int, misses: int, others: int, ratio: float, log_tried: float) -> float:
    """Probability, at most 1, that matches lie as one-sidedly by chance; 1 where they do not lie so.

    Args:
        hits: of ``own`` images that match; ``misses``: of ``others``.
        ratio: how many times more often the first must.
        log_tried: natural logarithm of the number of tries, for the correction of the significance.
    """
    if hits / own < ratio * misses / max(1, others):
        return 1.0
    return math.exp(min(0.0, log_hypergeometric_tail(hits, own, hits + misses, own + others) + log_tried))


def in_shares(box: tuple[int, int, int, int], size: tuple[int, ...]) -> Box:
    """A box in pixels of views of (height, width, ...), in shares."""
    x0, y0, x1, y1 = box
    height, width = size[:2]
    return x0 / width, y0 / height, x1 / width, y1 / height


def is_fixed(boxes: Mapping[int, Box]) -> bool:
    """Whether three quarters of the boxes have their centre within a tenth of the side of the median place."""
    centres = np.array([((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes.values()])
    return bool((np.abs(centres - np.median(centres, axis=0)).max(1) < 0.1).mean() >= 0.75)


def working_copy(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 as it is searched: float32, slightly blurred, since marks lie between pixels."""
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)


def stack_copies(images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, H, W, 3) float32 of pictures of one size."""
    return np.stack([working_copy(image) for image in images])
