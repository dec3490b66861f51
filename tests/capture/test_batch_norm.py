"""Batch norms that saw no batch in training are told from those that did, and measured."""

from __future__ import annotations

import torch
from torch import nn

from camcli.capture.batch_norm import batch_norms, has_initial_statistics, measure_on_batch, measure_on_first_input


def test_one_training_step_is_enough_to_count_as_trained():
    norm, affine = nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False)
    net = nn.Sequential(norm, affine, nn.BatchNorm2d(3, track_running_stats=False), nn.GroupNorm(1, 3))
    assert batch_norms(net) == [norm, affine]
    assert all(has_initial_statistics(part) for part in batch_norms(net))
    net(torch.randn(4, 3, 2, 2))
    assert not any(has_initial_statistics(part) for part in batch_norms(net))


def test_statistics_of_a_batch_are_those_of_one_training_step_with_momentum_one():
    norm = nn.BatchNorm2d(2).eval()
    x = torch.randn(4, 2, 3, 3) * torch.tensor([2.0, 5.0])[:, None, None] + 1
    with torch.no_grad():
        measure_on_batch(nn.Sequential(norm), x)
    assert torch.allclose(norm.running_mean, x.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(norm.running_var, x.var((0, 2, 3)), rtol=1e-5)
    assert (norm.training, norm.momentum) == (False, 0.1)


def test_a_single_image_measures_nothing():
    norm = nn.BatchNorm2d(2).eval()
    measure_on_batch(nn.Sequential(norm), torch.randn(1, 2, 3, 3))
    assert has_initial_statistics(norm)


def test_the_first_input_gives_mean_and_variance_with_a_floor():
    norm = nn.BatchNorm2d(2).eval()
    x = torch.stack([torch.randn(4, 3, 3) * 4, torch.full((4, 3, 3), 8.0)], 1)
    measure_on_first_input(norm)
    norm(x)
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    floor = 0.25 * (variance + mean.square()).mean()
    assert torch.allclose(norm.running_mean, mean)
    assert torch.allclose(norm.running_var, torch.stack([variance[0].clamp(min=floor), floor]))
    assert not norm._forward_pre_hooks


def test_without_an_input_the_hook_is_taken_away():
    norm = nn.BatchNorm2d(2).eval()
    measure_on_first_input(norm)()
    norm(torch.randn(2, 2, 3, 3))
    assert has_initial_statistics(norm)
