"""LayerCAM: Jiang et al. 2021, IEEE TIP 30, eq. 3 to 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from camcli.methods.base import Pass


def layercam(p: Pass, _options: Mapping[str, Any]) -> Tensor:
    """M = Σ_k relu(g_k) ⊙ A_k. Returns (N, h, w) float32, signed where activations are."""
    return p.weighted(p.g.relu())
