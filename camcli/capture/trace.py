"""How the tail behind a layer can be replayed: traced from two recorded passes, verified against naive re-running.

Two batches of different sizes show which dimension of each output counts the images (a window of a Swin transformer
is not an image). What is assumed of a model may be wrong, so the replay is compared once with running all of it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from camcli.capture.dependence import find_sources
from camcli.capture.forward import Forward
from camcli.capture.hooks import hook_calls
from camcli.capture.outputs import main_tensor
from camcli.capture.replay import Key, Memo, Spec, Tail, key_of, may_hold_nan
from camcli.errors import LayerError, is_out_of_memory

TOLERANCE = 1e-4
"""Largest deviation of a replayed logit from a naively computed one, as a share of the largest logit.

On CUDA ten times that: convolutions of another batch size round differently in TensorFloat-32.
"""


@torch.no_grad()
def trace_tail(forward: Forward, path: str, inputs: Tensor) -> Tail:
    """How to run what comes after a layer.

    Tried in turn: replaying with views of the recorded outputs; with copies, for models that write in place; running
    the whole model with the layer's activation replaced, with the reason in :attr:`Tail.fallback`.

    Args:
        forward: runs the module, which is in evaluation mode.
        path: of the layer, which runs once in a pass.
        inputs: (3, C, H, W), on which the replay is tried.

    Raises:
        LayerError: the layer does not run exactly once.
    """
    whole = Tail(forward, path, fallback="what comes before the layer cannot be told from what comes behind it")
    memo: Memo = {}
    specs = _specs(_record_outputs(forward, path, inputs[:2]), _record_outputs(forward, path, inputs, memo))
    if specs is None:
        return whole
    full = Tail(forward, path, specs, {key: _structure(value) for key, value in memo.items()}, frozenset(memo))
    why = ""
    for tail in (full, replace(full, copies=True)):
        try:
            difference = _compare(tail, memo, inputs)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, LayerError) as error:
            if is_out_of_memory(error):
                raise
            why = str(error).strip().split("\n")[0]
            continue
        if difference is None:
            return _without_unused(tail, memo, inputs)
        why = difference
    return replace(whole, specs={whole.key: specs[whole.key]}, fallback=f"replaying the tail failed: {why}")


def _record_outputs(forward: Forward, path: str, inputs: Tensor, memo: Memo | None = None) -> Memo:
    """The outputs of the outermost calls that had finished when the layer returned, and of the layer itself."""
    memo = {} if memo is None else memo
    open_calls: list[list[tuple[Key, Any]]] = [[]]  # for each call that has not returned, what finished inside it
    count: Counter[str] = Counter()
    layer = key_of(path)

    def leave(name: str, output: Any) -> None:
        open_calls.pop()  # the output of this call replaces what finished inside it
        key = (name, count[name])
        count[name] += 1
        if key == layer and not memo:
            memo.update(pair for calls in open_calls for pair in calls)
            memo[key] = pytree.tree_map_only(Tensor, torch.clone, output)
        elif not memo:
            open_calls[-1].append((key, pytree.tree_map_only(Tensor, torch.clone, output)))

    names = [name for name, _ in forward.module.named_modules() if name]
    with hook_calls(forward.module, names, leave, enter=lambda _name: open_calls.append([])):
        forward(inputs)
    if (count[layer[0]] != 1 and layer[0] == path) or count[layer[0]] <= layer[1]:
        raise LayerError(f"layer {path!r} runs {count[layer[0]]} times in a forward pass, not once.")
    return memo


def _specs(two: Memo, three: Memo) -> dict[Key, list[Spec | None]] | None:
    """What grows with the batch, from passes of two and of three images; None where that does not follow a rule."""
    if list(two) != list(three):
        return None
    specs: dict[Key, list[Spec | None]] = {}
    for key in two:
        small, large = pytree.tree_leaves(two[key]), pytree.tree_leaves(three[key])
        if len(small) != len(large):
            return None
        specs[key] = []
        for a, b in zip(small, large, strict=True):
            if not isinstance(a, Tensor):
                specs[key].append(None)
                continue
            spec = _spec(a, b)
            if spec is None:
                return None
            specs[key].append(spec)
    return specs


def _spec(a: Tensor, b: Tensor) -> Spec | None:
    if a.ndim != b.ndim:
        return None
    grown = [d for d in range(a.ndim) if a.shape[d] != b.shape[d]]
    if not grown:
        return Spec(tuple(a.shape), None, 0, a.dtype)
    (dim, *others) = grown
    per = a.shape[dim] // 2
    if others or a.shape[dim] != 2 * per or b.shape[dim] != 3 * per:
        return None
    return Spec((*a.shape[:dim], per, *a.shape[dim + 1 :]), dim, per, a.dtype)


def _structure(value: Any) -> Any:
    """The same structure without its contents: tensors of one number."""
    return pytree.tree_map_only(Tensor, lambda t: t.new_zeros(()), value)


def _compare(tail: Tail, memo: Memo, inputs: Tensor) -> str | None:
    """How replayed logits differ from those of the whole model run again; None where they do not."""
    altered = _alter(tail, memo, image=1)
    # Replayed first: after a naive run, state that the prefix stores outside its outputs would happen to be right.
    argument = altered.clone()
    replayed = tail.run(memo, inputs, argument, 1)
    if not torch.equal(argument, altered):
        return "something behind writes into the layer's activation"
    naive = replace(tail, fallback="on purpose").run(memo, inputs, altered, 1)
    if replayed.shape != naive.shape or not bool(torch.isfinite(replayed).all()):
        return "it gives no finite logits"  # a placeholder of NaN was used
    allowed = TOLERANCE * (10 if inputs.is_cuda else 1) * float(naive.abs().max().clamp(min=1e-3))
    deviation = float((replayed - naive).abs().max())
    return None if deviation <= allowed else f"a logit differs by {deviation:.2g}"


def _alter(tail: Tail, memo: Memo, image: int) -> Tensor:
    """Two different activations in place of one image's, altered at random but always in the same way."""
    original = main_tensor(memo[tail.key])
    assert original is not None
    spec = next(s for s in tail.specs[tail.key] if s is not None and s.shape[1:] == original.shape[1:])
    rows = spec.rows(original, image, 2)
    noise = torch.rand(rows.shape, generator=torch.Generator().manual_seed(1)).to(rows)
    return rows * noise


def _without_unused(tail: Tail, memo: Memo, inputs: Tensor) -> Tail:
    """The same tail with only the outputs that it uses: others in their place change nothing."""
    if not may_hold_nan(inputs.device):
        return _without_unused_by_following(tail, memo, inputs)
    used = set(tail.used)
    for key in memo:  # one by one: a trial without several would not show which of them is used
        if key != tail.key and _has_floats(memo[key]):
            trial = {k: v for k, v in memo.items() if k in used - {key}}
            if _is_enough(tail, trial, memo, inputs):
                used.discard(key)
    return replace(tail, used=frozenset(used))


def _without_unused_by_following(tail: Tail, memo: Memo, inputs: Tensor) -> Tail:
    """The same without a value that the model has not had from an image, until an output is known to be unused.

    What no operation leads from to the logits is unused, if another image's outputs in their place, and then the
    placeholders of later passes, give the same logits: code outside torch (NumPy, kernels of its own) is not followed.
    """
    candidates = {key: value for key, value in memo.items() if key != tail.key and _has_floats(value)}
    altered = _alter(tail, memo, 1)
    try:
        found = find_sources(candidates, lambda: tail.run(memo, inputs, altered, 1))
    except Exception as error:  # an operation that cannot be followed
        if is_out_of_memory(error):
            raise
        return tail
    unused = candidates.keys() - found
    of_another = {**memo, **{key: _rolled(memo[key], tail.specs[key]) for key in unused}}
    used = tail.used - unused
    is_certain = all(_is_enough(tail, trial, memo, inputs) for trial in (of_another, {key: memo[key] for key in used}))
    return replace(tail, used=frozenset(used)) if is_certain else tail


def _rolled(value: Any, specs: list[Spec | None]) -> Any:
    """A recorded output with the entries of each image in the next one's place."""
    leaves, structure = pytree.tree_flatten(value)
    rolled = [
        leaf if spec is None or spec.dim is None else leaf.roll(spec.per, spec.dim)
        for leaf, spec in zip(leaves, specs, strict=True)
    ]
    return pytree.tree_unflatten(rolled, structure)


def _is_enough(tail: Tail, trial: Mapping[Key, Any], memo: Memo, inputs: Tensor) -> bool:
    """Whether the outputs of a trial give the logits that all of them give."""
    altered = _alter(tail, memo, 1)
    expected = tail.run(memo, inputs, altered, 1)
    try:
        logits = tail.run(dict(trial), inputs, altered, 1)
    except Exception as error:  # NaN as an index or a condition: used
        if is_out_of_memory(error):
            raise
        return False
    return torch.equal(logits, expected)


def _has_floats(value: Any) -> bool:
    return all(leaf.is_floating_point() for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))
