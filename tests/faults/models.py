"""Models that misbehave, named as ``factory:tests.faults.models:NAME``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tests.tiny import Tiny, build


def _tiny() -> Tiny:
    model = build()
    assert isinstance(model, Tiny)
    return model


class _Altered(Tiny):
    """The tiny classifier with something done to its activations after `features`, when there are real images."""

    def __init__(self) -> None:
        original = _tiny()
        super().__init__(original.features)
        self.head = original.head
        self.altered = Alter()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.altered(self.features(x), x).mean((2, 3)))
        return logits


class Alter(nn.Module):
    """Passes its input on, image by image changed by `change`."""

    def forward(self, activation: Tensor, images: Tensor) -> Tensor:
        return torch.stack([self.change(a, mark(image)) for a, image in zip(activation, images, strict=True)])

    def change(self, activation: Tensor, marked: bool) -> Tensor:
        return activation


def mark(image: Tensor) -> bool:
    """Whether an input is the picture that the tests mark: one colour all over, as neither a photo nor noise is."""
    flat = image.flatten(1)
    return bool(flat.std(1).max() < 1e-3 and flat.abs().max() > 1e-3)  # zeros are a trial input


def _with(alter: type[Alter]) -> nn.Module:
    model = _Altered()
    model.altered = alter()
    return model


class _NaN(Alter):
    def change(self, activation: Tensor, marked: bool) -> Tensor:
        return activation * float("nan") if marked else activation


class _Infinite(Alter):
    def change(self, activation: Tensor, marked: bool) -> Tensor:
        return activation + float("inf") if marked else activation


class _Zero(Alter):
    def change(self, activation: Tensor, marked: bool) -> Tensor:
        return activation * 0 if marked else activation


class _Constant(Alter):
    def change(self, activation: Tensor, marked: bool) -> Tensor:
        return activation * 0 + 1 if marked else activation


class _Huge(Alter):
    def change(self, activation: Tensor, marked: bool) -> Tensor:
        return activation * 1e37 if marked else activation


class _Raising(Alter):
    def change(self, activation: Tensor, marked: bool) -> Tensor:
        if marked:
            raise RuntimeError("this model does not like plain pictures")
        return activation


class _Unused(Tiny):
    """Has a module that no pass reaches."""

    def __init__(self) -> None:
        super().__init__(_tiny().features)
        self.spare = nn.Conv2d(16, 16, 1)


class _Unconnected(Tiny):
    """Has a module whose output the score does not depend on."""

    def __init__(self) -> None:
        super().__init__(_tiny().features)
        self.side = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        aside = self.side(features)
        logits: Tensor = self.head(features.mean((2, 3))) + 0 * aside.detach().mean()
        return logits


class _Pooled(Tiny):
    """Has a module whose output is one cell."""

    def __init__(self) -> None:
        super().__init__(_tiny().features)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.features(x)).flatten(1))
        return logits


def unused() -> nn.Module:
    return _Unused()


def unconnected() -> nn.Module:
    return _Unconnected()


def pooled() -> nn.Module:
    return _Pooled()


def nan() -> nn.Module:
    return _with(_NaN)


def infinite() -> nn.Module:
    return _with(_Infinite)


def zero() -> nn.Module:
    return _with(_Zero)


def constant() -> nn.Module:
    return _with(_Constant)


def huge() -> nn.Module:
    return _with(_Huge)


def raising() -> nn.Module:
    return _with(_Raising)


class _Hungry(Alter):
    def forward(self, activation: Tensor, images: Tensor) -> Tensor:
        if len(images) > 3 and any(map(mark, images)):
            torch.empty(1 << 58)  # more than any machine has
        return activation


class _Starving(Alter):
    def change(self, activation: Tensor, marked: bool) -> Tensor:
        if marked:
            torch.empty(1 << 58)
        return activation


def hungry() -> nn.Module:
    """Takes three images at once where one is marked."""
    return _with(_Hungry)


def starving() -> nn.Module:
    """Takes no marked image, however few they are."""
    return _with(_Starving)


def picky_preprocessing() -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    """A model with preprocessing of the user's own, which refuses black pictures."""

    def transform(image: Image.Image) -> Tensor:
        pixels = np.asarray(image.resize((64, 64)), np.float32) / 255
        if image.size == (50, 50) and not pixels.any():
            raise ValueError("nothing to see")
        return torch.from_numpy(pixels).permute(2, 0, 1)

    return build(), transform


def exiting_preprocessing() -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    """As above, but ends the thread: on 50×50 always, on 51×51 the first time."""
    seen: list[int] = []

    def transform(image: Image.Image) -> Tensor:
        if image.size == (50, 50) or (image.size == (51, 51) and not seen):
            seen.append(1)
            raise SystemExit(f"leaving on {image.width}")
        pixels = np.asarray(image.resize((64, 64)), np.float32) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1)

    return build(), transform
