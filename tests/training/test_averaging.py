import pytest
from torch import nn

from hpo_utils.training.train import create_average


def test_the_kept_weights_are_the_moving_average_of_the_steps(make_config):
    """By hand for one weight that every step raises by one."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    cfg = make_config("training.averaging_epochs=2", "training.batch_size=2")
    average = create_average(model, cfg, n_samples=10)  # a window of ten steps
    expected = 0.0
    for step in range(1, 200):
        nn.init.constant_(model.weight, step)
        average.update()
        share = 1.0 if step == 1 else max(1 / 10, 9 / (10 + step - 1))
        expected += share * (step - expected)
    assert average.model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert average.model.weight.item() == pytest.approx(199 - 9, abs=0.1)  # nine steps behind
    cfg = make_config("training.averaging_epochs=0")
    assert create_average(model, cfg, 10) is None
