"""From the content of a checkpoint file to a state dict whose keys are the model's."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

State = dict[str, Tensor]

# Best first: a copy made for evaluation, then the weights themselves; of a student and its teacher, the teacher.
_EMA = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "ema_model")
_PLAIN = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params",
    "teacher", "student", "backbone", "encoder",
)  # fmt: skip
_WRAPPER_PARTS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_PREFERRED_PREFIXES = ("ema", "teacher")

UNUSED_MODULES = ("AuxLogits.", "aux1.", "aux2.")
"""Training-only heads of Inception and GoogLeNet: they take no part in evaluation."""
_COMPUTED = ("num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask", "total_ops",
             "total_params", "n_averaged", "_extra_state")  # fmt: skip
_TRAINING_PARTS = ("criterion", "loss", "metric", "train_", "val_", "test_", "optimizer", "scheduler")


def find_state_dict(content: object) -> tuple[State, str] | None:
    """The weights in a checkpoint's content, and the path of keys that led to them (empty for a plain one)."""
    if isinstance(content, nn.Module):
        return dict(content.state_dict()), ""
    if not isinstance(content, Mapping):
        return None
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    for key in (*_EMA, *_PLAIN, *(k for k in content if k not in _EMA and k not in _PLAIN)):
        inner = content.get(key)
        if key == "optimizer" or not isinstance(inner, (Mapping, nn.Module)):
            continue
        nested = find_state_dict(inner)
        if nested is not None and len(nested[0]) >= max(1, len(tensors)):
            return nested[0], f"{key}.{nested[1]}" if nested[1] else str(key)
    # A scalar or two beside nothing else (a step counter, a loss scale) is no model.
    return (tensors, "") if any(t.dim() > 0 for t in tensors.values()) else None


def other_copies(content: object, used: str) -> list[str]:
    """The other sets of weights at the top of a checkpoint, for the note on which one was used."""
    if not isinstance(content, Mapping):
        return []
    keys = [k for k in (*_EMA, *_PLAIN) if isinstance(content.get(k), (Mapping, nn.Module))]
    return [k for k in keys if k != used.partition(".")[0] and find_state_dict(content[k]) is not None]


@dataclass(frozen=True)
class AlignedState:
    """A state dict in the model's own keys.

    Attributes:
        state: the tensors that have a place in the model, or may have one.
        outside: keys of the file that do not carry the prefix: other networks, criteria.
    """

    state: State
    outside: tuple[str, ...] = ()


def align(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> AlignedState:
    """Find the prefix by which the keys of a file differ from the model's, whatever it is called.

    ``module.`` (DistributedDataParallel), ``_orig_mod.`` (torch.compile), ``model.`` (Lightning) and their
    combinations are cases of one rule: the prefix with which most keys match.
    """
    clean: State = {}
    for key, tensor in state.items():
        for part in _WRAPPER_PARTS:
            key = key.replace(part, "")
        clean.setdefault(key, tensor)
    off, matches_off = _best_prefix(clean, expected)
    on, matches_on = _best_prefix(expected, clean)
    if matches_on > matches_off:
        return AlignedState({on + key: tensor for key, tensor in clean.items()})
    inside = {key.removeprefix(off): tensor for key, tensor in clean.items() if key.startswith(off)}
    return AlignedState(inside, tuple(key for key in clean if not key.startswith(off)))


def _best_prefix(long: Mapping[str, Tensor], short: Mapping[str, Tensor]) -> tuple[str, int]:
    """The prefix that turns most keys of ``long`` into keys of ``short`` with tensors of the same shape.

    Empty where less than half of ``short`` is matched: single names, ``conv1.weight``, occur in any two networks.
    """
    counts: Counter[str] = Counter({"": 0})
    for key, tensor in long.items():
        parts = key.split(".")
        for depth in range(len(parts)):
            rest = ".".join(parts[depth:])
            if rest in short:
                counts[key[: len(key) - len(rest)]] += 2 if short[rest].shape == tensor.shape else 1

    def merit(prefix: str) -> tuple[int, bool, int]:
        return counts[prefix], any(word in prefix for word in _PREFERRED_PREFIXES), -len(prefix)

    best = max(counts, key=merit)
    return (best, counts[best]) if counts[best] >= len(short) / 2 else ("", counts[""])


@dataclass(frozen=True)
class Difference:
    """How an aligned state dict differs from what a model needs; what does not matter is left out.

    Attributes:
        missing: parameters and running statistics that the file lacks.
        unexpected: keys of the file for which the model has no place.
        shapes: key → (shape in the file, shape in the model).
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)


def compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], parameters: Iterable[str]) -> Difference:
    """Compare a state dict with the one a model has; ``parameters`` are the model's, the rest of it are buffers."""
    needed = set(parameters) | {k for k in expected if k.endswith(("running_mean", "running_var"))}
    missing = (k for k in expected if k not in state and k in needed and not k.startswith(UNUSED_MODULES))
    unexpected = (
        k for k in state
        if k not in expected and not k.endswith(_COMPUTED) and not k.startswith((*UNUSED_MODULES, *_TRAINING_PARTS))
    )  # fmt: skip
    shapes = {
        k: (tuple(state[k].shape), tuple(expected[k].shape))
        for k in expected
        if k in state and state[k].shape != expected[k].shape and not (expected[k].dim() == 0 and state[k].numel() == 1)
    }
    return Difference(tuple(missing), tuple(unexpected), shapes)


def adopt_head(
    aligned: AlignedState, whole: Mapping[str, Tensor], expected: Mapping[str, Tensor], lacking: Difference
) -> AlignedState:
    """Give a head that has another name in the file (``head.weight`` beside ``backbone.…``) the model's name.

    Only where nothing else is missing, and exactly one linear layer of the file fits.
    """
    weights = [k for k in lacking.missing if k.endswith(".weight") and expected[k].dim() == 2]
    if len(weights) != 1 or set(lacking.missing) - {weights[0], weights[0].removesuffix("weight") + "bias"}:
        return aligned
    head = weights[0].removesuffix("weight")
    features = expected[weights[0]].shape[1]
    spare = {k: whole[k] for k in aligned.outside if k in whole}
    spare |= {k: aligned.state[k] for k in lacking.unexpected}
    fitting = [k for k, t in spare.items() if k.endswith("weight") and t.dim() == 2 and t.shape[1] == features]
    has_bias = head + "bias" in expected
    fitting = [k for k in fitting if (k.removesuffix("weight") + "bias" in spare) == has_bias]
    if len(fitting) != 1:
        return aligned
    source = fitting[0].removesuffix("weight")
    new_head = {head + end: spare[source + end] for end in (("weight", "bias") if has_bias else ("weight",))}
    rest = {k: t for k, t in aligned.state.items() if k not in (source + "weight", source + "bias")}
    outside = tuple(k for k in aligned.outside if not k.startswith(source))
    return replace(aligned, state={**rest, **new_head}, outside=outside)


def listed(keys: Iterable[str], most: int = 6) -> str:
    """``a, b, c and 12 more``."""
    keys = list(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def as_names(content: object) -> Any:
    """The class names that a training script saved beside the weights, if any."""
    if not isinstance(content, Mapping):
        return None
    for key in ("class_names", "classes", "class_to_idx", "idx_to_class", "id2label", "labels"):
        if isinstance(content.get(key), (list, tuple, Mapping)):
            return content[key]
    return None
