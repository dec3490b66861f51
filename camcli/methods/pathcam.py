"""PathCAM: integrated gradients (Sundararajan 2017, arXiv 1703.01365) of the network's tail at several layers."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.methods.base import AtLayer, BuildOfImages, LayerChoice, Method, Options, Pass, RowScore
from camcli.methods.images import upsampled
from camcli.methods.options import Option, parse_switch
from camcli.methods.score import Link, probabilities

_WIDTH = 0.15  # w: how soft the masks of the ordered path are, in ranks from 0 to 1
_STRIDES = "8:16:32"
_FAST = {"steps": 4, "ordered": 0, "layers": "16:32:32"}
_FAST_DEPTHS = (2 / 3, 5 / 6, 1.0)


def _parse_strides(text: str) -> str:
    """``8:16:32``."""
    if min(int(part) for part in text.split(":")) < 1:
        raise ValueError(text)
    return text


OPTIONS = (
    Option("steps", 8, "steps of the straight path", kind=int, least=1),
    Option("ordered", 4, "pairs of masks of the ordered path; 0: the straight path alone", kind=int, least=0),
    Option(
        "layers", _STRIDES,
        "strides, at each of which the last block is taken; one that comes twice: two blocks at it (16:32:32)",
        check=_parse_strides,
    ),
    Option(
        "fast", False, "true (steps=4, ordered=0, layers=16:32:32, where these are not given) or false",
        check=parse_switch, preset=_FAST,
    ),
)  # fmt: skip


def _choose_layers(options: Options) -> LayerChoice:
    strides = tuple(int(part) for part in options["layers"].split(":"))
    is_fast = options["fast"] and options["layers"] == _FAST["layers"]
    depths = tuple((i + 1) / len(strides) for i in range(len(strides)))
    is_typed = not is_fast and options["layers"] != _STRIDES
    return LayerChoice(strides, _FAST_DEPTHS if is_fast else depths, must_exist=is_typed)


def _cost(options: Options) -> str:
    layers = str(options["layers"]).count(":") + 1
    return f"F+{layers * (options['steps'] + 2 * options['ordered'])}(T+B)"


@dataclass(frozen=True)
class _Line:
    """A layer's activations around their mean over positions.

    Attributes:
        layer: runs the tail.
        start: Ā, (N, K, 1, 1).
        change: Δ = A − Ā, (N, K, h, w).
    """

    layer: AtLayer
    start: Tensor
    change: Tensor

    @property
    def grid(self) -> tuple[int, int]:
        return self.change.shape[2], self.change.shape[3]

    def contributions(self, count: int, weights: BuildOfImages, score: RowScore) -> Tensor:
        """Σ_k Δ_k · mean over the trials of ∂score/∂a_k at a = Ā + weights · Δ, (N, h, w).

        Args:
            count: trials.
            weights: of some images and some trials, (trials, images or 1, 1, h or 1, w or 1).
            score: differentiated.
        """

        def maps(images: slice, trials: slice) -> Tensor:
            return self.start[images] + weights(images, trials) * self.change[images]

        return (self.change * self.layer.mean_gradients(count, maps, score)).sum(1)


def pathcam(p: Pass, options: Options) -> Tensor:
    """M = P/mean|P| + Q/mean|Q|, or P without the ordered path, of the layers Λ, each with A, Ā = mean_ij A, Δ = A − Ā.

    P = Σ_ℓ R(Σ_k Δ_k · mean_t ∂s/∂a_k at Ā + α_t Δ), α_t = (t − ½)/steps, s the log-odds of the target.
    Q = Σ_ℓ R(Σ_k Δ_k · mean_m ∂p/∂a_k at Ā + mΔ), p its probability; the masks m keep the cells in which P is largest
    up to several ranks, or remove them. R: bilinear to the finest grid, divided by the growth of the number of cells.
    ``--score neg-logit``: the same of −s and −p; the other scores make no difference.

    Returns:
        (N, G, G) float32, signed.
    """
    lines = []
    for own in p.layers:
        activations = own.layer.activations()
        start = activations.mean((2, 3), keepdim=True)
        lines.append(_Line(own.layer, start, activations - start))
    size = max((line.grid for line in lines), key=lambda grid: grid[0] * grid[1])
    sign = -1.0 if p.score.kind == "neg-logit" else 1.0

    def score_odds(logits: Tensor, targets: Tensor) -> Tensor:
        return sign * log_odds(logits, targets, p.score.link)

    def score_probability(logits: Tensor, targets: Tensor) -> Tensor:
        return sign * probabilities(logits, p.score.link).gather(1, targets[:, None]).squeeze(1)

    steps = options["steps"]
    alphas = _centres(steps, p.inputs.device).reshape(-1, 1, 1, 1, 1)
    straight = [line.contributions(steps, lambda _, trials: alphas[trials], score_odds) for line in lines]
    total = _sum_on_grid(straight, size)
    if not options["ordered"]:
        return total
    ranks = _descending_ranks(total)
    ordered = [
        line.contributions(2 * options["ordered"], _masks(ranks, line.grid, options["ordered"]), score_probability)
        for line in lines
    ]
    return _in_own_units(total) + _in_own_units(_sum_on_grid(ordered, size))


def log_odds(logits: Tensor, targets: Tensor, link: Link) -> Tensor:
    """z_c − log Σ_{j≠c} exp z_j of logits (M, classes); z_c itself where classes do not compete. Returns (M,)."""
    own = logits.gather(1, targets[:, None]).squeeze(1)
    if link in ("sigmoid", "none") or logits.shape[1] == 1:
        return own
    return own - logits.scatter(1, targets[:, None], -torch.inf).logsumexp(1)


def _centres(count: int, device: torch.device) -> Tensor:
    """(t − ½)/count, t = 1 … count."""
    return (torch.arange(count, device=device, dtype=torch.float32) + 0.5) / count


def _sum_on_grid(maps: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Σ_ℓ R(M_ℓ): the sum of each over its cells stays about the same."""
    parts = [upsampled(m, size) * (m.shape[1] * m.shape[2] / (size[0] * size[1])) for m in maps]
    return torch.stack(parts).sum(0)


def _descending_ranks(maps: Tensor) -> Tensor:
    """The rank of each cell of (N, h, w), the largest 0, the smallest 1; of equal ones the first comes first."""
    flat = maps.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    steps = torch.arange(flat.shape[1], device=flat.device, dtype=torch.float32) / max(1, flat.shape[1] - 1)
    return torch.zeros_like(flat).scatter(1, order, steps.expand_as(flat)).reshape(maps.shape)


def _masks(ranks: Tensor, grid: tuple[int, int], pairs: int) -> BuildOfImages:
    """m_k = sigmoid((τ_k − r)/w), r the ranks at the layer's grid, then all 1 − m_k."""
    own = F.adaptive_avg_pool2d(ranks, grid)
    bounds = _centres(pairs, ranks.device).repeat(2)
    signs = torch.arange(2 * pairs, device=ranks.device).lt(pairs).to(torch.float32) * 2 - 1  # σ(−t) = 1 − σ(t)

    def masks(images: slice, trials: slice) -> Tensor:
        distances = bounds[trials].reshape(-1, 1, 1, 1, 1) - own[images][:, None]
        return torch.sigmoid(signs[trials].reshape(-1, 1, 1, 1, 1) * distances / _WIDTH)

    return masks


def _in_own_units(maps: Tensor) -> Tensor:
    """M / mean|M|; zeros where M is zero everywhere."""
    mean = maps.abs().mean((1, 2), keepdim=True)
    return torch.where(mean == 0, 0.0, maps / mean)


METHOD = Method(
    "pathcam", "PathCAM", "Sundararajan 2017, arXiv:1703.01365, at several layers",
    "F+48(T+B)", pathcam, scope="layers", layers=_choose_layers, needs=("tail gradient",), options=OPTIONS,
    cost_as_set=_cost,
)  # fmt: skip
