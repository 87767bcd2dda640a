import pickle
from multiprocessing import Semaphore

import optuna
from optuna.trial import TrialState

from hpo_utils import workers
from hpo_utils.config import as_dict, updated, with_target_weights
from hpo_utils.data import prepare_data
from hpo_utils.search_space import load_search_space
from hpo_utils.stopping import create_stop
from hpo_utils.workers import Search, run_trials


def test_a_search_reaches_another_process_with_the_weights_of_more_than_six_targets(make_config):
    cfg = make_config()
    data = prepare_data(cfg)
    cfg = updated(with_target_weights(cfg, 9), {"training.weight_target_8": 3.0})
    search = Search(cfg, load_search_space(cfg, 9), data, create_stop(cfg), queued_only=True)
    there = pickle.loads(pickle.dumps(search))
    assert as_dict(there.cfg) == as_dict(cfg)
    assert there.cfg.training.weight_target_8 == 3.0
    assert (there.space, there.data, there.stop, there.queued_only) == (
        search.space, data, search.stop, True,
    )  # fmt: skip


def test_who_comes_too_late_for_what_waited_trains_nothing_else(make_config, monkeypatch):
    cfg = make_config()
    data = prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    space = load_search_space(cfg, data.n_targets)
    search = Search(cfg, space, data, create_stop(cfg), queued_only=True)
    monkeypatch.setattr(workers, "nothing_left", lambda *_: False)  # it looked just before
    study, ended = optuna.create_study(), []
    run_trials(study, search, Semaphore(1), ended.append)
    assert [(trial.state, trial.params) for trial in study.trials] == [(TrialState.FAIL, {})]
    assert not ended
