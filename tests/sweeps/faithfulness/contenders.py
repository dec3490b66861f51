"""What is compared: every method, PathCAM's short form, HiResCAM at the last block, and baselines."""

from __future__ import annotations

from dataclasses import dataclass

from camcli.methods import METHODS
from camcli.metrics.baselines import BASELINES
from tests.sweeps.faithfulness.models import ModelSpec

FAST, LAST_BLOCK = "pathcam-fast", "hirescam-last-block"
REFERENCES = (LAST_BLOCK, "gradcam")
"""The other contenders are compared with these, image by image."""


@dataclass(frozen=True)
class Contender:
    """A method with its layer and options, or a baseline.

    Attributes:
        name: in tables and file names.
        method: key of the method or baseline.
        layer: as ``--layer`` takes it.
        option: values of ``--option``.
        is_baseline: whether it looks at no model.
    """

    name: str
    method: str
    layer: str = "auto"
    option: tuple[str, ...] = ()
    is_baseline: bool = False


def contenders_of(spec: ModelSpec) -> list[Contender]:
    """All of a model, also those that will turn out not to suit it."""
    return [
        *(Contender(key, key) for key in METHODS),
        Contender(FAST, "pathcam", option=("pathcam.fast=true",)),
        Contender(LAST_BLOCK, "hirescam", spec.last_block),
        *(Contender(f"baseline-{key}", key, is_baseline=True) for key in BASELINES),
    ]
