"""Checkpoints as users have them, loaded into the architecture they name."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from camcli.errors import CheckpointError
from camcli.models import ModelRequest, load_model
from camcli.models.fit import Blueprint, fit_checkpoint

State = Mapping[str, Tensor]


class Tiny(nn.Module):
    """A network with a stem, a norm and a head."""

    def __init__(self, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.bn(self.stem(x)).mean((2, 3)))
        return out


BLUEPRINT = Blueprint("tiny", lambda s: Tiny(s.num_classes or 1000, s.channels or 3), 1000)


def trained(classes: int = 5, seed: int = 7) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return Tiny(classes).state_dict()


def prefixed(state: State, prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def fit(tmp_path: Path, content: Any, blueprint: Blueprint = BLUEPRINT, **settings: Any) -> Any:
    path = tmp_path / "best.pth"
    torch.save(content, path)
    return fit_checkpoint(blueprint, ModelRequest(checkpoint=str(path), **settings))


def holds(module: nn.Module, state: State) -> bool:
    own = module.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[k], state[k]) for k in state)


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "model.", "net.", "backbone.", "module._orig_mod.", "_orig_mod.module.",
     "model.module.", "model._orig_mod.", "classifier.network.", "_fsdp_wrapped_module."],
)  # fmt: skip
@pytest.mark.parametrize("wrapper", ["", "state_dict", "model", "model_state_dict", "teacher", "run.best"])
def test_wrappers_and_prefixes(tmp_path: Path, prefix: str, wrapper: str) -> None:
    state = trained()
    content: Any = prefixed(state, prefix)
    for key in reversed(wrapper.split(".") if wrapper else []):
        content = {key: content, "epoch": 12}
    fitted = fit(tmp_path, content)
    assert holds(fitted.module, state)
    assert fitted.num_classes == 5
    assert fitted.weights == "checkpoint best.pth" + (f" ({wrapper})" if wrapper else "")


def test_timm_training_script(tmp_path: Path) -> None:
    state, ema = trained(), trained(seed=8)
    optimizer = torch.optim.AdamW(Tiny(5).parameters())
    content = {
        "epoch": 3, "arch": "tiny", "state_dict": state, "optimizer": optimizer.state_dict(), "version": 2,
        "args": argparse.Namespace(model="tiny"), "amp_scaler": {"scale": 1.0}, "state_dict_ema": ema, "metric": 71.0,
    }  # fmt: skip
    fitted = fit(tmp_path, content)
    assert holds(fitted.module, ema)
    assert fitted.notes == ("the checkpoint's state_dict_ema is used; it also holds state_dict",)


def test_torchvision_training_script(tmp_path: Path) -> None:
    state = trained()
    averaged = {"n_averaged": torch.tensor(9), **prefixed(trained(seed=8), "module.")}
    args = argparse.Namespace(model="tiny")
    plain = fit(tmp_path, {"model": state, "optimizer": {}, "lr_scheduler": {"last_epoch": 1}, "args": args})
    assert holds(plain.module, state)
    assert plain.notes == ()
    with_ema = fit(tmp_path, {"model": state, "model_ema": averaged, "args": args})
    assert holds(with_ema.module, trained(seed=8))
    assert with_ema.weights == "checkpoint best.pth (model_ema)"


def test_lightning(tmp_path: Path) -> None:
    state = {**prefixed(trained(), "model."), "criterion.weight": torch.ones(5), "train_acc.total": torch.ones(())}
    content = {
        "state_dict": state, "pytorch-lightning_version": "2.5", "hyper_parameters": {"lr": 0.1}, "callbacks": {},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(4, 3, 3, 3)}}}], "global_step": 5, "loops": {},
    }  # fmt: skip
    fitted = fit(tmp_path, content)
    assert holds(fitted.module, trained())
    assert fitted.notes == (
        "checkpoint best.pth: not part of the model and left out: criterion.weight, train_acc.total",
    )


def test_lightning_module_that_is_the_network(tmp_path: Path) -> None:
    state = {**trained(), "criterion.weight": torch.ones(5), "val_acc.confmat": torch.ones(5, 5)}
    assert holds(fit(tmp_path, {"state_dict": state}).module, trained())


def test_student_and_teacher_side_by_side(tmp_path: Path) -> None:
    teacher = trained(seed=8)
    assert holds(fit(tmp_path, {**prefixed(trained(), "student."), **prefixed(teacher, "teacher.")}).module, teacher)
    assert holds(fit(tmp_path, {"student": trained(), "teacher": prefixed(teacher, "module.")}).module, teacher)


def test_backbone_with_a_head_of_another_name(tmp_path: Path) -> None:
    state = trained()
    body = {k: v for k, v in state.items() if not k.startswith("fc.")}
    head = {"head.weight": state["fc.weight"], "head.bias": state["fc.bias"]}
    for content in ({**prefixed(body, "backbone."), **head}, {**body, **head}):
        fitted = fit(tmp_path, {"state_dict": content})
        assert holds(fitted.module, state)
        assert fitted.num_classes == 5


def test_two_heads_that_fit_are_not_guessed_between(tmp_path: Path) -> None:
    state = trained()
    body = {k: v for k, v in state.items() if not k.startswith("fc.")}
    heads = {f"{n}.{end}": state[f"fc.{end}"] for n in ("a", "b") for end in ("weight", "bias")}
    with pytest.raises(CheckpointError, match=r"Missing: fc\.weight, fc\.bias.*Unexpected: a\.weight"):
        fit(tmp_path, {**body, **heads})


def test_the_networks_own_prefix_that_the_file_lacks(tmp_path: Path) -> None:
    blueprint = Blueprint("wrapped", lambda s: nn.Sequential(nn.Identity(), Tiny(s.num_classes or 1000)), 1000)
    fitted = fit(tmp_path, trained(), blueprint)
    assert holds(fitted.module[1], trained())


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_into_a_wrapped_module(tmp_path: Path, wrap: Callable[[nn.Module], nn.Module]) -> None:
    blueprint = Blueprint("wrapped", lambda s: wrap(Tiny(5)), None, fixed=True)
    module = fit(tmp_path, prefixed(trained(), "module."), blueprint).module
    assert sorted(v.sum().item() for v in module.state_dict().values()) == sorted(
        v.sum().item() for v in trained().values()
    )


def test_input_channels_of_the_file(tmp_path: Path) -> None:
    fitted = fit(tmp_path, Tiny(5, channels=6).state_dict())
    assert (fitted.channels, fitted.num_classes) == (6, 5)


def test_half_precision_weights_and_no_batch_counters(tmp_path: Path) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in trained().items() if "num_batches" not in k}
    module = fit(tmp_path, state).module
    assert module.fc.weight.dtype == torch.float32
    assert torch.equal(module.fc.weight, state["fc.weight"].float())


def test_an_encoder_is_an_encoder(tmp_path: Path) -> None:
    body = {k: v for k, v in trained().items() if not k.startswith("fc.")}
    fitted = fit(tmp_path, body)
    assert fitted.num_classes is None
    assert isinstance(fitted.module.fc, nn.Identity)
    assert fitted.notes == ("checkpoint best.pth has no classifier: the model is an encoder",)


def test_missing_and_unexpected_keys_are_listed(tmp_path: Path) -> None:
    state = {**trained(), "extra.weight": torch.ones(3), "stem.bias": torch.ones(4)}
    del state["bn.running_mean"]
    with pytest.raises(CheckpointError, match=r"does not fit tiny.*Missing: bn\.running_mean\. Unexpected: extra"):
        fit(tmp_path, state)


def test_shapes_are_listed(tmp_path: Path) -> None:
    state = {**trained(), "stem.weight": torch.ones(4, 3, 5, 5)}
    with pytest.raises(CheckpointError, match=r"Other shapes: stem\.weight \[4, 3, 5, 5\] instead of \[4, 3, 3, 3\]"):
        fit(tmp_path, state)


def test_a_deeper_network_is_not_loaded_into_a_shallower_one(tmp_path: Path) -> None:
    path = tmp_path / "deep.pth"
    torch.save(torchvision.models.resnet34().state_dict(), path)
    with pytest.raises(CheckpointError, match=r"Unexpected: layer1\.2\.conv1\.weight"):
        load_model("torchvision:resnet18", checkpoint=str(path))


def test_keys_of_another_network_are_named_as_they_stand_in_the_file(tmp_path: Path) -> None:
    """Though names like conv1.weight are met in both, below one prefix or another."""
    path, state = tmp_path / "other.pth", torchvision.models.resnet18().state_dict()
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=rf"{len(state)} keys in the file.*Unexpected: conv1\.weight, layer1\.0"):
        load_model("builtin", checkpoint=str(path))


def test_the_wrong_class_count_is_refused(tmp_path: Path) -> None:
    assert fit(tmp_path, trained(), num_classes=5).num_classes == 5
    with pytest.raises(CheckpointError, match="5 classes, not --num-classes 6"):
        fit(tmp_path, trained(), num_classes=6)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"loss": torch.tensor(0.3)}, [torch.ones(3)], "text"])
def test_no_weights_in_the_file(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"best\.pth: no weights in it"):
        fit(tmp_path, content)


def test_timm_encoder_gets_the_head_of_the_file(tmp_path: Path) -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=7)
    config = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    assert config.num_classes == 0
    blueprint = Blueprint(
        "encoder", lambda s: timm.create_model("vit_tiny_patch16_224", num_classes=s.num_classes or 0), None, ("head",)
    )
    fitted = fit(tmp_path, theirs.state_dict(), blueprint)
    assert fitted.num_classes == 7
    assert holds(fitted.module, theirs.state_dict())
