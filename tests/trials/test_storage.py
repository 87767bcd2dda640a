import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import optuna
import pytest
from sqlalchemy import event

from hpo_utils.base.errors import StudyError
from hpo_utils.trials.storage import (
    create_pruner,
    enqueue,
    enqueued_params,
    open_storage,
    stored_names,
)


def test_the_default_database_lies_in_the_outputs(make_config, tmp_path):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    open_storage(make_config())
    assert (tmp_path / "runs" / "optuna" / "study.db").is_file()
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR  # also in 04, which runs nothing


def test_a_file_that_is_no_database_is_named_and_left_alone(make_config, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("not a database\n" * 100)
    with pytest.raises(StudyError, match=r"got sqlite:.*notes.txt: .* is not a database; name"):
        open_storage(make_config(**{"study.storage": f"sqlite:///{file}"}))
    assert file.read_text() == "not a database\n" * 100


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_study_may_live_in_memory(make_config, url):
    storage = open_storage(make_config(**{"study.storage": url}))
    study = optuna.create_study(storage=storage)
    study.tell(study.ask(), 1.0)
    assert study.best_value == 1.0


def test_a_creation_that_was_killed_is_completed(make_config, tmp_path):
    file = tmp_path / "half.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name VARCHAR(512) NOT NULL)"
        )
    storage = open_storage(make_config(**{"study.storage": f"sqlite:///{file}"}))
    assert optuna.create_study(storage=storage).trials == []


KILLED = """
import os, signal, sqlite3, sys
writer = sqlite3.connect(sys.argv[1], isolation_level=None)
writer.execute("PRAGMA cache_size = 1")  # so that pages are written before the end
writer.execute("BEGIN IMMEDIATE")
writer.execute("UPDATE studies SET study_name = 'half done'")
writer.executemany(
    "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (1, ?, ?)",
    ((str(i), '"' + 1000 * "x" + '"') for i in range(1000)),
)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_write_that_was_killed_is_rolled_back(make_config, tmp_path):
    cfg = make_config()
    optuna.create_study(storage=open_storage(cfg), study_name="whole")
    database = tmp_path / "runs" / "optuna" / "study.db"
    subprocess.run([sys.executable, "-c", KILLED, str(database)])
    assert database.with_name("study.db-journal").stat().st_size > 0
    study = optuna.load_study(study_name="whole", storage=open_storage(cfg))
    assert study.user_attrs == {}


def three_at_once(code, root):
    """Start three processes, and let them go on together when all are ready."""
    command = [sys.executable, "-c", code, str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


OPEN = """
import sys
from hpo_utils.base.config import load_config
from hpo_utils.trials.storage import open_storage
cfg = load_config(**{"paths.outputs_root": sys.argv[1]})
print("ready", flush=True)
sys.stdin.readline()
open_storage(cfg)
"""


def test_an_interrupt_in_the_midst_of_a_call_leaves_no_lock(make_config, interruptible, tmp_path):
    storage = open_storage(make_config())
    study = optuna.create_study(storage=storage)
    interrupted = []

    @event.listens_for(storage.engine, "after_cursor_execute")
    def interrupt(connection, cursor, statement, *_):
        if statement.startswith("SELECT") and not interrupted:  # rows wait to be fetched
            interrupted.append(True)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:  # as long as it is looked at
        study.set_user_attr("written", True)
    file = tmp_path / "runs" / "optuna" / "study.db"
    with closing(sqlite3.connect(file, timeout=1.0)) as other:
        other.execute("BEGIN IMMEDIATE")
    assert caught.type is KeyboardInterrupt
    assert study.user_attrs == {"written": True}


def test_several_processes_may_create_the_database_at_once(tmp_path):
    """Without a second look about one run in two of this fails."""
    processes = three_at_once(OPEN, tmp_path / "runs")
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors


def test_a_url_that_means_nothing_is_said(make_config):
    with pytest.raises(StudyError, match="study.storage must be a database"):
        open_storage(make_config(**{"study.storage": "nonsense"}))


def test_studies_of_one_name_come_newest_first(make_config):
    storage = open_storage(make_config())
    for name in ("a", "a-20260101-000000", "a-20270101-000000", "a-b", "b", "a-12345678-12345x"):
        optuna.create_study(study_name=name, storage=storage)
    assert stored_names(storage, "a") == ["a-20270101-000000", "a-20260101-000000", "a"]


def test_pruners(make_config):
    assert isinstance(create_pruner(make_config("study.pruner=none")), optuna.pruners.NopPruner)
    assert isinstance(create_pruner(make_config()), optuna.pruners.MedianPruner)


TAKE = """
import sys, time, optuna
from hpo_utils.base.config import load_config
from hpo_utils.trials.storage import open_storage
cfg = load_config(**{"paths.outputs_root": sys.argv[1]})
study = optuna.load_study(study_name="s", storage=open_storage(cfg))
print("ready", flush=True)
sys.stdin.readline()
while (trial := study.ask()).number < 40:
    print(trial.number)
    study.tell(trial, 0.0)
"""


ENQUEUE = """
import sys, optuna
from hpo_utils.base.config import load_config
from hpo_utils.trials.storage import enqueue, open_storage
cfg = load_config("params/smoke.yaml", [f"paths.outputs_root={sys.argv[1]}"])
study = optuna.load_study(study_name="s", storage=open_storage(cfg))
print("ready", flush=True)
sys.stdin.readline()
for i in range(20):
    enqueue(study, {"x": i})
"""


def test_processes_that_enqueue_the_same_at_once_leave_one(make_config, tmp_path):
    study = optuna.create_study(study_name="s", storage=open_storage(make_config()))
    processes = three_at_once(ENQUEUE, tmp_path / "runs")
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [err for _, err in outputs if "Error" in err] == []
    waiting = study.get_trials(states=(optuna.trial.TrialState.WAITING,))
    assert sorted(enqueued_params(trial)["x"] for trial in waiting) == list(range(20))


def test_what_a_worker_has_begun_meanwhile_is_not_taken_back(make_config, monkeypatch):
    """Another process enqueues the same, and both trials run before this one looks again."""
    study = optuna.create_study(study_name="s", storage=open_storage(make_config()))
    study.enqueue_trial({"x": 0})
    add = study.enqueue_trial
    monkeypatch.setattr(
        study, "enqueue_trial", lambda *a, **k: (add(*a, **k), study.ask(), study.ask())
    )
    enqueue(study, {"x": 0})
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "RUNNING"]


def test_two_processes_never_take_the_same_waiting_trial(make_config, tmp_path):
    """Without a lock at the start of a transaction most runs of this fail."""
    study = optuna.create_study(study_name="s", storage=open_storage(make_config()))
    for i in range(40):
        study.enqueue_trial({"x": i})
    processes = three_at_once(TAKE, tmp_path / "runs")
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [err for _, err in outputs if "Error" in err] == []
    assert sorted(int(n) for out, _ in outputs for n in out.split()) == list(range(40))
