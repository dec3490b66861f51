"""Which convolution feeds which batch norm and nothing else, by following the tensors of one pass.

Names of modules are no evidence, since a forward may use them in any order: two modules are a pair when the very
tensor that a convolution returned is the input of a batch norm, and no other operation of the pass takes it. Folding
the norm into the convolution would change that operation's input.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from camcli.capture.hooks import module_at


@dataclass(frozen=True)
class Pair:
    """A convolution and the batch norm that alone takes its output."""

    conv: nn.Conv2d
    norm: _BatchNorm


@dataclass
class _Output:
    """Where the tensor that a convolution returned is used."""

    conv: nn.Conv2d
    norms: list[_BatchNorm] = field(default_factory=list)
    uses: int = 0
    is_watched: bool = False


class _Outputs:
    """The :class:`_Output` of a tensor, as long as the tensor exists.

    Weak references: a pass that kept all its outputs would need the memory of training. An id alone is not enough,
    since it is used again when its tensor is gone.
    """

    def __init__(self) -> None:
        self.all: list[_Output] = []
        self._alive: dict[int, tuple[weakref.ref[Tensor], _Output]] = {}

    def add(self, tensor: Tensor, output: _Output) -> None:
        self.all.append(output)
        self._alive[id(tensor)] = (weakref.ref(tensor), output)

    def of(self, value: Any) -> Iterator[_Output]:
        """Of the tensors in nested tuples, lists and dictionaries."""
        for tensor in tensors_in(value):
            reference, output = self._alive.get(id(tensor), (None, None))
            if output is not None and reference is not None and reference() is tensor:
                yield output


class _Uses(TorchFunctionMode):
    """Counts the operations that compute tensors from followed tensors. Reading the shape of one is none of them."""

    def __init__(self, outputs: _Outputs) -> None:
        super().__init__()
        self._outputs = outputs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = list(self._outputs.of((args, kwargs)))
        result = func(*args, **kwargs)
        if inputs and any(True for _ in tensors_in(result)):
            for output in inputs:
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
        watched: paths of modules whose output is read, so that neither a convolution nor a norm among them may change
            what it returns, nor any convolution whose output they return.
    """
    outputs = _Outputs()
    calls: Counter[nn.Module] = Counter()

    def after_convolution(conv: nn.Conv2d, _args: Any, result: Any) -> None:
        calls[conv] += 1
        if isinstance(result, Tensor):
            outputs.add(result, _Output(conv))

    def before_norm(norm: _BatchNorm, args: tuple[Any, ...]) -> None:
        calls[norm] += 1
        for output in outputs.of(args):
            output.norms.append(norm)

    def after_watched(_module: nn.Module, _args: Any, result: Any) -> None:
        for output in outputs.of(result):
            output.is_watched = True

    own = {module_at(module, path) for path in watched}
    with ExitStack() as stack:
        for part in module.modules():
            if isinstance(part, nn.Conv2d) and _is_plain(part):
                stack.callback(part.register_forward_hook(after_convolution).remove)
            elif isinstance(part, _BatchNorm) and part.running_mean is not None and _is_plain(part):
                stack.callback(part.register_forward_pre_hook(before_norm).remove)
        for part in own:
            stack.callback(part.register_forward_hook(after_watched).remove)
        stack.enter_context(_Uses(outputs))
        run()
    return [
        Pair(output.conv, output.norms[0])
        for output in outputs.all
        if len(output.norms) == 1 and output.uses == 1 and not output.is_watched
        and calls[output.conv] == calls[output.norms[0]] == 1 and not own & {output.conv, output.norms[0]}
    ]  # fmt: skip


def _is_plain(part: nn.Module) -> bool:
    """Whether nothing else depends on the module: no hook that reads its output, no parametrisation of its weight."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    plain = "forward" not in vars(part) and "weight" in part._parameters
    return plain and not any(hooks)
