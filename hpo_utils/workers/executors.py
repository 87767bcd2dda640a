"""Run the trials on this machine or on a Ray cluster, as ``study.executor`` says."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec

import optuna
from optuna.trial import FrozenTrial

from hpo_utils.base.config import Config
from hpo_utils.base.errors import ConfigError
from hpo_utils.workers.processes import run_on_machine
from hpo_utils.workers.worker import Search

# "0" keeps other machines from joining a Ray cluster that starts here, as is usual on Windows and
# macOS, and makes it listen on loopback; otherwise it listens on every address, by default without
# authentication
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def run_workers(
    study: optuna.Study,
    search: Search,
    n_trials: int,
    on_finished: Callable[[FrozenTrial], None],
) -> None:
    """Run trials until ``n_trials`` more are finished, or the search is to stop.

    Parameters
    ----------
    study
        The study; its sampler is used only if there is one worker, which is this process.
    search
        What all trials share; its ``study.executor`` and ``study.n_workers`` choose the workers.
    n_trials
        Complete and pruned trials to add; failed ones do not count.
    on_finished
        Called in this process with each trial that ended.

    Raises
    ------
    StudyError
        If ``study.max_consecutive_failures`` trials fail in a row, workers die, or the cluster is
        out of reach.
    """
    if n_trials == 0:
        return
    run = run_on_machine
    if search.cfg.study.executor == "ray":
        if search.cfg.study.ray_address is None:
            os.environ.setdefault(LOOPBACK_ONLY, "0")  # Ray reads it on import
        # Ray is an optional extra and takes seconds to import
        from hpo_utils.workers.cluster import run_on_cluster

        run = run_on_cluster
    run(study, search, n_trials, on_finished)


def check_executor(cfg: Config) -> None:
    """Raise ConfigError if the executor's packages are not installed."""
    if cfg.study.executor == "ray" and find_spec("ray") is None:
        raise ConfigError(
            "study.executor ray needs Ray, which is not installed: pip install -e '.[cluster]'"
        )
