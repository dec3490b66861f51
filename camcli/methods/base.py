"""What a method is given, what it returns, and how it describes itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from camcli.methods.eigen import first_component
from camcli.methods.options import Option


@dataclass(frozen=True)
class Pass:
    """One batch, one layer, one class an image.

    Attributes:
        activations: A, (N, K, h, w) float32, prefix tokens dropped.
        logits: z, (N, classes) float32.
        targets: (N,) int64, the class explained in each image.
        scores: S, (N,) float32, the scalar explained.
        seeds: one an image; all randomness of a method comes from here.
        inputs: x, (N, C, H, W) float32.
        gradients: ∂S/∂A, (N, K, h, w) float32, for methods that declare ``needs_gradients``.
        eigen_smooth: the first principal component of the weighted activations instead of their sum.
    """

    activations: Tensor
    logits: Tensor
    targets: Tensor
    scores: Tensor
    seeds: Sequence[int]
    inputs: Tensor
    gradients: Tensor | None = None
    eigen_smooth: bool = False

    @property
    def g(self) -> Tensor:
        """The gradients, where the method has asked for them."""
        if self.gradients is None:
            raise ValueError("this method did not declare needs_gradients")
        return self.gradients

    def weighted(self, weights: Tensor) -> Tensor:
        """Σ_k w_k A_k, or with ``eigen_smooth`` the first principal component of the w_k A_k.

        Args:
            weights: (N, K), or (N, K, h, w) where every position has its own.

        Returns:
            (N, h, w) float32.
        """
        if weights.ndim == 2:
            weights = weights[:, :, None, None]
        terms = weights * self.activations
        return first_component(terms, terms.sum(1)) if self.eigen_smooth else terms.sum(1)


Compute = Callable[[Pass, Mapping[str, Any]], Tensor]


@dataclass(frozen=True)
class Method:
    """One line of the table of methods.

    Attributes:
        key: what is typed.
        name: what it is called.
        paper: authors and year, with the arXiv number where there is one.
        cost: passes an image: F forward, B backward from the score to the layer, T tail behind the layer, K channels,
            n positions.
        compute: from a pass and the method's options to the raw, signed maps (N, h, w) float32.
        needs_gradients: uses ∂S/∂A.
        class_specific: another class gives another map.
        weighted: a sum of weighted activations, so that ``--eigen-smooth`` applies.
        options: its own options.
    """

    key: str
    name: str
    paper: str
    cost: str
    compute: Compute
    needs_gradients: bool = False
    class_specific: bool = True
    weighted: bool = False
    options: Sequence[Option] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """What ``cam methods --json`` prints."""
        return {
            "key": self.key,
            "name": self.name,
            "paper": self.paper,
            "cost": self.cost,
            "gradients": self.needs_gradients,
            "class_specific": self.class_specific,
            "eigen_smooth": self.weighted,
            "options": [option.as_json() for option in self.options],
        }


def generator(seed: int, salt: int = 0) -> torch.Generator:
    """The random numbers of one image: the same on every device, in every batch, after every resume."""
    return torch.Generator().manual_seed((seed * 1_000_003 + salt) % (1 << 63))
