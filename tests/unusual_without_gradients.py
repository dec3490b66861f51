"""A user's file that switches gradients off for the whole process, as many scripts for inference do."""

import torch
from torch import nn

from tests.unusual import Plain

torch.set_grad_enabled(False)
_inference = torch.inference_mode()
_inference.__enter__()


def build() -> nn.Module:
    return Plain()
