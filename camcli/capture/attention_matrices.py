"""One pass with every attention matrix visible, and the blocks they belong to."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camcli.capture.forward import Forward
from camcli.capture.frozen import replace_forward
from camcli.capture.functions import AttentionTap
from camcli.capture.gradients import gradients_of
from camcli.capture.hooks import hook_calls
from camcli.capture.outputs import main_tensor


@dataclass(frozen=True)
class Blocks:
    """Where the attention matrices of a model come from.

    Attributes:
        tokens: queries and keys of each.
        paths: the block of each matrix, in the order of the pass.
        readout: the tokens behind the last block that the score is read from.
    """

    tokens: int
    paths: tuple[str, ...]
    readout: tuple[int, ...]


@dataclass(frozen=True)
class AttentionPass:
    """One pass: logits (N, classes), and in its graph the matrices and the tokens (N, tokens, K) behind each block."""

    logits: Tensor
    matrices: Sequence[Tensor]
    outputs: Sequence[Tensor]


def attention_pass(forward: Forward, inputs: Tensor, blocks: Blocks) -> AttentionPass:
    """Run the module once; the graph begins at the first attention matrix. Inside ``freeze``."""
    outputs: dict[str, Tensor] = {}

    def keep(path: str, output: Any) -> None:
        if (tensor := main_tensor(output)) is not None:
            outputs[path] = tensor

    tap = AttentionTap(blocks.tokens)  # sets the graph's first leaf, so that the patch embedding is not recorded
    with hook_calls(forward.module, blocks.paths, keep), torch.enable_grad(), expose_multihead(forward.module), tap:
        logits = forward(inputs)
    return AttentionPass(logits, tap.matrices, [outputs[path] for path in blocks.paths])


def find_blocks(forward: Forward, inputs: Tensor, tokens: int, prefix: int) -> Blocks | None:
    """The blocks of a model whose attention goes over all tokens; None where there is no such attention.

    The blocks are what differs first between the modules that are running when each matrix is computed: the items of
    the model's list of layers.
    """
    running: list[str] = []
    stacks: list[tuple[str, ...]] = []

    def leave(_path: str, _output: Any) -> None:
        running.pop()

    paths = [path for path, _ in forward.module.named_modules()]
    tap = AttentionTap(tokens, lambda _: stacks.append(tuple(running)))
    with (
        hook_calls(forward.module, paths, leave, running.append),
        torch.no_grad(),
        expose_multihead(forward.module),
        tap,
    ):
        forward(inputs)
    if not stacks:
        return None
    shared = 0
    while len(set(stacks)) > 1 and len({s[: shared + 1] for s in stacks}) == 1:
        shared += 1
    depth = shared if len(set(stacks)) > 1 else max(len(stacks[0]) - 2, 0)
    blocks = Blocks(tokens, tuple(s[min(depth, len(s) - 1)] for s in stacks), ())
    run = attention_pass(forward, inputs, blocks)
    return Blocks(tokens, blocks.paths, _readout(run, tokens, prefix))


def _readout(run: AttentionPass, tokens: int, prefix: int) -> tuple[int, ...]:
    """Class tokens where the score is read from them alone, else all tokens of the grid."""
    grid = tuple(range(prefix, tokens))
    last = run.outputs[-1]
    if last.ndim != 3 or last.shape[1] != tokens:
        return grid
    weights = torch.linspace(-1, 1, run.logits.shape[1], device=last.device)
    (gradient,) = gradients_of(run.logits @ weights, [last])
    if gradient is None:
        return grid
    used = gradient.abs().amax((0, 2)) > 1e-6 * gradient.abs().max()
    class_tokens = tuple(i for i in range(prefix) if bool(used[i]))
    return grid if bool(used[prefix:].any()) or not class_tokens else class_tokens


@contextmanager
def expose_multihead(module: nn.Module) -> Iterator[None]:
    """Inside, ``nn.MultiheadAttention`` computes with a visible call of ``scaled_dot_product_attention``.

    Its own forward computes the attention in one native call; no gradient reaches the weights which that returns.
    """
    with ExitStack() as stack:
        for part in module.modules():
            if isinstance(part, nn.MultiheadAttention) and part.bias_k is None and not part.add_zero_attn:
                stack.enter_context(replace_forward(part, _multihead(part, part.forward)))
        yield


def _multihead(part: nn.MultiheadAttention, own: Callable[..., Any]) -> Callable[..., Any]:
    def forward(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        mask = kwargs.get("attn_mask")
        if args or kwargs.get("key_padding_mask") is not None or kwargs.get("is_causal") or query.ndim != 3:
            return own(query, key, value, *args, **kwargs)
        if mask is not None and mask.dtype == torch.bool:
            mask = ~mask  # True means "do not look" here, and "look" there
        if mask is not None and mask.ndim == 3:
            mask = mask.reshape(-1, part.num_heads, *mask.shape[1:])
        mixed = F.scaled_dot_product_attention(
            _heads(part, query, 0), _heads(part, key, 1), _heads(part, value, 2), attn_mask=mask
        )
        output = part.out_proj(mixed.transpose(1, 2).flatten(2))
        return (output if part.batch_first else output.transpose(0, 1)), None

    return forward


def _heads(part: nn.MultiheadAttention, x: Tensor, which: int) -> Tensor:
    """(N, heads, tokens, K / heads) of the queries (0), keys (1) or values (2)."""
    if not part.batch_first:
        x = x.transpose(0, 1)
    if part.in_proj_weight is not None:
        weight = part.in_proj_weight.chunk(3)[which]
    else:
        weight = (part.q_proj_weight, part.k_proj_weight, part.v_proj_weight)[which]
    bias = None if part.in_proj_bias is None else part.in_proj_bias.chunk(3)[which]
    return F.linear(x, weight, bias).reshape(*x.shape[:2], part.num_heads, -1).transpose(1, 2)
