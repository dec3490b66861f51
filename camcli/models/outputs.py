"""From what a model returns to logits (N, C), and from logits to probabilities."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from camcli.capture.outputs import tensors_in
from camcli.errors import ModelError
from camcli.methods import probabilities as apply_link

Probability = Literal["auto", "softmax", "sigmoid", "none"]

_LOGIT_KEYS = ("logits", "logit", "output", "outputs", "out", "pred", "preds", "predictions", "scores", "y_hat")


def find_logits(output: object, key: str | None = None, *, average: bool = False, is_row: bool = False) -> Tensor:
    """The logits in a model's output.

    Args:
        output: a tensor, a tuple, list or mapping that holds one, or an object with ``.logits``.
        key: which entry holds the logits (``--output-key``): an index, a name, or a dotted path of these.
        average: a tuple of equal shapes is the heads of a distilled model, whose mean is its prediction.
        is_row: the numbers of a batch of one image come without its axis: (C,) is (1, C).

    Returns:
        (N, C) float32; one logit per image may come as (N,), of one image as (), and becomes (N, 1).

    Raises:
        ModelError: there is no such entry, or nothing that looks like logits; what there is is listed.
    """
    if key is not None:
        for part in key.split("."):
            output = _entry(output, part, key)
    if average and isinstance(output, (tuple, list)) and _equal_shapes(output):
        return torch.stack([_as_logits(o, key, is_row) for o in output]).mean(dim=0)
    return _as_logits(_pick(output), key, is_row)


def probabilities(logits: Tensor, mode: Probability = "auto", *, multi_label: bool = False) -> Tensor:
    """(N, C) logits → (N, C) probabilities; the logits themselves where they are values (``none``).

    ``auto`` is the sigmoid for a single logit or a multi-label model, else the softmax over classes.
    """
    if mode == "auto":
        mode = "sigmoid" if multi_label or logits.shape[1] == 1 else "softmax"
    return apply_link(logits, mode)


def entries(output: object) -> Iterator[tuple[str, Tensor]]:
    """All that may be logits in what a model returns for one image: ``--output-key`` and (1, C) each, depth first."""
    parts: Mapping[str, object] = {}
    if isinstance(output, (tuple, list)):
        parts = {str(i): value for i, value in enumerate(output)}
    elif not isinstance(output, Tensor):
        parts = fields_of(output)
    for key, value in parts.items():
        if isinstance(value, Tensor):
            if _looks_like_logits(rows := squeeze(value, is_row=True)):
                yield key, rows
        else:
            yield from ((f"{key}.{inner}", tensor) for inner, tensor in entries(value))


def fields_of(output: object) -> Mapping[str, object]:
    """The entries of a mapping, or of an object that is none (a dataclass, a namespace); empty for anything else."""
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items() if isinstance(key, str | int)}
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    own = getattr(output, "__dict__", None)
    is_plain = isinstance(own, dict) and not isinstance(output, (type, torch.nn.Module, Tensor))
    return {key: value for key, value in own.items() if not key.startswith("_")} if is_plain and own else {}


def squeeze(value: Tensor, *, is_row: bool = False) -> Tensor:
    """() → (1, 1); (N,) → (N, 1), or (1, N) where it is a row; (N, C, 1) and (N, C, 1, 1) → (N, C)."""
    if value.dim() < 2:
        return value.reshape(1, -1) if is_row else value.reshape(-1, 1)
    while value.dim() > 2 and value.shape[-1] == 1:
        value = value.squeeze(-1)
    return value


def _pick(output: object) -> object:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, (tuple, list)) and not hasattr(output, "logits"):
        # The first is the prediction by convention: (logits, features), (logits, auxiliary logits).
        return next((v for v in output if _looks_like_logits(v)), output)
    logits = getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    fields = fields_of(output)
    for name in _LOGIT_KEYS:
        if isinstance(fields.get(name), Tensor):
            return fields[name]
    values = [v for v in fields.values() if _looks_like_logits(v)]
    return values[0] if len(values) == 1 else output


def _looks_like_logits(value: object) -> bool:
    return (
        isinstance(value, Tensor) and value.layout == torch.strided and value.is_floating_point() and value.dim() == 2
    )


def _equal_shapes(values: Sequence[object]) -> bool:
    return len(values) > 1 and all(_looks_like_logits(v) for v in values) and len({v.shape for v in values}) == 1  # type: ignore[attr-defined]


def _as_logits(value: object, key: str | None, is_row: bool) -> Tensor:
    if not isinstance(value, Tensor):
        raise ModelError(f"the model returns {describe_output(value)}{_why_no_logits(value)}")
    if value.layout != torch.strided or value.is_complex():
        kind = "complex numbers" if value.is_complex() else "a sparse tensor"
        raise ModelError(
            f"the model returns {kind}. Let it return scores, a dense tensor (images, classes) of numbers."
        )
    if not value.is_floating_point():
        raise ModelError(
            f"the model returns {describe_output(value)} of {str(value.dtype).removeprefix('torch.')}, such as argmax "
            "or a threshold gives: a class index has no gradient, and does not say how sure the model is. Return the "
            "scores that it is taken from, or name them with --output-key."
        )
    value = squeeze(value, is_row=is_row)
    if value.dim() != 2 or not value.shape[1]:
        where = f"entry {key} of the output is" if key else "the model returns"
        raise ModelError(
            f"{where} {describe_output(value)}, not logits (images, classes). If the model has no classifier, "
            "give it one; if the logits are elsewhere in its output, name them with --output-key."
        )
    return value.float()


def _why_no_logits(value: object) -> str:
    candidates = [f"{key} {tuple(tensor.shape)}" for key, tensor in entries(value)]
    if len(candidates) > 1:
        return f", of which several entries may be the logits: {', '.join(candidates)}. Name one with --output-key."
    if next(tensors_in(value), None) is None:
        return ", which holds no tensor. Let it return the scores of its classes, a tensor (images, classes)."
    return (
        ", in which no logits (images, classes) were found. Name the entry that holds them with --output-key, or let "
        "it return them alone."
    )


def _entry(output: object, part: str, key: str) -> object:
    if isinstance(output, Mapping) and part in output:
        return output[part]
    if isinstance(output, Mapping) and part.isdecimal() and int(part) in output:
        return output[int(part)]
    if isinstance(output, (tuple, list)) and part.lstrip("-").isdecimal() and -len(output) <= int(part) < len(output):
        return output[int(part)]
    if part.isidentifier() and hasattr(output, part) and not isinstance(output, Tensor):
        return getattr(output, part)
    raise ModelError(f"--output-key {key}: there is no entry {part!r} in {describe_output(output)}.")


def describe_output(value: object) -> str:
    """A model's output in words, for messages: kinds, keys and shapes."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        entries = ", ".join(f"{k}: {_brief(v)}" for k, v in value.items())
        return f"a {type(value).__name__} with {entries or 'nothing'}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of " + (", ".join(_brief(v) for v in value) or "nothing")
    if value is None:
        return "nothing (None)"
    fields = ", ".join(f"{k}: {_brief(v)}" for k, v in fields_of(value).items())
    return f"an object of class {type(value).__name__}" + (f" with {fields}" if fields else "")


def _brief(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
