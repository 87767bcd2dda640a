import numpy as np
import pytest
import torch

from hpo_utils.base.config import updated
from hpo_utils.baselines.components import load_sight
from hpo_utils.baselines.fitted import RIDGE, fit_baselines
from hpo_utils.data.physics import Physics
from hpo_utils.data.preparation import prepare_data
from hpo_utils.network.models import create_network
from hpo_utils.training.batches import load_part

CPU = torch.device("cpu")


def begun(cfg, data, physics):
    """Return a network that starts at ridge regression, and the parts as it sees them."""
    parts = {part: load_part(data, part, cfg, CPU) for part in ("train", "val")}
    model = create_network(
        cfg, parts["train"].x, data.target_scaler, physics, sight=load_sight(data, 1)
    )
    for part in parts.values():
        part.look(model)
    model.begin_at_ridge(parts["train"].seen, parts["train"].z, data.groups("train"))
    return model.eval(), parts


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("shape", [(90, 2, 40), (90, 2, 24, 20)])
def test_at_first_it_is_the_ridge_regression(make_config, make_arrays, run_onnx, residual, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).cumsum(axis=2)
    arrays = make_arrays(x, x.reshape(90, -1)[:, :3] + rng.normal(size=(90, 3)))
    cfg = make_config(f"model.use_residual={residual}", **arrays)
    data = prepare_data(cfg)
    model, parts = begun(cfg, data, Physics())
    ridge = next(b.val_pred for b in fit_baselines(data) if b.name == RIDGE)
    known = data.target_scaler.transform(ridge)
    with torch.inference_mode():
        np.testing.assert_allclose(model(parts["val"].x), known, rtol=1e-4, atol=1e-5)
    found = run_onnx(model, parts["val"].x)
    np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-5)


def test_what_was_seen_before_gives_the_same(make_config):
    cfg = make_config()
    data = prepare_data(cfg)
    model, parts = begun(cfg, data, data.physics)
    with torch.inference_mode():
        x, seen = parts["val"].x, parts["val"].seen
        torch.testing.assert_close(model(x, seen), model(x))


def test_with_physics_it_starts_near_the_best_linear_answer(make_config):
    cfg = make_config()
    data = prepare_data(cfg)
    model, parts = begun(cfg, data, data.physics)
    with torch.inference_mode():
        z = model(parts["train"].x)
        y = z.numpy() * data.target_scaler.std + data.target_scaler.mean
    assert (z - parts["train"].z).square().mean() < 0.6
    np.testing.assert_allclose(y[:, 3:].sum(axis=1), 1.0, atol=1e-5)
    layer = model.output[0]
    inside = 0.5 * parts["train"].z.clamp(-0.5, 0.5)
    inside[:, 3:] = 0.0  # fractions at their means, which sum to one
    torch.testing.assert_close(layer(layer.inverse(inside)), inside, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kinds", [(True, False), (False, True)])
def test_each_part_may_stand_alone(make_config, kinds):
    linear, dense = kinds
    cfg = updated(make_config(), {"model.linear_start": linear, "model.use_views": dense})
    data = prepare_data(cfg)
    model, parts = begun(cfg, data, data.physics)
    assert (model.linear is not None, model.dense is not None) == kinds
    with torch.inference_mode():
        first = model(parts["val"].x)
    if not linear:  # the training mean
        torch.testing.assert_close(first, torch.zeros_like(first), atol=1e-5, rtol=0.0)
