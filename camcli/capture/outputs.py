"""The one tensor that matters in whatever a module returns: a tensor, or a tuple, list or dict that holds it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor


def main_tensor(output: object) -> Tensor | None:
    """The activation inside a module's output.

    The first floating-point tensor with at least three dimensions, else the first floating-point tensor, depth first;
    None where there is none.
    """
    if isinstance(output, Tensor):  # nearly always, and asked of every module that runs
        return output if output.is_floating_point() else None
    tensors = [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
    return next((tensor for tensor in tensors if tensor.ndim >= 3), tensors[0] if tensors else None)


def with_main_tensor(output: Any, replacement: Tensor) -> Any:
    """The same structure with its :func:`main_tensor` replaced; the original structure is left alone.

    Raises:
        TypeError: an object that is neither tensor, tuple, list nor dict, or that holds no tensor.
    """
    tensor = main_tensor(output)
    if tensor is None:
        raise TypeError(f"no tensor in an output of type {type(output).__name__}")
    return _replace(output, tensor, replacement)


def first_numbers(values: Tensor) -> str:
    """The first numbers of a tensor, for messages."""
    numbers = [f"{value:.4g}" for value in values.flatten()[:3].tolist()]
    return ", ".join(numbers) + (", …" if values.numel() > 3 else "")


def tensors_in(output: object) -> Iterator[Tensor]:
    """All tensors of a structure, depth first."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, Sequence) and not isinstance(output, str | bytes):
        for value in output:
            yield from tensors_in(value)


def _replace(output: Any, tensor: Tensor, replacement: Tensor) -> Any:
    if isinstance(output, Tensor):
        return replacement if output is tensor else output
    if isinstance(output, Mapping):
        values = {key: _replace(value, tensor, replacement) for key, value in output.items()}
        return type(output)(**values) if hasattr(output, "to_tuple") else type(output)(values)  # type: ignore[call-arg]
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(_replace(value, tensor, replacement) for value in output))
    if isinstance(output, tuple | list):
        return type(output)(_replace(value, tensor, replacement) for value in output)
    return output
