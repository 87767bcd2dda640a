import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hpo_utils.network.models import create_model
from hpo_utils.training.timing import Effort, matrix_peak, training_flops


@pytest.mark.parametrize("shape", [(2, 2, 64, 128), (2, 3, 100), (2, 1, 33, 17)])
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["use_residual=false"],
        ["use_residual=false", "depth=4", "kernel_size=5"],
        ["use_statistics=true"],
        ["use_positions=true"],
    ],
)
def test_operations_are_those_that_pytorch_counts(make_config, shape, overrides):
    x = torch.randn(shape)
    model = create_model(make_config(*(f"model.{item}" for item in overrides)), x, 5)
    with FlopCounterMode(display=False) as counter:
        model.train()(x).sum().backward()
    assert training_flops(model, x) == counter.get_total_flops() // len(x)


def test_effort_adds_up_also_when_a_block_fails():
    effort = Effort()

    def fail():
        with effort.spend("train"):
            time.sleep(0.01)
            raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fail()
    assert 0.02 <= effort.seconds["train"] < 1.0
    assert effort.seconds["files"] == 0.0


def test_utilisation_is_the_work_over_time_and_peak():
    effort = Effort(flops_per_epoch=30, peak=10.0, epochs=4)
    effort.seconds["train"] = 24.0
    assert effort.utilisation == pytest.approx(0.5)
    assert effort.summary()["utilisation"] == 0.5
    assert Effort().summary()["utilisation"] is None


def test_the_peak_is_plausible_and_measured_once():
    threads = torch.get_num_threads()
    started = time.perf_counter()
    found = matrix_peak(torch.device("cpu"), torch.float32, threads)
    first = time.perf_counter() - started
    assert 1e9 < found < 1e14
    started = time.perf_counter()
    assert matrix_peak(torch.device("cpu"), torch.float32, threads) == found
    assert time.perf_counter() - started < first + 0.01
