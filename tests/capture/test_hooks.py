"""Forward hooks by path: what they receive, what they replace, and that none is left behind."""

from typing import Any

import pytest
import torch
from torch import nn

from camcli.capture.hooks import hook_calls


def test_calls_come_in_order_with_their_paths_and_a_returned_value_replaces_the_output() -> None:
    module = nn.Sequential(nn.Identity(), nn.Sequential(nn.ReLU()))
    calls: list[str] = []

    def leave(path: str, output: Any) -> Any:
        calls.append(f"leave {path}: {float(output)}")
        return output + 1 if path == "0" else None

    with hook_calls(module, ["0", "1", "1.0", "1"], leave, enter=lambda path: calls.append(f"enter {path}")):
        result = module(torch.tensor(2.0))
    assert calls == ["enter 0", "leave 0: 2.0", "enter 1", "enter 1.0", "leave 1.0: 3.0", "leave 1: 3.0"]
    assert float(result) == 3.0
    assert float(module(torch.tensor(2.0))) == 2.0
    assert len(calls) == 6


def test_hooks_are_removed_when_the_block_fails() -> None:
    module = nn.Sequential(nn.Identity())
    with pytest.raises(KeyError), hook_calls(module, ["0"], lambda _path, _output: None, enter=lambda _path: None):
        raise KeyError
    assert not module[0]._forward_hooks
    assert not module[0]._forward_pre_hooks
