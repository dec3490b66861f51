"""Is the model trained, as far as its predictions on these images show? A part of ``random``.

A network of random weights gives much the same prediction for every image, with low confidence. With p the
probabilities of an image, h(p) = −Σ_c [p_c ln p_c + (1 − p_c) ln(1 − p_c)] their uncertainty, and ⟨·⟩ the mean over
images:

- information I = h(⟨p⟩) − ⟨h(p)⟩: how much the predictions differ between images, in nats;
- uncertainty H = ⟨h(p)⟩.

Both are compared with those of :data:`UNTRAINED_NETWORKS` networks of the same architecture with new random weights.
The lead is max(I / their largest I, their smallest H / H). A trained network is above 1: in I where the images are of
several classes, in H also where all are of one. A network whose own weights are random is no more likely than any other
to have the largest I or the smallest H: it is above 1 by chance in at most one of ten cases.
"""

from collections.abc import Sequence

import numpy as np

from camcli.checks.reopened import ReopenedModel
from camcli.checks.rules.reinitialise import measure_fresh_norms, reinitialise

UNTRAINED_NETWORKS = 19


def measure_lead(reopened: ReopenedModel, pixels: Sequence[np.ndarray], seed: int) -> float:
    """How far the model's predictions are ahead of those of networks with new random weights; above 1 is ahead.

    Args:
        reopened: the model.
        pixels: of the images.
        seed: of the first untrained network.
    """
    module, batch = reopened.setup.model.module, reopened.inputs(pixels[:16])
    information, uncertainty = _statistics(reopened.probabilities(pixels, measure_fresh_norms(module, batch)))
    networks = (reinitialise(module, batch, seed + number) for number in range(1, UNTRAINED_NETWORKS + 1))
    untrained = [_statistics(reopened.probabilities(pixels, network)) for network in networks]
    most = max(information for information, _ in untrained)
    least = min(uncertainty for _, uncertainty in untrained)
    return max(information / max(most, 1e-12), least / max(uncertainty, 1e-12))


def _statistics(probabilities: np.ndarray) -> tuple[float, float]:
    """I and H of (N, classes) probabilities."""
    uncertainty = float(_entropy(probabilities).mean())
    return float(_entropy(probabilities.mean(0))) - uncertainty, uncertainty


def _entropy(p: np.ndarray) -> np.ndarray:
    """h over the last axis: each class counts as one binary variable, so that softmax and sigmoid are treated alike."""
    p = np.clip(p, 1e-12, 1 - 1e-12)
    h: np.ndarray = -(p * np.log(p) + (1 - p) * np.log1p(-p)).sum(-1)
    return h
