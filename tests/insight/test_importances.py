import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from hpo_utils.insight.importances import interactions, parameter_importances, position

SPACE = {name: FloatDistribution(0.0, 1.0) for name in ("a", "b", "c")}


def study_of(score, n=60):
    rng = np.random.default_rng(0)
    study = optuna.create_study()
    for _ in range(n):
        params = {name: float(value) for name, value in zip("abc", rng.random(3), strict=True)}
        study.add_trial(
            create_trial(params=params, distributions=SPACE, value=float(score(**params)))
        )
    return study


def test_importances_find_the_parameter_that_decides():
    found = parameter_importances(study_of(lambda a, b, c: 1 + a + 0.01 * b))
    assert found.index[0] == "a"
    assert found["fanova"].iloc[0] > 0.9
    for name in ("fanova", "ped_anova"):
        assert found[name].between(found[f"{name}_low"], found[f"{name}_high"]).all()


def test_importances_are_surer_with_more_trials():
    def width(n):
        found = parameter_importances(study_of(lambda a, b, c: 1 + a + 0.7 * b, n))
        return (found["fanova_high"] - found["fanova_low"]).mean()

    assert width(150) < width(12)


def test_importances_of_too_few_trials_are_empty():
    assert parameter_importances(study_of(lambda a, b, c: 1 + a, 3)).empty


@pytest.mark.parametrize("lacking", range(6))  # some are not drawn in the first resample
def test_a_parameter_that_one_trial_lacks_is_never_ranked(lacking):
    study = optuna.create_study()
    for i in range(6):
        params = {"a": i / 6} | ({} if i == lacking else {"b": 1 - i / 6})
        space = {name: SPACE[name] for name in params}
        study.add_trial(create_trial(params=params, distributions=space, value=float(i)))
    assert list(parameter_importances(study).index) == ["a"]


def test_trials_of_few_values_can_be_drawn_so_that_nothing_tells_them_apart():
    study, space = optuna.create_study(), {"a": CategoricalDistribution([True, False])}
    for choice in (True, False, True, True, True):
        study.add_trial(create_trial(
            params={"a": choice}, distributions=space, value=1.0 + choice
        ))  # fmt: skip
    found = parameter_importances(study)
    assert found.loc["a", "fanova_high"] == 1.0
    assert found.loc["a", "fanova_low"] == 0.0
    same = optuna.create_study()
    same.add_trials([study.trials[0]] * 5)
    assert (parameter_importances(same).filter(like="fanova") == 0.0).all(axis=None)


def test_a_pair_that_acts_together_comes_first():
    found = interactions(study_of(lambda a, b, c: np.exp(4 * (a - 0.5) * (b - 0.5) + c)).trials)
    assert set(found.index[0]) == {"a", "b"}
    assert found["share"].iloc[0] > 5 * found["share"].iloc[1]
    assert found["share"].iloc[0] > 2 * found["by_chance"].iloc[0]


def test_effects_that_add_up_are_no_interaction():
    found = interactions(study_of(lambda a, b, c: np.exp(a + b + c), 150).trials)
    assert found["share"].max() < 0.03


def test_pairs_in_noise_are_rarely_stronger_than_chance():
    stronger = 0
    rng = np.random.default_rng(0)
    for _ in range(12):
        found = interactions(study_of(lambda a, b, c: np.exp(rng.normal()), 25).trials)
        stronger += found["share"].iloc[0] > found["by_chance"].iloc[0]
    assert stronger <= 4  # a tenth is expected


def test_interactions_of_too_few_trials_are_empty():
    assert interactions(study_of(lambda a, b, c: 1 + a, 19).trials).empty
    assert interactions([]).empty


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (FloatDistribution(1e-4, 1e-2, log=True), 1e-3, 0.5),
        (FloatDistribution(2.0, 4.0), 2.5, 0.25),
        (CategoricalDistribution(["a", "b", "c"]), "b", 0.5),
        (CategoricalDistribution(["a"]), "a", 0.0),
    ],
)
def test_where_in_its_range_a_value_stands(distribution, value, expected):
    assert position(distribution, value) == pytest.approx(expected)
