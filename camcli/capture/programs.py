"""Modules that are programs: what they compute is no longer calls of their parts that hooks could observe."""

import torch
import torch.fx
from torch import nn
from torch._ops import OpOverload


def program_kind(module: nn.Module) -> str | None:
    """``a TorchScript module`` or ``an exported program`` where the module is one or contains one."""
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            return "a TorchScript module"
        if isinstance(part, torch.fx.GraphModule) and any(isinstance(n.target, OpOverload) for n in part.graph.nodes):
            return "an exported program"
    return None
