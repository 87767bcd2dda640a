import numpy as np
import pytest
import torch
from torch import nn

from hpo_utils.sensitivity import channel_shares, sensitivity


def linear(weights):
    """A network whose gradients are its weights, (n_targets, n_channels * L)."""
    layer = nn.Linear(weights.shape[1], weights.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weights)
    return nn.Sequential(nn.Flatten(), layer)


def test_the_gradient_of_a_linear_network_is_its_weights():
    weights = torch.randn(3, 2 * 5)
    found = sensitivity([linear(weights)], torch.randn(20, 2, 5))  # 20: not a multiple of a batch
    np.testing.assert_allclose(found, weights.abs().reshape(3, 2, 5), rtol=1e-5)


def test_members_are_averaged():
    one, other = torch.ones(1, 4), 3 * torch.ones(1, 4)
    found = sensitivity([linear(one), linear(other)], torch.randn(2, 1, 2, 2))
    np.testing.assert_allclose(found, 2 * np.ones((1, 1, 2, 2)), rtol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_samples_do_not_disturb_each_other_and_the_mode_is_kept(training):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(),
                        nn.Linear(4 * 6, 2)).train(training)  # fmt: skip
    x = torch.randn(5, 2, 8)
    together = sensitivity([net], x)
    alone = np.mean([sensitivity([net], x[i : i + 1]) for i in range(5)], axis=0)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-7)
    assert net.training == training
    assert all(p.grad is None for p in net.parameters())


def test_shares_of_the_channels_sum_to_one():
    maps = np.zeros((2, 3, 4))
    maps[0, 1] = 2.0
    maps[0, 2] = 6.0
    np.testing.assert_allclose(channel_shares(maps), [[0, 0.25, 0.75], [1 / 3, 1 / 3, 1 / 3]])
