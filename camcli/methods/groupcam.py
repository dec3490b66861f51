"""Group-CAM: Zhang et al. 2021, arXiv 2103.13859."""

import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.images import normalised, upsampled
from camcli.methods.options import Option
from camcli.methods.score import probabilities

OPTIONS = (Option("groups", 32, "groups of channels", kind=int, least=1),)

_QUANTILE = 0.7
_KERNEL, _SIGMA, _AT = 51, 50.0, 224  # of the blur, for images of that size


def groupcam(p: Pass, options: Options) -> Tensor:
    """R_l = N01(relu(Σ_{k∈l} w_k A_k)) with Grad-CAM's w, below its 70th percentile 0; the groups in channel order.

    r_l = relu(f(x ⊙ U(R_l) + blur(x) ⊙ (1 − U(R_l))) − f(blur(x))), f the target's probability; M = relu(Σ r_l R_l).
    Returns (N, h, w) float32, non-negative.
    """
    terms = p.g.mean((2, 3), keepdim=True) * p.activations
    parts = terms.tensor_split(min(options["groups"], terms.shape[1]), dim=1)
    sums = torch.stack([part.sum(1).relu() for part in parts], dim=1)
    bars = sums.flatten(2).quantile(_QUANTILE, dim=2)[:, :, None, None]
    maps = normalised(torch.where(sums < bars, 0.0, sums))
    blurs = blur(p.inputs)
    rewards = p.each_image(lambda image: _rewards(p, image, maps[image], blurs[image]))
    return (rewards[:, :, None, None] * maps).sum(1).relu()


def _rewards(p: Pass, image: int, maps: Tensor, blurred: Tensor) -> Tensor:
    """r_l of one image, (G,)."""
    x, target = p.inputs[image], p.targets[image]

    def mixed(part: slice) -> Tensor:
        masks = upsampled(maps[part], (x.shape[1], x.shape[2]))[:, None]
        return x * masks + blurred * (1 - masks)

    def reduce(logits: Tensor) -> Tensor:
        # Not [:, target]: to index by a number of the device would wait for it.
        return probabilities(logits, p.score.link).gather(1, target.expand(len(logits), 1)).squeeze(1)

    base = p.network.trials(1, lambda _: blurred[None], reduce)
    return (p.network.trials(len(maps), mixed, reduce) - base).relu()


def blur(inputs: Tensor) -> Tensor:
    """Gaussian blur of images (N, C, H, W), kernel 51 and σ 50 at 224 pixels, scaled with the shorter side."""
    scale = min(inputs.shape[2:]) / _AT
    half = min(max(1, round(_KERNEL * scale / 2 - 0.5)), min(inputs.shape[2:]) - 1)
    steps = torch.arange(-half, half + 1, device=inputs.device, dtype=inputs.dtype)
    kernel = torch.exp(-(steps**2) / (2 * (_SIGMA * scale) ** 2))
    kernel = (kernel / kernel.sum()).expand(inputs.shape[1], 1, 1, -1)
    padded = F.pad(inputs, (half, half, half, half), mode="reflect")
    rows = F.conv2d(padded, kernel, groups=inputs.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), groups=inputs.shape[1])


METHOD = Method(
    "groupcam", "Group-CAM", "Zhang 2021, arXiv:2103.13859",
    "F+B+32F", groupcam, needs_gradients=True, signed=False, needs=("scoring",), options=OPTIONS,
    cost_as_set="F+B+{groups}F",
)  # fmt: skip
