"""Raw native maps of the two peers, before they normalise and upsample."""

from __future__ import annotations

from typing import Any

import numpy as np
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from .trained import LAYER, photographs, predicted, trained


def grad_cam(
    kind: Any, layer: str = LAYER, *, module: nn.Module | None = None, eigen_smooth: bool = False, **settings: Any
) -> np.ndarray:
    """The map of grad-cam's ``get_cam_image`` (2, h, w): what its ``__call__`` upsamples and normalises afterwards."""
    module = module or trained()
    with kind(module, [module.get_submodule(layer)], **settings) as cam:
        seen: list[np.ndarray] = []
        inside = cam.get_cam_image

        def watch(*arguments: Any, **keywords: Any) -> Any:
            seen.append(inside(*arguments, **keywords))
            return seen[-1]

        cam.get_cam_image = watch
        cam(photographs(), [ClassifierOutputTarget(c) for c in predicted()], eigen_smooth=eigen_smooth)
    return np.asarray(seen[0])


def torchcam(kind: Any, layer: str = LAYER, **settings: Any) -> Tensor:
    """torchcam's maps (2, h, w), not normalised."""
    module = trained()
    with kind(module, layer, **settings) as cam:
        scores = module(photographs().clone().requires_grad_())
        (maps,) = cam(list(predicted()), scores, normalized=False)
    return maps.detach()
