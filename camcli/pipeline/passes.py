"""How many passes of the model a method of a run makes for an image."""

from collections.abc import Mapping, Sequence
from typing import Any

from camcli.layers import Layer
from camcli.methods import Method
from camcli.methods.cost import count_passes
from camcli.pipeline.setup import Setup


def passes_of_method(setup: Setup, method: Method, settings: Mapping[str, Any], layers: Sequence[Layer]) -> int:
    """About how many passes a method makes for an image at these layers, for all targets of the run."""
    cost, most = method.cost_with(settings), settings.get("max_channels")
    passes = sum(
        count_passes(
            cost,
            layer.channels if most is None else min(most, layer.channels),
            layer.layout.grid[0] * layer.layout.grid[1],
        )
        for layer in layers
    ) or count_passes(cost, 0, 0)
    if method.class_specific and not method.targets_together:
        passes *= len(setup.targets)
    return passes * 6 if setup.config.aug_smooth else passes
