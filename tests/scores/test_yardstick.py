import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import ConfigError
from hpo_utils.scores.yardstick import create_yardstick

NAMES = ["a", "b"]
Z_TRUE = torch.tensor([[0.0, 1.0], [2.0, 5.0], [4.0, 0.0]])
Z_PRED = torch.tensor([[1.0, 1.0], [2.0, 3.0], [4.0, 0.0]])


def score(**settings):
    cfg = load_config(**{f"evaluation.{key}": value for key, value in settings.items()})
    yardstick = create_yardstick(cfg, NAMES, Z_TRUE.numpy())
    return yardstick.name, float(yardstick(Z_PRED, Z_TRUE))


def test_known_scores():
    assert score() == ("validation MSE of standardised targets", pytest.approx((1 + 4) / 6))
    assert score(score="mae") == ("validation MAE of standardised targets", pytest.approx(3 / 6))
    r2 = np.mean([r2_score(Z_TRUE[:, k], Z_PRED[:, k]) for k in range(2)])
    assert score(score="r2") == ("validation 1 - mean R²", pytest.approx(1 - r2))


def test_one_target_alone():
    name, value = score(target="b")
    assert name == "validation MSE of standardised targets, b alone"
    assert value == pytest.approx(4 / 3)


def test_a_target_that_is_not_there_is_said():
    with pytest.raises(ConfigError, match="evaluation.target must be one of a, b, got 'c'"):
        score(target="c")


def test_r2_needs_targets_that_vary():
    cfg = load_config(**{"evaluation.score": "r2"})
    constant = np.array([[1.0, 2.0], [3.0, 2.0]], dtype=np.float32)
    with pytest.raises(ConfigError, match="vary in the validation part, but 'b' is constant"):
        create_yardstick(cfg, NAMES, constant)
    alone = load_config(**{"evaluation.score": "r2", "evaluation.target": "a"})
    assert create_yardstick(alone, NAMES, constant).target == 0


def test_a_part_without_a_value_of_what_is_scored_is_said():
    cfg = load_config(**{"evaluation.target": "b"})
    y = np.array([[1.0, np.nan], [2.0, np.nan]], np.float32)
    with pytest.raises(ConfigError, match="must have been measured in the .*, but 'b'"):
        create_yardstick(cfg, ["a", "b"], y)
    cfg.evaluation.target = None
    assert create_yardstick(cfg, ["a", "b"], y).target is None
