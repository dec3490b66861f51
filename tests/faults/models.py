"""Models that misbehave, named as ``factory:tests.faults.models:NAME``."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from tests.tiny import Tiny, build


class _Altered(Tiny):
    """The tiny classifier with something done to its activations after `features`, when there are real images."""

    def __init__(self) -> None:
        original = build()
        assert isinstance(original, Tiny)
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
    """Whether an input is the picture that the tests mark: one colour all over, as no photograph is."""
    return bool(image.flatten(1).std(1).max() < 1e-3)


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


class _Slow(Alter):
    def change(self, activation: Tensor, marked: bool) -> Tensor:
        time.sleep(0.05)
        return activation


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


def slow() -> nn.Module:
    """A twentieth of a second an image."""
    return _with(_Slow)
