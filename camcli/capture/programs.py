"""Modules that are programs: what they compute is no longer calls of their parts that hooks could observe."""

import torch
import torch.fx
from torch import nn
from torch._ops import OpOverload

WITHOUT_PARTS = "of whose parts no activation can be read; take the module that it was made of"


def find_program(module: nn.Module) -> tuple[str, str] | None:
    """The path of the first part that is a program, empty for the module itself, and its kind; None where none is.

    The kind is ``a TorchScript module`` or ``an exported program``.
    """
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            return path, "a TorchScript module"
        if isinstance(part, torch.fx.GraphModule) and any(isinstance(n.target, OpOverload) for n in part.graph.nodes):
            return path, "an exported program"
    return None
