"""Opti-CAM: Zhang et al. 2023, arXiv 2301.07002, eq. 5 to 9."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.images import normalised, upsampled
from camcli.methods.options import Option
from camcli.methods.score import probabilities

OPTIONS = (
    Option("steps", 50, "steps of the optimiser", kind=int, least=1),
    Option("lr", 0.1, "learning rate of Adam", kind=float, least=0),
)


def opticam(p: Pass, options: Options) -> Tensor:
    """M = Σ_k softmax(u)_k A_k, u from equal weights on such that p_c(x ⊙ N01(U(M))) grows, by Adam.

    The images of a batch are optimised side by side: Adam treats every number on its own, and an image's probability
    depends on its own u alone. Returns (N, h, w) float32, signed where activations are.
    """
    size = (p.inputs.shape[2], p.inputs.shape[3])
    finite = torch.isfinite(p.activations).flatten(1).all(1)
    with torch.enable_grad():
        u = torch.zeros(p.activations.shape[:2], device=p.inputs.device, requires_grad=True)
        adam = torch.optim.Adam([u], lr=options["lr"])
        for _ in range(options["steps"]):
            masks = normalised(upsampled(_combine(u, p.activations), size))
            logits = p.network.logits(p.inputs * masks[:, None])
            target_probabilities = probabilities(logits, p.score.link).gather(1, p.targets[:, None])
            (gradient,) = torch.autograd.grad(-target_probabilities.sum(), u)
            u.grad = torch.where(finite[:, None], gradient, 0.0)
            adam.step()
    return _combine(u.detach(), p.activations)


def _combine(u: Tensor, activations: Tensor) -> Tensor:
    return (torch.softmax(u, 1)[:, :, None, None] * activations).sum(1)


METHOD = Method(
    "opticam", "Opti-CAM", "Zhang 2023, arXiv:2301.07002",
    "50(F+B)", opticam, needs=("scoring", "network gradient"), options=OPTIONS, cost_as_set="{steps}(F+B)",
)  # fmt: skip
