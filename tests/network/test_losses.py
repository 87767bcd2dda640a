import pytest
import torch
from torch import nn

from hpo_utils.network.losses import WeightedMSELoss


def test_a_weighted_loss_by_hand():
    prediction = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    target = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    # (5*1 + 1*4 + 5*9 + 1*16) / 4
    assert WeightedMSELoss([5.0, 1.0])(prediction, target).item() == 17.5


def test_weights_of_one_are_plain_mse():
    prediction, target = torch.randn(7, 3), torch.randn(7, 3)
    weighted = WeightedMSELoss([1.0, 1.0, 1.0])(prediction, target)
    torch.testing.assert_close(weighted, nn.MSELoss()(prediction, target))


def test_a_weight_scales_its_targets_gradient_alone():
    prediction = torch.ones(1, 2, requires_grad=True)
    WeightedMSELoss([3.0, 1.0])(prediction, torch.zeros(1, 2)).backward()
    torch.testing.assert_close(prediction.grad, torch.tensor([[3.0, 1.0]]))


def test_weights_move_with_the_module():
    assert dict(WeightedMSELoss([1.0, 2.0]).named_buffers())["weights"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("weights", [[], [-1.0, 1.0], [0.0, 0.0]])
def test_useless_weights_are_rejected(weights):
    with pytest.raises(ValueError, match="weights must be non-negative and not all zero"):
        WeightedMSELoss(weights)
