"""Where in the user's own code something happened."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from camcli.user_code import describe_failure, is_own, is_raised_by_others, place_of_error


def _error(code: object, *arguments: object) -> BaseException:
    with pytest.raises(Exception) as info:  # noqa: PT011
        code(*arguments)  # type: ignore[operator]
    return info.value


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, torch.zeros(2, 3))  # fails inside torch


def test_the_innermost_line_of_the_users_code_is_named() -> None:
    place = place_of_error(_error(nn.Sequential(Net()), torch.zeros(1, 5)))
    assert place is not None
    assert place.file == __file__
    assert place.statement.endswith("# fails inside torch")


def test_no_place_where_none_of_it_is_the_users() -> None:
    def raised() -> BaseException:
        try:
            nn.Linear(2, 3)(torch.zeros(1, 5))
        except RuntimeError as error:
            error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
            return error
        raise AssertionError

    assert place_of_error(raised()) is None
    assert describe_failure(raised()).startswith("RuntimeError: mat1 and mat2 shapes")


@pytest.mark.parametrize(
    ("file", "own"),
    [
        (__file__, True), (torch.__file__, False), (json.__file__, False), ("<string>", False),
        (sys.modules["camcli"].__file__, False), (str(Path.home() / "project" / "net.py"), True),
    ],
)  # fmt: skip
def test_which_files_are_the_users(file: str, own: bool) -> None:
    assert is_own(file) is own


def test_messages_are_one_line_without_a_final_full_stop() -> None:
    def fail() -> None:
        raise ValueError("first line.\n  second line.")

    assert describe_failure(_error(fail)).startswith("ValueError: first line. second line (")


def test_who_raised_an_error() -> None:
    assert is_raised_by_others(_error(json.loads, "{"))
    from safetensors import SafetensorError

    own = SafetensorError("raised by machine code, which has no frame")
    assert is_raised_by_others(own)
    from camcli.layers.layout import parse_layout

    assert not is_raised_by_others(_error(parse_layout, "nonsense"))
    assert not is_raised_by_others(_error(parse_layout, 3))
