"""CAM, the original: Zhou et al. 2016, arXiv 1512.04150."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def cam(p: Pass, _options: Options) -> Tensor:
    """M = Σ_k W[c, k] A_k, for a head of global average pooling and one linear layer.

    There z_c = Σ_k W[c, k] mean_ij A_k, so W[c, k] = Σ_ij ∂z_c/∂A_k, whatever the head's modules are called.
    Returns (N, h, w) float32, signed.
    """
    return p.weighted_sum(p.g.sum((2, 3)))


def class_logit(logits: Tensor, targets: Tensor, _labels: Tensor, _options: Options) -> Tensor:
    """z_c, whatever the run's score is: the head's weights are those of the logit."""
    return logits.gather(1, targets[:, None]).squeeze(1)


METHOD = Method(
    "cam", "CAM", "Zhou 2016, arXiv:1512.04150",
    "F+B", cam, needs_gradients=True, weighted=True, needs=("pooled head",), rescore=class_logit,
)  # fmt: skip
