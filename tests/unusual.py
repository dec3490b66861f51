"""Classifiers that are usual in projects and unusual for autograd, named as ``factory:tests.unusual:NAME``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.tiny import CLASSES, build


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        tiny = build().eval()
        self.features, self.head = tiny.features, tiny.head

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.features(x))

    def score(self, maps: Tensor) -> Tensor:
        return self.head(maps.mean((2, 3)))


class InferenceBlock(Plain):
    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return super().forward(x)


class InferenceDecorator(Plain):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.features(x))


class InferencePrefix(Plain):
    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            maps = self.features(x)
        return self.score(maps)


class NoGradDecorator(Plain):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.features(x))


class SwitchesOff(Plain):
    def forward(self, x: Tensor) -> Tensor:
        torch.set_grad_enabled(False)
        return super().forward(x)


class DetachedHead(Plain):
    def score(self, maps: Tensor) -> Tensor:
        return super().score(maps.detach())


class NumpyHead(Plain):
    def score(self, maps: Tensor) -> Tensor:
        return super().score(torch.from_numpy(maps.numpy()))


class Reentrant(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.score(checkpoint(self.features, x, use_reentrant=True))


class NonReentrant(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.score(checkpoint(self.features, x, use_reentrant=False))


@torch.inference_mode()
def made_in_inference_mode() -> nn.Module:
    return Plain()


class Forgetful(torch.autograd.Function):
    """Without a backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise NotImplementedError("no backward pass here")


class NoBackward(Plain):
    def score(self, maps: Tensor) -> Tensor:
        return super().score(Forgetful.apply(maps))


class Siamese(nn.Module):
    """One encoder, called for the image and for a darker one."""

    def __init__(self) -> None:
        super().__init__()
        plain = Plain()
        self.encoder = plain.features
        self.head = nn.Linear(32, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        both = [self.encoder(x).mean((2, 3)), self.encoder(x * 0.5 - 0.2).mean((2, 3))]
        return self.head(torch.cat(both, 1))


class OneCall(nn.Module):
    """The siamese network with one of its calls alone, the other's share of the logits left out."""

    def __init__(self, siamese: Siamese, call: int) -> None:
        super().__init__()
        self.encoder, self.call = siamese.encoder, call
        self.head = nn.Linear(16, len(CLASSES))
        with torch.no_grad():
            self.head.weight.copy_(siamese.head.weight[:, 16 * (call - 1) : 16 * call])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x if self.call == 1 else x * 0.5 - 0.2).mean((2, 3)))


def siamese() -> nn.Module:
    torch.manual_seed(1)
    return Siamese()


def first_call() -> nn.Module:
    return OneCall(siamese(), 1)  # type: ignore[arg-type]


def second_call() -> nn.Module:
    return OneCall(siamese(), 2)  # type: ignore[arg-type]


class Views(Plain):
    """The image and its mirror image go through together."""

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.score(self.features(torch.cat([x, x.flip(3)]))).chunk(2)
        return one + other


class OneImage(Plain):
    def score(self, maps: Tensor) -> Tensor:
        return self.head(maps.mean((2, 3)).view(1, -1))


class NoMap(nn.Module):
    """Without rows and columns anywhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 16), nn.ReLU(), nn.Linear(16, len(CLASSES)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Fails(Plain):
    def score(self, maps: Tensor) -> Tensor:
        table: dict[str, int] = {}
        return maps * table["missing"]


class FixedSize(Plain):
    """For inputs of 32x32 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16 * 4 * 4, len(CLASSES))

    def score(self, maps: Tensor) -> Tensor:
        return self.head(maps.flatten(1))


class Recurrent(Plain):
    """Reads the rows of the map with a recurrent network of several layers and dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.rnn = nn.LSTM(16, 16, num_layers=2, dropout=0.5, batch_first=True)

    def score(self, maps: Tensor) -> Tensor:
        return self.head(self.rnn(maps.flatten(2).transpose(1, 2))[0][:, -1])


def segmenter() -> nn.Module:
    class Segmenter(Plain):
        def forward(self, x: Tensor) -> Any:
            scores = nn.functional.interpolate(self.features(x), size=x.shape[2:])
            return {"out": scores, "aux": scores}

    return Segmenter()


def detector() -> nn.Module:
    class Detector(Plain):
        def forward(self, x: Tensor) -> Any:
            return [{"boxes": x.new_zeros(0, 4), "labels": x.new_zeros(0), "scores": x.new_zeros(0)} for _ in x]

    return Detector()


def video() -> nn.Module:
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 4))


class ChangesInput(Plain):
    """Scales its input in place, and back in a copy: the output is that of the plain network."""

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        return super().forward(x / 2)


class InferenceOnly(Plain):
    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("for inference alone")
        return super().forward(x)


class NotANumber(Plain):
    def score(self, maps: Tensor) -> Tensor:
        return super().score(maps) * float("nan")


def scripted() -> Any:
    return torch.jit.script(Plain().eval())


def frozen_script() -> Any:
    return torch.jit.freeze(torch.jit.script(Plain().eval()))


def exported() -> nn.Module:
    return torch.export.export(Plain().eval(), (torch.zeros(1, 3, 64, 64),)).module()


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))


def without_values() -> nn.Module:
    with torch.device("meta"):
        return Plain()
