"""By what operation an output was made, from its graph: it says what numbers in [0, 1] do not."""

import re
from typing import Any, Literal

from torch import Tensor

Origin = Literal[
    "softmax", "constant", "sigmoid", "logsoftmax", "logsigmoid", "nonnegative", "unbounded", "rounded", "sorted",
    "unknown",
]  # fmt: skip
"""``constant``: a softmax over an axis of length 1, which is always 1; ``sorted``: the columns are ranks."""

_ORIGINS: tuple[tuple[str, Origin], ...] = (
    (r"Softmax|SoftmaxData", "softmax"),
    (r"Sigmoid|Hardsigmoid", "sigmoid"),
    (r"LogSoftmax", "logsoftmax"),
    (r"LogSigmoid\w*", "logsigmoid"),
    (r"Relu|Softplus", "nonnegative"),
    (r"Addmm|Mm|Bmm|Baddbmm|Mv|Dot|\w*Convolution\w*|Linear|Gelu|Silu|LeakyRelu", "unbounded"),
    (r"Round|Floor|Ceil|Sign|Trunc|Heaviside|Bernoulli", "rounded"),
    (r"Topk|Sort", "sorted"),
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
            matching = [origin for kind, origin in _ORIGINS if re.match(rf"({kind})Backward", name)]
            origin: Origin = matching[0] if matching else "unknown"
            origins.add("constant" if origin == "softmax" and _is_over_one(node) else origin)
    if "unbounded" in origins:  # a sum with something unbounded
        return "unbounded"
    return origins.pop() if len(origins) == 1 and not waiting else "unknown"


def _is_over_one(softmax: Any) -> bool:
    """Whether the axis of a softmax has the length 1."""
    result, axis = getattr(softmax, "_saved_result", None), getattr(softmax, "_saved_dim", None)
    if not isinstance(result, Tensor) or not isinstance(axis, int):
        return False
    axis -= 2**64 if axis >= 2**63 else 0  # stored without a sign
    return -result.dim() <= axis < result.dim() and result.shape[axis] == 1
