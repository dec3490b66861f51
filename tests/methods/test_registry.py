"""Every entry of the registry is complete, and has a formula of its own in the tests."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import pytest

import camcli.methods
from camcli.methods import METHODS, find_method
from tests.methods.test_attention_methods import ATTENTION
from tests.methods.test_formulas import FORMULAS
from tests.methods.test_whole_networks import ELSEWHERE

WRITTEN_OUT = {*FORMULAS, *ATTENTION, *ELSEWHERE, "cam", "randomcam"}
"""Methods whose maps are compared with a formula."""


def modules() -> list[str]:
    """The modules that describe a method."""
    names = [module.name for module in iter_modules(camcli.methods.__path__)]
    return [name for name in names if hasattr(import_module(f"camcli.methods.{name}"), "METHOD")]


@pytest.mark.parametrize("name", modules())
def test_every_module_with_a_method_is_registered_under_its_key(name: str) -> None:
    method = import_module(f"camcli.methods.{name}").METHOD
    assert METHODS[method.key] is method
    assert name == method.key.replace("+", "p")


@pytest.mark.parametrize("key", METHODS)
def test_an_entry_is_complete(key: str) -> None:
    method = METHODS[key]
    assert key in WRITTEN_OUT, "give it a formula in the tests"
    assert find_method(key.upper()) is method
    assert method.name
    assert method.paper
    assert method.compute.__doc__, "its formula stands in its docstring"
    assert method.cost_with({option.key: 7 for option in method.options})
    assert len({option.key for option in method.options}) == len(method.options)
    for option in method.options:
        assert option.help
        if option.default is not None:
            assert option.parse(str(option.default), key) == option.default
    assert method.as_json()["key"] == key
