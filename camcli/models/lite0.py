"""EfficientNet-Lite0, the built-in architecture: module for module and key for key timm's ``tf_efficientnet_lite0``.

It is written out here because importing timm and torchvision for it doubles the time to the first result. The names of
modules and of state-dict keys are timm's, so that layer paths, checkpoints and hooks mean the same in both; a test
compares the two.

EfficientNet (Tan & Le 2019) without squeeze-and-excitation, with ReLU6, TensorFlow's "SAME" padding and a batch-norm
epsilon of 1e-3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-3

_STAGES = (  # blocks, kernel, stride of the first block, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Conv2dSame(nn.Conv2d):
    """A strided convolution padded as TensorFlow does: the odd pixel goes to the right and the bottom."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in nn.Conv2d
        top, bottom = self._padding(input.shape[-2], 0)
        left, right = self._padding(input.shape[-1], 1)
        return super().forward(F.pad(input, (left, right, top, bottom)))

    def _padding(self, size: int, axis: int) -> tuple[int, int]:
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


class BatchNormAct2d(nn.BatchNorm2d):
    """Batch norm and the activation after it as one module, as in timm: its output is the activated map."""

    def __init__(self, channels: int, *, activate: bool = True) -> None:
        super().__init__(channels, eps=_EPS)
        self.act = nn.ReLU6(inplace=True) if activate else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in nn.BatchNorm2d
        activated: Tensor = self.act(super().forward(input))
        return activated


def _conv(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride > 1:
        return Conv2dSame(inside, outside, kernel, stride=stride, groups=groups, bias=False)
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2, groups=groups, bias=False)


class DepthwiseSeparableConv(nn.Module):
    """The first block: depthwise and pointwise convolution, no expansion."""

    def __init__(self, inside: int, outside: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = _conv(inside, inside, kernel, groups=inside)
        self.bn1 = BatchNormAct2d(inside)
        self.conv_pw = _conv(inside, outside, 1)
        self.bn2 = BatchNormAct2d(outside, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv_dw(x))
        projected: Tensor = self.bn2(self.conv_pw(x))
        return projected


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection; the input is added where shapes allow."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inside * expansion
        self.has_skip = stride == 1 and inside == outside
        self.conv_pw = _conv(inside, middle, 1)
        self.bn1 = BatchNormAct2d(middle)
        self.conv_dw = _conv(middle, middle, kernel, stride, groups=middle)
        self.bn2 = BatchNormAct2d(middle)
        self.conv_pwl = _conv(middle, outside, 1)
        self.bn3 = BatchNormAct2d(outside, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.bn1(self.conv_pw(x))
        x = self.bn2(self.conv_dw(x))
        x = self.bn3(self.conv_pwl(x))
        return x + shortcut if self.has_skip else x


class EfficientNetLite0(nn.Module):
    """(N, 3, H, W) float → logits (N, num_classes).

    ``bn2``, the last map before pooling, is (N, 1280, ⌈H/32⌉, ⌈W/32⌉).
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.conv_stem = _conv(3, 32, 3, stride=2)
        self.bn1 = BatchNormAct2d(32)
        stages: list[nn.Module] = []
        inside = 32
        for blocks, kernel, stride, expansion, outside in _STAGES:
            stages.append(_stage(blocks, inside, outside, kernel, stride, expansion))
            inside = outside
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _conv(inside, 1280, 1)
        self.bn2 = BatchNormAct2d(1280)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv_stem(x))
        x = self.blocks(x)
        x = self.bn2(self.conv_head(x))
        logits: Tensor = self.classifier(torch.flatten(self.global_pool(x), 1))
        return logits


def _stage(blocks: int, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> nn.Sequential:
    if expansion == 1:
        return nn.Sequential(DepthwiseSeparableConv(inside, outside, kernel))
    first = InvertedResidual(inside, outside, kernel, stride, expansion)
    rest = [InvertedResidual(outside, outside, kernel, 1, expansion) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)
