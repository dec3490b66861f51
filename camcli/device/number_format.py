"""In which arithmetic a device computes, and whether two runs give the same bits.

torch keeps these settings for the whole process, not for each thread; here they hold inside a ``with`` block, and are
as the user's code left them afterwards.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""The precisions that run in autocast."""
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without it cuBLAS may take another workspace, and so sum in another order, each time."""


@contextmanager
def number_format(precision: str) -> Iterator[None]:
    """Operations in float32 follow IEEE 754 inside; with ``tf32`` their products are rounded to TensorFloat-32.

    torch has convolutions in TensorFloat-32 (10 bits of mantissa instead of 23) on CUDA unless it is told otherwise.

    Args:
        precision: of the run. Only ``tf32`` allows it; autocast decides on half precision by itself.
    """
    with ExitStack() as undo:
        with suppress(RuntimeError):  # where the user's code has set newer switches, which are restored after it
            undo.callback(_set_product_speed, torch.get_float32_matmul_precision())
        for part, _ in _newer_switches():  # last, since the older ones set them too
            undo.callback(setattr, part, "fp32_precision", part.fp32_precision)
        for switch, name, on, off in _switches():
            _set(switch, name, on if precision == "tf32" else off, undo)
        yield


def _set_product_speed(name: str) -> None:
    if torch.backends.cuda.matmul.allow_tf32 != (name != "highest") or name == "medium":
        torch.set_float32_matmul_precision(name)


def _switches() -> Iterator[tuple[Any, str, Any, Any]]:
    """What decides on the arithmetic of float32 (cuBLAS, cuDNN, oneDNN on a CPU): an attribute and its two values.

    From torch 2.9 on there are older and newer attributes. Setting an older one sets the newer ones; reading it raises
    where they disagree, so that the older ones are kept in step as long as the user's code has not set newer ones.
    """
    for old in (torch.backends.cuda.matmul, torch.backends.cudnn):
        with suppress(RuntimeError):
            _ = old.allow_tf32
            yield old, "allow_tf32", True, False
    for part, with_tf32 in _newer_switches():
        yield part, "fp32_precision", with_tf32, "ieee"


def _newer_switches() -> list[tuple[Any, str]]:
    """Those of cuBLAS and cuDNN, and of oneDNN, which computes on a CPU, each with its value where TF32 is allowed."""
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    if not hasattr(cudnn, "conv"):
        return []
    on_gpu, on_cpu = (backends.cuda.matmul, cudnn.conv, cudnn.rnn), (mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    return [*((part, "tf32") for part in on_gpu), *((part, "ieee") for part in on_cpu)]


def _set(switch: Any, name: str, value: Any, undo: ExitStack) -> None:
    before = getattr(switch, name)
    is_inherited = (
        value == "ieee" and before == "none" and getattr(torch.backends, "fp32_precision", "none") in ("none", "ieee")
    )
    if before != value and not is_inherited:
        undo.callback(setattr, switch, name, before)
        setattr(switch, name, value)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Inside, CUDA computes with kernels that give the same bits each time, where there are such kernels.

    Where there are none, the others are used; :func:`nondeterministic_operations` tells which.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault(*WORKSPACE)
    cudnn = torch.backends.cudnn
    own: Any = torch.utils.deterministic  # without types
    modes = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    before = cudnn.deterministic, cudnn.benchmark, own.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling new memory would only show an operation that reads what it has not written.
        cudnn.deterministic, cudnn.benchmark, own.fill_uninitialized_memory = True, False, False
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _REFUSES)
            warnings.filterwarnings("ignore", _ATTENTION)
            yield
    finally:
        torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])
        cudnn.deterministic, cudnn.benchmark, own.fill_uninitialized_memory = before


@contextmanager
def strictly_deterministic() -> Iterator[None]:
    """Inside, in :func:`deterministic`, an operation without a deterministic kernel raises.

    Attention has its deterministic kernels in this mode alone.
    """
    if not torch.are_deterministic_algorithms_enabled():
        yield
        return
    before = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=before)


def is_nondeterministic(error: BaseException) -> bool:
    """Whether an operation was refused, having no deterministic kernel."""
    return isinstance(error, RuntimeError) and re.match(_REFUSES, str(error), re.DOTALL) is not None


_REFUSES = r".*(does not have a deterministic implementation|not deterministic because it uses CuBLAS).*"
_ATTENTION = r".*[Aa]ttention defaults to a non-deterministic algorithm.*"


@contextmanager
def nondeterministic_operations() -> Iterator[list[str]]:
    """Inside :func:`deterministic`: the names of the operations that ran and have no deterministic kernel.

    Yields:
        A list that is filled when the block ends.
    """
    names: list[str] = []
    is_repeated = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # some warnings come once a process otherwise
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", _REFUSES)
            warnings.filterwarnings("always", _ATTENTION)
            yield names
    finally:
        torch.set_warn_always(is_repeated)
    for warning in caught:
        text = str(warning.message)
        if re.match(_REFUSES, text):
            names.append(text.split(" ", maxsplit=1)[0])
        elif re.match(_ATTENTION, text, re.DOTALL):
            names.append("attention")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    names[:] = dict.fromkeys(names)
