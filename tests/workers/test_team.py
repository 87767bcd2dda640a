import queue
import threading

import optuna
import pytest
import torch
from optuna.exceptions import StorageInternalError

from hpo_utils.base.errors import StudyError
from hpo_utils.training.stopping import create_stop
from hpo_utils.trials.search_space import SearchSpace
from hpo_utils.trials.storage import open_storage
from hpo_utils.workers.team import Job, Team
from hpo_utils.workers.worker import Search


class Sketch:
    """A worker that does its work at once, or dies at one of four moments."""

    def __init__(self, study, tickets, ended, name, dies):
        self.fate = dies
        if dies == "at its start":
            return
        while tickets.acquire(blocking=False):
            if dies == "before it asked":
                return
            trial = study.ask()
            if dies == "before it signed":
                return
            trial.set_user_attr("owner", {"host": "elsewhere", "pid": 1, "worker": name})
            if dies == "at work":
                return
            study.tell(trial, 0.5)
            ended.put(trial.number)

    def is_alive(self):
        return False

    def death(self):
        return self.fate

    def interrupt(self):
        pass

    def end(self):
        pass


def follow(cfg, fates, n_trials=4, n_workers=2):
    # not in memory, where Optuna never looks again at a trial that does not wait
    study = optuna.create_study(storage=open_storage(cfg))
    tickets, ended, fates = threading.Semaphore(n_trials), queue.Queue(), iter(fates)
    seen = []

    def start(index, name):
        return Sketch(study, tickets, ended, name, next(fates, None))

    with Team(study, cfg, n_trials, start, tickets, ended, seen.append) as team:
        team.follow(n_workers)
    assert not tickets.acquire(blocking=False)
    return [trial.state.name for trial in study.trials], len(seen)


@pytest.mark.parametrize(
    "fates",
    [
        [],
        ["at its start"],
        ["at work"],
        ["at work", "at work"],
        ["before it asked"],
        ["before it signed"],
        ["before it signed", "at work", "at its start"],
    ],
)
def test_the_number_of_trials_is_exact_however_workers_die(make_config, fates):
    states, n_seen = follow(make_config(), fates)
    unsigned = fates.count("before it signed")  # they wait, in case more trials are wanted
    assert sorted(states) == ["COMPLETE"] * 4 + ["WAITING"] * unsigned
    assert n_seen == 4


def test_workers_that_only_die_end_it(make_config):
    with pytest.raises(StudyError, match=r"3 died in a row, the last with at its start"):
        follow(make_config("study.max_consecutive_failures=1"), ["at its start"] * 50)


def test_a_storage_that_fails_between_two_trials_is_said_in_one_sentence(make_config, monkeypatch):
    def fail(_):
        raise StorageInternalError("the server closed the connection")

    monkeypatch.setattr("hpo_utils.workers.team.open_storage", fail)
    cfg, ended = make_config(), queue.Queue()
    search = Search(cfg, SearchSpace(()), None, create_stop(cfg))
    Job(search, "study", torch.get_num_threads(), {}).run("it", threading.Semaphore(1), ended)
    assert "must be usable, but there was the server closed the connection" in ended.get(timeout=0)
