import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace

from hpo_utils.trials.sampler import NumberedTPESampler, create_sampler, group_settings


def value(trial):
    x = trial.suggest_float("x", -1, 1)
    if trial.suggest_categorical("curved", [True, False]):
        return x**2 + trial.suggest_float("a", 0, 1) * trial.suggest_float("b", 0, 1)
    return abs(x)


def search(study, n_trials, seed=0):
    study.sampler = NumberedTPESampler(seed, 3)
    study.optimize(value, n_trials=n_trials)
    return [trial.params for trial in study.trials]


def test_a_study_in_pieces_is_the_study_in_one():
    whole, pieces = optuna.create_study(), optuna.create_study()
    wanted = search(whole, 20)
    for n_trials in (2, 1, 7, 10):
        found = search(pieces, n_trials)
    assert found == wanted
    assert len({str(params) for params in wanted}) == 20


def test_another_seed_is_another_study():
    assert search(optuna.create_study(), 4, 0) != search(optuna.create_study(), 4, 1)


def test_what_is_sampled_does_not_depend_on_what_was_sampled_before():
    """A trial that died between two suggestions gets the second as it would have."""
    studies = [optuna.create_study(sampler=NumberedTPESampler(0, 3)) for _ in range(2)]
    one, other = (study.ask() for study in studies)
    one.suggest_float("x", 0, 1)
    assert one.suggest_float("y", 0, 1) == other.suggest_float("y", 0, 1)


def test_it_learns():
    study = optuna.create_study(sampler=NumberedTPESampler(0, 10))
    study.optimize(lambda trial: trial.suggest_float("x", -10, 10) ** 2, n_trials=60)
    early, late = ([abs(t.params["x"]) for t in study.trials[part]] for part in
                   (slice(10), slice(40, 60)))  # fmt: skip
    assert sum(late) / 20 < sum(early) / 10 / 2


@pytest.mark.parametrize("seed", [0, 7])
def test_it_is_made_of_the_settings(make_config, seed):
    cfg = make_config(f"study.seed={seed}", "study.n_startup_trials=3")
    study = optuna.create_study(sampler=create_sampler(cfg))
    study.optimize(value, n_trials=5)
    assert [trial.params for trial in study.trials] == search(optuna.create_study(), 5, seed)


def test_the_groups_are_those_of_optuna():
    """And so are the draws: the same seed finds what its ``group=True`` finds."""
    study = optuna.create_study(sampler=NumberedTPESampler(0, 3))

    def conditional(trial):
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        if kind != "a":
            trial.suggest_float("not_a", 0, 1)
        if kind != "b":
            trial.suggest_int("not_b", 1, 9)
        if kind == "c":
            trial.suggest_float("one_value", 1, 1)
        return trial.suggest_float("x", -1, 1) ** 2

    study.optimize(conditional, n_trials=25)
    wanted = _GroupDecomposedSearchSpace(include_pruned=True).calculate(study).search_spaces
    varied = [{n: d for n, d in space.items() if not d.single()} for space in wanted]
    groups = group_settings(study)
    assert groups == [space for space in varied if space]
    assert len(groups) > 2

    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        optunas = TPESampler(n_startup_trials=3, multivariate=True, group=True, seed=5)
    ours = NumberedTPESampler(0, 3)
    ours._create = lambda *_: TPESampler(n_startup_trials=3, multivariate=True, seed=5)
    found = []
    for sampler in (ours, optunas):
        trial = study.ask()
        frozen = study.trials[trial.number]
        sampler.before_trial(study, frozen)
        space = sampler.infer_relative_search_space(study, frozen)
        found.append(sampler.sample_relative(study, frozen, space))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert found[0] == found[1]
