import copy

import pytest
import torch

from hpo_utils.network.models import create_model
from hpo_utils.training import optimizer as optimizer_module
from hpo_utils.training.optimizer import FlatWeights


def image_model(make_config):
    torch.manual_seed(0)
    x = torch.randn(4, 2, 16, 24)
    model = create_model(make_config("model.hidden=8", "model.dropout_rate=0"), x, 3)
    return model.to(memory_format=torch.channels_last), x


def test_the_model_keeps_its_values_and_layout(make_config):
    model, _ = image_model(make_config)
    before, strides = copy.deepcopy(model.state_dict()), [p.stride() for p in model.parameters()]
    weights = FlatWeights(model)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [p.stride() for p in model.parameters()] == strides
    assert len(weights.trained) == sum(p.numel() for p in model.parameters())
    n_statistics = sum(b.numel() for b in model.buffers() if b.is_floating_point())
    assert len(weights.values) == len(weights.trained) + n_statistics


@pytest.mark.parametrize("wide", [1, 500, 2**16])
def test_the_tensor_and_the_model_change_together(make_config, monkeypatch, wide):
    monkeypatch.setattr(optimizer_module, "WIDE_VALUES", wide)
    model, x = image_model(make_config)
    weights = FlatWeights(model)
    weights.values.fill_(0.5)
    assert all((p == 0.5).all() for p in model.parameters())
    model(x).sum().backward()
    assert weights.values.min() < 0.5  # running statistics moved
    found = torch.cat([p.grad.movedim(1, -1).flatten() if p.ndim == 4 else p.grad.flatten()
                       for p in model.parameters()])  # fmt: skip
    torch.testing.assert_close(torch.cat(weights.gradients()), found, rtol=0, atol=0)
    parts = weights.split(weights.trained)
    assert [len(part) for part in parts] == [len(each) for each in weights.gradients()]
    assert len(parts) == {1: len(list(model.parameters())), 2**16: 1}.get(wide, len(parts))


@pytest.mark.parametrize("wide", [1, 500, 2**16])
def test_gradients_do_not_outlive_a_step(make_config, monkeypatch, wide):
    monkeypatch.setattr(optimizer_module, "WIDE_VALUES", wide)
    model, x = image_model(make_config)
    weights, found = FlatWeights(model.eval()), []
    for _ in range(2):
        weights.zero_gradients()
        model(x).sum().backward()
        found.append(torch.cat(weights.gradients()))
    torch.testing.assert_close(*found, rtol=0, atol=0)
