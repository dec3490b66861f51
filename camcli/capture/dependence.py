"""Which recorded outputs a result depends on, by following every operation of a pass on their real values.

Nothing is altered, so that the pass does what it has done before: an altered value that the model takes for an index
may be out of range, and on a CUDA device that is no error to be caught, but the end of the process's context.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

Key = TypeVar("Key", bound=Hashable)


def find_sources(sources: Mapping[Key, Any], run: Callable[[], Tensor]) -> set[Key]:
    """The keys of those sources whose values the result of a pass may depend on.

    Args:
        sources: nested tensors by key; no two keys share memory.
        run: the pass, which takes them.
    """
    keys = list(sources)
    follow = _Follow()
    for number, key in enumerate(keys):
        follow.mark(sources[key], 1 << number)
    with follow:
        result = run()
    marks = follow.marks_of(result) | follow.read
    return {key for number, key in enumerate(keys) if marks >> number & 1}


class _Follow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands the marks of operands on to results: one bit a source, by the memory that a tensor lies in.

    Attributes:
        read: marks of what was made into numbers, on which Python code may decide.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.read = 0
        self._marks: dict[int, int] = {}
        self._kept: list[Tensor] = []  # the address of memory that is freed would be used again

    def mark(self, value: Any, marks: int) -> None:
        """Add marks to the tensors in nested values."""
        for tensor in _tensors(value) if marks else ():
            address = _address(tensor)
            if address not in self._marks:
                self._kept.append(tensor)
            self._marks[address] = self._marks.get(address, 0) | marks

    def marks_of(self, value: Any) -> int:
        """The marks of the tensors in nested values."""
        marks = 0
        for tensor in _tensors(value):
            marks |= self._marks.get(_address(tensor), 0)
        return marks

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name.rpartition("::")[2]
        if name.endswith("_like") or name.startswith("new_"):  # a new tensor of the same shape
            return result
        marks = self.marks_of((args, kwargs))
        if _is_read(func, name, args, result):
            self.read |= marks
        self.mark(result, marks)
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.mark(value, marks)
        self.mark([value for name, value in kwargs.items() if name.startswith("out")], marks)
        return result


def _is_read(func: Any, name: str, args: Any, result: Any) -> bool:
    """Whether values became a number or a shape; what Python code does with one is not followed."""
    if name == "index":  # of a mask the shape depends on the values, of positions it does not
        return any(indices.dtype in (torch.bool, torch.uint8) for indices in _tensors(args[1]))
    if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
        return True
    return not all(isinstance(leaf, Tensor) or leaf is None for leaf in pytree.tree_leaves(result))


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
