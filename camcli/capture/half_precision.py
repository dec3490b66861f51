"""What a pass in half precision does differently: its classifier stays in float32, its weights are cast once.

Autocast would compute the last linear layer in half precision too. The logits of an image are then rounded to 8 bits
of mantissa, so that the two highest may be equal, and another class is predicted. And it would cast every weight again
in every pass, since it keeps only those that require a gradient.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camcli.capture.frozen import replace_forward
from camcli.capture.hooks import hook_calls

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PLAIN = {kind.forward for kind in (nn.Linear, *_CONVOLUTIONS)}  # these use their weights for nothing else


def find_classifier(module: nn.Module, run: Callable[[], object]) -> tuple[str, ...]:
    """Paths of the linear layers that return the logits: the last ones of a pass, of equal width.

    Several are the heads of a distilled model, whose logits are averaged. A convolution of one pixel counts as linear.

    Args:
        module: the network.
        run: makes one pass of it.
    """
    calls: list[str] = []
    parts = {path: part for path, part in module.named_modules() if path and part._parameters}
    with hook_calls(module, parts, lambda path, _output: calls.append(path)), torch.no_grad():
        run()
    heads: list[str] = []
    width = None
    for path in reversed(calls):
        own = _width(parts[path])
        if own is None and all(p is None or p.ndim < 2 for p in parts[path]._parameters.values()):
            continue  # a norm between the heads, or of the logits
        if own is None or width not in (None, own) or calls.count(path) > 1:
            break
        heads.append(path)
        width = own
    return tuple(reversed(heads))


def _width(part: nn.Module) -> int | None:
    if isinstance(part, nn.Linear):
        return int(part.out_features)
    is_linear = isinstance(part, _CONVOLUTIONS) and set(part.kernel_size) == {1} and part.groups == 1
    return int(part.out_channels) if is_linear else None  # type: ignore[arg-type]


@contextmanager
def in_float32(module: nn.Module, paths: Collection[str]) -> Iterator[None]:
    """Inside, these parts of a module run outside autocast, on float32."""
    with ExitStack() as stack:
        for path in paths:
            part = module.get_submodule(path)
            stack.enter_context(replace_forward(part, _wide(part.forward)))
        yield


def _wide(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return forward(inputs.float())

    return run


@dataclass(frozen=True)
class CastWeights:
    """The weights of a module in half precision, beside its own.

    Attributes:
        parts: a module, its own parameters, and their casts, by name.
    """

    parts: tuple[tuple[nn.Module, dict[str, Any], dict[str, Any]], ...]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the modules have the casts as their parameters."""
        try:
            for part, _, casts in self.parts:
                part._parameters.update(casts)
            yield
        finally:
            for part, own, _ in self.parts:
                part._parameters.update(own)


def cast_weights(module: nn.Module, dtype: torch.dtype, without: Collection[str]) -> CastWeights | None:
    """Casts of what autocast would cast in every pass: weights and biases of linear layers and convolutions.

    Only of modules that compute nothing else with them, and no parameter that other modules share.

    Args:
        module: the network, its parameters without gradients.
        dtype: of the pass.
        without: paths of parts that run in float32.

    Returns:
        None where there is nothing to cast.
    """
    first = next(iter(module.parameters()), None)  # by which others tell the type of the module
    owners = Counter(id(p) for part in module.modules() for p in part._parameters.values() if p is not None)
    parts = []
    for path, part in module.named_modules():
        own = {name: p for name, p in part._parameters.items() if p is not None}
        is_plain = type(part).forward in _PLAIN and "forward" not in vars(part) and path not in without
        is_own = all(owners[id(p)] == 1 and p.dtype == torch.float32 and p is not first for p in own.values())
        if not (own and is_plain and is_own):
            continue
        casts = {name: nn.Parameter(p.detach().to(dtype), requires_grad=False) for name, p in own.items()}
        parts.append((part, own, casts))
    return CastWeights(tuple(parts)) if parts else None
