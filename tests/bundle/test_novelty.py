import numpy as np
import pytest

from hpo_utils.base.config import load_config
from hpo_utils.bundle.novelty import KnownRange
from hpo_utils.data.preparation import prepare_data, with_source

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("novelty")
    cfg = load_config("params/demo.yaml", [f"paths.outputs_root={root}"])
    return prepare_data(with_source(cfg))


def test_nothing_of_the_test_part_is_new(demo):
    known = KnownRange.of(demo.inputs("train"))
    assert not known.leaves_out(demo.inputs("train")).any()
    assert not known.leaves_out(demo.inputs("test")).any()


@pytest.mark.parametrize(
    "change",
    [lambda x: 2 * x, lambda x: x / 2, lambda x: x + 1, lambda x: 0 * x, lambda x: -x,
     lambda x: x + RNG.normal(size=x.shape)],
    ids=["twice the gain", "half the gain", "offset", "dead", "inverted", "noise"],
)  # fmt: skip
def test_what_is_wrong_with_a_sensor_is_new(demo, change):
    known = KnownRange.of(demo.inputs("train"))
    assert known.leaves_out(change(np.array(demo.inputs("test")))).all()


def test_a_statistic_that_never_varied_may_vary_a_little():
    known = KnownRange.of(np.ones((5, 1, 8)))
    near, far = np.full((1, 1, 8), 1.05), np.full((1, 1, 8), 1.2)
    assert known.leaves_out(np.concatenate([near, far])).tolist() == [False, True]
