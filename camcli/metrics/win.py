"""Win: how often a method has the smallest drop of an image."""

import numpy as np

from camcli.metrics.base import Metric
from camcli.metrics.drop import drop

_ROUNDING = 1e-6
"""Drops of equal maps that were computed in another order differ by less; they are shares of a probability."""


def win(drops: np.ndarray) -> np.ndarray:
    """1 where a method's drop is the smallest of an image, shared between equals (Chattopadhyay 2018).

    Drops that differ by rounding alone (1e-6) are equal.

    Args:
        drops: (methods, N), NaN where an image has no drop.

    Returns:
        (methods, N): 1 / k for each of the k methods that share the smallest drop, else 0; NaN where any is missing.
    """
    least = drops <= drops.min(axis=0, keepdims=True) + _ROUNDING
    shared = least / np.maximum(1, least.sum(axis=0, keepdims=True))
    return np.where(np.isnan(drops).any(axis=0), np.nan, shared)


def would_win(drop: np.ndarray, drops: np.ndarray) -> np.ndarray:
    """What :func:`win` gives a baseline that takes part alone against the methods.

    Args:
        drop: (N,) of the baseline.
        drops: (methods, N).
    """
    first: np.ndarray = win(np.concatenate([drop[None], drops]))[0]
    return first


def among_rows(methods: np.ndarray, baselines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wins from drops: of the methods (M, N) among themselves, of each baseline (B, N) against all methods."""
    return win(methods), np.array([would_win(drops, methods) for drops in baselines])


METRIC = Metric(
    "win", "Win %", "Chattopadhyay 2018, arXiv:1710.11063", "scores", "Masking", drop, factor=100,
    across_rows=among_rows,
)  # fmt: skip
