"""By what operation an output was made, from its graph: it says what numbers in [0, 1] do not."""

import re
from typing import Any, Literal

from torch import Tensor

Origin = Literal["softmax", "sigmoid", "logsoftmax", "logsigmoid", "unbounded", "rounded", "unknown"]

_ORIGINS: tuple[tuple[str, Origin], ...] = (
    (r"Softmax|SoftmaxData", "softmax"),
    (r"Sigmoid|Hardsigmoid", "sigmoid"),
    (r"LogSoftmax", "logsoftmax"),
    (r"LogSigmoid\w*", "logsigmoid"),
    (r"Addmm|Mm|Bmm|Baddbmm|Mv|Dot|\w*Convolution\w*|Linear|Relu|Gelu|Silu|LeakyRelu", "unbounded"),
    (r"Round|Floor|Ceil|Sign|Trunc|Heaviside", "rounded"),
)
_PASSING = re.compile(  # they move numbers, or mix those of one range
    r"(View|UnsafeView|Reshape\w*|Squeeze|Unsqueeze|Select|Slice|Clone|Alias|Permute|Transpose|T|ToCopy|Expand|Cat|"
    r"Stack|Index|Unbind|Split\w*|Narrow|Unsafe\w*|Add|Sub|Rsub|Neg|Mean|Sum|Max|Amax|MaxPool\w*|AvgPool\w*|"
    r"AdaptiveAvgPool\w*)Backward"
)
_SCALING = re.compile(r"(Mul|Div)Backward")  # by a number, where they have one tensor alone
_MOST = 64  # operations that are looked at


def find_origin(output: Tensor) -> Origin:
    """The operation that decides the range of the numbers; ``unknown`` where there is no graph, or it does not say."""
    waiting: list[Any] = [output.grad_fn]
    origins: set[Origin] = set()
    for _ in range(_MOST):
        if not waiting:
            break
        node = waiting.pop()
        name = type(node).__name__
        before = [parent for parent, _ in getattr(node, "next_functions", ()) if parent is not None]
        if before and (_PASSING.match(name) or (_SCALING.match(name) and len(before) == 1)):
            waiting += before
        else:
            origins.add(next((origin for kind, origin in _ORIGINS if re.match(rf"({kind})Backward", name)), "unknown"))
    if "unbounded" in origins:  # a sum with something unbounded
        return "unbounded"
    return origins.pop() if len(origins) == 1 and not waiting else "unknown"
