"""A bundle of networks, of baselines or of both predicts the same in three ways."""

import numpy as np
import onnxruntime
import pytest
import torch

from hpo_utils.__main__ import main
from hpo_utils.baselines import fitted
from hpo_utils.baselines.components import sight_of
from hpo_utils.baselines.fitted import (
    BOOSTING,
    FOREST,
    PLS,
    PROCESS,
    RIDGE,
    load_models,
    predict_in_units,
)
from hpo_utils.baselines.take_home import mixed
from hpo_utils.bundle.bundle import load_bundle, predict, write_bundle
from hpo_utils.bundle.layout import describe_layout
from hpo_utils.bundle.members import predict_samples
from hpo_utils.bundle.onnx_file import write_onnx
from hpo_utils.data.preparation import prepare_data
from hpo_utils.network.models import create_network
from hpo_utils.scores.skill import NETWORK
from hpo_utils.training.record import environment

KINDS = {
    "a network": {NETWORK: [1.0, 1.0, 1.0]},
    "ridge": {RIDGE: [1.0, 1.0, 1.0]},
    "a process": {PROCESS: [1.0, 1.0, 1.0]},
    "trees": {FOREST: [0.5, 1.0, 0.0], BOOSTING: [0.5, 0.0, 1.0]},
    "all": {NETWORK: [0.5, 0.2, 0.0], PLS: [0.25, 0.4, 1.0], FOREST: [0.25, 0.4, 0.0]},
}


@pytest.mark.parametrize("shape", [(160, 2, 40), (160, 2, 20, 24), (160, 30)])
def test_pytorch_onnx_and_the_command_line_agree(
    make_config, make_arrays, tmp_path, monkeypatch, shape
):
    monkeypatch.setattr(fitted, "MIN_BOOSTED", 100)
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, size=shape)
    parts = rng.dirichlet(np.ones(2), 160)
    arrays = make_arrays(x, np.column_stack([parts, x.reshape(160, -1)[:, :5].sum(axis=1)]))
    settings = {"dataset.fractions": ["target 0", "target 1"], "dataset.downsample_factor": 3}
    cfg = make_config(**{**arrays, **settings})
    data = prepare_data(cfg)
    sight, baselines, states = sight_of(cfg, data), load_models(data), random_states(cfg, data)
    rows = np.arange(20)
    networks = predict_samples([(cfg, state) for state in states], data, rows)
    others = predict_in_units(baselines, data, data.inputs("train")[rows])
    raw = x[data.sample_numbers("train")[rows]].astype(np.float32)
    np.save(tmp_path / "x.npy", raw)
    for kind, shares in KINDS.items():
        layout = describe_layout(data, cfg, 0.95, None, shares)
        directory = tmp_path / kind
        directory.mkdir()
        write_bundle(directory, cfg, layout, states, sight, baselines, None, {}, environment())
        bundle = load_bundle(directory)
        assert len(bundle.model.members) == 2 * (NETWORK in shares), kind
        known = mixed(shares, networks, others, data.physics).mean(axis=0)
        alike(bundle, raw, known, data.target_scaler.std, tmp_path)


def random_states(cfg, data):
    """Return the weights of two networks that are far from what they start with."""
    torch.manual_seed(0)
    sample, states = torch.from_numpy(data.inputs("train")[:2]), []
    for _ in range(2):
        network = create_network(
            cfg, sample, data.target_scaler, data.physics, sight=sight_of(cfg, data)
        )
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        states.append({name: value.clone() for name, value in network.state_dict().items()})
    return states


def alike(bundle, raw, known, scale, folder):
    """Assert that all three ways predict the ``known`` values, in standard deviations."""
    found = predict(bundle, raw, accept_outliers=True).y
    np.testing.assert_allclose(found / scale, known / scale, atol=1e-3)
    np.testing.assert_allclose(found[:, :2].sum(axis=1), 1.0, atol=1e-5)
    file = bundle.directory / "model.onnx"
    write_onnx(file, bundle.model, bundle.layout, np.dtype(np.float32))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    by_onnx = session.run(["y"], {"x": raw})[0]
    np.testing.assert_allclose(by_onnx / scale, found / scale, atol=1e-3)
    out = folder / "y.npy"
    command = ["predict", str(bundle.directory), str(folder / "x.npy"), "--out", str(out)]
    assert main([*command, "--accept-outliers"]) == 0
    np.testing.assert_allclose(np.load(out), found, rtol=1e-5, atol=1e-6)
