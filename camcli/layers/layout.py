"""Where the channels, rows, columns and prefix tokens of an activation are."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from camcli.errors import LayerError

LayoutKind = Literal["nchw", "nhwc", "tokens"]
KINDS: tuple[str, ...] = get_args(LayoutKind)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of an activation.

    Attributes:
        kind: ``nchw`` (N, K, h, w), ``nhwc`` (N, h, w, K) or ``tokens`` (N, prefix_tokens + h·w, K), the tokens of the
            grid row by row after the prefix tokens (class, distillation, registers).
        grid: rows and columns.
        prefix_tokens: tokens before the grid; 0 unless ``kind`` is ``tokens``.
    """

    kind: LayoutKind
    grid: tuple[int, int]
    prefix_tokens: int = 0

    def to_maps(self, activation: Tensor) -> Tensor:
        """The activation as maps (N, K, h, w), prefix tokens dropped; a view where torch can make one.

        Raises:
            LayerError: the activation has another shape than this layout.
        """
        self._check(activation)
        if self.kind == "nchw":
            return activation
        if self.kind == "nhwc":
            return activation.permute(0, 3, 1, 2)
        tokens = activation[:, self.prefix_tokens :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], *self.grid)

    def from_maps(self, maps: Tensor, like: Tensor) -> Tensor:
        """The inverse of :meth:`to_maps`: maps (N, K, h, w) in the shape of an activation of this layout.

        Args:
            maps: (N, K, h, w).
            like: an activation (N or 1, ...) that gives the prefix tokens.
        """
        if self.kind == "nchw":
            return maps
        if self.kind == "nhwc":
            return maps.permute(0, 2, 3, 1)
        tokens = maps.flatten(2).transpose(1, 2)
        if not self.prefix_tokens:
            return tokens
        prefix = like[:, : self.prefix_tokens].expand(len(tokens), -1, -1)
        return torch.cat([prefix.to(tokens.dtype), tokens], dim=1)

    def channels(self, shape: tuple[int, ...]) -> int:
        """K, the number of channels of an activation of this shape (N, ...)."""
        return shape[1] if self.kind == "nchw" else shape[-1]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an activation of this shape (N, ...) can have this layout."""
        height, width = self.grid
        if self.kind == "tokens":
            return len(shape) == 3 and shape[1] == self.prefix_tokens + height * width
        if len(shape) != 4:
            return False
        return tuple(shape[2:] if self.kind == "nchw" else shape[1:3]) == (height, width)

    def _check(self, activation: Tensor) -> None:
        if not self.fits(tuple(activation.shape)):
            raise LayerError(
                f"an activation of shape {tuple(activation.shape)} is not {self}: the layer's output changed its "
                "shape, which happens with another input size than the layer was chosen for."
            )

    def __str__(self) -> str:
        height, width = self.grid
        prefix = f" after {self.prefix_tokens} prefix tokens" if self.prefix_tokens else ""
        return f"{self.kind} {height}x{width}{prefix}"


@dataclass(frozen=True, slots=True)
class LayoutFlag:
    """``--layout``, parsed: the user's statement about the activation; None where a part is open."""

    kind: LayoutKind | None = None
    prefix_tokens: int | None = None
    grid: tuple[int, int] | None = None

    def allows(self, layout: Layout) -> bool:
        """Whether a layout agrees with the flag."""
        return (
            self.kind in (None, layout.kind)
            and self.prefix_tokens in (None, layout.prefix_tokens)
            and self.grid in (None, layout.grid)
        )


def parse_layout(text: str) -> LayoutFlag:
    """``auto``, ``nchw``, ``nhwc``, ``tokens``, ``tokens:1``, ``tokens:5:14x20``.

    Raises:
        LayerError: anything else.
    """
    match = re.fullmatch(r"(?:(nchw|nhwc)|(tokens)(?::(\d+)(?::(\d+)x(\d+))?)?|auto)", text.strip().lower())
    if match is None:
        raise LayerError(
            f"--layout {text!r} is none of auto, nchw, nhwc, tokens, tokens:PREFIX, tokens:PREFIX:HxW "
            "(for example tokens:1:14x14: one class token, then 14 rows of 14)."
        )
    plain, _, prefix, height, width = match.groups()
    if plain == "nchw":
        return LayoutFlag("nchw")
    if plain == "nhwc":
        return LayoutFlag("nhwc")
    if match.group(2) is None:
        return LayoutFlag()
    grid = (int(height), int(width)) if height else None
    if grid is not None and 0 in grid:
        raise LayerError(f"--layout {text!r}: a grid has at least one row and one column.")
    return LayoutFlag("tokens", int(prefix) if prefix else None, grid)
