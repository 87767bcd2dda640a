import numpy as np
import pytest
import torch
from torch import nn

from hpo_utils.insight.sensitivity import channel_losses, sensitivity


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


def test_a_channel_that_is_needed_is_missed_and_another_is_not():
    """Dealt out anew, a channel that is the target leaves twice the variance as its error."""
    torch.manual_seed(0)
    x = torch.randn(500, 3, 1)
    z = torch.cat([x[:, 0], x[:, 1], torch.ones(500, 1)], 1)  # the last one does not vary
    weights = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 0]])
    members = [linear(weights), linear(weights)]
    for member in members:
        member[1].bias.data.zero_()
    lost = channel_losses(members, x, z, 64)
    np.testing.assert_allclose(lost[:2], [[2, 0, 0], [0, 2, 0]], atol=0.2)
    assert np.isnan(lost[2]).all()
    assert (lost[0, 1:] == 0).all()
