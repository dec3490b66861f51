"""Logits in whatever a model returns."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch

from camcli.errors import ModelError
from camcli.models.outputs import find_logits, probabilities

Z = torch.arange(6.0).reshape(2, 3)
FEATURES = torch.ones(2, 7)
TOKENS = torch.ones(2, 5, 7)
Auxiliary = namedtuple("Auxiliary", "logits aux")


@pytest.mark.parametrize(
    "output",
    [
        Z,
        Z.half(),
        Z[:, :, None, None],
        (Z, FEATURES),
        [Z, TOKENS],
        (TOKENS, Z),
        Auxiliary(Z, Z + 1),
        {"features": FEATURES, "logits": Z},
        {"out": Z, "aux": Z + 1},
        OrderedDict(tokens=TOKENS, mine=Z),
        SimpleNamespace(logits=Z, hidden=TOKENS),
    ],
)
def test_found(output: object) -> None:
    logits = find_logits(output)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, Z)


@pytest.mark.parametrize("output", [torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [2.0]])])
def test_one_logit_per_image(output: torch.Tensor) -> None:
    assert torch.equal(find_logits(output), torch.tensor([[1.0], [2.0]]))


@pytest.mark.parametrize(
    ("output", "key"),
    [
        ((FEATURES, Z), "1"),
        ((FEATURES, Z), "-1"),
        ({"a": FEATURES, "b": Z}, "b"),
        (SimpleNamespace(mine=Z), "mine"),
        ({"heads": [FEATURES, Z]}, "heads.1"),
    ],
)
def test_named_by_output_key(output: object, key: str) -> None:
    assert torch.equal(find_logits(output, key), Z)


@pytest.mark.parametrize("key", ["2", "-3", "logits", "0.1"])
def test_output_key_that_is_not_there(key: str) -> None:
    with pytest.raises(ModelError, match=rf"--output-key {key}: there is no entry .*(tuple|tensor)"):
        find_logits((Z, FEATURES), key)


def test_heads_of_a_distilled_model_are_averaged() -> None:
    assert torch.equal(find_logits((Z, Z + 1), average=True), Z + 0.5)
    assert torch.equal(find_logits((Z, Z + 1)), Z)
    assert torch.equal(find_logits((Z, FEATURES), average=True), Z)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.ones(2, 3, 7, 7), r"a tensor of shape \(2, 3, 7, 7\).*classifier"),
        ({"a": FEATURES, "b": Z}, r"a dict with a: \(2, 7\), b: \(2, 3\).*--output-key"),
        ((TOKENS, None), r"a tuple of \(2, 5, 7\), NoneType.*--output-key"),
        (None, r"nothing \(None\), which holds no tensor. Let it return"),
        ({}, "a dict with nothing, which holds no tensor"),
    ],
)
def test_not_found(output: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_logits(output)


def test_probabilities() -> None:
    one = torch.tensor([[0.0], [2.0]])
    assert torch.equal(probabilities(Z), torch.softmax(Z, 1))
    assert torch.equal(probabilities(one), torch.sigmoid(one))
    assert torch.equal(probabilities(Z, multi_label=True), torch.sigmoid(Z))
    assert torch.equal(probabilities(Z, "softmax", multi_label=True), torch.softmax(Z, 1))
    assert torch.equal(probabilities(Z, "sigmoid"), torch.sigmoid(Z))
