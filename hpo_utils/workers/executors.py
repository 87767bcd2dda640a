"""Where the trials run: on this machine or on a Ray cluster, as ``study.executor`` says."""

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

# "0": a Ray that starts here is no cluster that others may join, as is usual on Windows and macOS,
# and listens on loopback; else it listens on every address, and knows no passwords by default
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def run_workers(
    study: optuna.Study,
    search: Search,
    n_trials: int,
    on_finished: Callable[[FrozenTrial], None],
) -> None:
    """Run trials until ``n_trials`` more of them are finished, or the search is to stop.

    Parameters
    ----------
    study
        The study; its sampler serves if there is one worker, who is this process.
    search
        What its trials share; ``study.executor`` and ``study.n_workers`` say who shares the work.
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
            os.environ.setdefault(LOOPBACK_ONLY, "0")  # Ray reads it when it is imported
        from hpo_utils.workers.cluster import (
            run_on_cluster,  # Ray is an extra, and seconds to import
        )

        run = run_on_cluster
    run(study, search, n_trials, on_finished)


def check_executor(cfg: Config) -> None:
    """Raise ConfigError if the executor's parts are not installed."""
    if cfg.study.executor == "ray" and find_spec("ray") is None:
        raise ConfigError(
            "study.executor ray needs Ray, which is not installed: pip install -e '.[cluster]'"
        )
