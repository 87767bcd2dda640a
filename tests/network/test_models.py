import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import ConfigError
from hpo_utils.base.paths import project_root
from hpo_utils.data.physics import Physics
from hpo_utils.data.scaling import Standardizer
from hpo_utils.network.constraints import PhysicalOutput
from hpo_utils.network.convolutions import Conv1d, Conv2d
from hpo_utils.network.models import (
    PlainCNN,
    Positions,
    ResidualCNN,
    create_model,
    create_network,
    evaluation_batch,
    predict,
)


def config(residual=True, hidden=8, dropout=0.0):
    return load_config(**{"model.use_residual": residual, "model.hidden": hidden,
                          "model.dropout_rate": dropout})  # fmt: skip


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("shape", [(3, 1, 5), (3, 8, 64), (3, 2, 16, 24), (3, 1, 7, 5)])
def test_the_network_follows_the_shape_of_the_data(residual, shape):
    model = create_model(config(residual), torch.zeros(shape), out_dim=6)
    kinds = {type(layer) for layer in model.modules()}
    assert (Conv2d if len(shape) == 4 else Conv1d) in kinds
    assert (Conv1d if len(shape) == 4 else Conv2d) not in kinds
    assert model(torch.randn(shape)).shape == (3, 6)


def test_the_residual_network_is_the_documented_one():
    model = create_model(config(hidden=16), torch.zeros(1, 2, 64, 64), out_dim=6)
    assert isinstance(model, ResidualCNN)
    stem = model.stem[0]
    assert (stem.kernel_size, stem.stride, stem.out_channels) == ((7, 7), (2, 2), 16)
    assert len(model.stages) == 4
    x = torch.randn(1, 2, 64, 64)
    assert model.eval().stages(model.stem(x)).shape == (1, 64, 2, 2)  # 4 x hidden, 64 / 32
    assert sum(isinstance(layer, nn.Linear) for layer in model.head) == 2


def test_the_plain_network_is_the_documented_one():
    model = create_model(config(residual=False), torch.zeros(1, 2, 64, 64), out_dim=6)
    assert isinstance(model, PlainCNN)
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == 2
    assert sum(isinstance(layer, nn.Linear) for layer in model.modules()) == 1


def test_a_shortcut_passes_its_input_on():
    """With the body's last normalisation at zero a block of equal widths is ReLU of its input."""
    model = create_model(config(), torch.zeros(1, 2, 32), out_dim=1)
    block = model.stages[0]
    nn.init.zeros_(block.body[-1].weight)
    x = torch.randn(4, 8, 10)
    torch.testing.assert_close(block(x), torch.relu(x))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 20), (4, 3, 8, 10)])
def test_the_head_sees_the_levels_that_convolutions_lose(residual, shape):
    cfg = config(residual)
    cfg.model.use_statistics = True
    x = torch.randn(shape) * 3 + 1
    model = create_model(cfg, x, out_dim=2)
    seen = {}
    model.statistics.register_forward_hook(lambda _, args, out: seen.update(out=out))
    assert model.eval()(x).shape == (4, 2)
    flat = x.flatten(2).numpy()
    expected = [flat.mean(2), flat.std(2), flat.min(2), flat.max(2)]
    np.testing.assert_allclose(seen["out"].detach(), np.concatenate(expected, 1), rtol=1e-4)
    model.train()(x).square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4)])
def test_positions_are_channels_of_variance_one(shape):
    x = torch.randn(shape)
    placed = Positions()(x)
    torch.testing.assert_close(placed[:, :3], x)
    assert placed.shape[1] == 3 + len(shape) - 2
    for axis in range(2, len(shape)):
        position = placed[:, 1 + axis]
        steps = position.diff(dim=axis - 1)  # a channel of its own axis rises evenly
        torch.testing.assert_close(steps, torch.full_like(steps, 2 * 3**0.5 / (shape[axis] - 1)))
        assert position.mean().abs() < 1e-6


@pytest.mark.parametrize("shape", [(6, 2, 40), (6, 1, 3), (6, 2, 16, 20)])
@pytest.mark.parametrize(("depth", "kernel_size"), [(1, 1), (2, 3), (5, 7)])
def test_the_plain_network_has_as_many_convolutions_of_the_size_asked(
    shape, depth, kernel_size, run_onnx
):
    cfg = config(residual=False)
    cfg.model.depth, cfg.model.kernel_size = depth, kernel_size
    x = torch.randn(shape)
    model = create_model(cfg, x, out_dim=3).eval()
    sizes = [m.kernel_size[0] for m in model.modules() if isinstance(m, Conv1d | Conv2d)]
    assert sizes == [kernel_size] * depth
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(model, x), model(x), atol=1e-4)


def test_a_kernel_is_odd():
    with pytest.raises(ConfigError, match="model.kernel_size must be odd, got 4"):
        load_config(**{"model.kernel_size": 4})


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("shape", [(6, 2, 40), (6, 2, 16, 20)])
def test_onnx_knows_the_positions(residual, shape, run_onnx):
    cfg = config(residual)
    cfg.model.use_positions = True
    x = torch.randn(shape)
    model = create_model(cfg, x, out_dim=3).eval()
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(model, x), model(x), atol=1e-4)


def test_with_positions_a_network_learns_when_an_echo_comes_back():
    """Pooled over all places, an echo is the same wherever it is."""
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(256, generator=generator)
    grid = torch.arange(128) / 128
    x = torch.exp(-(((grid - 0.1 - 0.8 * places[:, None]) / 0.02) ** 2))[:, None]
    errors = {}
    for use_positions in (False, True):
        torch.manual_seed(0)
        cfg = config(residual=False)
        cfg.model.use_positions = use_positions
        model = create_model(cfg, x, out_dim=1)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(15):
            for rows in torch.randperm(192, generator=generator).split(16):
                optimizer.zero_grad()
                (model(x[rows])[:, 0] - places[rows]).square().mean().backward()
                optimizer.step()
        found = predict(model, x[192:], 64)[:, 0]
        errors[use_positions] = float((found - places[192:]).square().mean().sqrt())
    assert errors[True] < 0.5 * errors[False]


def test_dropout_acts_in_training_only():
    x = torch.randn(4, 2, 32)
    model = create_model(config(dropout=0.5), x, out_dim=3)
    torch.manual_seed(0)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("residual", [True, False])
def test_every_weight_gets_a_gradient(residual):
    x = torch.randn(4, 2, 32, 32)
    model = create_model(config(residual), x, out_dim=3)
    model(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_other_shapes_are_said():
    with pytest.raises(ConfigError, match=r"got \(3, 4\)"):
        create_model(config(), torch.zeros(3, 4), out_dim=1)


def test_evaluation_takes_as_many_samples_as_fit_but_never_fewer_than_training():
    cfg = load_config(**{"model.hidden": 128, "training.batch_size": 2})
    assert evaluation_batch(cfg, torch.zeros(1, 2, 1).expand(1, 2, 1400 * 2500)) == 2
    assert evaluation_batch(cfg, torch.zeros(1, 2, 64)) == 2**24 // (64 * 128)


def test_the_size_of_the_pieces_does_not_matter_to_a_prediction():
    x = torch.randn(20, 2, 32)
    model = create_model(config(dropout=0.5), x, out_dim=3)
    torch.testing.assert_close(predict(model, x, 20), predict(model, x, 7))


def test_a_prediction_that_does_not_fit_is_made_in_smaller_pieces():
    x = torch.randn(20, 2, 32)
    model = create_model(config(), x, out_dim=3)
    expected, sizes = predict(model, x, 20), []

    def need_memory(_, inputs):
        sizes.append(len(inputs[0]))
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(need_memory)
    limit = 4
    torch.testing.assert_close(predict(model, x, 16), expected)
    assert sizes == [16, 8, 4, 4, 4, 4, 4]
    limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        predict(model, x, 16)


@pytest.mark.parametrize(("physics", "constrain", "kept"), [
    (Physics(), True, False), (Physics((), (0,)), True, True), (Physics((), (0,)), False, False),
])  # fmt: skip
def test_the_layer_of_physics_is_there_if_wanted(physics, constrain, kept):
    cfg = load_config(**{"model.constrain_outputs": constrain})
    scaler = Standardizer(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    network = create_network(cfg, torch.zeros(2, 1, 16), scaler, physics)
    assert any(isinstance(layer, PhysicalOutput) for layer in network.modules()) is kept
    assert network.eval()(torch.zeros(2, 1, 16)).shape == (2, 2)


@pytest.mark.parametrize("residual", [True, False])
def test_the_networks_compute_what_the_plain_ones_do(residual):
    """Pooling before ReLU and writing in place change neither outputs nor gradients."""
    path = project_root() / "benchmarks" / "plain_reference.py"
    spec = importlib.util.spec_from_file_location("plain_reference", path)
    plain_reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain_reference)
    cfg = config(residual)
    torch.manual_seed(0)
    x = torch.randn(4, 2, 33, 47)
    ours = create_model(cfg, x, 3)
    plain = plain_reference.create_model(cfg, x, 3, torch.device("cpu"))
    plain.load_state_dict(ours.state_dict())
    outputs = [model.train()(x) for model in (ours, plain)]
    torch.testing.assert_close(*outputs)
    for out in outputs:
        out.square().sum().backward()
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
