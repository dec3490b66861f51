from __future__ import annotations

import pytest
from torch import nn

from camcli.errors import LayerError
from camcli.layers import find_module
from camcli.layers.paths import split_path


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.layer4 = nn.Sequential(nn.Identity(), nn.Sequential(nn.ReLU(), nn.ReLU()))
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 2), "7": nn.Linear(4, 3)})


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("layer4", "layer4"),
        ("layer4.1", "layer4.1"),
        ("features[-1]", "features.2"),
        ("features[ 0 ]", "features.0"),
        ("features.-2", "features.1"),
        ("layer4[-1].-1", "layer4.1.1"),
        ("heads['a']", "heads.a"),
        ("heads.7", "heads.7"),
        ("heads[1]", "heads.7"),
        (" layer4 ", "layer4"),
    ],
)
def test_typed_paths_lead_to_canonical_ones(typed: str, canonical: str) -> None:
    net = Net()
    path, module = find_module(net, typed)
    assert path == canonical
    assert module is net.get_submodule(canonical)


def test_negative_indices_count_children_by_registration() -> None:
    assert split_path("layers[-1].blocks.-1.norm1") == ["layers", "-1", "blocks", "-1", "norm1"]


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda net: nn.Sequential()])
def test_wrappers_may_be_left_out(wrap: object) -> None:
    net = Net()
    wrapped = nn.DataParallel(net) if wrap is nn.DataParallel else _compiled(net)
    path, module = find_module(wrapped, "layer4.1")
    assert path.endswith(".layer4.1")
    assert module is net.layer4[1]


def _compiled(net: nn.Module) -> nn.Module:
    class OptimizedModule(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._orig_mod = net

    return OptimizedModule()


def test_a_shared_module_has_one_canonical_path() -> None:
    net = Net()
    net.alias = net.layer4
    assert find_module(net, "alias.1")[0] == "layer4.1"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("layr4", r"no layer 'layr4'.*has features, layer4, heads.*Did you mean layer4"),
        ("layer4.9", r"'layer4' \(Sequential\) has 0, 1, not '9'"),
        ("features[-4]", r"'features' \(Sequential\) has 0, 1, 2, not '-4'"),
        ("features.0.conv", r"'features\.0' \(Conv2d\) has no children"),
        ("", r"names no module"),
        ("[]", r"no layer"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(typed: str, message: str) -> None:
    with pytest.raises(LayerError, match=message) as caught:
        find_module(Net(), typed)
    assert caught.value.exit_code == 2
