"""How many passes a method makes for an image: its documented cost, as a number."""

import ast
import re
from collections.abc import Mapping

MANY_PASSES = 100
"""From so many passes an image on, a run says what a method costs before it begins."""

BLOCKS = 12
"""``L`` of a usual transformer; not even the largest ones come near :data:`MANY_PASSES`."""
_WORDS = re.compile(r"\b[a-z]{2,}\b")  # of "B to the input"
_PRODUCT = re.compile(r"(?<=[\dKLn)])(?=[FBTKLn(])")


def count_passes(cost: str, channels: int, cells: int) -> int:
    """The passes of a cost such as ``F+K T`` or ``50(F+B)``; one of the tail or backward counts as one.

    Args:
        cost: as :attr:`camcli.methods.Method.cost` or :meth:`~camcli.methods.Method.cost_with` gives it.
        channels, cells: of the target layer, for ``K`` and ``n``.
    """
    return _evaluate(cost, {"F": 1, "B": 1, "T": 1, "L": BLOCKS, "K": channels, "n": cells})


def count_whole_passes(cost: str, channels: int) -> int:
    """The forward passes of the whole model alone: what a method costs at least.

    Args:
        cost: as for :func:`count_passes`.
        channels: of the target layer.
    """
    return _evaluate(cost, {"F": 1, "B": 0, "T": 0, "L": 0, "K": channels, "n": 0})


def _evaluate(cost: str, values: Mapping[str, int]) -> int:
    def evaluate(node: ast.expr) -> int:
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        assert isinstance(node, ast.BinOp)
        left, right = evaluate(node.left), evaluate(node.right)
        return left + right if isinstance(node.op, ast.Add) else left * right

    return evaluate(ast.parse(_PRODUCT.sub("*", _WORDS.sub("", cost).replace(" ", "")), mode="eval").body)
