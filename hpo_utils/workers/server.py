"""The server that a study's workers are forked from: it has PyTorch imported already."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from types import ModuleType

from hpo_utils.base.config import Config

# Optuna imports Alembic when it opens a database
PRELOADED = ("hpo_utils.workers.processes", "alembic.command")


def start_server(cfg: Config) -> None:
    """Have the server import what workers need, if there may be any, and return at once.

    It takes seconds, as do the imports of the process that asks: so this module has none of them,
    and whoever starts the server first does both side by side.
    """
    on_this_machine = cfg.study.executor == "in_process" and cfg.study.n_workers != 1
    if on_this_machine and process_context().get_start_method() == "forkserver":
        with without_main():
            forkserver.ensure_running()


def process_context() -> ForkServerContext | SpawnContext:
    """Return the way to start workers: forked from the server.

    The server never trains, so its forks are safe, which those of this process would not be. It
    ends with this process. Where there is no fork, each worker starts from nothing.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the main module from a process that starts: it would run the user's script again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
