import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution

from hpo_utils.study.retraining import SEED, complete_settings, settings_key, widened
from hpo_utils.trials.search_space import Parameter, SearchSpace, suggest_hyperparameters
from hpo_utils.winner.contenders import searched_in


def test_what_is_searched_on_condition_of_constraints_is_trained_again_as_it_was(make_config):
    cfg = make_config("model.constrain_outputs=false")
    hidden, outputs = IntDistribution(2, 8), CategoricalDistribution([True, False])
    space = SearchSpace((
        Parameter("model.constrain_outputs", outputs),
        Parameter("model.hidden", hidden, "model.constrain_outputs"),
    ))  # fmt: skip
    study = optuna.create_study()
    study.enqueue_trial(complete_settings(
        cfg, {"model.constrain_outputs": True, "model.hidden": 4}, 1
    ))  # fmt: skip
    again = suggest_hyperparameters(study.ask(), cfg, widened(space))
    assert (again.model.constrain_outputs, again.model.hidden) == (True, 4)


def test_what_a_change_leaves_no_condition_for_is_not_asked_for(make_config):
    hidden, outputs = IntDistribution(2, 8), CategoricalDistribution([True, False])
    space = widened(SearchSpace((
        Parameter("model.constrain_outputs", outputs),
        Parameter("model.hidden", hidden, "model.constrain_outputs"),
    )))  # fmt: skip
    settings = {SEED: 1, "model.constrain_outputs": True, "model.hidden": 4}
    assert searched_in(space, make_config(), settings) == settings
    free = {**settings, "model.constrain_outputs": False}
    assert searched_in(space, make_config(), free) == {SEED: 1, "model.constrain_outputs": False}


def test_settings_are_the_same_in_any_order():
    assert settings_key({"a": 1, "b": True}) == settings_key({"b": True, "a": 1})
    assert settings_key({"a": 1, "b": True}) != settings_key({"a": 1, "b": False})
