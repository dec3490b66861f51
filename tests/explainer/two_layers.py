"""Two layers of one network, explained for its prediction: what several files of tests here look at."""

from __future__ import annotations

from torch import Tensor

from tests.methods.networks import nchw

LAYERS = [nchw("after", (4, 4)), nchw("stem", (8, 8))]  # not in the order of the pass


def top(logits: Tensor) -> Tensor:
    return logits.argmax(1, keepdim=True)
