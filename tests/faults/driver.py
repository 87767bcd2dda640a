"""Kill real studies at random instants, run them again, and account for every trial.

    python tests/faults/driver.py [--kills 200] [--seed 0]

Each study is first run undisturbed. Then the same command is started again and again and killed
after a random time, with SIGINT, SIGTERM or SIGKILL, until so many kills are done, and then left to
finish. What must hold is in ``check``; what it cost is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
import yaml

from hpo_utils.base.paths import project_root

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
AT_WORK = 0.8  # share of the kills that come while a trial trains
ORPHANS_GONE = 10.0  # seconds within which every process that was started has ended
MOST_STARTS = 40  # until a study with deadlines has all its trials
SCRIPT = """
import sys
from hpo_utils.base.config import load_config
from hpo_utils.study.search import run_study
run_study(load_config("params/smoke.yaml", sys.argv[1:]))
"""


@dataclass
class Case:
    """One study to be disturbed: how it is started, with how many workers and trials."""

    name: str
    command: str  # python or papermill
    n_workers: int
    n_trials: int = 4
    epochs: int = 16
    samples: int = 240
    deadline: float = 0.0  # share of the undisturbed time that the search has in each start

    def overrides(self, root: Path, usual: float) -> list[str]:
        deadlines = []
        if self.deadline:  # the scale is fixed, or a budget would shorten the trainings
            seconds = f"study.timeout={self.deadline * usual}"
            deadlines = [seconds, "study.budget=10min", "study.epoch_scale=1"]
        return [
            f"paths.outputs_root={root}", f"study.n_workers={self.n_workers}",
            f"study.n_trials={self.n_trials}", f"training.epochs={self.epochs}",
            f"synthetic.n_samples={self.samples}", "study.checkpoint_every_s=0.2",
            "training.n_threads=1", "study.n_startup_trials=3", "evaluation.n_seeds=0",
            *deadlines,
        ]  # fmt: skip

    def start(self, root: Path, usual: float = 0.0) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SCRIPT, *self.overrides(root, usual)]
        if self.command == "papermill":
            notebook = project_root() / "notebooks" / "03_optimize.ipynb"
            command = [
                sys.executable, "-m", "papermill", str(notebook), str(root.parent / "out.ipynb"),
                "-p", "params_file", "params/smoke.yaml", "-p", "overrides",
                shlex.join(self.overrides(root, usual)), "--no-progress-bar",
            ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, cwd=project_root(), env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


CASES = {
    case.name: case
    for case in (
        Case("script", "python", 1),
        Case("two workers", "python", 2, n_trials=5),
        Case("notebook", "papermill", 1),
        Case("deadlines", "python", 1, deadline=0.3),
    )
}


@dataclass
class Outcome:
    """What was done to a study, and what became of its trials."""

    kills: int = 0
    by_signal: dict[str, int] = field(default_factory=dict)
    trials: int = 0
    epochs: int = 0
    repeated_epochs: int = 0
    restarts: int = 0
    slowest_interrupt: float = 0.0  # seconds from SIGINT in a trial to the end of the process


def run_undisturbed(root: Path) -> float:
    """Run the study of one worker, which all others are compared with; return its seconds."""
    started = time.monotonic()
    finish(CASES["script"].start(root))
    return time.monotonic() - started


def disturb(
    case: Case, n_kills: int, rng: random.Random, calm: Path, usual: float, wild: Path
) -> Outcome:
    """Run a study disturbed, and check that nothing was lost.

    There are ``n_kills`` at most: fewer if the study is finished before. ``calm`` has the
    undisturbed study, which took ``usual`` seconds.
    """
    wild.mkdir(parents=True)
    shutil.copytree(calm / "data", wild / "data")
    outcome = Outcome()
    while outcome.kills < n_kills and not is_finished(case, wild):
        process, how = case.start(wild, usual), rng.choice(SIGNALS)
        if rng.random() < AT_WORK:
            wait_for_work(process, wild)
            took = kill(process, rng.uniform(0, 1.5), how, outcome)
            if how == signal.SIGINT:
                outcome.slowest_interrupt = max(outcome.slowest_interrupt, took)
        else:  # at any time, so mostly while it starts
            kill(process, rng.uniform(0, usual), how, outcome)
        check_files(wild)
    for _ in range(MOST_STARTS):  # the first is the last, unless it stops at a deadline
        finish(case.start(wild, usual))
        if is_finished(case, wild):
            break
    check(case, calm, wild, outcome)
    return outcome


def is_finished(case: Case, root: Path) -> bool:
    ended = [trial for trial in trials_of(root) if trial.state.is_finished()]
    return len(ended) >= case.n_trials


def wait_for_work(process: subprocess.Popen[bytes], root: Path) -> None:
    """Wait until a trial has begun or gone on, or the process has ended."""
    began = time.time()
    while process.poll() is None:
        if any(file.stat().st_mtime > began for file in root.glob("20*/*/trial_info.yaml")):
            return
        time.sleep(0.02)


def finish(process: subprocess.Popen[bytes]) -> None:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output.decode()[-3000:]


def kill(
    process: subprocess.Popen[bytes], after: float, how: signal.Signals, outcome: Outcome
) -> float:
    """Kill the process after a while, unless it has ended; see that nothing outlives it.

    Return the seconds from the signal to the end of the process.
    """
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:  # it ended just now
            process.communicate()
            return 0.0
        sent = time.monotonic()
        process.send_signal(how)
        process.communicate(timeout=60)
        took = time.monotonic() - sent
        outcome.kills += 1
        outcome.by_signal[how.name] = outcome.by_signal.get(how.name, 0) + 1
        _, alive = psutil.wait_procs(family, timeout=ORPHANS_GONE)
        assert not alive, f"{how.name} left {[' '.join(p.cmdline()) for p in alive]}"
        return took
    return 0.0


def trials_of(root: Path) -> list[optuna.trial.FrozenTrial]:
    file = root / "optuna" / "study.db"
    if not file.is_file():
        return []
    storage = f"sqlite:///{file}"
    names = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name="smoke", storage=storage).trials if names else []


def check_files(root: Path) -> None:
    """Whatever was killed, each file that is there is whole."""
    for file in root.rglob("*.json"):
        json.loads(file.read_text(encoding="utf-8"))
    for file in root.rglob("*.yaml"):
        assert yaml.safe_load(file.read_text(encoding="utf-8"))
    link = root / "optuna_best"
    if link.is_symlink():
        assert (link / "metrics.json").is_file()


def check(case: Case, calm: Path, wild: Path, outcome: Outcome) -> None:
    """Every trial is accounted for, none was trained twice, and all are as if undisturbed."""
    expected, found = trials_of(calm), trials_of(wild)
    states = {trial.state.name for trial in found}
    assert states <= {"COMPLETE", "PRUNED"}, states
    finished = len(found)
    # workers that ran while the last trial was missing may have begun one more each
    assert case.n_trials <= finished <= case.n_trials + case.n_workers - 1, finished
    assert len({str(trial.params) for trial in found if "same_as" not in trial.user_attrs}) == len(
        [trial for trial in found if "same_as" not in trial.user_attrs]
    )
    if case.n_workers == 1:
        for one, other in zip(expected, found, strict=True):
            assert one.params == other.params, one.number
            assert one.intermediate_values == other.intermediate_values, one.number
            assert one.value == other.value, one.number
    directories = [trial.user_attrs["output_dir"] for trial in found]
    for trial, directory in zip(found, directories, strict=True):
        info = yaml.safe_load((wild / directory / "trial_info.yaml").read_text(encoding="utf-8"))
        assert info["state"] == trial.state.name
        assert not (wild / directory / "checkpoint.pt").exists()
        log = (wild / directory / "logs" / "train.log").read_text(encoding="utf-8")
        logged = [int(epoch) for epoch in re.findall(r"epoch (\d+)/", log)]
        assert sorted(set(logged)) == list(range(1, len(trial.intermediate_values) + 1))
        outcome.epochs += len(set(logged))
        outcome.repeated_epochs += len(logged) - len(set(logged))
        outcome.restarts += len(info["restarts"])
    outcome.trials = finished
    summary = json.loads((wild / "optuna" / "study_summary.json").read_text(encoding="utf-8"))
    assert summary["n_trials"] == finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # a shell has what it starts in the background ignore it, and so would the studies
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = random.Random(options.seed)
    totals: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        calm = Path(scratch) / "calm"
        usual = run_undisturbed(calm)
        while totals.get("kills", 0) < options.kills:
            for case in CASES.values():
                wild = Path(tempfile.mkdtemp(dir=scratch)) / "runs"
                outcome = disturb(case, rng.randint(4, 12), rng, calm, usual, wild)
                print(f"{case.name}: {outcome}", flush=True)
                for name in ("kills", "trials", "epochs", "repeated_epochs", "restarts"):
                    totals[name] = totals.get(name, 0) + getattr(outcome, name)
                totals["slowest_interrupt"] = max(
                    totals.get("slowest_interrupt", 0.0), outcome.slowest_interrupt
                )
    print(f"nothing lost: {totals}")


if __name__ == "__main__":
    main()
