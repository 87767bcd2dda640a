"""What is written beside the network must predict as it does, on inputs of any size and kind."""

import numpy as np
import onnxruntime
import pytest
import torch

from hpo_utils.base.errors import BundleError
from hpo_utils.baselines.components import sight_of
from hpo_utils.bundle.agreement import AGREE, _apart, check_written, raw_samples, why_not_onnx
from hpo_utils.bundle.bundle import predict, write_bundle
from hpo_utils.bundle.layout import describe_layout
from hpo_utils.bundle.onnx_file import write_onnx
from hpo_utils.bundle.onnx_prediction import input_type
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.scaling import Standardizer
from hpo_utils.network.models import create_network
from hpo_utils.training.record import environment

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(40, 2, 32)), RNG.uniform(size=(40, 2))
HELD = {
    "float32": X.astype(np.float32),
    "half precision": X.astype(np.float16),
    "counts": (1000 * X).astype(np.int16),
    "large": 1e20 * X,
    "small": 1e-20 * X,
    "one channel": X[:, 0],
    "an offset": 1e3 + X,
}
LOST = {
    "an offset of another size": 1e9 + X,
    "below float32": 1e-50 * X,
    "a clock": np.arange(40.0)[:, None, None] * 1e-3 + 1.7e9 + X * 1e-3,
    "counts beyond 2^24": (2**40 + 1000 * X).astype(np.int64),
    "unsigned counts": (2**40 + 1000 * X).astype(np.uint64),
    "one channel": 1e8 + X[:, 0] / 10,
}


def written(make_config, make_arrays, tmp_path, x, spoil=None):
    cfg = make_config(**make_arrays(x, T, **{"dataset.downsample_factor": 1}))
    data = prepare_data(cfg)
    torch.manual_seed(0)
    sample = torch.from_numpy(data.inputs("train")[:2])
    sight = sight_of(cfg, data)
    network = create_network(cfg, sample, data.target_scaler, data.physics, sight=sight)
    for parameter in network.parameters():  # far from what it starts with
        torch.nn.init.normal_(parameter, std=0.5)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    layout = describe_layout(data, cfg, 0.95, None)
    directory = tmp_path / "winner" / "bundle"
    directory.mkdir(parents=True)
    bundle = write_bundle(directory, cfg, layout, [state], sight, None, None, {}, environment())
    write_onnx(directory / "model.onnx", bundle.model, layout, x.dtype)
    if spoil is not None:
        spoil(state)
    return data, bundle, check_written(bundle, directory / "model.onnx", [(cfg, state)], None, data)


@pytest.mark.parametrize("name", HELD)
def test_what_float32_holds_is_predicted_alike(make_config, make_arrays, tmp_path, name):
    assert written(make_config, make_arrays, tmp_path, HELD[name])[2] is None


@pytest.mark.parametrize("name", LOST)
def test_what_float32_does_not_hold_is_taken_as_float64(make_config, make_arrays, tmp_path, name):
    data, bundle, why_not = written(make_config, make_arrays, tmp_path, LOST[name])
    assert why_not is None
    file, raw = bundle.directory / "model.onnx", raw_samples(data, np.arange(12))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert input_type(session) is np.float64
    expected = predict(bundle, raw, "cpu", accept_outliers=True).y
    found = session.run(["y"], {"x": raw.astype(np.float64)})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    said = why_not_onnx(file, raw, expected + 1, data.target_scaler, has_trees=False)
    assert f"it does not hold these inputs ({raw.dtype}) as the model does" in said


def test_a_bundle_of_other_weights_is_refused(make_config, make_arrays, tmp_path):
    def other(state):
        for value in state.values():
            value.add_(1)

    with pytest.raises(BundleError, match="must predict as the trainings that it is made of"):
        written(make_config, make_arrays, tmp_path, X, other)


@pytest.mark.parametrize("x", [X, X[:, 0], (1000 * X).astype(np.int32), 1e9 + X])
def test_without_its_source_the_magnitude_is_the_same(make_config, make_arrays, tmp_path, x):
    data = prepare_data(make_config(**make_arrays(x, T, **{"dataset.downsample_factor": 1})))
    rows = np.array([0, 3, 9])
    from_source = raw_samples(data, rows)
    assert from_source.dtype == x.dtype
    (tmp_path / "x.npy").unlink()
    np.testing.assert_allclose(raw_samples(data, rows), from_source, rtol=1e-4, atol=1e-3)


def test_a_tree_may_go_the_other_way_at_a_threshold_now_and_then():
    """A few small differences, such as a flipped branch makes, do not count; others do."""
    expected, std = RNG.normal(size=(16, 4)), Standardizer(np.zeros(4), np.ones(4))
    flipped = expected.copy()
    flipped[3, 1] += 0.05
    assert _apart(flipped, expected, std) > AGREE
    assert _apart(flipped, expected, std, has_trees=True) <= AGREE
    flipped[5, 2] += 0.2
    assert _apart(flipped, expected, std, has_trees=True) > AGREE
    assert _apart(expected + 0.02, expected, std, has_trees=True) > AGREE
