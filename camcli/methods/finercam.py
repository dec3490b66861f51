"""Finer-CAM: Zhang et al. 2025, arXiv 2501.11309, eq. 4 and 5."""

from collections.abc import Mapping

import torch
from torch import Tensor

from camcli.methods.base import Compute, Method, Options, Pass
from camcli.methods.gradcam import gradcam
from camcli.methods.gradcamelementwise import gradcamelementwise
from camcli.methods.gradcampp import gradcampp
from camcli.methods.hirescam import hirescam
from camcli.methods.layercam import layercam
from camcli.methods.options import Option
from camcli.methods.xgradcam import xgradcam

BASES: Mapping[str, Compute] = {
    "gradcam": gradcam, "gradcam++": gradcampp, "xgradcam": xgradcam, "hirescam": hirescam, "layercam": layercam,
    "gradcamelementwise": gradcamelementwise,
}  # fmt: skip


def _references(text: str) -> int | str | tuple[int, ...]:
    """``3``: so many nearest classes; ``label``; ``c:281:285`` or ``281:285``: these classes."""
    if text == "label":
        return text
    if text.isdecimal():
        if int(text) == 0:
            raise ValueError(text)
        return int(text)
    classes = tuple(int(part) for part in text.removeprefix("c:").split(":"))
    if min(classes) < 0:
        raise ValueError(text)
    return classes


OPTIONS = (
    Option("base", "gradcam", "the method that the difference is explained with", choices=tuple(BASES)),
    Option("gamma", 0.6, "weight of the references", kind=float, least=0),
    Option(
        "references", 3, "a number of nearest classes, label, or classes as c:281:285 (a single one: c:281)",
        check=_references,
    ),
)  # fmt: skip


def finercam(p: Pass, options: Options) -> Tensor:
    """The base method with S = z_c − γ · mean of the references' z. Returns (N, h, w) float32, signed."""
    return BASES[options["base"]](p, options)


def contrast(logits: Tensor, targets: Tensor, labels: Tensor, options: Options) -> Tensor:
    """S = z_c − γ · mean_r z_r, (N,).

    The references are the classes nearest to the target in logit, classes given, or the image's true class where there
    is one and it is not the target (elsewhere the three nearest). The target itself is never a reference.

    Args:
        logits: (N, classes), more than one class.
        targets: (N,).
        labels: (N,), -1 where there is none.
        options: ``gamma``, ``references``.
    """
    weights = reference_weights(logits.detach(), targets, labels, options["references"])
    own = logits.gather(1, targets[:, None]).squeeze(1)
    gamma: float = options["gamma"]
    return own - gamma * (weights * logits).sum(1)


def reference_weights(
    logits: Tensor, targets: Tensor, labels: Tensor, references: int | str | tuple[int, ...]
) -> Tensor:
    """(N, classes): one over the number of references at each reference, else 0."""
    classes = logits.shape[1]
    count = references if isinstance(references, int) else 3
    distance = (logits - logits.gather(1, targets[:, None])).abs().scatter(1, targets[:, None], torch.inf)
    nearest = distance.topk(min(count, classes - 1), dim=1, largest=False).indices
    weights = torch.zeros_like(logits).scatter(1, nearest, 1 / nearest.shape[1])
    if references == "label":
        useful = (labels >= 0) & (labels != targets)
        single = torch.zeros_like(logits).scatter(1, labels.clamp(min=0)[:, None], 1.0)
        return torch.where(useful[:, None], single, weights)
    if isinstance(references, tuple):
        mask = torch.zeros_like(logits)
        for c in references:
            if c < classes:
                mask[:, c] = 1.0
        mask = mask.scatter(1, targets[:, None], 0.0)
        return mask / mask.sum(1, keepdim=True).clamp(min=1)
    return weights


METHOD = Method(
    "finercam", "Finer-CAM", "Zhang 2025, arXiv:2501.11309",
    "F+B", finercam, needs_gradients=True, weighted=True, needs=("references",), rescore=contrast, options=OPTIONS,
)  # fmt: skip
