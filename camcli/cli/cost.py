"""What slow methods cost, said before they begin, and how long they will take, after the first batch."""

from __future__ import annotations

from camcli.methods.cost import MANY_PASSES
from camcli.pipeline.passes import passes_of_method
from camcli.pipeline.setup import Setup


def passes_of(setup: Setup) -> dict[str, int]:
    """About how many passes each method of a run makes for an image, for all its layers and targets."""
    return {
        method.key: passes_of_method(
            setup, method, settings, setup.layers if method.scope == "layer" else setup.layers[:1]
        )
        for method, settings in setup.explainer.methods()
    }


def cost_lines(setup: Setup, images: int | None) -> list[str]:
    """A line for each method of at least :data:`MANY_PASSES` passes an image; ``images`` is None where unknown."""
    lines = []
    for key, passes in passes_of(setup).items():
        if passes >= MANY_PASSES:
            total = "" if images is None else f", {images:,} image{'s' * (images != 1)}: {passes * images:,} in all"
            lines.append(f"cost     {key}: about {passes:,} passes of the model an image{total}")
    return lines


def remaining_line(seconds: float, done: int, remaining: int) -> str:
    """After ``done`` images of a slow method, how long the others will take at the same rate."""
    images = f"the first {done} images" if done > 1 else "the first image"
    rest = f"the other {remaining:,} will take {duration(seconds * remaining / done, about=True)}"
    return f"{images} took {duration(seconds)}; {rest}"


def duration(seconds: float, *, about: bool = False) -> str:
    """``38 s``, ``26 min``, ``3.4 h``."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 90:
        words = f"{seconds:.0f} s"
    else:
        words = f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
    return f"about {words}" if about else words
