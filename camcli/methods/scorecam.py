"""Score-CAM: Wang et al. 2020, arXiv 1910.01279, and what its variants SS-CAM and IS-CAM share with it.

Channels are weighted by what the score becomes when the image is masked with them.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from camcli.methods.base import Build, Method, Options, Pass
from camcli.methods.images import normalised, upsampled
from camcli.methods.options import Option
from camcli.methods.score import Score

OPTIONS = (
    Option("score", None, "the scalar of the weights; default: the run's --score", choices=("logit", "prob")),
    Option(
        "weights", "softmax", "softmax over the channels, or the differences themselves", choices=("softmax", "raw")
    ),
    Option("max_channels", None, "only so many channels, those of largest variance", kind=int, least=1),
)

Rounds = Callable[[int, Tensor], Iterator[tuple[Tensor, float]]]
"""From an image's number and its channels (K, h, w) to rounds of trials: the maps that the masks of the channels are
made of, and a factor on the masked image."""


def scorecam(p: Pass, options: Options) -> Tensor:
    """H_k = N01(U(A_k)); s_k = S(x ⊙ H_k) − S(0); w = softmax_k(s); M = Σ_k w_k A_k (alg. 1).

    Args:
        p: targets (N, T).
        options: ``score``, ``weights``, ``max_channels``.

    Returns:
        (N, T, h, w) float32, signed where activations are.
    """

    def once(_image: int, a: Tensor) -> Iterator[tuple[Tensor, float]]:
        yield a, 1.0

    return weighted_by_masks(p, options, once)


def approximation(options: Options) -> str | None:
    """What ``max_channels`` leaves out."""
    most = options["max_channels"]
    return None if most is None else f"an approximation: only the {most} channels of largest variance are scored"


def weighted_by_masks(p: Pass, options: Options, rounds: Rounds) -> Tensor:
    """Score-CAM with the mean gain of several rounds of trials; (N, T, h, w) float32."""
    score = p.score if options["score"] is None else Score(options["score"], p.score.link)
    weights = p.each_image(lambda image: _weights(p, options, score, rounds, image))
    return p.weighted_sums(weights)


def _weights(p: Pass, options: Options, score: Score, rounds: Rounds, image: int) -> Tensor:
    """(T, K) of one image; 0 for channels that are left out."""
    a, x, targets = p.activations[image], p.inputs[image], p.targets[image]
    chosen = _select_channels(a, options["max_channels"])

    def reduce(logits: Tensor) -> Tensor:
        return score(logits, targets.expand(len(logits), -1))

    # The empty image is the same for all channels: one trial instead of one a channel.
    nothing = p.network.trials(1, lambda _: torch.zeros_like(x)[None], reduce)
    gains = []
    for maps, factor in rounds(image, a[chosen]):
        # A constant channel's mask is zero everywhere, so that its trial is that of the empty image. How many are not
        # is waited for on a device: once a round, against a pass for each of them.
        varying = (maps.amax((1, 2)) > maps.amin((1, 2))).nonzero().squeeze(1)
        gain = x.new_zeros(len(chosen), targets.numel())
        if len(varying):
            gain[varying] = p.network.trials(len(varying), _mask(x, maps[varying], factor), reduce) - nothing
        gains.append(gain)
    mean = torch.stack(gains).mean(0)
    weights = x.new_zeros(len(a), targets.numel())
    weights[chosen] = torch.softmax(mean, 0) if options["weights"] == "softmax" else mean
    return weights.T


def _mask(x: Tensor, maps: Tensor, factor: float) -> Build:
    """x under the masks of some channels; made chunk by chunk, since 2,048 of them at once would take gigabytes."""
    size = (x.shape[1], x.shape[2])
    return lambda part: x * (normalised(upsampled(maps[part], size)) * factor)[:, None]


def _select_channels(a: Tensor, most: int | None) -> Tensor:
    if most is None or most >= len(a):
        return torch.arange(len(a), device=a.device)
    return a.var((1, 2)).topk(most).indices.sort().values


METHOD = Method(
    "scorecam", "Score-CAM", "Wang 2020, arXiv:1910.01279",
    "(K+1)F", scorecam, weighted=True, targets_together=True, needs=("scoring",), options=OPTIONS,
    approximate=approximation,
)  # fmt: skip
