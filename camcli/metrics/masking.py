"""The probability of the class when the input is masked by the map: what drop, increase, gain and ADCC are made of.

With Y = p_c(x) and O = p_c(x ⊙ L), both probabilities of the explained class. The metrics give one value an image; the
reported figures are 100 times their mean. They measure little of faithfulness alone: a map that keeps nearly all of
the image scores best, which the baseline Fake-CAM shows.
"""

import torch
from torch import Tensor

from camcli.metrics.scoring import BATCH, Scorer

EDGE = 1e-6
"""Images whose Y is below leave the drop, whose Y is above 1 − this leave the gain: the quotient means nothing."""


def masked_scores(inputs: Tensor, maps: Tensor, classes: Tensor, scorer: Scorer, batch: int = BATCH) -> Tensor:
    """O = p_c(x ⊙ L), (N,) float32.

    Args:
        inputs: x, (N, C, H, W), normalised.
        maps: L, (N, H, W) in [0, 1].
        classes: (N,).
    """
    parts = zip(*(torch.split(t, batch) for t in (inputs, maps, classes)), strict=True)
    return torch.cat([scorer(x * heat[:, None], some).float() for x, heat, some in parts])
