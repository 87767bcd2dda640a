"""The fork server that starts a study's workers; it has already imported PyTorch."""

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
PRELOADED = ("hpo_utils.workers.processes", "hpo_utils.trials.figures", "alembic.command")


def start_server(cfg: Config) -> None:
    """Start the fork server if workers may be needed, and return without waiting for its imports.

    These imports take seconds, as do those of the calling process. This module therefore imports
    nothing slow, so that a caller that starts the server first lets both import in parallel.
    """
    on_this_machine = cfg.study.executor == "in_process" and cfg.study.n_workers != 1
    if on_this_machine and process_context().get_start_method() == "forkserver":
        with without_main():
            forkserver.ensure_running()


def process_context() -> ForkServerContext | SpawnContext:
    """Return the multiprocessing context that forks workers from the server.

    The server never trains, so forking it is safe; forking this process would not be. The server
    ends with this process. On systems without fork, each worker is spawned from scratch.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the main module from a starting process, which would run the user's script again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
