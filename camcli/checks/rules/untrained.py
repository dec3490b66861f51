"""Has the model learnt anything that its predictions on these images show? A question of ``random``.

A network of random weights says much the same of every picture, and is not sure of it. With p the probabilities of an
image, h(p) = −Σ_c [p_c ln p_c + (1 − p_c) ln(1 − p_c)] how unsure they are, and ⟨·⟩ the mean over images:

- information I = h(⟨p⟩) − ⟨h(p)⟩: how much the predictions tell the pictures apart, in nats;
- doubt H = ⟨h(p)⟩.

Both are compared with those of :data:`RIVALS` networks of the same architecture with new random weights. The lead is
max(I / largest I of the rivals, smallest H of the rivals / H). What has learnt something is above 1: in I where the
images are of several classes, in H also where all are of one. Weights that are random themselves are no more likely
than any rival to have the largest I or the smallest H: by chance they get above 1 in at most one of ten tries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from camcli.checks.reopened import Lab
from camcli.checks.rules.reinitialise import redrawn, with_measured_norms

RIVALS = 19


def lead(lab: Lab, pixels: Sequence[np.ndarray], seed: int) -> float:
    """How far the model's predictions are ahead of those of networks with new random weights; above 1 is ahead.

    Args:
        lab: has the model.
        pixels: of the images.
        seed: of the first rival.
    """
    module, measured = lab.setup.model.module, lab.inputs(pixels[:16])
    information, doubt = _told(lab.probabilities(pixels, with_measured_norms(module, measured)))
    rivals = [
        _told(lab.probabilities(pixels, redrawn(module, measured, seed + number))) for number in range(1, RIVALS + 1)
    ]
    most = max(told for told, _ in rivals)
    least = min(unsure for _, unsure in rivals)
    return max(information / max(most, 1e-12), least / max(doubt, 1e-12))


def _told(probabilities: np.ndarray) -> tuple[float, float]:
    """I and H of (N, classes) probabilities."""
    doubt = float(_entropy(probabilities).mean())
    return float(_entropy(probabilities.mean(0))) - doubt, doubt


def _entropy(p: np.ndarray) -> np.ndarray:
    """h over the last axis: each class is a yes or no of its own, so that softmax and sigmoid are read alike."""
    p = np.clip(p, 1e-12, 1 - 1e-12)
    h: np.ndarray = -(p * np.log(p) + (1 - p) * np.log1p(-p)).sum(-1)
    return h
