from __future__ import annotations

import torch
import torchvision
from torch import nn

from camcli.layers.initialise import initialise_untrained
from camcli.layers.perturb import structured_noise


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_zeros_and_initial_statistics_are_changed_inside_and_restored_bit_for_bit() -> None:
    module = torchvision.models.resnet18(weights=None, zero_init_residual=True).eval()
    nn.init.constant_(module.fc.weight, -0.0)
    before = _state(module)
    with initialise_untrained(module) as changed:
        assert changed
        with torch.no_grad():
            module(structured_noise(2, 3, 64, 64, seed=0))
        assert bool(module.layer1[0].bn2.weight.ne(0).all())
        assert bool(module.fc.weight.any())
        assert bool(module.layer4[1].bn2.running_var.ne(1).any())
    after = _state(module)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert bool(torch.signbit(module.fc.weight).all())  # even the sign of zero
    assert not any(part._forward_pre_hooks for part in module.modules())
    assert not any(part.training for part in module.modules())


def test_restored_when_the_work_inside_fails() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    before = _state(module)
    try:
        with initialise_untrained(module):
            module(structured_noise(2, 3, 8, 8, seed=0))
            raise RuntimeError("stop")
    except RuntimeError:
        pass
    after = _state(module)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_trained_network_is_not_touched() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    module(structured_noise(2, 3, 8, 8, seed=0))  # one training step's statistics
    module.eval()
    before = _state(module)
    with initialise_untrained(module) as changed:
        assert not changed
        assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_calibrated_norms_let_signals_of_about_unit_size_through() -> None:
    module = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()) for _ in range(30))).eval()
    images = structured_noise(4, 3, 32, 32, seed=0)
    with torch.no_grad():
        before = float(module(images).std((0, 2, 3)).max())
        with initialise_untrained(module):
            module(images)
            signals = module(images).std((0, 2, 3))
    assert before < 0.01
    assert 0.1 < float(signals.min()) <= float(signals.max()) < 3


def test_maps_of_a_single_value_are_calibrated_without_complaint() -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    with torch.no_grad(), initialise_untrained(module):
        module(structured_noise(1, 3, 8, 8, seed=0))
        assert bool(module(structured_noise(2, 3, 8, 8, seed=1)).isfinite().all())


def test_statistics_come_from_the_first_batch_and_no_other_even_with_a_graph_and_a_norm_that_runs_twice() -> None:
    norm = nn.BatchNorm2d(3)
    module = nn.Sequential(nn.Conv2d(3, 3, 1), norm, nn.ReLU(), norm).eval().requires_grad_(False)
    images = structured_noise(2, 3, 8, 8, seed=0).requires_grad_()
    with initialise_untrained(module):
        module(images).sum().backward()
        assert images.grad is not None
        first = norm.running_mean.clone()
        module(structured_noise(2, 3, 8, 8, seed=5))
        assert torch.equal(norm.running_mean, first)
