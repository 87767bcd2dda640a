"""Full disks, locked and broken databases, two processes at one study: what is there survives."""

import os
import re
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import torch
from driver import CASES, SCRIPT, finish, trials_of

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import HpoError, StopRequest, StudyError
from hpo_utils.base.paths import project_root
from hpo_utils.study.search import run_study
from hpo_utils.training.directory import WEIGHTS_FILE


def script(root: Path, *overrides: str, limit: int | None = None) -> subprocess.Popen[bytes]:
    """Start the small study of smoke.yaml; no file may grow beyond ``limit`` bytes."""

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", SCRIPT, f"paths.outputs_root={root}", *overrides]
    return subprocess.Popen(
        command, cwd=project_root(), preexec_fn=restrict, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small disk in memory, or mounts it again otherwise."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
        return place

    yield mount
    subprocess.run(["umount", "--lazy", str(place)], capture_output=True)


def test_a_small_disk_that_runs_full_holds_what_was_there(disk):
    root = disk("size=4m") / "runs"
    process = script(root, "study.n_trials=20", "study.trial_figures=true")
    output = process.communicate(timeout=300)[0].decode()
    assert re.search(r"StudyError: the study's files and storage must be usable", output), output
    complete = [trial for trial in trials_of(root) if trial.state.name == "COMPLETE"]
    assert complete
    for trial in complete:
        torch.load(root / trial.user_attrs["output_dir"] / WEIGHTS_FILE, weights_only=True)
    disk("remount,size=20m")
    finish(script(root, f"study.n_trials={len(complete) + 1}"))
    assert [trial.state.name for trial in trials_of(root)] == ["COMPLETE"] * (len(complete) + 1)


def test_a_disk_that_cannot_be_written_to_is_said_before_anything_runs(disk):
    root = disk("size=20m") / "runs"
    finish(script(root, "study.n_trials=1"))
    disk("remount,ro")
    output = script(root, "study.n_trials=2").communicate(timeout=300)[0].decode()
    assert "outputs_root must be a directory that can be written to" in output, output
    assert [trial.state.name for trial in trials_of(root)] == ["COMPLETE"]


# the weights of a trial, and already the prepared data, do not fit
@pytest.mark.parametrize("limit", [140_000, 5_000])
def test_a_disk_that_is_full_stops_with_a_sentence_and_nothing_is_lost(tmp_path, limit):
    root = tmp_path / "runs"
    process = script(root, "study.n_trials=3", limit=limit)
    output = process.communicate(timeout=300)[0].decode()
    assert process.returncode != 0
    assert re.search(r"StudyError: the study's files and storage must be usable", output), output
    for trial in trials_of(root):
        assert trial.state.name in ("COMPLETE", "WAITING")
        if trial.state.name == "COMPLETE":
            torch.load(root / trial.user_attrs["output_dir"] / WEIGHTS_FILE, weights_only=True)
    assert not list(root.rglob("*.partial"))
    finish(script(root, "study.n_trials=3"))
    assert [trial.state.name for trial in trials_of(root)] == ["COMPLETE"] * 3


def test_a_database_locked_by_another_process_is_waited_for(tmp_path):
    root = tmp_path / "runs"
    finish(script(root, "study.n_trials=1"))
    database = root / "optuna" / "study.db"
    held = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(20.0, held.rollback)
    timer.start()
    started = time.monotonic()
    finish(script(root, "study.n_trials=2"))
    timer.join()
    assert time.monotonic() - started > 19
    assert len(trials_of(root)) == 2


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    file.write_bytes({
        "truncated": content[: len(content) // 2],
        "not a database": b"these are words\n" * 100,
        "someone else's": b"",
    }[how])  # fmt: skip
    if how == "someone else's":
        with sqlite3.connect(file) as connection:
            connection.execute("CREATE TABLE studies (own INTEGER)")
            connection.execute("CREATE TABLE version_info (own INTEGER)")


@pytest.mark.parametrize("how", ["truncated", "not a database", "someone else's"])
def test_a_broken_database_is_named_and_left_alone(make_config, tmp_path, how):
    cfg = make_config("study.n_trials=1", "training.epochs=1")
    run_study(cfg)
    database = tmp_path / "runs" / "optuna" / "study.db"
    damage(database, how)
    before = database.read_bytes()
    with pytest.raises(StudyError, match=r"study\.db") as caught:
        run_study(cfg)
    assert "\n" not in str(caught.value)
    assert database.read_bytes() == before


def test_two_processes_at_one_study_share_it(tmp_path):
    root = tmp_path / "runs"
    processes = [script(root, "study.n_trials=6") for _ in range(2)]
    for process in processes:
        finish(process)
    # what both had enqueued and one took back never ran
    trials = [t for t in trials_of(root) if t.state.name != "FAIL" or "failure" in t.user_attrs]
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert 6 <= len(trials) <= 7  # the last two may have been begun at once
    assert len({trial.user_attrs["output_dir"] for trial in trials}) == len(trials)


def test_two_notebooks_at_two_studies_do_not_hurt_each_other(tmp_path):
    root = tmp_path / "runs"
    case = CASES["notebook"]
    processes = []
    for name in ("one", "two"):
        notebook = project_root() / "notebooks" / "03_optimize.ipynb"
        overrides = f"paths.outputs_root={root} study.name={name} evaluation.n_seeds=0"
        command = [
            sys.executable, "-m", "papermill", str(notebook), str(tmp_path / f"{name}.ipynb"),
            "-p", "params_file", "params/smoke.yaml", "-p", "n_trials", "3",
            "-p", "overrides", overrides, "--no-progress-bar",
        ]  # fmt: skip
        processes.append(subprocess.Popen(
            command, cwd=project_root(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ))  # fmt: skip
    for process in processes:
        finish(process)
    assert case.command == "papermill"
    storage = f"sqlite:///{root / 'optuna' / 'study.db'}"
    for name in ("one", "two"):
        trials = optuna.load_study(study_name=name, storage=storage).trials
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3


def test_a_stop_file_ends_all_workers_and_the_study_goes_on_later(tmp_path):
    root = tmp_path / "runs"
    settings = ("study.n_trials=4", "training.epochs=40", "study.n_workers=2")
    process = script(root, *settings)
    while len(list(root.glob("20*/*/logs/train.log"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    (root / "optuna" / "STOP").touch()
    output = process.communicate(timeout=60)[0].decode()
    assert "StopRequest: the search stops because" in output
    assert {trial.state.name for trial in trials_of(root)} <= {"COMPLETE", "WAITING"}
    finish(script(root, *settings))  # the file is from before, and means nothing now
    trials = trials_of(root)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4


def test_a_deadline_ends_the_search_within_a_trial(make_config, capsys):
    cfg = make_config("training.epochs=100000", "study.timeout=4", "training.patience=null")
    started = time.monotonic()
    study = run_study(cfg)
    assert time.monotonic() - started < 15
    assert [trial.state.name for trial in study.trials] == ["WAITING"]
    assert "its time is over (study.timeout = 4 s): 2 trials are left" in capsys.readouterr().out


def test_results_cannot_leave_their_place(tmp_path):
    for setting in ("study.name=../../x", "dataset.name=/tmp/x", "study.name=a/b"):
        with pytest.raises(HpoError, match="must consist of letters"):
            load_config("params/smoke.yaml", [setting])
    assert issubclass(StopRequest, HpoError)
