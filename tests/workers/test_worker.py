import pickle
from dataclasses import dataclass
from multiprocessing import Semaphore

import optuna
from optuna.trial import TrialState

from hpo_utils.base.config import as_dict, updated, with_target_weights
from hpo_utils.base.paths import resolve
from hpo_utils.data.preparation import prepare_data
from hpo_utils.training.directory import read_trial_info
from hpo_utils.training.stopping import Stop, create_stop
from hpo_utils.trials.search_space import load_search_space
from hpo_utils.workers import worker
from hpo_utils.workers.worker import Search, run_trials


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


@dataclass(frozen=True)
class Rival(Stop):
    """What happens between two steps of a trial: another process finishes it."""

    study: optuna.Study | None = None

    def check_deadline(self):
        (trial,) = self.study.get_trials(states=(TrialState.RUNNING,)) or [None]
        if trial is not None and trial.number == 0:
            self.study.tell(trial.number, 0.5)
            root = self.file.parents[1]
            (root / trial.user_attrs["output_dir"] / "metrics.json").write_text("theirs")


def test_a_trial_that_another_process_finished_meanwhile_is_left_to_it(make_config):
    cfg = make_config("training.epochs=1")
    data = prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    study, ended = optuna.create_study(), []
    stop = Rival(**vars(create_stop(cfg)), study=study)
    search = Search(cfg, load_search_space(cfg, data.n_targets), data, stop)
    run_trials(study, search, Semaphore(2), ended.append)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert [trial.number for trial in ended] == [1]
    assert study.trials[0].value == 0.5
    directory = resolve(cfg.paths.outputs_root) / study.trials[0].user_attrs["output_dir"]
    assert (directory / "metrics.json").read_text() == "theirs"
    assert read_trial_info(directory)["state"] == "RUNNING"  # as they left it


def test_who_comes_too_late_for_what_waited_trains_nothing_else(make_config, monkeypatch):
    cfg = make_config()
    data = prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    space = load_search_space(cfg, data.n_targets)
    search = Search(cfg, space, data, create_stop(cfg), queued_only=True)
    monkeypatch.setattr(worker, "nothing_left", lambda *_: False)  # it looked just before
    study, ended = optuna.create_study(), []
    run_trials(study, search, Semaphore(1), ended.append)
    assert [(trial.state, trial.params) for trial in study.trials] == [(TrialState.FAIL, {})]
    assert not ended
