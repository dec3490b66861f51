"""Which convolution feeds which batch norm and nothing else, by watching the tensors of one pass.

Names say nothing here: a pair is found when the very tensor that a convolution returned comes in at a batch norm, and
no other operation of the pass takes it.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Pair:
    """A convolution and the batch norm that alone takes its output."""

    conv: nn.Conv2d
    norm: _BatchNorm


@dataclass
class _Output:
    """What became of the tensor that a convolution returned."""

    conv: nn.Conv2d
    norms: list[_BatchNorm] = field(default_factory=list)
    uses: int = 0
    shown: bool = False


class _Outputs:
    """Finds what is known of a tensor, as long as the tensor lives; keeps none alive."""

    def __init__(self) -> None:
        self.all: list[_Output] = []
        self._living: dict[int, tuple[weakref.ref[Tensor], _Output]] = {}

    def add(self, tensor: Tensor, output: _Output) -> None:
        self.all.append(output)
        self._living[id(tensor)] = (weakref.ref(tensor), output)

    def of(self, value: Any) -> Iterator[_Output]:
        """Of the tensors in nested tuples, lists and dictionaries."""
        for tensor in tensors_in(value):
            living, output = self._living.get(id(tensor), (None, None))
            if output is not None and living is not None and living() is tensor:
                yield output


class _Uses(TorchFunctionMode):
    """Counts the operations that make tensors of watched tensors. Asking a tensor for its shape is none of them."""

    def __init__(self, outputs: _Outputs) -> None:
        super().__init__()
        self._outputs = outputs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        taken = list(self._outputs.of((args, given)))
        result = func(*args, **given)
        if taken and any(True for _ in tensors_in(result)):
            for output in taken:
                output.uses += 1
        return result


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def find_pairs(module: nn.Module, run: Callable[[], Any], watched: Collection[str]) -> list[Pair]:
    """The pairs of one pass that can be folded.

    Args:
        module: the network, in eval mode.
        run: one pass through it.
        watched: paths of modules whose own output is looked at, so that neither a convolution nor a norm among them
            may change what it returns, nor any convolution whose output they hand on.
    """
    outputs = _Outputs()
    calls: Counter[nn.Module] = Counter()

    def convolved(conv: nn.Conv2d, _args: Any, result: Any) -> None:
        calls[conv] += 1
        if isinstance(result, Tensor):
            outputs.add(result, _Output(conv))

    def normalising(norm: _BatchNorm, args: tuple[Any, ...]) -> None:
        calls[norm] += 1
        for output in outputs.of(args):
            output.norms.append(norm)

    def show(_module: nn.Module, _args: Any, result: Any) -> None:
        for output in outputs.of(result):
            output.shown = True

    own = {module.get_submodule(path) for path in watched}
    with ExitStack() as stack:
        for part in module.modules():
            if isinstance(part, nn.Conv2d) and _is_plain(part):
                stack.callback(part.register_forward_hook(convolved).remove)
            elif isinstance(part, _BatchNorm) and part.running_mean is not None and _is_plain(part):
                stack.callback(part.register_forward_pre_hook(normalising).remove)
        for part in own:
            stack.callback(part.register_forward_hook(show).remove)
        stack.enter_context(_Uses(outputs))
        run()
    return [
        Pair(output.conv, output.norms[0])
        for output in outputs.all
        if len(output.norms) == 1 and output.uses == 1 and not output.shown
        and calls[output.conv] == calls[output.norms[0]] == 1 and not own & {output.conv, output.norms[0]}
    ]  # fmt: skip


def _is_plain(part: nn.Module) -> bool:
    """Whether nothing else hangs on the module: no hook that sees its output, no parametrisation of its weight."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    plain = "forward" not in vars(part) and "weight" in part._parameters
    return plain and not any(hooks)
